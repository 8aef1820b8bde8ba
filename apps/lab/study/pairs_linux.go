package study

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/internal/sock"
	"github.com/epinet/epi/poll"
)

// libevent's benchmark, as its published figures have it.
const (
	pairsActive = 100
	pairsWrites = 1000
)

type pairsArgs struct {
	Backend               string
	Pairs, Active, Writes int
	Runs                  int
}

type pairsResult struct{ Took []time.Duration } // of each run

// A chain is the benchmark's state: socket pairs in a ring. Whoever gets a byte
// writes one to the next, until the writes are used up.
type chain struct {
	readers, writers []int
	left             int // writes
	sent, got        int
}

func (p *process) pairs(args pairsArgs) (result any, err error) {
	kind, err := backendNamed(args.Backend)
	if err != nil {
		return nil, err
	}
	poller, err := kind.open(p)
	if err != nil {
		return nil, err
	}
	c := &chain{}
	defer func() { err = errors.Join(err, poller.Close(), c.close()) }()
	for i := range args.Pairs {
		ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("socket pair %d: %w; raise the limit of open files with ulimit -n or use a lower --max", i+1, err)
		}
		c.readers, c.writers = append(c.readers, ends[0]), append(c.writers, ends[1])
		if err := poller.Add(ends[0], uint64(i), poll.Readable, kind.mode); err != nil {
			return nil, err
		}
	}
	var took []time.Duration
	for range args.Runs {
		d, err := c.run(poller, kind.mode, args)
		if err != nil {
			return nil, err
		}
		took = append(took, d)
	}
	return pairsResult{took}, nil
}

// run writes to the active pairs and measures until all bytes have arrived.
func (c *chain) run(poller poll.Poller, mode poll.Mode, args pairsArgs) (time.Duration, error) {
	c.left, c.sent, c.got = args.Writes, 0, 0
	active := min(args.Active, args.Pairs)
	for i := range active {
		if err := c.write(i * (args.Pairs / active)); err != nil {
			return 0, err
		}
	}
	events := make([]poll.Event, eventsPerWait)
	began := time.Now()
	for c.got < c.sent {
		n, err := poller.Wait(events, patience)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, fmt.Errorf("%d of %d bytes have not arrived for %v", c.sent-c.got, c.sent, patience)
		}
		for _, e := range events[:n] {
			if err := c.read(poller, mode, int(e.Token)); err != nil {
				return 0, err
			}
		}
	}
	return time.Since(began), nil
}

func (c *chain) write(i int) error {
	if _, err := sock.Write(c.writers[i], [][]byte{{'e'}}); err != nil {
		return fmt.Errorf("write to pair %d: %w", i, err)
	}
	c.sent++
	return nil
}

// read empties a pair, so that the edge will come again. An edge may announce a
// byte that was read together with the one before it.
func (c *chain) read(poller poll.Poller, mode poll.Mode, i int) error {
	var in [pairsActive + 1]byte // no more can wait at a time
	n, err := sock.Read(c.readers[i], in[:])
	if err == unix.EAGAIN {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read from pair %d: %w", i, err)
	}
	c.got += n
	for range n {
		if c.left == 0 {
			break
		}
		c.left--
		if err := c.write((i + 1) % len(c.writers)); err != nil {
			return err
		}
	}
	if mode == poll.OneShot {
		return poller.Modify(c.readers[i], uint64(i), poll.Readable, mode)
	}
	return nil
}

func (c *chain) close() error {
	var err error
	for i := range c.readers {
		err = errors.Join(err, unix.Close(c.readers[i]))
		if i < len(c.writers) {
			err = errors.Join(err, unix.Close(c.writers[i]))
		}
	}
	return err
}

// pairs is libevent's benchmark over all backends.
func (b *bench) pairs() error {
	times := newChart()
	defer func() {
		b.publish(times, lab.Experiment{
			Name: "pairs", Title: "The libevent benchmark: socket pairs in a ring",
			About: fmt.Sprintf("%d of the pairs get a byte; whoever gets one writes one to the next pair, for %d writes more. One process; "+
				"libevent's own is bench -n PAIRS -a %d -w %d.", pairsActive, pairsWrites, pairsActive, pairsWrites),
			X: lab.Axis{Label: "socket pairs"},
			Y: lab.Axis{Label: "time for all bytes", Unit: "s", Log: true},
		}, observeGrowth)
	}()
	server, err := b.start("server", b.serverCPU())
	if err != nil {
		return err
	}
	defer server.end()
	for round := range b.sizes.rounds {
		for _, n := range b.pairSteps() {
			for _, kind := range b.backends() {
				if 2*n > kind.room() {
					continue
				}
				b.progress("round %d of %d: %d pairs, %s", round+1, b.sizes.rounds, n, kind.name)
				var result pairsResult
				if err := server.call("pairs", pairsArgs{kind.name, n, pairsActive, pairsWrites, b.sizes.pairsRuns}, &result); err != nil {
					return err
				}
				var took []float64
				for _, d := range result.Took {
					took = append(took, d.Seconds())
				}
				times.add(kind.name, float64(n), lab.Median(took))
			}
		}
	}
	return nil
}

// pairSteps are the numbers of pairs, which take two open files each.
func (b *bench) pairSteps() []int {
	var steps []int
	for _, n := range b.sizes.pairs {
		steps = append(steps, b.fit(2*n)/2)
	}
	return distinct(steps...)
}
