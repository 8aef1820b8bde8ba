package epi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/epinet/epi/internal/address"
	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/sock"
)

// connectAgain is the pause before another attempt when a Unix socket's
// backlog is full, which connect(2) does not wait for.
const connectAgain = 5 * time.Millisecond

// A dialing is a connection on its way to be open.
type dialing struct {
	conn     *Conn
	from     netip.Addr // where to dial from; the zero Addr leaves it to the system
	settings sock.StreamOptions
	to       address.Address
	resolver *net.Resolver
	timeout  time.Duration // 0: none
	ctx      context.Context

	addrs  []net.Addr         // of the one who looks up, then of the loop
	err    error              // likewise; of the look-up, or of an attempt
	cancel context.CancelFunc // ends a look-up; nil when there was none
	timer  *Timer             // ends the attempt; nil without timeout
	race   race               // of the loop; between several addresses

	stop func() bool // of the loop; ends the watch over ctx, nil before that begins
}

// Dial begins to connect to address, tcp://host:port, tcp4://, tcp6://,
// tls://host:port or unix:///path, and returns the connection at once: Write
// queues, and queued bytes are sent once it is established, after the TLS handshake
// if there is one; OnOpen is called then. When it cannot be established, or ctx
// ends before it is, OnClose gets the reason. Afterwards ctx has no meaning.
//
// A name may have several addresses. They are tried one after the other, those of
// IPv4 and IPv6 in turns, the next when one has failed or has had no answer for 250
// ms; the first to answer is the connection (RFC 8305). Without a host it is this
// machine that is dialled.
//
// Dial may be called from any goroutine, also inside callbacks; before Run it
// takes effect when Run begins. It returns only errors that are known at once:
// a bad address, ErrTooManyConns, ErrShutdown.
func (e *Engine) Dial(ctx context.Context, address string, handler Handler) (*Conn, error) {
	return e.DialWith(ctx, address, DialOptions{}, handler)
}

// DialOptions are what a dialled connection can have besides its address.
type DialOptions struct {
	// Local is the address of this machine to dial from. The system chooses the
	// port when it knows the peer, so each local address has all ephemeral ports
	// for each peer: to open more connections to one peer than there are ports,
	// dial from several addresses. Default: the system chooses.
	Local netip.Addr
	// TLS is for a tls:// address. Without a ServerName, it is the host of the
	// address. Default: Engine.TLS.
	TLS *tls.Config
	// Loop is the loop of this engine that is to serve the connection: that of
	// another connection, for instance, whose handler writes to this one, so that
	// the callbacks of both run on one goroutine. With Engine.Workers they do not,
	// and it says only which loop watches the socket. Default: one that has few
	// connections.
	Loop *Loop
	// Timeout bounds the time until the connection is established, the look-up of
	// a name and a TLS handshake included; then OnClose gets an error that
	// wraps context.DeadlineExceeded. It counts from Dial, or from Run. Default:
	// none but ctx, and what the system has (two minutes on Linux, tcp(7)).
	Timeout time.Duration
	// Resolver looks up names. Default: net.DefaultResolver.
	Resolver *net.Resolver
	// Socket are settings of the socket, or of each where several addresses are
	// tried. Default: the system's.
	Socket SocketOptions
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
	to, err := address.Parse(text)
	if err != nil {
		return nil, err
	}
	if to.Network == "unix" && o.Local.IsValid() {
		return nil, fmt.Errorf("a Unix socket cannot be dialled from %s: leave DialOptions.Local zero", o.Local)
	}
	if o.Timeout < 0 {
		return nil, fmt.Errorf("DialOptions.Timeout is %v: it is to be positive, or 0 for none", o.Timeout)
	}
	settings, err := o.Socket.settings()
	if err != nil {
		return nil, err
	}
	addrs, known, err := to.DialAddrs()
	if err != nil {
		return nil, err
	}
	l := o.Loop
	if l == nil {
		l = e.lighterLoop()
	}
	if l.engine != e {
		return nil, errors.New("DialOptions.Loop is of another engine")
	}
	if e.stopping.Load() {
		return nil, ErrShutdown
	}
	if !e.admission.enter() {
		return nil, fmt.Errorf("%w: MaxConns is %d", ErrTooManyConns, e.cfg.maxConns)
	}
	from := &origin{unix: to.Network == "unix", dials: true}
	if to.TLS {
		from.tls = clientConfig(cmp.Or(o.TLS, e.TLS), to.Host)
	}
	if from.unix {
		from.remote = addrs[0]
	}
	d := &dialing{conn: newConn(l, from, driver.NoHandle, netip.AddrPort{}), from: o.Local, settings: settings, to: to, ctx: ctx}
	l.guardControl(&d.settings)
	d.resolver, d.timeout = cmp.Or(o.Resolver, net.DefaultResolver), o.Timeout
	d.conn.handler = handler
	l.live.Add(1)
	if err := d.begin(addrs, known); err != nil {
		l.live.Add(-1)
		e.admission.leave()
		return nil, err
	}
	return d.conn, nil
}

