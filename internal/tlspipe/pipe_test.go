package tlspipe

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/epinet/epi/internal/buffer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A host is a Host for tests, with a clock that they set.
type host struct {
	woken chan struct{} // filled by Wake

	mu    sync.Mutex
	now   int64    // guarded by mu
	over  int      // guarded by mu; calls of HandshakeOver
	later []func() // guarded by mu
}

func newHost() *host { return &host{woken: make(chan struct{}, 1)} }

func (h *host) LocalAddr() net.Addr  { return &net.UnixAddr{Name: "here", Net: "unix"} }
func (h *host) RemoteAddr() net.Addr { return &net.UnixAddr{Name: "there", Net: "unix"} }

func (h *host) Wake() {
	select {
	case h.woken <- struct{}{}:
	default:
	}
}

func (h *host) Panicked(v any) error { return fmt.Errorf("panicked: %v", v) }

func (h *host) HandshakeOver() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over++
}

func (h *host) Now() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *host) Looked() int64 { return h.Now() }

func (h *host) Later(fn func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.later = append(h.later, fn)
}

func newLimit(places int) *Limit {
	return NewLimit(LimitConfig{
		Places:    places,
		Slots:     4,
		MaxInput:  maxInput,
		Silence:   time.Hour,
		Time:      func() int64 { return 1 },
		After:     func(time.Duration, func()) Alarm { return stopped{} },
		Condition: func(l sync.Locker) Condition { return sync.NewCond(l) },
		Spawn:     func(run func()) { go run() },
	})
}

const (
	sealBudget = 64 << 10
	maxInput   = 32 << 10
)

// A stopped alarm never rings.
type stopped struct{}

func (stopped) Reset(time.Duration) bool { return false }

// certificate is one for all tests.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// A peer is one end of a pair, and what it has read.
type peer struct {
	*Pipe
	host *host
	pool buffer.Pool
	got  []byte
	err  error // of Read, when that was not ErrStarved
}

// newPair returns a client and a server face to face, before their handshake.
func newPair(server, client *tls.Config) (c, s *peer) {
	c, s = &peer{host: newHost()}, &peer{host: newHost()}
	if server == nil {
		server = &tls.Config{Certificates: []tls.Certificate{certificate()}}
	}
	if client == nil {
		client = &tls.Config{}
	}
	client.InsecureSkipVerify = true
	c.Pipe = Client(client, c.host, &c.pool)
	s.Pipe = Server(server, s.host, &s.pool)
	return c, s
}

// take returns what is to be sent.
func (p *peer) take() (cipher []byte) {
	for {
		q, _, err := p.Seal(sealBudget)
		if q != nil {
			for q.Len() > 0 {
				var one [1][]byte
				piece := q.Buffers(one[:0], q.Len())[0]
				cipher = append(cipher, piece...)
				q.Discard(&p.pool, len(piece))
			}
			p.pool.PutQueue(q)
		}
		if err != nil {
			p.err = err
		}
		if q == nil {
			return cipher
		}
	}
}

// feed hands over ciphertext and reads what comes of it.
func (p *peer) feed(cipher []byte) {
	p.Feed(cipher)
	if !p.InHandshake() {
		p.read()
	}
}

func (p *peer) read() {
	for {
		room := make([]byte, p.Room())
		n, err := p.Read(room)
		p.got = append(p.got, room[:n]...)
		if err == nil {
			continue
		}
		if err != ErrStarved {
			p.err = err
		}
		return
	}
}

// say seals plain bytes.
func (p *peer) say(plain []byte) []byte {
	q := p.pool.Queue()
	q.Write(&p.pool, plain)
	p.Append(q)
	return p.take()
}

// pass moves what is to be sent to the other end, in pieces of at most size bytes.
func pass(from, to *peer, size int) {
	for cipher := from.take(); len(cipher) > 0; {
		n := min(size, len(cipher))
		to.feed(cipher[:n])
		cipher = cipher[n:]
	}
}

// shake has two peers shake hands and returns how that has ended.
func shake(t testing.TB, c, s *peer, size int) (client, server error) {
	t.Helper()
	l := newLimit(2)
	c.Start(l, nil)
	s.Start(l, nil)
	var clientDone, serverDone bool
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for !clientDone || !serverDone {
		select {
		case <-c.host.woken:
		case <-s.host.woken:
		case <-deadline.C:
			t.Fatal("the handshake does not end")
		}
		for _, p := range []struct {
			*peer
			done *bool
			err  *error
		}{{c, &clientDone, &client}, {s, &serverDone, &server}} {
			if *p.done {
				continue
			}
			if *p.done, *p.err = p.FinishHandshake(); *p.done && *p.err == nil {
				p.read() // what has come behind it
			}
		}
		pass(c, s, size)
		pass(s, c, size)
		if clientDone && client != nil && !serverDone {
			s.AbandonHandshake(client)
		}
		if serverDone && server != nil && !clientDone {
			c.AbandonHandshake(server)
		}
	}
	return client, server
}

