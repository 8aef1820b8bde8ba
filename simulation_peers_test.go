package epi

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/epinet/epi/internal/driver"
)

// A simulatedClient is the other end of an accepted connection: a peer, or, when it has
// a Twin, a connection that the engine has dialled.
type simulatedClient struct {
	*driver.Link
	s         *simulation
	sent, got int // bytes of the stream; with TLS, what is in it
	handler   *simulatedHandler
	dialler   *simulatedHandler // who has dialled, of a Twin
	spoilt    bool              // it does not keep to the protocol: nothing is promised to it

	secure    *tls.Conn // nil without TLS
	up        bool      // its handshake is over
	failed    bool      // or has failed
	truncated bool      // the end came without close_notify
	records   records   // that it reads

	message []byte // of a group: the beginning of the next
	next    uint32 // the least number that it can have
}

// excused reports whether the connection has met something that loses bytes.
func (c *simulatedClient) excused() bool {
	return c.Broken || c.Refused || c.spoilt || c.failed || c.Twin != nil && (c.Twin.Broken || c.Twin.Refused)
}

// gotOf returns how many of the bytes that h has written have been read.
func (c *simulatedClient) gotOf(h *simulatedHandler) int {
	if p := h.peer(); p != nil {
		return p.shown
	}
	return c.got
}

// sentTo returns how many bytes were sent to h.
func (c *simulatedClient) sentTo(h *simulatedHandler) int {
	if p := h.peer(); p != nil {
		return p.written
	}
	return c.sent
}

// end lets a client end in order.
func (c *simulatedClient) end() {
	if c.Broken || c.InEnd || c.Twin != nil || c.dialler != nil {
		return
	}
	c.s.run.Note("client %d ends", c.Number)
	c.s.Count("FIN")
	if c.secure != nil && c.up && !c.failed {
		_ = c.secure.CloseWrite()
	}
	c.InEnd = true
}

// peer is what a client does, or the network between.
func (s *simulation) peer() {
	if len(s.clients) < s.options.clients && s.Choose(4) == 0 {
		s.connect()
		return
	}
	s.NoFiles = s.options.noFiles && s.Choose(10) == 0
	if len(s.clients) == 0 {
		return
	}
	c := s.clients[s.Choose(len(s.clients))]
	switch s.Choose(8) {
	case 0, 1:
		s.send(c, 1+s.Choose(60))
	case 2:
		if s.options.ends && s.Choose(6) == 0 {
			if s.Choose(2) == 0 {
				s.send(c, 1+s.Choose(60)) // the end comes close behind
			}
			c.end()
		}
	case 3:
		s.disturb(c)
	default:
		s.carry(c)
	}
}

func (s *simulation) disturb(c *simulatedClient) {
	c.Stalled = s.options.stalls && s.Choose(4) == 0
	switch {
	case c.Twin != nil || c.dialler != nil:
	case s.options.resets && !c.Broken && s.Choose(20) == 0:
		s.run.Note("client %d resets", c.Number)
		s.Fault("RST")
		c.Break()
	case c.secure != nil && len(c.In) > 0 && s.Choose(30) == 0:
		s.run.Note("a byte of client %d is changed", c.Number)
		s.Fault("TLS record spoilt")
		c.spoilt = true
		c.In[s.Choose(len(c.In))] ^= 1 << s.Choose(8)
	}
}

// connect lets a new client come.
func (s *simulation) connect() {
	c := &simulatedClient{s: s, Link: s.NewLink(len(s.clients))}
	s.clients = append(s.clients, c)
	s.Backlog = append(s.Backlog, c.Link)
	if s.Choose(3) == 0 {
		c.Name = "@client"
	}
	s.run.Note("client %d connects", c.Number)
	if s.options.proxy {
		c.In = append(c.In, s.header(c)...)
	}
	if s.options.tls {
		s.secure(c)
	}
}

