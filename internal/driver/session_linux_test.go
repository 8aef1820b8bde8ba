package driver

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/epinet/epi/internal/schedule"
	"github.com/epinet/epi/internal/sock"
)

// A session plays the engine to a driver in a world: it makes any call that an
// engine may make, and checks what the driver reports.
type session struct {
	*world
	d           simulated
	kernel      kernel
	streams     []*testStream // all that were ever opened
	listening   *Listening
	budgets     budgets
	packets     []*testPackets
	datagrams   bool // there are any
	maxDatagram int
	untidy      []*testStream // those whose callback has not returned in this turn
	accepted    int           // in this turn
	dispatch    bool          // Dispatch is under way
	begun       bool          // the loop has waited once
	calm        bool          // no more callbacks that end their goroutine, or pause
	happens     []int         // the kinds of things that do
	lender      Lender        // the driver, when workers take sockets in hand; else nil
}

// budgets bound what a turn does.
type budgets struct {
	accept int // connections
	read   int // bytes of one stream; 0: not known
}

// A simulated driver is one with everything that an engine may ask for.
type simulated interface {
	Driver
	DirectSender
	Splicer
	unreported() int
}

// A kernel is what a driver waits for.
type kernel interface {
	// progress does something that takes the kernel no event from outside.
	progress()
	// ahead reports whether the kernel sends by itself, before the driver
	// looks.
	ahead() bool
	// stuck reports whether a Wait would have slept for ever since it was asked last.
	stuck() bool
	// rest looks at a loop that has done everything.
	rest(s *session)
	// check looks at what is left when everything is closed.
	check(s *session)
}

// A testStream is one connection, and what must hold of it.
type testStream struct {
	*session
	sock      Socket
	file      *file
	next      int      // the next byte that must be received
	pending   [][]byte // being sent
	piped     *Pipe    // likewise, when it lies in a pipe
	sent      []byte   // taken so far
	wants     bool     // receiving is on
	ended     bool
	broken    bool
	closing   bool // Close or Detach was called
	detaching bool
	orderly   bool // Close must close in order: little has arrived that is unread
	closed    bool
	shut      bool // CloseWrite was called
	paused    int  // bytes that must stay in the kernel
	relays    bool // it may offer pipes
	pipe      *Pipe
	room      []byte    // that was offered
	got       int       // in this turn, or that of a worker, but for what lies in pipes
	ready     Readiness // lending: not followed up yet
	due       bool      // lending: a worker is to have it, though it is not ready
	held      bool      // lending: a worker has it
}

func (s *session) stream() *testStream {
	st := &testStream{session: s}
	st.sock.Stream, st.sock.Handle = st, NoHandle
	return st
}

func (s *session) open(fd int) {
	st := s.stream()
	st.sock.Handle, st.file, st.wants = Handle(fd), s.files[fd], true
	if err := s.d.Open(&st.sock); err != nil {
		s.Note("opening %v: %v", st.file, err)
		s.Close(fd, false)
		return
	}
	s.streams = append(s.streams, st)
}

// connect opens a connection that Connected will report.
func (s *session) connect() {
	st := s.stream()
	if err := s.d.Connect(&st.sock, netip.Addr{}, &net.TCPAddr{}, sock.StreamOptions{}); err != nil {
		return
	}
	st.file = s.files[int(st.sock.Handle)]
	s.streams = append(s.streams, st)
}

// connected reports whether it is known to be.
func (st *testStream) connected() bool { return st.sock.stage != stageConnecting }

func (st *testStream) check(what string) {
	if !st.dispatch && !st.held {
		st.Failf("%s outside Dispatch", what)
	}
	if st.closed || st.closing && what != "Closed" && what != "Detached" {
		st.Failf("%s after Close", what)
	}
	st.Checked(1, "callbacks: their order")
	st.Note("%v: %s", st.file, what)
}

