package study

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/epinet/epi/apps/lab"
)

// conn measures how long it takes to accept one connection more.
func (b *bench) conn() error {
	times := newChart()
	defer func() {
		b.publish(times, lab.Experiment{
			Name:  "conn",
			Title: "Time from connect to accepted",
			About: fmt.Sprintf("Listener and open connections are in one set, in which the server waits. "+
				"A sample is the median time from a client's call of connect to the return of accept, of %d connections.", b.sizes.connects),
			Finding: "poll rises gently with the connections already open; epoll stays flat near 0.",
			X:       lab.Axis{Label: "connections already open"},
			Y:       lab.Axis{Label: "time from connect to accepted", Unit: "s"},
		}, observeGrowth)
	}()
	steps, connects := b.connSteps()
	for round := range b.sizes.rounds {
		for _, kind := range b.backends() {
			if kind.name == "epoll one-shot" {
				continue // for a listener that is level with a system call more
			}
			if err := b.connOf(kind, steps, connects, round, times); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle is the time, for each open connection, in which poll has surely gone
// to sleep again: it takes about a third of it to look at one.
const settle = time.Microsecond

// connSteps are the numbers of connections that are open, a higher --max being the
// last one, and how many are opened then, for which there is room.
func (b *bench) connSteps() (steps []int, connects int) {
	numbers := slices.Clone(b.sizes.conn)
	if b.cfg.Max > numbers[len(numbers)-1] {
		numbers = append(numbers, b.cfg.Max)
	}
	connects = b.fit(b.sizes.connects)
	for _, open := range b.fitAll(numbers) {
		steps = append(steps, min(open, b.most-connects))
	}
	return distinct(steps...), connects
}

func (b *bench) connOf(kind backend, steps []int, connects, round int, times *chart) error {
	return b.pair(b.serverCPU(), b.clientCPU(), 0, func(s *session) error {
		for _, open := range steps {
			if open+connects > kind.room() {
				break
			}
			b.progress("round %d of %d: %s, %d connections", round+1, b.sizes.rounds, kind.name, open)
			for s.conns < open {
				if _, err := s.accept(kind, min(connectStep, open-s.conns), 0); err != nil {
					return err
				}
			}
			took, err := s.accept(kind, connects, b.sizes.pace+time.Duration(open)*settle)
			if err != nil {
				return err
			}
			times.add(kind.name, float64(open), took)
		}
		return nil
	})
}

// accept opens connections to a server that accepts them, and returns the
// median time that took if they have a pace.
func (s *session) accept(kind backend, count int, pace time.Duration) (seconds float64, err error) {
	if err := s.server.send("accept", acceptArgs{kind.name, count}); err != nil {
		return 0, err
	}
	if err := s.server.receive(nil, 0); err != nil {
		return 0, err
	}
	var from connectResult
	if err := s.client.call("connect", connectArgs{s.address, count, pace}, &from); err != nil {
		return 0, err
	}
	if from.Limit != "" {
		return 0, errors.New(from.Limit)
	}
	var to acceptResult
	if err := s.server.receive(&to, gatherLimit); err != nil {
		return 0, err
	}
	s.conns += count
	var took []float64
	for i, at := range from.At {
		took = append(took, (to.At[i] - at).Seconds())
	}
	if len(took) == 0 {
		return 0, nil
	}
	return lab.Median(took), nil
}
