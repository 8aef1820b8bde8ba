package show

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

const (
	mostIdle  = 5000 // that a reader can ask for
	forSelect = 900  // below FD_SETSIZE, with room for what else is open
	waits     = 100  // the least of them counts: others use the machine, too
)

// A Cost is what one wait takes that finds one descriptor ready.
type Cost struct {
	Backend      string
	Microseconds float64 // 0 with Refused
	Refused      string  // why it was not measured
}

// costs measures each backend with so many idle descriptors.
func costs(idle int) ([]Cost, error) {
	var all []Cost
	for _, backend := range poll.Backends() {
		if backend == poll.BackendSelect && idle > forSelect {
			all = append(all, Cost{Backend: string(backend), Refused: fmt.Sprintf("select watches descriptors below %d only", unix.FD_SETSIZE)})
			continue
		}
		spent, err := cost(backend, idle)
		switch {
		case errors.Is(err, unix.EMFILE):
			all = append(all, Cost{Backend: string(backend), Refused: "the limit of open files (ulimit -n) is lower"})
		case errors.Is(err, errors.ErrUnsupported):
			all = append(all, Cost{Backend: string(backend), Refused: err.Error()})
		case err != nil:
			return nil, err
		default:
			all = append(all, Cost{Backend: string(backend), Microseconds: float64(spent.Nanoseconds()) / 1e3})
		}
	}
	return all, nil
}

func cost(backend poll.Backend, idle int) (least time.Duration, err error) {
	p, err := poll.New(backend)
	if err != nil {
		return 0, err
	}
	var opened []int
	defer func() {
		err = errors.Join(err, p.Close())
		for _, fd := range opened {
			err = errors.Join(err, unix.Close(fd))
		}
	}()
	var quiet, ready [2]int
	for _, ends := range []*[2]int{&quiet, &ready} {
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			return 0, fmt.Errorf("pipe2: %w", err)
		}
		opened = append(opened, ends[0], ends[1])
	}
	for range idle { // a twin is a descriptor of its own
		twin, err := unix.FcntlInt(uintptr(quiet[0]), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return 0, fmt.Errorf("dup: %w", err)
		}
		opened = append(opened, twin)
		if err := p.Add(twin, 0, poll.Readable, poll.Level); err != nil {
			return 0, err
		}
	}
	if err := p.Add(ready[0], 1, poll.Readable, poll.Level); err != nil {
		return 0, err
	}
	if _, err := unix.Write(ready[1], []byte("x")); err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	events := make([]poll.Event, 1)
	for i := range waits {
		begin := time.Now()
		if _, err := p.Wait(events, -1); err != nil {
			return 0, err
		}
		if spent := time.Since(begin); i == 0 || spent < least {
			least = spent
		}
	}
	return least, nil
}
