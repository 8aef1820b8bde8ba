package poll

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epoll leaves the whole table to the kernel, so there is no lock here.
type epoll struct {
	fd       int
	wake     eventFD     // registered edge-triggered with ReservedToken, so it is never read
	msOnly   atomic.Bool // the kernel has no epoll_pwait2 (Linux before 5.11)
	closed   atomic.Bool
	freeBufs eventBuffers
}

func newEpoll() (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wake, err := newEventFD()
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	p := &epoll{fd: fd, wake: wake}
	if err := p.control(unix.EPOLL_CTL_ADD, int(wake), ReservedToken, unix.EPOLLIN|unix.EPOLLET); err != nil {
		return nil, errors.Join(fmt.Errorf("register wake-up: %w", err), p.Close())
	}
	return p, nil
}

// FD returns the descriptor of the epoll set. It is readable while an event
// waits to be taken (a Wake counts as one), and may be watched by another
// Poller. It belongs to the Poller: do not close it.
func (p *epoll) FD() int { return p.fd }

func (p *epoll) Add(fd int, token uint64, interest Mask, mode Mode) error {
	if err := p.refuse(token); err != nil {
		return registrationError(BackendEpoll, "add", fd, err)
	}
	if mode&Exclusive != 0 {
		if err := refuseExclusive(interest, mode); err != nil {
			return registrationError(BackendEpoll, "add", fd, err)
		}
	}
	err := p.control(unix.EPOLL_CTL_ADD, fd, token, interest.Bits()|modeBits(mode))
	return registrationError(BackendEpoll, "add", fd, err)
}

// refuseExclusive says beforehand, and in words, what the kernel answers with
// a bare EINVAL.
func refuseExclusive(interest Mask, mode Mode) error {
	if mode&OneShot != 0 {
		return fmt.Errorf("exclusive cannot be combined with one-shot: %w", errors.ErrUnsupported)
	}
	if interest&(Priority|ReadHangUp) != 0 {
		return fmt.Errorf("exclusive allows the interests Readable and Writable only: %w", errors.ErrUnsupported)
	}
	return nil
}

func (p *epoll) Modify(fd int, token uint64, interest Mask, mode Mode) error {
	if err := p.refuse(token); err != nil {
		return registrationError(BackendEpoll, "modify", fd, err)
	}
	if mode&Exclusive != 0 {
		err := fmt.Errorf("exclusive is for Add only; remove and add: %w", errors.ErrUnsupported)
		return registrationError(BackendEpoll, "modify", fd, err)
	}
	err := p.control(unix.EPOLL_CTL_MOD, fd, token, interest.Bits()|modeBits(mode))
	if err == unix.EINVAL && fd != p.fd {
		err = fmt.Errorf("registered as exclusive; remove and add: %w: %w", err, errors.ErrUnsupported)
	}
	return registrationError(BackendEpoll, "modify", fd, err)
}

func (p *epoll) Remove(fd int) error {
	if p.closed.Load() {
		return registrationError(BackendEpoll, "remove", fd, ErrClosed)
	}
	return registrationError(BackendEpoll, "remove", fd, p.control(unix.EPOLL_CTL_DEL, fd, 0, 0))
}

func (p *epoll) refuse(token uint64) error {
	if p.closed.Load() {
		return ErrClosed
	}
	if token == ReservedToken {
		return errReservedToken
	}
	return nil
}

func modeBits(mode Mode) uint32 {
	var b uint32
	if mode&Edge != 0 {
		b |= unix.EPOLLET
	}
	if mode&OneShot != 0 {
		b |= unix.EPOLLONESHOT
	}
	if mode&Exclusive != 0 {
		b |= unix.EPOLLEXCLUSIVE
	}
	return b
}

