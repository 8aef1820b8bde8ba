package epi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/schedule"
	"github.com/epinet/epi/internal/seam"
	sim "github.com/epinet/epi/internal/simulation"
)

// TestSim_Engine runs whole engines against a kernel, peers and a clock that are made
// of one seed: see docs/simulation.md.
func TestSim_Engine(t *testing.T) {
	schedule.Program{Play: playEngine, Seeds: 2_500, Found: []uint64{
		31010282, 32178855, 32555372, // one end of a Pipe closes while the other waits for room in it, and is reset
		31605485,  // what Group.Each calls ends its goroutine: the member is closed, and shown nothing more
		214,       // Resume in the OnData that the end brings, of less than was expected: the end came before the rest
		101852255, // a callback ends its goroutine: what opens meanwhile gets OnOpen first
		30196070,  // a dial is given up when the other end has accepted it: that sees the end
	}}.Test(t)
}

// What a seed does depends on nothing that machines differ in.
func TestSim_SeedsMeanTheSameEverywhere(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for seed := range uint64(30) {
		var hashes []uint64
		for _, processors := range []int{1, 4} {
			runtime.GOMAXPROCS(processors)
			r := schedule.New(seed, nil)
			playEngine(r)
			hashes = append(hashes, r.Hash())
		}
		if hashes[0] != hashes[1] {
			t.Errorf("seed %d: %x with one processor, %x with four", seed, hashes[0], hashes[1])
		}
	}
}

// A simulation is one engine in a world.
type simulation struct {
	*sim.World
	run      *schedule.Run
	engine   *Engine
	stop     context.CancelFunc // ends Run
	returned bool               // Run has
	result   error
	handlers []*simulatedHandler // of all connections that there ever were
	clients  []*simulatedClient
	dials    map[*Conn]*simulatedHandler
	dialled  []*simulatedHandler
	waiting  *simulatedHandler // for another, to be piped to
	groups   *simulatedGroups  // nil without a group
	tap      *Tap
	noted    uint64
	second   *Listener
	packets  *simulatedPackets // nil without datagrams
	options  simulationOptions
	chaos    bool // anything may go wrong
	last     bool // nothing goes wrong any more, and everything is over soon
}

// simulationOptions differ from seed to seed: what is off altogether lets others show
// what it would hide. A timeout, say, rescues a connection whose wake-up was lost.
type simulationOptions struct {
	steps, clients          int
	resets, stalls, noFiles bool
	timeouts, ends, panics  bool
	exits                   bool // callbacks end their goroutines
	others                  bool // other goroutines use the connections
	tls, proxy, dials       bool
	detaches, direct        bool
	memory                  bool // MaxMemory is small
	pipes                   bool // connections are given to Pipe, two by two
	datagrams               bool
	unix                    bool // streams are Unix sockets
	groups                  bool // connections get the messages of a group alone
	stubborn                bool // some refuse to end with the engine
}

func (s *simulation) chooseOptions() {
	once := func(n int) bool { return s.Choose(n) == 0 }
	o := simulationOptions{
		steps: 100 + s.Choose(300), clients: 1 + s.Choose(8),
		resets: once(2), stalls: once(2), noFiles: once(3),
		timeouts: once(4), ends: once(2), panics: once(3), exits: once(6), others: once(2),
		detaches: once(6), direct: once(4), memory: once(16), datagrams: once(6),
	}
	switch s.Choose(24) {
	case 0: // seldom, since TLS takes longer than all the rest
		o.tls, o.clients = true, min(o.clients, 4)
	case 1, 2:
		o.proxy = true
	case 3, 4, 5, 6:
		o.dials, o.tls = true, once(10)
	case 7, 8:
		o.pipes = true
	case 9, 10:
		o.groups, o.detaches = true, false
	}
	o.stubborn = once(12)
	o.unix = !o.tls && !o.proxy && once(8)
	s.options = o
	s.Pauses = 2 + s.Choose(14)
}

