package poll_test

import (
	"math"
	"os"
	"os/signal"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

func TestP15_ZeroReturnsAtOnce(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, w := newPipe(t)
		expect(t, p)
		must(t, p.Add(r.fd, 1, poll.Readable, poll.Level))
		expect(t, p)
		w.write(1)
		expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
	})
}

func TestP15_PositiveNeverReturnsEarly(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, _ := newPipe(t)
		must(t, p.Add(r.fd, 1, poll.Readable, poll.Level))
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
	})
}

// waiter: Wait(...) ─► asleep ─► event
// test:                write ──►
func TestP15_NegativeAndHugeWait(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, w := newPipe(t)
		must(t, p.Add(r.fd, 1, poll.Readable, poll.Level))
		for _, timeout := range []time.Duration{
			-1, -time.Hour, math.MinInt64,
			time.Hour, (math.MaxInt32 + 1) * time.Millisecond, math.MaxInt64,
		} {
			waiter := startWait(t, p, timeout, newResults())
			w.write(1)
			equal(t, waiter.await(t), []poll.Event{{Token: 1, Ready: poll.Readable}})
			r.drain()
		}
	})
}

// catchSignal makes the signal harmless to the process for this test.
func catchSignal(t *testing.T, s os.Signal) {
	t.Helper()
	c := make(chan os.Signal, 1)
	signal.Notify(c, s)
	t.Cleanup(func() { signal.Stop(c) })
}

// waiter: Wait ─► asleep ─► EINTR ─► asleep ─► EINTR ─► ... ─► event
// test:             signal ──►         signal ──►    write ──►
func TestP18_SignalsDisturbNoWait(t *testing.T) {
	const signals = 200
	catchSignal(t, unix.SIGUSR1)
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		for _, timeout := range []time.Duration{-1, watchdog} {
			p := newPoller(t, b)
			r, w := newPipe(t)
			must(t, p.Add(r.fd, 1, poll.Readable, poll.Level))
			waiter := startWait(t, p, timeout, newResults())
			for range signals {
				waiter.awaitAsleep(t)
				must(t, unix.Tgkill(unix.Getpid(), waiter.tid, unix.SIGUSR1))
			}
			w.write(1)
			equal(t, waiter.await(t), []poll.Event{{Token: 1, Ready: poll.Readable}})
		}
	})
}

func TestP18_SignalsDoNotShortenTheTimeout(t *testing.T) {
	const timeout = 100 * time.Millisecond
	catchSignal(t, unix.SIGUSR1)
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		waiter := startWait(t, p, timeout, newResults())
		for {
			select {
			case r := <-waiter.result:
				must(t, r.err)
				if len(r.events) != 0 || r.took < timeout {
					t.Errorf("%d events after %v, want none before %v", len(r.events), r.took, timeout)
				}
				return
			default:
				if asleep(t, waiter.tid) {
					must(t, unix.Tgkill(unix.Getpid(), waiter.tid, unix.SIGUSR1))
				}
			}
		}
	})
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
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		a, peer := newSocketPair(t)
		echoed := make(chan error)
		go func() { echoed <- echo(b, peer.fd, rounds) }()
		p := newPoller(t, b)
		must(t, p.Add(a.fd, 1, poll.Readable, poll.Level))
		for range rounds {
			a.write(1)
			equal(t, next(t, p, 1), []poll.Event{{Token: 1, Ready: poll.Readable}})
			a.read(1)
		}
		must(t, receive(t, echoed))
	})
}

func echo(b poll.Backend, fd, rounds int) error {
	p, err := poll.New(b)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Add(fd, 1, poll.Readable, poll.Level); err != nil {
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
