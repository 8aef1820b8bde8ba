package ringpoll_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/ringpoll"
	"github.com/epinet/epi/poll"
)

func TestP15_ZeroReturnsAtOnce(t *testing.T) {
	p := open(t)
	r, w := newPipe(t)
	expect(t, p)
	must(t, p.Add(r.fd, 1, readable, poll.Level))
	expect(t, p)
	w.write(1)
	expect(t, p, poll.Event{Token: 1, Ready: readable})
}

func TestP15_PositiveNeverReturnsEarly(t *testing.T) {
	p := open(t)
	r, _ := newPipe(t)
	must(t, p.Add(r.fd, 1, readable, poll.Level))
	for _, timeout := range []time.Duration{
		1, time.Microsecond, 300 * time.Microsecond, time.Millisecond,
		1500 * time.Microsecond, 20*time.Millisecond + 1,
	} {
		for range 5 {
			begin := time.Now()
			n, err := p.Wait(make([]poll.Event, 1), timeout)
			must(t, err)
			if took := time.Since(begin); n != 0 || took < timeout {
				t.Errorf("timeout %v: %d events after %v", timeout, n, took)
			}
		}
	}
}

// The completions of what was cancelled must not end a Wait.
func TestP15_RemovalsDoNotShortenTheTimeout(t *testing.T) {
	const timeout = 5 * time.Millisecond
	p := open(t)
	for range 10 {
		r, _ := newPipe(t)
		must(t, p.Add(r.fd, 1, readable, poll.Edge))
		expect(t, p)
		must(t, p.Remove(r.fd))
		begin := time.Now()
		n, err := p.Wait(make([]poll.Event, 1), timeout)
		must(t, err)
		if took := time.Since(begin); n != 0 || took < timeout {
			t.Errorf("%d events after %v", n, took)
		}
	}
}

// test:      Wait(...) ─► asleep ─► event
// goroutine:                write ──►
func TestP15_NegativeAndHugeWait(t *testing.T) {
	for _, timeout := range []time.Duration{
		-1, -time.Hour, math.MinInt64,
		time.Hour, (math.MaxInt32 + 1) * time.Millisecond, math.MaxInt64,
	} {
		t.Run(timeout.String(), func(t *testing.T) {
			p := open(t)
			r, w := newPipe(t)
			must(t, p.Add(r.fd, 1, readable, poll.Level))
			whenAsleep(t, func(int) error { w.write(1); return nil })
			n, err := p.Wait(make([]poll.Event, 2), timeout)
			must(t, err)
			if n != 1 {
				t.Errorf("%d events", n)
			}
		})
	}
}

func TestP16_ManyWakesMakeOneReturn(t *testing.T) {
	p := open(t)
	for range 3 {
		for range 1000 {
			must(t, p.Wake())
		}
		expectWoken(t, p)
		whenAsleep(t, func(int) error { return p.Wake() }) // comes to sleep: no Wake is left
		expectWoken(t, p)
	}
}

func expectWoken(t *testing.T, p poll.Poller) {
	t.Helper()
	n, err := p.Wait(make([]poll.Event, 1), -1)
	must(t, err)
	if n != 0 {
		t.Fatalf("%d events from a Wake", n)
	}
}

func TestP16_WakeHidesNoEvent(t *testing.T) {
	p := open(t)
	r, w := newPipe(t)
	must(t, p.Add(r.fd, 1, readable, poll.Level))
	w.write(1)
	must(t, p.Wake())
	expect(t, p, poll.Event{Token: 1, Ready: readable})
	expect(t, p, poll.Event{Token: 1, Ready: readable})
}

// posters: append to the queue ─► Wake (races with the kernel's going to sleep)
// test:    Wait ─► take the queue ─► Wait ...
// A lost wake-up leaves the last item in the queue and the test asleep.
func TestP16_NoPostIsLost(t *testing.T) {
	const posters, posts = 8, 5000
	p := open(t)
	var queue atomic.Int32
	posted := make(chan error, posters)
	for range posters {
		go func() {
			for range posts {
				queue.Add(1)
				if err := p.Wake(); err != nil {
					posted <- err
					return
				}
			}
			posted <- nil
		}()
	}
	for left := int32(posters * posts); left > 0; left -= queue.Swap(0) {
		expectWoken(t, p)
	}
	for range posters {
		must(t, <-posted)
	}
}

