package driver

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/sock"
)

// A session plays the engine to a completion driver on a fakeKernel: it makes
// any call that an engine may make, and checks what the driver reports.
type session struct {
	t         *testing.T
	k         *fakeKernel
	d         *completion
	streams   []*testStream // all that were ever opened
	listening *Listening
	dispatch  bool // Dispatch is under way
}

// A testStream is one connection, and what must hold of it.
type testStream struct {
	session   *session
	sock      Socket
	conn      *fakeConn
	next      byte   // the next byte that must be received
	pending   []byte // being sent
	sent      []byte // taken so far
	wants     bool   // receiving is on
	ended     bool
	broken    bool
	closing   bool // Close or Detach was called
	detaching bool
	closed    bool
	connected bool
}

func newSession(t *testing.T, choose func(int) int) *session {
	k := newFakeKernel(t, choose)
	cfg := Config{MaxEvents: 4, AcceptBudget: 2, ReadBudget: 24, Shared: NewShared()}
	return &session{t: t, k: k, d: newCompletionOn(cfg, linux{}, k, k, fakeWaker{k})}
}

func (s *session) open(fd int) {
	st := &testStream{session: s, conn: s.k.conns[fd], wants: true, connected: true}
	st.sock.Stream, st.sock.Handle = st, Handle(fd)
	s.streams = append(s.streams, st)
	if err := s.d.Open(&st.sock); err != nil {
		s.t.Fatal(err)
	}
}

// connect opens a connection of which Connected will tell. Its socket is
// connected to a real one, in place of the pair.
func (s *session) connect() {
	st := &testStream{session: s}
	st.sock.Stream = st
	if err := s.d.Connect(&st.sock, netip.Addr{}, s.k.target(), sock.StreamOptions{}); err != nil {
		s.t.Fatal(err)
	}
	st.conn = s.k.adopt(int(st.sock.Handle))
	s.streams = append(s.streams, st)
}

func (st *testStream) check(what string) {
	if !st.session.dispatch {
		st.session.t.Fatalf("%s outside Dispatch", what)
	}
	if st.closed || st.closing && what != "Closed" && what != "Detached" {
		st.session.t.Fatalf("%s after Close", what)
	}
}

func (st *testStream) Room() ([]byte, *Pipe) { return nil, nil }

func (st *testStream) Filled(int) { panic("there is no room") }

func (st *testStream) Received(p []byte) {
	st.check("Received")
	if !st.wants || st.ended || len(p) == 0 {
		st.session.t.Fatalf("Received %d bytes; wanted %v, ended %v", len(p), st.wants, st.ended)
	}
	for _, b := range p {
		if b != st.next {
			st.session.t.Fatalf("received %d, want %d", b, st.next)
		}
		st.next++
	}
	if st.session.k.choose(8) == 0 {
		st.receive(false)
	}
}

func (st *testStream) receive(on bool) {
	if st.ended {
		return
	}
	st.wants = on
	st.session.d.Receive(&st.sock, on)
}

func (st *testStream) ReceiveEnded(err error) {
	st.check("ReceiveEnded")
	switch {
	case !st.wants || st.ended:
		st.session.t.Fatalf("ReceiveEnded; wanted %v, ended %v", st.wants, st.ended)
	case st.next != st.conn.sent:
		st.session.t.Fatalf("the end came at byte %d of %d", st.next, st.conn.sent)
	case (err == io.EOF) != (st.conn.err == 0):
		st.session.t.Fatalf("ended with %v, the peer by %v", err, st.conn.err)
	}
	st.ended, st.wants = true, false
}

func (st *testStream) Sent(n int, err error) {
	st.check("Sent")
	if st.pending == nil || n > len(st.pending) {
		st.session.t.Fatalf("Sent %d of %d bytes", n, len(st.pending))
	}
	st.sent = append(st.sent, st.pending[:n]...)
	st.pending = nil
	st.broken = err != nil
	if !bytes.Equal(st.sent, st.conn.accepted) {
		st.session.t.Fatalf("%d bytes were reported as sent, %d were", len(st.sent), len(st.conn.accepted))
	}
}

func (st *testStream) Connected(err error) {
	st.check("Connected")
	if err != nil {
		st.session.t.Fatal(err) // the socket is a connected one
	}
	st.connected, st.wants = true, true
}

func (st *testStream) Ready(Readiness) { st.session.t.Fatal("Ready without lending") }

