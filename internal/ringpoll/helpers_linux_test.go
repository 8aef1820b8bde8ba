package ringpoll_test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/ringpoll"
	"github.com/epinet/epi/poll"
	"github.com/epinet/epi/uring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watchdog ends a test that hangs. No test passes or fails by being slow.
const watchdog = 30 * time.Second

// open returns a Poller that belongs to the test's goroutine, and locks that to
// its thread.
func open(tb testing.TB) *ringpoll.Poller {
	tb.Helper()
	if _, err := uring.Probe(); err != nil {
		tb.Skip(err)
	}
	runtime.LockOSThread()
	tb.Cleanup(runtime.UnlockOSThread)
	p, err := ringpoll.New()
	must(tb, err)
	tb.Cleanup(func() {
		if err := p.Close(); err != nil && !errors.Is(err, poll.ErrClosed) {
			tb.Error(err)
		}
	})
	return p
}

// openEpoll returns the backend that shows what is right.
func openEpoll(tb testing.TB) poll.Poller {
	tb.Helper()
	p, err := poll.New(poll.BackendEpoll)
	must(tb, err)
	tb.Cleanup(func() { must(tb, p.Close()) })
	return p
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
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
	if !f.closed {
		f.closed = true
		must(f.tb, unix.Close(f.fd))
	}
}

