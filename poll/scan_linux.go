package poll

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A scanCall is a system call that is handed the whole set every time: select
// or poll. It belongs to one waiter.
type scanCall interface {
	// clear empties the set.
	clear()
	// add puts a descriptor into the set.
	add(fd int, interest Mask)
	// do waits and returns 0 if nothing is ready.
	do(timeout time.Duration) (int, error)
	// size is the end of the positions in the set.
	size() int
	// next returns the first ready descriptor at a position from lo to hi-1
	// that the last do found, or fd -1.
	next(lo, hi int) (pos, fd int, ready Mask)
}

// A scanKind is what differs between the backends that scan.
type scanKind struct {
	backend Backend
	newCall func() scanCall
	refuse  func(fd int, interest Mask) error // why the call cannot watch this
}

// A scanner keeps the table of registrations that select and poll do not keep
// for us.
//
// Each Wait under way has a waiter, and the waiter a copy of the table in the
// form of its system call. The lock is not held during the call. Whoever
// changes the table meanwhile calls the waiters back from the kernel: they take
// a new copy and go on. What the call found is reported by the table as it is
// then, not as it was copied.
type scanner struct {
	scanKind

	mu      sync.Mutex
	closed  bool
	table   []registration
	place   []int32 // by descriptor: 1 + its place in the table, or 0
	version uint64  // counts the changes that make copies of the table stale
	cursor  int     // position in the set at which the next report begins
	woken   bool    // a Wake that no Wait has answered yet
	waiters []*waiter
}

// A registration is 24 bytes.
type registration struct {
	token    uint64
	since    uint64 // version from which on a copy speaks of this registration
	fd       int32
	interest Mask
	mode     Mode
	armed    bool // false once a OneShot was reported, until Modify
}

// A waiter is what one Wait needs; it is kept for the next one.
type waiter struct {
	call    scanCall
	kick    eventFD // part of the set
	version uint64  // of the table that the set is a copy of
	busy    bool    // a Wait has it
	inside  bool    // the lock is given up for the system call
	kicked  bool    // kick is signalled
}

func newScanner(kind scanKind) (*scanner, error) {
	s := &scanner{scanKind: kind, version: 1}
	// The first waiter now: later its descriptor may be too high for select.
	if _, err := s.newWaiter(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *scanner) Add(fd int, token uint64, interest Mask, mode Mode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return registrationError(s.backend, "add", fd, s.add(fd, token, interest, mode))
}

func (s *scanner) add(fd int, token uint64, interest Mask, mode Mode) error {
	if err := s.check(fd, token, interest, mode); err != nil {
		return err
	}
	if s.find(fd) != nil {
		return ErrExist
	}
	for len(s.place) <= fd {
		s.place = append(s.place, 0)
	}
	s.table = append(s.table, registration{
		fd: int32(fd), token: token, since: s.version + 1, interest: interest, mode: mode, armed: true,
	})
	s.place[fd] = int32(len(s.table))
	return s.changed()
}

func (s *scanner) Modify(fd int, token uint64, interest Mask, mode Mode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return registrationError(s.backend, "modify", fd, s.modify(fd, token, interest, mode))
}

func (s *scanner) modify(fd int, token uint64, interest Mask, mode Mode) error {
	if err := s.check(fd, token, interest, mode); err != nil {
		return err
	}
	r := s.find(fd)
	if r == nil {
		return ErrNotExist
	}
	sameCopy := r.armed && r.interest == interest
	r.token, r.interest, r.mode, r.armed = token, interest, mode, true
	if sameCopy {
		return nil
	}
	return s.changed()
}

func (s *scanner) Remove(fd int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return registrationError(s.backend, "remove", fd, s.remove(fd))
}

// remove fills the gap with the last entry. It must call the waiters back even
// though they would drop the event: a socket that is closed while the kernel
// still watches it does not send its FIN.
func (s *scanner) remove(fd int) error {
	if s.closed {
		return ErrClosed
	}
	r := s.find(fd)
	if r == nil {
		return cmp.Or(checkOpen(fd), ErrNotExist)
	}
	last := len(s.table) - 1
	*r = s.table[last]
	s.place[r.fd] = s.place[fd]
	s.place[fd] = 0
	s.table = s.table[:last]
	return s.changed()
}

// check refuses what the backend cannot watch.
func (s *scanner) check(fd int, token uint64, interest Mask, mode Mode) error {
	if s.closed {
		return ErrClosed
	}
	if token == ReservedToken {
		return errReservedToken
	}
	if mode&Edge != 0 {
		return fmt.Errorf("the %s backend cannot report edges; use epoll: %w", s.backend, errors.ErrUnsupported)
	}
	if mode&Exclusive != 0 {
		return fmt.Errorf("the %s backend has no exclusive wake-up; use epoll: %w", s.backend, errors.ErrUnsupported)
	}
	if err := checkOpen(fd); err != nil {
		return err
	}
	return s.refuse(fd, interest)
}

// checkOpen returns EBADF if fd is not an open descriptor.
func checkOpen(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err
}

func (s *scanner) find(fd int) *registration {
	if fd < 0 || fd >= len(s.place) || s.place[fd] == 0 {
		return nil
	}
	return &s.table[s.place[fd]-1]
}

// changed makes all copies of the table stale and calls the waiters back.
func (s *scanner) changed() error {
	s.version++
	for _, w := range s.waiters {
		if err := w.callBack(); err != nil {
			return err
		}
	}
	return nil
}

// callBack makes the waiter's system call return, or not begin to sleep.
func (w *waiter) callBack() error {
	if !w.inside || w.kicked {
		return nil
	}
	w.kicked = true
	return w.kick.signal()
}

func (s *scanner) Wait(events []Event, timeout time.Duration) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.wait(events, timeout)
	if err != nil {
		return 0, fmt.Errorf("%s wait: %w", s.backend, err)
	}
	return n, nil
}