func playEngine(r *schedule.Run) {
	s := &simulation{World: sim.New(r), run: r, chaos: true, dials: map[*Conn]*simulatedHandler{}}
	defer s.Release()
	s.chooseOptions()
	s.start()
	r.Steps(s.options.steps, s.step)
	s.calm()
	s.rest()
	s.linger()
	s.finish()
	s.end()
	s.check()
}

// newEngine returns one whose bounds are chosen by chance, and small.
func (s *simulation) newEngine() *Engine {
	e := &Engine{
		Loops: 1 + s.Choose(3), Driver: DriverPortable, HighWater: 200 + s.Choose(3000), MaxQueued: 8000,
		ReadBudget: 1 + s.Choose(200), MaxUnread: 4000, AcceptBudget: 1 + s.Choose(3), TaskBudget: 1 + s.Choose(4),
		Linger: 300 * time.Millisecond, DrainTimeout: time.Second, MaxConns: 1 + s.Choose(8), Logger: s.logger(),
		MaxEvents: 1 + s.Choose(16), PacketBatch: 1 + s.Choose(8), PacketQueue: 2000 + s.Choose(4000), MaxDatagram: 400,
	}
	e.LowWater = s.Choose(e.HighWater)
	if e.ReadBudget <= 40 {
		e.MaxUnread = 10 + e.ReadBudget // which handlers that leave bytes unread reach
	}
	if s.Choose(4) == 0 && !s.options.direct {
		e.Workers = 1 + s.Choose(3)
	}
	if s.options.timeouts {
		e.IdleTimeout, e.WriteTimeout = 2*time.Second, time.Second
		if s.Choose(2) == 0 {
			e.ReadTimeout, e.MessageTimeout = 3*time.Second, 1500*time.Millisecond
		}
	}
	if s.options.memory {
		e.MaxMemory = 500 + s.Choose(6000)
	}
	if s.options.tls {
		e.TLS, e.MaxHandshakes = simulatedTLS(s), 1+s.Choose(3)
		e.HandshakeTimeout = 5 * time.Second
		if s.Choose(4) == 0 {
			e.MaxHandshakesPerIP = 1
		}
	}
	if s.options.dials {
		e.MaxConns *= 2
	}
	e.CloseOnFull = s.Choose(6) == 0 && !s.options.groups
	e.ReusePort = s.Choose(8) == 0 && !s.options.datagrams
	if s.Choose(8) == 0 {
		e.MaxConnsPerIP = 1 + s.Choose(3)
	}
	return e
}

// simulatedKnobs are bounds so small that all of them are reached.
func (s *simulation) simulatedKnobs() knobs {
	k := defaultKnobs()
	k.slots = slotsPerCPU // as many on every machine
	k.workerRead = 1      // reads are the world's
	if s.Choose(2) == 0 {
		return k
	}
	few := func() int { return 1 + s.Choose(600) }
	k.sendBudget, k.maxSend, k.maxVector, k.sealBudget = few(), few(), 1+s.Choose(4), few()
	k.leastDirect, k.maxHandshakeInput, k.slots, k.visitBudget = few(), few(), 1+s.Choose(2), 1+s.Choose(3)
	k.beginSplicing, k.pipeSize = 1+s.Choose(60), 1
	k.keepSplicing = 1 + s.Choose(k.beginSplicing)
	k.imbalance = int64(k.maxVector - 1)
	return k
}

func (s *simulation) start() {
	e := s.newEngine()
	s.engine = e
	s.World.World.Dialled, s.World.World.Unix = s.answer, s.options.unix
	s.Names, s.Network = s.lookUp, s.carryAll
	seam.Give(e, s.Seams())
	if err := e.start(); err != nil {
		s.Failf("start: %v", err)
	}
	e.cfg.knobs = s.simulatedKnobs()
	e.handshakes.init(e.cfg)
	for i, l := range e.loops {
		l.scratch.vec = make([][]byte, 0, e.cfg.maxVector)
		if s.options.direct {
			l.direct = s.Drivers[i]
		}
	}
	o := ListenOptions{}
	if s.Choose(4) == 0 {
		o.HighWater = e.HighWater / 2
	}
	if _, err := s.listen("10.0.0.1:1", o); err != nil {
		s.Failf("listen: %v", err)
	}
	if s.options.datagrams {
		s.startPackets()
	}
	if s.options.groups {
		s.groups = &simulatedGroups{s: s}
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	s.Spawn(func() { s.result = e.Run(ctx); s.returned = true })
	if s.options.others {
		s.Between = s.other
	}
}

// listen has the engine accept clients, which are all of one kind.
func (s *simulation) listen(at string, o ListenOptions) (*Listener, error) {
	scheme := "tcp://"
	switch {
	case s.options.tls:
		scheme = "tls://"
	case s.options.unix:
		scheme, at = "unix://", "@"+at
	}
	if s.options.proxy {
		o.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}
	}
	return s.engine.ListenWith(scheme+at, o, s.handler)
}

