package store

import (
	"context"
	"errors"
	"time"

	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/internal/groupcommit"
)

// IDBits is how far the milliseconds of an ID are shifted.
const IDBits = ircmsg.IDBits

// An ID is a message's place in the order of the network.
type ID int64

// IDAt returns the first ID of a moment.
func IDAt(t time.Time) ID { return ID(t.UnixMilli()) << IDBits }

// Time returns when the message was said.
func (id ID) Time() time.Time { return time.UnixMilli(int64(id >> IDBits)) }

// What can be wrong with a write or a read. Errors that say more wrap these.
var (
	// ErrExists: something of that name is there already.
	ErrExists = errors.New("it exists already")
	// ErrNotFound: there is nothing of that name.
	ErrNotFound = errors.New("not found")
	// ErrNewer: the database was written by a newer version of the program.
	ErrNewer = errors.New("the database is of a newer version of this program: run that, or restore a backup made before the upgrade")
	// ErrOlder: the database was written by an older version of the program, and is to stay so.
	ErrOlder = errors.New("the database is of an older version of this program: use that, or have this one serve it once, which brings it up to date")
	// ErrForeign: the file is no database of this program.
	ErrForeign = errors.New("the file is no database of epi chat")
	// ErrBusy: as many writes wait as may. The remedy is to try again later.
	ErrBusy = groupcommit.ErrBusy
	// ErrClosed: the store is closed.
	ErrClosed = groupcommit.ErrClosed
)

// A Store keeps everything. Its methods may be called from any goroutine and block;
// Apply is called by one at a time.
type Store interface {
	// Apply does the writes in order, in one transaction, and returns when that is
	// durable. results has an error for each write that was refused for what it
	// says (ErrExists, ErrNotFound); it has no effect, unless its type says so, and the
	// others are done. err is for the whole: nothing of it was done.
	Apply(ctx context.Context, writes []Write) (results []error, err error)

	// Messages returns a page of a target's history, in the order of the IDs.
	Messages(ctx context.Context, q Query) ([]Message, error)
	// Message returns one message, or ErrNotFound.
	Message(ctx context.Context, id ID) (Message, error)
	// Reactions returns what was said in reply to messages without text of its own,
	// in the order of the IDs.
	Reactions(ctx context.Context, to []ID) ([]Message, error)
	// Latest returns, for each of the targets that has messages above after and
	// below before, the latest of these, at most limit targets, the one said
	// earliest first.
	Latest(ctx context.Context, targets []string, after, before ID, limit int) ([]Target, error)
	// Conversations returns the targets of an account's direct messages.
	Conversations(ctx context.Context, account string) ([]string, error)
	// Own returns the messages of this machine above after, no copies, of all targets, events and
	// reactions among them, in the order of the IDs: the first of them, at most limit.
	Own(ctx context.Context, after ID, limit int) ([]Message, error)
	// Last returns the greatest ID that a message has; 0 without any.
	Last(ctx context.Context) (ID, error)
	// Search returns the messages that match, the latest first.
	Search(ctx context.Context, q Search) ([]Message, error)

	// Positions returns those of PutPosition, the latest of each shard, in the order of the shards.
	Positions(ctx context.Context) ([]Position, error)
	// Shared returns UpTo of the latest PutShared, or ErrNotFound.
	Shared(ctx context.Context) (ID, error)
	// Announced returns what was announced and is not shared, in the order of the numbers: the first
	// of it, at most limit.
	Announced(ctx context.Context, limit int) ([]Outgoing, error)

	// Account returns an account by its name, or ErrNotFound.
	Account(ctx context.Context, name string) (Account, error)
	// Accounts calls fn for every account, in the order of the names, until it
	// returns an error, which it then returns.
	Accounts(ctx context.Context, fn func(Account) error) error
	// Credentials returns an account's.
	Credentials(ctx context.Context, account string) ([]Credential, error)
	// FindCredential returns the account that has a credential of a kind whose
	// secret is a name, such as a fingerprint, or ErrNotFound.
	FindCredential(ctx context.Context, kind CredentialKind, secret string) (Account, error)

	// Channels calls fn for every registered channel, in the order of the names.
	Channels(ctx context.Context, fn func(Channel) error) error
	// Channel returns one: ErrNotFound without it.
	Channel(ctx context.Context, name string) (Channel, error)
	// Bans returns the server's bans.
	Bans(ctx context.Context) ([]Ban, error)
	// Presences returns the users that stay while their owners are away.
	Presences(ctx context.Context) ([]Presence, error)
	// Markers returns an account's read markers.
	Markers(ctx context.Context, account string) ([]Marker, error)
	// Metadata returns what is known of an owner, in the order of the keys; of all for
	// "", in the order of the owners.
	Metadata(ctx context.Context, owner string) ([]Datum, error)
	// Upload returns a file's description, or ErrNotFound.
	Upload(ctx context.Context, id string) (Upload, error)
	// Uploads returns those of an account; of all for "".
	Uploads(ctx context.Context, account string) ([]Upload, error)
	// Subscriptions returns an account's push subscriptions.
	Subscriptions(ctx context.Context, account string) ([]Subscription, error)
	// Invitation returns one by the hash of its token, or ErrNotFound.
	Invitation(ctx context.Context, hash string) (Invitation, error)
	// Audit returns the latest entries of the log of administrators' deeds, the
	// latest first.
	Audit(ctx context.Context, limit int) ([]Deed, error)

	// Close ends the store. What Apply returned for is kept.
	Close() error
}

