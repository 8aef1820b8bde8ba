package epi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/epinet/epi/internal/address"
	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/proxyheader"
	"github.com/epinet/epi/internal/sock"
)

// acceptPause is how long a loop stops accepting after the system refused it
// something (no descriptors, no memory): the time for others to give back.
const acceptPause = 50 * time.Millisecond

// A Listener accepts connections for an Engine.
type Listener struct {
	engine *Engine
	origin *origin
	text   string          // the address as given
	addr   net.Addr        // the address as bound
	file   sock.SocketFile // of a Unix socket that we have bound
	shared atomic.Bool     // others may hold the socket, too
	closed atomic.Bool     // set under mu

	acceptors []*acceptor
	open      atomic.Int32 // acceptors that still use a handle

	mu      sync.Mutex
	handles []driver.Handle // fixed when it listens, then guarded by mu; nil when they are closed
	once    sync.Once
}

// An acceptor is a listener's part on one loop.
type acceptor struct {
	listener *Listener
	loop     *Loop
	sock     driver.Listening // of the loop
	pauses   throttle         // of the loop
	sheds    throttle         // of the loop
	removed  bool             // of the loop
}

// ListenOptions are what a listener can have besides its address.
type ListenOptions struct {
	// TLS is for a tls:// address. Default: Engine.TLS.
	TLS *tls.Config
	// ProxyFrom are the addresses of proxies: connections from them begin with a
	// PROXY header, version 1 or 2, whose source becomes Conn.RemoteAddr. One
	// without is refused (ErrProxyHeader), as is any other peer that sends one
	// (ErrProxyUntrusted). Of those, bytes that a header could begin with wait for
	// the next one, for Engine.HandshakeTimeout at most. Zones are not compared.
	// Default: no header is looked for, unless there are ProxyUsers.
	ProxyFrom []netip.Prefix
	// ProxyUsers are the users, by number, whose programs are proxies when they
	// connect to a Unix socket, also when ProxyFrom alone asks for headers:
	// addresses mean nothing there. Where the system does not give a peer's user
	// (Conn.PeerCredentials) nobody is trusted. Default: root and the user of this
	// process.
	ProxyUsers []uint32
	// IdleTimeout, ReadTimeout, WriteTimeout and MessageTimeout are for the
	// listener's connections. Default: the engine's. math.MaxInt64 is no limit.
	IdleTimeout, ReadTimeout, WriteTimeout, MessageTimeout time.Duration
	// HandshakeTimeout and Linger are for the listener's connections, too. How long
	// a client may be silent while others wait for its place (Engine.MaxHandshakes)
	// follows from the engine's HandshakeTimeout all the same.
	HandshakeTimeout, Linger time.Duration
	// HighWater, LowWater, MaxQueued and MaxUnread are for the listener's
	// connections. Default: the engine's, or what follows from the others.
	HighWater, LowWater, MaxQueued, MaxUnread int
	// Socket are settings of the listening socket that its connections inherit.
	// Default: the system's.
	Socket SocketOptions
	// Mode is that of a Unix socket's file, whatever the umask is: who may write
	// may connect (unix(7)). ListenOn leaves the file as it is. Default: 0777, less
	// what the umask forbids.
	Mode fs.FileMode
}

// settings are the options as the drivers take them.
func (o *ListenOptions) settings(network string, reusePort bool) (sock.StreamOptions, error) {
	s, err := o.Socket.settings()
	if err != nil {
		return s, err
	}
	if o.Mode&^fs.ModePerm != 0 {
		return s, fmt.Errorf("ListenOptions.Mode is %v: it is to have permissions alone", o.Mode)
	}
	if network == "unix" {
		s.Mode = o.Mode
	}
	s.ReusePort = reusePort && network != "unix"
	return s, nil
}