func (s *scanner) wait(events []Event, timeout time.Duration) (int, error) {
	if s.closed {
		return 0, ErrClosed
	}
	if len(events) == 0 {
		return 0, errNoRoom
	}
	w, err := s.idleWaiter()
	if err != nil {
		return 0, err
	}
	w.busy = true
	defer func() { w.busy = false }()

	end := newDeadline(timeout)
	for left := timeout; ; left = end.left() {
		woken := s.takeWake()
		if woken {
			left = 0
		}
		n, err := s.scan(w, events, left)
		woken = s.takeWake() || woken
		if n > 0 || err != nil || woken || end.left() == 0 {
			return n, err
		}
	}
}

// takeWake reports whether a Wake is to be answered, and answers it.
func (s *scanner) takeWake() bool {
	woken := s.woken
	s.woken = false
	return woken
}

// scan makes one system call. It may return 0 before the timeout is over: after
// a signal, or when the table changed.
func (s *scanner) scan(w *waiter, events []Event, timeout time.Duration) (int, error) {
	s.refresh(w)
	w.inside = true
	s.mu.Unlock()
	ready, err := w.call.do(timeout)
	s.mu.Lock()
	w.inside = false
	if w.kicked {
		w.kicked = false
		w.kick.drain()
	}
	if err == unix.EINTR || err == nil && ready == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return s.report(w, events), nil
}

// refresh copies the table into the waiter's set if it changed. A disarmed
// one-shot must not be in it: its HangUp would end every call at once.
func (s *scanner) refresh(w *waiter) {
	if w.version == s.version {
		return
	}
	w.version = s.version
	w.call.clear()
	w.call.add(int(w.kick), Readable)
	for i := range s.table {
		if r := &s.table[i]; r.armed {
			w.call.add(int(r.fd), r.interest)
		}
	}
}

// report begins behind the descriptor that was reported last, so that each has
// its turn when there are more than len(events).
func (s *scanner) report(w *waiter, events []Event) int {
	end := w.call.size()
	begin := min(s.cursor, end)
	n := s.reportSpan(w, events, begin, end)
	return n + s.reportSpan(w, events[n:], 0, begin)
}

func (s *scanner) reportSpan(w *waiter, events []Event, lo, hi int) int {
	n := 0
	for n < len(events) {
		pos, fd, ready := w.call.next(lo, hi)
		if fd < 0 {
			return n
		}
		lo = pos + 1
		if event, ok := s.claim(w, fd, ready); ok {
			events[n] = event
			n++
			s.cursor = lo
		}
	}
	return n
}

// claim makes an event of what the system call found, unless the registration
// it was found for is gone, or another waiter took its one shot. What is ready
// but not registered is the waiter's own kick.
func (s *scanner) claim(w *waiter, fd int, ready Mask) (Event, bool) {
	r := s.find(fd)
	if r == nil || r.since > w.version {
		return Event{}, false
	}
	ready &= r.interest | Error | HangUp
	if ready == 0 {
		return Event{}, false
	}
	if r.mode&OneShot != 0 {
		s.disarm(r)
	}
	return Event{Token: r.token, Ready: ready}, true
}

// disarm calls nobody back: a waiter that still watches the descriptor comes
// back by itself if it is ready, and drops the event.
func (s *scanner) disarm(r *registration) {
	s.version++
	r.since = s.version
	r.armed = false
}

func (s *scanner) Wake() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.wakeOne(); err != nil {
		return fmt.Errorf("%s wake: %w", s.backend, err)
	}
	return nil
}

func (s *scanner) wakeOne() error {
	if s.closed {
		return ErrClosed
	}
	s.woken = true
	for _, w := range s.waiters {
		if w.inside {
			return w.callBack()
		}
	}
	return nil
}

// idleWaiter returns a waiter that no Wait has, a new one if need be.
func (s *scanner) idleWaiter() (*waiter, error) {
	for _, w := range s.waiters {
		if !w.busy {
			return w, nil
		}
	}
	return s.newWaiter()
}

func (s *scanner) newWaiter() (*waiter, error) {
	kick, err := newEventFD()
	if err != nil {
		return nil, err
	}
	if err := s.refuse(int(kick), Readable); err != nil {
		return nil, errors.Join(fmt.Errorf("watch eventfd %d: %w", kick, err), kick.close())
	}
	w := &waiter{call: s.newCall(), kick: kick}
	s.waiters = append(s.waiters, w)
	return w, nil
}

func (s *scanner) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.close(); err != nil {
		return fmt.Errorf("close %s poller: %w", s.backend, err)
	}
	return nil
}

func (s *scanner) close() error {
	if s.closed {
		return ErrClosed
	}
	s.closed = true
	var err error
	for _, w := range s.waiters {
		err = errors.Join(err, w.kick.close())
	}
	s.table, s.place, s.waiters = nil, nil, nil
	return err
}
