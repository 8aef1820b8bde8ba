// Package tlspipe runs a tls.Conn on bytes. Ciphertext goes in by Feed and plain bytes
// come out of Read; plain bytes go in by Append and ciphertext comes out of Seal. It
// knows no socket, and nothing in it waits but the goroutine of a handshake.
//
//	Feed(ciphertext) ──► tls.Conn.Read  ──► Read(plain)
//	Append(plain)    ──► tls.Conn.Write ──► Seal() ciphertext
package tlspipe

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"

	"github.com/epinet/epi/internal/buffer"
	"github.com/epinet/epi/internal/tlsrecord"
)

const (
	// leastPlain is the least room to decrypt into.
	leastPlain = 2 << 10
)

// A Host is who has a Pipe. Its methods are called from any goroutine, without a lock
// of the pipe.
type Host interface {
	// LocalAddr and RemoteAddr are what functions of the tls.Config see.
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
	// Wake asks for a look at the pipe: something is to be sealed, the handshake has
	// room for more bytes, or it has ended.
	Wake()
	// Panicked is called in the goroutine of the handshake when a function of the
	// tls.Config has panicked with v, or, when v is nil, has ended the goroutine. It
	// returns the error of the handshake.
	Panicked(v any) error
	// HandshakeOver is called once for each handshake that was started: it has ended,
	// or will not begin.
	HandshakeOver()

	Clock
}

// A Clock counts the time in which the pipes' peers were looked at. A peer's silence is
// measured by it.
type Clock interface {
	// Now returns the time.
	Now() int64
	// Looked returns the time until which everything that has arrived was fed.
	Looked() int64
	// Later calls a function after the next look.
	Later(func())
}

// A Pipe is one end of a TLS connection. All methods are for its holder, one goroutine
// at a time. During the handshake the tls.Conn belongs to the goroutine of that;
// afterwards its Read comes back with ErrStarved when it wants more than was fed, and
// goes on from there the next time, so nobody waits, and an idle pipe holds what
// crypto/tls does and little else.
type Pipe struct {
	host      Host
	pool      *buffer.Pool
	conn      *tls.Conn
	hello     *tlsrecord.Hello // nil when a ClientHello is not waited for
	handshake *handshake       // nil when none is under way
	input     []byte           // what Read may take
	records   tlsrecord.Stream // of the one that reads; where in them the tls.Conn is
	plain     *buffer.Queue    // on its way into conn; nil when nothing
	under     *net.Conn        // after NetConn

	client  bool
	single  bool // input was one record, and the tls.Conn holds no other
	ended   bool // close_notify was received
	goodbye bool // close_notify was sent
	failed  bool // nothing more can be read or written
	sealing bool // Seal takes what conn writes

	closed bool // guarded by mu; nothing more is to be sent
	mu     sync.Mutex
	sealed *buffer.Queue // guarded by mu; on its way out of conn; nil when nothing
}

// starved is the error of a Read that would have to wait. It is temporary: tls.Conn
// keeps the part of a record that it has, and can be asked again.
type starved struct{}

func (starved) Error() string   { return "no more bytes have arrived" }
func (starved) Timeout() bool   { return true }
func (starved) Temporary() bool { return true }

// ErrStarved: everything that was fed was read.
var ErrStarved error = starved{}

// Server returns the end of a server. Buffers are of the pool.
func Server(config *tls.Config, host Host, pool *buffer.Pool) *Pipe {
	p := &Pipe{host: host, pool: pool}
	p.conn = tls.Server((*transport)(p), config)
	return p
}

// Client returns the end of a client.
func Client(config *tls.Config, host Host, pool *buffer.Pool) *Pipe {
	p := &Pipe{host: host, pool: pool, client: true}
	p.conn = tls.Client((*transport)(p), config)
	return p
}

// Look says whether the handshake of a server can be started: when its client's first
// message is there as a whole, so that one that says nothing, or not enough, costs no
// goroutine. arrived is all that has come until now.
func (p *Pipe) Look(arrived []byte) tlsrecord.Verdict {
	if p.hello == nil {
		p.hello = &tlsrecord.Hello{}
	}
	return p.hello.Look(arrived)
}

// State returns what was agreed on, or nil when the handshake has not succeeded. It
// never blocks.
func (p *Pipe) State() *tls.ConnectionState {
	// During the handshake, which may block in a function of the tls.Config, the
	// tls.Conn would let nobody look.
	if p.handshake != nil {
		return nil
	}
	state := p.conn.ConnectionState()
	if !state.HandshakeComplete {
		return nil
	}
	return &state
}

// Feed hands over what has arrived. During the handshake it is copied; afterwards it
// has to stay until Read has returned an error.
func (p *Pipe) Feed(cipher []byte) {
	if p.handshake != nil {
		p.handshake.feed(cipher)
		return
	}
	p.input = cipher
	p.single = p.records.Between() && tlsrecord.IsOne(cipher)
}

// Room returns how many bytes are worth offering to Read.
func (p *Pipe) Room() int { return min(max(len(p.input), leastPlain), buffer.MaxPooled) }

// Read decrypts what was fed, as far as there is room for it. ErrStarved says that
// there is no more, io.EOF that the peer has ended the stream by close_notify: what
// comes behind that has no meaning. After another error an alert for the peer is
// sealed. Bytes may come with an error.
func (p *Pipe) Read(plain []byte) (n int, err error) {
	if p.ended || p.failed {
		p.input = nil
		return 0, ErrStarved
	}
	n, err = p.decrypt(plain)
	if err != nil {
		p.input = nil
		p.ended = err == io.EOF
	}
	return n, err
}

