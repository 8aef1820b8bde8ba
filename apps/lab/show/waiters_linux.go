package show

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

const (
	waiterCount = 4
	// quiet is how long nobody must have woken for the trial to be over, and
	// trialTime bounds it.
	quiet     = 100 * time.Millisecond
	trialTime = 3 * time.Second
)

// arrangements are how threads can wait for the same descriptor.
var arrangements = []struct {
	name   string
	said   string
	shared bool // they wait in one epoll; else each has its own
	mode   poll.Mode
}{
	{"one-level", "one epoll, level", true, poll.Level},
	{"one-edge", "one epoll, edge", true, poll.Edge},
	{"one-oneshot", "one epoll, one-shot", true, poll.OneShot},
	{"own-level", "an epoll each, level", false, poll.Level},
	{"own-exclusive", "an epoll each, EPOLLEXCLUSIVE", false, poll.Exclusive},
}

// A waiters makes trials: four threads sleep in epoll_wait, one byte is written that
// nobody reads, and those that wake are counted.
type waiters struct{}

func newWaiters() (stage, error) { return waiters{}, nil }

func (waiters) close() error { return nil }

// A Waking is one trial.
type Waking struct {
	Name, Said string
	Woken      []float64 // µs from the write until each thread was back; -1: it sleeps on
}

// act makes the trial of one arrangement, or of "all".
func (waiters) act(name string) (any, error) {
	var wakings []Waking
	for _, a := range arrangements {
		if name != a.name && name != "all" {
			continue
		}
		woken, err := trial(a.shared, a.mode, settled(quiet))
		if err != nil {
			return nil, err
		}
		wakings = append(wakings, Waking{Name: a.name, Said: a.said, Woken: woken})
	}
	if wakings == nil {
		return nil, unknown(name)
	}
	return wakings, nil
}

// settled returns what says that a trial is over: nobody has woken for so long.
func settled(quiet time.Duration) func(woken int) bool {
	last, since := 0, time.Now()
	return func(woken int) bool {
		if woken != last {
			last, since = woken, time.Now()
		}
		return time.Since(since) > quiet
	}
}

// A waiter is one thread.
type waiter struct {
	poller poll.Poller
	thread atomic.Int32 // 0: it has not begun
	back   atomic.Int64 // when it was back with an event, in ns since the trial began; 0: it is not
	gone   atomic.Bool  // it waits no more
	err    error        // of its goroutine
}

// trial returns how long after the write each waiter was back, in µs, -1 for those that
// sleep on when over says that it is over.
func trial(shared bool, mode poll.Mode, over func(woken int) bool) (_ []float64, err error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe2: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(ends[0]), unix.Close(ends[1])) }()
	var all [waiterCount]waiter
	pollers, err := openPollers(&all, shared, func(p poll.Poller) error { return p.Add(ends[0], 1, poll.Readable, mode) })
	defer func() {
		for _, p := range pollers {
			err = errors.Join(err, p.Close())
		}
	}()
	if err != nil {
		return nil, err
	}

	var running sync.WaitGroup
	begun := time.Now()
	for i := range all {
		running.Go(func() { all[i].wait(begun) })
	}
	asleep := until(func() bool { return allAsleep(&all) })
	written := time.Since(begun)
	_, err = unix.Write(ends[1], []byte("x"))
	until(func() bool { return over(countBack(&all)) })
	result := make([]float64, waiterCount)
	for i := range all {
		result[i] = -1
		if back := all[i].back.Load(); back != 0 {
			result[i] = float64(back-written.Nanoseconds()) / 1e3
		}
	}
	for ; err == nil && countGone(&all) < waiterCount; time.Sleep(time.Millisecond) {
		for i := range all {
			err = errors.Join(err, all[i].poller.Wake()) // lets one go; several may count as one
		}
	}
	running.Wait()
	for i := range all {
		err = errors.Join(err, all[i].err)
	}
	if !asleep {
		err = errors.Join(err, errors.New("the machine is too busy: the threads were not asleep in time"))
	}
	return result, err
}

func openPollers(all *[waiterCount]waiter, shared bool, add func(poll.Poller) error) (pollers []poll.Poller, err error) {
	for i := range all {
		if i > 0 && shared {
			all[i].poller = all[0].poller
			continue
		}
		p, err := poll.New(poll.BackendEpoll)
		if err != nil {
			return pollers, err
		}
		pollers = append(pollers, p)
		all[i].poller = p
		if err := add(p); err != nil {
			return pollers, err
		}
	}
	return pollers, nil
}

// wait sleeps in epoll_wait on a thread of its own.
func (w *waiter) wait(begun time.Time) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w.thread.Store(int32(unix.Gettid()))
	n, err := w.poller.Wait(make([]poll.Event, 1), -1)
	if n > 0 {
		w.back.Store(time.Since(begun).Nanoseconds())
	}
	w.err = err
	w.gone.Store(true)
}

func countBack(all *[waiterCount]waiter) (n int) {
	for i := range all {
		if all[i].back.Load() != 0 {
			n++
		}
	}
	return n
}

func countGone(all *[waiterCount]waiter) (n int) {
	for i := range all {
		if all[i].gone.Load() {
			n++
		}
	}
	return n
}

// until waits for a condition, for a while. It reports whether that came.
func until(condition func() bool) bool {
	for begun := time.Now(); !condition(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > trialTime {
			return false
		}
	}
	return true
}

// allAsleep reports whether every thread sleeps in its system call.
func allAsleep(all *[waiterCount]waiter) bool {
	for i := range all {
		thread := all[i].thread.Load()
		if thread == 0 || !sleeps(thread) {
			return false
		}
	}
	return true
}

// sleeps reads a thread's state (proc(5), /proc/[pid]/stat): it comes behind the name,
// which is in parentheses.
func sleeps(thread int32) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", thread))
	if err != nil {
		return false
	}
	end := strings.LastIndex(string(text), ") ")
	return end >= 0 && strings.HasPrefix(string(text[end+2:]), "S")
}