func (st *testStream) Closed() {
	st.check("Closed")
	if !st.closing || st.detaching {
		st.session.t.Fatal("Closed before Close")
	}
	st.closed = true
	clear(st.pending) // the engine uses the memory again
}

func (st *testStream) detach() {
	if st.closing || st.pending != nil || !st.connected {
		return
	}
	st.closing, st.detaching = true, true
	st.session.d.Detach(&st.sock)
}

func (st *testStream) Detached(conn net.Conn, rest []byte, err error) {
	st.check("Detached")
	if !st.detaching {
		st.session.t.Fatal("Detached before Detach")
	}
	st.closed = true
	if err != nil {
		if st.conn.err == 0 {
			st.session.t.Fatalf("Detached with %v", err)
		}
		return
	}
	for _, b := range rest {
		if b != st.next {
			st.session.t.Fatalf("%d is in the rest, want %d", b, st.next)
		}
		st.next++
	}
	if left := st.conn.arrived; len(left) > 0 && left[0] != st.next {
		st.session.t.Fatalf("%d is left in the kernel, want %d", left[0], st.next)
	}
	_ = conn.Close()
}

func (st *testStream) send() {
	if st.pending != nil || st.broken || st.closing || !st.connected {
		return
	}
	choose := st.session.k.choose
	var bufs [][]byte
	for range 1 + choose(3) {
		b := bytes.Repeat([]byte{byte(len(st.sent))}, 1+choose(20))
		bufs = append(bufs, b)
	}
	if len(bufs) == 1 {
		st.pending = bufs[0]
	} else {
		st.pending = bytes.Join(bufs, nil)
	}
	n, pending, err := st.session.d.Send(&st.sock, bufs)
	if n != 0 || !pending || err != nil {
		st.session.t.Fatalf("Send returned %d, %v, %v", n, pending, err)
	}
}

func (st *testStream) close(reset bool) {
	if st.closing {
		return
	}
	st.closing = true
	st.session.d.Close(&st.sock, reset)
}

// Accepted is the listening socket's.
func (s *session) Accepted(h Handle, _ netip.AddrPort, err error) {
	if !s.dispatch || !s.listening.Watched() {
		s.t.Fatal("Accepted outside Dispatch or after Unlisten")
	}
	if err != nil {
		if s.k.choose(2) == 0 {
			s.accept(false)
		}
		return
	}
	s.open(int(h))
}

func (s *session) accept(on bool) {
	if err := s.d.Accept(s.listening, on); err != nil {
		s.t.Fatal(err)
	}
}

func (s *session) turn(timeout time.Duration) {
	if _, err := s.d.Wait(timeout); err != nil {
		s.t.Fatal(err)
	}
	s.dispatch = true
	s.d.Dispatch()
	s.dispatch = false
}

const (
	maxStreams = 12
	// maxConns bounds the connections of a session, those that clients open
	// included. The kernel moves one operation at a time, whichever it likes:
	// with hundreds under way, the one that is waited for may not have its turn
	// within the patience of settle.
	maxConns = 2 * maxStreams
)

// act is one thing that happens: a call of the engine, or an event of the peers.
func (s *session) act() {
	choose := s.k.choose
	if len(s.streams) == 0 || choose(16) == 0 && len(s.streams) < maxStreams {
		if choose(3) == 0 {
			s.connect()
		} else {
			s.open(s.k.socket())
		}
		return
	}
	st := s.streams[choose(len(s.streams))]
	switch choose(16) {
	case 0, 1, 2:
		s.turn(0)
	case 3:
		st.arrive(1 + choose(40))
	case 4, 14, 15:
		if !st.closing && st.connected {
			st.receive(choose(2) == 0)
		}
	case 5, 6:
		st.send()
	case 7:
		if choose(3) == 0 {
			st.close(choose(2) == 0)
		} else if choose(4) == 0 {
			st.detach()
		}
	case 8:
		if choose(3) == 0 {
			st.conn.ended = true
		}
	case 9:
		if choose(4) == 0 && !st.conn.ended {
			st.conn.err = unix.ECONNRESET
		}
	case 10:
		s.k.backlog += min(choose(3), max(0, maxConns-s.k.clients()))
		s.k.noFiles = choose(4) == 0
	case 11:
		s.relisten()
	case 12:
		_ = s.d.Wake()
	case 13:
		s.k.step()
	}
}

// arrive lets the peer send.
func (st *testStream) arrive(n int) {
	if st.conn.ended || st.conn.err != 0 {
		return
	}
	for range n {
		st.conn.arrived = append(st.conn.arrived, st.conn.sent)
		st.conn.sent++
	}
}

