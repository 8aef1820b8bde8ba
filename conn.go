package epi

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/epinet/epi/internal/buffer"
	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/proxyheader"
	"github.com/epinet/epi/internal/seam"
	"github.com/epinet/epi/internal/tlspipe"
	"github.com/epinet/epi/internal/wheel"
)

// A Conn is one stream connection, accepted by a Listener or made by
// Engine.Dial.
//
// Unread, Discard and Read belong to the handler's callbacks. All other methods
// may be called from any goroutine, also inside callbacks, and never block.
type Conn struct {
	// What its holder alone touches: the loop, or the worker whose turn it is.
	sock      driver.Socket
	loop      *Loop
	handler   Handler
	unread    []byte        // what the handler may read now
	inbox     *buffer.Inbox // what it left unread; nil when nothing
	sending   *buffer.Queue // what the driver is sending; nil when nothing
	endCause  error         // how receiving ended, until the handler has it
	extra     *extra        // what only some connections have; nil on the others
	receiving bool          // the driver was asked for bytes
	pending   bool          // a send is under way

	todo  todoBits      // guarded by mu; what the next turn is for
	state atomic.Uint32 // of stateBits; set under mu, read by anybody

	active int64                    // the holder's; when bytes last moved, on the clock of Loop.Watched
	own    atomic.Pointer[timeouts] // set under mu; nil where they are the engine's
	held   atomic.Int64             // the bytes that Loop.count counts for it

	origin *origin    // where the connection comes from
	host   netip.Addr // the peer's, guarded by mu while starting, then fixed; zero for Unix sockets
	port   uint16     // likewise
	born   uint32     // fixed; when it was accepted or dialled, in seconds since seam.Epoch

	mu     sync.Mutex
	queued int           // guarded by mu; bytes in queue and sending
	queue  *buffer.Queue // guarded by mu; what waits behind sending; nil when nothing
	cause  error         // guarded by mu; the first reason to close
	timer  *wheel.Timer  // guarded by mu, what it points to by loop.mu; nil until a deadline is needed
}

// stateBits are the state of a connection:
//
//	                          ┌── readEnded ──┐
//	opening → handshaking → open              ├→ closing → closed
//	       └────────────────↗ └── writeEnded ─┘ │ └ aborting ┘
//	                                            └─ detaching ┘
//
// A connection that is opening, open or closing delivers what is queued; an aborting
// one throws it away. Every arrow is one function: beginPreface, establish, endReading,
// endWriting, end, Detach, conclude.
type stateBits = uint32

const (
	opening     stateBits = 1 << iota // not connected, or the handler is not made yet
	handshaking                       // connected; a PROXY header or a TLS handshake comes before the handler
	paused                            // by Pause
	congested                         // the queue rose above HighWater and is not yet at LowWater
	readEnded                         // nothing more will be received
	closeWrite                        // CloseWrite: the end of the stream follows the queue
	writeEnded                        // nothing more can be sent
	closing                           // after what is queued was delivered
	aborting                          // at once
	resetting                         // with aborting: by RST
	detaching                         // after what is queued was sent, it leaves the engine
	closed                            // the loop closes the descriptor in this iteration, or has
	scheduled                         // a turn is waiting or under way; it stays when the connection is closed

	starting   = opening | handshaking
	gone       = aborting | closed // nothing can become of it any more
	ending     = closing | aborting | detaching | closed
	unwritable = ending | closeWrite | writeEnded
)

// Beside its life, the word says of a connection:
const (
	stays    stateBits = scheduled << (1 + iota) // StayOpen was called in OnShutdown
	counted                                      // for MaxConnsPerIP, under peer
	replaced                                     // SetHandler was called, and its handler has not begun
	passing                                      // Pipe was called, and its handler has not begun
	piped                                        // another connection fills its queue: congested, it is read from all the same

	undisturbed = scheduled | stays | counted | piped | paused | congested // a send that has ended leaves nothing to do
)