// goroutine: Wake .................... Wake ....................
// test:      Wait ─► returns ─► tell ─► Wait ─► returns ─► tell ─► Wait
// Each Wake finds the loop about to sleep or just asleep.
func TestP16_EveryWakeInTurnArrives(t *testing.T) {
	const rounds = 20_000
	p := open(t)
	returned, woken := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		for range rounds {
			if err := p.Wake(); err != nil {
				woken <- err
				return
			}
			<-returned
		}
		woken <- nil
	}()
	for range rounds {
		expectWoken(t, p)
		returned <- struct{}{}
	}
	must(t, <-woken)
}

// readyPipes registers n pipes that stay readable, with tokens from 0.
func readyPipes(tb testing.TB, p poll.Poller, n int) {
	tb.Helper()
	for token := range uint64(n) {
		r, w := newPipe(tb)
		must(tb, p.Add(r.fd, token, readable, poll.Level))
		w.write(1)
	}
}

func TestP17_MoreReadyThanRoom(t *testing.T) {
	const files, rounds = 50, 20
	for _, room := range []int{1, 7} {
		p := open(t)
		readyPipes(t, p, files)
		var served [files]int
		for range rounds * files {
			for _, ev := range next(t, p, room) {
				served[ev.Token]++
			}
		}
		for token, times := range served {
			if times != rounds*room {
				t.Errorf("room %d: token %d served %d times, want %d", room, token, times, rounds*room)
			}
		}
	}
}

func TestP17_ARemovedOneLeavesTheOthersTheirTurn(t *testing.T) {
	const files = 6
	p := open(t)
	readyPipes(t, p, files)
	extra := newEventFD(t, 1)
	for range 50 { // the ready set changes between any two waits
		must(t, p.Add(extra.fd, files, readable, poll.Level))
		next(t, p, 1)
		must(t, p.Remove(extra.fd))
		next(t, p, 1)
	}
	var served [files]bool
	for range 2 * files {
		served[next(t, p, 1)[0].Token] = true
	}
	if served != [files]bool{true, true, true, true, true, true} {
		t.Fatalf("served %v", served)
	}
}

// catchSignal makes the signal harmless to the process for this test.
func catchSignal(t *testing.T, s os.Signal) {
	t.Helper()
	c := make(chan os.Signal, 1)
	signal.Notify(c, s)
	t.Cleanup(func() { signal.Stop(c) })
}

// test:      Wait ─► asleep ─► EINTR ─► asleep ─► EINTR ─► ... ─► event
// goroutine:           signal ──►         signal ──►    write ──►
func TestP18_SignalsDisturbNoWait(t *testing.T) {
	const signals = 200
	catchSignal(t, unix.SIGUSR1)
	for name, timeout := range map[string]time.Duration{"for ever": -1, "watchdog": watchdog} {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			r, w := newPipe(t)
			must(t, p.Add(r.fd, 1, readable, poll.Level))
			whenAsleep(t, func(tid int) error {
				defer w.write(1)
				return signalAsleep(tid, signals)
			})
			n, err := p.Wait(make([]poll.Event, 1), timeout)
			must(t, err)
			if n != 1 {
				t.Errorf("%d events", n)
			}
		})
	}
}

// signalAsleep sends signals to the thread, each when it has come to sleep.
func signalAsleep(tid, signals int) error {
	for range signals {
		if err := awaitAsleep(tid); err != nil {
			return err
		}
		if err := unix.Tgkill(unix.Getpid(), tid, unix.SIGUSR1); err != nil {
			return err
		}
	}
	return nil
}

func TestP18_SignalsDoNotShortenTheTimeout(t *testing.T) {
	const timeout = 100 * time.Millisecond
	catchSignal(t, unix.SIGUSR1)
	p := open(t)
	tid, stop, stopped := unix.Gettid(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				if asleep(tid) {
					_ = unix.Tgkill(unix.Getpid(), tid, unix.SIGUSR1)
				}
			}
		}
	}()
	begin := time.Now()
	n, err := p.Wait(make([]poll.Event, 1), timeout)
	took := time.Since(begin)
	close(stop)
	<-stopped
	must(t, err)
	if n != 0 || took < timeout {
		t.Errorf("%d events after %v, want none before %v", n, took, timeout)
	}
}

// A timer of the process sends a signal every millisecond, to whichever thread
// the kernel likes, while bytes go to and fro.
func TestP18_TimerStormDisturbsNoTraffic(t *testing.T) {
	const rounds = 5000
	catchSignal(t, unix.SIGALRM)
	every := unix.Timeval{Usec: 1000}
	_, err := unix.Setitimer(unix.ItimerReal, unix.Itimerval{Interval: every, Value: every})
	must(t, err)
	defer func() {
		_, err := unix.Setitimer(unix.ItimerReal, unix.Itimerval{})
		must(t, err)
	}()
	for name, mode := range map[string]poll.Mode{"level": poll.Level, "edge": poll.Edge} {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			a, peer := newSocketPair(t)
			echoed := make(chan error, 1)
			go func() { echoed <- echo(peer.fd, mode, rounds) }()
			must(t, p.Add(a.fd, 1, readable, mode))
			for range rounds {
				a.write(1)
				if got := next(t, p, 1)[0]; got != (poll.Event{Token: 1, Ready: readable}) {
					t.Fatalf("event %v", got)
				}
				a.read(1)
			}
			must(t, <-echoed)
		})
	}
}

