package epi

import (
	"cmp"
	"context"
	"crypto/tls"
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

// Dial begins to connect to address, tcp://host:port, tcp4://, tcp6://,
// tls://host:port or unix:///path, and returns the connection at once: Write
// queues, and what is queued leaves when it is established, of which OnOpen
// tells; with TLS that is after the handshake. When it cannot be established, or
// ctx ends before it is, OnClose tells why. Afterwards ctx has no meaning.
//
// Dial may be called from any goroutine, also inside callbacks; before Run it
// takes effect when Run begins. Its own errors are for what can be told
// beforehand: a bad address, ErrTooManyConns, ErrShutdown.
func (e *Engine) Dial(ctx context.Context, address string, handler Handler) (*Conn, error) {
	return e.DialWith(ctx, address, DialOptions{}, handler)
}

// DialOptions are what a dialled connection can have besides its address.
type DialOptions struct {
	// Local is the address of this machine to dial from. The system chooses the
	// port when it knows the peer, so each local address has all ephemeral ports
	// for each peer: who needs more connections to one peer than there are ports
	// dials from several addresses. Default: the system chooses.
	Local netip.Addr
	// TLS is for a tls:// address. Without a ServerName, it is the host of the
	// address. Default: Engine.TLS.
	TLS *tls.Config
}

// DialWith is Dial with options.
func (e *Engine) DialWith(ctx context.Context, address string, o DialOptions, handler Handler) (*Conn, error) {
	if err := e.start(); err != nil {
		return nil, err
	}
	c, err := e.dial(ctx, o, address, handler)
	if err != nil {
		return nil, fmt.Errorf("epi: dial %s: %w", address, err)
	}
	return c, nil
}

func (e *Engine) dial(ctx context.Context, o DialOptions, text string, handler Handler) (*Conn, error) {
	if handler == nil {
		return nil, ErrNoHandler
	}
	to, err := parseAddress(text)
	if err != nil {
		return nil, err
	}
	if to.network == "unix" && o.Local.IsValid() {
		return nil, fmt.Errorf("a Unix socket cannot be dialled from %s: leave DialOptions.Local zero", o.Local)
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
	l := e.lighterLoop()
	from := &origin{unix: to.network == "unix", dials: true}
	if to.tls {
		from.tls = clientConfig(cmp.Or(o.TLS, e.TLS), to.host)
	}
	if from.unix {
		from.remote = addr
	}
	d := &dialing{conn: newConn(l, from, driver.NoHandle, netip.AddrPort{}), from: o.Local, to: to, ctx: ctx}
	d.conn.handler = handler
	l.live.Add(1)
	if err := d.begin(addr, ok); err != nil {
		l.live.Add(-1)
		e.leave()
		return nil, err
	}
	return d.conn, nil
}

// clientConfig returns config, which may be nil, with a name to check the
// server's certificate for.
func clientConfig(config *tls.Config, host string) *tls.Config {
	if config == nil {
		return &tls.Config{ServerName: host}
	}
	if config.ServerName != "" {
		return config
	}
	config = config.Clone()
	config.ServerName = host
	return config
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
		if err == nil || !d.goOn(err) {
			return
		}
	}
	d.fail(d.err)
}

// goOn answers an attempt that has failed and reports whether the next is due.
func (d *dialing) goOn(err error) bool {
	if errors.Is(err, driver.ErrBusy) {
		d.conn.loop.After(connectAgain, d.connect)
		return false
	}
	d.err = err
	d.addrs = d.addrs[1:]
	return true
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
		if d.goOn(err) {
			d.connect()
		}
		return
	}
	if c.origin.tls == nil && !d.end() {
		return // ctx ended first, and fail has its turn
	}
	c.request(doOpen)
}

// end forgets the attempt and reports whether ctx had not ended before.
func (d *dialing) end() bool {
	d.conn.origin.dialing = nil
	return d.stop == nil || d.stop()
}