// connected returns two peers that have shaken hands.
func connected(t testing.TB, server, client *tls.Config) (c, s *peer) {
	t.Helper()
	c, s = newPair(server, client)
	if errClient, errServer := shake(t, c, s, 1<<20); errClient != nil || errServer != nil {
		t.Fatal(errClient, errServer)
	}
	return c, s
}

func (p *peer) expect(t testing.TB, want []byte) {
	t.Helper()
	if p.err != nil || !bytes.Equal(p.got, want) {
		t.Fatalf("read %d bytes (%.40q) and then %v, want %d", len(p.got), p.got, p.err, len(want))
	}
	p.got = nil
}

func message(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * 7)
	}
	return p
}

func TestPipe_FaceToFace(t *testing.T) {
	for _, size := range []int{1, 7, 1 << 20} {
		c, s := newPair(nil, nil)
		if client, server := shake(t, c, s, size); client != nil || server != nil {
			t.Fatal(client, server)
		}
		if c.State() == nil || s.State() == nil {
			t.Fatal("there is no state after the handshake")
		}
		for _, n := range []int{1, 100, 16 << 10, 16<<10 + 1, 3 * sealBudget} {
			for cipher := c.say(message(n)); len(cipher) > 0; {
				piece := min(size, len(cipher))
				s.feed(cipher[:piece])
				cipher = cipher[piece:]
			}
			s.expect(t, message(n))
			c.feed(s.say(message(n)))
			c.expect(t, message(n))
		}
		if c.host.over != 1 || s.host.over != 1 {
			t.Errorf("the ends of the handshakes are reported %d and %d times", c.host.over, s.host.over)
		}
	}
}

// TestPipe_EverySplit has each record arrive in two parts, in all ways.
func TestPipe_EverySplit(t *testing.T) {
	c, s := connected(t, nil, nil)
	text := []byte("in two parts")
	for at, size := 1, 2; at < size; at++ {
		cipher := c.say(text)
		size = len(cipher)
		s.feed(cipher[:at])
		if unfinished, _ := s.Record(); len(s.got) > 0 || !unfinished {
			t.Fatalf("after %d of %d bytes %q was read", at, size, s.got)
		}
		s.feed(cipher[at:])
		s.expect(t, text)
		if unfinished, _ := s.Record(); unfinished {
			t.Fatal("a record that was read is unfinished")
		}
	}
}

// TestPipe_RecordsTogether has several records, and a part of one more, arrive at once.
func TestPipe_RecordsTogether(t *testing.T) {
	c, s := connected(t, nil, nil)
	cipher := bytes.Join([][]byte{c.say([]byte("one ")), c.say([]byte("two ")), c.say([]byte("three"))}, nil)
	s.feed(cipher[:len(cipher)-1])
	s.feed(cipher[len(cipher)-1:])
	s.expect(t, []byte("one two three"))
}

func TestPipe_CloseNotify(t *testing.T) {
	c, s := connected(t, nil, nil)
	last := c.say([]byte("last"))
	if !c.CloseWrite() || c.CloseWrite() {
		t.Error("close_notify is not sealed once")
	}
	s.feed(append(last, c.take()...))
	if string(s.got) != "last" || s.err != io.EOF {
		t.Fatalf("read %q and then %v", s.got, s.err)
	}
	s.err, s.got = nil, nil
	s.feed([]byte("has no meaning any more"))
	s.expect(t, nil)
	c.feed(s.say([]byte("the other direction goes on")))
	c.expect(t, []byte("the other direction goes on"))
}

// TestPipe_Garbage: what is not of the peer ends the pipe, and the peer gets an alert.
func TestPipe_Garbage(t *testing.T) {
	c, s := connected(t, nil, nil)
	cipher := c.say([]byte("text"))
	cipher[len(cipher)-1] ^= 1
	s.feed(cipher)
	if s.err == nil || len(s.got) > 0 {
		t.Fatalf("read %q and then %v", s.got, s.err)
	}
	s.Fail()
	c.feed(s.take())
	if alert := (*net.OpError)(nil); !errors.As(c.err, &alert) || !strings.Contains(c.err.Error(), "bad record MAC") {
		t.Errorf("the peer got: %v", c.err)
	}
}

// TestPipe_FunctionsThatDoNotReturn: a function of the tls.Config that panics, or ends
// the goroutine, ends one handshake.
func TestPipe_FunctionsThatDoNotReturn(t *testing.T) {
	for name, end := range map[string]func(){
		"panics":    func() { panic("no certificate today") },
		"goroutine": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			c, s := newPair(&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				end()
				return nil, nil
			}}, nil)
			client, server := shake(t, c, s, 1<<20)
			if client == nil || server == nil || !strings.Contains(server.Error(), "panicked") {
				t.Errorf("they end with %v and %v", client, server)
			}
			if s.host.over != 1 || s.State() != nil {
				t.Errorf("the end is reported %d times, the state is %v", s.host.over, s.State())
			}
		})
	}
}

