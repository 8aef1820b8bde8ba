package uring_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

// TestMain leaves out the examples where there is no io_uring. The tests say
// themselves that they are skipped.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(probeChild) != "" {
		os.Exit(m.Run()) // it wants to be the first to call Probe
	}
	if _, err := uring.Probe(); err != nil {
		if err := flag.Set("test.skip", "^Example"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen before it fails. No
// test passes because of it.
const patience = 3 * time.Minute

// kinds are the rings on which the kernel posts completions by different ways.
var kinds = []struct {
	name  string
	setup uring.Setup
}{
	{"plain", 0},
	{"cooperative", uring.CoopTaskrun | uring.TaskrunFlag | uring.SingleIssuer},
	{"deferred", deferred},
}

const deferred = uring.SingleIssuer | uring.DeferTaskrun | uring.TaskrunFlag | uring.SubmitAll

func eachKind(t *testing.T, test func(t *testing.T, setup uring.Setup)) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) { test(t, kind.setup) })
	}
}

// features skips the test where there is no io_uring.
func features(t testing.TB) uring.Features {
	t.Helper()
	f, err := uring.Probe()
	if err != nil {
		t.Skip(err)
	}
	return f
}

func need(t testing.TB, has bool, what string) {
	t.Helper()
	if !has {
		t.Skip("the kernel has no " + what)
	}
}

// watch ends a test that hangs, with the stacks of all goroutines.
func watch(t testing.TB) {
	dog := time.AfterFunc(2*patience, func() { panic(t.Name() + " hangs") })
	t.Cleanup(func() { dog.Stop() })
}

// A ring is a Ring whose methods fail the test. The test's goroutine is locked
// to its thread, and the ring is closed when it ends.
type ring struct {
	*uring.Ring
	t testing.TB
}

func newRing(t testing.TB, c uring.Config) ring {
	t.Helper()
	features(t)
	watch(t)
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	r, err := uring.New(c)
	must(t, err)
	t.Cleanup(func() {
		if err := r.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return ring{r, t}
}

// prepare returns an entry with that UserData, and makes room for it.
func (r ring) prepare(userData uint64) *uring.SQE {
	r.t.Helper()
	sqe := r.SQE()
	if sqe == nil {
		r.submit()
		sqe = r.SQE()
	}
	if sqe == nil {
		r.t.Fatal("Submit made no room")
	}
	sqe.UserData = userData
	return sqe
}

func (r ring) submit() {
	r.t.Helper()
	must(r.t, r.Submit())
}

// next submits, and waits for the next completion.
func (r ring) next() uring.CQE {
	r.t.Helper()
	if r.Prepared() > 0 {
		r.submit()
	}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if c, ok := r.Next(); ok {
			return c
		}
		must(r.t, r.Wait(1, time.Until(end)))
	}
	r.t.Fatal("a completion is missing")
	return uring.CQE{}
}

// of waits for the next completion, which is one of the operation with that
// UserData, and has no error.
func (r ring) of(userData uint64) uring.CQE {
	r.t.Helper()
	c := r.next()
	if c.UserData != userData {
		r.t.Fatalf("a completion of operation %d came instead of %d: %s", c.UserData, userData, show(c))
	}
	must(r.t, c.Err())
	return c
}

// failed waits for the next completion, which is the last of the operation with
// that UserData, and has that error.
func (r ring) failed(userData uint64, want error) {
	r.t.Helper()
	c := r.next()
	if c.UserData != userData || c.Err() != want || c.More() {
		r.t.Fatalf("operation %d should have failed with %q: %s", userData, want, show(c))
	}
}

// silent fails if a completion is due.
func (r ring) silent() {
	r.t.Helper()
	const last = 1<<64 - 1
	r.prepare(last).Nop()
	if c := r.next(); c.UserData != last {
		r.t.Fatalf("an unexpected completion: %s", show(c))
	}
}

func show(c uring.CQE) string {
	return fmt.Sprintf("operation %d, result %d (%v), flags %#x, buffer %d",
		c.UserData, c.Res, c.Err(), uint32(c.Flags)&0xffff, c.BufferID())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// owned closes a descriptor at the test's end.
func owned(t testing.TB, fd int, err error) int {
	t.Helper()
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) }) // it may be closed already
	return fd
}

// pair returns two connected stream sockets.
func pair(t testing.TB) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	a, b = owned(t, fds[0], err), owned(t, fds[1], nil)
	impatient(t, a)
	impatient(t, b)
	return a, b
}

// tcpPair returns two ends of a connection of TCP.
func tcpPair(t testing.TB) (a, b int) {
	t.Helper()
	listener, addr := listenTCP(t)
	a = dial(t, addr)
	b = accept(t, listener)
	return a, b
}

func listenTCP(t testing.TB) (fd int, addr *unix.SockaddrInet4) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	owned(t, fd, err)
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, unix.Listen(fd, 1024))
	must(t, unix.SetNonblock(fd, false))
	impatient(t, fd)
	name, err := unix.Getsockname(fd)
	must(t, err)
	return fd, name.(*unix.SockaddrInet4)
}

func dial(t testing.TB, addr unix.Sockaddr) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	owned(t, fd, err)
	must(t, unix.Connect(fd, addr)) // not impatient yet: a signal would end it
	impatient(t, fd)
	return fd
}

func accept(t testing.TB, listener int) int {
	t.Helper()
	fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	for err == unix.EINTR {
		fd, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
	}
	owned(t, fd, err)
	impatient(t, fd)
	return fd
}

// raw returns the address as the kernel has it.
func raw(addr *unix.SockaddrInet4) *unix.RawSockaddrInet4 {
	r := &unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: addr.Addr}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&r.Port))[:], uint16(addr.Port))
	return r
}

// impatient makes calls on a socket give up some time.
func impatient(t testing.TB, fd int) {
	t.Helper()
	limit := unix.NsecToTimeval(int64(patience))
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit))
}

func write(t testing.TB, fd int, p []byte) {
	t.Helper()
	must(t, writeAll(fd, p))
}

func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("write", err)
		}
		p = p[n:]
	}
	return nil
}

// read reads n bytes, or what comes before the end.
func read(t testing.TB, fd, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	have := 0
	for have < n {
		got, err := unix.Read(fd, p[have:])
		if err == unix.EINTR {
			continue
		}
		must(t, err)
		if got == 0 {
			break
		}
		have += got
	}
	return p[:have]
}

// pattern returns n bytes of a stream from an offset: none looks like those
// around it.
func pattern(offset, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		at := uint32(offset + i)
		p[i] = byte(at*2654435761>>24) ^ byte(at>>16)
	}
	return p
}

// background runs f, and waits for it at the test's end.
func background(t testing.TB, f func() error) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