// todoBits say what a turn is for.
type todoBits uint16

const (
	doRead    = todoBits(driver.ReadReady)  // workers: pull what has arrived
	doWrite   = todoBits(driver.WriteReady) // workers: a pending send has ended
	doReadAll = todoBits(driver.ReadAll)    // workers: with doRead

	doFollowUp = doRead | doWrite | doReadAll
)

const (
	doOpen      todoBits = (doFollowUp + 1) << iota // begin: receive, and make the handler or begin what comes before it
	doTLS                                           // its Pipe asks for a look
	doOffer                                         // Resume after Pause: offer what is unread
	doOfferRest                                     // Resume: offer it if something was consumed
	doCheck                                         // look at the state and the queue
	doTime                                          // look at the deadlines
	doShutdown                                      // call OnShutdown and close
	doClose                                         // call OnClose
	doTidy                                          // a callback has ended its goroutine
	doTimeouts                                      // other timeouts were set
	doPipe                                          // a pipeEnd becomes the handler
)

func (t todoBits) readiness() driver.Readiness { return driver.Readiness(t & doFollowUp) }

// An origin is what all connections of one listener, or one dialled
// connection, have in common.
type origin struct {
	unix     bool
	dials    bool
	handler  func(*Conn) Handler
	tls      *tls.Config          // nil for plain connections
	proxies  *proxyheader.Senders // nil when no PROXY header is looked for
	local    net.Addr             // the listener's address; nil for Dial
	remote   net.Addr             // a Unix socket's name, for Dial and for clients that have one
	timeouts *timeouts            // nil where they are the engine's
	marks    *watermarks          // likewise
}

// An extra is what only some connections have.
type extra struct {
	tls       *tlspipe.Pipe    // nil on a plain connection
	proxy     bool             // the holder's; a PROXY header is looked for
	trusted   bool             // the holder's; and the peer may send one
	drains    bool             // the holder's; OnDrain comes when nothing is queued, not at LowWater
	expires   int64            // the holder's; when the time for header and handshake is over
	arrived   int64            // the holder's; when bytes last arrived; for a ReadTimeout
	stalled   int64            // the holder's; a send has been waiting since; 0 when none is
	unacked   int              // the holder's; what the peer had not acknowledged when it was last asked
	asked     int64            // the holder's; when that was
	lingering lingering        // the holder's
	parts     [partKinds]int64 // the holder's; since when each has been unfinished; 0 when it is not there
	held      int              // the holder's; by its handler, as Hold says
	dialing   dialEnder        // of the loop, of the holder during a handshake; while Dial is under way
	pipe      *driver.Pipe     // the holder's; bytes to be sent before those in the queues; nil when there are none
	detach    func(net.Conn)   // of Detach
	conn      net.Conn         // which gets it
}

// A dialEnder is a Dial that is under way. end is called once; it reports whether the
// Dial is in time.
type dialEnder interface{ end() (inTime bool) }

// extras returns c.extra, which it makes when it is not there yet. Of the holder.
func (c *Conn) extras() *extra {
	if c.extra == nil {
		c.extra = spareExtras.Get().(*extra)
	}
	return c.extra
}

var spareExtras = sync.Pool{New: func() any { return new(extra) }}

// unused reports whether nothing is kept in x but what was last known of the peer's
// acknowledgements.
func (x *extra) unused() bool {
	return x.tls == nil && !x.proxy && !x.trusted && x.expires|x.arrived|x.stalled|x.lingering.begun == 0 &&
		x.parts == [partKinds]int64{} && x.held == 0 && x.pipe == nil && x.dialing == nil && x.detach == nil && x.conn == nil && !x.drains
}

// tlsPipe returns the TLS of a connection that has it, else nil.
func (x *extra) tlsPipe() *tlspipe.Pipe {
	if x == nil {
		return nil
	}
	return x.tls
}