// header returns what comes before a proxied connection.
func (s *simulation) header(c *simulatedClient) []byte {
	hi, lo := byte(c.Number>>8), byte(c.Number)
	switch s.Choose(12) {
	case 0:
		s.Fault("no PROXY header")
		c.spoilt = true
		return nil
	case 1:
		s.Fault("bad PROXY header")
		c.spoilt = true
		return []byte("PROXY TCP9 nonsense\r\n")
	case 2, 3, 4:
		s.Count("PROXY v2")
		return append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"), 10, 1, hi, lo, 10, 0, 0, 1, 4, 0, 0, 1)
	}
	s.Count("PROXY v1")
	return fmt.Appendf(nil, "PROXY TCP4 10.1.%d.%d 10.0.0.1 1024 1\r\n", hi, lo)
}

func (s *simulation) send(c *simulatedClient, n int) {
	switch {
	case c.InEnd || c.Broken || c.Refused || c.Twin != nil || c.dialler != nil:
		return
	case c.Closed:
		c.Refused, c.Out = true, nil // it meets a closed socket
		return
	case c.secure != nil && (!c.up || c.failed):
		return
	}
	s.run.Note("client %d sends %d bytes", c.Number, n)
	p := make([]byte, n)
	for i := range p {
		p[i] = pattern(c.Number+1, c.sent+i)
	}
	c.sent += n
	if c.secure == nil {
		c.In = append(c.In, p...)
		return
	}
	_, _ = c.secure.Write(p)
}

// carry moves bytes to the client's host, and the client reads: all while the world is
// calm, any part of them before.
func (s *simulation) carry(c *simulatedClient) (moved bool) {
	if c.Twin != nil {
		return s.carryTwins(c)
	}
	if c.Broken || c.Refused || c.dialler != nil {
		return false
	}
	n := driver.SimulatedReceive
	if !s.Calm {
		n = s.Choose(len(c.Out) + 1)
	}
	moved = s.Carry(c.Link, n)
	if c.Stalled || c.secure != nil {
		return moved
	}
	c.readAll(c.Arrived)
	moved = moved || len(c.Arrived) > 0
	c.Arrived = c.Arrived[:0]
	return moved
}

func (s *simulation) carryTwins(c *simulatedClient) (moved bool) {
	for _, l := range []*driver.Link{c.Link, c.Twin} {
		n := driver.SimulatedReceive
		if !s.Calm {
			n = s.Choose(len(l.Out) + 1)
		}
		moved = s.Carry(l, n) || moved
	}
	return moved
}

// readAll checks the next bytes.
func (c *simulatedClient) readAll(p []byte) {
	c.s.run.Checked(len(p), "bytes read by peers: each at its place")
	for _, b := range p {
		c.read(b)
	}
}

// read checks the next byte.
func (c *simulatedClient) read(b byte) {
	if c.s.groups != nil {
		c.s.groups.read(c, b)
		return
	}
	want := pattern(c.Number, c.got)
	if h := c.handler; h != nil && h.partner != nil {
		want = pattern(h.partner.client.Number+1, c.got)
	}
	if b != want {
		c.s.Failf("client %d reads a wrong byte at %d", c.Number, c.got)
	}
	c.got++
}

// pattern returns byte i of what a connection carries one way.
func pattern(id, i int) byte { return byte(i*31 + i>>8*7 + id*13) }

// secure has a client speak TLS.
func (s *simulation) secure(c *simulatedClient) {
	if s.Choose(10) == 0 {
		s.Fault("bytes that are no TLS")
		c.spoilt = true
		c.In = append(c.In, "GET / HTTP/1.0\r\n\r\n"[:1+s.Choose(18)]...)
		return
	}
	c.secure = tls.Client(clientEnd{c}, simulatedClientTLS(s))
	s.Spawn(func() { c.speak() })
}