// decrypt fills plain as far as there is something. When what was fed is a single
// record, which plain has room for, nothing is behind its bytes: so tls.Conn, which
// takes long to find that out, is not asked.
func (p *Pipe) decrypt(plain []byte) (n int, err error) {
	for n < len(plain) && err == nil {
		var m int
		m, err = p.conn.Read(plain[n:])
		n += m
		if p.single && err == nil {
			err = ErrStarved
		}
	}
	return n, err
}

// StopReading has nothing more read.
func (p *Pipe) StopReading() { p.ended, p.input = true, nil }

// Record says whether a record has arrived in part, and how many have wholly; after
// 2³² the number comes again.
func (p *Pipe) Record() (unfinished bool, ended uint32) {
	return !p.records.Between(), p.records.Ended()
}

// Wants reports whether Append is to be called for what is to be sealed next.
func (p *Pipe) Wants() bool { return p.plain == nil && p.handshake == nil && !p.failed }

// Append gives what is to be sealed next to the pipe, which has to want it.
func (p *Pipe) Append(plain *buffer.Queue) { p.plain = plain }

// Seal encrypts the next bytes of what was appended, budget at most, and returns
// all ciphertext that is to be sent, or nil, and how many plain bytes it was made of.
// After an error there may be an alert.
func (p *Pipe) Seal(budget int) (sealed *buffer.Queue, plain int, err error) {
	if p.handshake == nil && !p.failed {
		plain, err = p.encrypt(budget)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	sealed, p.sealed = p.sealed, nil
	return sealed, plain, err
}

func (p *Pipe) encrypt(budget int) (plain int, err error) {
	p.sealing = true
	defer func() { p.sealing = false }()
	for p.plain != nil && plain < budget {
		var one [1][]byte
		n, err := p.conn.Write(p.plain.Buffers(one[:0], budget-plain)[0])
		if err != nil {
			return plain, err
		}
		plain += n
		p.plain.Discard(p.pool, n)
		if p.plain.Len() == 0 {
			p.pool.PutQueue(p.plain)
			p.plain = nil
		}
	}
	return plain, nil
}

// Waiting reports whether there is something to be sent.
func (p *Pipe) Waiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sealed != nil
}

// CloseWrite seals close_notify behind everything else, once, and reports whether it
// did. It does not during a handshake, nor when the pipe has failed.
func (p *Pipe) CloseWrite() bool {
	if p.goodbye || p.failed || p.handshake != nil || p.isClosed() {
		return false
	}
	p.goodbye = true
	return p.conn.CloseWrite() == nil
}

func (p *Pipe) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// Fail ends reading and sealing: nothing but what is sealed already, an alert, can be
// sent. It returns how many bytes were appended and will not be sealed.
func (p *Pipe) Fail() (lost int) {
	p.failed = true
	if p.plain != nil {
		lost = p.plain.Len()
		p.pool.PutQueue(p.plain)
		p.plain = nil
	}
	return lost
}

// Close throws away what is to be sent. What tls.Conn writes from now on fails.
func (p *Pipe) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, q := range []**buffer.Queue{&p.plain, &p.sealed} {
		if *q != nil {
			p.pool.PutQueue(*q)
			*q = nil
		}
	}
}

// NetConn returns the connection for others to use, on the connection under from now
// on. No other method may be called any more but State and Close.
func (p *Pipe) NetConn(under net.Conn) net.Conn {
	p.under = &under
	return p.conn
}

// transport is what the tls.Conn takes for its connection.
type transport Pipe

func (t *transport) Read(b []byte) (n int, err error) {
	switch {
	case t.under != nil:
		return (*t.under).Read(b)
	case t.handshake != nil:
		n, err = t.handshake.read(b)
	case len(t.input) == 0:
		return 0, ErrStarved
	default:
		n = copy(b, t.input)
		t.input = t.input[n:]
	}
	t.records.Follow(b[:n])
	return n, err
}

// Write queues ciphertext. It never blocks.
func (t *transport) Write(b []byte) (int, error) {
	if t.under != nil {
		return (*t.under).Write(b)
	}
	if !t.queue(b) {
		return 0, net.ErrClosed
	}
	if t.handshake != nil || !t.sealing {
		t.host.Wake()
	}
	return len(b), nil
}

func (t *transport) queue(b []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if t.sealed == nil {
		t.sealed = t.pool.Queue()
	}
	t.sealed.Write(t.pool, b)
	return true
}

// Close is for the connection that was given away.
func (t *transport) Close() error {
	if t.under != nil {
		return (*t.under).Close()
	}
	return nil
}

func (t *transport) LocalAddr() net.Addr {
	if t.under != nil {
		return (*t.under).LocalAddr()
	}
	return t.host.LocalAddr()
}

func (t *transport) RemoteAddr() net.Addr { return t.host.RemoteAddr() }

// Deadlines have no meaning until the connection is given away.

func (t *transport) SetDeadline(d time.Time) error {
	return t.deadline(func(c net.Conn) error { return c.SetDeadline(d) })
}

func (t *transport) SetReadDeadline(d time.Time) error {
	return t.deadline(func(c net.Conn) error { return c.SetReadDeadline(d) })
}

func (t *transport) SetWriteDeadline(d time.Time) error {
	return t.deadline(func(c net.Conn) error { return c.SetWriteDeadline(d) })
}

func (t *transport) deadline(set func(net.Conn) error) error {
	if t.under == nil {
		return nil
	}
	return set(*t.under)
}
