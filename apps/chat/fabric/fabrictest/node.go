package fabrictest

import (
	"slices"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/fabric/member"
)

// A Node is one node's fabric. All its methods, and those of its handler, are for the
// goroutine that steps the network.
type Node struct {
	network *Network
	name    fabric.Node
	member  *member.Member
	handler fabric.Handler
	closed  bool
	calling bool // of the handler, which may call the node

	killed bool
	paused bool
	missed []func() // what has happened while it was paused

	rate float64 // of its clock
	base time.Duration
	from time.Duration // the network's time at base
}

var _ fabric.Fabric = (*Node)(nil)

// Clock is the node's own monotonic clock.
func (n *Node) Clock() time.Duration {
	return n.base + time.Duration(float64(n.network.now-n.from)*n.rate)
}

// SetRate makes the node's clock faster (above 1) or slower than the network's.
func (n *Node) SetRate(rate float64) {
	n.base, n.from = n.Clock(), n.network.now
	n.rate = rate
}

// Paused says whether the node is stopped.
func (n *Node) Paused() bool { return n.paused }

// Name is the node's name, whether it has a lease or not.
func (n *Node) Name() fabric.Node { return n.name }

// Members are the members that the node knows, itself among them if it has a lease.
func (n *Node) Members() []fabric.Member { return n.member.Members() }

// Pause stops the node, as SIGSTOP does: nothing happens to it until Resume. A test must not
// call its methods meanwhile.
func (n *Node) Pause() { n.paused = true }

// Resume lets the node go on. What has happened meanwhile comes now, in order, one at
// each step.
func (n *Node) Resume() {
	n.paused = false
	for range n.missed {
		n.network.at(n.network.now, n, nil)
	}
}

// Kill ends the node without a word. Requests under way to the store may still be done.
func (n *Node) Kill() {
	n.killed = true
	n.network.nodes = slices.DeleteFunc(n.network.nodes, func(o *Node) bool { return o == n })
}

// run lets something happen to the node, and then calls the handler for it.
func (n *Node) run(do func()) {
	do()
	n.call()
}

func (n *Node) call() {
	if n.calling || n.handler == nil || n.closed {
		return
	}
	n.calling = true
	defer func() { n.calling = false }()
	for calls := n.member.Calls(); len(calls) > 0; calls = n.member.Calls() {
		for _, call := range calls {
			call(n.handler)
		}
	}
}

// later calls the handler for what a method of the node has caused.
func (n *Node) later() { n.network.at(n.network.now, n, func() {}) }

// Start implements fabric.Fabric.
func (n *Node) Start(h fabric.Handler) error {
	n.handler = h
	n.network.at(n.network.now, n, func() { n.member.Start(); n.tick() })
	return nil
}

// tick is called four times within a heartbeat, at moments that differ between nodes.
func (n *Node) tick() {
	if n.closed {
		return
	}
	n.member.Tick()
	quarter := n.network.options.Heartbeat / 4
	n.network.at(n.network.now+quarter/2+time.Duration(n.network.random.Int64N(int64(quarter))), n, n.tick)
}

// Self implements fabric.Fabric.
func (n *Node) Self() fabric.Member { return n.member.Self() }

// Valid implements fabric.Fabric.
func (n *Node) Valid() bool { return n.member.Valid() }

// Send implements fabric.Fabric.
func (n *Node) Send(to fabric.Node, data []byte) error {
	err := n.member.Send(to, data)
	if err == nil {
		n.network.sent++
	}
	return err
}

// Broadcast implements fabric.Fabric.
func (n *Node) Broadcast(data []byte) error {
	sent, err := n.member.Broadcast(data)
	n.network.sent += uint64(sent)
	return err
}

// Claim implements fabric.Fabric.
func (n *Node) Claim(key fabric.Key, done func(fabric.Claim, error)) {
	n.member.Claim(key, done)
	n.later()
}

// Release implements fabric.Fabric.
func (n *Node) Release(c fabric.Claim) {
	n.member.Release(c)
	n.later()
}

// Drain implements fabric.Fabric.
func (n *Node) Drain() {
	n.member.Drain()
	n.later()
}

// Append implements fabric.Fabric.
func (n *Node) Append(shard uint32, id string, data []byte, done func(error)) {
	switch {
	case len(data) > fabric.MaxMessage:
		n.member.Call(func(fabric.Handler) { done(fabric.ErrTooLarge) })
		n.later()
		return
	case !n.Valid():
		n.member.Call(func(fabric.Handler) { done(fabric.ErrFenced) })
		n.later()
		return
	}
	data = slices.Clone(data)
	n.request(func() error {
		n.network.store.append(shard, id, data)
		return nil
	}, func(err error) { n.member.Call(func(fabric.Handler) { done(unavailable(err)) }) })
}

// Replay implements fabric.Fabric.
func (n *Node) Replay(shard uint32, after fabric.Position, each func(fabric.Position, []byte) bool, done func(error)) {
	var records []entry
	n.request(func() error {
		records = n.network.store.shards[shard].behind(after)
		return nil
	}, func(err error) {
		n.member.Call(func(fabric.Handler) {
			if err == nil {
				for _, r := range records {
					if !each(r.position, slices.Clone(r.data)) {
						break
					}
				}
			}
			done(unavailable(err))
		})
	})
}

func unavailable(err error) error {
	if err != nil {
		return fabric.ErrUnavailable
	}
	return nil
}

// Close implements fabric.Fabric. The lease ends when the store has the end, some
// steps later; the handler is called no more.
func (n *Node) Close() error {
	n.member.Leave(func() { n.Kill() })
	n.closed = true
	return nil
}

// A nodeWire carries a node's frames.
type nodeWire struct{ node *Node }

func (w nodeWire) Send(to fabric.Node, frame []byte) {
	n, from := w.node.network, w.node.name
	way := link{from, to}
	arrives := max(n.now+n.latency()+n.delays[way], n.last[way])
	n.last[way] = arrives
	lost := n.loss > 0 && n.random.Float64() < n.loss
	n.at(arrives, nil, func() {
		receiver := n.Node(to)
		if lost || receiver == nil || receiver.handler == nil || !n.reaches(from, to) {
			return
		}
		// One of its own, so that it waits while the node is paused. Nothing of this
		// moment for the same node comes before it but what is older.
		n.at(n.now, receiver, func() { receiver.member.Receive(frame) })
	})
}

func (w nodeWire) Publish(frame []byte) {
	for _, other := range w.node.network.Nodes() {
		if other != w.node {
			w.Send(other.name, slices.Clone(frame))
		}
	}
}
