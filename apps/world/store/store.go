package store

import (
	"context"
	"errors"
	"time"

	"github.com/epinet/epi/apps/internal/groupcommit"
)

// Why a write is refused, or a store not opened.
var (
	// ErrStale: the item, or the character, is no longer as the write expects it.
	ErrStale = errors.New("it has changed meanwhile")
	// ErrExists: the identifier or the name is taken; of a Trade: it is done.
	ErrExists = errors.New("it is there already")
	// ErrNotFound: there is no such account, character, item or chest.
	ErrNotFound = errors.New("there is no such thing")
	// ErrAmount: an amount is not from 1 to MaxGold.
	ErrAmount = errors.New("the amount is not one that can be given")
	// ErrGold: the purse has not so much gold, or no room for so much.
	ErrGold = errors.New("the purse has not so much gold, or no room for it")
	// ErrInvalid: the write makes no sense, as a trade with oneself.
	ErrInvalid = errors.New("the write makes no sense")
	// ErrBusy: as many writes wait as may. The remedy is to try again later.
	ErrBusy = groupcommit.ErrBusy
	// ErrClosed: the writer was closed.
	ErrClosed = groupcommit.ErrClosed
	// ErrTaken: another server has the store. Of two only one may write.
	ErrTaken = errors.New("another server has this store: end that one first, or name another store")
	// ErrScheme: the address is a URL of something else.
	ErrScheme = errors.New("a store is a file of SQLite or postgres://USER@HOST/DATABASE")
	// ErrForeign: the database is not one of a world.
	ErrForeign = errors.New("the database is not one of a world: name another")
	// ErrNewer: the database was made by a newer version of this program.
	ErrNewer = errors.New("the database is of a newer version: use that version of the program, or a backup")
	// ErrOlder: the database was made by an older version of this program, and is to stay so.
	ErrOlder = errors.New("the database is of an older version of this program: use that, or have this one serve it once, which brings it up to date")
)

// MaxGold is the most that a purse holds.
const MaxGold = 1 << 40

// A Store keeps a world. Its methods may be called from any goroutine, but for
// Close, which comes last.
type Store interface {
	// Apply does writes in order and in one transaction, and returns when they last.
	// A refused write changes nothing and hinders no other: results has why, at its
	// index. When err is not nil none of the writes was done.
	Apply(ctx context.Context, writes []Write) (results []error, err error)

	// Claim makes this the one Store that writes what it opened, and is for servers. It
	// waits until ctx ends for another one to let go, as the system does for a process
	// that was killed, and fails then with ErrTaken. When a server loses its claim, as
	// with the connection to its database, and another takes over, Apply fails with
	// ErrTaken from then on. Close ends the claim.
	Claim(ctx context.Context) error

	// Account returns an account by its key, and its character.
	Account(ctx context.Context, key string) (Account, Character, error)
	// Items returns what an owner has, in the order of identifiers.
	Items(ctx context.Context, owner Owner) ([]Item, error)
	// Ground returns all that lies on the ground, in the order of identifiers.
	Ground(ctx context.Context) ([]Item, error)
	// Chests returns all chests, in the order of identifiers.
	Chests(ctx context.Context) ([]Chest, error)
	// Deeds returns what moderators did last, the newest first.
	Deeds(ctx context.Context, limit int) ([]Deed, error)
	// Last returns the highest identifiers that were ever used for a character and
	// for an item: the next are one more.
	Last(ctx context.Context) (character, item int64, err error)

	// Audit looks for what cannot be, and returns it in words: made − destroyed =
	// existing, of each kind of item and of gold; one owner for each item; damage.
	Audit(ctx context.Context) (problems []string, err error)

	Close() error
}

// An Account is somebody who may come into the world.
type Account struct {
	Key     string // the name as names are compared
	Name    string // as it is shown
	Secret  []byte // a hash of what proves that somebody is this one
	Role    string // empty, or the name of a role
	Muted   time.Time
	Banned  time.Time // until then; the zero time: not
	Created time.Time
}

// A Character is what an account plays.
type Character struct {
	ID    int64
	Epoch int64 // one more with each session
	Soft
	Gold int64
}

// Soft is the state of a character that may be a second old after a crash.
type Soft struct {
	Version    int64 // rises within an epoch
	X, Y       int64 // in units of the world
	Health     int64
	Experience int64
}

// An OwnerKind says what an Owner is.
type OwnerKind uint8

// The kinds of owners.
const (
	Player OwnerKind = iota + 1
	Ground
	Chested
)

// An Owner has items: a character, a chest, or a place on the ground.
type Owner struct {
	Kind OwnerKind
	ID   int64 // of the character or chest; on the ground the place
}

// Of is the owner that is a character.
func Of(character int64) Owner { return Owner{Player, character} }

// In is the owner that is a chest.
func In(chest int64) Owner { return Owner{Chested, chest} }

// On is the owner that is a place on the ground.
func On(x, y uint16) Owner { return Owner{Ground, int64(y)<<16 | int64(x)} }

// Place returns where something lies that is owned by the ground.
func (o Owner) Place() (x, y uint16) { return uint16(o.ID), uint16(o.ID >> 16) }

func (o Owner) valid() bool {
	if o.Kind == Ground {
		return o.ID >= 0 && o.ID < 1<<32
	}
	return (o.Kind == Player || o.Kind == Chested) && o.ID > 0
}

// An Item is one thing.
type Item struct {
	ID      int64
	Kind    int64 // the game's number for it; at least 1
	Version int64 // 1, and one more with each move
	Owner   Owner
}

// A Chest holds items, at a place.
type Chest struct {
	ID   int64
	X, Y int64
}

// A Deed is something that a moderator did.
type Deed struct {
	At      time.Time
	Actor   string
	Action  string
	Subject string
	Text    string
}