// speak is a client's coroutine.
func (c *simulatedClient) speak() {
	if err := c.secure.Handshake(); err != nil {
		c.s.run.Note("client %d: the handshake fails: %v", c.Number, err)
		c.failed = true
		return
	}
	c.s.Count("TLS handshake")
	c.up = true
	var room [256]byte
	for {
		n, err := c.secure.Read(room[:])
		c.readAll(room[:n])
		if err != nil {
			c.failed, c.truncated = err != io.EOF, err == io.ErrUnexpectedEOF || !c.records.endInAlert()
			return
		}
	}
}

// records looks which records of TLS pass: crypto/tls takes the end of the stream between
// two of them for close_notify.
type records struct {
	head []byte // of the next, as much as there is of it
	left int    // bytes of the one that passes
	size int    // of the last one
}

func (r *records) read(p []byte) {
	for len(p) > 0 {
		if r.left > 0 {
			n := min(r.left, len(p))
			r.left, p = r.left-n, p[n:]
			continue
		}
		r.head, p = append(r.head, p[0]), p[1:]
		if len(r.head) == 5 {
			r.left = int(r.head[3])<<8 | int(r.head[4])
			r.size, r.head = r.left, r.head[:0]
		}
	}
}

// endInAlert reports whether the last record can be close_notify: two bytes, its type,
// and what proves it (RFC 8446, section 5.2).
func (r *records) endInAlert() bool { return r.left == 0 && r.size == 2+1+16 }

// clientEnd is a client's connection, for crypto/tls.
type clientEnd struct{ *simulatedClient }

func (e clientEnd) Read(p []byte) (int, error) {
	l := e.Link
	ended := func() bool { return l.Broken || l.Refused || l.Acked }
	e.s.Wait(func() bool { return len(l.Arrived) > 0 && !l.Stalled || ended() && len(l.Arrived) == 0 }, -1)
	switch {
	case len(l.Arrived) > 0:
		n := copy(p, l.Arrived)
		l.Arrived = l.Arrived[n:]
		e.records.read(p[:n])
		return n, nil
	case l.Broken || l.Refused:
		return 0, syscall.ECONNRESET
	}
	return 0, io.EOF
}

func (e clientEnd) Write(p []byte) (int, error) {
	l := e.Link
	switch {
	case l.Closed:
		l.Refused, l.Out = true, nil
		return 0, syscall.EPIPE
	case l.Broken || l.Refused || l.InEnd:
		return 0, syscall.EPIPE
	}
	l.In = append(l.In, p...)
	return len(p), nil
}

func (e clientEnd) Close() error                     { return nil }
func (e clientEnd) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (e clientEnd) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (e clientEnd) SetDeadline(time.Time) error      { return nil }
func (e clientEnd) SetReadDeadline(time.Time) error  { return nil }
func (e clientEnd) SetWriteDeadline(time.Time) error { return nil }

// simulatedIdentity is a certificate whose signatures all have the same length, as have
// the keys of its connections: so what is random in TLS decides nothing.
var simulatedIdentity = sync.OnceValue(func() tls.Certificate {
	source := rand.NewChaCha8([32]byte{1})
	seed := make([]byte, ed25519.SeedSize)
	_, _ = source.Read(seed)
	key := ed25519.NewKeyFromSeed(seed)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"sim.example"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(source, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func simulatedTLS(s *simulation) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{simulatedIdentity()}, MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.CurveP256}, Time: func() time.Time { return time.Unix(0, s.Now) },
		SessionTicketsDisabled: true,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			s.Point()
			switch n := s.Choose(60); {
			case s.chaos && n == 0:
				s.Count("TLS refused")
				return nil, errSimulated
			case s.chaos && n == 1 && s.options.panics:
				panic("a panic of the tls.Config")
			case s.chaos && n == 2 && s.options.exits:
				runtime.Goexit()
			}
			return nil, nil
		},
	}
}

var simulatedRoots = sync.OnceValue(func() *x509.CertPool {
	roots := x509.NewCertPool()
	cert, err := x509.ParseCertificate(simulatedIdentity().Certificate[0])
	if err != nil {
		panic(err)
	}
	roots.AddCert(cert)
	return roots
})

