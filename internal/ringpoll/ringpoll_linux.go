// Package ringpoll is a poll.Poller on the poll operations of io_uring: the
// wishes of one turn and the wait for events are one system call, and a glance
// when nothing has happened is none.
package ringpoll

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
	"github.com/epinet/epi/uring"
)

// A Poller is a poll.Poller whose contract is narrower in these points:
//
//   - All methods but Wake belong to one thread, that of the first Wait: lock
//     the goroutine to it. Before the first Wait any goroutine may call Add,
//     Modify and Remove, one at a time.
//   - Add, Modify and Remove only note what the next Wait asks of the kernel.
//     So a descriptor that is not open is no error of theirs: it is reported
//     as Error, by Level with each Wait, by the others once.
//   - The kernel holds the file of a registered descriptor. Closing it without
//     Remove ends neither the registration nor even the connection.
//   - An event reports what has changed. With Edge, what held before may be
//     missing in Ready, and a change that was undone meanwhile may be in it.
//     An event beyond len(events) keeps the Ready that it came with.
//
// Beyond what the contract asks for, Exclusive may be combined with every
// interest and mode, also by Modify.
type Poller struct {
	ring    ring
	waker   *uring.Waker
	started bool
	closed  atomic.Bool
	table   []registration // by descriptor
	todo    []int32        // descriptors that the next Wait arms, each at most once
}

// ring is what a Poller needs of an io_uring. A test has another.
type ring interface {
	Enable() error
	SQE() *uring.SQE
	Prepared() int
	Submit() error
	Wait(count int, timeout time.Duration) error
	WorkWaits() bool
	Ready() int
	Next() (uring.CQE, bool)
	Close() error
}

// A registration is what is known of one descriptor.
//
//	idle ──► listed ──► armed ──► reported: Level and an ended Edge are
//	          ▲                   listed again, a OneShot is idle
//	          └── Add, Modify
type registration struct {
	token      uint64
	generation uint32 // of the operation that was armed last; older ones have ended or are cancelled
	interest   poll.Mask
	mode       poll.Mode
	registered bool
	listed     bool // in todo; may outlive the registration
	armed      bool // the kernel has the operation, and its last completion was not taken
	patient    bool // arm it so that it waits for a change, see missed
}

// The UserData of an operation is the generation of the registration and,
// below, the descriptor. These have none, which the sign shows.
const (
	wakeData   = uint64(0xffffffff)
	cancelData = uint64(0xfffffffe)
)

func dataOf(fd int32, generation uint32) uint64 { return uint64(generation)<<32 | uint64(uint32(fd)) }

// New makes a Poller. The error says why the kernel has no io_uring for us, and
// the remedy (uring.New).
func New() (*Poller, error) {
	// Completions are posted in our own calls only, which needs the one thread.
	const setup = uring.SingleIssuer | uring.DeferTaskrun | uring.TaskrunFlag | uring.SubmitAll | uring.Disabled
	r, err := uring.New(uring.Config{Setup: setup})
	if err != nil {
		return nil, fmt.Errorf("open io_uring poller: %w", err)
	}
	waker, err := uring.NewWaker()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open io_uring poller: %w", err), r.Close())
	}
	return &Poller{ring: r, waker: waker}, nil
}

// Add registers fd.
func (p *Poller) Add(fd int, token uint64, interest poll.Mask, mode poll.Mode) error {
	if err := p.refuse(fd, token); err != nil {
		return registrationError("add", fd, err)
	}
	for fd >= len(p.table) {
		p.table = append(p.table, registration{})
	}
	r := &p.table[fd]
	if r.registered {
		return registrationError("add", fd, poll.ErrExist)
	}
	r.registered = true
	r.set(token, interest, mode)
	p.list(int32(fd), r)
	return nil
}

// Modify replaces what Add said.
func (p *Poller) Modify(fd int, token uint64, interest poll.Mask, mode poll.Mode) error {
	if err := p.refuse(fd, token); err != nil {
		return registrationError("modify", fd, err)
	}
	r, err := p.find(fd)
	if err != nil {
		return registrationError("modify", fd, err)
	}
	r.set(token, interest, mode)
	p.list(int32(fd), r)
	return registrationError("modify", fd, p.disarm(int32(fd), r))
}

// Remove ends the registration: no event of it is reported any more, and the
// kernel lets go of the file.
func (p *Poller) Remove(fd int) error {
	if err := p.refuse(fd, 0); err != nil {
		return registrationError("remove", fd, err)
	}
	r, err := p.find(fd)
	if err != nil {
		return registrationError("remove", fd, err)
	}
	r.registered = false
	armed := r.armed
	if err := p.disarm(int32(fd), r); err != nil {
		return registrationError("remove", fd, err)
	}
	if armed && p.started {
		// Now, not in the next Wait: there may be none, and the kernel holds the
		// file until then.
		return registrationError("remove", fd, p.ring.Submit())
	}
	return nil
}

