package fabrictest

import "github.com/epinet/epi/apps/chat/fabric"

// A Local is the network of one node: it owns whatever it asks for, and there is
// nobody to talk to. Nothing is kept, so that Claim needs to know no names: the hall
// of the one node knows them. Tests put what they want to see, or to fail, around it.
//
// Its methods are for one goroutine, and call the handler and done before they return.
type Local struct {
	self fabric.Member
}

// NewLocal returns the network of one node.
func NewLocal(self fabric.Node, version string) *Local {
	return &Local{self: fabric.Member{Node: self, Epoch: 1, Version: version}}
}

// Start implements Fabric.
func (l *Local) Start(h fabric.Handler) error {
	h.Up(l.self)
	return nil
}

// Self implements Fabric.
func (l *Local) Self() fabric.Member { return l.self }

// Valid implements Fabric.
func (*Local) Valid() bool { return true }

// Send implements Fabric: there is nobody.
func (*Local) Send(fabric.Node, []byte) error { return fabric.ErrDown }

// Broadcast implements Fabric.
func (*Local) Broadcast([]byte) error { return nil }

// Claim implements Fabric.
func (l *Local) Claim(key fabric.Key, done func(fabric.Claim, error)) {
	done(fabric.Claim{Key: key, Epoch: l.self.Epoch}, nil)
}

// Release implements Fabric.
func (*Local) Release(fabric.Claim) {}

// Append implements Fabric: what the node keeps itself is all that is kept.
func (*Local) Append(_ uint32, _ string, _ []byte, done func(error)) { done(nil) }

// Replay implements Fabric.
func (*Local) Replay(_ uint32, _ fabric.Position, _ func(fabric.Position, []byte) bool, done func(error)) {
	done(nil)
}

// Drain implements Fabric.
func (l *Local) Drain() { l.self.Draining = true }

// Close implements Fabric.
func (*Local) Close() error { return nil }