func simulatedClientTLS(s *simulation) *tls.Config {
	return &tls.Config{
		RootCAs: simulatedRoots(), ServerName: "sim.example", MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.CurveP256}, Time: func() time.Time { return time.Unix(0, s.Now) },
	}
}

// A simulatedHandler is the handler of one connection, and what must hold of it.
type simulatedHandler struct {
	s      *simulation
	conn   *Conn
	client *simulatedClient
	dials  bool
	number int    // of one that dials: what it writes
	cancel func() // of one that dials

	inside    bool
	opened    bool
	end       bool // OnEOF was called
	shut      bool // CloseWrite was, in a callback
	closed    int
	cause     error
	greets    bool
	taken     int  // bytes that the handler has consumed
	shown     int  // bytes that it has seen
	written   int  // bytes that Write has taken
	paused    bool // on the loop, and not resumed since
	own       bool // this side has ended it, or has let it fail
	asleep    bool // it has paused, for good
	timed     bool // it has an idle timeout of its own
	owesDrain bool // a write was refused, and OnDrain has not been called since
	detached  bool
	member    bool // of the group
	due       int  // messages that were sent to it
	again     bool // OnData is due, by Resume
	expects   int  // OnData is not to be called for less; 0: for anything
	piped     bool
	partner   *simulatedHandler // where its bytes go, when it is piped
}

// A simulatedHalf is a handler that has OnEOF.
type simulatedHalf struct{ *simulatedHandler }

func (s *simulation) handler(c *Conn) Handler {
	s.Point()
	if s.chaos && s.Choose(60) == 0 {
		return nil
	}
	client := s.accepted(c)
	h := &simulatedHandler{s: s, conn: c, client: client, greets: s.Choose(2) == 0 && !s.options.pipes}
	client.handler = h
	s.handlers = append(s.handlers, h)
	if d := client.dialler; d != nil {
		d.meet(client)
	}
	if s.Choose(2) == 0 {
		return simulatedHalf{h}
	}
	return h
}

// accepted returns the client of a connection that was accepted. The address of one is
// its number, also in a PROXY header; in a Unix socket there is none.
func (s *simulation) accepted(c *Conn) *simulatedClient {
	if !s.options.unix {
		a := c.host.As4()
		return s.clients[int(a[2])<<8|int(a[3])]
	}
	l := s.LinkOf(c.sock.Handle)
	i := slices.IndexFunc(s.clients, func(client *simulatedClient) bool { return client.Link == l })
	return s.clients[i]
}

// meet notes whom a connection that was dialled has reached.
func (h *simulatedHandler) meet(c *simulatedClient) {
	if h.client == nil {
		h.client = c
		h.s.handlers = append(h.s.handlers, h)
	}
}

// peer returns the handler of the other end, when both are the engine's.
func (h *simulatedHandler) peer() *simulatedHandler {
	if h.dials {
		return h.client.handler
	}
	return h.client.dialler
}

// peerEnds reports whether the other end, when it is the engine's, may have thrown away
// what it was sent.
func (h *simulatedHandler) peerEnds() bool {
	p := h.peer()
	if p == nil {
		return h.dials // it has not been accepted
	}
	return p.own || p.closed > 0 || p.conn.state.Load()&ending != 0 || !p.opened || h.written-p.taken < p.expects
}

// peerGaveUp reports whether the other end, when it is the engine's, has thrown away
// what it had not sent.
func (h *simulatedHandler) peerGaveUp() bool {
	p := h.peer()
	return p != nil && p.conn.state.Load()&aborting != 0
}

// peerIsDone reports whether all that the other end has written is on its way.
func (h *simulatedHandler) peerIsDone() bool {
	p := h.peer()
	return p == nil || p.closed > 0 && (p.cause == nil || p.cause == io.EOF)
}

// link is the engine's end.
func (h *simulatedHandler) link() *driver.Link {
	if h.dials {
		return h.client.Twin
	}
	return h.client.Link
}