func echo(fd int, mode poll.Mode, rounds int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := ringpoll.New()
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	if err := p.Add(fd, 1, readable, mode); err != nil {
		return err
	}
	var events [1]poll.Event
	var buf [1]byte
	for range rounds {
		if _, err := p.Wait(events[:], -1); err != nil {
			return err
		}
		if _, err := unix.Read(fd, buf[:]); err != nil {
			return err
		}
		if _, err := unix.Write(fd, buf[:]); err != nil {
			return err
		}
	}
	return nil
}

// The thread may make no io_uring_enter, and must notice that only where there
// is something to ask for or to take.
func TestAGlanceAtNothingIsNoSystemCall(t *testing.T) {
	open(t) // or skip
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its filter
		done <- glanceWithoutCalls()
	}()
	err := <-done
	if errors.Is(err, errNoFilter) {
		t.Skip(err)
	}
	must(t, err)
}

var errNoFilter = errors.New("this system lets no test filter system calls")

func glanceWithoutCalls() error {
	p, err := ringpoll.New()
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var events [1]poll.Event
	if _, err = p.Wait(events[:], 0); err == nil {
		err = p.Add(fd, 1, readable, poll.Edge)
	}
	if err == nil {
		_, err = p.Wait(events[:], 0)
	}
	if err != nil {
		return err
	}
	if err := denyCall(unix.SYS_IO_URING_ENTER); err != nil {
		return fmt.Errorf("%w: %w", errNoFilter, err)
	}
	for range 3 {
		if n, err := p.Wait(events[:], 0); n != 0 || err != nil {
			return fmt.Errorf("glance at nothing: %d events, %w", n, err)
		}
	}
	if err := p.Wake(); err != nil {
		return err
	}
	if _, err := p.Wait(events[:], 0); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("glance after a Wake: %w, want the call's EPERM", err)
	}
	return nil
}

// denyCall makes the kernel answer one system call of this thread with EPERM.
func denyCall(number uint32) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: number},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, failed := unix.Syscall(unix.SYS_PRCTL,
		unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if failed != 0 {
		return failed
	}
	return nil
}

func TestWaitDoesNotAllocate(t *testing.T) {
	busy, idle, urgent := open(t), open(t), open(t)
	readyPipes(t, busy, 20)
	r, _ := newPipe(t)
	must(t, idle.Add(r.fd, 1, readable, poll.Level))
	a, peer := newSocketPair(t)
	must(t, urgent.Add(a.fd, 1, all, poll.Edge))
	events := make([]poll.Event, 16)
	for _, row := range []struct {
		name    string
		poller  poll.Poller
		timeout time.Duration
		before  func() error
	}{
		{"glance at ready ones", busy, 0, nil},
		{"wait for ready ones", busy, -1, nil},
		{"wait with a timeout for ready ones", busy, time.Minute, nil},
		{"glance at idle ones", idle, 0, nil},
		{"run into the timeout", idle, time.Microsecond, nil},
		{"woken", idle, -1, idle.Wake},
		{"after a change", idle, 0, func() error { return idle.Modify(r.fd, 1, readable, poll.OneShot) }},
		{"what may be urgent", urgent, -1, func() error { peer.write(1); return nil }},
	} {
		allocs := testing.AllocsPerRun(200, func() {
			if row.before != nil {
				must(t, row.before())
			}
			_, err := row.poller.Wait(events, row.timeout)
			must(t, err)
		})
		if allocs > 0 && row.name != "what may be urgent" || allocs > 1 { // write makes one
			t.Errorf("%s: %v allocations per Wait", row.name, allocs)
		}
	}
}

func BenchmarkWait(bench *testing.B) {
	for _, row := range []struct {
		name    string
		timeout time.Duration
	}{{"glance", 0}, {"forever", -1}, {"timeout", time.Minute}} {
		bench.Run(row.name, func(bench *testing.B) {
			p := open(bench)
			readyPipes(bench, p, 1)
			events := make([]poll.Event, 128)
			bench.ReportAllocs()
			for bench.Loop() {
				if _, err := p.Wait(events, row.timeout); err != nil {
					bench.Fatal(err)
				}
			}
		})
	}
}
