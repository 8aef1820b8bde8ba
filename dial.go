package epi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/epinet/epi/internal/driver"
)

// connectAgain is the pause before another attempt when a Unix socket's
// backlog is full, which connect(2) does not wait for.
const connectAgain = 5 * time.Millisecond

// A dialing is a connection on its way to be open.
type dialing struct {
	conn  *Conn
	from  netip.Addr // where to dial from; the zero Addr leaves it to the system
	to    address
	addrs []net.Addr // to be tried, in this order
	err   error      // of the attempt before
	ctx   context.Context
	stop  func() bool // ends the watch over ctx
}

// Dial begins to connect to address, tcp://host:port, tcp4://, tcp6:// or
// unix:///path, and returns the connection at once: Write queues, and what is
// queued leaves when it is established, of which OnOpen tells. When it cannot
// be established, or ctx ends before it is, OnClose tells why. Afterwards ctx
// has no meaning.
//
// Dial may be called from any goroutine, also inside callbacks; before Run it
// takes effect when Run begins. Its own errors are for what can be told
// beforehand: a bad address, ErrTooManyConns, ErrShutdown.
func (e *Engine) Dial(ctx context.Context, address string, handler Handler) (*Conn, error) {
	return e.DialFrom(ctx, netip.Addr{}, address, handler)
}

// DialFrom is Dial from the address local of this machine, which the zero Addr
// leaves to the system. The system chooses the port when it knows the peer, so
// each local address has all ephemeral ports for each peer: who needs more
// connections to one peer than there are ports dials from several addresses.
func (e *Engine) DialFrom(ctx context.Context, local netip.Addr, address string, handler Handler) (*Conn, error) {
	if err := e.start(); err != nil {
		return nil, err
	}
	c, err := e.dial(ctx, local, address, handler)
	if err != nil {
		return nil, fmt.Errorf("epi: dial %s: %w", address, err)
	}
	return c, nil
}

func (e *Engine) dial(ctx context.Context, local netip.Addr, text string, handler Handler) (*Conn, error) {
	if handler == nil {
		return nil, ErrNoHandler
	}
	to, err := parseAddress(text)
	if err != nil {
		return nil, err
	}
	if to.network == "unix" && local.IsValid() {
		return nil, fmt.Errorf("a Unix socket cannot be dialled from %s: dial from the zero Addr", local)
	}
	addr, ok, err := to.literal()
	if err != nil {
		return nil, err
	}
	if e.stopping.Load() {
		return nil, ErrShutdown
	}
	if !e.enter() {
		return nil, fmt.Errorf("%w: MaxConns is %d", ErrTooManyConns, e.cfg.maxConns)
	}
	l := e.leastLoop()
	from := &origin{unix: to.network == "unix"}
	if from.unix {
		from.remote = addr
	}
	d := &dialing{conn: newConn(l, from, driver.NoHandle, netip.AddrPort{}), from: local, to: to, ctx: ctx}
	d.conn.handler = handler
	l.live.Add(1)
	if err := d.begin(addr, ok); err != nil {
		l.live.Add(-1)
		e.leave()
		return nil, err
	}
	return d.conn, nil
}

// begin connects on the loop, after a look-up in a goroutine where the address
// is a name.
func (d *dialing) begin(addr net.Addr, known bool) error {
	l := d.conn.loop
	d.conn.origin.dialing = d
	if known {
		d.addrs = []net.Addr{addr}
		return l.post(d.connect, maxQueue)
	}
	// A loop that takes a task has not ended, and it will not end from now on:
	// this connection is alive on it.
	if err := l.post(func() {}, maxQueue); err != nil {
		return err
	}
	go func() {
		ctx, cancel := context.WithCancel(d.ctx)
		defer cancel()
		defer context.AfterFunc(l.engine.context, cancel)()
		d.addrs, d.err = d.to.lookup(ctx)
		_ = l.post(d.connect, maxQueue)
	}()
	return nil
}

// connect makes the next attempt. It runs on the loop.
func (d *dialing) connect() {
	c := d.conn
	if d.stop == nil {
		d.stop = context.AfterFunc(d.ctx, func() { d.fail(context.Cause(d.ctx)) })
	}
	if c.loop.draining {
		_ = c.end(draining, ErrShutdown)
	}
	if c.loop.aborted && c.state.Load()&(aborting|finished|shut) == 0 {
		c.loop.abortConn(c)
	}
	for len(d.addrs) > 0 {
		if c.state.Load()&(aborting|finished|shut) != 0 {
			return
		}
		addr := d.addrs[0]
		d.setPeer(addr)
		err := c.loop.drv.Connect(&c.sock, d.from, addr)
		if err == nil {
			return
		}
		if errors.Is(err, driver.ErrBusy) {
			c.loop.After(connectAgain, d.connect)
			return
		}
		d.err = err
		d.addrs = d.addrs[1:]
	}
	d.fail(d.err)
}

func (d *dialing) setPeer(addr net.Addr) {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		d.conn.mu.Lock()
		d.conn.peer = tcp.AddrPort()
		d.conn.mu.Unlock()
	}
}

// fail ends the attempt.
func (d *dialing) fail(err error) {
	_ = d.conn.end(aborting, fmt.Errorf("dial %s: %w", d.to, err))
}

// connected hears how the attempt under way ended.
func (c *Conn) connected(err error) {
	d := c.origin.dialing
	if err != nil {
		d.err = err
		d.addrs = d.addrs[1:]
		d.connect()
		return
	}
	if !d.end() {
		return // ctx ended first, and fail has its turn
	}
	c.request(doOpen)
}

// end forgets the attempt and reports whether ctx had not ended before.
func (d *dialing) end() bool {
	d.conn.origin.dialing = nil
	return d.stop == nil || d.stop()
}