// reads and writes are the patterns of the two directions.
func (h *simulatedHandler) reads() int {
	if h.dials {
		return h.client.Number
	}
	if d := h.client.dialler; d != nil {
		return d.number
	}
	return h.client.Number + 1
}

func (h *simulatedHandler) writes() int {
	if h.dials {
		return h.number
	}
	return h.client.Number
}

// name is for the timeline.
func (h *simulatedHandler) name() string {
	switch {
	case h.client == nil:
		return "dialled"
	case h.dials:
		return fmt.Sprintf("dialler of client %d", h.client.Number)
	}
	return fmt.Sprintf("client %d", h.client.Number)
}

// enter begins a callback, and returns what ends it.
func (h *simulatedHandler) enter(what string) func() {
	switch {
	case h.inside:
		h.s.Failf("%s inside another callback", what)
	case h.closed > 0:
		h.s.Failf("%s after OnClose", what)
	}
	h.s.run.Checked(1, "callbacks: their order")
	if h.s.run.Noting() {
		h.s.run.Note("%s: %s", h.name(), what)
	}
	h.inside = true
	h.s.Point()
	return func() { h.inside = false }
}

func (h *simulatedHandler) resume() {
	if h.asleep {
		return
	}
	h.paused = false
	h.conn.Resume()
}

// pauseOnLoop pauses where no callback of the connection can be under way: none may
// follow, although the driver has not been asked yet to stop.
func (h *simulatedHandler) pauseOnLoop() {
	s := h.s
	if s.options.pipes || s.engine.Workers > 0 || s.Choose(2) == 0 {
		return
	}
	_ = h.conn.Loop().Do(func() {
		if !s.chaos || h.asleep || h.closed > 0 {
			return
		}
		h.conn.Pause()
		h.paused = true
		_ = h.conn.Loop().After(time.Duration(s.Choose(30))*time.Millisecond, h.resume)
	})
}

// setTimeouts gives the connection timeouts of its own.
func (h *simulatedHandler) setTimeouts() {
	d := time.Duration(h.s.Choose(2)) * 2 * time.Second
	h.timed = true
	switch h.s.Choose(5) {
	case 0:
		h.conn.SetReadTimeout(d)
	case 1:
		h.conn.SetWriteTimeout(d)
	case 2:
		h.conn.SetLinger(300*time.Millisecond + d)
	default:
		h.conn.SetIdleTimeout(d)
	}
}

// task runs something on the loop.
func (h *simulatedHandler) task() {
	s := h.s
	_ = h.conn.Loop().Do(func() {
		s.Point()
		switch {
		case s.chaos && s.options.panics && s.Choose(8) == 0:
			panic("a panic of the task")
		case s.chaos && s.options.exits && s.Choose(8) == 0:
			runtime.Goexit()
		}
	})
}

func (h *simulatedHandler) write(n int) {
	if h.piped || h.s.options.pipes || h.s.groups != nil {
		return
	}
	p := make([]byte, n)
	for i := range p {
		p[i] = pattern(h.writes(), h.written+i)
	}
	var err error
	h.owesDrain = false
	switch h.s.Choose(4) {
	case 0, 1:
		_, err = h.conn.Write(p)
		clear(p) // it is the caller's again
	case 2:
		_, err = h.conn.Writev(p[:n/2], nil, p[n/2:])
		clear(p)
	default:
		err = h.conn.Send(p[:n/2], p[n/2:])
	}
	if queued, most := h.conn.Queued(), h.conn.marks().queued; queued > most {
		h.s.Failf("%d bytes are queued for %s, MaxQueued is %d", queued, h.name(), most)
	}
	switch {
	case err == nil:
		h.written += n
	case errors.Is(err, ErrQueueFull):
		h.s.Count("queue full")
		h.owesDrain = h.conn.Queued() > 0 && !h.s.engine.CloseOnFull
		h.own = h.own || h.s.engine.CloseOnFull
	case !errors.Is(err, ErrClosed):
		h.s.Failf("a write fails: %v", err)
	}
}