// reset makes the close send RST instead of FIN.
func (f *file) reset() {
	must(f.tb, unix.SetsockoptLinger(f.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	f.close()
}

func (f *file) shutdown(how int) { must(f.tb, unix.Shutdown(f.fd, how)) }

func (f *file) write(n int) {
	f.tb.Helper()
	if written, err := unix.Write(f.fd, make([]byte, n)); err != nil || written != n {
		f.tb.Fatalf("write %d bytes to %d: %d, %v", n, f.fd, written, err)
	}
}

func (f *file) read(n int) {
	f.tb.Helper()
	if got, err := unix.Read(f.fd, make([]byte, n)); err != nil || got != n {
		f.tb.Fatalf("read %d bytes from %d: %d, %v", n, f.fd, got, err)
	}
}

// drain reads until nothing is left.
func (f *file) drain() {
	f.tb.Helper()
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(f.fd, buf)
		if err == unix.EAGAIN || err == nil && n == 0 {
			return
		}
		must(f.tb, err)
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

func newPipeWriter(tb testing.TB) (w, r *file) {
	r, w = newPipe(tb)
	return w, r
}

func newSocketPair(tb testing.TB) (a, b *file) {
	tb.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return newFile(tb, fds[0], err), newFile(tb, fds[1], err)
}

func newListener(tb testing.TB) (*file, unix.Sockaddr) {
	tb.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	l := newFile(tb, fd, err)
	must(tb, unix.Bind(l.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(tb, unix.Listen(l.fd, 128))
	addr, err := unix.Getsockname(l.fd)
	must(tb, err)
	return l, addr
}

func dial(tb testing.TB, addr unix.Sockaddr) *file {
	tb.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	c := newFile(tb, fd, err)
	must(tb, unix.Connect(c.fd, addr))
	must(tb, unix.SetNonblock(c.fd, true))
	return c
}

func newTCPPair(tb testing.TB) (a, b *file) {
	tb.Helper()
	l, addr := newListener(tb)
	a = dial(tb, addr)
	must(tb, unix.SetNonblock(l.fd, false))
	fd, _, err := unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	b = newFile(tb, fd, err)
	l.close()
	return a, b
}

// glance returns what one look at the poller finds, in the order of tokens.
func glance(tb testing.TB, p poll.Poller) []poll.Event {
	tb.Helper()
	events := make([]poll.Event, 64)
	n, err := p.Wait(events, 0)
	must(tb, err)
	slices.SortFunc(events[:n], func(a, b poll.Event) int { return cmp.Compare(a.Token, b.Token) })
	return events[:n]
}

// expect asserts what one look finds.
func expect(tb testing.TB, p poll.Poller, want ...poll.Event) {
	tb.Helper()
	if got := glance(tb, p); !slices.Equal(got, want) {
		tb.Fatalf("events %v, want %v", got, want)
	}
}

// next waits for at least one event.
func next(tb testing.TB, p poll.Poller, room int) []poll.Event {
	tb.Helper()
	events := make([]poll.Event, room)
	n, err := p.Wait(events, watchdog)
	must(tb, err)
	if n == 0 {
		tb.Fatal("Wait returned without an event")
	}
	return events[:n]
}

// whenAsleep runs act in another goroutine when the thread that calls it now
// has come to sleep in Wait.
//
//	test:      Wait ──► asleep ──────────────► returns, for act
//	goroutine:            looks ──► act ──►
func whenAsleep(tb testing.TB, act func(tid int) error) {
	tid, done := unix.Gettid(), make(chan error, 1)
	go func() {
		if err := awaitAsleep(tid); err != nil {
			done <- err
			return
		}
		done <- act(tid)
	}()
	tb.Cleanup(func() { must(tb, <-done) })
}

func awaitAsleep(tid int) error {
	for end := time.Now().Add(watchdog); time.Now().Before(end); runtime.Gosched() {
		if asleep(tid) {
			return nil
		}
	}
	return errors.New("the waiter does not come to sleep")
}

// asleep tells whether the thread is blocked in io_uring_enter.
func asleep(tid int) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", tid))
	if err != nil {
		return false
	}
	var number int
	_, err = fmt.Sscan(string(line), &number) // not a number: "running"
	return err == nil && number == unix.SYS_IO_URING_ENTER
}

// agree asserts that the pollers come to report what the model does. TCP needs
// time for that: a packet may still be on its way.
func agree(tb testing.TB, model poll.Poller, pollers ...poll.Poller) {
	tb.Helper()
	var want, got []poll.Event
	for end := time.Now().Add(watchdog); time.Now().Before(end); runtime.Gosched() {
		want = glance(tb, model)
		same := true
		for _, p := range pollers {
			got = glance(tb, p)
			same = same && slices.Equal(got, want)
		}
		if same && settled(tb, model, want) {
			return
		}
	}
	tb.Fatalf("events %v, want %v", got, want)
}

// settled reports whether the model still says the same after a while.
func settled(tb testing.TB, model poll.Poller, was []poll.Event) bool {
	tb.Helper()
	for range 20 {
		runtime.Gosched()
		if !slices.Equal(glance(tb, model), was) {
			return false
		}
	}
	return true
}

// accept is a loop that accepts from a listener until it is woken.
func accept(listener int, mode poll.Mode, accepted chan<- int, pollers chan<- poll.Poller) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := ringpoll.New()
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	if err := p.Add(listener, 1, poll.Readable, mode); err != nil {
		return err
	}
	pollers <- p
	var events [4]poll.Event
	for {
		n, err := p.Wait(events[:], -1)
		if n == 0 || err != nil {
			return err
		}
		for err == nil {
			var fd int
			if fd, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK); err == nil {
				accepted <- fd
			}
		}
		if err != unix.EAGAIN {
			return err
		}
	}
}

func interestName(m poll.Mask) string {
	name := ""
	for i, letter := range "rwph" {
		if m&(1<<i) != 0 {
			name += string(letter)
		}
	}
	return cmp.Or(name, "none")
}

func newEventFD(tb testing.TB, count uint) *file {
	tb.Helper()
	fd, err := unix.Eventfd(count, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	return newFile(tb, fd, err)
}

// count adds one to an eventfd.
func (f *file) count() {
	f.tb.Helper()
	_, err := unix.Write(f.fd, []byte{7: 1}[:8])
	must(f.tb, err)
}

// tryWrite writes a byte if there is room.
func (f *file) tryWrite() {
	f.tb.Helper()
	if _, err := unix.Write(f.fd, []byte{1}); err != unix.EAGAIN {
		must(f.tb, err)
	}
}
