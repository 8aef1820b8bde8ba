// Package driver is how one loop performs I/O. The engine speaks to a Driver
// in completion style: it says what it wants (accept, connect, receive, send,
// close) and is called with what became of it. A readiness driver does the read or
// write itself when the poller says that it can; a completion driver lets the
// kernel do it. The engine cannot tell them apart.
package driver

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/epinet/epi/internal/slab"
	"github.com/epinet/epi/internal/sock"
	"github.com/epinet/epi/poll"
)

// A Handle is an open connection or listening socket: the descriptor, or the
// number that a driver without descriptors gives it. It belongs to whoever
// holds it and is given on by Accepted and Open; drivers of the same kind
// understand each other's.
type Handle int32

// NoHandle marks a Socket that is not open.
const NoHandle Handle = -1

// A Socket is what a driver keeps of one connection. It is embedded in the
// engine's connection, so that one allocation holds both. Between Open (or
// Connect) and Closed it belongs to its holder: the loop, or, with lending,
// the one worker that took it.
type Socket struct {
	Stream Stream // gets the completions; set before Open, never changed
	token  slab.Token
	Handle Handle
	flags  flags     // of the driver
	want   poll.Mask // what the engine waits for
	armed  poll.Mask // what the poller is asked for, or polls besides the kernel's own operations
	stage  stage     // the loop's, also with lending
}

// A stage is how far a connection is with its driver.
type stage uint8

const (
	stageOpen       stage = iota
	stageConnecting       // Connect is under way
	stageLeaving          // Detach was called, or, with the portable driver, Close
)

// flags of a Socket, for its holder alone. What follows from ownFlags on each
// driver names for itself.
type flags uint8

const (
	receiving flags = 1 << iota // the engine wants bytes
	sending                     // a Send is pending
	listed                      // on a list
	ended                       // there is nothing more to read
	closed                      // Close was called
	ownFlags
)

// A Listening is what a driver keeps of one listening socket on one loop. It
// belongs to the loop.
type Listening struct {
	Acceptor  Acceptor // gets the completions; set before Listen, never changed
	Handle    Handle
	Exclusive bool // other loops listen on the same socket
	// Shared says that others than the engine hold the socket's open file
	// description, and may change its mode at any time. It is set at Listen, and
	// turns true at most once.
	Shared  *atomic.Bool
	token   slab.Token
	watched bool
	wanted  bool // accepting is on

	// Of drivers that accept ahead.
	op      operation // what is under way
	waiting []Handle  // connections that were accepted and not handed over
}

// An operation of a listening socket, of drivers that accept ahead.
type operation uint8

const (
	opIdle   operation = iota
	opAccept           // connections are accepted
	opAwait            // for lack of descriptors: waits until somebody can be accepted
)

// Watched reports whether Listen succeeded and Unlisten was not yet called.
func (l *Listening) Watched() bool { return l.watched }

// A Stream gets what became of the operations of one connection. Its methods
// are called by Dispatch on the loop, or by FollowUp and Read in the goroutine that
// calls them, never inside another method of the driver.
type Stream interface {
	// Connected ends Connect. After an error the socket is as if never opened;
	// ErrBusy asks to try again later.
	Connected(err error)

	// Received hands over bytes that arrived, in order. They are the driver's
	// and gone when the method returns. It is called only while receiving.
	Received(p []byte)

	// Room returns where the next bytes may be put, for Filled: memory, an empty
	// pipe for a Splicer, or neither. It is an offer, for bytes that would otherwise
	// be copied there in Received, and stands until another method of the stream or
	// of its driver is called.
	Room() ([]byte, *Pipe)

	// Filled is Received for n bytes that lie in Room.
	Filled(n int)

	// ReceiveEnded follows the last Received: with io.EOF when the peer has
	// shut down its writing half, else with the error that broke the
	// connection. Receiving is then off for good.
	ReceiveEnded(err error)

	// Sent ends a pending Send: n bytes more were taken. With n = 0 and no
	// error there is room again. The engine sends the rest by a new Send.
	Sent(n int, err error)

	// Ready says, with lending only, what the socket is ready for. The holder
	// of the socket follows it up by FollowUp.
	Ready(r Readiness)

	// Detached ends Detach and is the last call: the connection is conn, and rest
	// had arrived already. After an error it is closed.
	Detached(conn net.Conn, rest []byte, err error)

	// Closed is the last call: the driver has forgotten the socket.
	Closed()
}

