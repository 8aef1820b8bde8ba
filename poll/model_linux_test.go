package poll_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/epinet/epi/poll"
)

// FuzzModel runs a script of changes to pipes and registrations against every
// backend and a model in memory. After each step all of them must agree on what
// is ready.
func FuzzModel(f *testing.F) {
	for seed := range uint64(40) {
		script := make([]byte, 3*300)
		random := rand.New(rand.NewPCG(seed, seed))
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		m := newModel(t)
		for len(script) >= 3 {
			m.step(script[0], script[1], script[2])
			script = script[3:]
		}
	})
}

const (
	modelPipes = 4
	modelEnds  = 2 * modelPipes // an even end reads, the odd one after it writes
)

type model struct {
	t        *testing.T
	backends []poll.Backend
	pollers  []poll.Poller
	pipes    [modelPipes]modelPipe
	regs     [modelEnds][]modelRegistration // one for each backend, or none
	tokens   uint64
	trace    []string
}

type modelPipe struct {
	r, w        *file
	bytes, full bool
}

type modelRegistration struct {
	token    uint64
	interest poll.Mask
	oneShot  bool
	armed    bool
}

func newModel(t *testing.T) *model {
	m := &model{t: t, backends: poll.Backends()}
	for _, b := range m.backends {
		m.pollers = append(m.pollers, newPoller(t, b))
	}
	for i := range m.pipes {
		m.pipes[i].r, m.pipes[i].w = newPipe(t)
	}
	return m
}

func (m *model) step(act, where, how byte) {
	end := int(where) % modelEnds
	pipe := &m.pipes[end/2]
	interest := poll.Mask(how) & (poll.Readable | poll.Writable)
	oneShot := how&0x80 != 0
	acts := []struct {
		name string
		do   func()
	}{
		{"add", func() { m.add(end, interest, oneShot) }},
		{"modify", func() { m.modify(end, interest, oneShot) }},
		{"remove", func() { m.remove(end) }},
		{"write", pipe.write},
		{"fill", pipe.fill},
		{"drain", pipe.drain},
		{"close", func() { m.closeEnd(end) }},
		{"replace", func() { m.replace(end) }},
	}
	chosen := acts[int(act)%len(acts)]
	m.trace = append(m.trace, fmt.Sprintf("%s end %d interest %d one-shot %v", chosen.name, end, interest, oneShot))
	chosen.do()
	m.compare()
}

func (p *modelPipe) write() {
	if p.w.closed || p.r.closed || p.full {
		return
	}
	p.w.write(1)
	p.bytes = true
}

func (p *modelPipe) fill() {
	if p.w.closed || p.r.closed {
		return
	}
	p.w.fill()
	p.bytes, p.full = true, true
}

func (p *modelPipe) drain() {
	if p.r.closed {
		return
	}
	p.r.drain()
	p.bytes, p.full = false, false
}

func (m *model) file(end int) *file {
	if end%2 == 0 {
		return m.pipes[end/2].r
	}
	return m.pipes[end/2].w
}

func (m *model) add(end int, interest poll.Mask, oneShot bool) {
	if m.file(end).closed {
		return
	}
	m.tokens++
	var want error
	if m.regs[end] != nil {
		want = poll.ErrExist
	}
	m.all(want, func(p poll.Poller) error {
		return p.Add(m.file(end).fd, m.tokens, interest, modeOf(oneShot))
	})
	if want == nil {
		m.register(end, interest, oneShot)
	}
}

func (m *model) modify(end int, interest poll.Mask, oneShot bool) {
	if m.file(end).closed {
		return
	}
	m.tokens++
	var want error
	if m.regs[end] == nil {
		want = poll.ErrNotExist
	}
	m.all(want, func(p poll.Poller) error {
		return p.Modify(m.file(end).fd, m.tokens, interest, modeOf(oneShot))
	})
	if want == nil {
		m.register(end, interest, oneShot)
	}
}

func (m *model) register(end int, interest poll.Mask, oneShot bool) {
	r := modelRegistration{token: m.tokens, interest: interest, oneShot: oneShot, armed: true}
	m.regs[end] = slices.Repeat([]modelRegistration{r}, len(m.backends))
}

func (m *model) remove(end int) {
	if m.file(end).closed {
		return
	}
	var want error
	if m.regs[end] == nil {
		want = poll.ErrNotExist
	}
	m.all(want, func(p poll.Poller) error { return p.Remove(m.file(end).fd) })
	m.regs[end] = nil
}

// closeEnd removes first, as the contract advises.
func (m *model) closeEnd(end int) {
	if m.regs[end] != nil {
		m.remove(end)
	}
	m.file(end).close()
}

// replace makes a new pipe, most likely under the same numbers.
func (m *model) replace(end int) {
	reader := end &^ 1
	m.closeEnd(reader)
	m.closeEnd(reader + 1)
	p := &m.pipes[end/2]
	*p = modelPipe{}
	p.r, p.w = newPipe(m.t)
}

func (m *model) all(want error, do func(p poll.Poller) error) {
	m.t.Helper()
	for i, p := range m.pollers {
		if err := do(p); !errors.Is(err, want) {
			m.t.Fatalf("%s: %v, want %v after %q", m.backends[i], err, want, m.trace)
		}
	}
}

func modeOf(oneShot bool) poll.Mode {
	if oneShot {
		return poll.OneShot
	}
	return poll.Level
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

// compare takes the events of each backend, which disarms the one-shots.
func (m *model) compare() {
	m.t.Helper()
	for i, p := range m.pollers {
		var want []poll.Event
		for end := range m.regs {
			if m.regs[end] == nil {
				continue
			}
			r := &m.regs[end][i]
			seen := shown(m.backends[i], m.ready(end), r.interest)
			if !r.armed || seen == 0 {
				continue
			}
			r.armed = !r.oneShot
			want = append(want, poll.Event{Token: r.token, Ready: seen})
		}
		var events [modelEnds + 1]poll.Event
		n, err := p.Wait(events[:], 0)
		must(m.t, err)
		got := events[:n]
		slices.SortFunc(got, byToken)
		slices.SortFunc(want, byToken)
		if !slices.Equal(got, want) {
			m.t.Fatalf("%s: %v, want %v after %q", m.backends[i], got, want, m.trace)
		}
	}
}

// shown returns what a backend reports of what is ready.
func shown(b poll.Backend, ready, interest poll.Mask) poll.Mask {
	if b == poll.BackendSelect {
		return as(b, ready) & interest
	}
	return ready & (interest | poll.Error | poll.HangUp)
}