// dropExtra gives extra back when nothing is kept in it. Of the holder.
func (c *Conn) dropExtra() {
	if x := c.extra; x != nil && x.unused() {
		c.extra = nil
		*x = extra{}
		spareExtras.Put(x)
	}
}

// A lingering is a connection that is closing and waits for its peer: when it began, when the peer was
// last seen to take something, and how many bytes it had to take.
type lingering struct {
	begun, progress int64
	load            int
}

// A part is what can be under way on a connection and unfinished.
type part uint8

const (
	partUnread  part = iota // bytes that the handler leaves unread: it waits for the rest
	partRecord              // a TLS record
	partMessage             // what the handler has announced by MessagePending
	partKinds
)

// Loop returns the loop that serves the connection.
func (c *Conn) Loop() *Loop { return c.loop }

// RemoteAddr returns the peer's address, also after the connection was closed.
// It is what the PROXY header says where there was one. The client of a Unix socket
// has the name that it was bound to, which is its own choice, and mostly none.
func (c *Conn) RemoteAddr() net.Addr {
	c.mu.Lock()
	peer := netip.AddrPortFrom(c.host, c.port)
	c.mu.Unlock()
	if !c.origin.unix || peer.IsValid() {
		return net.TCPAddrFromAddrPort(peer)
	}
	if c.origin.remote != nil {
		return c.origin.remote
	}
	return &net.UnixAddr{Net: "unix"} // a client's socket has no name
}

func (c *Conn) setPeer(peer netip.AddrPort) {
	c.mu.Lock()
	c.host, c.port = peer.Addr(), peer.Port()
	c.mu.Unlock()
}

// LocalAddr returns the address of this end. When the connection is closed or
// not yet open it is the listener's address, or nil for a dialled connection.
func (c *Conn) LocalAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Load()&(opening|closed) != 0 {
		return c.origin.local
	}
	return c.loop.engine.shared.LocalAddr(c.sock.Handle)
}

// Credentials are those of the program at the other end of a Unix socket, as the
// system noted them when it connected, or, of a dialled connection, when it began
// to listen.
type Credentials struct {
	PID      int // of the process, 0 where the system does not say; another may have it by now
	UID, GID uint32
}

// PeerCredentials returns who is at the other end of a Unix socket (SO_PEERCRED,
// unix(7)). The error wraps errors.ErrUnsupported on other sockets, and on systems
// that do not say it (all but Linux and macOS); it is ErrClosed when the connection
// is closed or not yet open.
func (c *Conn) PeerCredentials() (Credentials, error) {
	if !c.origin.unix {
		return Credentials{}, fmt.Errorf("credentials of the peer: not a Unix socket: %w", errors.ErrUnsupported)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Load()&(opening|closed) != 0 {
		return Credentials{}, ErrClosed
	}
	return c.credentials()
}

// credentials is PeerCredentials while the socket is certainly there.
func (c *Conn) credentials() (Credentials, error) {
	pid, uid, gid, err := c.loop.engine.shared.PeerCredentials(c.sock.Handle)
	return Credentials{pid, uid, gid}, err
}

// Unread returns the bytes that have arrived and were not consumed. They are
// valid until the callback returns or Discard or Read is called, and have no
// room behind them: append copies. Callbacks only.
func (c *Conn) Unread() []byte { return slices.Clip(c.unread) }

// Discard consumes the first n unread bytes, or all when there are fewer, and
// returns how many it consumed. Callbacks only.
func (c *Conn) Discard(n int) int {
	n = max(0, min(n, len(c.unread)))
	c.unread = c.unread[n:]
	return n
}

// Take consumes the first n unread bytes, or all when there are fewer, and
// returns them. They are the caller's, to keep and to change. There is no copy
// where most of the buffer that holds them is taken, as it is with a long message
// that Expect has collected. Callbacks only.
func (c *Conn) Take(n int) []byte {
	n = max(0, min(n, len(c.unread)))
	p := c.unread[:n]
	c.unread = c.unread[n:]
	if !c.unreadInInbox() {
		return bytes.Clone(p)
	}
	p = c.inbox.Take(&c.loop.pool, n, len(c.unread))
	c.unread = c.inbox.Bytes()
	return p
}

// Expect says that OnData is of no use before n bytes are unread, those counted
// that are unread now: it is not called until they are, or the stream has ended,
// and not for Resume either. It holds for one call of OnData. So a long message
// is collected in one buffer of n bytes, which is taken when the first of them
// arrive: do not expect what a client must not make you hold. Above
// Engine.MaxUnread it changes nothing and returns ErrUnreadFull. Callbacks only.
func (c *Conn) Expect(n int) error {
	if n > c.marks().unread {
		return fmt.Errorf("%w: %d are expected, MaxUnread is %d", ErrUnreadFull, n, c.marks().unread)
	}
	if n <= len(c.unread) {
		n = 0
	}
	if c.inbox == nil {
		if n == 0 {
			return nil
		}
		c.inbox = c.loop.pool.EmptyInbox()
	}
	c.inbox.Expect(n)
	return nil
}

// unreadInInbox reports whether the unread bytes lie in the inbox, and not in a
// buffer of the driver.
func (c *Conn) unreadInInbox() bool { return c.inbox != nil && !c.inbox.Empty() }

// Read consumes unread bytes into p, as io.Reader. It never blocks: when there
// are none it returns ErrNoData, or io.EOF when the peer has ended the stream.
// Callbacks only.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	if n > 0 {
		return n, nil
	}
	if c.state.Load()&readEnded != 0 {
		return 0, io.EOF
	}
	return 0, ErrNoData
}

