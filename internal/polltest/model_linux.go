package polltest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/epinet/epi/poll"
)

// TestModel runs scripts of random steps as FuzzModel does.
func TestModel(t *testing.T, subjects ...Subject) {
	for seed := range uint64(40) {
		script := make([]byte, 3*300)
		random := rand.New(rand.NewPCG(seed, seed))
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		t.Run(fmt.Sprintf("seed-%d", seed), func(t *testing.T) { runModel(t, subjects, script) })
	}
}

// FuzzModel runs a script of changes to pipes and registrations against every
// subject and a model in memory. After each step all of them must agree on what
// is ready. What Edge reports is no matter of the model: there the last subject
// shows what is right, and all must have that mode or it is left out.
func FuzzModel(f *testing.F, subjects ...Subject) {
	f.Fuzz(func(t *testing.T, script []byte) { runModel(t, subjects, script) })
}

func runModel(t *testing.T, subjects []Subject, script []byte) {
	m := newModel(t, subjects)
	for len(script) >= 3 {
		m.step(script[0], script[1], script[2])
		script = script[3:]
	}
}

const (
	modelPipes = 4
	modelEnds  = 2 * modelPipes // an even end reads, the odd one after it writes
)

type model struct {
	t        *testing.T
	subjects []Subject
	pollers  []poll.Poller
	modes    []poll.Mode // that all of them have
	holds    bool        // one of them does
	pipes    [modelPipes]modelPipe
	regs     [modelEnds]*modelRegistration
	tokens   uint64
	trace    []string
}

type modelPipe struct {
	r, w        *File
	bytes, full bool
}

type modelRegistration struct {
	token    uint64
	interest poll.Mask
	mode     poll.Mode
	reported []bool // by subject
}

func newModel(t *testing.T, subjects []Subject) *model {
	m := &model{t: t, subjects: subjects, modes: []poll.Mode{poll.Level, poll.OneShot, poll.Edge}}
	for _, s := range subjects {
		m.pollers = append(m.pollers, s.Open(t))
		m.holds = m.holds || s.Holds
		if !s.Edge {
			m.modes = m.modes[:2]
		}
	}
	for i := range m.pipes {
		m.pipes[i].r, m.pipes[i].w = NewPipe(t)
	}
	return m
}

func (m *model) step(act, where, how byte) {
	end := int(where) % modelEnds
	pipe := &m.pipes[end/2]
	interest := poll.Mask(how) & (poll.Readable | poll.Writable)
	mode := m.modes[int(how>>4)%len(m.modes)]
	acts := []struct {
		name string
		do   func()
	}{
		{"add", func() { m.add(end, interest, mode) }},
		{"modify", func() { m.modify(end, interest, mode) }},
		{"remove", func() { m.remove(end) }},
		{"write", pipe.write},
		{"fill", pipe.fill},
		{"drain", pipe.drain},
		{"close", func() { m.closeEnd(end) }},
		{"replace", func() { m.replace(end) }},
	}
	chosen := acts[int(act)%len(acts)]
	m.trace = append(m.trace, fmt.Sprintf("%s end %d interest %d mode %d", chosen.name, end, interest, mode))
	chosen.do()
	m.compare()
}

func (p *modelPipe) write() {
	if p.w.closed || p.r.closed || p.full {
		return
	}
	p.w.Write(1)
	p.bytes = true
}

func (p *modelPipe) fill() {
	if p.w.closed || p.r.closed {
		return
	}
	p.w.Fill()
	p.bytes, p.full = true, true
}

func (p *modelPipe) drain() {
	if p.r.closed {
		return
	}
	p.r.Drain()
	p.bytes, p.full = false, false
}

func (m *model) file(end int) *File {
	if end%2 == 0 {
		return m.pipes[end/2].r
	}
	return m.pipes[end/2].w
}

func (m *model) add(end int, interest poll.Mask, mode poll.Mode) {
	var want error
	if m.regs[end] != nil {
		want = poll.ErrExist
	}
	m.register(end, interest, mode, want, poll.Poller.Add)
}

