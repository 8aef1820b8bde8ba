package exam

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A check talks to a server of its own. Its error is what the server does wrong.
type check struct {
	name    string
	run     func(s *subject) error
	prepare func(command []string) ([]string, error) // the command that is started; nil: as it is
}

// errSkip is wrapped by errors that say why a check cannot be made here.
var errSkip = errors.New("skipped")

type exercise struct {
	title   string
	dialect dialect
	checks  []check
}

var (
	greets   = check{name: "greets", run: greet}
	limit    = check{name: "limit of open files", run: fillDescriptors, prepare: withFewFiles}
	tail     = check{name: "tail", run: keepsTail}
	closing  = check{name: "closing", run: survivesClosing}
	signals  = check{name: "signals", run: survivesSignals}
	idle     = check{name: "idle", run: isIdle}
	wakes    = check{name: "wakes", run: staysAsleep, prepare: underStrace}
	backlog  = check{name: "backlog", run: takesBacklog}
	drains   = check{name: "slow reader", run: keepsAll}
	order    = check{name: "order", run: keepsOrder}
	reuse    = check{name: "reused descriptor", run: keepsApart}
	fairness = check{name: "reads and writes", run: writesWhileReading}
	beyond   = check{name: "beyond select", run: servesBeyondSet, prepare: withManyFiles}
	asks     = check{name: "what a wait hands over", run: asksOnce, prepare: underStrace}
	cheap    = check{name: "cost", run: staysCheap, prepare: withManyFiles}
)

var exercises = map[int]exercise{
	1:  {"an echo server for more clients than select can watch", stream, []check{greets, beyond}},
	2:  {"an echo server that the kernel keeps the list for", stream, []check{greets, idle, asks}},
	3:  {"an echo server at its limit", stream, []check{greets, limit}},
	4:  {"an echo server and the end of a stream", stream, []check{greets, tail, closing}},
	5:  {"an echo server that waits", stream, []check{greets, signals, idle, wakes}},
	6:  {"an echo server, drained", stream, []check{greets, backlog, drains}},
	7:  {"an echo server", stream, []check{greets, limit, tail, closing, signals, idle, wakes, backlog, drains, order, reuse, fairness}},
	8:  {"a chat with rooms", lines, append([]check{greets, closing, signals, idle, wakes, piecesOfLines}, chatChecks...)},
	9:  {"an echo server that finds its clients", stream, []check{greets, cheap, reuse}},
	10: {"boss and workers", lines, []check{greets, {name: "hold", run: holds}, tail, closing, signals, idle, wakes, backlog, drains, order, reuse}},
	11: {"frames", framed, []check{greets, {name: "pieces", run: joinsPieces}, {name: "half a frame", run: waitsForRest}, {name: "too long", run: refusesLong}, tail, closing, signals, idle, wakes, backlog, drains, order, reuse}},
}

// Exercises returns the chapters that have checks.
func Exercises() (all []Exercise) {
	for chapter, e := range exercises {
		all = append(all, Exercise{chapter, e.title})
	}
	slices.SortFunc(all, func(a, b Exercise) int { return cmp.Compare(a.Chapter, b.Chapter) })
	return all
}

// Run starts the command once for each check of a chapter's exercise, with a port in
// place of {port} and as PORT in its environment, and reports each result. It
// returns an error when the chapter has no exercise or ctx ends.
func Run(ctx context.Context, chapter int, command []string, report func(Result)) error {
	e, ok := exercises[chapter]
	if !ok {
		return fmt.Errorf("chapter %d has no exercise: those that have one are %d", chapter, slices.Sorted(maps.Keys(exercises)))
	}
	for _, c := range e.checks {
		result := c.hold(ctx, e.dialect, command)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		report(result)
	}
	return nil
}

// hold makes one check.
func (c check) hold(ctx context.Context, d dialect, command []string) Result {
	err := c.try(ctx, d, command)
	switch {
	case err == nil:
		return Result{Check: c.name, Verdict: Passed}
	case errors.Is(err, errSkip):
		return Result{c.name, Skipped, err.Error()}
	}
	return Result{c.name, Failed, err.Error()}
}

func (c check) try(ctx context.Context, d dialect, command []string) error {
	if c.prepare != nil {
		prepared, err := c.prepare(command)
		if err != nil {
			return err
		}
		command = prepared
	}
	s, err := start(ctx, d, command)
	if err != nil {
		return err
	}
	defer s.end()
	return c.run(s)
}
