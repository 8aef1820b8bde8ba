package study

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/internal/sock"
	"github.com/epinet/epi/poll"
)

// signalForm is the deck's example of a condition over time.
const signalForm = "0000111000111000111"

// The ways to ask for a readable pipe.
const (
	askLevel   = "level"
	askEdge    = "edge"
	askOneShot = "one-shot"
	askRearmed = "one-shot + MOD" // armed again when the pipe was drained
)

type askArgs struct{ Ask string }

// A pipe is watched by an epoll set.
type pipe struct {
	r, w   int
	poller poll.Poller
	mode   poll.Mode
}

func newPipe(ask string) (*pipe, error) {
	modes := map[string]poll.Mode{askLevel: poll.Level, askEdge: poll.Edge, askOneShot: poll.OneShot, askRearmed: poll.OneShot}
	mode, ok := modes[ask]
	if !ok {
		return nil, fmt.Errorf("there is no way to ask %q", ask)
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	poller, err := poll.New(poll.BackendEpoll)
	if err != nil {
		return nil, errors.Join(err, unix.Close(ends[0]), unix.Close(ends[1]))
	}
	p := &pipe{ends[0], ends[1], poller, mode}
	if err := poller.Add(p.r, 0, poll.Readable, mode); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *pipe) close() error {
	return errors.Join(p.poller.Close(), unix.Close(p.r), unix.Close(p.w))
}

// reported returns the number of events that are there now.
func (p *pipe) reported() (int, error) {
	var events [4]poll.Event
	return p.poller.Wait(events[:], 0)
}

func (p *pipe) arm() error { return p.poller.Modify(p.r, 0, poll.Readable, p.mode) }

func (p *pipe) write(n int) error {
	_, err := unix.Write(p.w, make([]byte, n))
	return err
}

func (p *pipe) read(n int) error {
	_, err := sock.Read(p.r, make([]byte, n))
	return err
}

type signalResult struct{ Events []int } // at each place of the signal

// signal makes a pipe readable (1) and empty (0) and asks at each place of the
// signal for events.
func (p *process) signal(args askArgs) (result any, err error) {
	pipe, err := newPipe(args.Ask)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pipe.close()) }()
	var events []int
	was := '0'
	for _, is := range signalForm {
		switch {
		case was == '0' && is == '1':
			err = pipe.write(1)
		case was == '1' && is == '0':
			err = pipe.read(1)
			if err == nil && args.Ask == askRearmed {
				err = pipe.arm()
			}
		}
		if err != nil {
			return nil, err
		}
		was = is
		n, err := pipe.reported()
		if err != nil {
			return nil, err
		}
		events = append(events, n)
	}
	return signalResult{events}, nil
}

type halfResult struct {
	Written, HalfRead, More int // events reported after each
}

// half is the deck's pipe: 2 KiB are written and 1 KiB is read. Would another
// wait return? Then 1 KiB more arrives. A one-shot is not armed again, as the
// pipe is not drained.
func (p *process) half(args askArgs) (result any, err error) {
	pipe, err := newPipe(args.Ask)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pipe.close()) }()
	var r halfResult
	for _, step := range []struct {
		do     func(int) error
		events *int
		size   int
	}{{pipe.write, &r.Written, 2048}, {pipe.read, &r.HalfRead, 1024}, {pipe.write, &r.More, 1024}} {
		if err := step.do(step.size); err != nil {
			return nil, err
		}
		if *step.events, err = pipe.reported(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

type closingArgs struct{ Duplicate bool }

type closingResult struct {
	Open, Closed, AllClosed int // events reported
}

// closing closes a readable descriptor without removing it first.
func (p *process) closing(args closingArgs) (result any, err error) {
	poller, err := poll.New(poll.BackendEpoll)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, poller.Close()) }()
	fd, err := unix.Eventfd(1, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC) // readable
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	duplicate := -1
	if args.Duplicate {
		if duplicate, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return nil, errors.Join(fmt.Errorf("dup: %w", err), unix.Close(fd))
		}
	}
	addErr := poller.Add(fd, 0, poll.Readable, poll.Level)
	var r closingResult
	var events [4]poll.Event
	open, openErr := poller.Wait(events[:], 0)
	closeErr := unix.Close(fd)
	closed, closedErr := poller.Wait(events[:], 0)
	if args.Duplicate {
		closeErr = errors.Join(closeErr, unix.Close(duplicate))
	}
	all, allErr := poller.Wait(events[:], 0)
	r = closingResult{open, closed, all}
	return r, errors.Join(addErr, openErr, closeErr, closedErr, allErr)
}