// Room offers, now and then, memory or a pipe.
func (st *testStream) Room() ([]byte, *Pipe) {
	st.room = nil
	if !st.wants || st.ended || st.closing {
		st.Failf("%v: Room is asked for bytes that are not wanted", st.file)
	}
	if st.relays && st.pending == nil && st.piped == nil && !st.broken && !st.shut {
		if st.pipe == nil {
			st.pipe = st.d.NewPipe()
		}
		if st.pipe != nil && st.pipe.Held() == 0 && !st.pipe.Unfit() {
			return nil, st.pipe
		}
	}
	if st.Chance(4) {
		st.room = make([]byte, 1+st.Choose(30))
	}
	return st.room, nil
}

// Filled sends on what lies in the pipe.
func (st *testStream) Filled(n int) {
	st.check("Filled")
	if st.room != nil {
		if n <= 0 || n > len(st.room) {
			st.Failf("%d bytes lie in room for %d", n, len(st.room))
		}
		st.shown(st.room[:n])
		return
	}
	if st.pipe == nil || n <= 0 || n != st.pipe.Held() {
		st.Failf("%d bytes lie in a pipe that was not offered, or holds others", n)
	}
	p := slices.Clone(st.files[st.pipe.read].pipe.held)
	st.sendPipe()
	st.got -= len(p)
	st.shown(p)
}

func (st *testStream) sendPipe() {
	before := slices.Clone(st.files[st.pipe.read].pipe.held)
	n, pending, err := st.d.SendPipe(&st.sock, st.pipe)
	unfit := st.pipe.Unfit()
	if n > len(before) || pending != (err == nil && !unfit && n < len(before)) {
		st.Failf("SendPipe of %d bytes returned %d, %v, %v; unfit: %v", len(before), n, pending, err, unfit)
	}
	st.taken(before[:n], err)
	switch {
	case pending:
		st.piped = st.pipe
	case unfit && st.pipe.Held() > 0:
		st.sendCopied(before[n:])
	}
}

// sendCopied sends what a pipe holds that is unfit.
func (st *testStream) sendCopied(want []byte) {
	p, err := st.d.ReadPipe(st.pipe)
	if err != nil || string(p) != string(want) {
		st.Failf("%v: the pipe held %d bytes, not %d, or others; %v", st.file, len(p), len(want), err)
	}
	st.sendBytes([][]byte{p})
}

// taken notes that the kernel has taken p.
func (st *testStream) taken(p []byte, err error) {
	st.sent = append(st.sent, p...)
	st.broken = st.broken || err != nil
	if string(st.sent) != string(st.file.accepted) {
		st.Failf("%v: %d bytes were reported as sent, %d were", st.file, len(st.sent), len(st.file.accepted))
	}
}

func (st *testStream) Received(p []byte) {
	st.check("Received")
	st.shown(p)
	for i := range p { // they are the driver's, and may change when this returns
		p[i]++
	}
}

func (st *testStream) shown(p []byte) {
	if !st.wants || st.ended || len(p) == 0 {
		st.Failf("%v: received %d bytes; wanted %v, ended %v", st.file, len(p), st.wants, st.ended)
	}
	for _, b := range p {
		if b != sentByte(st.file.id, st.next) {
			st.Failf("%v: byte %d is wrong", st.file, st.next)
		}
		st.next++
	}
	st.Checked(len(p), "bytes received: each at its place")
	if st.got += len(p); st.budgets.read > 0 && st.got > st.budgets.read {
		st.Failf("%v: received %d bytes in a turn, the budget is %d", st.file, st.got, st.budgets.read)
	}
	if st.next > st.file.sent {
		st.Failf("%v: received %d bytes of %d", st.file, st.next, st.file.sent)
	}
	if st.calm {
		return
	}
	switch st.Choose(16) {
	case 0:
		st.receive(false)
	case 1:
		st.receive(false)
		st.receive(true)
	case 2:
		st.send()
	}
	st.mayNotReturn()
}

// A goexit is what a callback panics with that does not return. It stands for
// runtime.Goexit, which unwinds the driver in the same way.
type goexit struct{ of *testStream } // nil: a socket for datagrams

func (st *testStream) mayNotReturn() {
	if !st.calm && st.dispatch && !st.held && st.Chance(40) {
		st.Fault("callback does not return")
		st.Note("%v: it does not return", st.file)
		panic(goexit{st})
	}
}

