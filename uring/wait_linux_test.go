package uring_test

import (
	"math"
	"os"
	"os/signal"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

// undisturbed keeps signals, by which Wait may end early, from the test's thread.
func undisturbed(t *testing.T) {
	t.Helper()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	must(t, unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before))
	t.Cleanup(func() { must(t, unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)) })
}

func TestWaitIsNeverEarly(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		undisturbed(t)
		for _, timeout := range []time.Duration{0, 1, 999, time.Microsecond, 100 * time.Microsecond, time.Millisecond, 7 * time.Millisecond, 1_000_001} {
			for _, count := range []int{1, 5} {
				start := time.Now()
				must(t, r.Wait(count, timeout))
				if passed := time.Since(start); passed < timeout {
					t.Errorf("Wait(%d, %v) took %v", count, timeout, passed)
				}
			}
		}
		if r.Ready() != 0 {
			t.Errorf("%d completions are there", r.Ready())
		}
	})
}

func TestWaitReturnsWithEnoughCompletions(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		undisturbed(t)
		here, there := pair(t)
		for _, timeout := range []time.Duration{-1, math.MinInt64, math.MaxInt64, patience, 0} {
			must(t, r.Wait(0, timeout))
			r.prepare(1).Nop()
			r.prepare(2).Nop()
			must(t, r.Wait(2, timeout))
			if r.Ready() != 2 {
				t.Fatalf("Wait(2, %v): %d completions", timeout, r.Ready())
			}
			must(t, r.Wait(1, timeout))
			must(t, r.Wait(2, timeout))
			r.Advance(2)
			if timeout == 0 {
				continue
			}
			p := make([]byte, 1)
			r.prepare(3).Recv(here, p, 0)
			sent := make(chan error, 1)
			go func() { sent <- writeAll(there, []byte{1}) }()
			must(t, r.Wait(1, timeout))
			must(t, <-sent)
			if c := r.of(3); c.Res != 1 {
				t.Fatal(show(c))
			}
		}
	})
}

// spell over ──▶ content with what is there
// nothing there ─▶ the first completion ends it, or the timeout
func TestWaitBatchIsContentWithFewerAfterASpell(t *testing.T) {
	need(t, features(t).MinWait, "WaitBatch (Linux 6.12)")
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		const spell = 3 * time.Millisecond
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		undisturbed(t)
		here, there := pair(t)
		for _, timeout := range []time.Duration{-1, patience} {
			for range 2 {
				r.prepare(1).Nop()
			}
			must(t, r.WaitBatch(2, time.Hour, timeout)) // all are there
			r.of(1)
			r.of(1)

			r.prepare(2).Nop()
			start := time.Now()
			must(t, r.WaitBatch(2, spell, timeout))
			if passed := time.Since(start); passed < spell {
				t.Errorf("it was content with one completion after %v", passed)
			}
			r.of(2)

			for _, short := range []time.Duration{-1, 0, 1, time.Microsecond} {
				p := make([]byte, 1)
				r.prepare(3).Recv(here, p, 0)
				sent := make(chan error, 1)
				go func() { sent <- writeAll(there, []byte{1}) }()
				must(t, r.WaitBatch(2, short, timeout))
				must(t, <-sent)
				if c := r.of(3); c.Res != 1 {
					t.Fatal(show(c))
				}
			}
		}
		for _, timeout := range []time.Duration{time.Millisecond, 2 * spell} {
			start := time.Now()
			must(t, r.WaitBatch(2, spell, timeout))
			if passed := time.Since(start); passed < timeout {
				t.Errorf("WaitBatch(2, %v, %v) took %v", spell, timeout, passed)
			}
		}
	})
}

// storm sends signals to the test's thread, until the test ends.
func storm(t *testing.T) {
	const pause = 50 * time.Microsecond
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, unix.SIGUSR1)
	t.Cleanup(func() { signal.Stop(heard) })
	process, thread := unix.Getpid(), unix.Gettid()
	var over atomic.Bool
	background(t, func() error {
		for !over.Load() {
			if err := unix.Tgkill(process, thread, unix.SIGUSR1); err != nil {
				return err
			}
			time.Sleep(pause)
		}
		return nil
	})
	t.Cleanup(func() { over.Store(true) })
}

func TestSignalEndsWaitWithoutError(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		storm(t)
		for range 20 {
			must(t, r.Wait(1, -1))
			if r.Ready() != 0 {
				t.Fatalf("%d completions are there", r.Ready())
			}
		}
	})
}

func TestSignalsBreakNothing(t *testing.T) {
	const rounds = 1000
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		b, err := r.NewBuffers(1, 4, 64, features(t).Incremental)
		must(t, err)
		here, there := pair(t)
		background(t, func() error { return echo(there) })
		t.Cleanup(func() { must(t, unix.Shutdown(here, unix.SHUT_WR)) })
		storm(t)
		s := stream{r: r, b: b, fd: here, id: 1}
		s.arm()
		for i := range rounds {
			sqe := r.prepare(2)
			sqe.Send(here, pattern(i, 1), unix.MSG_NOSIGNAL)
			sqe.Flags |= uring.SkipSuccess
			if i%2 == 0 {
				must(t, r.SubmitLong())
			}
			for len(s.got) <= i {
				s.take(r.next())
			}
		}
		if want := pattern(0, rounds); string(s.got) != string(want) {
			t.Error("other bytes came")
		}
	})
}

// echo sends back what comes, until the end.
func echo(fd int) error {
	p := make([]byte, 64)
	for {
		n, err := unix.Read(fd, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		if err := writeAll(fd, p[:n]); err != nil {
			return err
		}
	}
}