// timeouts returns the ones for the listener's connections, nil if they are the engine's.
func (o *ListenOptions) timeouts(c *config) (*timeouts, error) {
	t := c.timeouts
	for _, f := range []struct {
		name  string
		value time.Duration
		to    *time.Duration
	}{
		{"IdleTimeout", o.IdleTimeout, &t.idle},
		{"ReadTimeout", o.ReadTimeout, &t.read},
		{"WriteTimeout", o.WriteTimeout, &t.write},
		{"MessageTimeout", o.MessageTimeout, &t.message},
		{"Linger", o.Linger, &t.linger},
		{"HandshakeTimeout", o.HandshakeTimeout, &t.handshake},
	} {
		if f.value < 0 {
			return nil, fmt.Errorf("ListenOptions.%s is %v: it cannot be negative; 0 chooses the engine's", f.name, f.value)
		}
		if f.value > 0 {
			*f.to = f.value
		}
	}
	if t == c.timeouts {
		return nil, nil
	}
	return &t, nil
}

// watermarks returns the ones for the listener's connections, nil if they are the engine's.
// Marks of the queue that are not given follow from the others, as the engine's do.
func (o *ListenOptions) watermarks(c *config) (*watermarks, error) {
	if o.HighWater == 0 && o.LowWater == 0 && o.MaxQueued == 0 && o.MaxUnread == 0 {
		return nil, nil
	}
	w := c.marks
	if o.MaxQueued > 0 {
		w.high = min(w.high, o.MaxQueued/2)
	}
	for _, f := range []struct {
		name  string
		value int
		to    *int
	}{
		{"HighWater", o.HighWater, &w.high},
		{"LowWater", o.LowWater, &w.low},
		{"MaxQueued", o.MaxQueued, &w.queued},
		{"MaxUnread", o.MaxUnread, &w.unread},
	} {
		if f.value < 0 {
			return nil, fmt.Errorf("ListenOptions.%s is %d: it cannot be negative; 0 chooses the engine's", f.name, f.value)
		}
		if f.value > 0 {
			*f.to = f.value
		}
	}
	if o.HighWater == 0 {
		w.high = max(w.high, o.LowWater)
	}
	if o.LowWater == 0 {
		w.low = min(w.low, w.high/2)
	}
	if o.MaxQueued == 0 {
		w.queued = max(w.queued, twice(w.high))
	}
	return &w, w.agree("ListenOptions")
}

// proxies are the peers that send a PROXY header, nil when none is to be looked for.
func (o *ListenOptions) proxies() (*proxyheader.Senders, error) {
	if o.ProxyFrom == nil && o.ProxyUsers == nil {
		return nil, nil
	}
	p := &proxyheader.Senders{Users: o.ProxyUsers}
	if p.Users == nil {
		p.Users = []uint32{0, uint32(os.Geteuid())}
	}
	for i, prefix := range o.ProxyFrom {
		if !prefix.IsValid() {
			return nil, fmt.Errorf("ListenOptions.ProxyFrom[%d] is no network: make it by netip.ParsePrefix", i)
		}
		p.Networks = append(p.Networks, prefix)
	}
	return p, nil
}

// Listen accepts connections on address: tcp://host:port, tcp4://, tcp6://,
// tls://host:port or unix:///path. Without a host it listens on all addresses,
// with port 0 on one that is free. handler returns the Handler of a new
// connection; it is called as Handler's methods are, and returning nil refuses
// the connection.
//
// Listen may be called before and during Run. The port is bound when it
// returns.
func (e *Engine) Listen(address string, handler func(*Conn) Handler) (*Listener, error) {
	return e.ListenWith(address, ListenOptions{}, handler)
}

// ListenWith is Listen with options.
func (e *Engine) ListenWith(address string, o ListenOptions, handler func(*Conn) Handler) (*Listener, error) {
	if handler == nil {
		return nil, fmt.Errorf("epi: listen %s: no handler function was given", address)
	}
	if err := e.start(); err != nil {
		return nil, err
	}
	ln, err := e.listen(address, o, handler)
	if err != nil {
		return nil, fmt.Errorf("epi: listen %s: %w", address, err)
	}
	return ln, nil
}