// guardControl makes a panic of Control its error: for a dialled socket it is called where nobody
// would catch that, and the attempt would never end. In a goroutine of its own, runtime.Goexit
// ends no other.
func (l *Loop) guardControl(o *sock.StreamOptions) {
	control := o.Control
	if control == nil {
		return
	}
	o.Control = func(network, address string, c syscall.RawConn) error {
		ended := make(chan error)
		go func() {
			var err error
			returned := false
			defer func() {
				if !returned {
					err = l.panicked("Control", recover())
				}
				ended <- err
			}()
			err = control(network, address, c)
			returned = true
		}()
		return <-ended
	}
}

// clientConfig returns config, which may be nil, with a name to check the
// server's certificate for. The zone of an address is this machine's own matter
// (RFC 4007, section 11.2): certificates do not have it.
func clientConfig(config *tls.Config, host string) *tls.Config {
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.WithZone("").String()
	}
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
func (d *dialing) begin(addrs []net.Addr, known bool) error {
	l := d.conn.loop
	d.conn.extras().dialing = d
	if d.timeout > 0 {
		d.timer = l.AfterWatched(d.timeout, d.late)
	}
	d.addrs = addrs
	if known {
		return d.posted(l.post(d.connect, unbounded))
	}
	var ctx context.Context
	ctx, d.cancel = context.WithCancel(d.ctx)
	// A loop that takes a task has not ended, and it will not end from now on:
	// this connection is alive on it.
	if err := d.posted(l.post(func() {}, unbounded)); err != nil {
		return err
	}
	l.cfg.Spawn(func() { d.lookUp(ctx) })
	return nil
}

// posted gives up what begin has begun when there is no loop for it.
func (d *dialing) posted(err error) error {
	if err != nil {
		d.end()
	}
	return err
}

// lookUp finds the addresses of a name, unless the connection ends before.
func (d *dialing) lookUp(ctx context.Context) {
	l := d.conn.loop
	defer l.cfg.AfterDone(l.engine.context, d.cancel)()
	d.addrs, d.err = l.cfg.Lookup(d.to, ctx, d.resolver)
	_ = l.post(d.connect, unbounded) // it fails only when the connection has ended
}

// connect begins to connect to what is known to be the peer. It runs on the loop.
func (d *dialing) connect() {
	c := d.conn
	if c.loop.draining {
		_ = c.end(closing, ErrShutdown)
	}
	if c.loop.aborted && !c.isGone() {
		c.loop.abortConn(c)
	}
	if c.isGone() {
		return
	}
	if d.ctx.Err() != nil {
		d.fail(context.Cause(d.ctx))
		return
	}
	if d.stop == nil {
		d.stop = c.loop.cfg.AfterDone(d.ctx, func() { d.fail(context.Cause(d.ctx)) })
	}
	switch len(d.addrs) {
	case 0:
		d.fail(d.err)
	case 1:
		d.connectTo(d.addrs[0])
	default:
		d.race.start(d)
	}
}

// isGone reports whether nothing can become of the connection any more.
func (c *Conn) isGone() bool { return c.state.Load()&gone != 0 }

// connectTo is for the only address.
func (d *dialing) connectTo(addr net.Addr) {
	d.setPeer(addr)
	if err := d.conn.loop.drv.Connect(&d.conn.sock, d.from, addr, d.settings); err != nil {
		d.refused(err)
	}
}

// refused answers the failure of the only attempt.
func (d *dialing) refused(err error) {
	if errors.Is(err, driver.ErrBusy) {
		d.conn.loop.After(connectAgain, d.connect)
		return
	}
	d.fail(err)
}

// note keeps the first error of several attempts, which is the one of the address
// that the system prefers.
func (d *dialing) note(addr net.Addr, err error) {
	if d.err == nil {
		d.err = fmt.Errorf("%s: %w", addr, err)
	}
}

func (d *dialing) setPeer(addr net.Addr) {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		d.conn.setPeer(tcp.AddrPort())
	}
}

// fail ends the attempt.
func (d *dialing) fail(err error) {
	_ = d.conn.end(aborting, fmt.Errorf("dial %s: %w", d.to, err))
}

// late ends the attempt because of DialOptions.Timeout.
func (d *dialing) late() {
	d.fail(fmt.Errorf("%w: it was not established within %v, DialOptions.Timeout", context.DeadlineExceeded, d.timeout))
}

func (s *stream) Connected(err error) { (*Conn)(s).connected(err) }

// connected is called with the end of the attempt under way.
func (c *Conn) connected(err error) {
	d := c.extra.dialing.(*dialing)
	if err != nil {
		d.refused(err)
		return
	}
	if c.origin.tls == nil && !d.end() {
		return // its time was over before, and fail has its turn
	}
	c.request(doOpen)
}

// end forgets the attempt and reports whether its time was not over before.
func (d *dialing) end() bool {
	d.conn.extra.dialing = nil
	d.race.stop()
	if d.cancel != nil {
		d.cancel()
	}
	inTime := d.timer == nil || d.timer.Stop()
	return (d.stop == nil || d.stop()) && inTime
}
