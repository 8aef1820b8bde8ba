package epi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/epinet/epi/internal/buffer"
	"github.com/epinet/epi/internal/tlsrecord"
)

// TLS returns what was agreed on in the handshake. It is nil on a plain
// connection, and where the handshake has not succeeded: in OnClose after a Dial
// that has failed. Callbacks only; in the function given to Listen, too. It never
// blocks.
func (c *Conn) TLS() *tls.ConnectionState {
	// During the handshake, which may block in a function of the tls.Config, the
	// tls.Conn would let nobody look.
	if c.extra == nil || c.extra.tls == nil || c.extra.tls.shake != nil {
		return nil
	}
	state := c.extra.tls.conn.ConnectionState()
	if !state.HandshakeComplete {
		return nil
	}
	return &state
}

// A tlsLayer stands between the driver's bytes and the handler's:
//
//	Received(ciphertext) ──► tls.Conn.Read  ──► OnData
//	Write ──► Conn.queue ──► tls.Conn.Write ──► sealed ──► Send
//
// The handshake has a goroutine (handshake.go). Afterwards the holder feeds the
// tls.Conn, whose Read comes back with errStarved when it wants more than has
// arrived, and goes on from there the next time. So nobody waits, and an idle
// connection holds what crypto/tls does and nothing else.
type tlsLayer struct {
	owner   *Conn
	conn    *tls.Conn
	hello   *tlsrecord.Hello // the holder's; nil when a ClientHello is not waited for
	shake   *handshake       // nil when it is over
	input   []byte           // the holder's; what Read may take
	records tlsrecord.Stream // of the one that reads; where in them the tls.Conn is
	plain   *buffer.Queue    // the holder's; on its way into conn; nil when nothing
	sealed  *buffer.Queue    // guarded by owner.mu; on its way out of it; nil when nothing
	over    bool             // the holder's; close_notify was received
	goodbye bool             // the holder's; close_notify was sent
	failed  bool             // the holder's; nothing more can be read or written
	under   net.Conn         // after Detach
}

const (
	// sealBudget bounds the plain bytes that are encrypted before they are sent.
	sealBudget = 64 << 10
	// leastPlain is the least room to decrypt into.
	leastPlain = 2 << 10
)

// starved is what the transport's Read says when nothing more has arrived. It
// is temporary: tls.Conn keeps the part of a record that it has, and can be
// asked again.
type starved struct{}

func (starved) Error() string   { return "no more bytes have arrived" }
func (starved) Timeout() bool   { return true }
func (starved) Temporary() bool { return true }

var errStarved error = starved{}

// received decrypts what has arrived.
func (t *tlsLayer) received(p []byte) {
	ended := t.records.Ended()
	t.unseal(p, t.records.Between() && tlsrecord.IsOne(p))
	t.owner.notePart(partRecord, !t.records.Between(), t.records.Ended() != ended)
}

// unseal is received, where single says that p is one record and that tls.Conn
// has not read any other before that it keeps.
func (t *tlsLayer) unseal(p []byte, single bool) {
	c := t.owner
	t.input = p
	for !t.failed && !t.over {
		room := c.loop.pool.Get(min(max(len(t.input), leastPlain), buffer.MaxPooled))
		n, err := t.decrypt(room[:cap(room)], single)
		if n > 0 {
			c.received(room[:n])
		}
		c.loop.pool.Put(room)
		if err != nil {
			t.ended(err)
			break
		}
	}
	t.input = nil
}

// decrypt fills p as far as there is something. When what has arrived is a single
// record, which p has room for, nothing is behind its bytes: so tls.Conn, which
// takes long to find that out, is not asked.
func (t *tlsLayer) decrypt(p []byte, single bool) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = t.conn.Read(p[n:])
		n += m
		if single && err == nil {
			err = errStarved
		}
	}
	return n, err
}

// ended follows up an error of Read.
func (t *tlsLayer) ended(err error) {
	c := t.owner
	switch err {
	case errStarved:
	case io.EOF: // close_notify; what comes behind it has no meaning
		t.over = true
		c.loop.drv.Receive(&c.sock, false)
		c.endReading(io.EOF)
		c.offerEnd()
	default: // of which the peer is told by an alert
		t.giveUp(err)
	}
}

// giveUp closes the connection for an error of tls.Conn.
func (t *tlsLayer) giveUp(err error) {
	err = fmt.Errorf("tls: %w", err)
	t.fail(err)
	_ = t.owner.end(closing, err)
}

// fail ends sealing: nothing but what is sealed already, an alert, can be sent. Also
// a connection that is closing is told why the rest is not delivered.
func (t *tlsLayer) fail(cause error) {
	t.failed = true
	c := t.owner
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range []**buffer.Queue{&c.queue, &t.plain} {
		if *q != nil {
			if c.cause == nil || c.cause == io.EOF {
				c.cause = cause
			}
			c.queued -= (*q).Len()
			c.loop.pool.PutQueue(*q)
			*q = nil
		}
	}
}