func (e *Engine) listen(text string, o ListenOptions, handler func(*Conn) Handler) (*Listener, error) {
	where, err := address.Parse(text)
	if err != nil {
		return nil, err
	}
	proxies, err := o.proxies()
	if err != nil {
		return nil, err
	}
	from := &origin{unix: where.Network == "unix", handler: handler, proxies: proxies}
	if from.timeouts, err = o.timeouts(e.cfg); err != nil {
		return nil, err
	}
	if from.marks, err = o.watermarks(e.cfg); err != nil {
		return nil, err
	}
	if where.TLS {
		from.tls = cmp.Or(o.TLS, e.TLS)
		if !hasCertificate(from.tls) {
			return nil, errNoCertificate
		}
	}
	addr, err := where.ListenAddr(context.Background())
	if err != nil {
		return nil, err
	}
	settings, err := o.settings(where.Network, e.cfg.reusePort)
	if err != nil {
		return nil, err
	}
	ln := &Listener{engine: e, text: text}
	if err := ln.bind(where.Network, addr, settings); err != nil {
		ln.closeHandles()
		return nil, explain(err, where)
	}
	ln.file = sock.NoteSocketFile(where.Path)
	from.local = ln.addr
	ln.origin = from
	return ln, ln.begin()
}

// begin lets all loops accept from the sockets.
func (ln *Listener) begin() error {
	e := ln.engine
	for i, l := range e.loops {
		a := &acceptor{listener: ln, loop: l}
		a.sock.Acceptor = (*acceptance)(a)
		a.sock.Handle = ln.handles[min(i, len(ln.handles)-1)]
		a.sock.Exclusive = len(e.loops) > len(ln.handles)
		a.sock.Shared = &ln.shared
		ln.acceptors = append(ln.acceptors, a)
	}
	ln.open.Store(int32(len(ln.acceptors)))
	if !e.addListener(ln, ln.watch) {
		ln.leavePath()
		ln.closeHandles()
		return ErrShutdown
	}
	e.cfg.log.Info("listening", "listener", ln.String())
	return nil
}

// watch lets the loops accept. They take the task: none ends before its engine is over.
func (ln *Listener) watch() {
	for _, a := range ln.acceptors {
		_ = a.loop.post(a.begin, unbounded)
	}
}

// bind makes one listening socket for all loops, or one for each.
func (ln *Listener) bind(network string, addr net.Addr, o sock.StreamOptions) error {
	count := 1
	if o.ReusePort {
		count = len(ln.engine.loops)
	}
	for range count {
		h, bound, err := ln.engine.shared.Bind(network, addr, o)
		if err != nil {
			return err
		}
		ln.handles = append(ln.handles, h)
		ln.addr = bound
		addr = samePort(addr, bound)
	}
	return nil
}

// samePort returns addr with the port that was chosen for the first socket.
func samePort(addr, bound net.Addr) net.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return addr
	}
	same := *tcp
	same.Port = bound.(*net.TCPAddr).Port
	return &same
}

// ListenOn is ListenWith on a socket that listens already: one that another
// program has opened and handed over (systemd's socket activation;
// net.FileListener makes a net.Listener of a descriptor), or one with options
// that Listen does not have. It must be a TCP or a Unix stream socket; with
// ListenOptions.TLS its connections are TLS, and Engine.TLS has no part in it.
// The socket belongs to the engine, which closes ln, also when it cannot use it.
// Others may hold it, too, and accept from it; the engine keeps it non-blocking.
// The file of a Unix socket stays when the listener is closed: it belongs to
// the program that made it.
//
// All loops share the socket, whatever Engine.ReusePort says.
func (e *Engine) ListenOn(ln net.Listener, o ListenOptions, handler func(*Conn) Handler) (*Listener, error) {
	own, err := e.listenOn(ln, o, handler)
	if err != nil {
		_ = ln.Close() // the error that matters is there
		return nil, fmt.Errorf("epi: listen on %s: %w", ln.Addr(), err)
	}
	return own, nil
}