func (s *session) relisten() {
	switch {
	case s.listening == nil:
		s.listening = &Listening{Acceptor: s}
		if err := s.d.Listen(s.listening); err != nil {
			s.t.Fatal(err)
		}
	case s.k.choose(4) == 0 && s.d.enabled:
		s.d.Unlisten(s.listening)
		s.listening = nil
	default:
		s.accept(s.k.choose(3) > 0)
	}
}

// finish brings everything to its end, and checks that nothing was lost and
// nothing is left.
func (s *session) finish() {
	s.k.noFiles = false
	s.turn(0) // a loop waits before it does anything else
	if l := s.listening; l != nil {
		s.settle("those who wait are accepted", func() bool { return !l.accepting || s.k.backlog == 0 && len(l.waiting) == 0 })
		s.d.Unlisten(l)
	}
	s.settle("all are connected and have sent", func() bool {
		return !s.any(func(st *testStream) bool { return !st.connected || st.pending != nil })
	})

	if s.k.choose(2) == 0 {
		s.pause()
	}
	s.each(func(st *testStream) { st.receive(true) })
	s.settle("everything is received", func() bool {
		return !s.any(func(st *testStream) bool {
			if !st.wants { // it has paused by itself
				st.receive(true)
			}
			return !st.ended && (st.next != st.conn.sent || st.conn.err != 0 || st.conn.ended)
		})
	})

	s.k.quiet = true
	s.connect()
	for _, st := range s.streams {
		if !st.ended && !st.closing {
			st.send()
		}
		st.close(s.k.choose(2) == 0)
	}
	s.settle("everything is closed", func() bool {
		for _, st := range s.streams {
			if !st.closed {
				return false
			}
		}
		return true
	})
	d, k := s.d, s.k
	if d.open.Len() != 0 || d.listeners.Len() != 0 || len(d.held) != 0 || d.leftOver() != 0 {
		s.t.Errorf("left: %d sockets, %d listening, %d held, %d to report", d.open.Len(), d.listeners.Len(), len(d.held), d.leftOver())
	}
	if n := len(k.free); n != fakeBuffers {
		s.t.Errorf("%d of %d buffers came back", n, fakeBuffers)
	}
	if n := d.counters.Stale.Load(); n != 0 {
		s.t.Errorf("%d completions came after their socket was gone: its token could have been used again", n)
	}
	for kind := kindAccept; kind <= kindHangUp; kind++ {
		if k.underWay(kind) {
			s.t.Errorf("an operation of kind %d is still under way", kind)
		}
	}
	s.settle("the loop can be woken", func() bool { return k.underWay(kindWake) })
	k.checkClosed()
	d.cfg.Shared.Close()
}

// pause ends receiving on all streams: what is received later, is by operations
// that begin anew.
func (s *session) pause() {
	s.k.quiet = true
	s.each(func(st *testStream) { st.receive(false) })
	s.settle("no receive is under way", func() bool { return !s.k.underWay(kindReceive) })
	s.k.quiet = false
}

// each visits the streams that the engine has not closed.
func (s *session) each(visit func(*testStream)) {
	for _, st := range s.streams {
		if !st.closing {
			visit(st)
		}
	}
}

// any reports whether the condition holds for one of them.
func (s *session) any(holds func(*testStream) bool) (found bool) {
	s.each(func(st *testStream) { found = holds(st) || found })
	return found
}

// settle lets the kernel work until done.
func (s *session) settle(what string, done func() bool) {
	for range 20_000 {
		if done() {
			return
		}
		s.k.step()
		s.turn(0)
	}
	s.t.Fatalf("it does not come to pass that %s: %v", what, s.k)
}

func play(t *testing.T, script []byte, seed uint64, length int) {
	s := newSession(t, choices(script, seed))
	for range length {
		s.act()
	}
	s.finish()
}

// TestCompletion_AnyOrder completes operations in a few thousand orders.
func TestCompletion_AnyOrder(t *testing.T) {
	for seed := range uint64(3_000) {
		play(t, nil, seed, 200)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// FuzzCompletion lets the fuzzer choose the order.
func FuzzCompletion(f *testing.F) {
	f.Fuzz(func(t *testing.T, script []byte, seed uint64) {
		play(t, script[:min(len(script), 2_000)], seed, 50+min(len(script), 400)/2)
	})
}