// tidy is what an engine does when a callback has not returned: it says again what it
// wants, or closes.
func (st *testStream) tidy() {
	if st.Chance(2) {
		st.close(st.Chance(2))
		return
	}
	st.receive(st.wants)
}

func (st *testStream) receive(on bool) {
	if st.ended || st.closing || !st.connected() || !st.mine() {
		return
	}
	st.Note("%v: Receive(%v)", st.file, on)
	st.wants = on
	st.d.Receive(&st.sock, on)
}

func (st *testStream) ReceiveEnded(err error) {
	st.check("ReceiveEnded")
	orderly := err == io.EOF
	switch {
	case !st.wants || st.ended:
		st.Failf("%v: ReceiveEnded; wanted %v, ended %v", st.file, st.wants, st.ended)
	case err == nil:
		st.Failf("%v: ReceiveEnded without a reason", st.file)
	case errorOf(err) == errNoMemory: // whatever the connection is like
	case st.next != st.file.sent:
		st.Failf("%v: the end came at byte %d of %d", st.file, st.next, st.file.sent)
	case orderly && !st.file.ended || !orderly && st.file.err == 0:
		st.Failf("%v: ended with %v, the peer by %v", st.file, err, st.file.err)
	}
	st.ended, st.wants = true, false
	st.mayNotReturn()
}

func (st *testStream) Sent(n int, err error) {
	st.check("Sent")
	switch {
	case st.piped != nil:
		if n != 0 {
			st.Failf("%v: Sent %d bytes of a pipe", st.file, n)
		}
		st.piped = nil
		if err == nil {
			st.sendPipe()
		}
		return
	case st.pending == nil || n < 0 || n > total(st.pending):
		st.Failf("%v: Sent %d of %d bytes", st.file, n, total(st.pending))
	case n > 0 && err != nil:
		st.Failf("%v: Sent %d bytes and %v", st.file, n, err)
	case n == 0 && err == nil && st.kernel.ahead():
		st.Failf("%v: Sent nothing, and no error", st.file)
	}
	p := slices.Concat(st.pending...)[:n]
	st.pending = nil
	st.taken(p, err)
	if st.Chance(2) {
		st.send()
	}
	st.mayNotReturn()
}

func total(bufs [][]byte) (n int) {
	for _, b := range bufs {
		n += len(b)
	}
	return n
}

func (st *testStream) Connected(err error) {
	st.check("Connected")
	switch {
	case st.file.connect == underWay && errorOf(err) != errNoMemory:
		st.Failf("%v: Connected, and it is not", st.file)
	case err != nil:
		if st.file.connect == connected && st.file.err == 0 && errorOf(err) != errNoMemory {
			st.Failf("%v: Connected(%v)", st.file, err)
		}
		if st.sock.Handle != NoHandle || st.file.open {
			st.Failf("%v: it could not be connected, and is open", st.file)
		}
		st.closing, st.closed = true, true
		return
	case st.file.connect == refused:
		st.Failf("%v: it was refused, and is Connected", st.file)
	case st.Chance(4):
		st.surrender()
		return
	}
	st.wants, st.due = true, true
	st.mayNotReturn()
}

// surrender gives the socket to another, as a race does for its winner.
func (st *testStream) surrender() {
	st.Note("%v: surrendered", st.file)
	h := st.d.Surrender(&st.sock)
	st.closing, st.closed = true, true
	st.session.open(int(h))
}

// Ready is of drivers that lend.
func (st *testStream) Ready(r Readiness) {
	if st.lender == nil || st.closing {
		st.Failf("%v: Ready without lending, or after Close", st.file)
	}
	st.Note("%v: Ready(%b)", st.file, r)
	st.ready |= r
}

// mine reports whether the caller may use the socket now.
func (st *testStream) mine() bool { return st.lender == nil || st.held }

// take begins a worker's turn.
func (st *testStream) take() {
	if st.lender == nil || st.held || st.closing || !st.connected() {
		return
	}
	st.held, st.due = true, false
	r := st.ready
	st.ready = 0
	if r == 0 {
		return
	}
	st.Note("%v: FollowUp(%b)", st.file, r)
	st.lender.FollowUp(&st.sock, r)
	st.got = 0
	if r&ReadReady != 0 && st.wants {
		st.lender.Read(&st.sock, make([]byte, 1+st.Choose(30)))
	}
}