// step lets one of all that could go on do so.
func (s *simulation) step() {
	can, next := s.Ready()
	switch n := s.Choose(10); {
	case n < 3:
		s.peer()
	case n == 3 && s.options.others:
		s.other()
	case n == 4:
		s.Now += int64(s.Choose(3)) * int64(5*time.Millisecond)
	case n == 5 && s.packets != nil:
		s.packets.peer()
	case len(can) > 0:
		s.Resume(can[s.Choose(len(can))])
	case next >= 0:
		s.Now = max(s.Now, next)
	}
}

// other is what another goroutine does.
func (s *simulation) other() {
	if s.options.dials && s.Choose(6) == 0 {
		s.dial()
		return
	}
	if s.packets != nil && s.Choose(8) == 0 {
		s.packets.other()
		return
	}
	if s.Choose(40) == 0 {
		s.refuse()
		return
	}
	if len(s.handlers) == 0 {
		return
	}
	h := s.handlers[s.Choose(len(s.handlers))]
	switch s.Choose(20) {
	case 0:
		if s.Choose(4) == 0 {
			h.own = true
			_ = h.conn.Close()
		}
	case 1:
		if s.Choose(8) == 0 {
			h.own = true
			_ = h.conn.Abort()
		}
	case 2:
		if s.options.pipes {
			return // Pipe pauses by itself
		}
		h.conn.Pause()
		_ = h.conn.Loop().After(time.Duration(s.Choose(30))*time.Millisecond, h.resume)
	case 3:
		h.resume()
		h.pauseOnLoop()
	case 4:
		if s.Choose(4) == 0 && !s.options.pipes {
			_ = h.conn.CloseWrite()
		}
	case 5:
		h.task()
	case 6:
		h.setTimeouts()
	case 7:
		s.ask(h)
	case 8:
		s.useTap()
	case 9:
		s.useTimers(h.conn.Loop())
	case 10:
		if s.Choose(4) == 0 {
			s.useListeners()
		}
	case 11, 12:
		if s.groups != nil {
			s.groups.use(h)
		}
	default:
		h.write(1 + s.Choose(400))
	}
}

// ask calls what changes nothing.
func (s *simulation) ask(h *simulatedHandler) {
	c := h.conn
	if local, remote := c.LocalAddr(), c.RemoteAddr(); s.options.unix != (remote.Network() == "unix") {
		s.Failf("a connection goes from %v to %v", local, remote)
	}
	if c.Queued() < 0 {
		s.Failf("%d bytes are queued", c.Queued())
	}
	_ = c.Info()
	_, _ = c.Delivered()
	_, _ = c.PeerCredentials()
	_ = c.Loop().Watched()
	st := s.engine.Stats()
	if st.Conns < 0 || st.Held < 0 {
		s.Failf("%d connections, %d bytes held", st.Conns, st.Held)
	}
}

// calm ends the first phase: from now on nothing goes wrong.
func (s *simulation) calm() {
	s.run.Note("calm")
	s.chaos, s.Calm, s.NoFiles, s.Between = false, true, false, nil
	for _, c := range s.clients {
		c.Stalled = false
	}
	for _, h := range s.handlers {
		if h.conn.state.Load()&paused != 0 && !h.piped { // others get no turn that could stand in for one that was lost
			h.resume()
		}
	}
}