func (e *Engine) listenOn(from net.Listener, o ListenOptions, handler func(*Conn) Handler) (*Listener, error) {
	if handler == nil {
		return nil, errors.New("no handler function was given")
	}
	if err := e.start(); err != nil {
		return nil, err
	}
	addr := from.Addr()
	network := addr.Network()
	if network != "tcp" && network != "unix" {
		return nil, fmt.Errorf("it is a %s socket: hand over one of TCP, or a Unix stream socket", network)
	}
	scheme := network
	if o.TLS != nil {
		if !hasCertificate(o.TLS) {
			return nil, errNoCertificate
		}
		scheme = "tls"
	}
	proxies, err := o.proxies()
	if err != nil {
		return nil, err
	}
	timeouts, err := o.timeouts(e.cfg)
	if err != nil {
		return nil, err
	}
	marks, err := o.watermarks(e.cfg)
	if err != nil {
		return nil, err
	}
	settings, err := o.settings(network, false)
	if err != nil {
		return nil, err
	}
	settings.Mode, settings.Control = 0, nil // it is bound already
	h, err := e.shared.Adopt(from, settings)
	if err != nil {
		return nil, err
	}
	ln := &Listener{engine: e, text: scheme + "://", addr: addr}
	ln.shared.Store(true)
	ln.handles = append(ln.handles, h)
	ln.origin = &origin{unix: network == "unix", handler: handler, local: addr, proxies: proxies, tls: o.TLS, timeouts: timeouts, marks: marks}
	return ln, ln.begin()
}

// explain adds to a refusal what can be done about it.
func explain(err error, where address.Address) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && where.Path != "":
		return explainPath(err, where)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another server has the port; stop it or choose another port", err)
	case errors.Is(err, syscall.EACCES) && where.Path != "":
		return fmt.Errorf("%w: choose a directory that you may write to", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: ports below 1024 need the right to bind them; choose a higher one", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: this machine does not have the address", err)
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%w: the directory does not exist; make it first", err)
	}
	return err
}

func explainPath(err error, where address.Address) error {
	info, statErr := os.Lstat(where.Path)
	if statErr == nil && info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%w: the file is there already and is not a socket; choose another path", err)
	}
	c, dialErr := net.Dial(where.Network, where.Path)
	if errors.Is(dialErr, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w: the socket file is stale, left behind by a server that has ended; remove it: rm %s", err, where.Path)
	}
	if dialErr == nil {
		_ = c.Close()
	}
	return fmt.Errorf("%w: another server listens there; stop it or choose another path", err)
}

// Addr returns the address that the listener is bound to.
func (ln *Listener) Addr() net.Addr { return ln.addr }

// String returns the address with its scheme, as a client needs it.
func (ln *Listener) String() string {
	scheme, _, _ := strings.Cut(ln.text, "://")
	return scheme + "://" + ln.addr.String()
}

// File returns a duplicate of the listening socket, for a program that is to go on
// with it: as one of exec.Cmd.ExtraFiles, whose mode os/exec changes, which does no
// harm here. The caller closes it. The program makes a listener of it by
// net.FileListener. Closing this listener does not end the other; who wants no
// client to wait in vain lets the other begin first. There is none on Windows, nor
// with Engine.ReusePort, where each loop has a socket; the error is ErrClosed after
// Close. It may be called from any goroutine.
func (ln *Listener) File() (*os.File, error) {
	file, err := ln.duplicate()
	if err != nil {
		return nil, fmt.Errorf("epi: file of %s: %w", ln, err)
	}
	return file, nil
}

func (ln *Listener) duplicate() (*os.File, error) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	switch {
	case ln.closed.Load():
		return nil, ErrClosed
	case len(ln.handles) > 1:
		return nil, errors.New("each loop has a socket of its own: set Engine.ReusePort to false")
	}
	ln.shared.Store(true)
	return ln.engine.shared.File(ln.handles[0])
}

