package main

import (
	"slices"
	"time"

	"github.com/epinet/epi"
)

const (
	maxPacket   = 1 << 20   // bytes
	maxName     = 1 << 10   // bytes of a topic, a filter, a client identifier
	maxFilters  = 64        // of one session
	maxWild     = 4096      // filters with wildcards: each message is compared with all
	maxSessions = 100_000   // those of clients that are away included
	maxWaiting  = 1024      // messages that one client has not acknowledged
	maxRetained = 32 << 10  // messages: a new filter is compared with all
	maxHeld     = 256 << 20 // bytes of the messages that wait or are retained
	patience    = 10 * time.Second
)

// A broker is what clients share. It belongs to the one loop.
type broker struct {
	sessions    map[string]*session    // by client identifier
	subscribers map[string]subscribers // by filter
	wild        map[string]bool        // those filters that have wildcards
	retained    map[string]*message    // by topic
	held        int                    // cost of the messages that wait or are retained
}

// subscribers have the bit of the QoS that each was granted.
type subscribers map[*session]byte

// A session is what is known of a client. It outlasts the connection unless it is clean.
type session struct {
	id      string
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

// session finds a client's session, whose other connection ends, or begins one. It is
// nil when there are too many.
func (b *broker) session(id string, clean bool) (s *session, present byte) {
	s = b.sessions[id]
	if s != nil && s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
	if s != nil && !clean && !s.clean {
		return s, 1
	}
	b.forget(s)
	if len(b.sessions) == maxSessions {
		return nil, 0
	}
	s = &session{id: id, clean: clean, filters: map[string]bool{}}
	b.sessions[id] = s
	return s, 0
}

// forget ends a session, if there is one.
func (b *broker) forget(s *session) {
	if s == nil {
		return
	}
	for filter := range s.filters {
		b.unsubscribe(s, filter)
	}
	for len(s.waiting) > 0 {
		b.acknowledge(s, s.waiting[0].id)
	}
	delete(b.sessions, s.id)
}

func (b *broker) publish(m *message) {
	if m.flags&retainBit != 0 {
		b.retain(m)
	}
	packet := m.packet(0, 0)                         // for all who get it by QoS 0
	for s, granted := range b.subscribers[m.topic] { // whose bit is a QoS
		b.deliver(s, m, granted&m.flags, packet)
	}
	for filter := range b.wild {
		if matches(filter, m.topic) {
			for s, granted := range b.subscribers[filter] {
				b.deliver(s, m, granted&m.flags, packet)
			}
		}
	}
}

// deliver gives m to s, as packet or by QoS 1. It is lost for a session that has no
// room for it.
func (b *broker) deliver(s *session, m *message, flags byte, packet []byte) {
	if flags&qos1Bit == 0 {
		if s.conn != nil {
			_ = s.conn.Send(packet)
		}
		return
	}
	id := max(1, s.last+1)
	taken := len(s.waiting) > 0 && s.waiting[0].id == id
	if taken || len(s.waiting) == maxWaiting || b.held+m.cost() > maxHeld {
		return
	}
	b.held += m.cost()
	s.last, s.waiting = id, append(s.waiting, delivery{m, flags, id})
	s.send(&s.waiting[len(s.waiting)-1])
}

func (b *broker) acknowledge(s *session, id uint16) {
	if i := slices.IndexFunc(s.waiting, func(d delivery) bool { return d.id == id }); i >= 0 {
		b.held -= s.waiting[i].cost()
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
}

// retain keeps m for its topic, instead of the one before it. An empty one keeps none.
func (b *broker) retain(m *message) {
	if old := b.retained[m.topic]; old != nil {
		b.held -= old.cost()
		delete(b.retained, m.topic)
	}
	if len(m.payload) > 0 && len(b.retained) < maxRetained && b.held+m.cost() <= maxHeld {
		b.held += m.cost()
		b.retained[m.topic] = m
	}
}

// remind gives s what is retained for a filter.
func (b *broker) remind(s *session, filter string, granted byte) {
	for topic, m := range b.retained {
		if matches(filter, topic) {
			b.deliver(s, m, granted&m.flags|retainBit, m.packet(retainBit, 0))
		}
	}
}

// subscribe reports whether the filter is right, and whether there was room.
func (b *broker) subscribe(s *session, filter string, granted byte) bool {
	all, wild := b.subscribers[filter], isWild(filter)
	if !isFilter(filter) || !s.filters[filter] && len(s.filters) == maxFilters || wild && all == nil && len(b.wild) == maxWild {
		return false
	}
	if all == nil {
		all = subscribers{}
		b.subscribers[filter] = all
	}
	if wild {
		b.wild[filter] = true
	}
	all[s], s.filters[filter] = granted, true
	return true
}

func (b *broker) unsubscribe(s *session, filter string) {
	delete(s.filters, filter)
	if delete(b.subscribers[filter], s); len(b.subscribers[filter]) == 0 {
		delete(b.subscribers, filter)
		delete(b.wild, filter)
	}
}
