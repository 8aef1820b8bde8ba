package study

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/internal/sock"
	"github.com/epinet/epi/poll"
)

type workArgs struct {
	Workers int
	Conns   int           // of those that are open
	Request int           // bytes, also of the reply
	Busy    time.Duration // CPU time of the handler
	Block   time.Duration // that the handler sleeps
}

// work is the boss and its workers: the boss watches one-shot and queues what
// is ready; a worker takes one, serves it and gives it back to the poller. Each
// has a thread of its own, for which the kernel finds a CPU.
func (p *process) work(args workArgs) (any, error) {
	handle := handler(args.Busy, args.Block)
	runtime.GOMAXPROCS(args.Workers + 2) // the boss and the input of commands
	defer runtime.GOMAXPROCS(2)
	kind := backend{call: poll.BackendEpoll, mode: poll.OneShot}
	poller, err := kind.open(p)
	if err != nil {
		return nil, err
	}
	defer poller.Close()
	defer p.stop.lower()
	s := &service{serveArgs: serveArgs{Request: args.Request, Reply: args.Request, Whole: true}, records: make([]record, args.Conns)}
	for i, fd := range p.conns[:args.Conns] {
		s.records[i].fd = fd
		if err := poller.Add(fd, uint64(i), poll.Readable, poll.OneShot); err != nil {
			return nil, err
		}
	}
	queue := make(chan int, args.Conns) // one-shot: each is in it at most once
	failed := make(chan error, args.Workers)
	var workers sync.WaitGroup
	for range args.Workers {
		workers.Go(func() {
			runtime.LockOSThread() // never unlocked: the thread ends with it
			if err := s.worker(poller, queue, handle); err != nil {
				failed <- err
				p.stop.raise()
			}
		})
	}
	err = p.answer(nil, nil)
	if err == nil {
		err = boss(poller, queue)
	}
	close(queue)
	workers.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	return nil, err
}

func boss(poller poll.Poller, queue chan<- int) error {
	events := make([]poll.Event, eventsPerWait)
	for {
		n, err := poller.Wait(events, -1)
		if err != nil {
			return err
		}
		for _, e := range events[:n] {
			if e.Token == stopToken {
				return nil
			}
			queue <- int(e.Token)
		}
	}
}

// worker runs sessions of one request each.
func (s *service) worker(poller poll.Poller, queue <-chan int, handle func()) error {
	in, out := make([]byte, readSize), make([]byte, s.Reply)
	for i := range queue {
		r := &s.records[i]
		if r.held.Swap(true) {
			return fmt.Errorf("two workers have connection %d", i)
		}
		n, err := sock.Read(r.fd, in)
		if err != nil && err != unix.EAGAIN {
			return lost(r, err)
		}
		s.owe(r, in[:n])
		for r.owed > 0 {
			handle()
			n, err := sock.Write(r.fd, [][]byte{out[:min(len(out), r.owed)]})
			if err != nil {
				return lost(r, err) // EAGAIN, too: a client awaits each reply
			}
			r.owed -= n
		}
		r.held.Store(false)
		if err := poller.Modify(r.fd, uint64(i), poll.Readable, poll.OneShot); err != nil {
			return err
		}
	}
	return nil
}

// handler returns what costs busy CPU time, or blocks its thread.
func handler(busy, block time.Duration) func() {
	switch {
	case block > 0:
		ts := unix.NsecToTimespec(int64(block))
		return func() { _ = unix.Nanosleep(&ts, nil) } // a signal may cut it short
	case busy > 0:
		turns := int(float64(busy) / nsPerTurn())
		return func() { burn(turns) }
	}
	return func() {}
}

// burned keeps the compiler from leaving burn out.
var burned atomic.Uint64