func (p *Poller) refuse(fd int, token uint64) error {
	if p.closed.Load() {
		return poll.ErrClosed
	}
	if fd < 0 {
		return unix.EBADF
	}
	if token == poll.ReservedToken {
		return fmt.Errorf("token is ReservedToken: %w", unix.EINVAL)
	}
	return nil
}

func (p *Poller) find(fd int) (*registration, error) {
	if fd >= len(p.table) || !p.table[fd].registered {
		return nil, poll.ErrNotExist
	}
	return &p.table[fd], nil
}

func (r *registration) set(token uint64, interest poll.Mask, mode poll.Mode) {
	r.token, r.interest, r.mode = token, interest, mode
	r.patient = r.edge()
}

func (r *registration) edge() bool { return r.mode&(poll.Edge|poll.OneShot) == poll.Edge }

func registrationError(act string, fd int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("io_uring %s fd %d: %w", act, fd, err)
}

// list has the next Wait arm the registration.
func (p *Poller) list(fd int32, r *registration) {
	if r.listed {
		return
	}
	r.listed = true
	p.todo = append(p.todo, fd)
}

// disarm cancels the operation, if there is one. Its last completion is
// recognised by the generation, and dropped.
func (p *Poller) disarm(fd int32, r *registration) error {
	if !r.armed {
		return nil
	}
	r.armed = false
	sqe, err := p.entry()
	if err != nil {
		return err
	}
	sqe.Cancel(dataOf(fd, r.generation))
	sqe.Flags, sqe.UserData = uring.SkipSuccess, cancelData
	return nil
}

// entry returns a free entry of the submission queue.
func (p *Poller) entry() (*uring.SQE, error) {
	for {
		if sqe := p.ring.SQE(); sqe != nil {
			return sqe, nil
		}
		if err := p.ring.Submit(); err != nil {
			return nil, err
		}
	}
}

// Wait is poll.Poller's. With timeout 0 it makes no system call if there is
// nothing to ask for and nothing has happened.
func (p *Poller) Wait(events []poll.Event, timeout time.Duration) (int, error) {
	if p.closed.Load() {
		return 0, fmt.Errorf("io_uring wait: %w", poll.ErrClosed)
	}
	if len(events) == 0 {
		return 0, fmt.Errorf("io_uring wait: no room for events: %w", unix.EINVAL)
	}
	n, err := p.wait(events, timeout)
	if err != nil {
		return 0, fmt.Errorf("io_uring wait: %w", err)
	}
	return n, nil
}

func (p *Poller) wait(events []poll.Event, timeout time.Duration) (int, error) {
	if err := p.start(); err != nil {
		return 0, err
	}
	var end time.Time
	if timeout > 0 {
		end = time.Now().Add(timeout)
	}
	// What ends a call but not the wait: a signal, the completion of a cancelled
	// operation, and one that was missed, whose registration is then in todo.
	// One call posts only some of the completions that are due, WorkWaits says.
	for {
		if err := p.arm(); err != nil {
			return 0, err
		}
		if err := p.enter(timeout); err != nil {
			return 0, err
		}
		idle := p.ring.Ready() == 0
		n, woken, err := p.take(events)
		if n > 0 || woken || err != nil {
			return n, err
		}
		if timeout > 0 {
			timeout = max(0, time.Until(end))
		}
		// That work waits is a hint, which may be left over: a call that posts
		// nothing had nothing to post.
		if timeout == 0 && len(p.todo) == 0 && (idle || !p.ring.WorkWaits()) {
			return 0, nil
		}
	}
}

// start gives the ring to the calling thread, the first time.
func (p *Poller) start() error {
	if p.started {
		return nil
	}
	if err := p.ring.Enable(); err != nil {
		return err
	}
	p.started = true
	return p.armWaker()
}

func (p *Poller) armWaker() error {
	sqe, err := p.entry()
	if err != nil {
		return err
	}
	p.waker.Arm(sqe)
	sqe.UserData = wakeData
	return nil
}

// arm prepares the operations of the registrations that are listed, in order:
// those that were reported last go behind the others.
func (p *Poller) arm() error {
	for i, fd := range p.todo {
		if err := p.armOne(fd); err != nil {
			p.todo = p.todo[:copy(p.todo, p.todo[i:])]
			return err
		}
	}
	p.todo = p.todo[:0]
	return nil
}

