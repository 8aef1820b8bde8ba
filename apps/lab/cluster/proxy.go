package cluster

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"

	"github.com/epinet/epi/internal/freeport"
)

// loopback has the nodes at addresses of this machine, without anything between them.
type loopback struct{}

func (loopback) place(nodes []*node) error {
	if err := addresses(nodes); err != nil {
		return err
	}
	for _, n := range nodes {
		for _, other := range nodes {
			if n != other {
				n.Peers = append(n.Peers, other.Listen)
			}
		}
	}
	return nil
}

func addresses(nodes []*node) (err error) {
	for _, n := range nodes {
		if n.IRC, err = freeport.Next(); err != nil {
			return err
		}
		if n.Admin, err = freeport.Next(); err != nil {
			return err
		}
		if n.Listen, err = freeport.Next(); err != nil {
			return err
		}
	}
	return nil
}

func (loopback) at(_ *node, fn func() error) error { return fn() }

func (loopback) disturb(f Fault, _ *node, _ *rand.Rand) (ways string, mend func(), err error) {
	return "", nil, fmt.Errorf("there is nothing between the nodes that could do %q", f)
}

func (loopback) end() {}

// proxies are doors between nodes on the loopback interface.
type proxies struct {
	loopback
	doors map[*node][]*door // before it, and before the others for it
}

// nowhere is what nodes say of their addresses to one another, so that they reach each
// other through the doors alone.
const nowhere = "127.0.0.1:1"

func (p *proxies) place(nodes []*node) error {
	if err := addresses(nodes); err != nil {
		return err
	}
	p.doors = map[*node][]*door{}
	for _, n := range nodes {
		n.Advertise = nowhere
		for _, other := range nodes {
			if n == other {
				continue
			}
			d, err := newDoor(other.Listen)
			if err != nil {
				return err
			}
			n.Peers = append(n.Peers, d.address())
			p.doors[n], p.doors[other] = append(p.doors[n], d), append(p.doors[other], d)
		}
	}
	return nil
}

func (p *proxies) disturb(f Fault, n *node, random *rand.Rand) (ways string, mend func(), err error) {
	if f != Cut && f != Freeze {
		return p.loopback.disturb(f, n, random)
	}
	for _, d := range p.doors[n] {
		d.close(f == Cut)
	}
	return "", func() {
		for _, d := range p.doors[n] {
			d.open()
		}
	}, nil
}

func (p *proxies) end() {
	for _, doors := range p.doors {
		for _, d := range doors {
			d.end()
		}
	}
}

// A door is in front of a node's address for the other nodes. Shut, it lets nothing
// through: what is under way waits, as in a network that drops packets, or the
// connections are cut.
type door struct {
	listener net.Listener
	to       string
	work     sync.WaitGroup

	mu     sync.Mutex
	opened sync.Cond
	shut   bool // guarded by mu
	ended  bool // guarded by mu
	conns  map[net.Conn]bool
}

func newDoor(to string) (*door, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &door{listener: l, to: to, conns: map[net.Conn]bool{}}
	d.opened.L = &d.mu
	d.work.Go(d.serve)
	return d, nil
}

func (d *door) address() string { return d.listener.Addr().String() }

func (d *door) serve() {
	for {
		from, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.work.Go(func() { d.connect(from) })
	}
}

func (d *door) connect(from net.Conn) {
	defer from.Close()
	if !d.pass(from) {
		return
	}
	to, err := net.Dial("tcp", d.to)
	if err != nil {
		return
	}
	defer to.Close()
	if !d.pass(to) {
		return
	}
	d.work.Go(func() { d.pipe(to, from) })
	d.pipe(from, to)
}

// pass waits while the door is shut, and is false at its end.
func (d *door) pass(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		d.conns[c] = true
	}
	for d.shut && !d.ended {
		d.opened.Wait()
	}
	return !d.ended
}

func (d *door) pipe(from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && (!d.pass(from) || writeAll(to, buffer[:n]) != nil) || err != nil {
			break
		}
	}
	_ = from.Close()
	_ = to.Close()
	d.mu.Lock()
	delete(d.conns, from)
	d.mu.Unlock()
}

func writeAll(to io.Writer, data []byte) error {
	_, err := to.Write(data)
	return err
}

// close shuts the door, and cuts the connections if cut.
func (d *door) close(cut bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = true
	if cut {
		d.cut()
	}
}

func (d *door) cut() {
	for c := range d.conns {
		_ = c.Close()
	}
}

func (d *door) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = false
	d.opened.Broadcast()
}

// end closes the door for good.
func (d *door) end() {
	_ = d.listener.Close()
	d.mu.Lock()
	d.ended = true
	d.cut()
	d.opened.Broadcast()
	d.mu.Unlock()
	d.work.Wait()
}
