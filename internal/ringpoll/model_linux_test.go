package ringpoll_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/epinet/epi/internal/ringpoll"
	"github.com/epinet/epi/poll"
)

// FuzzAgainstEpoll runs a script of changes to pipes and registrations. After
// each step a look at epoll and a look at the ring must find the same.
func FuzzAgainstEpoll(f *testing.F) {
	for seed := range uint64(40) {
		script := make([]byte, 3*300)
		random := rand.New(rand.NewPCG(seed, seed))
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		m := &model{t: t, ring: open(t), epoll: openEpoll(t)}
		for i := range m.pipes {
			m.pipes[i] = newModelPipe(t)
		}
		for len(script) >= 3 {
			m.step(script[0], script[1], script[2])
			script = script[3:]
		}
	})
}

type model struct {
	t          *testing.T
	ring       *ringpoll.Poller
	epoll      poll.Poller
	pipes      [4]modelPipe
	registered [8]bool // by end: an even end reads, the odd one after it writes
	tokens     uint64
	trace      []string
}

type modelPipe struct{ ends [2]*file }

func newModelPipe(t *testing.T) modelPipe {
	r, w := newPipe(t)
	return modelPipe{[2]*file{r, w}}
}

func (m *model) step(act, where, how byte) {
	end := int(where) % len(m.registered)
	pipe := &m.pipes[end/2]
	f := pipe.ends[end%2]
	interest := poll.Mask(how) & (readable | writable)
	mode := []poll.Mode{poll.Level, poll.Edge, poll.OneShot}[how>>4%3]
	name := []string{"add", "modify", "remove", "write", "fill", "drain", "close", "replace"}[act%8]
	m.trace = append(m.trace, fmt.Sprintf("%s end %d interest %d mode %d", name, end, interest, mode))
	switch name {
	case "add":
		m.add(end, f, interest, mode)
	case "modify":
		m.modify(end, f, interest, mode)
	case "remove":
		m.remove(end)
	case "close":
		m.remove(end)
		m.compare() // the ring lets go of the file
		f.close()
	case "replace":
		m.remove(end &^ 1)
		m.remove(end | 1)
		m.compare()
		pipe.ends[0].close()
		pipe.ends[1].close()
		*pipe = newModelPipe(m.t)
	default:
		pipe.transfer(name)
	}
	m.compare()
}

func (m *model) add(end int, f *file, interest poll.Mask, mode poll.Mode) {
	if f.closed {
		return
	}
	m.tokens++
	m.both(!m.registered[end], func(p poll.Poller) error { return p.Add(f.fd, m.tokens, interest, mode) })
	m.registered[end] = true
}

func (m *model) modify(end int, f *file, interest poll.Mask, mode poll.Mode) {
	if f.closed {
		return
	}
	m.tokens++
	m.both(m.registered[end], func(p poll.Poller) error { return p.Modify(f.fd, m.tokens, interest, mode) })
}

func (m *model) remove(end int) {
	f := m.pipes[end/2].ends[end%2]
	if f.closed {
		return
	}
	m.both(m.registered[end], func(p poll.Poller) error { return p.Remove(f.fd) })
	m.registered[end] = false
}

// both changes both pollers and asserts whether they allow it.
func (m *model) both(allowed bool, change func(poll.Poller) error) {
	for _, p := range []poll.Poller{m.ring, m.epoll} {
		if err := change(p); (err == nil) != allowed {
			m.t.Fatalf("%T: %v, allowed: %v, after %q", p, err, allowed, m.trace)
		}
	}
}

func (p *modelPipe) transfer(act string) {
	r, w := p.ends[0], p.ends[1]
	switch {
	case act == "drain" && !r.closed:
		r.drain()
	case r.closed || w.closed:
	case act == "fill":
		w.fill()
	case act == "write":
		w.tryWrite()
	}
}

func (m *model) compare() {
	want, got := glance(m.t, m.epoll), glance(m.t, m.ring)
	if !slices.Equal(got, want) {
		m.t.Fatalf("io_uring %v, epoll %v, after %q", got, want, m.trace[max(0, len(m.trace)-12):])
	}
}
