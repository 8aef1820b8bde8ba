package epi

import (
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"runtime"
	"time"
)

// simulatedGroups are the messages of a group, which its members get and nothing else:
// each is its number.
type simulatedGroups struct {
	s     *simulation
	group Group
	sent  uint32
	whole bool // a send was refused for lack of room: nothing is counted any more
}

// messageSize is the length of a group's message.
const messageSize = 8

// message returns message n of a group.
func message(n uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, n)
	return binary.BigEndian.AppendUint32(b, ^n)
}

// use does something to the group, from any goroutine.
func (g *simulatedGroups) use(h *simulatedHandler) {
	s := g.s
	switch s.Choose(8) {
	case 0, 1:
		if err := g.group.Add(h.conn); err == nil {
			h.member = true
		}
	case 2:
		if g.group.Remove(h.conn) == nil {
			h.member = false
		}
	case 3:
		if n := g.group.Len(); n < 0 {
			s.Failf("the group has %d members", n)
		}
	case 4:
		_ = g.group.Each(g.misbehave)
	case 5:
		g.send(h)
	default:
		g.send(nil)
	}
}

func (g *simulatedGroups) misbehave(c *Conn) {
	s := g.s
	s.Point()
	switch {
	case !s.chaos:
	case s.options.panics && s.Choose(10) == 0:
		g.lose(c)
		panic("a panic of Each")
	case s.options.exits && s.Choose(10) == 0:
		g.lose(c)
		runtime.Goexit()
	}
}

// lose notes that a member is closed by what Each has called.
func (g *simulatedGroups) lose(c *Conn) {
	g.whole = true
	for _, h := range g.s.handlers {
		h.own = h.own || h.conn == c
	}
}

// send sends the next message to all, or to all but one.
func (g *simulatedGroups) send(but *simulatedHandler) {
	s := g.s
	b := message(g.sent)
	var err error
	switch {
	case but != nil:
		err = g.group.SendExcept(but.conn, b)
	case s.Choose(2) == 0:
		err = g.group.Send(b)
	default:
		err = g.group.Send(b[:3], b[3:])
	}
	if err != nil {
		return
	}
	s.Count("group message")
	g.sent++
	for _, h := range s.handlers {
		if h.member && h != but {
			h.due++
		}
	}
}

// read takes the bytes that a client got.
func (g *simulatedGroups) read(c *simulatedClient, b byte) {
	c.message = append(c.message, b)
	c.got++
	if len(c.message) < messageSize {
		return
	}
	n, check := binary.BigEndian.Uint32(c.message), binary.BigEndian.Uint32(c.message[4:])
	switch {
	case n != ^check:
		g.s.Failf("a message of the group has changed on its way to client %d", c.Number)
	case n < c.next:
		g.s.Failf("message %d of the group comes behind %d at client %d", n, c.next, c.Number)
	}
	c.next = n + 1
	c.message = c.message[:0]
}

// checkRest says that every member has what was sent while it was one.
func (g *simulatedGroups) checkRest() {
	for _, h := range g.s.handlers {
		if h.closed > 0 || !h.opened || h.client.excused() || g.whole || h.conn.state.Load()&(ending|closeWrite|writeEnded) != 0 {
			continue
		}
		if got := h.client.got / messageSize; got != h.due {
			g.s.Failf("at rest client %d has %d messages of the group of %d: %s", h.client.Number, got, h.due, g.s.describe())
		}
	}
}

// watchers look at an engine while it runs: its log, and what Tap notes.

func (s *simulation) logger() *slog.Logger {
	if s.Choose(8) > 0 {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (s *simulation) useTap() {
	if s.tap == nil {
		t, err := s.engine.Tap(1 + s.Choose(20))
		if err != nil {
			s.Failf("tap: %v", err)
		}
		s.tap = t
		return
	}
	for i := range s.engine.loops {
		notes := s.tap.Loop(i, s.noted, 1+s.Choose(4))
		for _, turn := range notes.Turns {
			if turn.Number > notes.Noted {
				s.Failf("the tap has turn %d of %d", turn.Number, notes.Noted)
			}
		}
	}
	if s.Choose(3) == 0 {
		s.tap.Close()
		s.tap = nil
	}
}

// useTimers makes timers that tick a few times.
func (s *simulation) useTimers(l *Loop) {
	ticks, most := 0, 1+s.Choose(4)
	policy := []TickPolicy{Burst, Delay, Skip}[s.Choose(3)]
	var t *Timer
	began, period := s.Now, time.Duration(1+s.Choose(8))*time.Millisecond
	t = l.Every(period, policy, func() {
		ticks++
		if early := began + int64(ticks)*int64(period) - s.Now; early > 0 {
			s.Failf("tick %d of a timer comes %v early", ticks, time.Duration(early))
		}
		if ticks >= most {
			t.Stop()
		}
		if ticks > most {
			s.Failf("a timer ticks after Stop")
		}
	})
}

// useListeners opens another listener, or closes it.
func (s *simulation) useListeners() {
	if s.second != nil {
		_ = s.second.Close()
		s.second = nil
		return
	}
	o := ListenOptions{Linger: time.Second, MaxQueued: 1000 + s.Choose(1000), LowWater: s.Choose(2) * 100}
	if s.options.timeouts {
		o.IdleTimeout = time.Minute
	}
	ln, err := s.anotherListener(o)
	if err != nil {
		return // it ends
	}
	_ = ln.String()
	s.second = ln
}

// anotherListener opens one, or takes over a socket that was opened elsewhere.
func (s *simulation) anotherListener(o ListenOptions) (*Listener, error) {
	if s.Choose(3) > 0 || s.options.tls || s.options.proxy {
		return s.listen("10.0.0.1:2", o)
	}
	from := &simulatedSocket{addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 2}}
	if s.options.unix {
		from.addr = &net.UnixAddr{Name: "@10.0.0.1:2", Net: "unix"}
	}
	return s.engine.ListenOn(from, o, s.handler)
}