// give ends it.
func (st *testStream) give() {
	if st.held {
		st.Note("%v: Return", st.file)
		st.lender.Return(&st.sock)
		st.held = false
	}
}

// inHand runs f while the socket may be used.
func (st *testStream) inHand(f func()) {
	st.take()
	f()
	st.give()
}

// work gives all that are ready to workers, and reports whether some are again.
func (s *session) work() (more bool) {
	for _, st := range s.streams {
		if st.ready != 0 || st.due || st.held {
			st.inHand(func() {})
		}
		more = more || st.ready != 0 && !st.closing
	}
	return more
}

func (st *testStream) Closed() {
	st.check("Closed")
	if !st.closing || st.detaching {
		st.Failf("%v: Closed before Close", st.file)
	}
	if st.file.open {
		st.Failf("%v: Closed, and its descriptor is open", st.file)
	}
	if st.orderly && !st.ended && st.file.reset {
		st.Failf("%v: it was closed in order, and is reset", st.file)
	}
	st.over()
}

// over ends the account.
func (st *testStream) over() {
	st.closed = true
	for _, b := range st.pending {
		clear(b) // the engine uses the memory again
	}
	if st.pipe != nil {
		st.d.ClosePipe(st.pipe)
		st.pipe = nil
	}
}

func (st *testStream) detach() {
	if st.closing || st.pending != nil || st.piped != nil || !st.connected() || st.held {
		return
	}
	st.Note("%v: Detach", st.file)
	st.closing, st.detaching = true, true
	st.d.Detach(&st.sock)
}

func (st *testStream) Detached(conn net.Conn, rest []byte, err error) {
	st.check("Detached")
	if !st.detaching {
		st.Failf("%v: Detached before Detach", st.file)
	}
	st.over()
	if err != nil {
		if st.file.err == 0 && errorOf(err) != errNoMemory && !st.file.given {
			st.Failf("%v: Detached with %v", st.file, err)
		}
		return
	}
	if st.file.told && !st.ended && !st.broken {
		st.Failf("%v: Detached, and its error is reported to nobody", st.file)
	}
	if conn.(fakeNetConn).file != st.file {
		st.Failf("%v: Detached with the connection of another", st.file)
	}
	for _, b := range rest {
		if b != sentByte(st.file.id, st.next) {
			st.Failf("%v: byte %d is wrong in the rest", st.file, st.next)
		}
		st.next++
	}
	if st.next+len(st.file.arrived) != st.file.sent {
		st.Failf("%v: of %d bytes %d were received and %d are left in the kernel", st.file, st.file.sent, st.next, len(st.file.arrived))
	}
}

// send begins a Send.
func (st *testStream) send() {
	if st.pending != nil || st.piped != nil || st.broken || st.closing || st.shut || !st.connected() || !st.mine() {
		return
	}
	bufs := make([][]byte, 1+st.Choose(3))
	at := len(st.sent)
	for i := range bufs {
		bufs[i] = make([]byte, 1+st.Choose(20))
		for j := range bufs[i] {
			bufs[i][j] = sentByte(-st.file.id, at)
			at++
		}
	}
	if st.lender == nil && st.Chance(8) {
		n := st.d.SendNow(&st.sock, bufs[0])
		st.Note("%v: SendNow of %d bytes: %d", st.file, len(bufs[0]), n)
		st.taken(bufs[0][:n], nil)
		return
	}
	st.sendBytes(bufs)
}

func (st *testStream) sendBytes(bufs [][]byte) {
	given := slices.Clone(bufs)
	n, pending, err := st.d.Send(&st.sock, bufs)
	st.Note("%v: Send of %d bytes: %d, %v, %v", st.file, total(bufs), n, pending, err)
	if n > total(bufs) || n == total(bufs) && pending || err != nil && (pending || n > 0) || err == nil && !pending && n < total(bufs) {
		st.Failf("Send of %d bytes returned %d, %v, %v", total(bufs), n, pending, err)
	}
	all := slices.Concat(given...)
	st.taken(all[:n], err)
	if pending {
		st.pending = given
		if n > 0 { // the engine sends the rest anew: what the driver was given must not be touched
			st.pending = [][]byte{all[n:]}
		}
	}
}

