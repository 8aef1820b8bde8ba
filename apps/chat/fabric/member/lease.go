package member

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
)

// A record is what the store has about a node.
type record struct {
	Epoch    fabric.Epoch `json:"epoch,omitempty"` // 0: the revision of this write
	Over     bool         `json:"over,omitempty"`  // the lease has ended
	Instance uint64       `json:"instance,string"` // which process has the name
	Version  string       `json:"version"`
}

func nodeKey(n fabric.Node) string { return "node." + keyPart(string(n)) }

func (m *Member) record(epoch fabric.Epoch, over bool) []byte {
	return encode(record{Epoch: epoch, Over: over, Instance: m.config.Instance, Version: m.config.Version})
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers and strings alone
	}
	return data
}

// readRecord takes a node's record apart. A record that cannot be read is one of a
// version that we do not know: it is taken for one without end.
func readRecord(value []byte, revision uint64) (r record) {
	if json.Unmarshal(value, &r) != nil {
		return record{Epoch: fabric.Epoch(revision)}
	}
	if r.Epoch == 0 {
		r.Epoch = fabric.Epoch(revision)
	}
	return r
}

func (m *Member) held() bool { return m.self.Epoch != 0 }

// checkLease fences the node if its lease is over. Everything that happens to a member
// begins with it: the process may have been stopped for any time.
func (m *Member) checkLease() {
	if m.held() && !m.Valid() {
		m.fence()
	}
}

// lasts makes the lease one that was asked for at a moment.
func (m *Member) lasts(asked time.Duration, revision uint64) {
	m.revision = revision
	m.until.Store(int64(asked + m.config.Lease - m.config.Margin))
	m.renewAt = asked + m.config.Lease/renewals
}

func (m *Member) renew() {
	asked, epoch := m.clock(), m.self.Epoch
	m.renewing = true
	m.store.Update(nodeKey(m.config.Node), m.record(epoch, false), m.revision, func(revision uint64, err error) {
		if m.self.Epoch != epoch {
			return
		}
		m.renewing = false
		switch {
		case err == nil:
			m.lasts(asked, revision)
			m.checkLease()
			m.beat() // at once: a renewal that nobody has seen delays the burial
		case errors.Is(err, ErrConflict):
			m.reread(epoch)
		default:
			m.renewAt = m.clock() // nothing came for the time of an answer
		}
	})
}

// reread looks who has written the own record: an earlier renewal whose result was
// lost, or another node that has buried this one.
func (m *Member) reread(epoch fabric.Epoch) {
	m.renewing = true
	m.store.Get(nodeKey(m.config.Node), func(value []byte, revision uint64, err error) {
		if m.self.Epoch != epoch {
			return
		}
		m.renewing = false
		m.renewAt = m.clock()
		if err != nil || revision <= m.revision {
			return // the replica is behind, or does not answer
		}
		r := readRecord(value, revision)
		if r.Over || r.Epoch != epoch || r.Instance != m.config.Instance {
			m.fence()
			return
		}
		m.revision = revision
	})
}

// fence ends the own lease.
func (m *Member) fence() {
	m.until.Store(0)
	m.self.Epoch = 0
	m.renewing, m.joining = false, false
	m.own = peer{rev: m.revision, fresh: m.clock()}
	m.failClaims()
	for _, p := range m.peers {
		p.up, p.sent, p.got = false, 0, 0
	}
	m.Call(func(h fabric.Handler) { h.Fenced() })
}

// join takes the next step towards a lease.
func (m *Member) join() {
	if m.joining {
		return
	}
	m.joining = true
	m.waits = "the store"
	m.store.Nodes(func(records []Entry, err error) {
		m.joining = false
		if m.held() || m.closed {
			return
		}
		if err != nil {
			m.waits = fmt.Sprintf("the store: %v", err)
			return
		}
		var own *Entry
		waits := ""
		for i := range records {
			if e := &records[i]; e.Node == m.config.Node {
				own = e
			} else if m.unseen(e) && waits == "" {
				waits = fmt.Sprintf("node %s, which has a lease and sends no hello", e.Node)
			}
		}
		if waits == "" {
			waits = m.take(own)
		}
		m.waits = waits
	})
}

// unseen says whether a record is of a node that may be alive, but whose hellos do not
// come.
func (m *Member) unseen(e *Entry) bool {
	p := m.know(e.Node, readRecord(e.Value, e.Revision), e.Revision)
	if p == nil {
		return false
	}
	now := m.clock()
	return !p.seenWithin(now, 3*m.config.Heartbeat) && now-p.fresh < m.config.Lease
}

// take writes the own record if nobody else can hold it, or says who may.
func (m *Member) take(own *Entry) (waits string) {
	if own == nil {
		m.write(func(done func(uint64, error)) { m.store.Create(nodeKey(m.config.Node), m.record(0, false), done) })
		return "the store"
	}
	r := readRecord(own.Value, own.Revision)
	if own.Revision > m.own.rev {
		m.own.rev, m.own.fresh = own.Revision, m.clock()
	}
	if !r.Over && r.Instance != m.config.Instance && m.clock()-m.own.fresh < m.config.Lease {
		return "the lease of the process that had this node's name before"
	}
	revision := max(own.Revision, m.own.rev)
	m.write(func(done func(uint64, error)) {
		m.store.Update(nodeKey(m.config.Node), m.record(0, false), revision, done)
	})
	return "the store"
}

// write begins a lease, if that write succeeds.
func (m *Member) write(write func(done func(uint64, error))) {
	m.joining = true
	asked := m.clock()
	write(func(revision uint64, err error) {
		m.joining = false
		if m.held() || m.closed || err != nil {
			return // the next tick reads the record again
		}
		m.lasts(asked, revision)
		m.self.Epoch = fabric.Epoch(revision)
		if !m.Valid() { // the answer came too late
			m.self.Epoch = 0
			m.until.Store(0)
			return
		}
		self := m.self
		m.Call(func(h fabric.Handler) { h.Up(self) })
		m.beat()
	})
}