// Write queues a copy of p and returns at once. What is queued in one turn of
// the loop leaves together; only a long p, written on the loop while nothing is
// queued, is sent from where it lies as far as the kernel has room. It takes all
// of p or nothing; the errors are ErrClosed and ErrQueueFull. Every byte taken
// reaches the peer, or OnClose says why not.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) >= c.loop.cfg.leastDirect && c.loop.isCaller() && c.writeThrough(p) {
		return len(p), nil
	}
	c.mu.Lock()
	if err := c.reserve(len(p)); err != nil {
		c.unlock()
		return 0, err
	}
	if len(p) > 0 {
		c.outbox().Write(&c.loop.pool, p)
	}
	c.unlock()
	return len(p), nil
}

// Writev queues copies of several slices as one: for a header and what it belongs to,
// which need not be joined. Otherwise it is Write, but that it never sends at once.
func (c *Conn) Writev(bufs ...[]byte) (int, error) {
	size := 0
	for _, b := range bufs {
		size += len(b)
	}
	c.mu.Lock()
	if err := c.reserve(size); err != nil {
		c.unlock()
		return 0, err
	}
	for _, b := range bufs {
		if len(b) > 0 {
			c.outbox().Write(&c.loop.pool, b)
		}
	}
	c.unlock()
	return size, nil
}

// Send is Write without the copy: bufs, not the slice of them, belong to the
// connection and must never change again. One encoded message may be given to
// any number of connections. It takes all or nothing. Short slices that have to
// wait behind others are copied, since an entry for each would cost more.
func (c *Conn) Send(bufs ...[]byte) error {
	size := 0
	for _, b := range bufs {
		size += len(b)
	}
	c.mu.Lock()
	defer c.unlock()
	if err := c.reserve(size); err != nil {
		return err
	}
	if size > 0 {
		c.outbox().Append(&c.loop.pool, bufs...)
	}
	return nil
}