func (p *epoll) control(op, fd int, token uint64, bits uint32) error {
	event := unix.EpollEvent{Events: bits}
	*tokenOf(&event) = token
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL,
		uintptr(p.fd), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(&event)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// tokenOf returns the 64 bits of the event that belong to the user. The unix
// package shows them as Fd and Pad, one after the other.
func tokenOf(event *unix.EpollEvent) *uint64 {
	return (*uint64)(unsafe.Pointer(&event.Fd))
}

func (p *epoll) Wait(events []Event, timeout time.Duration) (int, error) {
	if p.closed.Load() {
		return 0, fmt.Errorf("epoll wait: %w", ErrClosed)
	}
	if len(events) == 0 {
		return 0, fmt.Errorf("epoll wait: %w", errNoRoom)
	}
	buf := p.freeBufs.take(len(events))
	defer p.freeBufs.put(buf)
	ready, err := p.fill(buf.events[:len(events)], timeout)
	if err != nil {
		return 0, fmt.Errorf("epoll wait: %w", err)
	}
	n := 0
	for i := range buf.events[:ready] {
		event := &buf.events[i]
		if token := *tokenOf(event); token != ReservedToken {
			events[n] = Event{Token: token, Ready: MaskOf(event.Events)}
			n++
		}
	}
	return n, nil
}

// fill calls the kernel until it has an event or the timeout is over.
func (p *epoll) fill(buf []unix.EpollEvent, timeout time.Duration) (int, error) {
	end := newDeadline(timeout)
	for left := timeout; ; left = end.left() {
		n, errno := p.call(buf, left)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		// A timeout cut to what the system call can express ends before its time.
		if n > 0 || end.left() <= 0 {
			return n, nil
		}
	}
}

// call makes one system call. Only a positive timeout needs the nanoseconds of
// epoll_pwait2; without it, milliseconds are rounded up, so that a short
// timeout does not become 0 and the caller does not spin.
func (p *epoll) call(buf []unix.EpollEvent, timeout time.Duration) (int, unix.Errno) {
	if timeout <= 0 || p.msOnly.Load() {
		return p.pwait(buf, milliseconds(timeout))
	}
	n, errno := p.pwait2(buf, timeout)
	// EPERM is the answer of seccomp filters that are older than the call.
	if errno == unix.ENOSYS || errno == unix.EPERM {
		p.msOnly.Store(true)
		return p.pwait(buf, milliseconds(timeout))
	}
	return n, errno
}

// pwait bypasses Go's scheduler, since the call cannot block: this is the
// cheap way to glance at the set, and its work is bounded by len(buf).
func (p *epoll) pwait(buf []unix.EpollEvent, ms int32) (int, unix.Errno) {
	if ms == 0 {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT,
			uintptr(p.fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0, 0)
		return int(n), errno
	}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT,
		uintptr(p.fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), uintptr(ms), 0, 0)
	return int(n), errno
}

func (p *epoll) pwait2(buf []unix.EpollEvent, timeout time.Duration) (int, unix.Errno) {
	// Unlike unix.Timespec, the argument has 64 bits on every architecture.
	ts := struct{ sec, nsec int64 }{int64(timeout / time.Second), int64(timeout % time.Second)}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2,
		uintptr(p.fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	return int(n), errno
}

// milliseconds rounds up, and cuts what does not fit an int. A negative timeout
// is -1: wait for ever.
func milliseconds(timeout time.Duration) int32 {
	if timeout < 0 {
		return -1
	}
	ms := timeout / time.Millisecond
	if timeout%time.Millisecond != 0 {
		ms++
	}
	return int32(min(ms, math.MaxInt32))
}

func (p *epoll) Wake() error {
	if p.closed.Load() {
		return fmt.Errorf("epoll wake: %w", ErrClosed)
	}
	if err := p.wake.signal(); err != nil {
		return fmt.Errorf("epoll wake: %w", err)
	}
	return nil
}

func (p *epoll) Close() error {
	if p.closed.Swap(true) {
		return fmt.Errorf("close epoll poller: %w", ErrClosed)
	}
	if err := errors.Join(p.wake.close(), unix.Close(p.fd)); err != nil {
		return fmt.Errorf("close epoll poller: %w", err)
	}
	return nil
}

// eventBuffers keeps the arrays that the kernel fills, one for each Wait that
// runs at the same time, so that Wait allocates nothing. More than fit here at
// once work as well, but allocate.
type eventBuffers [8]atomic.Pointer[eventBuffer]

type eventBuffer struct{ events []unix.EpollEvent }

// take returns a buffer with room for n events that nobody else has.
func (b *eventBuffers) take(n int) *eventBuffer {
	for i := range b {
		buf := b[i].Swap(nil)
		if buf == nil {
			continue
		}
		if len(buf.events) < n {
			buf.events = make([]unix.EpollEvent, n)
		}
		return buf
	}
	return &eventBuffer{make([]unix.EpollEvent, n)}
}

func (b *eventBuffers) put(buf *eventBuffer) {
	for i := range b {
		if b[i].CompareAndSwap(nil, buf) {
			return
		}
	}
}
