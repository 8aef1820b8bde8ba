package polltest

import (
	"os"
	"os/signal"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

// Signals is case P18: they disturb nothing.
func Signals(t *testing.T, s Subject) {
	s.run(t, "SignalsDisturbNoWait", signalsDisturbNoWait)
	s.run(t, "SignalsDoNotShortenTheTimeout", signalsDoNotShortenTheTimeout)
	s.run(t, "TimerStormDisturbsNoTraffic", timerStormDisturbsNoTraffic)
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
func signalsDisturbNoWait(t *testing.T, s Subject) {
	const signals = 200
	catchSignal(t, unix.SIGUSR1)
	for name, timeout := range map[string]time.Duration{"for ever": -1, "an hour": time.Hour} {
		t.Run(name, func(t *testing.T) {
			p := s.Open(t)
			r, w := NewPipe(t)
			Must(t, p.Add(r.FD, 1, poll.Readable, poll.Level))
			WhenAsleep(t, func(tid int) error {
				defer w.Write(1)
				return times(signals, func() error {
					if err := AwaitAsleep(tid); err != nil {
						return err
					}
					return unix.Tgkill(unix.Getpid(), tid, unix.SIGUSR1)
				})
			})
			Equal(t, wait(t, p, timeout), poll.Event{Token: 1, Ready: poll.Readable})
		})
	}
}

// test:      Wait ─► asleep ─► EINTR ─► asleep ─► EINTR ─► ... ─► timeout
// goroutine:           signal ──►         signal ──►
func signalsDoNotShortenTheTimeout(t *testing.T, s Subject) {
	catchSignal(t, unix.SIGUSR1)
	p := s.Open(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid, stop, stopped := unix.Gettid(), make(chan struct{}), make(chan error)
	go func() { stopped <- signalAsleep(tid, stop) }()
	defer func() {
		close(stop)
		Must(t, <-stopped)
	}()
	expectTimeout(t, p, 100*time.Millisecond)
}

// signalAsleep sends signals to the thread whenever it sleeps, until stop.
func signalAsleep(tid int, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if !Asleep(tid) {
			continue
		}
		if err := unix.Tgkill(unix.Getpid(), tid, unix.SIGUSR1); err != nil {
			return err
		}
	}
}

// A timer of the process sends a signal every millisecond, to whichever thread
// the kernel likes, while bytes go to and fro.
func timerStormDisturbsNoTraffic(t *testing.T, s Subject) {
	const rounds = 5000
	catchSignal(t, unix.SIGALRM)
	every := unix.Timeval{Usec: 1000}
	_, err := unix.Setitimer(unix.ItimerReal, unix.Itimerval{Interval: every, Value: every})
	Must(t, err)
	defer func() {
		_, err := unix.Setitimer(unix.ItimerReal, unix.Itimerval{})
		Must(t, err)
	}()
	s.EachMode(t, func(t *testing.T, mode poll.Mode) {
		p, echoing := s.Open(t), s.Open(t)
		a, peer := NewSocketPair(t)
		Must(t, p.Add(a.FD, 1, poll.Readable, mode))
		Must(t, echoing.Add(peer.FD, 1, poll.Readable, mode))
		echoed := elsewhere(func() error { return echo(echoing, peer.FD, mode, rounds) })
		for range rounds {
			a.Write(1)
			Equal(t, Next(t, p, 1), poll.Event{Token: 1, Ready: poll.Readable})
			a.Read(1)
			if mode == poll.OneShot {
				Must(t, p.Modify(a.FD, 1, poll.Readable, mode))
			}
		}
		Must(t, Receive(t, echoed))
	})
}

func echo(p poll.Poller, fd int, mode poll.Mode, rounds int) error {
	var events [1]poll.Event
	var buf [1]byte
	return times(rounds, func() error {
		if _, err := p.Wait(events[:], -1); err != nil {
			return err
		}
		if _, err := unix.Read(fd, buf[:]); err != nil {
			return err
		}
		if mode == poll.OneShot {
			if err := p.Modify(fd, 1, poll.Readable, mode); err != nil {
				return err
			}
		}
		_, err := unix.Write(fd, buf[:])
		return err
	})
}
