package poll_test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

// watchdog ends a test that hangs. No test passes or fails by being slow.
const watchdog = 30 * time.Second

// allInterests is everything that can be asked for.
const allInterests = poll.Readable | poll.Writable | poll.Priority | poll.ReadHangUp

func eachBackend(t *testing.T, f func(t *testing.T, b poll.Backend)) {
	t.Helper()
	for _, b := range poll.Backends() {
		t.Run(string(b), func(t *testing.T) { f(t, b) })
	}
}

func newPoller(tb testing.TB, b poll.Backend) poll.Poller {
	tb.Helper()
	p, err := poll.New(b)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil && !errors.Is(err, poll.ErrClosed) {
			tb.Error(err)
		}
	})
	return p
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// refused asserts that the backend says it cannot, in words that name it.
func refused(t *testing.T, err error, words ...string) {
	t.Helper()
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("error %v, want ErrUnsupported", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}

// A file is a descriptor that is closed at the end of the test, if not before.
type file struct {
	tb     testing.TB
	fd     int
	closed bool
}

func newFile(tb testing.TB, fd int, err error) *file {
	tb.Helper()
	must(tb, err)
	f := &file{tb: tb, fd: fd}
	tb.Cleanup(f.close)
	return f
}

func (f *file) close() {
	if f.closed {
		return
	}
	f.closed = true
	if err := unix.Close(f.fd); err != nil {
		f.tb.Errorf("close %d: %v", f.fd, err)
	}
}

func (f *file) write(n int) {
	f.tb.Helper()
	written, err := unix.Write(f.fd, make([]byte, n))
	if err != nil || written != n {
		f.tb.Fatalf("write %d bytes to %d: %d, %v", n, f.fd, written, err)
	}
}

func (f *file) read(n int) {
	f.tb.Helper()
	got, err := unix.Read(f.fd, make([]byte, n))
	if err != nil || got != n {
		f.tb.Fatalf("read %d bytes from %d: %d, %v", n, f.fd, got, err)
	}
}

// drain reads until nothing is left, and returns the number of bytes.
func (f *file) drain() int {
	f.tb.Helper()
	buf := make([]byte, 64<<10)
	for total := 0; ; {
		n, err := unix.Read(f.fd, buf)
		if err == unix.EAGAIN || err == nil && n == 0 {
			return total
		}
		must(f.tb, err)
		total += n
	}
}

// fill writes until there is no room.
func (f *file) fill() {
	f.tb.Helper()
	buf := make([]byte, 64<<10)
	for len(buf) > 0 {
		_, err := unix.Write(f.fd, buf)
		if err == unix.EAGAIN {
			buf = buf[:len(buf)/2]
			continue
		}
		must(f.tb, err)
	}
}

func newPipe(tb testing.TB) (r, w *file) {
	tb.Helper()
	var fds [2]int
	err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC)
	return newFile(tb, fds[0], err), newFile(tb, fds[1], err)
}

func newSocketPair(tb testing.TB) (a, b *file) {
	tb.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return newFile(tb, fds[0], err), newFile(tb, fds[1], err)
}

func newEventFD(tb testing.TB, count uint) *file {
	tb.Helper()
	fd, err := unix.Eventfd(count, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	return newFile(tb, fd, err)
}

// newListener returns a non-blocking TCP listener on the loopback interface.
func newListener(tb testing.TB) (*file, *unix.SockaddrInet4) {
	tb.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	l := newFile(tb, fd, err)
	must(tb, unix.Bind(l.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(tb, unix.Listen(l.fd, 128))
	addr, err := unix.Getsockname(l.fd)
	must(tb, err)
	return l, addr.(*unix.SockaddrInet4)
}

func newTCPPair(tb testing.TB) (a, b *file) {
	tb.Helper()
	l, addr := newListener(tb)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	a = newFile(tb, fd, err)
	must(tb, unix.Connect(a.fd, addr))
	must(tb, unix.SetNonblock(a.fd, true))
	must(tb, unix.SetNonblock(l.fd, false))
	fd, _, err = unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	b = newFile(tb, fd, err)
	l.close()
	return a, b
}

// expect asserts what one glance at the poller finds, in any order.
func expect(t *testing.T, p poll.Poller, want ...poll.Event) {
	t.Helper()
	events := make([]poll.Event, len(want)+8)
	n, err := p.Wait(events, 0)
	must(t, err)
	equal(t, events[:n], want)
}

func equal(t *testing.T, got, want []poll.Event) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.SortFunc(got, byToken)
	slices.SortFunc(want, byToken)
	if !slices.Equal(got, want) {
		t.Fatalf("events %v, want %v", got, want)
	}
}

func byToken(a, b poll.Event) int { return cmp.Compare(a.Token, b.Token) }

// eventually asserts that a level-triggered poller comes to report exactly
// want. TCP needs this: a packet may still be on its way.
func eventually(t *testing.T, p poll.Poller, want poll.Event) {
	t.Helper()
	var last poll.Event
	for end := time.Now().Add(watchdog); time.Now().Before(end); {
		events := make([]poll.Event, 8)
		n, err := p.Wait(events, time.Millisecond)
		must(t, err)
		if n == 1 && events[0] == want {
			return
		}
		last = events[0]
	}
	t.Fatalf("event %v, want %v", last, want)
}

// next waits for at least one event.
func next(t *testing.T, p poll.Poller, room int) []poll.Event {
	t.Helper()
	events := make([]poll.Event, room)
	n, err := p.Wait(events, watchdog)
	must(t, err)
	if n == 0 {
		t.Fatal("Wait returned without an event")
	}
	return events[:n]
}

// A waiting is one Wait in a goroutine with a thread of its own.
type waiting struct {
	tid    int
	result chan waitResult
}

type waitResult struct {
	events []poll.Event
	err    error
	took   time.Duration
}

// startWait calls Wait and returns when the thread sleeps in the kernel. All
// results go to the channel.
func startWait(t *testing.T, p poll.Poller, timeout time.Duration, results chan waitResult) *waiting {
	t.Helper()
	w := &waiting{result: results}
	started := make(chan int)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		events := make([]poll.Event, 8)
		started <- unix.Gettid()
		begin := time.Now()
		n, err := p.Wait(events, timeout)
		w.result <- waitResult{events[:n], err, time.Since(begin)}
	}()
	w.tid = <-started
	w.awaitAsleep(t)
	return w
}

func (w *waiting) awaitAsleep(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(watchdog); time.Now().Before(end); {
		if asleep(t, w.tid) {
			return
		}
		runtime.Gosched()
	}
	t.Fatal("the waiter does not come to sleep")
}

// asleep tells whether the thread is blocked in a call that waits for events.
func asleep(t *testing.T, tid int) bool {
	t.Helper()
	line, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", tid))
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	must(t, err)
	var number int
	if _, err := fmt.Sscan(string(line), &number); err != nil {
		return false // "running"
	}
	switch number {
	case unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_PPOLL, unix.SYS_PSELECT6:
		return true
	}
	return false
}

func (w *waiting) await(t *testing.T) []poll.Event {
	t.Helper()
	r := receive(t, w.result)
	must(t, r.err)
	return r.events
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(watchdog):
		t.Fatal("nothing came before the watchdog")
		panic("unreachable")
	}
}

func newResults() chan waitResult { return make(chan waitResult, 16) }
