// Package member is one node's part in a network of several: its lease, the leases of
// the others, its claims, and the numbers of messages. It knows no socket and no
// clock: a [Member] is a state machine upon a [Store], which has revisions, and a
// [Wire], which may lose.
//
// # Leases
//
//	join: write own record ──────────► held ──► renew by Update at its revision
//	  ▲   (waits while another may                │
//	  │    hold the record)                       │ not renewed in time, or
//	  └──────────── fenced ◄──────────────────────┘ the record is another's
//
// A node's record in the store has the epoch of its lease: the revision of the write
// that began it, so that epochs are unique in the network and rise. The holder's lease
// lasts from the moment at which it asked for the last renewal that succeeded, less a
// margin. The others learn of renewals by heartbeats; one that has seen no new revision
// for the length of a lease buries the holder: it writes to its record that the epoch is
// over, at the revision it knows. That write decides. If the holder has renewed
// meanwhile, the write fails, and if it succeeds, no renewal can.
//
// # Members that cannot reach each other
//
// Two nodes that both reach the store but not each other cannot share channels: the
// younger one, by epoch, gives up its lease and stays out until it receives from the other.
package member

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
)

// Config is what a Member must know.
type Config struct {
	Node    fabric.Node
	Version string

	// Instance is a random number that names this process among all that ever had the
	// node's name: it recognizes its own writes by it.
	Instance uint64

	// Lease is how long a node is taken for alive without a renewal. It must be
	// longer than the store is without a leader when it loses one.
	Lease time.Duration

	// Margin is by how much the holder's own view of its lease is shorter: more than
	// two monotonic clocks can differ within one lease.
	Margin time.Duration

	// Heartbeat is the time between two hellos. A lease has several.
	Heartbeat time.Duration
}

// renewals is how often a lease is renewed within its length. When the store loses its
// leader a renewal waits for the next one; what is left of the lease then must be more
// than that takes.
const renewals = 10

// patience is how long a claim is tried for, in heartbeats.
const patience = 3

// Errors of a Store.
var (
	ErrConflict = errors.New("the key has another revision")
	ErrNotFound = errors.New("there is no such key")
)

// A Store keeps values under keys; each write has a revision higher than all
// earlier ones of the store. Its methods do not wait: they call done later, as an
// event of the Member (never within the call). Errors other than ErrConflict and ErrNotFound leave
// open whether the write was, or will be done.
type Store interface {
	// Create writes a key that does not exist, or was deleted.
	Create(key string, value []byte, done func(revision uint64, err error))
	// Update writes a key whose last revision is the given one.
	Update(key string, value []byte, revision uint64, done func(revision uint64, err error))
	// Delete deletes a key whose last revision is the given one.
	Delete(key string, revision uint64, done func(err error))
	// Get may answer what was true some time ago.
	Get(key string, done func(value []byte, revision uint64, err error))
	// Nodes lists the records of all nodes. It may be behind, as Get.
	Nodes(done func(records []Entry, err error))
}

// An Entry is a node's record in the store.
type Entry struct {
	Node     fabric.Node
	Value    []byte
	Revision uint64
}

// A Wire carries frames to other nodes: each at most once, those to one node in order.
// The frames are not used any more by the Member.
type Wire interface {
	Send(to fabric.Node, frame []byte)
	Publish(frame []byte) // to all nodes, the own one among them or not
}

// A Member is a node's part. Its methods are for one goroutine at a time, Valid
// excepted. What the handler is to be called for waits until Calls takes it.
type Member struct {
	config Config
	store  Store
	wire   Wire
	clock  func() time.Duration // monotonic, since any moment

	self     fabric.Member // Epoch 0: no lease
	revision uint64        // of the own record
	until    atomic.Int64  // end of the lease by the own clock, a time.Duration; 0: no lease
	started  bool
	closed   bool

	renewing bool
	renewAt  time.Duration
	joining  bool // an operation for the next lease is under way
	own      peer // the own record as others may have written it, while there is no lease
	waits    string

	beatAt time.Duration
	peers  []*peer // by name
	buried map[fabric.Node]fabric.Epoch

	slots     map[string]*slot
	abandoned []*slot // that may be owned without being wanted
	retries   []*slot // to be tried again

	calls []func(fabric.Handler)
}

// New returns a member that takes part once Start was called. The clock is
// monotonic and also goes on while the process is stopped.
func New(config Config, store Store, wire Wire, clock func() time.Duration) *Member {
	return &Member{
		config: config, store: store, wire: wire, clock: clock,
		self:   fabric.Member{Node: config.Node, Version: config.Version},
		buried: map[fabric.Node]fabric.Epoch{},
		slots:  map[string]*slot{},
	}
}

// Start begins to ask for a lease.
func (m *Member) Start() {
	m.started = true
	m.Tick()
}

// Self is the own node, with epoch 0 if it has no lease.
func (m *Member) Self() fabric.Member { return m.self }

// Valid says whether the own lease holds. Any goroutine may call it.
func (m *Member) Valid() bool { return m.clock() < time.Duration(m.until.Load()) }

// Members are the own node, if it has a lease, and the others that are up, by name.
func (m *Member) Members() (all []fabric.Member) {
	if m.held() {
		all = append(all, m.self)
	}
	for _, p := range m.peers {
		if p.up {
			all = append(all, p.member)
		}
	}
	return all
}

// Waits says what a node without a lease waits for, for people.
func (m *Member) Waits() string {
	if m.held() {
		return ""
	}
	return m.waits
}

// Claims is the number of keys that the node owns, by kind.
func (m *Member) Claims() map[fabric.Kind]int {
	claims := map[fabric.Kind]int{}
	for _, s := range m.slots {
		if s.revision != 0 {
			claims[s.key.Kind]++
		}
	}
	return claims
}

// Calls gives back what the handler must be called for, in order, and forgets it.
func (m *Member) Calls() []func(fabric.Handler) {
	calls := m.calls
	m.calls = nil
	return calls
}

// Waiting is how many calls wait for Calls.
func (m *Member) Waiting() int { return len(m.calls) }

// Call puts something into the order of the handler's calls.
func (m *Member) Call(fn func(fabric.Handler)) { m.calls = append(m.calls, fn) }

// Tick does what is due. It is called several times within a heartbeat.
func (m *Member) Tick() {
	if !m.started || m.closed {
		return
	}
	m.checkLease()
	now := m.clock()
	if !m.held() {
		m.join()
	} else if !m.renewing && now >= m.renewAt {
		m.renew()
	}
	if now >= m.beatAt {
		m.beatAt = now + m.config.Heartbeat
		m.beat()
	}
	if m.held() {
		m.bury()
		m.retry()
		m.recover()
	}
}

// Drain makes the member a draining one.
func (m *Member) Drain() {
	if m.self.Draining {
		return
	}
	m.self.Draining = true
	if m.held() {
		self := m.self
		m.Call(func(h fabric.Handler) { h.Up(self) })
		m.beat()
	}
}

// Leave ends the lease: done is called when the others know, or cannot.
func (m *Member) Leave(done func()) {
	m.closed = true
	if !m.held() {
		done()
		return
	}
	epoch, revision := m.self.Epoch, m.revision
	m.fence()
	m.store.Update(nodeKey(m.config.Node), m.record(epoch, true), revision, func(_ uint64, err error) {
		if err == nil {
			m.wire.Publish(overFrame(m.self, m.config.Node, epoch))
		}
		done()
	})
}