const (
	// atMost bounds the steps of each part of the second phase.
	atMost = 60_000
	// longest bounds the time of its last part, where handlers that have paused for
	// good may keep a connection: more than any timeout.
	longest = 2 * time.Minute
)

// rest lets everything go on that is under way, and nothing new happen: then all loops
// must fall asleep, what was accepted has arrived, and what was sent was shown. Timers
// are let pass, but with timeouts, which would end what is quiet.
func (s *simulation) rest() {
	for range atMost {
		can, next := s.Ready()
		switch {
		case len(can) > 0:
			s.Resume(can[s.Choose(len(can))])
		case s.carryAll():
		case next >= 0 && (!s.isTimed() || next <= s.Now):
			s.Now = max(s.Now, next)
		default:
			s.checkRest()
			return
		}
	}
	s.Failf("the engine does not come to rest: %s", s.describe())
}

// isTimed reports whether time that passes would end what is quiet.
func (s *simulation) isTimed() bool { return s.options.timeouts || s.options.tls || s.hasTimed() }

// hasTimed reports whether some connection has a timeout of its own.
func (s *simulation) hasTimed() bool {
	for _, h := range s.handlers {
		if h.timed && h.closed == 0 {
			return true
		}
	}
	return false
}

func (s *simulation) carryAll() (moved bool) {
	for _, c := range s.clients {
		moved = s.carry(c) || moved
	}
	return moved || s.packets != nil && s.packets.takeAll()
}

func (s *simulation) checkRest() {
	s.run.Note("at rest: %s", s.describe())
	s.run.Checked(len(s.handlers), "connections at rest: all has arrived")
	s.run.Checked(len(s.engine.loops), "loops at rest: no work is left")
	for _, h := range s.handlers {
		if h.link().Broken && h.closed == 0 && h.opened && !h.asleep && !h.detached && h.conn.state.Load()&(ending|readEnded) == 0 {
			s.Failf("at rest client %d is reset, and nobody has noticed: %s", h.client.Number, s.describe())
		}
		if h.closed > 0 || h.client.excused() || h.conn.state.Load()&ending != 0 || !h.opened {
			continue
		}
		if got := h.client.gotOf(h); got != h.written && !h.peerEnds() && !h.piped && s.groups == nil {
			s.Failf("at rest client %d has read %d bytes of %d that were accepted: %s", h.client.Number, got, h.written, s.describe())
		}
		if sent := h.client.sentTo(h); h.shown != sent && !h.piped && !h.asleep && sent-h.taken >= h.expects {
			s.Failf("at rest %d bytes of client %d were shown of %d that it sent: %s", h.shown, h.client.Number, sent, s.describe())
		}
		if st := h.conn.state.Load(); st&readEnded != 0 && st&writeEnded != 0 && h.conn.endCause == nil {
			s.Failf("at rest both halves of client %d have ended, and it is open: %s", h.client.Number, s.describe())
		}
		if h.asleep && !h.piped && h.conn.receiving {
			s.Failf("at rest client %d is read, though its handler has paused: %s", h.client.Number, s.describe())
		}
		if h.owesDrain {
			s.Failf("at rest the queue of client %d is empty, and OnDrain was not called: %s", h.client.Number, s.describe())
		}
	}
	s.checkPipes()
	s.checkHandshakes()
	if s.groups != nil {
		s.groups.checkRest()
	}
	if s.packets != nil {
		s.packets.checkRest()
	}
	if n := s.waitingClients(); n > 0 && !s.isTimed() && s.engine.admission.conns.Load() < int64(s.engine.cfg.maxConns) {
		s.Failf("at rest %d clients wait though there is room: %s", n, s.describe())
	}
	for i, l := range s.engine.loops {
		if l.work.Load() != 0 {
			s.Failf("at rest loop %d has work, %b: %s", i, l.work.Load(), s.describe())
		}
	}
}