// rearm shows facts: there is nothing to be timed.
func (b *bench) rearm() error {
	server, err := b.start("server", b.serverCPU())
	if err != nil {
		return err
	}
	defer server.end()
	signals, halves, closings := newChart(), newGrid(), newGrid()
	defer func() { b.publishRearm(signals, halves, closings) }()
	for round := range b.sizes.rounds {
		b.progress("round %d of %d", round+1, b.sizes.rounds)
		if err := askAll(server, signals, halves); err != nil {
			return err
		}
		for _, duplicate := range []bool{false, true} {
			name := rowAlone
			if duplicate {
				name = rowDuplicate
			}
			var r closingResult
			if err := server.call("closing", closingArgs{duplicate}, &r); err != nil {
				return err
			}
			closings.add(name, columnOpen, float64(r.Open))
			closings.add(name, columnClosed, float64(r.Closed))
			closings.add(name, columnAllClosed, float64(r.AllClosed))
		}
	}
	return nil
}

func askAll(server *child, signals *chart, halves *grid) error {
	for _, ask := range []string{askLevel, askEdge, askOneShot, askRearmed} {
		var events signalResult
		if err := server.call("signal", askArgs{ask}, &events); err != nil {
			return err
		}
		sum := 0
		for i, n := range events.Events {
			sum += n
			signals.add(ask, float64(i+1), float64(sum))
		}
		var half halfResult
		if err := server.call("half", askArgs{ask}, &half); err != nil {
			return err
		}
		halves.add(ask, columnSignal, float64(sum))
		halves.add(ask, columnWritten, float64(half.Written))
		halves.add(ask, columnHalf, float64(half.HalfRead))
		halves.add(ask, columnMore, float64(half.More))
	}
	return nil
}

const (
	columnSignal    = "events for the signal"
	columnWritten   = "2 KiB written"
	columnHalf      = "1 KiB read"
	columnMore      = "1 KiB more written"
	rowAlone        = "no duplicate"
	rowDuplicate    = "a duplicate is open"
	columnOpen      = "open"
	columnClosed    = "closed"
	columnAllClosed = "duplicate closed, too"
)

func (b *bench) publishRearm(signals *chart, halves, closings *grid) {
	b.publish(signals, lab.Experiment{
		Name: "signal", Title: "What is reported of the signal " + signalForm,
		About: "A pipe is readable (1) or empty (0). At each place of the signal the program asks for events, without waiting. " +
			"One-shot + MOD is armed again when the pipe was drained.",
		Finding: "Edge fires 3 times; level + one-shot + MOD when done behaves like it.",
		X:       lab.Axis{Label: "place in the signal"},
		Y:       lab.Axis{Label: "events reported so far"},
	}, observeLast)
	b.publishTable(halves, lab.Table{
		Name: "rearm", Title: "What is reported of a half-read pipe", Reference: askEdge,
		About: "Events reported for the signal, and when 2 KiB are written to a pipe, 1 KiB of it is read, and 1 KiB more is written. " +
			"One-shot is armed again only when the pipe was drained, which it never is here.",
		Columns: []lab.Column{{Name: columnSignal}, {Name: columnWritten}, {Name: columnHalf}, {Name: columnMore}},
	})
	b.publishTable(closings, lab.Table{
		Name: "closing", Title: "What closing a descriptor does to its registration",
		About:   "Events reported of a readable descriptor that is closed without being removed from the epoll set.",
		Columns: []lab.Column{{Name: columnOpen}, {Name: columnClosed}, {Name: columnAllClosed}},
	})
}