func (p *Poller) armOne(fd int32) error {
	r := &p.table[fd]
	if r.registered && !r.armed {
		sqe, err := p.entry()
		if err != nil {
			return err
		}
		r.generation++
		r.armed = true
		r.prepare(sqe, fd)
	}
	r.listed = false
	return nil
}

func (r *registration) prepare(sqe *uring.SQE, fd int32) {
	bits := r.interest.Bits()
	if r.mode&poll.Exclusive != 0 {
		bits |= unix.EPOLLEXCLUSIVE
	}
	if r.interest&poll.Priority != 0 {
		// io_uring ignores POLLPRI in a wake-up (IO_ASYNC_POLL_COMMON). Sockets
		// report urgent data with POLLRDBAND, too.
		bits |= unix.EPOLLRDBAND
	}
	if r.patient {
		sqe.PollMultishot(int(fd), bits)
	} else {
		sqe.PollAdd(int(fd), bits)
	}
	sqe.UserData = dataOf(fd, r.generation)
}

// enter makes the one system call, if any is needed.
func (p *Poller) enter(timeout time.Duration) error {
	if timeout != 0 && p.ring.Ready() == 0 {
		return p.ring.Wait(1, timeout)
	}
	if p.ring.Prepared() > 0 || p.ring.WorkWaits() {
		return p.ring.Submit()
	}
	return nil
}

// take turns completions into events.
func (p *Poller) take(events []poll.Event) (n int, woken bool, err error) {
	for n < len(events) && err == nil {
		c, ok := p.ring.Next()
		if !ok {
			break
		}
		switch c.UserData {
		case wakeData:
			woken = true
			if !c.More() {
				err = p.armWaker()
			}
		case cancelData: // it had ended already
		default:
			var reported bool
			if events[n], reported, err = p.event(c); reported {
				n++
			}
		}
	}
	return n, woken, err
}

// event returns the event that the completion of a registration makes.
func (p *Poller) event(c uring.CQE) (event poll.Event, reported bool, err error) {
	fd := int32(uint32(c.UserData))
	r := &p.table[fd]
	if !r.registered || !r.armed || c.UserData != dataOf(fd, r.generation) {
		return event, false, nil
	}
	r.armed = c.More()
	event = poll.Event{Token: r.token, Ready: r.readiness(fd, c)}
	if event.Ready == 0 {
		p.missed(fd, r)
		return event, false, nil
	}
	switch {
	case r.edge():
		if !r.armed && c.Res >= 0 {
			p.list(fd, r) // multishot operations may end at any time
		}
	case r.mode&poll.OneShot != 0:
		err = p.disarm(fd, r)
	default:
		r.patient = false
		p.list(fd, r)
		err = p.disarm(fd, r)
	}
	return event, true, err
}

// missed waits on after a completion with nothing that was asked for: the kernel
// also reports that the peer shut down its writing half, always and, unless it
// waits for a change, at once.
func (p *Poller) missed(fd int32, r *registration) {
	r.patient = true
	if !r.armed {
		p.list(fd, r)
	}
}

// readiness returns what of the interest the completion reports.
func (r *registration) readiness(fd int32, c uring.CQE) poll.Mask {
	if c.Res < 0 {
		return poll.Error
	}
	asked := r.interest | poll.Error | poll.HangUp
	ready := poll.MaskOf(uint32(c.Res)) & asked
	if ready&poll.Priority != 0 {
		// Sockets wake those who wait for urgent data with any data.
		ready = look(fd, r.interest) & asked
	}
	return ready
}

// look asks poll(2) what holds now.
func look(fd int32, interest poll.Mask) poll.Mask {
	set := unix.PollFd{Fd: fd, Events: int16(interest.Bits())}
	_, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&set)), 1, uintptr(unsafe.Pointer(&unix.Timespec{})), 0, 0, 0)
	if errno != 0 {
		return interest // not known: let the user try
	}
	return poll.MaskOf(uint32(uint16(set.Revents)))
}

// Wake is poll.Poller's: any goroutine may call it.
func (p *Poller) Wake() error {
	if p.closed.Load() {
		return fmt.Errorf("io_uring wake: %w", poll.ErrClosed)
	}
	if err := p.waker.Wake(); err != nil {
		return fmt.Errorf("io_uring wake: %w", err)
	}
	return nil
}

// Close frees the ring. What is still registered is let go soon after.
func (p *Poller) Close() error {
	if p.closed.Swap(true) {
		return fmt.Errorf("close io_uring poller: %w", poll.ErrClosed)
	}
	if err := errors.Join(p.ring.Close(), p.waker.Close()); err != nil {
		return fmt.Errorf("close io_uring poller: %w", err)
	}
	return nil
}