// checkHandshakes is checkRest for handshakes, where none can be in another's place for
// ever.
func (s *simulation) checkHandshakes() {
	for _, c := range s.clients {
		if s.options.dials || c.spoilt || c.Broken || c.Refused {
			return
		}
	}
	for _, c := range s.clients {
		if c.secure != nil && !c.up && !c.failed && !c.InEnd && !c.Closed && s.Accepted(c.Link) {
			s.Failf("at rest the handshake of client %d is not over: %s", c.Number, s.describe())
		}
	}
}

// waitingClients counts those in the backlog that are there.
func (s *simulation) waitingClients() (n int) {
	for _, l := range s.Backlog {
		if !l.Broken {
			n++
		}
	}
	return n
}

// linger closes a connection whose peer takes nothing any more: it ends when Linger is
// over, or a little later, for the peer is asked now and then.
func (s *simulation) linger() {
	if !s.options.stalls || s.options.dials || s.options.pipes || s.options.tls || s.groups != nil || s.run.Choose(4) > 0 {
		return
	}
	for _, h := range s.handlers {
		if !h.opened || h.closed > 0 || h.detached || h.timed || h.client.excused() || h.conn.state.Load()&(ending|closeWrite) != 0 {
			continue
		}
		h.client.Stalled, h.own = true, true
		h.write(7000)
		_ = h.conn.Close()
		s.Count("closed with a peer that takes nothing")
		began := s.Now
		for h.closed == 0 {
			if s.Now-began > int64(time.Second) {
				s.Failf("client %d takes nothing, and is not given up: %s", h.client.Number, s.describe())
			}
			if !s.Turn() {
				s.Now += int64(50 * time.Millisecond)
			}
		}
		if early := int64(s.engine.Linger) / 2; s.Now-began < early && errors.Is(h.cause, ErrLinger) {
			s.Failf("client %d is given up after %v", h.client.Number, time.Duration(s.Now-began))
		}
		h.client.Stalled = false
		return
	}
}

// finish lets the clients of every second run end, and waits for all connections.
func (s *simulation) finish() {
	if s.run.Choose(2) == 0 {
		return
	}
	began := s.Now
	for _, c := range s.clients {
		c.end()
	}
	for range atMost {
		s.last = s.Now-began > int64(200*time.Millisecond)
		if s.Now-began > int64(longest) || !s.Turn() {
			break
		}
	}
	s.last = false
	for _, h := range s.handlers {
		if h.closed == 0 && h.client.InEnd && h.client.Twin == nil && !h.piped && !h.asleep && h.conn.state.Load()&closeWrite == 0 {
			s.Failf("client %d has ended, and its connection has not: %s", h.client.Number, s.describe())
		}
	}
}

// end has the engine shut down.
func (s *simulation) end() {
	for _, h := range s.handlers {
		if h.detached {
			h.client.InEnd = true // who has it now ends with its peer
		}
	}
	if s.run.Choose(2) == 0 {
		for range 1 + s.run.Choose(4) { // some come when it begins
			s.connect()
		}
	}
	s.stop()
	began := s.Now
	for range 2 * atMost {
		if s.returned {
			s.settle()
			return
		}
		if !s.Turn() {
			s.Failf("all loops sleep for ever: %s", s.describe())
		}
		if s.Now-began > int64(s.engine.cfg.drainTimeout+3*time.Second) {
			s.Failf("the engine does not drain: %s", s.describe())
		}
	}
	s.Failf("the engine does not end: %s", s.describe())
}

// settle lets go on what outlives Run.
func (s *simulation) settle() {
	for range atMost {
		can, _ := s.Ready()
		if len(can) == 0 && !s.carryAll() {
			return
		}
		if len(can) > 0 {
			s.Resume(can[0])
		}
	}
}