// Close stops accepting. Connections stay open; clients that wait to be
// accepted are reset. When it returns, another can listen at the address, and a
// Unix socket's file is removed, unless it is another's by now. But an abstract name
// (unix(7)), and a socket that others may hold too, of ListenOn or after File, are
// free when the loops have let go of them, soon afterwards. It may be called from
// any goroutine and more than once.
func (ln *Listener) Close() error {
	ln.once.Do(func() {
		ln.engine.removeListener(ln)
		ln.leavePath()
		ln.engine.cfg.log.Info("listener closed", "listener", ln.String())
		for _, a := range ln.acceptors {
			if a.loop.post(a.remove, unbounded) != nil {
				a.release() // the loop has ended
			}
		}
		ln.stop() // behind the removals: until those, loops meet errors again and again
	})
	return nil
}

// begin watches the listening socket. It runs on the loop.
func (a *acceptor) begin() {
	if a.removed {
		return
	}
	if err := a.loop.drv.Listen(&a.sock); err != nil {
		a.loop.cfg.log.Error("a loop cannot accept connections", "listener", a.listener.String(), "loop", a.loop.id, "error", err)
		return
	}
	a.loop.listening++
}

// remove stops watching it. It runs on the loop.
func (a *acceptor) remove() {
	a.removed = true
	if a.sock.Watched() {
		a.loop.drv.Unlisten(&a.sock)
		a.loop.listening--
	}
	a.release()
}

// release closes the sockets when no loop uses them any more.
func (a *acceptor) release() {
	if a.listener.open.Add(-1) == 0 {
		a.listener.closeHandles()
	}
}

// leavePath removes a Unix socket's file, before anybody closes the socket.
func (ln *Listener) leavePath() {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.closed.Store(true)
	if err := ln.file.Remove(); err != nil {
		ln.engine.cfg.log.Warn("the socket file stays behind", "listener", ln.String(), "error", err)
	}
}

// stop gives up the address. Loops that still have the handles meet errors.
func (ln *Listener) stop() {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.shared.Load() {
		return // others may go on with it
	}
	for _, h := range ln.handles {
		ln.engine.shared.Stop(h)
	}
}

func (ln *Listener) closeHandles() {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for _, h := range ln.handles {
		ln.engine.shared.Discard(h)
	}
	ln.handles = nil
}

// acceptance is how the driver sees an acceptor.
type acceptance acceptor

func (s *acceptance) Accepted(h driver.Handle, peer netip.AddrPort, err error) {
	a := (*acceptor)(s)
	if err != nil {
		if a.listener.closed.Load() {
			// It fails from now on, until the loop lets go of it.
			_ = a.loop.drv.Accept(&a.sock, false)
			return
		}
		a.pause(err)
		return
	}
	if a.loop.engine.shared.Reclaim(h) {
		a.loop.count.shed.Add(1)
		return
	}
	if !a.listener.origin.unix && !peer.IsValid() {
		// Nobody may take it for a peer that is somewhere in particular.
		a.loop.engine.shared.Discard(h)
		a.loop.count.shed.Add(1)
		a.loop.count.shedUnknown.Add(1)
		a.logUnknown()
		return
	}
	e := a.loop.engine
	if !e.admission.enter() {
		a.loop.engine.shared.Discard(h)
		a.loop.count.shed.Add(1)
		a.logShed()
		return
	}
	c := newConn(a.loop, a.originOf(h), h, peer)
	if c.isClient() && !c.enterAddress() {
		e.admission.leave()
		a.loop.engine.shared.Discard(h)
		return
	}
	a.loop.count.accepted.Add(1)
	if l := a.loop.share(); l == a.loop || !l.take(c) {
		a.loop.live.Add(1)
		a.loop.adopt(c)
	}
}

// originOf returns the origin of an accepted connection: the listener's, or one of its
// own where the client of a Unix socket has a name, which few have.
func (a *acceptor) originOf(h driver.Handle) *origin {
	from := a.listener.origin
	if !from.unix {
		return from
	}
	name := a.loop.engine.shared.PeerName(h)
	if name == "" {
		return from
	}
	own := *from
	own.remote = &net.UnixAddr{Name: name, Net: "unix"}
	return &own
}

