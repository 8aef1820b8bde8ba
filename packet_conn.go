package epi

import (
	"fmt"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/sock"
	"github.com/epinet/epi/internal/wheel"
)

// A PacketAddr names a socket for datagrams: AddrPort a UDP one, Path a Unix
// one, whose name begins with @ when it is in the abstract namespace (unix(7)).
// The zero PacketAddr is a Unix socket without a name, which cannot be answered.
// It is a value to compare and to use as a key.
type PacketAddr struct {
	AddrPort netip.AddrPort
	Path     string
}

// String returns the address without a scheme.
func (a PacketAddr) String() string {
	if a.AddrPort.IsValid() {
		return a.AddrPort.String()
	}
	return a.Path
}

// IsZero reports whether the address is that of a socket without a name.
func (a PacketAddr) IsZero() bool { return a == PacketAddr{} }

// A PacketHandler has the callbacks of one socket for datagrams: the one of a
// PacketListener, with Engine.ReusePort one of those that it has on each loop, or
// one of DialPacket. Its methods run on the loop that owns the socket, also with
// Engine.Workers: they must not block. They are never called at the same time
// and never inside a call of this package.
//
// A panic in OnPacket is logged and counted and ends nothing but that call: the
// socket belongs to all its peers, and none of them shall be able to close it.
//
// A handler may also be a [PacketErrorHandler].
type PacketHandler interface {
	// OnPacket is called for each datagram that has arrived, also for one
	// without bytes. p is valid until it returns. Datagrams come in the order
	// in which the system has queued them; what arrives while the socket's buffer
	// is full is dropped silently (SO_RCVBUF, socket(7)).
	OnPacket(c *PacketConn, p []byte, from PacketAddr)

	// OnClose is the last call, made exactly once. err is nil after Close, and
	// otherwise the reason why the socket was closed.
	OnClose(c *PacketConn, err error)
}

// A PacketErrorHandler also gets the errors that end nothing: a datagram
// could not be sent and is lost (Stats.PacketsDropped), or the peer's host has
// answered that no one listens there (syscall.ECONNREFUSED), which only a socket of
// DialPacket learns. Such answers can be forged, and the peer may come
// back; so closing is left to the handler.
type PacketErrorHandler interface {
	OnError(c *PacketConn, err error)
}

// A PacketConn is one socket for datagrams, of a PacketListener or of
// Engine.DialPacket. It is not a connection in the sense of its protocol, which
// has none. Its methods may be called from any goroutine, also inside callbacks,
// and never block.
type PacketConn struct {
	// Of the loop.
	loop        *Loop
	handler     PacketHandler
	makeHandler func(*PacketConn) PacketHandler // nil for DialPacket
	failed      bool                            // the next datagram has failed once
	expires     int64                           // closing ends by force; 0 while open
	timer       wheel.Timer                     // guarded by loop.mu

	// sender has one place, for who sends, opens or closes the socket: the loop, or
	// who closes the listener. They need not wait for more than system calls: it is
	// not held during callbacks.
	sender chan struct{}

	// Of who is in sender.
	sock    driver.PacketSocket
	sending *packetQueue    // what the driver is given next; nil when nothing
	later   *packetQueue    // what comes behind it; see busyPeers
	waiting busyPeers       // what the peers have no room for
	crowd   crowd           // who does not read, on a Unix socket
	opened  bool            // the driver has the socket
	pending bool            // there is no room on the socket
	stopped bool            // its address was given up
	file    sock.SocketFile // of a Unix socket that we have bound

	network       string
	local, remote driver.Endpoint // remote is noPeer but for DialPacket

	ending atomic.Bool // Close was called; set under mu

	mu        sync.Mutex
	queue     *packetQueue // guarded by mu; what waits behind the others; nil when nothing
	queued    int          // guarded by mu; the cost of what is in all queues
	scheduled bool         // guarded by mu; a turn is waiting or under way
	gone      bool         // guarded by mu; nothing is queued any more
	asked     asked        // guarded by mu, of the loop; the datagram that the handler has
	cause     error        // guarded by mu; the reason to close
}