func (st *testStream) closeWrite() {
	if st.pending != nil || st.piped != nil || st.closing || st.shut || !st.connected() || !st.mine() || st.pipe != nil && st.pipe.Held() > 0 {
		return
	}
	st.shut = true
	err := st.d.CloseWrite(&st.sock)
	if err != nil && errorOf(err) != st.file.err {
		st.Failf("%v: CloseWrite: %v", st.file, err)
	}
	st.broken = st.broken || err != nil
}

func (st *testStream) close(reset bool) {
	if st.closing || st.held {
		return
	}
	st.Note("%v: Close, reset: %v", st.file, reset)
	st.closing, st.orderly = true, st.calm && !reset && st.file.mark < 0 // a signal at the mark hides what lies behind
	st.d.Close(&st.sock, reset)
}

// Accepted is the listening socket's. It calls nobody who might not return.
func (s *session) Accepted(h Handle, peer netip.AddrPort, err error) {
	if !s.dispatch || !s.listening.Watched() {
		s.Failf("Accepted outside Dispatch or after Unlisten")
	}
	if !s.listening.wanted {
		s.Failf("Accepted although it was stopped")
	}
	if err != nil {
		if n := errorOf(err); n != errNoFiles && n != errNoMemory {
			s.Failf("Accepted(%v)", err)
		}
		if !s.calm && s.Chance(2) {
			s.accept(false)
		}
		return
	}
	s.Note("Accepted %d", h)
	if s.accepted++; s.accepted > s.budgets.accept {
		s.Failf("%d were accepted in a turn, the budget is %d", s.accepted, s.budgets.accept)
	}
	if int(peer.Port()) != s.files[int(h)].id {
		s.Failf("%v: accepted from %v", s.files[int(h)], peer)
	}
	s.open(int(h))
	if !s.calm && s.Chance(8) {
		s.accept(false)
	}
}

func (s *session) accept(on bool) {
	if err := s.d.Accept(s.listening, on); err != nil {
		s.Note("Accept(%v): %v", on, err)
		if !on || s.quiet {
			s.Failf("Accept(%v): %v", on, err)
		}
	}
}

// turn is one turn of a loop.
func (s *session) turn(timeout time.Duration) {
	s.begun, s.accepted = true, 0
	if _, err := s.d.Wait(timeout); err != nil {
		s.Failf("Wait: %v", err)
	}
	s.dispatch = true
	for !s.dispatched() {
	}
	s.dispatch = false
	for _, st := range s.packets {
		st.checkShown()
	}
	for _, st := range s.untidy {
		st.tidy()
	}
	s.untidy = nil
}

// dispatched calls Dispatch, and reports whether it has returned.
func (s *session) dispatched() (returned bool) {
	if s.lender == nil {
		for _, st := range s.streams {
			st.got = 0
		}
	}
	defer func() {
		v := recover()
		if g, ok := v.(goexit); ok {
			if g.of != nil {
				s.untidy = append(s.untidy, g.of)
			}
			return
		}
		if v != nil {
			panic(v)
		}
	}()
	s.d.Dispatch()
	return true
}

const (
	maxStreams = 6
	// maxClients bounds those that clients open besides.
	maxClients = 6
)

// swarm chooses which kinds of things happen in this run at all: what is rare beside
// all others is not so beside few.
func (s *session) swarm() {
	kinds := 20
	if s.lender != nil {
		kinds = 25
	}
	for kind := range kinds {
		if kind < 5 || s.Chance(4) || s.Chance(2) {
			s.happens = append(s.happens, kind)
		}
	}
	s.datagrams = s.Chance(3)
}

