package polltest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

// WhenAsleep locks the calling goroutine to its thread, and runs act in another
// when that thread has come to sleep in Wait.
//
//	test:      Wait ──► asleep ──────────────► returns, for act
//	goroutine:            looks ──► act ──►
func WhenAsleep(tb testing.TB, act func(tid int) error) {
	tb.Helper()
	runtime.LockOSThread()
	tid, done := unix.Gettid(), make(chan error, 1)
	go func() {
		defer close(done) // act may have failed the test and be gone
		if err := AwaitAsleep(tid); err != nil {
			done <- err
			return
		}
		done <- act(tid)
	}()
	tb.Cleanup(func() {
		runtime.UnlockOSThread()
		Must(tb, <-done)
	})
}

// AwaitAsleep returns when the thread is Asleep.
func AwaitAsleep(tid int) error {
	for end := time.Now().Add(Watchdog); time.Now().Before(end); runtime.Gosched() {
		if Asleep(tid) {
			return nil
		}
	}
	return errors.New("the waiter does not come to sleep")
}

// Asleep reports whether the thread is blocked in a call that waits for events.
func Asleep(tid int) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", tid))
	if err != nil {
		return false // it has ended
	}
	var number int
	if _, err := fmt.Sscan(string(line), &number); err != nil {
		return false // "running"
	}
	switch number {
	case unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_PPOLL, unix.SYS_PSELECT6, unix.SYS_IO_URING_ENTER:
		return true
	}
	return false
}

// wait is Wait with room for some events and with a watchdog, which is a Wake
// that fails the test.
func wait(t *testing.T, p poll.Poller, timeout time.Duration) []poll.Event {
	t.Helper()
	var late atomic.Bool
	defer time.AfterFunc(Watchdog, func() {
		late.Store(true)
		_ = p.Wake()
	}).Stop()
	events := make([]poll.Event, 8)
	n, err := p.Wait(events, timeout)
	Must(t, err)
	if late.Load() {
		t.Fatal("Wait did not return before the watchdog")
	}
	return events[:n]
}

var errNoFilter = errors.New("this system lets no test filter system calls")

// OnOwnThread runs a test that may call DenyCall, on a thread that ends with it.
func OnOwnThread(t *testing.T, test func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its filter
		done <- test()
	}()
	err := Receive(t, done)
	if errors.Is(err, errNoFilter) {
		t.Skip(err)
	}
	Must(t, err)
}

// DenyCall makes the kernel answer one system call of this thread with errno,
// for ever: see OnOwnThread.
func DenyCall(number uint32, errno unix.Errno) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("%w: %w", errNoFilter, err)
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: number},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, failed := unix.Syscall(unix.SYS_PRCTL,
		unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if failed != 0 {
		return fmt.Errorf("%w: %w", errNoFilter, failed)
	}
	return nil
}