// noPeer is the remote end of a socket that speaks to many.
var noPeer = driver.Endpoint{}

// An asked is who has sent a datagram, and the address of this machine that it was
// sent to. It is zero on sockets that are bound to an address.
type asked struct {
	peer  driver.Endpoint
	local netip.Addr
}

// Loop returns the loop that serves the socket.
func (c *PacketConn) Loop() *Loop { return c.loop }

// LocalAddr returns the address that the socket is bound to, also after it was
// closed.
func (c *PacketConn) LocalAddr() PacketAddr { return PacketAddr(c.local) }

// RemoteAddr returns the peer of a socket of DialPacket, also after it was
// closed; for others the zero PacketAddr.
func (c *PacketConn) RemoteAddr() PacketAddr { return PacketAddr(c.remote) }

// ArrivedAt returns the address of this machine that the datagram in hand was sent
// to, without a zone. It may be a multicast group; for a broadcast it is the
// address of the interface. It is the zero Addr for Unix sockets, outside
// OnPacket, and on systems that do not report it (all but Linux) when the socket
// is bound to all addresses. OnPacket only.
func (c *PacketConn) ArrivedAt() netip.Addr {
	if c.asked.local.IsValid() {
		return c.asked.local
	}
	if local := c.local.AddrPort.Addr(); !local.IsUnspecified() {
		return local
	}
	return netip.Addr{}
}

// WriteTo queues a copy of p, which may be empty, for the socket to, and returns
// at once. What is queued in one turn of the loop leaves together. The errors
// are ErrClosed, ErrQueueFull (Engine.PacketQueue), ErrPacketTooLong and
// ErrBadPeer; nothing of p was taken then. That a datagram was taken does not
// say that it arrives: neither UDP nor this queue promises that.
//
// During OnPacket, what is written to the sender of the datagram in hand leaves
// from the address that the sender has written to (RFC 1122, section 4.1.3.5), also
// when the socket is bound to all addresses of the machine. Else the system
// chooses one, and a peer that has written to another takes no notice: WriteFrom
// is for answers that are given later.
func (c *PacketConn) WriteTo(p []byte, to PacketAddr) error {
	return c.write(p, netip.Addr{}, to)
}

// WriteFrom is WriteTo from an address of this machine, such as ArrivedAt has
// returned for what is answered; from the zero Addr, or a multicast group, it
// leaves the choice to the system. A socket that is bound to an address sends from
// that alone, and others than UDP sockets from none: ErrBadPeer. On systems other
// than Linux the system always chooses.
func (c *PacketConn) WriteFrom(p []byte, local netip.Addr, to PacketAddr) error {
	if err := c.checkLocal(local, to); err != nil {
		return err
	}
	if !c.local.AddrPort.Addr().IsUnspecified() {
		local = netip.Addr{} // it is the socket's
	}
	return c.write(p, local.Unmap().WithZone(""), to)
}

func (c *PacketConn) write(p []byte, local netip.Addr, to PacketAddr) error {
	if err := c.check(p, to); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.unlock()
	if !local.IsValid() && c.asked.peer == driver.Endpoint(to) {
		local = c.asked.local
	}
	if c.gone || c.ending.Load() {
		return ErrClosed
	}
	if c.queued+packetCost(p) > c.loop.cfg.packetQueue {
		c.loop.count.queueFull.Add(1)
		c.loop.count.packetsDropped.Add(1)
		return ErrQueueFull
	}
	c.queued += packetCost(p)
	if c.queue == nil {
		c.queue = c.loop.packetQueues.get()
	}
	c.queue.add(&c.loop.pool, driver.Datagram{Bytes: p, Peer: driver.Endpoint(to), Local: local})
	return nil
}

