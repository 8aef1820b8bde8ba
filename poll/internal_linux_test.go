package poll

import (
	"errors"
	"math"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These tests look inside, for what cannot be brought about from outside.

func newEpollForTest(t *testing.T) *epoll {
	t.Helper()
	p, err := newEpoll()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestP16_WakeCounterAtItsMaximum(t *testing.T) {
	p := newEpollForTest(t)
	most := uint64(math.MaxUint64 - 1) // eventfd(2): a write beyond it gives EAGAIN
	buf := (*[8]byte)(unsafe.Pointer(&most))
	if _, err := unix.Write(int(p.wake), buf[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(make([]Event, 1), -1); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := p.Wake(); err != nil {
			t.Fatal(err)
		}
		if n, err := p.Wait(make([]Event, 1), -1); n != 0 || err != nil {
			t.Fatalf("%d events, %v", n, err)
		}
	}
}

func TestP15_MillisecondsAreRoundedUp(t *testing.T) {
	for _, row := range []struct {
		timeout time.Duration
		want    int32
	}{
		{math.MinInt64, -1},
		{-1, -1},
		{0, 0},
		{1, 1},
		{time.Millisecond, 1},
		{time.Millisecond + 1, 2},
		{math.MaxInt32 * time.Millisecond, math.MaxInt32},
		{math.MaxInt32*time.Millisecond + 1, math.MaxInt32},
		{math.MaxInt64, math.MaxInt32},
	} {
		if got := milliseconds(row.timeout); got != row.want {
			t.Errorf("milliseconds(%d) = %d, want %d", row.timeout, got, row.want)
		}
	}
}

func eachScanner(t *testing.T, test func(t *testing.T, s *scanner)) {
	t.Helper()
	for _, kind := range []scanKind{selectCall, pollCall} {
		t.Run(string(kind.backend), func(t *testing.T) {
			s, err := newScanner(kind)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			test(t, s)
		})
	}
}

// readyFD returns a descriptor that is readable, and closed after the test.
func readyFD(t *testing.T) int {
	t.Helper()
	fd, err := unix.Eventfd(1, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// In the set it would end every call at once by its HangUp: a spinning Wait.
func TestP06_DisarmedOneShotIsNotInTheCall(t *testing.T) {
	eachScanner(t, func(t *testing.T, s *scanner) {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[0])
		if err := s.Add(fds[0], 1, Readable, OneShot); err != nil {
			t.Fatal(err)
		}
		if err := unix.Close(fds[1]); err != nil { // HangUp
			t.Fatal(err)
		}
		events := make([]Event, 1)
		for _, want := range []int{1, 0} {
			if n, err := s.Wait(events, 0); n != want || err != nil {
				t.Fatalf("%d events, %v, want %d", n, err, want)
			}
		}
		if found, err := s.waiters[0].call.do(0); found != 0 || err != nil {
			t.Errorf("the call finds %d ready, %v", found, err)
		}
	})
}

// waiter A:  call finds the shot ──► reports it, disarms
// waiter B:  call finds the shot too ──────────────────────► must drop it
// user:                           drains, Modify arms it again ──►
func TestP06_StaleFindOfARearmedOneShotIsDropped(t *testing.T) {
	eachScanner(t, func(t *testing.T, s *scanner) {
		fd := readyFD(t)
		b, err := s.newWaiter()
		if err := errors.Join(err, s.Add(fd, 1, Readable, OneShot)); err != nil {
			t.Fatal(err)
		}
		s.refresh(b)
		if n, err := b.call.do(0); n != 1 || err != nil {
			t.Fatalf("B finds %d, %v", n, err)
		}
		events := make([]Event, 1)
		if n, err := s.Wait(events, 0); n != 1 || err != nil { // A
			t.Fatalf("A reports %d, %v", n, err)
		}
		eventFD(fd).drain()
		if err := s.Modify(fd, 1, Readable, OneShot); err != nil {
			t.Fatal(err)
		}
		if n := s.report(b, events); n != 0 {
			t.Errorf("B reports %v", events[0])
		}
	})
}

// waiter:  call finds the descriptor ready ──────────────────────► must drop it
// user:            Remove, close, open another under the number, Add ──►
func TestP10_FindOfAReusedNumberIsDropped(t *testing.T) {
	eachScanner(t, func(t *testing.T, s *scanner) {
		fd := readyFD(t)
		if err := s.Add(fd, 1, Readable, Level); err != nil {
			t.Fatal(err)
		}
		w := s.waiters[0]
		s.refresh(w)
		if n, err := w.call.do(0); n != 1 || err != nil {
			t.Fatalf("finds %d, %v", n, err)
		}
		if err := errors.Join(s.Remove(fd), s.Add(fd, 2, Readable, Level)); err != nil {
			t.Fatal(err)
		}
		if events := make([]Event, 1); s.report(w, events) != 0 {
			t.Errorf("reports %v", events[0])
		}
	})
}

// wakingCall is a poll(2) during which somebody calls Wake.
type wakingCall struct {
	scanCall
	wake  func() error
	calls int
}

func (c *wakingCall) do(timeout time.Duration) (int, error) {
	c.calls++
	if err := c.wake(); err != nil {
		return 0, err
	}
	return c.scanCall.do(timeout)
}

// waiter: lock, copy, unlock ─► call ─► lock, report ─► one call has answered it
// test:                     Wake ──►
func TestP16_WakeDuringTheCallIsAnsweredByIt(t *testing.T) {
	for _, kind := range []scanKind{selectCall, pollCall} {
		t.Run(string(kind.backend), func(t *testing.T) {
			call := &wakingCall{scanCall: kind.newCall()}
			kind.newCall = func() scanCall { return call }
			s, err := newScanner(kind)
			if err != nil {
				t.Fatal(err)
			}
			call.wake = s.Wake
			defer s.Close()
			for want := 1; want <= 3; want++ {
				if n, err := s.Wait(make([]Event, 1), -1); n != 0 || err != nil {
					t.Fatalf("%d events, %v", n, err)
				}
				if call.calls != want || s.woken {
					t.Fatalf("%d calls after %d waits, a Wake is left: %v", call.calls, want, s.woken)
				}
			}
		})
	}
}
