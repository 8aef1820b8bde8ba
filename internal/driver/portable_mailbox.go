package driver

import (
	"sync"
	"time"

	"github.com/epinet/epi/internal/slab"
)

// A note is for the loop: what a goroutine has done.
type note struct {
	kind   noteKind
	socket *Socket       // but for those of listening sockets and of packets
	packet *PacketSocket // of packets
	link   *link         // of socket; or what was accepted, unless there is an error
	token  slab.Token    // of the listening socket
	err    error
}

type noteKind uint8

const (
	noteRead      noteKind = iota // something was read, or the end
	noteWritten                   // a Send has ended
	noteConnected                 // Connect has ended
	noteClosed                    // Close has ended
	noteDetached                  // Detach has ended
	noteAccepted                  // a listening socket has a new connection
	noteAwaited                   // somebody waits to be accepted
	notePacket                    // a datagram was received
	noteRoom                      // a datagram for which there was no room has left
	notePacketEnd                 // ClosePacket has ended
)

// drop gives up what the note holds: a connection as if it had not been accepted.
func (n note) drop() {
	if n.kind == noteAccepted && n.link != nil {
		n.link.reset()
	}
}

// A mailbox is where goroutines leave notes for the loop, which sleeps in it. It
// is not bounded by itself: there are no more notes than goroutines that have one
// to leave.
type mailbox struct {
	arrived chan struct{} // filled when there is a note, or Wake was called
	timer   *time.Timer   // of the loop

	mu     sync.Mutex
	notes  []note // guarded by mu
	closed bool   // guarded by mu; nobody reads notes any more
}

func newMailbox() mailbox {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return mailbox{arrived: make(chan struct{}, 1), timer: timer}
}

// post leaves a note, and drops what it holds when nobody will read it.
func (m *mailbox) post(n note) {
	m.mu.Lock()
	closed := m.closed
	if !closed {
		m.notes = append(m.notes, n)
	}
	m.mu.Unlock()
	if closed {
		n.drop()
		return
	}
	m.wake()
}

func (m *mailbox) wake() {
	select {
	case m.arrived <- struct{}{}:
	default: // it is filled
	}
}

// wait moves at most limit notes behind dst, and sleeps until there are any, a
// wake, or the timeout as poll.Poller has it.
func (m *mailbox) wait(dst []note, limit int, timeout time.Duration) []note {
	if dst = m.take(dst, limit); len(dst) > 0 || timeout == 0 {
		return dst
	}
	m.sleep(timeout)
	return m.take(dst, limit)
}

func (m *mailbox) sleep(timeout time.Duration) {
	if timeout < 0 {
		<-m.arrived
		return
	}
	m.timer.Reset(timeout)
	defer m.timer.Stop()
	select {
	case <-m.arrived:
	case <-m.timer.C:
	}
}

func (m *mailbox) take(dst []note, limit int) []note {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(len(m.notes), limit)
	dst = append(dst, m.notes[:n]...)
	left := copy(m.notes, m.notes[n:])
	clear(m.notes[left:])
	m.notes = m.notes[:left]
	return dst
}

// close drops what nobody has read, and what comes later.
func (m *mailbox) close() {
	m.mu.Lock()
	m.closed = true
	notes := m.notes
	m.notes = nil
	m.mu.Unlock()
	for _, n := range notes {
		n.drop()
	}
}
