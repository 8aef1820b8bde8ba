// Package fabric is what the machines of one chat share: who is there, who owns
// which name, messages between them in order, and a history that no single machine
// can lose.
//
//	hall ──► Send, Broadcast      messages to other nodes, numbered on each way
//	     ──► Claim, Release       names with one owner in the network
//	     ──► Append, Replay       the replicated history
//	     ◄── Handler              messages, members that come and go, the own fence
//
// A chat on one machine has none, and pays nothing. Package natsfabric joins several
// machines by NATS; package fabrictest joins several nodes in memory, step by step,
// for tests that can be repeated.
//
// # Epochs
//
// A node is a member of the network while it holds a lease. Each lease has an
// [Epoch], a number that no lease of any node had before, and that is higher than
// all earlier ones. It fences what its holder does: a member that is down has lost
// all claims of its epoch, its messages are dropped, and when it comes back it has
// another epoch. A lease ends for its holder, by the holder's own monotonic clock,
// before anybody else may act as if it had ended: no two members own a name at the
// same time.
//
// # Decisions
//
// Who owns a name is decided by the result of a write, never by a read, since reads
// may be answered by a replica that is behind. A claim of an epoch that is over may be
// taken over by whoever writes first.
//
// # When the network is cut
//
// A node that cannot renew its lease, because it does not reach a majority, is fenced:
// it owns nothing, and claims fail with [ErrUnavailable] or [ErrFenced]. The others
// call it down when its lease is over.
package fabric

import (
	"errors"
	"fmt"
)

// A Node is a configured name, unique in the network.
type Node string

// An Epoch numbers the leases of all nodes in the order in which they were taken.
type Epoch uint64

// A Member is a node under one lease.
type Member struct {
	Node    Node
	Epoch   Epoch
	Version string // of the program, for upgrades one node at a time

	// Draining members finish what they have: they own no channels for longer than
	// it takes to give them away, and get no new ones.
	Draining bool
}

// A Kind is a space of names.
type Kind uint8

// The kinds of names.
const (
	Nick Kind = iota + 1
	Account
	Channel
)

func (k Kind) String() string {
	switch k {
	case Nick:
		return "nick"
	case Account:
		return "account"
	case Channel:
		return "channel"
	}
	return "unknown"
}

// A Key names what one member owns. The name is folded already: two spellings of one
// name must give one key.
type Key struct {
	Kind Kind
	Name string
}

func (k Key) String() string { return k.Kind.String() + " " + k.Name }

// A Claim is a key that the own epoch owns.
type Claim struct {
	Key   Key
	Epoch Epoch
}

// Errors of a Fabric. Results may wrap them.
var (
	// ErrTaken: another member owns the key; see [TakenError].
	ErrTaken = errors.New("owned by another node")

	// ErrUnavailable: the network did not answer in time, or has no majority. What was
	// asked for may still happen; a Claim that does is released again by the fabric.
	ErrUnavailable = errors.New("the cluster does not answer")

	// ErrFenced: the own lease is over, or there has been none yet.
	ErrFenced = errors.New("this node has no lease")

	// ErrDown: the node is not a member.
	ErrDown = errors.New("the node is down")

	// ErrStale: an entry of a Registry has another revision than was expected.
	ErrStale = errors.New("somebody else has written it meanwhile")

	// ErrTooLarge: the message is larger than MaxMessage.
	ErrTooLarge = errors.New("the message is too large for the cluster")
)

// A TakenError says who owns a key. It is an [ErrTaken].
type TakenError struct {
	Key    Key
	Holder Member // its Version may be unknown
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("%v is owned by node %s", e.Key, e.Holder.Node)
}

// Is makes it an ErrTaken.
func (e *TakenError) Is(target error) bool { return target == ErrTaken }

// MaxMessage is the length of the longest message for Send, Broadcast and Append.
const MaxMessage = 512 << 10

// Shards is the number of streams of the history. Each is replicated by itself, and
// costs each node a Raft group, so that there is not one for each channel.
const Shards = 8

// A Position is a place in the history of a shard: behind a record. The zero Position is
// before all of them.
type Position struct {
	Stream int64  // which history: one that was made anew has another number
	Number uint64 // of the record; numbers grow, and may have gaps
	At     int64  // when it was appended, which shows whether it still is that record
}