func (h *simulatedHandler) OnOpen(*Conn) error {
	defer h.enter("OnOpen")()
	if h.opened || h.taken > 0 {
		h.s.Failf("OnOpen is not first")
	}
	h.opened = true
	if h.dials {
		h.meet(h.s.clientOf(h.conn))
	}
	if h.s.options.pipes {
		h.joinPipe()
		return nil
	}
	if h.greets {
		h.write(1 + h.s.Choose(100))
	}
	return h.misbehave(60)
}

// clientOf returns the client that a connection is which was dialled.
func (s *simulation) clientOf(c *Conn) *simulatedClient {
	l := s.LinkOf(c.sock.Handle)
	for _, client := range s.clients {
		if client.Link == l.Twin {
			return client
		}
	}
	s.Failf("a connection is open that nobody is at the other end of")
	return nil
}

// misbehave fails once in a while, in one of the ways that callbacks can.
func (h *simulatedHandler) misbehave(seldom int) error {
	s := h.s
	if !s.chaos {
		return nil
	}
	switch s.Choose(seldom) {
	case 0:
		h.own = true
		s.Fault("callback returns an error")
		return errSimulated
	case 1:
		if s.options.panics {
			h.own = true
			s.Fault("callback panics")
			panic("a panic of the callback")
		}
	case 2:
		if s.options.exits {
			h.own = true
			s.Fault("callback ends its goroutine")
			runtime.Goexit()
		}
	}
	return nil
}

func (h *simulatedHandler) OnData(c *Conn) error {
	defer h.enter("OnData")()
	unread := c.Unread()
	switch {
	case h.end || len(unread) == 0:
		h.s.Failf("OnData after the end, or without bytes")
	case h.paused:
		h.s.Failf("OnData although the handler has paused")
	case len(unread) < h.expects && !h.client.InEnd && !h.client.Broken && h.client.Twin == nil:
		h.s.Failf("OnData with %d bytes though %d are expected", len(unread), h.expects)
	}
	h.s.run.Note("    %d bytes", len(unread))
	h.expects, h.again = 0, false
	h.see(unread)
	n := len(unread)
	if h.s.Choose(3) == 0 {
		n = h.s.Choose(n + 1)
	}
	h.consume(c, n)
	h.taken += n
	if h.s.Choose(30) == 0 {
		c.MessagePending(h.s.Choose(2) == 0)
	}
	if h.s.Choose(10) == 0 {
		h.expect(c)
	}
	if h.s.Choose(20) == 0 {
		c.Hold(h.s.Choose(2) * 100)
	}
	if n > 0 && n < len(unread) && h.expects == 0 && h.s.Choose(6) == 0 {
		c.Resume()
		h.again = true
	}
	return h.act(n)
}

// consume takes n bytes, in one of the ways that there are.
func (h *simulatedHandler) consume(c *Conn, n int) {
	switch h.s.Choose(8) {
	case 0:
		if p := c.Take(n); len(p) != n {
			h.s.Failf("Take returns %d bytes, not %d", len(p), n)
		}
	case 1:
		p := make([]byte, n)
		if m, err := c.Read(p); m != n || err != nil {
			h.s.Failf("Read returns %d bytes of %d, and %v", m, n, err)
		}
		h.compare(p)
	default:
		c.Discard(n)
	}
}

// expect asks for a message that is not all there yet.
func (h *simulatedHandler) expect(c *Conn) {
	n := len(c.Unread()) + 1 + h.s.Choose(80)
	if !h.s.chaos {
		return // a peer that sends no more would leave it waiting
	}
	switch h.s.Choose(12) {
	case 0:
		if err := c.Expect(100_000); !errors.Is(err, ErrUnreadFull) {
			h.s.Failf("Expect of what MaxUnread forbids returns %v", err)
		}
		return
	case 1:
		n = len(c.Unread()) // which are there: it changes nothing
		if c.Expect(n) != nil && n <= h.s.engine.MaxUnread {
			h.s.Failf("Expect of what is there fails")
		}
		return
	}
	if c.Expect(n) == nil {
		h.s.run.Note("    %d bytes are expected", n)
		h.expects = n
	}
}

