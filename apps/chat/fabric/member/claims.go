package member

import (
	"encoding/base32"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
)

// A slot is a key that this node owns, wants, or may own without wanting it: a write
// whose result was lost may have been done.
//
//	Create ─ ok ──────────────────────────► owned
//	   └─ exists: Get ─ of this epoch, or ─► Update at its revision ─ ok ─► owned
//	        │           of one that is over     └─ conflict: again
//	        └─ of a member ─► taken
type slot struct {
	key      fabric.Key
	revision uint64 // of the own claim in the store, 0: none that is known
	wanted   bool
	busy     bool // an operation is under way: what is asked meanwhile waits for it
	began    time.Duration
	waiting  []func(fabric.Claim, error)

	lookAt    time.Duration // an abandoned slot: when to look next
	forgetAt  time.Duration // and when to stop
	forgotten bool
}

// A holder is the value of a claim.
type holder struct {
	Node  fabric.Node  `json:"node"`
	Epoch fabric.Epoch `json:"epoch"`
}

// keyPart writes a name with the characters that keys of NATS may have.
func keyPart(s string) string {
	return base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(s))
}

func claimKey(k fabric.Key) string { return k.Kind.String() + "." + keyPart(k.Name) }

// Claim makes the own epoch the owner of a key.
func (m *Member) Claim(key fabric.Key, done func(fabric.Claim, error)) {
	m.checkLease()
	if !m.held() {
		m.Call(func(fabric.Handler) { done(fabric.Claim{}, fabric.ErrFenced) })
		return
	}
	s := m.slots[claimKey(key)]
	if s == nil {
		s = &slot{key: key}
		m.slots[claimKey(key)] = s
	}
	s.wanted = true
	s.waiting = append(s.waiting, done)
	if !s.busy {
		m.pursue(s)
	}
}

// Release gives a key back.
func (m *Member) Release(c fabric.Claim) {
	s := m.slots[claimKey(c.Key)]
	if s == nil || c.Epoch != m.self.Epoch || len(s.waiting) > 0 {
		return
	}
	s.wanted = false
	if !s.busy {
		m.pursue(s)
	}
}

// failClaims ends all claims: the epoch is over.
func (m *Member) failClaims() {
	keys := make([]string, 0, len(m.slots))
	for key := range m.slots {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		m.answer(m.slots[key], fabric.Claim{}, fabric.ErrFenced)
	}
	m.slots = map[string]*slot{}
	m.abandoned, m.retries = nil, nil
}

func (m *Member) answer(s *slot, c fabric.Claim, err error) {
	for _, done := range s.waiting {
		m.Call(func(fabric.Handler) { done(c, err) })
	}
	s.waiting = nil
}

// pursue brings a slot to what is wanted of it.
func (m *Member) pursue(s *slot) {
	switch {
	case s.wanted && s.revision != 0:
		m.answer(s, fabric.Claim{Key: s.key, Epoch: m.self.Epoch}, nil)
	case s.wanted:
		s.began = m.clock()
		m.create(s)
	case s.revision != 0:
		m.remove(s)
	default:
		m.forget(s)
	}
}

func (m *Member) forget(s *slot) {
	s.forgotten = true
	delete(m.slots, claimKey(s.key))
}

// during makes fn a result that counts only in the epoch in which it was asked for.
func (m *Member) during(s *slot, fn func(revision uint64, err error)) func(uint64, error) {
	epoch := m.self.Epoch
	s.busy = true
	return func(revision uint64, err error) {
		m.checkLease()
		if m.self.Epoch != epoch {
			return
		}
		s.busy = false
		fn(revision, err)
	}
}

func (m *Member) value() []byte { return encode(holder{m.config.Node, m.self.Epoch}) }

func (m *Member) create(s *slot) {
	m.store.Create(claimKey(s.key), m.value(), m.during(s, func(revision uint64, err error) {
		if errors.Is(err, ErrConflict) {
			m.inspect(s)
			return
		}
		m.written(s, revision, err)
	}))
}

// written takes the result of a write that makes a claim. A conflict with nobody that can be
// seen is tried again, and so is what got no answer.
func (m *Member) written(s *slot, revision uint64, err error) {
	if err != nil {
		m.again(s)
		return
	}
	s.revision = revision
	m.pursue(s)
}