// Readiness is what a socket that is lent can be used for.
type Readiness uint8

// The kinds of readiness.
const (
	ReadReady  Readiness = 1 << iota // Read will make progress
	WriteReady                       // a pending Send has ended
	ReadAll                          // with ReadReady: a short read does not say that all was read
)

// An Acceptor gets the completions of a listening socket, on the loop.
type Acceptor interface {
	// Accepted hands over a new connection, to be opened on any loop or given
	// to Discard, or the error that accepting met. peer is the zero AddrPort for
	// Unix sockets and where the system does not give it. An accept error ends
	// nothing: connections that wait are reported again.
	Accepted(h Handle, peer netip.AddrPort, err error)
}

// A Driver performs the I/O of one loop.
//
// A loop calls Wait and then Dispatch, over and over, and from the first Wait
// on always from one goroutine, with Uring on one thread: only the thread that
// submits may collect what completes. Wake and Counters are for any goroutine, and
// where it is said; all else is for the loop alone, or for the holder of a socket.
// What needs no loop is in System.
//
// The driver reports nothing more of a socket after Close but Closed, and the
// handle's number is not used again before that. Events that reach the driver
// after a socket is gone are counted and dropped: a token's slot carries a
// generation.
type Driver interface {
	Listeners
	Streams
	Packets

	// Wait sleeps until there are completions, at most for timeout (poll.Poller
	// gives its meaning), and returns how many events there are. It does not
	// sleep while completions are left over.
	Wait(timeout time.Duration) (int, error)
	// Dispatch reports the completions of the last Wait. When a callback ends its
	// goroutine, calling Dispatch again reports those that are left.
	Dispatch()

	// Wake makes Wait return, now or the next time.
	Wake() error

	// Sockets calls visit for every open connection. Loop only.
	Sockets(visit func(Stream))
	// Counters returns the driver's counters, which may be read at any time.
	Counters() *Counters
	// Release frees the driver. Nothing may be open any more, and nobody may
	// call Wake.
	Release() error
}

// Listeners are the methods of a Driver for listening sockets. They are for the loop.
type Listeners interface {
	// Listen begins to report connections of the listening socket.
	Listen(l *Listening) error
	// Accept stops accepting for a while, or goes on.
	Accept(l *Listening, on bool) error
	// Unlisten ends accepting on this loop. It does not close the handle.
	Unlisten(l *Listening)
}

// Streams are the methods of a Driver for connections: those from Open to Detach for
// the loop, the others for the holder of the socket.
type Streams interface {
	// Open takes over the connection s.Handle and begins to receive. On error
	// the caller keeps the handle.
	Open(s *Socket) error
	// Connect begins to connect to addr, from the address local unless that is
	// the zero Addr, and sets s.Handle; Connected follows. On error there is
	// nothing to close. ErrBusy asks to try again later.
	Connect(s *Socket, local netip.Addr, addr net.Addr, o sock.StreamOptions) error
	// Surrender gives up a socket that has just been connected, without closing
	// it, and returns its handle, for Open or Discard. It is for Connected alone.
	Surrender(s *Socket) Handle
	// Close ends the connection: with reset by RST and throwing away what is
	// unsent, else in order, for which it throws away what has arrived, since
	// closing with unread input resets the connection. Closed follows.
	Close(s *Socket, reset bool)

	// Detach gives the open connection to package net: Detached follows, and
	// nothing before it. No Send may be pending.
	Detach(s *Socket)

	// Receive turns receiving on or off. Nothing that arrives meanwhile is lost.
	Receive(s *Socket, on bool)
	// Send offers bytes to the kernel, which takes the first n. When it does
	// not take all, pending is true and Sent follows; until then the bytes must
	// not change and no other Send may be made.
	Send(s *Socket, bufs [][]byte) (n int, pending bool, err error)
	// CloseWrite shuts down the writing half.
	CloseWrite(s *Socket) error
	// Delivered reports whether the peer's host has all that was sent and the
	// end of the stream.
	Delivered(s *Socket) bool
}