// check looks at what is left at the end: nothing.
func (s *simulation) check() {
	drained := s.result == nil
	if !drained && !errors.Is(s.result, ErrDrainTimeout) {
		s.Failf("Run returns %v", s.result)
	}
	if !drained && !s.options.stalls && !s.options.timeouts && !s.options.stubborn {
		s.Failf("Run returns %v, though nobody was slow", s.result)
	}
	for _, h := range s.handlers {
		s.checkHandler(h)
	}
	for _, d := range s.dialled {
		if d.closed != 1 {
			s.Failf("OnClose of a connection that was dialled was called %d times", d.closed)
		}
	}
	for i, l := range s.engine.loops {
		s.checkLoop(i, l)
		if !s.Drivers[i].Released() {
			s.Failf("the driver of loop %d is left at the end", i)
		}
	}
	if n := s.engine.admission.conns.Load(); n != 0 {
		s.Failf("the engine counts %d connections at the end", n)
	}
	if n := s.Open(); n != 0 {
		s.Failf("%d handles are open at the end", n)
	}
	if n := s.Pipes(); n != 0 {
		s.Failf("%d pipes are open at the end", n)
	}
	if s.packets != nil {
		s.packets.check()
	}
	s.run.Checked(len(s.handlers), "connections at their end: one OnClose, nothing lost")
	s.run.Checked(len(s.engine.loops), "loops at their end: no place, timer or byte is left")
	s.checkStats()
}

func (s *simulation) checkLoop(i int, l *Loop) {
	if n := l.live.Load(); n != 0 {
		s.Failf("loop %d counts %d connections at the end", i, n)
	}
	if n := l.count.held.Load(); n != 0 {
		s.Failf("loop %d counts %d held bytes at the end", i, n)
	}
	if l.deadlines != 0 {
		s.Failf("loop %d counts %d deadlines at the end", i, l.deadlines)
	}
	if n := l.drv.Counters().Stale.Load(); n != 0 {
		s.Failf("%d stale events", n)
	}
	if len(l.memberships) != 0 || len(l.passings) != 0 || len(l.packetConns) != 0 {
		s.Failf("loop %d remembers %d memberships, %d pipes, %d packet sockets at the end", i, len(l.memberships), len(l.passings), len(l.packetConns))
	}
	l.wheel.Advance(s.Now + int64(time.Hour))
	for t := l.wheel.Expire(); t != nil; t = l.wheel.Expire() {
		if c, ok := t.Owner.(*Conn); ok {
			s.Failf("a timer of connection %v is left, in state %b", c.host, c.state.Load())
		}
	}
}

// checkStats compares the counters with each other.
func (s *simulation) checkStats() {
	st := s.engine.Stats()
	var closed uint64
	for _, n := range st.Causes {
		closed += n
	}
	if st.Closed != closed {
		s.Failf("%d connections were closed, by cause %d", st.Closed, closed)
	}
	if st.Conns != 0 || st.Held != 0 {
		s.Failf("at the end there are %d connections, %d bytes held", st.Conns, st.Held)
	}
	if st.Accepted > st.Closed+st.Shed || st.Closed > st.Accepted+uint64(len(s.dials)) {
		s.Failf("%d connections were accepted, %d dialled, and %d closed", st.Accepted, len(s.dials), st.Closed)
	}
}

func (s *simulation) checkHandler(h *simulatedHandler) {
	c := h.client
	orderly := h.cause == nil || h.cause == io.EOF
	switch {
	case h.closed != 1:
		s.Failf("OnClose of client %d was called %d times", c.Number, h.closed)
	case h.cause == nil && !h.own:
		s.Failf("client %d ends without a cause, and nobody has closed it", c.Number)
	case c.gotOf(h) > h.written && !h.piped && s.groups == nil:
		s.Failf("client %d has read more than was accepted", c.Number)
	case h.link().Early && (orderly || errors.Is(h.cause, ErrShutdown)):
		s.Failf("client %d ends with %v, and its socket is closed before it has everything", c.Number, h.cause)
	case c.truncated && (orderly || errors.Is(h.cause, ErrShutdown)) && !c.spoilt && !c.Broken && !c.Refused && !h.detached:
		s.Failf("client %d ends with %v, and was sent no close_notify", c.Number, h.cause)
	case orderly && !c.excused() && !h.peerEnds() && c.gotOf(h) != h.written && !h.piped && s.groups == nil:
		s.Failf("client %d ends with %v, and has read %d bytes of %d that were accepted", c.Number, h.cause, c.gotOf(h), h.written)
	case !h.own && !h.overfull() && h.opened && !c.spoilt && !h.piped && h.peerIsDone() && (h.cause == io.EOF || c.Broken && c.Twin == nil && isReset(h.cause) && !s.options.memory) && h.shown != c.sentTo(h):
		s.Failf("client %d ends with %v, and of %d bytes that it sent %d were shown", c.Number, h.cause, c.sentTo(h), h.shown)
	}
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ENOTCONN)
}