// take lets the loop have a connection that another has accepted, unless it has
// ended: when the engine drains, each ends as soon as it has nothing left.
func (l *Loop) take(c *Conn) bool {
	from := c.loop
	c.loop = l
	l.live.Add(1)
	if l.post(func() { l.adopt(c) }, unbounded) != nil {
		c.loop = from
		l.live.Add(-1)
		return false
	}
	return true // and it does not end: the connection is alive on it
}

// share returns the loop that a new connection should live on.
func (l *Loop) share() *Loop {
	if len(l.engine.loops) == 1 || l.cfg.reusePort {
		return l // with reusePort the kernel has chosen
	}
	if other := l.engine.lighterLoop(); l.live.Load() > other.live.Load()+l.cfg.imbalance {
		return other
	}
	return l
}

// adopt opens an accepted connection.
func (l *Loop) adopt(c *Conn) {
	if err := l.drv.Open(&c.sock); err != nil {
		if l.unwatched.allow(l.cfg.Clock()) {
			l.cfg.log.Warn("connections are refused: they cannot be watched", "loop", l.id, "error", err)
		}
		l.count.shed.Add(1)
		l.engine.shared.Discard(c.sock.Handle)
		c.place().leave()
		l.retire()
		return
	}
	switch {
	case l.aborted:
		l.abortConn(c)
	case l.draining:
		_ = c.end(closing, ErrShutdown)
	}
	c.request(doOpen)
}

// pause answers an accept that failed. Without descriptors, clients that wait
// are accepted by means of the reserve and closed, so that they learn of it.
func (a *acceptor) pause(err error) {
	l := a.loop
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		if a.shed() == 0 {
			return // nobody was waiting
		}
		err = fmt.Errorf("%w: raise the limit of open files (ulimit -n) or set MaxConns below it", err)
	}
	l.count.acceptErrors.Add(1)
	if a.pauses.allow(a.loop.cfg.Clock()) {
		l.cfg.log.Warn("accepting pauses", "listener", a.listener.String(), "error", err)
	}
	if err := l.drv.Accept(&a.sock, false); err != nil {
		l.cfg.log.Error("accepting cannot be paused", "listener", a.listener.String(), "error", err)
		return
	}
	l.After(acceptPause, a.resume)
}

// shed closes waiting connections and returns their number.
func (a *acceptor) shed() int {
	for n := range a.loop.cfg.acceptBudget {
		if err := a.loop.engine.shared.Shed(a.sock.Handle); err != nil {
			if errors.Is(err, syscall.EAGAIN) {
				return n
			}
			return max(n, 1) // the reserve is spent: somebody may be waiting
		}
		a.loop.count.shed.Add(1)
	}
	return a.loop.cfg.acceptBudget
}

func (a *acceptor) resume() {
	if a.removed {
		return
	}
	if err := a.loop.drv.Accept(&a.sock, true); err != nil {
		a.loop.cfg.log.Warn("accepting stays paused", "listener", a.listener.String(), "error", err)
		a.loop.After(acceptPause, a.resume)
	}
}

// logShed says that connections are shed because there are too many, once in a
// while.
func (a *acceptor) logShed() {
	if !a.sheds.allow(a.loop.cfg.Clock()) {
		return
	}
	l := a.loop
	err := fmt.Errorf("%w: MaxConns is %d", ErrTooManyConns, l.cfg.maxConns)
	l.cfg.log.Warn("connections are shed", "listener", a.listener.String(), "loop", l.id, "error", err)
}

// logUnknown says that a client is closed because the system does not give its
// address, as may happen when the client has reset the connection already.
func (a *acceptor) logUnknown() {
	l := a.loop
	if say, suppressed := l.refusals.say(l.cfg.Clock()); say {
		l.cfg.log.Info("a client is closed: the system does not give its address", "listener", a.listener.String(), "loop", l.id, "suppressed", suppressed)
	}
}
