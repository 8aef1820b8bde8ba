package cluster

import (
	"io"
	"net"
	"sync"
)

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