func burn(turns int) {
	x := uint64(turns)
	for range turns {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	burned.Store(x)
}

// nsPerTurn measures burn: several times, as other programs may disturb it.
var nsPerTurn = sync.OnceValue(func() float64 {
	const turns = 1_000_000
	best := time.Duration(1<<63 - 1)
	for range 5 {
		began := threadCPU()
		burn(turns)
		best = min(best, threadCPU()-began)
	}
	return float64(best) / turns
})

type waitArgs struct {
	Waiters int
	Mode    string        // a backend
	Work    time.Duration // that a waiter sleeps before it reads
}

type waitResult struct{ Woken int }

// wait has several threads wait at one poller for one connection. A waiter that
// is woken works for a while before it reads: meanwhile the connection stays
// readable.
func (p *process) wait(args waitArgs) (any, error) {
	kind, err := backendNamed(args.Mode)
	if err != nil {
		return nil, err
	}
	runtime.GOMAXPROCS(args.Waiters + 2)
	defer runtime.GOMAXPROCS(2)
	poller, err := kind.open(p)
	if err != nil {
		return nil, err
	}
	defer poller.Close()
	defer p.stop.lower()
	fd := p.conns[0]
	if err := poller.Add(fd, 0, poll.Readable, kind.mode); err != nil {
		return nil, err
	}
	var woken atomic.Int64
	var waiters sync.WaitGroup
	failed := make(chan error, args.Waiters)
	for range args.Waiters {
		waiters.Go(func() {
			runtime.LockOSThread()
			if err := waiter(poller, kind.mode, fd, args.Work, &woken); err != nil {
				failed <- err
				p.stop.raise()
			}
		})
	}
	err = p.answer(nil, nil)
	waiters.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	return waitResult{int(woken.Load())}, err
}

func waiter(poller poll.Poller, mode poll.Mode, fd int, work time.Duration, woken *atomic.Int64) error {
	events := make([]poll.Event, 1)
	in := make([]byte, readSize)
	ts := unix.NsecToTimespec(int64(work))
	for {
		n, err := poller.Wait(events, -1)
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		if events[0].Token == stopToken {
			return nil
		}
		woken.Add(1)
		_ = unix.Nanosleep(&ts, nil) // a signal may cut it short
		if err := echoAll(fd, in); err != nil {
			return err
		}
		if mode == poll.OneShot {
			if err := poller.Modify(fd, 0, poll.Readable, mode); err != nil {
				return err
			}
		}
	}
}

// echoAll echoes until there is nothing more. Another waiter may have been
// faster.
func echoAll(fd int, in []byte) error {
	for {
		n, err := sock.Read(fd, in)
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if _, err := sock.Write(fd, [][]byte{in[:n]}); err != nil {
			return fmt.Errorf("echo: %w", err)
		}
	}
}

// The experiments.

// cost is what a handler does.
type cost struct {
	name        string
	busy, block time.Duration
}

var costs = []cost{
	{"no work", 0, 0},
	{"10 µs of work", 10 * time.Microsecond, 0},
	{"100 µs of work", 100 * time.Microsecond, 0},
	{"1 ms blocked", 0, time.Millisecond},
}

const (
	threadConns   = 64
	threadMessage = 64 // bytes
)

func (b *bench) threads() error {
	cores := max(1, len(b.cpus))
	requests := newChart()
	defer func() {
		b.publish(requests, lab.Experiment{
			Name:  "threads",
			Title: "Boss and workers: how many workers",
			About: fmt.Sprintf("A boss watches %d connections one-shot and queues those that are ready; workers answer requests of %d bytes, each with a given cost. "+
				"Server and client share the %d CPUs that the process may use: neither is pinned.", threadConns, threadMessage, cores),
			Finding: "A few more workers than CPU cores.",
			X:       lab.Axis{Label: "worker threads"},
			Y:       lab.Axis{Label: "requests per second", Log: true},
		}, func(e lab.Experiment) string { return observeThreads(e, cores) })
	}()
	return b.pair(anyCPU, anyCPU, threadConns, func(s *session) error {
		for round := range b.sizes.rounds {
			for _, c := range costs {
				for _, workers := range b.sizes.workers(cores) {
					b.progress("round %d of %d: %s, %d workers", round+1, b.sizes.rounds, c.name, workers)
					rate, err := s.work(workArgs{Workers: workers, Conns: s.conns, Request: threadMessage, Busy: c.busy, Block: c.block}, b.sizes.workTime)
					if err != nil {
						return err
					}
					requests.add(c.name, float64(workers), rate)
				}
			}
		}
		return nil
	})
}