// A Fabric is one node's part of the network.
//
// Its methods may be called by any goroutine, also within the handler's methods, and
// do not wait for the network. Functions given as done are called once, by the
// goroutine that calls the Handler, and in one order with its methods. When the node is
// fenced, what is outstanding ends with ErrFenced before Handler.Fenced is called.
type Fabric interface {
	// Start begins to take part. Nothing is called before, and Start may be called
	// once. The first lease comes later: see Handler.Up.
	Start(h Handler) error

	// Self is the own node with the epoch of its lease, 0 if it has none.
	Self() Member

	// Valid says whether the own lease holds, by the own monotonic clock and with a
	// margin for clocks that differ in speed. Owners ask before they act, and not only
	// wait for Handler.Fenced: in a process that was stopped it comes late.
	Valid() bool

	// Send sends a message to another member. Messages from one member to another
	// arrive once, and in the order of the calls, for as long as both keep their
	// epochs; a message that is lost, which is rare, shows as Handler.Gap before the
	// next one, or after a heartbeat if there is none. No error does not mean that the
	// message arrives. The data is not kept. ErrDown, ErrFenced, ErrTooLarge.
	Send(to Node, data []byte) error

	// Broadcast is Send to all other members, and in order with it. It is no error
	// when there are none. ErrFenced, ErrTooLarge.
	Broadcast(data []byte) error

	// Claim makes the own epoch the owner of a key. Done gets ErrTaken if another
	// member is, ErrUnavailable or ErrFenced. To claim what one has is no error.
	Claim(key Key, done func(Claim, error))

	// Release gives a key back: others may claim it from some time after the call.
	// Claims of an epoch that is over need no release.
	Release(c Claim)

	// Append adds data, which is not empty, to the replicated history of a shard (below Shards). An id that was
	// appended before, within the last minutes, is not appended again. Done is called
	// without an error once a majority has the data on disk.
	// ErrUnavailable, ErrFenced, ErrTooLarge.
	Append(shard uint32, id string, data []byte, done func(error))

	// Replay calls each for the records of a shard behind a position, in order, with the
	// position behind each, and done at their end: all that were appended before the call are
	// among them. It ends early, without an error, when each returns false. A position that the
	// history does not have, since it was made anew or has lost its end, is taken for the
	// zero one. Records are kept for as long as the configuration says: those that are gone
	// are left out. Each must not keep the data, which is empty for a place that is nothing else.
	Replay(shard uint32, after Position, each func(behind Position, data []byte) (more bool), done func(error))

	// Drain makes the own member a draining one, for good. See Member.Draining.
	Drain()

	// Close ends the own lease, so that the others call the node down at once, and
	// the node's part. Nothing is called after it has returned; it must not be called
	// from within the handler.
	Close() error
}

// A Handler is called by one goroutine, in order. What it is called for waits for
// it: it must return soon.
type Handler interface {
	// Up: a member has a lease. The first call after Start, and after Fenced, is for
	// the own node; the other members follow, each before its first message. A member
	// whose Draining has changed is up again with the same epoch. A node that is up
	// with a new epoch was called down before.
	Up(m Member)

	// Down: a member's lease is over. Its claims may be taken over, and nothing of its
	// epoch is received any more.
	Down(m Member)

	// Received is a message of another member. The data may be kept.
	Received(from Member, data []byte)

	// Gap: messages of a member have been lost, those that would have come now.
	Gap(from Member)

	// Fenced: the own lease is over. The node owns nothing and must stop to act as an
	// owner; all other members are down without calls of Down, since it cannot know.
	// Up follows when there is a new lease.
	Fenced()
}

// Shard returns the shard of the history that a name belongs to.
func Shard(name string) uint32 { return uint32(hash(name, "") % Shards) }

// Home returns the member that a name belongs to: the same for all nodes that know
// the same members, in whatever order, and it changes for as few names as possible when a member
// comes or goes (rendezvous hashing). Draining members get nothing while there are
// others. It is false if there are no members.
func Home(name string, members []Member) (home Member, ok bool) {
	var most uint64
	for _, m := range members {
		weight := hash(string(m.Node), name)
		switch {
		case !ok, home.Draining && !m.Draining:
		case m.Draining && !home.Draining, weight < most:
			continue
		case weight == most && m.Node > home.Node:
			continue
		}
		home, most, ok = m, weight, true
	}
	return home, ok
}

// hash is FNV-1a of two strings, mixed at the end: FNV alone carries a difference in the last
// byte into few of the high bits, and weights are compared by those.
func hash(a, b string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(a) {
		h = (h ^ uint64(a[i])) * prime
	}
	h = (h ^ 0xff) * prime // no byte of UTF-8
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * prime
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
