// Package poll asks the kernel which descriptors are ready, by select, poll or
// epoll, behind one interface. It is a thin layer over the system calls and
// holds no policy: it reads nothing, writes nothing and closes no descriptor
// that it was given. It is useful on its own.
//
// # What is not promised
//
// Readiness is a hint. An event says that an operation is likely to make
// progress; it may be spurious, and another goroutine may have taken what made
// it true. Descriptors should be non-blocking, and EAGAIN is a normal answer
// to the read or write that follows. The order of events within one Wait has
// no meaning.
package poll

import (
	"errors"
	"fmt"
	"time"
)

// A Mask is a set of conditions of a descriptor: those asked for (the
// interest) or those that hold (the readiness).
type Mask uint8

// The conditions. Error and HangUp are reported whether asked for or not;
// asking for them changes nothing. See epoll_ctl(2) and poll(2).
const (
	// Readable: a read will not block: there are bytes, the end of the stream,
	// a connection to accept, or an error to fetch.
	Readable Mask = 1 << iota
	// Writable: a write will not block: there is room, or an error to fetch.
	Writable
	// Priority: out-of-band data waits (TCP urgent data).
	Priority
	// ReadHangUp: the peer closed or shut down its writing half. Bytes sent
	// before may still be unread.
	ReadHangUp
	// Error: an error is pending on the descriptor (output only).
	Error
	// HangUp: both directions are shut down (output only).
	HangUp
)

// A Mode says how often a condition is reported.
type Mode uint8

// The modes, which may be combined where the backend has them. Level is the
// absence of the others.
const (
	// Level reports on every Wait for as long as the condition holds.
	Level Mode = 0
	// Edge reports when the condition changes (EPOLLET). Epoll only.
	Edge Mode = 1 << 0
	// OneShot reports once and is then silent until Modify arms it again
	// (EPOLLONESHOT).
	OneShot Mode = 1 << 1
	// Exclusive wakes one of the pollers that watch the same descriptor
	// instead of all (EPOLLEXCLUSIVE). Epoll only, with Add only, and only
	// with the interests Readable and Writable.
	Exclusive Mode = 1 << 2
)

// An Event reports that the descriptor registered with Token is Ready.
type Event struct {
	Token uint64 // as given to Add or Modify
	Ready Mask   // what holds of the interest, and Error and HangUp
}

// ReservedToken is the one token that users of a Poller cannot have: the
// backends mark their own wake-up descriptor with it.
const ReservedToken = ^uint64(0)

// Errors of the Poller interface, to be tested with errors.Is. What a backend
// cannot do is refused with errors.ErrUnsupported; a descriptor that is not
// open with unix.EBADF.
var (
	// ErrExist: Add of a descriptor that is registered already (EEXIST).
	ErrExist = errors.New("descriptor is already registered")
	// ErrNotExist: Modify or Remove of a descriptor that is not registered (ENOENT).
	ErrNotExist = errors.New("descriptor is not registered")
	// ErrClosed: the Poller was closed.
	ErrClosed = errors.New("poller is closed")
)

// A Poller watches a set of descriptors. Every backend fulfils this contract:
//
//   - All methods but Close may be called from any goroutine, also while others
//     are inside Wait; a Wait under way takes a change into account at once.
//   - A Wait that starts after Add, Modify or Remove returned reports by the
//     latest token and interest. Events that another Wait has already taken
//     out are not called back.
//   - Closing a descriptor removes its registration only where the kernel keeps
//     it (epoll), and there only when the last duplicate is closed; until then
//     epoll goes on reporting it, and Remove of the closed number fails. Select
//     and poll report a descriptor closed without Remove as Error, each time,
//     until Remove. Remove first, then close: this is right on every backend.
type Poller interface {
	// Add registers the open descriptor fd. Its events carry token, which may
	// be any number but ReservedToken.
	Add(fd int, token uint64, interest Mask, mode Mode) error

	// Modify replaces token, interest and mode of a registered descriptor. It
	// arms a OneShot again, and reports a condition that holds already.
	Modify(fd int, token uint64, interest Mask, mode Mode) error

	// Remove ends the registration.
	Remove(fd int) error

	// Wait fills events with at most len(events) events and returns their
	// number. It waits until there is at least one, until Wake, or until
	// timeout has passed: 0 does not wait, a negative one waits for ever, a
	// positive one never ends early. The number is 0 after the timeout, after a
	// Wake, and never otherwise. Wait goes on after EINTR by itself. Ready
	// descriptors beyond len(events) are reported by the following calls, in
	// turn. len(events) must be at least 1.
	Wait(events []Event, timeout time.Duration) (int, error)

	// Wake makes one Wait, under way or the next, return without waiting any
	// longer, with the events that are ready, if any. Wakes that come before it
	// is on its way back count as one. Wake does not order memory: guard with a
	// lock or an atomic what the woken goroutine is to see.
	Wake() error

	// Close frees what the Poller itself holds, not the descriptors registered.
	// It must not be called while another method runs. Afterwards every method
	// returns ErrClosed.
	Close() error
}

// A Backend names the system call that a Poller uses.
type Backend string

// The backends, in the order in which Unix got them.
//
// Select watches descriptors below FD_SETSIZE (1024) only, Wait's own wake-up
// descriptors included. It has no ReadHangUp, and shows Error and HangUp only
// as the Readable and Writable that was asked for. Select and poll look at
// every descriptor in each Wait; epoll does not.
const (
	BackendSelect Backend = "select"
	BackendPoll   Backend = "poll"
	BackendEpoll  Backend = "epoll"
)

// Backends returns every backend that this platform has.
func Backends() []Backend { return backends() }

// New makes a Poller of the given backend. The epoll one also has a method
// FD() int: its own descriptor, which is readable while an event waits to be
// taken and may itself be watched by another Poller.
func New(b Backend) (Poller, error) {
	p, err := open(b)
	if err != nil {
		return nil, fmt.Errorf("open %s poller: %w", b, err)
	}
	return p, nil
}
