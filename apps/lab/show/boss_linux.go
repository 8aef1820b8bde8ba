package show

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

const (
	bossConns   = 12
	mostWorkers = 8
	mostSlow    = 1000 // ms that the handler takes
	mostWaiting = 50   // requests of a connection that nobody has served
)

// A boss watches connections one-shot and puts those that are ready into a queue, from
// which workers take them. A worker serves one request and gives the connection back.
//
//	client ──► connection ──► boss: epoll_wait ──► queue ──► worker ──► epoll_ctl(MOD)
type boss struct {
	poller  poll.Poller
	conns   []*bossConn // fixed
	stopped chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	ready   *sync.Cond    // of mu: the queue has grown, or the workers have changed
	queue   []int         // guarded by mu; connections that wait for a worker
	busy    []int         // guarded by mu; the connection of each worker, -1: it waits
	workers int           // guarded by mu; those with higher numbers take nothing
	slow    time.Duration // guarded by mu; what a request takes
	served  int           // guarded by mu
	longest int           // guarded by mu; the longest queue so far
	err     error         // guarded by mu; the first of a system call
	closed  bool          // guarded by mu
}

type bossConn struct {
	server, client int
	asked          []time.Time // guarded by boss.mu; of the requests that are not served
	took           time.Duration
}

func newBoss() (stage, error) {
	poller, err := poll.New(poll.BackendEpoll)
	if err != nil {
		return nil, err
	}
	b := &boss{poller: poller, workers: 2, slow: 200 * time.Millisecond, stopped: make(chan struct{})}
	b.ready = sync.NewCond(&b.mu)
	for id := range bossConns {
		ends, err := socketPair()
		if err == nil {
			b.conns = append(b.conns, &bossConn{server: ends[0], client: ends[1]})
			err = poller.Add(ends[0], uint64(id), poll.Readable, poll.OneShot)
		}
		if err != nil {
			return nil, errors.Join(err, b.close())
		}
	}
	b.busy = slices.Repeat([]int{-1}, mostWorkers)
	b.running.Go(b.watch)
	for id := range mostWorkers {
		b.running.Go(func() { b.work(id) })
	}
	return b, nil
}

// socketPair returns two ends of a stream that do not block.
func socketPair() ([2]int, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return ends, fmt.Errorf("socketpair: %w", err)
	}
	return ends, nil
}

// watch is the boss.
func (b *boss) watch() {
	for events := make([]poll.Event, bossConns); ; {
		n, err := b.poller.Wait(events, -1)
		b.mu.Lock()
		if err != nil || b.closed {
			b.note(err)
			b.mu.Unlock()
			return
		}
		for _, e := range events[:n] {
			b.queue = append(b.queue, int(e.Token))
		}
		b.longest = max(b.longest, len(b.queue))
		b.ready.Broadcast()
		b.mu.Unlock()
	}
}

// note keeps the first error. The caller holds mu.
func (b *boss) note(err error) {
	if b.err == nil {
		b.err = err
	}
}

// work is a worker.
func (b *boss) work(me int) {
	for {
		id, slow, ok := b.take(me)
		if !ok {
			return
		}
		select {
		case <-time.After(slow): // the slow handler
		case <-b.stopped:
			return
		}
		b.answer(me, id)
	}
}

// take waits for a connection. ok is false at the end.
func (b *boss) take(me int) (id int, slow time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.closed && (len(b.queue) == 0 || me >= b.workers) {
		b.ready.Wait()
	}
	if b.closed {
		return 0, 0, false
	}
	id, b.queue = b.queue[0], b.queue[1:]
	b.busy[me] = id
	return id, b.slow, true
}

// answer serves one request, and has the boss watch the connection again. If there is
// another request that reports at once: it goes to the end of the queue.
func (b *boss) answer(me, id int) {
	c := b.conns[id]
	var request [1]byte
	_, err := unix.Read(c.server, request[:])
	if err == nil {
		_, err = unix.Write(c.server, request[:])
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note(err)
	b.busy[me] = -1
	b.served++
	c.took, c.asked = time.Since(c.asked[0]), c.asked[1:]
	b.note(b.poller.Modify(c.server, uint64(id), poll.Readable, poll.OneShot))
}

// act: "look" only looks, "send-N" sends so many requests, each of the next connection,
// "workers-N" and "slow-MS" change something.
func (b *boss) act(name string) (any, error) {
	what, text, _ := strings.Cut(name, "-")
	most, known := map[string]int{"look": 0, "send": bossConns, "workers": mostWorkers, "slow": mostSlow}[what]
	if !known {
		return nil, unknown(name)
	}
	n := 0
	if what != "look" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 0 || n > most {
			return nil, fmt.Errorf("%w: %s is from 0 to %d", errAsked, what, most)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch what {
	case "send":
		b.send(n)
	case "workers":
		b.workers = n
		b.ready.Broadcast()
	case "slow":
		b.slow = time.Duration(n) * time.Millisecond
	}
	return b.look(), b.err
}

// send is what the clients do: they read what has been answered and ask again, those
// first that have asked least. The caller holds mu.
func (b *boss) send(n int) {
	order := slices.Clone(b.conns)
	slices.SortStableFunc(order, func(x, y *bossConn) int { return len(x.asked) - len(y.asked) })
	for _, c := range order[:n] {
		var answers [mostWaiting]byte
		if _, err := unix.Read(c.client, answers[:]); err != nil && err != unix.EAGAIN {
			b.note(err)
		}
		if len(c.asked) >= mostWaiting {
			continue
		}
		if _, err := unix.Write(c.client, []byte("?")); err != nil {
			b.note(err)
			continue
		}
		c.asked = append(c.asked, time.Now())
	}
}

// A BossLook is the queue, the workers and the connections at one moment.
type BossLook struct {
	Queue   []int // numbers of connections, the first one is the next
	Busy    []int // the connection of each worker; -1: it waits
	Longest int   // the longest queue so far
	Served  int
	Slow    int // ms
	Conns   []BossConn
}

// A BossConn is one connection.
type BossConn struct {
	Asked int     // requests that are not answered
	Took  float64 // ms that the last one took, waiting included
}

// look returns what there is to see. The caller holds mu.
func (b *boss) look() BossLook {
	l := BossLook{Queue: append([]int{}, b.queue...), Busy: append([]int{}, b.busy[:b.workers]...), Longest: b.longest, Served: b.served, Slow: int(b.slow.Milliseconds())}
	for _, c := range b.conns {
		l.Conns = append(l.Conns, BossConn{Asked: len(c.asked), Took: millis(c.took)})
	}
	return l
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

func (b *boss) close() error {
	b.mu.Lock()
	b.closed = true
	b.ready.Broadcast()
	b.mu.Unlock()
	close(b.stopped)
	err := b.poller.Wake()
	b.running.Wait()
	err = errors.Join(err, b.poller.Close())
	for _, c := range b.conns {
		err = errors.Join(err, unix.Close(c.server), unix.Close(c.client))
	}
	return err
}