// writeThrough sends p within Conn.Write, and queues what the kernel does not
// take. It reports false, and does nothing, unless p may be sent now. What is sent
// counts as queued until the flush phase, as it would have been. The caller is the
// holder, in a callback.
//
//	the holder    ─ reserve ─ send ─ rest into sending ─►
//	others' bytes ───────────── into queue, which comes behind sending
func (c *Conn) writeThrough(p []byte) bool {
	if c.pending || c.sending != nil && c.sending.Len() > c.sending.Skipped() {
		return false
	}
	if !c.plain() || c.holdsPipe() || !c.reserveFirst(len(p)) {
		return false
	}
	sent := 0
	for sent < len(p) {
		piece := p[sent:min(len(p), sent+c.loop.cfg.maxSend)]
		n := c.loop.direct.SendNow(&c.sock, piece)
		sent += n
		if n < len(piece) {
			break
		}
	}
	if c.sending == nil {
		c.sending = c.loop.pool.Queue()
	}
	c.sending.Skip(sent)
	c.sending.Write(&c.loop.pool, p[sent:])
	c.request(doCheck)
	return true
}

// reserveFirst is reserve for bytes that nothing waits before. When there is no
// room it reports false, and refuses nothing.
func (c *Conn) reserveFirst(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue != nil || c.state.Load()&starting != 0 || n > c.marks().queued-c.queued {
		return false
	}
	return c.reserve(n) == nil
}

// reserve asks for room for n bytes in the queue. The caller holds mu.
func (c *Conn) reserve(n int) error {
	if c.state.Load()&unwritable != 0 {
		return ErrClosed
	}
	if n > c.marks().queued-c.queued {
		return c.refuseWrite()
	}
	c.queued += n
	if c.queued > c.marks().high {
		c.set(congested)
	}
	c.todo |= doCheck
	return nil
}

// takesNow reports whether nothing is before n bytes, and they might be queued.
func (c *Conn) takesNow(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued == 0 && n <= c.marks().queued && c.state.Load()&(starting|unwritable) == 0
}

// plain reports whether the bytes of the handler are those on the socket.
func (c *Conn) plain() bool { return c.extra.tlsPipe() == nil }

// holdsPipe reports whether a pipe holds what is to be sent first.
func (c *Conn) holdsPipe() bool { return c.extra != nil && c.extra.pipe != nil }

// marks returns those that the connection has.
func (c *Conn) marks() *watermarks {
	if own := c.origin.marks; own != nil {
		return own
	}
	return &c.loop.cfg.marks
}

// refuseWrite answers a write for which there is no room. OnDrain is called when
// there is, as if the queue had risen above HighWater. The caller holds mu.
func (c *Conn) refuseWrite() error {
	c.loop.count.queueFull.Add(1)
	if c.loop.cfg.closeOnFull {
		_ = c.endLocked(aborting|resetting, ErrQueueFull)
	}
	if c.queued > 0 {
		c.set(congested)
		c.todo |= doCheck
	}
	return ErrQueueFull
}

// outbox returns the queue for writes. The caller holds mu.
func (c *Conn) outbox() *buffer.Queue {
	if c.queue == nil {
		c.queue = c.loop.pool.Queue()
	}
	return c.queue
}

// unlock unlocks mu and sees to it that what is to do gets a turn.
func (c *Conn) unlock() {
	wanted := c.wantsTurn()
	c.mu.Unlock()
	if wanted {
		c.loop.enqueue(c)
	}
}

// wantsTurn reports whether there is something to do, and no turn yet, which the
// caller then sees to. It holds mu.
func (c *Conn) wantsTurn() bool {
	if c.todo == 0 || c.state.Load()&scheduled != 0 {
		return false
	}
	c.set(scheduled)
	return true
}

// set and unset change the state. The caller holds mu.
func (c *Conn) set(bits stateBits)   { c.state.Store(c.state.Load() | bits) }
func (c *Conn) unset(bits stateBits) { c.state.Store(c.state.Load() &^ bits) }

// request asks for a turn.
func (c *Conn) request(todo todoBits) {
	c.mu.Lock()
	c.todo |= todo
	c.unlock()
}