// see compares what a callback is shown with what was sent.
func (h *simulatedHandler) see(unread []byte) {
	h.s.run.Checked(len(unread), "bytes shown to handlers: each at its place")
	h.compare(unread)
	h.shown = max(h.shown, h.taken+len(unread))
}

// compare says that bytes are the next that were sent.
func (h *simulatedHandler) compare(p []byte) {
	for i, b := range p {
		if b != pattern(h.reads(), h.taken+i) {
			h.s.Failf("byte %d from %s is wrong", h.taken+i, h.name())
		}
	}
}

// act is what a handler does with n bytes.
func (h *simulatedHandler) act(n int) error {
	s := h.s
	if h.dials {
		return h.misbehave(60) // it does not answer, or there would be no end
	}
	switch s.Choose(40) {
	case 0:
		h.own = true
		_ = h.conn.Close()
	case 1:
		h.shut = h.conn.CloseWrite() == nil
	case 2:
		if s.chaos {
			h.conn.Pause()
			h.paused = true
			_ = h.conn.Loop().After(time.Duration(s.Choose(50))*time.Millisecond, h.resume)
		}
	case 3, 4, 5:
		return h.misbehave(4)
	case 6:
		h.write(1 + s.Choose(6000))
	case 7:
		if s.chaos {
			h.own = true
			_ = h.conn.Abort()
		}
	case 8:
		if s.options.detaches && s.chaos {
			h.detach()
		}
	case 9:
		if s.Choose(3) == 0 {
			h.become()
		}
	default:
		h.write(1 + s.Choose(2*n+1))
	}
	return nil
}

// become has another handler go on, which gets all callbacks from OnOpen on.
func (h *simulatedHandler) become() {
	h.s.Count("SetHandler")
	h.opened, h.expects, h.again = false, 0, false
	h.conn.SetHandler(simulatedNext{h})
}

// A simulatedNext is a handler that SetHandler was given.
type simulatedNext struct{ *simulatedHandler }

func (h simulatedNext) OnOpen(*Conn) error {
	defer h.enter("OnOpen, again")()
	h.opened = true
	return nil
}

// detach gives the connection to another goroutine.
func (h *simulatedHandler) detach() {
	s := h.s
	err := h.conn.Detach(func(conn net.Conn) {
		h.detached = true
		defer func() { _ = conn.Close() }()
		var room [100]byte
		for {
			n, err := conn.Read(room[:])
			h.see(room[:n])
			h.taken += n
			if err != nil {
				return
			}
			p := make([]byte, 1+s.Choose(60))
			for i := range p {
				p[i] = pattern(h.writes(), h.written+i)
			}
			m, _ := conn.Write(p)
			h.written += m
		}
	})
	if err == nil {
		h.own = true
	}
}

// joinPipe gives the connection to Pipe when there is another.
func (h *simulatedHandler) joinPipe() {
	s := h.s
	other := s.waiting
	if other == nil || other.closed > 0 {
		s.waiting = h
		h.conn.Pause()
		h.paused, h.asleep = true, true
		return
	}
	s.waiting = nil
	h.partner, other.partner = other, h
	for _, end := range []*simulatedHandler{h, other} {
		end.piped, end.own, end.asleep, end.paused = true, true, false, false
	}
	s.Count("pipe")
	_ = Pipe(h.conn, other.conn)
}

// checkPipes is checkRest for connections that were given to Pipe.
func (s *simulation) checkPipes() {
	for _, h := range s.handlers {
		p := h.partner
		if p == nil || h.closed > 0 || p.closed > 0 || h.client.excused() || p.client.excused() ||
			(h.conn.state.Load()|p.conn.state.Load())&ending != 0 {
			continue
		}
		if h.client.got != p.client.sent {
			s.Failf("at rest client %d has %d bytes of %d that client %d has sent: %s", h.client.Number, h.client.got, p.client.sent, p.client.Number, s.describe())
		}
	}
}

