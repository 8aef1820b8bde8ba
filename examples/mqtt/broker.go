package main

import (
	"slices"

	"github.com/epinet/epi"
)

// A session is what is known of a client. It outlasts the connection unless it is clean.
type session struct {
	clean   bool
	conn    *epi.Conn // nil while the client is away
	filters map[string]bool
	waiting []delivery // of QoS 1, not acknowledged, in order
	last    uint16     // packet identifier given
}

type delivery struct {
	*message
	flags byte
	id    uint16
}

// send gives d to the client. It is sent again when the client comes back without
// having acknowledged it.
func (s *session) send(d *delivery) {
	if s.conn != nil && s.conn.Send(d.packet(d.flags, d.id)) == nil {
		d.flags |= dupBit
	}
}

// subscribers have the bit of the QoS that each was granted.
type subscribers map[*session]byte

// A broker is all there is. It belongs to the one loop.
type broker struct {
	sessions    map[string]*session    // by client identifier
	exact, wild map[string]subscribers // by filter, without wildcards and with them
	retained    map[string]*message    // by topic
	retaining   int                    // cost of retained
	waiting     int                    // cost of what waits in all sessions
}

func newBroker() *broker {
	return &broker{
		sessions: map[string]*session{},
		exact:    map[string]subscribers{}, wild: map[string]subscribers{},
		retained: map[string]*message{},
	}
}

func (b *broker) publish(m *message) {
	if m.flags&retainBit != 0 {
		b.retain(m)
	}
	packet := m.packet(0, 0)
	for s, granted := range b.exact[m.topic] {
		b.deliver(s, m, granted, 0, packet)
	}
	for filter, all := range b.wild {
		if matches(filter, m.topic) {
			for s, granted := range all {
				b.deliver(s, m, granted, 0, packet)
			}
		}
	}
}

// deliver gives m to s; it is lost for a session that has no room for it. All who get
// it by QoS 0 share the packet.
func (b *broker) deliver(s *session, m *message, granted, retain byte, packet []byte) {
	if m.flags&granted == 0 {
		if s.conn != nil {
			_ = s.conn.Send(packet)
		}
		return
	}
	id := max(1, s.last+1)
	taken := len(s.waiting) > 0 && s.waiting[0].id == id
	if taken || len(s.waiting) == maxWaiting || b.waiting+m.cost() > maxWaitingAll {
		return
	}
	b.waiting += m.cost()
	s.last = id
	s.waiting = append(s.waiting, delivery{m, granted | retain, id})
	s.send(&s.waiting[len(s.waiting)-1])
}

func (b *broker) acknowledge(s *session, id uint16) {
	if i := slices.IndexFunc(s.waiting, func(d delivery) bool { return d.id == id }); i >= 0 {
		b.waiting -= s.waiting[i].cost()
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
}

// retain keeps m for its topic, instead of the one before it. An empty one keeps none.
func (b *broker) retain(m *message) {
	if old := b.retained[m.topic]; old != nil {
		b.retaining -= old.cost()
		delete(b.retained, m.topic)
	}
	if len(m.payload) > 0 && b.retaining+m.cost() <= maxRetained {
		b.retaining += m.cost()
		b.retained[m.topic] = m
	}
}

// remind gives s what is retained for a filter.
func (b *broker) remind(s *session, filter string, granted byte) {
	if !isWild(filter) {
		if m := b.retained[filter]; m != nil {
			b.deliver(s, m, granted, retainBit, m.packet(retainBit, 0))
		}
		return
	}
	for topic, m := range b.retained {
		if matches(filter, topic) {
			b.deliver(s, m, granted, retainBit, m.packet(retainBit, 0))
		}
	}
}

// index is where the subscribers of a filter are.
func (b *broker) index(filter string) map[string]subscribers {
	if isWild(filter) {
		return b.wild
	}
	return b.exact
}

// subscribe reports whether the filter is right, and whether there was room.
func (b *broker) subscribe(s *session, filter string, granted byte) bool {
	index := b.index(filter)
	if !isFilter(filter) || !s.filters[filter] && len(s.filters) == maxFilters {
		return false
	}
	if isWild(filter) && index[filter] == nil && len(index) == maxWildcards {
		return false
	}
	if index[filter] == nil {
		index[filter] = subscribers{}
	}
	index[filter][s], s.filters[filter] = granted, true
	return true
}

func (b *broker) unsubscribe(s *session, filter string) {
	index := b.index(filter)
	delete(s.filters, filter)
	if delete(index[filter], s); len(index[filter]) == 0 {
		delete(index, filter)
	}
}

// forget ends a session.
func (b *broker) forget(id string, s *session) {
	for filter := range s.filters {
		b.unsubscribe(s, filter)
	}
	for _, d := range s.waiting {
		b.waiting -= d.cost()
	}
	delete(b.sessions, id)
}
