package driver

import (
	"iter"
	"net"
	"slices"

	"github.com/epinet/epi/internal/slab"
)

// sockets is what all drivers have in common: what is open, and what is gone and
// not yet reported.
type sockets struct {
	cfg         Config
	open        slab.Slab[*Socket]
	listeners   slab.Slab[*Listening]
	gone        []*Socket    // closed, and that is not yet reported
	detached    []detachment // whose Detached is not yet reported
	packets     slab.Slab[*PacketSocket]
	gonePackets []*PacketSocket // closed, and that is not yet reported
	counters    Counters
}

// A list is sockets to look after, each once.
type list struct {
	tokens []slab.Token
	spare  []slab.Token // the other half of a double buffer
}

func (l *list) len() int { return len(l.tokens) }

func (l *list) add(s *Socket) {
	if s.flags&listed == 0 {
		s.flags |= listed
		l.tokens = append(l.tokens, s.token)
	}
}

// takeListed empties the list and visits those of it that are still open. They
// may be put on it again meanwhile.
func (d *sockets) takeListed(l *list) iter.Seq[*Socket] {
	return func(visit func(*Socket) bool) {
		if len(l.tokens) == 0 {
			return
		}
		tokens, next := l.tokens, 0
		l.tokens, l.spare = l.spare[:0], tokens
		// When a callback ends its goroutine, the rest is for the next.
		defer func() { l.tokens = append(l.tokens, tokens[next:]...) }()
		for next < len(tokens) {
			token := tokens[next]
			next++
			if s, ok := d.open.Get(token); ok {
				s.flags &^= listed
				visit(s)
			}
		}
	}
}

// unreported counts the sockets, those for datagrams too, whose last call is still to be made.
func (d *sockets) unreported() int { return len(d.gone) + len(d.detached) + len(d.gonePackets) }

// reportGone makes the last calls.
func (d *sockets) reportGone() {
	for i, s := range d.gone {
		d.gone[i] = nil
		s.Stream.Closed()
	}
	d.gone = d.gone[:0]
	for i, t := range d.detached {
		d.detached[i] = detachment{}
		t.socket.Stream.Detached(t.conn, t.rest, t.err)
	}
	d.detached = d.detached[:0]
	for len(d.gonePackets) > 0 {
		s := d.gonePackets[0]
		d.gonePackets = slices.Delete(d.gonePackets, 0, 1)
		s.Stream.PacketClosed() // which calls the handler: it may not return
	}
}

// A detachment is a connection that belongs to package net.
type detachment struct {
	socket *Socket
	conn   net.Conn
	rest   []byte
	err    error
}

func (d *sockets) forgetSocket(s *Socket) {
	s.flags = closed
	d.open.Remove(s.token)
	s.Handle = NoHandle
}

// surrender forgets the socket but not its handle.
func (d *sockets) surrender(s *Socket) Handle {
	h := s.Handle
	d.forgetSocket(s)
	s.flags = 0 // as if never opened: Closed must not follow
	return h
}

// Counters and Sockets are those of Driver.
func (d *sockets) Counters() *Counters { return &d.counters }

func (d *sockets) Sockets(visit func(Stream)) {
	for _, s := range d.open.All() {
		visit(s.Stream)
	}
}