// act is one thing that happens: a call of the engine, or an event of the peers.
func (s *session) act() {
	if s.datagrams && s.Chance(3) {
		s.actPackets()
		return
	}
	if len(s.streams) == 0 || s.Chance(12) && len(s.streams) < maxStreams {
		if s.Chance(3) {
			s.connect()
		} else {
			s.open(s.socket().fd)
		}
		return
	}
	st := s.streams[s.Choose(len(s.streams))]
	switch s.happens[s.Choose(len(s.happens))] {
	case 0, 1, 2, 3, 4:
		s.turn(time.Duration(-s.Choose(2)))
		s.kernel.stuck() // somebody will wake it
	case 5, 6:
		s.arrive(st.file, 1+s.Choose(40))
	case 7, 8:
		if !st.closing {
			st.receive(s.Chance(2))
		}
	case 9, 10:
		st.send()
	case 11:
		s.leave(st)
	case 12:
		s.trouble(st.file)
	case 13:
		s.read(st.file, 1+s.Choose(sendRoom))
	case 14:
		if s.made < maxStreams+maxClients {
			s.clients = append(s.clients, s.client())
			s.changed(s.files[listeningFD])
		}
		s.noFiles = s.Chance(4)
	case 15:
		s.relisten()
	case 16:
		_ = s.d.Wake()
	case 17:
		s.kernel.progress()
	case 18:
		s.settleConnect(st.file, connecting(2*s.Choose(2)))
	case 19:
		s.relay(st)
	case 20, 21, 22:
		st.take()
	case 23, 24:
		st.give()
	}
}

// leave ends a connection in one of the ways that an engine has.
func (s *session) leave(st *testStream) {
	switch s.Choose(8) {
	case 0:
		st.close(false)
	case 1:
		st.close(true)
	case 2:
		st.detach()
	case 3:
		st.closeWrite()
	}
}

// trouble is what a peer may do.
func (s *session) trouble(f *file) {
	switch s.Choose(8) {
	case 0, 1:
		s.end(f)
	case 2:
		s.fail(f)
	case 3, 4:
		s.urge(f)
	case 5:
		s.notify(f)
	}
}

// relay has the stream offer pipes from now on, or none.
func (s *session) relay(st *testStream) {
	if st.closing || !st.connected() || s.lender != nil {
		return
	}
	on := s.Chance(2)
	if !on && st.pipe != nil && st.pipe.Held() > 0 {
		return
	}
	s.Note("%v: Relay(%v)", st.file, on)
	st.relays = on
	s.d.Relay(&st.sock, on)
}

func (s *session) relisten() {
	switch {
	case s.listening == nil:
		l := &Listening{Acceptor: s, Handle: listeningFD, Shared: new(atomic.Bool)}
		l.Shared.Store(s.Chance(2))
		if err := s.d.Listen(l); err != nil {
			s.Note("Listen: %v", err)
			return
		}
		s.listening = l
	case s.Chance(4) && s.begun:
		s.unlisten()
	default:
		on := s.Chance(3)
		s.Note("Accept(%v)", on)
		s.accept(on)
	}
}

// unlisten ends accepting, for which nothing from outside is needed.
func (s *session) unlisten() {
	s.Note("Unlisten")
	s.kernel.stuck()
	s.d.Unlisten(s.listening)
	if s.kernel.stuck() {
		s.Failf("Unlisten has gone to sleep")
	}
	s.listening = nil
}

// each visits the streams that the engine has not closed.
func (s *session) each(visit func(*testStream)) {
	for _, st := range s.streams {
		if !st.closing {
			visit(st)
		}
	}
}

// all reports whether the condition holds for all of them.
func (s *session) all(holds func(*testStream) bool) bool {
	for _, st := range s.streams {
		if !st.closing && !holds(st) {
			return false
		}
	}
	return true
}

// settle has the loop wait and dispatch until done. There is no event from outside
// that could help: a loop that sleeps meanwhile has lost something.
func (s *session) settle(what string, done func() bool) {
	s.Note("until %s", what)
	for range 5_000 {
		more := s.work()
		if done() {
			return
		}
		if more {
			s.turn(0)
			continue
		}
		s.turn(-1)
		s.Checked(1, "sleeps: something will end them")
		if s.kernel.stuck() { // what Dispatch has done then, it would not have
			break
		}
	}
	s.Failf("it does not come to pass that %s", what)
}