// TestPipe_HandshakeIsBounded: what is fed while a function of the tls.Config blocks.
func TestPipe_HandshakeIsBounded(t *testing.T) {
	blocked, goOn := make(chan struct{}), make(chan struct{})
	c, s := newPair(&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		close(blocked)
		<-goOn
		return nil, errors.New("none")
	}}, nil)
	l := newLimit(2)
	c.Start(l, nil)
	<-c.host.woken
	s.Start(l, c.take())
	<-blocked
	s.Feed(make([]byte, maxInput-1))
	if s.Full() {
		t.Error("it is full one byte too early")
	}
	s.Feed(make([]byte, 1))
	if !s.Full() {
		t.Error("it is not full")
	}
	close(goOn)
	c.AbandonHandshake(net.ErrClosed)
	for _, p := range []*peer{c, s} {
		for done := false; !done; done, _ = p.FinishHandshake() {
			<-p.host.woken
		}
	}
}

// TestPipe_Close: what is to be sent is thrown away, and what comes fails.
func TestPipe_Close(t *testing.T) {
	c, s := connected(t, nil, nil)
	q := s.pool.Queue()
	q.Write(&s.pool, []byte("too late"))
	s.Append(q)
	s.Close()
	if s.Waiting() || s.CloseWrite() || len(s.take()) > 0 {
		t.Error("something is to be sent after Close")
	}
	s.feed(c.say([]byte("reading goes on")))
	s.expect(t, []byte("reading goes on"))
}

// TestPipe_NetConn: the tls.Conn goes on, on a connection of package net.
func TestPipe_NetConn(t *testing.T) {
	c, s := connected(t, nil, nil)
	far, near := net.Pipe()
	client, server := c.NetConn(far), s.NetConn(near)
	go func() { _, _ = client.Write([]byte("hello")) }()
	got := make([]byte, 5)
	if _, err := io.ReadFull(server, got); err != nil || string(got) != "hello" {
		t.Fatalf("read %q, %v", got, err)
	}
	if addr := server.LocalAddr(); addr.Network() != "pipe" {
		t.Errorf("its address is %v", addr)
	}
	_ = near.Close()
	_ = far.Close()
}

// TestLimit_CutsTheSilent: with one place, a client that is silent gives it up to
// another, when it has been for long enough.
func TestLimit_CutsTheSilent(t *testing.T) {
	l := newLimit(1)
	_, silent := newPair(nil, nil)
	_, next := newPair(nil, nil)
	silent.Start(l, nil)
	for waits := false; !waits; runtime.Gosched() {
		l.mu.Lock()
		waits = l.silent.Len() == 1
		l.mu.Unlock()
	}
	next.Start(l, nil)
	l.tick()
	if done, _ := silent.FinishHandshake(); done {
		t.Fatal("it is cut before its time")
	}
	for _, p := range []*peer{silent, next} {
		p.host.mu.Lock()
		p.host.now = int64(time.Hour)
		p.host.mu.Unlock()
	}
	if len(silent.host.later) == 0 {
		t.Fatal("nobody asks for another look")
	}
	silent.host.later[0]()
	<-silent.host.woken
	if done, err := silent.FinishHandshake(); !done || !errors.Is(err, ErrCut) {
		t.Errorf("it ends with %v, %v", done, err)
	}
	next.AbandonHandshake(net.ErrClosed)
	<-next.host.woken
	if done, err := next.FinishHandshake(); !done || !errors.Is(err, net.ErrClosed) {
		t.Errorf("the next ends with %v, %v", done, err)
	}
}

// TestLimit_WithdrawsWhatHasNotBegun: it costs no goroutine, and is over at once.
func TestLimit_WithdrawsWhatHasNotBegun(t *testing.T) {
	l := newLimit(0)
	_, s := newPair(nil, nil)
	s.Start(l, nil)
	if s.EndHandshake(io.ErrUnexpectedEOF) || s.InHandshake() || s.host.over != 1 {
		t.Errorf("it goes on: %v, reported %d times", s.InHandshake(), s.host.over)
	}
}

// FuzzPipe passes text in records and pieces of all sizes: every byte of input is how
// many bytes are sealed together, or fed at once.
func FuzzPipe(f *testing.F) {
	c, s := connected(f, nil, nil)
	f.Fuzz(func(t *testing.T, sizes []byte) {
		var want, cipher []byte
		for i, size := range sizes {
			if i%2 == 0 {
				text := message(int(size) * int(size))
				if len(text) > 0 {
					want = append(want, text...)
					cipher = append(cipher, c.say(text)...)
				}
				continue
			}
			n := min(int(size), len(cipher))
			s.feed(cipher[:n])
			cipher = cipher[n:]
		}
		s.feed(cipher)
		s.expect(t, want)
	})
}