func (h simulatedHalf) OnEOF(c *Conn) error {
	defer h.enter("OnEOF")()
	if h.end {
		h.s.Failf("OnEOF twice")
	}
	if h.again {
		h.s.Failf("OnEOF before what Resume offers")
	}
	if h.paused {
		h.s.Failf("OnEOF although the connection is paused")
	}
	h.end, h.own = true, true
	h.see(c.Unread())
	if sent := h.client.sentTo(h.simulatedHandler); h.shown != sent && !h.client.spoilt && !h.peerGaveUp() {
		h.s.Failf("OnEOF when %d bytes of %d were shown", h.shown, sent)
	}
	h.taken += c.Discard(len(c.Unread()))
	h.write(1 + h.s.Choose(3000))
	if err := h.misbehave(20); err != nil || h.shut {
		return err
	}
	if h.s.Choose(2) == 0 {
		return c.Close()
	}
	return c.CloseWrite()
}

func (h *simulatedHandler) OnDrain(*Conn) {
	defer h.enter("OnDrain")()
	h.owesDrain = false
	_ = h.misbehave(30)
}

func (h *simulatedHandler) OnShutdown(c *Conn) {
	defer h.enter("OnShutdown")()
	h.own = true
	h.write(1 + h.s.Choose(60))
	switch h.s.Choose(4) {
	case 0:
		if h.s.options.stubborn {
			c.StayOpen()
		}
	case 1:
		c.StayOpen()
		_ = c.Loop().After(time.Duration(h.s.Choose(60))*time.Millisecond, func() { _ = c.Close() })
	}
}

func (h *simulatedHandler) OnTimeout(_ *Conn, cause error) {
	defer h.enter("OnTimeout")()
	if !errors.Is(cause, ErrIdle) && !errors.Is(cause, ErrReadTimeout) {
		h.s.Failf("OnTimeout got %v", cause)
	}
	h.write(1 + h.s.Choose(60))
}

func (h *simulatedHandler) OnClose(_ *Conn, err error) {
	defer h.enter("OnClose")()
	h.s.run.Note("    %v", err)
	if h.again && !h.own && err == io.EOF {
		h.s.Failf("%s ends before what Resume offers", h.name())
	}
	if errors.Is(err, ErrUnreadFull) && !h.overfull() {
		h.s.Failf("%s ends with %v, and has left %d bytes unread", h.name(), err, h.shown-h.taken)
	}
	if h.cancel != nil {
		h.cancel()
	}
	if h.s.last && !h.own && !h.mayEnd(err) {
		h.s.Failf("%s ends with %v, though nothing goes wrong any more", h.name(), err)
	}
	h.cause = err
	h.closed++
	if h.s.chaos && h.s.options.exits && h.s.Choose(20) == 0 {
		runtime.Goexit()
	}
}

// overfull reports whether the handler has left more unread than MaxUnread: the connection is
// closed, and what has not been shown is lost. Its cause may be an earlier one, a failed send.
func (h *simulatedHandler) overfull() bool { return h.shown-h.taken > h.s.engine.MaxUnread }

// mayEnd reports whether a connection may end so when this side has done nothing to it.
func (h *simulatedHandler) mayEnd(err error) bool {
	l, o := h.client, h.s.options
	return err == nil || err == io.EOF || l == nil || l.excused() || h.dials || l.dialler != nil || errors.Is(err, ErrUnreadFull) ||
		(o.timeouts || h.timed) && (errors.Is(err, ErrWriteStalled) || errors.Is(err, ErrIdle) || errors.Is(err, ErrReadTimeout) || errors.Is(err, ErrUnfinished)) ||
		o.stalls && errors.Is(err, ErrLinger) || o.memory && errors.Is(err, ErrMemory)
}
