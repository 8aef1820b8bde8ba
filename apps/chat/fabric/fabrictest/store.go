package fabrictest

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/fabric/member"
)

// A store keeps all past values of its keys, since reads may answer with one of the
// last.
type store struct {
	revision uint64
	keys     map[string][]version
	names    map[string]fabric.Node // of the nodes that have records, by their keys
	order    []string               // the keys of names, sorted
	stalled  time.Duration
	shards   [fabric.Shards]shard
}

type version struct {
	value    []byte // nil: deleted
	revision uint64
}

type shard struct {
	entries []entry
	ids     map[string]bool
}

type entry struct {
	position fabric.Position // behind it
	data     []byte
}

// behind returns the entries behind a position, all if the shard does not have that one.
func (s *shard) behind(after fabric.Position) []entry {
	for i, e := range s.entries {
		if e.position == after {
			return slices.Clone(s.entries[i+1:])
		}
	}
	return slices.Clone(s.entries)
}

func newStore() store {
	return store{keys: map[string][]version{}, names: map[string]fabric.Node{}}
}

func (s *store) append(to uint32, id string, data []byte) {
	shard := &s.shards[to]
	if shard.ids[id] {
		return
	}
	if shard.ids == nil {
		shard.ids = map[string]bool{}
	}
	shard.ids[id] = true
	number := uint64(len(shard.entries) + 1)
	shard.entries = append(shard.entries, entry{fabric.Position{Stream: 1, Number: number, At: int64(number)}, data})
}

// current is the last version of a key.
func (s *store) current(key string) version {
	if versions := s.keys[key]; len(versions) > 0 {
		return versions[len(versions)-1]
	}
	return version{}
}

func (s *store) write(key string, value []byte) uint64 {
	s.revision++
	s.keys[key] = append(s.keys[key], version{value, s.revision})
	return s.revision
}

// staleness is how many versions back a read may see.
const staleness = 3

// read is what a replica has of a key: in one of four times, not the last version.
func (n *Network) read(key string) version {
	versions := n.store.keys[key]
	if len(versions) == 0 {
		return version{}
	}
	back := 0
	if n.random.IntN(4) == 0 {
		back = n.random.IntN(staleness + 1)
	}
	if back >= len(versions) {
		return version{}
	}
	return versions[len(versions)-1-back]
}

// Errors of requests to the store.
var errNoAnswer = errors.New("no answer")

// request lets the store do something, and then calls result for the node: with
// errNoAnswer if it was not done, or the answer was lost.
func (n *Node) request(do func() error, result func(error)) {
	net := n.network
	answered := false
	answer := func(err error) {
		if !answered {
			answered = true
			result(err)
		}
	}
	net.at(net.now+net.options.Lease/answersPerLease, n, func() { answer(errNoAnswer) })
	net.at(net.now+net.latency(), nil, func() {
		if !net.majority(n) {
			return
		}
		net.at(max(net.now, net.store.stalled), nil, func() {
			err := do()
			net.at(net.now+net.latency(), nil, func() {
				if net.majority(n) {
					net.at(net.now, n, func() { answer(err) })
				}
			})
		})
	})
}

// A nodeStore is the store as one node reaches it.
type nodeStore struct{ node *Node }

func (s nodeStore) Create(key string, value []byte, done func(uint64, error)) {
	net := s.node.network
	s.write(key, value, done, func(current version) bool {
		if net.options.ReadDecides {
			current = net.read(key)
		}
		return current.value == nil
	})
}

func (s nodeStore) Update(key string, value []byte, revision uint64, done func(uint64, error)) {
	s.write(key, value, done, func(current version) bool { return current.revision == revision })
}

func (s nodeStore) write(key string, value []byte, done func(uint64, error), may func(current version) bool) {
	store := &s.node.network.store
	value = slices.Clone(value)
	var revision uint64
	s.node.request(func() error {
		if !may(store.current(key)) {
			return member.ErrConflict
		}
		revision = store.write(key, value)
		return nil
	}, func(err error) { done(revision, err) })
	if strings.HasPrefix(key, "node.") && store.names[key] == "" {
		store.names[key] = s.node.name // nodes write their own record before others do
		store.order = append(store.order, key)
		slices.Sort(store.order)
	}
}

func (s nodeStore) Delete(key string, revision uint64, done func(error)) {
	store := &s.node.network.store
	s.node.request(func() error {
		if store.current(key).revision != revision {
			return member.ErrConflict
		}
		store.write(key, nil)
		return nil
	}, done)
}

func (s nodeStore) Get(key string, done func([]byte, uint64, error)) {
	var v version
	s.node.request(func() error {
		if v = s.node.network.read(key); v.value == nil {
			return member.ErrNotFound
		}
		return nil
	}, func(err error) { done(v.value, v.revision, err) })
}

func (s nodeStore) Nodes(done func([]member.Entry, error)) {
	net := s.node.network
	var records []member.Entry
	s.node.request(func() error {
		for _, key := range net.store.order {
			if v := net.read(key); v.value != nil {
				records = append(records, member.Entry{Node: net.store.names[key], Value: v.value, Revision: v.revision})
			}
		}
		return nil
	}, func(err error) { done(records, err) })
}