func (m *model) modify(end int, interest poll.Mask, mode poll.Mode) {
	var want error
	if m.regs[end] == nil {
		want = poll.ErrNotExist
	}
	m.register(end, interest, mode, want, poll.Poller.Modify)
}

func (m *model) register(end int, interest poll.Mask, mode poll.Mode, want error,
	change func(p poll.Poller, fd int, token uint64, interest poll.Mask, mode poll.Mode) error) {
	f := m.file(end)
	if f.closed {
		return
	}
	m.tokens++
	m.all(want, func(p poll.Poller) error { return change(p, f.FD, m.tokens, interest, mode) })
	if want == nil {
		m.regs[end] = &modelRegistration{m.tokens, interest, mode, make([]bool, len(m.pollers))}
	}
}

func (m *model) remove(end int) {
	if m.file(end).closed {
		return
	}
	var want error
	if m.regs[end] == nil {
		want = poll.ErrNotExist
	}
	m.all(want, func(p poll.Poller) error { return p.Remove(m.file(end).FD) })
	m.regs[end] = nil
}

// closeEnd removes first, as the contract advises.
func (m *model) closeEnd(end int) {
	if m.regs[end] != nil {
		m.remove(end)
		if m.holds {
			m.compare()
		}
	}
	m.file(end).Close()
}

// replace makes a new pipe, most likely under the same numbers.
func (m *model) replace(end int) {
	reader := end &^ 1
	m.closeEnd(reader)
	m.closeEnd(reader + 1)
	p := &m.pipes[end/2]
	*p = modelPipe{}
	p.r, p.w = NewPipe(m.t)
}

func (m *model) all(want error, do func(p poll.Poller) error) {
	m.t.Helper()
	for i, p := range m.pollers {
		if err := do(p); !errors.Is(err, want) {
			m.t.Fatalf("poller %d: %v, want %v after %q", i, err, want, m.trace)
		}
	}
}

// ready returns what the kernel knows about one end.
func (m *model) ready(end int) poll.Mask {
	p := &m.pipes[end/2]
	var ready poll.Mask
	switch {
	case end%2 == 0 && p.bytes:
		ready |= poll.Readable
	case end%2 == 1 && !p.full:
		ready |= poll.Writable
	}
	if end%2 == 0 && p.w.closed {
		ready |= poll.HangUp
	}
	if end%2 == 1 && p.r.closed {
		ready |= poll.Error
	}
	return ready
}

// compare takes the events of each poller, which disarms the one-shots.
func (m *model) compare() {
	m.t.Helper()
	got := make([][]poll.Event, len(m.pollers))
	for i, p := range m.pollers {
		got[i] = Glance(m.t, p)
	}
	edges := m.edges(got[len(got)-1])
	for i := range m.pollers {
		want := append(m.events(i), edges...)
		slices.SortFunc(want, byToken)
		if !slices.Equal(got[i], want) {
			m.t.Fatalf("poller %d: %v, want %v after %q", i, got[i], want, m.trace)
		}
	}
}

// edges returns those events that registrations with Edge have made.
func (m *model) edges(events []poll.Event) (edges []poll.Event) {
	for _, r := range m.regs {
		for _, event := range events {
			if r != nil && r.mode == poll.Edge && r.token == event.Token {
				edges = append(edges, event)
			}
		}
	}
	return edges
}

// events returns what a subject must report of the other registrations.
func (m *model) events(subject int) (events []poll.Event) {
	for end, r := range m.regs {
		if r == nil || r.mode == poll.Edge || r.mode == poll.OneShot && r.reported[subject] {
			continue
		}
		if shown := m.subjects[subject].shown(m.ready(end), r.interest); shown != 0 {
			r.reported[subject] = true
			events = append(events, poll.Event{Token: r.token, Ready: shown})
		}
	}
	return events
}