// again tries a claim once more at the next tick, or gives it up.
func (m *Member) again(s *slot) {
	if m.clock()-s.began > patience*m.config.Heartbeat {
		m.abandon(s)
		return
	}
	m.retries = append(m.retries, s)
	s.busy = true
}

func (m *Member) retry() {
	retries := m.retries
	m.retries = nil
	for _, s := range retries {
		m.create(s)
	}
}

// abandon gives up a claim whose result may come at any time.
func (m *Member) abandon(s *slot) {
	s.wanted = false
	m.answer(s, fabric.Claim{}, fabric.ErrUnavailable)
	s.lookAt, s.forgetAt = m.clock()+m.config.Heartbeat, m.clock()+2*m.config.Lease
	if !slices.Contains(m.abandoned, s) {
		m.abandoned = append(m.abandoned, s)
	}
}

// inspect looks who holds a key that could not be created.
func (m *Member) inspect(s *slot) {
	m.get(s, func(h holder, revision uint64, err error) {
		if err != nil {
			m.again(s)
			return
		}
		over, lasts := m.isOver(h.Node, h.Epoch)
		switch {
		case over, h.Node == m.config.Node && lasts:
			m.takeOver(s, revision)
		case lasts:
			m.taken(s, h)
		default:
			m.inspectHolder(s, h, revision)
		}
	})
}

// get reads a claim.
func (m *Member) get(s *slot, fn func(h holder, revision uint64, err error)) {
	var h holder
	result := m.during(s, func(revision uint64, err error) { fn(h, revision, err) })
	m.store.Get(claimKey(s.key), func(value []byte, revision uint64, err error) {
		if err == nil {
			err = json.Unmarshal(value, &h)
		}
		result(revision, err)
	})
}

// takeOver writes over a claim that no other member has any more, if it is still the one
// that was read.
func (m *Member) takeOver(s *slot, revision uint64) {
	m.store.Update(claimKey(s.key), m.value(), revision, m.during(s, func(revision uint64, err error) {
		m.written(s, revision, err)
	}))
}

func (m *Member) taken(s *slot, h holder) {
	s.wanted = false
	by := fabric.Member{Node: h.Node, Epoch: h.Epoch}
	for _, p := range m.peers {
		if p.member.Node == h.Node && p.member.Epoch == h.Epoch {
			by = p.member
		}
	}
	m.answer(s, fabric.Claim{}, &fabric.TakenError{Key: s.key, Holder: by})
	m.forget(s)
}

// inspectHolder asks the store for a holder that is not known to be up.
func (m *Member) inspectHolder(s *slot, h holder, revision uint64) {
	var value []byte
	result := m.during(s, func(nodeRevision uint64, err error) {
		if err != nil && !errors.Is(err, ErrNotFound) {
			m.again(s)
			return
		}
		if err == nil && h.Node != m.config.Node {
			m.know(h.Node, readRecord(value, nodeRevision), nodeRevision)
		}
		switch over, lasts := m.isOver(h.Node, h.Epoch); {
		case over:
			m.takeOver(s, revision)
		case lasts:
			m.taken(s, h)
		default: // its hello will come, or it is buried
			m.again(s)
		}
	})
	m.store.Get(nodeKey(h.Node), func(v []byte, revision uint64, err error) {
		value = v
		result(revision, err)
	})
}

func (m *Member) remove(s *slot) {
	done := m.during(s, func(_ uint64, err error) {
		s.revision = 0
		if err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) && !s.wanted {
			m.abandon(s)
			return
		}
		m.pursue(s)
	})
	m.store.Delete(claimKey(s.key), s.revision, func(err error) { done(0, err) })
}

// recover looks for claims that were made though their result was lost.
func (m *Member) recover() {
	now := m.clock()
	m.abandoned = slices.DeleteFunc(m.abandoned, func(s *slot) bool {
		if s.wanted || s.forgotten {
			return true
		}
		if !s.busy && now >= s.forgetAt {
			m.forget(s)
			return true
		}
		return false
	})
	for _, s := range m.abandoned {
		if !s.busy && now >= s.lookAt {
			s.lookAt = now + m.config.Heartbeat
			m.look(s)
		}
	}
}

func (m *Member) look(s *slot) {
	m.get(s, func(h holder, revision uint64, err error) {
		if s.wanted {
			m.pursue(s)
			return
		}
		if err == nil && h.Node == m.config.Node && h.Epoch == m.self.Epoch {
			s.revision = revision
			m.remove(s)
		}
	})
}
