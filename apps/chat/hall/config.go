package hall

import (
	"cmp"
	"time"
)

// A Config is what the operator decides. Every number that is 0 has its default, which
// is named behind it.
type Config struct {
	// Name is the server's, with a dot in it; Network is the network's, without
	// spaces.
	Name    string
	Network string
	// Description is what the server says of itself where it is listed.
	Description string
	// Version is what VERSION and 002 say, Created what 003 says.
	Version string
	Created time.Time
	// Seed makes the nonces of SCRAM unpredictable; take it from crypto/rand.
	Seed [32]byte

	// Limits, in bytes where nothing else is said.
	Nick          int // 32
	User          int // 18
	RealName      int // 150
	ChannelName   int // 64
	Topic         int // 390
	Kick          int // 390
	Away          int // 390
	Key           int // 32
	Channels      int // 100, of a user
	List          int // 100, entries of each list of a channel
	Monitor       int // 100, nicks of a session
	Modes         int // 6, with parameters, in one MODE
	Targets       int // 4, of PRIVMSG, NOTICE and TAGMSG
	Accept        int // 100, nicks of a user
	Invites       int // 50, open at once of a user
	MultilineSize int // 4,096
	Multiline     int // 100, lines
	Registered    int // 20, channels that an account has registered
	WhoWas        int // 1,000, users that have left

	// MOTD has the lines of the message of the day; without any there is none.
	MOTD []string
	// Admin is what ADMIN says: place, organisation, address for mail.
	Admin [3]string
	// Icon is a URL of an image for the network, or empty.
	Icon string
	// VAPID is the public key for push messages, or empty: then there are none, and no
	// Record has Notify.
	VAPID string
	// FileHost is a URL to which people upload files, or empty.
	FileHost string
	// STS is the policy of strict transport security ("port=6697,duration=2592000")
	// or empty.
	STS string

	// Password: PASS is demanded, and CheckServer says whether it is right.
	Password bool
	// RequireAccount: nobody comes in without SASL.
	RequireAccount bool
	// Mechanisms are those of SASL that the gate can check, in the order in which
	// they are advertised; without any there are no accounts.
	Mechanisms []string
	// Accounts are the names of those that the configuration has.
	Accounts []string
	// ReserveNicks: who has the nick of an account, or one that looks like it, is
	// logged in to that account.
	ReserveNicks bool
	// AlwaysOn says whose users outlive their sessions.
	AlwaysOn AlwaysOn
	// Registration says how accounts can be made by their owners.
	Registration Registration
	// Operators are the names that OPER knows, with what they may do.
	Operators map[string]Operator

	// ChannelModes are those of a new channel, without parameters; "-" is none, and
	// the default is "nt". UserModes are those of a new user, of the letters BgiRTw.
	ChannelModes string
	UserModes    string
	// History says what is kept of what is said.
	History History
	// UnicodeNicks: a nick may have letters of one script beyond ASCII; what looks
	// like a nick that is taken is taken.
	UnicodeNicks bool
	// RelayMsg: who has the rank of an operator in a channel may use RELAYMSG.
	RelayMsg bool
	// Roleplay: channels can have the mode E, with which NPC and SCENE work.
	Roleplay bool
	// Cloak replaces the host of a user before it is shown to others, or is nil. It
	// must give the same for the same.
	Cloak func(host string) string
}

// Registration says how accounts can be made by their owners.
type Registration struct {
	Enabled bool
	// BeforeConnect: also before the registration of the connection is complete.
	BeforeConnect bool
	// Email: an address is required.
	Email bool
}

// An Operator is what an operator is shown as and may do.
type Operator struct {
	// Title ends the line "is ..." of WHOIS.
	Title string
	// Rights are the words below; without any, the operator may do no more than others.
	Rights []string
}

// The rights of operators.
const (
	RightAll      = "all"      // all that follow
	RightKill     = "kill"     // KILL
	RightBan      = "ban"      // KLINE, DLINE and what takes them back
	RightRehash   = "rehash"   // REHASH
	RightDie      = "die"      // DIE, RESTART
	RightSee      = "see"      // hidden channels, users and addresses
	RightSA       = "sa"       // SAJOIN, SAMODE, CHGHOST
	RightRelayMsg = "relaymsg" // RELAYMSG everywhere
	RightWallops  = "wallops"  // WALLOPS
)

// Rights are all words that Operator.Rights can have.
var Rights = []string{
	RightAll, RightKill, RightBan, RightRehash, RightDie, RightSee, RightSA, RightRelayMsg, RightWallops,
}

// maxLabel is the most bytes of a label (labeled-response).
const maxLabel = 64

// maxHeld is the most lines of a session that wait while work for it is going on.
// The gate reads no more of it meanwhile; what waits was on its way already.
const maxHeld = 1000

// withDefaults returns the configuration with a number for each that is missing.
func (c Config) withDefaults() Config {
	for _, limit := range []struct {
		value    *int
		standard int
	}{
		{&c.Nick, 32}, {&c.User, 18}, {&c.RealName, 150}, {&c.ChannelName, 64}, {&c.Topic, 390},
		{&c.Kick, 390}, {&c.Away, 390}, {&c.Key, 32}, {&c.Channels, 100}, {&c.List, 100},
		{&c.Monitor, 100}, {&c.Modes, 6}, {&c.Targets, 4}, {&c.Accept, 100}, {&c.Invites, 50},
		{&c.MultilineSize, 4096}, {&c.Multiline, 100}, {&c.WhoWas, 1000}, {&c.History.Page, 1000}, {&c.Registered, 20},
	} {
		*limit.value = cmp.Or(*limit.value, limit.standard)
	}
	c.Name = cmp.Or(c.Name, "irc.localhost")
	c.Network = cmp.Or(c.Network, "epi")
	c.Description = cmp.Or(c.Description, "epi chat")
	c.Version = cmp.Or(c.Version, "epi")
	c.ChannelModes = cmp.Or(c.ChannelModes, "nt")
	return c
}
