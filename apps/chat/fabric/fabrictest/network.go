// Package fabrictest is a network of several nodes in memory, for tests that can be
// repeated: a [Network] does one thing at each Step, in an order that its seed chooses.
//
// The nodes are those of package member, the same state machines that natsfabric has;
// what is simulated is below them: a store with revisions whose reads may be behind and whose
// answers may be lost, a wire that keeps the order from one node to another, and a
// clock for each node. Nothing here has a goroutine, and time passes only in Step.
package fabrictest

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/fabric/member"
)

// Options are a network's times; zero fields take the defaults.
type Options struct {
	Lease     time.Duration // 15 s
	Margin    time.Duration // 1 s; a negative one makes owners go on after their lease, to see a test fail
	Heartbeat time.Duration // 1 s
	Latency   time.Duration // the longest way of a message or a request: 20 ms

	// ReadDecides makes the store create what a read, that may be behind, does not
	// see, to see a test fail.
	ReadDecides bool
}

func (o Options) withDefaults() Options {
	if o.Lease == 0 {
		o.Lease = 15 * time.Second
	}
	if o.Margin == 0 {
		o.Margin = time.Second
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = time.Second
	}
	if o.Latency == 0 {
		o.Latency = 20 * time.Millisecond
	}
	return o
}

// answersPerLease: a node takes a request to the store for lost after that part of a lease.
const answersPerLease = 8

// A Network is a set of nodes, their store and the wires between them.
type Network struct {
	options Options
	random  *rand.Rand
	now     time.Duration
	number  uint64 // of the last event, which orders those of one moment
	events  events
	nodes   []*Node // in the order of Join, those killed left out
	size    int     // how many nodes the network is configured with
	cuts    map[link]bool
	delays  map[link]time.Duration
	last    map[link]time.Duration // when the last message of each link arrives
	loss    float64
	store   store
	sent    uint64
}

type link struct{ from, to fabric.Node }

// New returns a network that is configured with a number of nodes; a majority of them
// makes the store work.
func New(seed uint64, size int, options Options) *Network {
	return &Network{
		options: options.withDefaults(),
		random:  rand.New(rand.NewPCG(seed, seed)),
		size:    size,
		cuts:    map[link]bool{},
		delays:  map[link]time.Duration{},
		last:    map[link]time.Duration{},
		store:   newStore(),
	}
}

// An event is something that will happen to a node, or in the store.
type event struct {
	at     time.Duration
	number uint64
	node   *Node  // whose it is; nil: the store's
	do     func() // nil: what was missed first while the node was paused
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e events) Less(i, j int) bool { return e[i].before(e[j]) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (e event) before(other event) bool {
	return e.at < other.at || e.at == other.at && e.number < other.number
}

func (n *Network) at(when time.Duration, node *Node, do func()) {
	n.number++
	heap.Push(&n.events, event{at: max(when, n.now), number: n.number, node: node, do: do})
}

// Step does the next thing, and returns false if there is none, which is so only
// without nodes. Time goes on to when it happens.
func (n *Network) Step() bool {
	if len(n.events) == 0 {
		return false
	}
	e := heap.Pop(&n.events).(event)
	n.now = max(n.now, e.at)
	switch {
	case e.node == nil:
		e.do()
	case e.node.killed:
	case e.node.paused && e.do == nil:
	case e.node.paused:
		e.node.missed = append(e.node.missed, e.do)
	case len(e.node.missed) > 0: // those come first
		if e.do != nil {
			e.node.missed = append(e.node.missed, e.do)
		}
		do := e.node.missed[0]
		e.node.missed = e.node.missed[1:]
		e.node.run(do)
	case e.do != nil:
		e.node.run(e.do)
	}
	return true
}

// Run does all that happens within a time.
func (n *Network) Run(d time.Duration) {
	end := n.now + d
	for len(n.events) > 0 && n.events[0].at <= end {
		n.Step()
	}
	n.now = end
}

// RunUntil does what happens until a condition holds, but not for longer than within a time, and
// returns whether it holds.
func (n *Network) RunUntil(within time.Duration, condition func() bool) bool {
	for end := n.now + within; !condition(); {
		if len(n.events) == 0 || n.events[0].at > end {
			return false
		}
		n.Step()
	}
	return true
}

// Now is the time since the network was made.
func (n *Network) Now() time.Duration { return n.now }

// Sent is how many messages (of Send and Broadcast) were given to the wires.
func (n *Network) Sent() uint64 { return n.sent }

// After does something at a later time.
func (n *Network) After(d time.Duration, do func()) { n.at(n.now+d, nil, do) }

// Join adds a node, that takes part when it is started. A name that was killed may
// join again: that is another process.
func (n *Network) Join(name fabric.Node, version string) *Node {
	if n.Node(name) != nil {
		panic(fmt.Sprintf("fabrictest: node %s is there already", name))
	}
	node := &Node{network: n, name: name, rate: 1}
	o := n.options
	node.member = member.New(member.Config{
		Node: name, Version: version, Instance: n.random.Uint64(),
		Lease: o.Lease, Margin: o.Margin, Heartbeat: o.Heartbeat,
	}, nodeStore{node}, nodeWire{node}, node.Clock)
	n.nodes = append(n.nodes, node)
	return node
}

// Node returns a node by its name, nil if it is not there.
func (n *Network) Node(name fabric.Node) *Node {
	i := slices.IndexFunc(n.nodes, func(node *Node) bool { return node.name == name })
	if i < 0 {
		return nil
	}
	return n.nodes[i]
}

// Nodes are all nodes that are not killed.
func (n *Network) Nodes() []*Node { return slices.Clone(n.nodes) }

// Cut cuts the wires between two nodes, or from one to the other if both is false.
func (n *Network) Cut(a, b fabric.Node, both bool) {
	n.cuts[link{a, b}] = true
	if both {
		n.cuts[link{b, a}] = true
	}
}

// Isolate cuts some nodes off from all others, not from each other.
func (n *Network) Isolate(names ...fabric.Node) {
	for _, a := range names {
		for _, b := range n.nodes {
			if !slices.Contains(names, b.name) {
				n.Cut(a, b.name, true)
			}
		}
	}
}

// Delay makes what one node sends to another from now on take so much longer. It keeps its order.
func (n *Network) Delay(from, to fabric.Node, by time.Duration) { n.delays[link{from, to}] = by }

// Heal mends all cuts, and ends delays and the loss of messages.
func (n *Network) Heal() {
	clear(n.cuts)
	clear(n.delays)
	n.loss = 0
}

// Lose makes the wires lose a part of the frames, from 0 to 1.
func (n *Network) Lose(part float64) { n.loss = part }

// Stall makes the store answer nothing for a time, as when it has lost its leader. What
// it is asked for meanwhile it does at the end, when the asking node may have
// given up.
func (n *Network) Stall(d time.Duration) { n.store.stalled = max(n.store.stalled, n.now+d) }

// reaches says whether what one node sends gets to another.
func (n *Network) reaches(from, to fabric.Node) bool { return !n.cuts[link{from, to}] }

// majority says whether a node reaches a majority, itself included, both ways.
func (n *Network) majority(node *Node) bool {
	reached := 0
	for _, other := range n.nodes {
		if other == node || !other.paused && n.reaches(node.name, other.name) && n.reaches(other.name, node.name) {
			reached++
		}
	}
	return reached > n.size/2 && !node.killed
}

func (n *Network) latency() time.Duration {
	return time.Duration(n.random.Int64N(int64(n.options.Latency)) + 1)
}