func (s *simulation) describe() string {
	text := fmt.Sprintf("now %v", time.Duration(s.Now))
	for i, l := range s.engine.loops {
		text += fmt.Sprintf("; loop %d asleep %v live %d work %b", i, s.Drivers[i].Asleep, l.live.Load(), l.work.Load())
	}
	for _, h := range s.handlers {
		if h.closed == 0 {
			c := h.conn
			text += fmt.Sprintf("; client %d state %b todo %b queued %d receiving %v pending %v expects %d", h.client.Number, c.state.Load(), c.todo, c.queued, c.receiving, c.pending, h.expects)
		}
	}
	return text
}

// dial has the engine connect to itself, or to nobody.
func (s *simulation) dial() {
	to := "tcp://" + []string{"10.0.0.1", "one.example", "many.example", "none.example"}[s.Choose(4)] + ":1"
	switch {
	case s.options.tls:
		to = "tls" + to[len("tcp"):]
	case s.options.unix:
		to = "unix://@10.0.0.1:1"
	}
	h := &simulatedHandler{s: s, dials: true, greets: s.Choose(2) == 0}
	o := DialOptions{}
	if s.options.tls {
		o.TLS = simulatedClientTLS(s)
	}
	if s.Choose(3) == 0 {
		o.Timeout = time.Duration(1+s.Choose(400)) * time.Millisecond
	}
	ctx, cancel := context.WithCancel(context.Background())
	if s.Choose(4) == 0 {
		s.Spawn(func() { s.Sleep(time.Duration(s.Choose(400)) * time.Millisecond); cancel() })
	}
	h.cancel = cancel
	var handler Handler = h
	if s.Choose(2) == 0 {
		handler = simulatedHalf{h}
	}
	c, err := s.engine.DialWith(ctx, to, o, handler)
	if err != nil {
		cancel()
		if !errors.Is(err, ErrTooManyConns) && !errors.Is(err, ErrShutdown) {
			s.Failf("dial: %v", err)
		}
		return
	}
	s.Count("dial")
	h.conn, h.number = c, math.MaxInt16-len(s.dials)
	s.dials[c] = h
	s.dialled = append(s.dialled, h)
}

// answer decides how an attempt to connect ends.
func (s *simulation) answer(stream driver.Stream, l *driver.Link, _ net.Addr) driver.Answer {
	d := s.dials[connOf(stream)]
	delay := time.Duration(s.Choose(5)) * 90 * time.Millisecond
	n := s.Choose(12)
	if s.Calm {
		n = 11
	}
	switch n {
	case 0:
		return driver.Answer{Fails: syscall.ENETUNREACH}
	case 1:
		return driver.Answer{Fails: driver.ErrBusy}
	case 2, 3:
		return driver.Answer{Error: syscall.ECONNREFUSED, Delay: delay}
	case 4:
		return driver.Answer{}
	}
	c := &simulatedClient{s: s, Link: s.NewLink(len(s.clients)), dialler: d}
	s.clients = append(s.clients, c)
	return driver.Answer{Peer: c.Link, Delay: delay}
}

func (s *simulation) lookUp(name string) (all []net.Addr, err error) {
	n := map[string]int{"one.example": 1, "many.example": 2 + s.Choose(3)}[name]
	for i := range n {
		ip := net.IPv4(10, 0, 1, byte(i))
		if s.Choose(2) == 0 {
			ip = net.ParseIP("fd00::1")
		}
		all = append(all, &net.TCPAddr{IP: ip, Port: 1})
	}
	if n == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name}
	}
	return all, nil
}

var errSimulated = errors.New("an error of the callback")