// A Message is one entry of a history: something said, or an event such as a JOIN.
type Message struct {
	ID      ID
	Target  string // folded name of a channel, or what Conversation makes
	Command string // PRIVMSG, NOTICE, TAGMSG, JOIN, …
	Params  []string
	Source  string // nick!user@host
	Account string // of the sender; "" without one
	Bot     bool
	Rank    uint8  // that a member must have to read it
	Tags    string // client-only tags as on the wire
	// Text is what is said; the lines of a multiline message have line feeds between
	// them, and Joined has the numbers of those that go on the line before.
	Text   string
	Joined []int
	// Reply is the message that this one answers or reacts to; 0 for none.
	Reply ID
	// Reaction: it says nothing by itself, and comes back with the message that it
	// replies to.
	Reaction bool
	// Edited is when Text was changed last; 0 never.
	Edited ID
	// Shown is the number under which an event was shown that happened in several
	// targets at once; 0: ID.
	Shown ID
}

// A Position is a place in a shard of the history that several machines share: see
// fabric.Position.
type Position struct {
	Shard  uint32
	Stream int64
	Number uint64
	At     int64
}

// An Outgoing is what other machines are to know of a change here.
type Outgoing struct {
	Number ID     // of the change
	Target string // in whose history it is
	Entry  string // as they read it
}

// Conversation names the history of direct messages between two accounts or nicks.
func Conversation(a, b string) string {
	if b < a {
		a, b = b, a
	}
	return a + " " + b
}

// A Query selects a page of one target: those with After < ID < Before that a
// member with Rank may read, at most Limit.
type Query struct {
	Target string
	After  ID // 0: from the beginning
	Before ID // 0: to the end
	Limit  int
	// Latest takes the last of them, otherwise the first. In either case they come
	// in the order of the IDs.
	Latest bool
	Rank   uint8
	// Events: JOIN and the like, too, not only what was said.
	Events bool
}

// A Target is a history, and when it last grew.
type Target struct {
	Name   string
	Latest ID
}

// A Search selects messages by their text.
type Search struct {
	// Targets are the histories that may be looked into, with the rank in each.
	Targets []Scope
	// Text are parts of the text, without regard to case; all must be in it.
	Text   []string
	From   string // nick of the sender, folded; "" anybody
	After  ID
	Before ID
	Limit  int
}

// A Scope is a history that somebody may read.
type Scope struct {
	Target string
	Rank   uint8
	// Since is the first message that may be seen; 0 for all.
	Since ID
}

// An Account is somebody who can log in.
type Account struct {
	Name      string // as its owner writes it
	Created   time.Time
	Email     string
	Verified  bool
	Role      string // "" for users
	Suspended string // why it must not be used; "" when it may
	Settings  map[string]string
}

// A CredentialKind says how an account can be logged in to.
type CredentialKind string

// The kinds.
const (
	Password    CredentialKind = "password"    // Secret is bcrypt's hash
	SCRAM       CredentialKind = "scram"       // Secret is a verifier
	AppPassword CredentialKind = "app"         // Secret is bcrypt's hash; Label names the device
	Certificate CredentialKind = "certificate" // Secret is a fingerprint
	OpenID      CredentialKind = "openid"      // Secret is issuer and subject
	Code        CredentialKind = "code"        // Secret is a hash of a code for VERIFY
)

// A Credential is one way to log in to an account.
type Credential struct {
	Account string
	Kind    CredentialKind
	Label   string
	Secret  string
	Created time.Time
	Used    time.Time
}

// A Channel is one that is registered, and so stays while nobody is in it.
type Channel struct {
	Name     string
	Founder  string // account
	Created  time.Time
	Modes    string // letters without parameters
	Key      string
	Limit    int
	Forward  string
	Topic    string
	TopicBy  string
	TopicAt  time.Time
	Lists    map[string][]Entry // by the letter of the mode
	Ranks    map[string]string  // letters by account
	KeepDays int                // how long messages are kept; 0 as the server does
}

// An Entry is one of a channel's lists.
type Entry struct {
	Mask string    `json:"mask"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
}

// A Ban keeps somebody from the server.
type Ban struct {
	Mask   string
	Reason string
	By     string
	At     time.Time
	Until  time.Time // zero: for good
}

// A Presence is a user who stays while its owner is away.
type Presence struct {
	Account  string
	Nick     string
	User     string
	Host     string // as others see it
	RealName string
	Modes    string
	Away     string
	Channels map[string]string // by name: ranks, and the id of the JOIN behind a space
	// Leaves: the account wants no user that stays, and the rest is empty.
	Leaves bool `json:",omitempty"`
}

// A Marker is up to where an account has read a target.
type Marker struct {
	Account string
	Target  string
	At      time.Time
}

// A Datum is one thing known of an owner, which is an account or a channel.
type Datum struct {
	Owner, Key, Value string
}

// An Upload describes a file.
type Upload struct {
	ID      string
	Account string
	Target  string // folded channel for whose members it is; "" for anybody who has the link
	Name    string
	Type    string
	Size    int64
	Created time.Time
	Expires time.Time // zero: never
}

// A Subscription is where an account gets push messages.
type Subscription struct {
	Account  string
	Endpoint string
	Keys     string
	Created  time.Time
}

// An Invitation lets people make accounts.
type Invitation struct {
	Hash    string // of the token, which is not kept
	By      string // account; "" for the server itself
	Role    string // of the accounts
	Channel string // that the new people are to see; "" for none
	Created time.Time
	Expires time.Time
	Left    int // how many accounts it is good for
}

// A Deed is one entry of the log of what administrators did.
type Deed struct {
	At     time.Time
	By     string
	What   string
	Target string
	Detail string
}