// seal encrypts the next of what is queued, and returns what is to be sent.
func (t *tlsLayer) seal() *buffer.Queue {
	c := t.owner
	if t.shake == nil && !t.failed {
		t.encrypt()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	q := t.sealed
	t.sealed = nil
	return q
}

func (t *tlsLayer) encrypt() {
	c := t.owner
	if t.plain == nil {
		c.mu.Lock()
		t.plain, c.queue = c.queue, nil
		c.mu.Unlock()
	}
	for budget := c.loop.cfg.sealBudget; t.plain != nil && budget > 0; {
		var one [1][]byte
		n, err := t.conn.Write(t.plain.Buffers(one[:0], budget)[0])
		if err != nil {
			t.giveUp(err)
			return
		}
		budget -= n
		t.plain.Discard(&c.loop.pool, n)
		if t.plain.Len() == 0 {
			c.loop.pool.PutQueue(t.plain)
			t.plain = nil
		}
		c.mu.Lock()
		c.queued -= n // sealed bytes are counted as they come
		c.mu.Unlock()
	}
}

// farewell sends close_notify behind everything else, and reports whether it did.
func (c *Conn) sealEnd() (sealed bool) {
	if c.extra == nil || c.extra.tls == nil {
		return false
	}
	t := c.extra.tls
	if t.goodbye || t.failed || t.shake != nil || c.state.Load()&writeEnded != 0 {
		return false
	}
	t.goodbye = true
	return t.conn.CloseWrite() == nil
}

// dropQueues throws away what is queued. The caller holds owner.mu.
func (t *tlsLayer) dropQueues() {
	for _, q := range []**buffer.Queue{&t.plain, &t.sealed} {
		if *q != nil {
			t.owner.loop.pool.PutQueue(*q)
			*q = nil
		}
	}
}

// giveAway returns the connection for others to use, on conn from now on.
func (t *tlsLayer) giveAway(conn net.Conn) net.Conn {
	t.under = conn
	return t.conn
}

// transport is what the tls.Conn takes for its connection.
type transport tlsLayer

func (t *transport) Read(p []byte) (int, error) {
	switch {
	case t.under != nil:
		return t.under.Read(p)
	case t.shake != nil:
		n, err := t.shake.read(p)
		t.records.Follow(p[:n])
		return n, err
	case len(t.input) == 0:
		return 0, errStarved
	}
	n := copy(p, t.input)
	t.input = t.input[n:]
	t.records.Follow(p[:n])
	return n, nil
}

// Write queues ciphertext. It never blocks.
func (t *transport) Write(p []byte) (int, error) {
	if t.under != nil {
		return t.under.Write(p)
	}
	c := t.owner
	c.mu.Lock()
	defer c.unlock()
	if c.state.Load()&(writeEnded|gone) != 0 {
		return 0, net.ErrClosed
	}
	if t.sealed == nil {
		t.sealed = c.loop.pool.Queue()
	}
	t.sealed.Write(&c.loop.pool, p)
	c.queued += len(p)
	c.todo |= doCheck
	return len(p), nil
}

// Close is for the connection that was given away. The engine closes its own.
func (t *transport) Close() error {
	if t.under != nil {
		return t.under.Close()
	}
	return nil
}

func (t *transport) LocalAddr() net.Addr {
	if t.under != nil {
		return t.under.LocalAddr()
	}
	return t.owner.LocalAddr()
}

func (t *transport) RemoteAddr() net.Addr { return t.owner.RemoteAddr() }

// Deadlines are the engine's timeouts until the connection is given away.

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
	return set(t.under)
}

// hasCertificate reports whether a server can work with a configuration.
func hasCertificate(config *tls.Config) bool {
	return config != nil && (len(config.Certificates) > 0 || config.GetCertificate != nil || config.GetConfigForClient != nil)
}

var errNoCertificate = errors.New("there is no certificate: set Engine.TLS or ListenOptions.TLS to a tls.Config with Certificates or GetCertificate")

// A Certificate is a server's certificate and key in files, which may change
// while it serves. Its GetCertificate belongs into a [tls.Config].
type Certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// LoadCertificate reads a certificate (with the chain that leads to its issuer)
// and its key, both as PEM. The error names the file that cannot be used, and why.
func LoadCertificate(certFile, keyFile string) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files again: connections from now on get the new certificate.
// After an error the old one stays. It may be called from any goroutine.
func (c *Certificate) Reload() error {
	for _, name := range []string{c.certFile, c.keyFile} {
		if _, err := os.ReadFile(name); err != nil {
			return fmt.Errorf("certificate: %w: give a file that is there and that this user may read", err)
		}
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w: give a certificate chain and the key that it was made with, both as PEM", c.certFile, c.keyFile, err)
	}
	now := time.Now()
	if leaf := pair.Leaf; leaf != nil && now.After(leaf.NotAfter) {
		return fmt.Errorf("certificate %s has expired on %s: renew it", c.certFile, leaf.NotAfter.Format(time.DateOnly))
	} else if leaf != nil && now.Before(leaf.NotBefore) {
		return fmt.Errorf("certificate %s is not valid before %s: look at the clock", c.certFile, leaf.NotBefore.Format(time.RFC3339))
	}
	c.current.Store(&pair)
	return nil
}

// GetCertificate returns the certificate as it was last read.
func (c *Certificate) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}