// Write is WriteTo the peer of a socket of DialPacket, as io.Writer.
func (c *PacketConn) Write(p []byte) (int, error) {
	if err := c.WriteTo(p, PacketAddr(c.remote)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close sends what is queued, for which it allows Engine.Linger without progress,
// and closes the socket. Of the handler only OnClose is still called, when the address
// is free. It returns ErrClosed when the socket is closed or closing already.
func (c *PacketConn) Close() error { return c.end(nil) }

// Queued returns the number of bytes that wait to be sent, each datagram counted
// with the 128 bytes that it needs besides.
func (c *PacketConn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued
}

// check refuses what can never be sent.
func (c *PacketConn) check(p []byte, to PacketAddr) error {
	longest := min(c.loop.cfg.maxDatagram, c.loop.cfg.packetQueue-packetRecord)
	switch {
	case c.remote != driver.Endpoint{}:
		if to != PacketAddr(c.remote) {
			return fmt.Errorf("%w: the socket speaks to %s only, not to %s", ErrBadPeer, PacketAddr(c.remote), to)
		}
	case c.network == "unixgram":
		if to.Path == "" || to.AddrPort.IsValid() {
			return fmt.Errorf("%w: %q is no name of a Unix socket", ErrBadPeer, to)
		}
	case to.Path != "" || !to.AddrPort.IsValid() || to.AddrPort.Port() == 0 || !c.reaches(to.AddrPort.Addr()):
		return fmt.Errorf("%w: %q is no address that %s://%s can send to", ErrBadPeer, to, c.network, c.LocalAddr())
	}
	if to.Path == "" {
		longest = min(longest, longestUDP(to.AddrPort.Addr()))
	}
	if len(p) > longest {
		return fmt.Errorf("%w: it has %d bytes, at most %d can be sent", ErrPacketTooLong, len(p), longest)
	}
	return nil
}

// longestUDP is what a UDP datagram can carry: the longest datagram, for IPv4 the longest
// packet, less the headers (udp(7), RFC 768, RFC 8200).
func longestUDP(to netip.Addr) int {
	if to.Is4() || to.Is4In6() {
		return math.MaxUint16 - 20 - 8
	}
	return math.MaxUint16 - 8
}

// checkLocal refuses an address that the socket cannot send from.
func (c *PacketConn) checkLocal(local netip.Addr, to PacketAddr) error {
	bound := c.local.AddrPort.Addr()
	switch {
	case !local.IsValid():
		return nil
	case !bound.IsUnspecified() && local.Unmap().WithZone("") != bound.WithZone(""):
		return fmt.Errorf("%w: the socket is bound to %s and cannot send from %s", ErrBadPeer, c.LocalAddr(), local)
	case local.Unmap().Is4() != to.AddrPort.Addr().Unmap().Is4():
		return fmt.Errorf("%w: %s cannot be sent to from %s, which is of the other family", ErrBadPeer, to, local)
	}
	return nil
}

// reaches reports whether the socket can send to addresses of that family.
func (c *PacketConn) reaches(to netip.Addr) bool {
	is4 := to.Is4() || to.Is4In6()
	local := c.local.AddrPort.Addr()
	if local.Is4() {
		return is4
	}
	return !is4 || c.network == "udp" && local.IsUnspecified()
}

// unlock unlocks mu and sees to it that what is to do gets a turn.
func (c *PacketConn) unlock() { c.schedule(c.queue != nil || c.ending.Load()) }

// request asks for a turn.
func (c *PacketConn) request() {
	c.mu.Lock()
	c.schedule(true)
}

// dequeue takes the first count datagrams, of so many bytes, out of the queue.
func (c *PacketConn) dequeue(count, size int) {
	c.sending.first += count
	c.unqueue(count, size)
}

func (c *PacketConn) unqueue(count, size int) {
	c.mu.Lock()
	c.queued -= size + count*packetRecord
	c.mu.Unlock()
}

// schedule unlocks mu and asks for a turn, if it is wanted and there is none yet.
func (c *PacketConn) schedule(wanted bool) {
	wanted = wanted && !c.scheduled && !c.gone
	c.scheduled = c.scheduled || wanted
	c.mu.Unlock()
	if wanted {
		c.loop.packets.put(c.loop, c)
	}
}

// end begins to close the socket.
func (c *PacketConn) end(cause error) error {
	c.mu.Lock()
	defer c.unlock()
	if c.gone || c.ending.Load() {
		return ErrClosed
	}
	c.cause = cause
	c.ending.Store(true)
	return nil
}