// A Lender is a Driver made with Config.Lend: sockets are with workers in turn,
// who do the reading and writing. These methods are for the holder.
type Lender interface {
	Driver
	// FollowUp notes that the holder follows up a Ready. It reports the end of a
	// pending Send through Sent.
	FollowUp(s *Socket, r Readiness)
	// Read reports what has arrived through Received and ReceiveEnded, within
	// the read budget. buf is room for the bytes.
	Read(s *Socket, buf []byte)
	// Return returns the socket to the loop's watch: Ready may come from now on.
	// A socket that cannot be watched is Ready at once.
	Return(s *Socket)
}

// A Delayed is a Driver whose Wait may leave out what happened shortly before.
type Delayed interface {
	Driver
	// Delay returns for how long the program has to run until Wait brings it.
	Delay() time.Duration
}

// A DirectSender is a Driver that can also send within the call.
type DirectSender interface {
	Driver
	// SendNow gives the kernel what it takes of p, and returns how many bytes that
	// is. An error is met again by the next Send. No Send may be pending.
	SendNow(s *Socket, p []byte) int
	// Thread returns the number of the calling thread, never 0.
	Thread() int64
}

// Counters count the work of a driver: system calls and what came of them.
type Counters struct {
	Waits    atomic.Uint64 // system calls that waited or looked for events
	Events   atomic.Uint64 // events they brought
	Reads    atomic.Uint64 // system calls that read
	Writes   atomic.Uint64 // system calls that wrote
	Controls atomic.Uint64 // changes of what the poller watches
	Submits  atomic.Uint64 // operations handed to io_uring
	Stale    atomic.Uint64 // events dropped because their socket was gone
	Starved  atomic.Uint64 // receives that found the pool of buffers empty
}

// ErrBusy: a Unix peer has no room for another connection, or datagram, and the
// call must be made again some time later.
var ErrBusy = errors.New("the peer's backlog is full")

// Config is what a driver is made of.
type Config struct {
	Backend      poll.Backend // or Uring, or Portable
	Trigger      Trigger      // of the pollers but Uring
	Lend         bool         // report Ready instead of Received and let workers pull
	ReadBudget   int          // bytes read per socket and turn
	AcceptBudget int          // connections accepted per listening socket and turn
	MaxEvents    int          // events per wait
	BufferPool   int          // Uring: bytes that the kernel receives into
	MaxDatagram  int          // bytes of a datagram that is handed over
	PacketBatch  int          // messages received per packet socket and turn
	Shared       *Shared
}

// Uring is the Backend of io_uring.
const Uring poll.Backend = "uring"

// Portable is the Backend of package net.
const Portable poll.Backend = "portable"

// New makes a driver; with Lend it is a Lender.
func New(cfg Config) (Driver, error) {
	if cfg.Backend == Portable {
		return newPortable(cfg), nil
	}
	return newNative(cfg)
}

// readSize is the size of one read: large enough that bulk data costs few
// calls, small enough that a raw system call does not hold up the garbage
// collector. A message of 64 KiB leaves room: what fills it must be asked again.
const readSize = 64<<10 + 4<<10

// A Trigger says how a readiness driver asks its poller.
type Trigger uint8

// The triggers.
const (
	Level   Trigger = iota // report for as long as the condition holds
	Edge                   // report changes, and read until EAGAIN
	OneShot                // report once, read until EAGAIN, arm again: level used like edge
)

// String returns the trigger's name.
func (t Trigger) String() string { return [...]string{"level", "edge", "oneshot"}[t] }