// finish brings everything to its end, and checks that nothing was lost and
// nothing is left.
func (s *session) finish() {
	s.quiet, s.calm, s.noFiles = true, true, false
	s.kernel.stuck()
	s.each((*testStream).give)
	for _, st := range s.streams {
		s.settleConnect(st.file, connected)
	}
	s.turn(0) // a loop waits before it does anything else
	if l := s.listening; l != nil {
		if !l.wanted {
			s.accept(true)
		}
		s.settle("those who wait are accepted", func() bool { return len(s.clients) == 0 && len(l.waiting) == 0 })
		s.unlisten()
	}
	s.settle("all are connected", func() bool { return s.all((*testStream).connected) })
	s.each(func(st *testStream) { s.read(st.file, sendRoom) })
	s.settle("all have sent", func() bool {
		s.each(func(st *testStream) { s.read(st.file, sendRoom) })
		return s.all(func(st *testStream) bool { return st.pending == nil && st.piped == nil })
	})
	s.finishPackets()
	if s.Chance(2) {
		s.pause()
	}
	s.each(func(st *testStream) {
		if !st.wants { // what receives must go on by itself
			st.inHand(func() { st.receive(true) })
		}
	})
	s.settle("everything is received", func() bool { return s.all((*testStream).hasAll) })
	s.kernel.rest(s)
	s.each(func(st *testStream) { st.inHand(st.send) })
	for _, st := range s.streams {
		if !st.closing {
			s.arrive(st.file, s.Choose(discardReads+1)) // at least a byte is read at once
			st.close(s.Chance(2))
		}
	}
	s.eachPackets((*testPackets).end)
	s.settle("everything is closed", func() bool {
		if slices.ContainsFunc(s.packets, func(st *testPackets) bool { return !st.closed }) {
			return false
		}
		return !slices.ContainsFunc(s.streams, func(st *testStream) bool { return !st.closed })
	})
	s.checkEnd()
}

// pause has everybody want nothing for a while. What arrives then stays in the kernel,
// which stops the peer.
func (s *session) pause() {
	s.each(func(st *testStream) { st.inHand(func() { st.receive(false) }) })
	s.kernel.rest(s)
	s.each(func(st *testStream) {
		before := len(st.file.arrived)
		s.arrive(st.file, 1+s.Choose(8))
		st.paused = len(st.file.arrived)
		if st.paused == before || st.wants || st.ended {
			st.paused = 0
		}
	})
	s.kernel.rest(s)
	s.each(func(st *testStream) {
		if n := len(st.file.arrived); n < st.paused {
			st.Failf("%v: %d bytes were taken though nobody wants any", st.file, st.paused-n)
		}
	})
}

// hasAll reports whether the stream has received everything, the end included.
func (st *testStream) hasAll() bool {
	return st.ended || st.next == st.file.sent && !st.file.over()
}

func (s *session) checkEnd() {
	s.Checked(1, "drivers at their end: nothing is left")
	s.Checked(len(s.packets), "sockets for datagrams at their end: none is open")
	s.Checked(len(s.streams), "connections at their end: all has arrived, and none is open")
	if fds := s.stillOpen(); len(fds) > 0 {
		s.Failf("descriptors %v are still open", fds)
	}
	if n := s.d.unreported(); n > 0 {
		s.Failf("%d sockets are gone, and it is not reported", n)
	}
	s.d.Sockets(func(st Stream) { s.Failf("%v is still open in the driver", st.(*testStream).file) })
	s.kernel.check(s)
}

// calmSession returns one in which nothing goes wrong, for a test that makes the steps
// by itself.
func calmSession(begin func(*world) *session) *session {
	s := newSession(schedule.New(0, nil), begin)
	s.quiet, s.calm = true, true
	return s
}

func newSession(r *schedule.Run, begin func(*world) *session) *session {
	w := newWorld(r)
	w.listen()
	return begin(w)
}

// play runs a session: begin makes its driver.
func play(r *schedule.Run, length int, begin func(*world) *session) {
	s := newSession(r, begin)
	s.swarm()
	r.Steps(length, s.act)
	s.finish()
}