// Queued returns the number of bytes that were written and not yet given to
// the kernel.
func (c *Conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued
}

// Delivered returns how many bytes the peer's host has acknowledged, TLS and its
// handshake included, and how many more the kernel has: while the first number grows
// the peer takes what it is sent. It stays 0 where the system does not count them,
// which is anywhere but for TCP on Linux. Both are 0 when the connection is closed or
// not yet open. It costs system calls.
func (c *Conn) Delivered() (acknowledged uint64, outstanding int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Load()&(opening|closed) != 0 {
		return 0, 0
	}
	_, acknowledged, _ = c.loop.engine.shared.Traffic(c.sock.Handle)
	return acknowledged, c.loop.engine.shared.Unacked(c.sock.Handle)
}

// A ConnState is how far a connection is in its life, for an administrator's list.
type ConnState uint8

// The states, in their order; a connection need not be in all of them.
const (
	ConnOpening     ConnState = iota // it is not connected, or its handler is not made yet
	ConnHandshaking                  // a PROXY header or a TLS handshake comes first
	ConnOpen                         // both directions are open
	ConnReadClosed                   // the peer has ended its direction
	ConnWriteClosed                  // CloseWrite has ended this one
	ConnDetaching                    // Detach was called
	ConnClosing                      // Close was called, and what is queued is on its way
	ConnAborting                     // it is closed at once
	ConnClosed                       // the descriptor is gone
)

var connStateNames = [...]string{
	ConnOpening:     "opening",
	ConnHandshaking: "handshaking",
	ConnOpen:        "open",
	ConnReadClosed:  "read-closed",
	ConnWriteClosed: "write-closed",
	ConnDetaching:   "detaching",
	ConnClosing:     "closing",
	ConnAborting:    "aborting",
	ConnClosed:      "closed",
}

// String returns the state's name, such as read-closed.
func (s ConnState) String() string { return nameOf(connStateNames[:], int(s), "ConnState") }

// connStateOf returns the furthest of what st says.
func connStateOf(st stateBits) ConnState {
	switch {
	case st&closed != 0:
		return ConnClosed
	case st&aborting != 0:
		return ConnAborting
	case st&closing != 0:
		return ConnClosing
	case st&detaching != 0:
		return ConnDetaching
	case st&writeEnded != 0:
		return ConnWriteClosed
	case st&readEnded != 0:
		return ConnReadClosed
	case st&opening != 0:
		return ConnOpening
	case st&handshaking != 0:
		return ConnHandshaking
	}
	return ConnOpen
}

// A ConnInfo is what is to be seen of a connection from outside at one moment.
type ConnInfo struct {
	State     ConnState
	Paused    bool      // by Pause
	Congested bool      // the queue rose above HighWater, and is not yet at LowWater
	Opened    time.Time // when it was accepted or dialled, to the second
	Queued    int       // bytes written and not yet given to the kernel
	Held      int64     // bytes that count for Engine.MaxMemory
	// Received and Acknowledged are bytes, TLS and its handshake included, that have
	// arrived and that the peer's host has acknowledged (tcpi_bytes_received and
	// tcpi_bytes_acked, linux/tcp.h). They stay 0 where the system does not count
	// them, which is anywhere but for TCP on Linux, and when the connection is
	// closed or not yet open.
	Received, Acknowledged uint64
}

// Info returns what is to be seen of the connection now. It costs a system call,
// and nothing while nobody asks.
func (c *Conn) Info() ConnInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.state.Load()
	info := ConnInfo{
		State:     connStateOf(st),
		Paused:    st&paused != 0,
		Congested: st&congested != 0,
		Opened:    seam.Epoch.Add(time.Duration(c.born) * time.Second),
		Queued:    c.queued,
		Held:      c.held.Load(),
	}
	if st&(opening|closed) == 0 {
		info.Received, info.Acknowledged, _ = c.loop.engine.shared.Traffic(c.sock.Handle)
	}
	return info
}

// Pause stops reading: OnData and OnEOF are not called until Resume. Called
// outside a callback, one that is under way may still end.
func (c *Conn) Pause() {
	c.mu.Lock()
	c.set(paused)
	c.todo |= doCheck
	c.unlock()
}

// Resume goes on reading after Pause. Bytes left unread before are offered again;
// on a connection that is not paused they are only if the last OnData consumed
// something, so that nothing is called over and over for a message that is
// incomplete.
func (c *Conn) Resume() {
	c.mu.Lock()
	if c.state.Load()&paused != 0 {
		c.unset(paused)
		c.todo |= doOffer
	}
	c.todo |= doOfferRest
	c.unlock()
}

// Close delivers what is queued and closes the connection, for which it allows
// Engine.Linger without progress. Of the handler only OnClose is still called.
// It returns ErrClosed when the connection is closed or closing already.
func (c *Conn) Close() error { return c.end(closing, nil) }

// Abort closes the connection at once: what is queued is thrown away and the
// peer sees a reset. A Unix socket knows none: its peer sees the end of the stream,
// as after Close, unless it had sent something that was not read yet; what must be
// told apart there needs a mark of its own. OnClose gets ErrAborted.
func (c *Conn) Abort() error { return c.end(aborting|resetting, ErrAborted) }

// CloseWrite delivers what is queued, then shuts down the writing half: the
// peer sees the end of the stream and can go on sending. Doing it again
// changes nothing. When both halves have ended, the connection is closed.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.unlock()
	if c.state.Load()&ending != 0 {
		return ErrClosed
	}
	c.set(closeWrite)
	c.todo |= doCheck
	return nil
}

// closeForShutdown closes the connection because the engine drains. Where it is open
// the next turn does it: a callback that is under way may finish, and write.
func (c *Conn) closeForShutdown() {
	c.mu.Lock()
	defer c.unlock()
	if c.state.Load()&(starting|ending) == 0 {
		c.todo |= doShutdown
		return
	}
	_ = c.endLocked(closing, ErrShutdown)
}

// StayOpen leaves it to the handler to close the connection, when it is called in
// OnShutdown: for an answer that is still to come. The connection goes on as
// before; Engine.DrainTimeout bounds how long the engine waits for its end.
// Elsewhere it has no effect.
func (c *Conn) StayOpen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(stays)
}

// SetHandler makes h the connection's handler, for a protocol that is agreed on
// inside another, or recognised by its first bytes: look at Unread, choose, leave
// the bytes unread. When the callback that calls it has returned, h gets the
// connection as if it were new: OnOpen, if it is an OpenHandler, then OnData for
// what is unread, or the end, and so on. OnClose is called on h alone. What was
// written before leaves before what h writes. An Expect of the old handler does
// not hold for h.
//
// It is for OnOpen, OnData, OnEOF and OnDrain. After Close or Detach, OnClose is
// called on h. It panics if h is nil.
func (c *Conn) SetHandler(h Handler) {
	if h == nil {
		panic("epi: SetHandler needs a handler, it was given nil")
	}
	c.handler = h
	if c.inbox != nil {
		c.inbox.Expect(0)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(replaced)
}

// end begins to close the connection: how is closing or aborting. A connection
// that is closing can still be aborted.
func (c *Conn) end(how stateBits, cause error) error {
	c.mu.Lock()
	defer c.unlock()
	return c.endLocked(how, cause)
}

func (c *Conn) endLocked(how stateBits, cause error) error {
	st := c.state.Load()
	if st&gone != 0 || st&closing != 0 && how&aborting == 0 {
		return ErrClosed
	}
	if c.cause == nil || c.cause == io.EOF && how&aborting != 0 || st&(closing|detaching) == detaching {
		// Neither an orderly end nor Detach explains why bytes are thrown away.
		c.cause = cause
	}
	c.set(how)
	c.todo |= doCheck
	return nil
}
