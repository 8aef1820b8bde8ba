package epi

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/schedule"
)

// TestSim_Engine runs whole engines against a kernel, peers and a clock that are made
// of one seed: see docs/simulation.md.
func TestSim_Engine(t *testing.T) {
	schedule.Program{Play: playEngine, Seeds: 8_000}.Test(t)
}

// A simulation is one engine in a world. Its loops are coroutines: one of them goes on
// at a time, until it sleeps or comes to a place where another may go on.
type simulation struct {
	*driver.World
	run      *schedule.Run
	engine   *Engine
	loops    []*simulatedLoop
	current  *simulatedLoop
	handlers []*simulatedHandler // of all connections that there ever were
	clients  []*simulatedClient
	options  simulationOptions
	chaos    bool // anything may go wrong
	last     bool // nothing goes wrong any more, and everything is over soon
}

// simulationOptions differ from seed to seed: what is off altogether lets others show
// what it would hide. A timeout, say, rescues a connection whose wake-up was lost.
type simulationOptions struct {
	steps, clients          int
	pauses                  int // others go on at one place of so many
	resets, stalls, noFiles bool
	timeouts, ends, panics  bool
	others                  bool // other goroutines use the connections
}

// A simulatedClient is the other end of a connection.
type simulatedClient struct {
	*driver.Link
	sent, got int // bytes
	handler   *simulatedHandler
}

type simulatedLoop struct {
	loop   *Loop
	driver *driver.Simulated
	resume func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	done   bool
}

func playEngine(r *schedule.Run) {
	s := &simulation{run: r, chaos: true}
	s.World = &driver.World{Chance: r, Now: int64(time.Second), Point: s.point}
	s.World.Sleep = func(*driver.Simulated) { s.current.yield(struct{}{}) }
	defer s.release()
	s.start()
	r.Steps(s.options.steps, s.step)
	s.calm()
	s.rest()
	s.finish()
	s.end()
	s.check()
}

// release ends the coroutines, also those of a run that has failed in the middle.
func (s *simulation) release() {
	if s.engine != nil {
		s.engine.shared.Close()
		s.engine.cancel()
	}
	for _, l := range s.loops {
		if l.done {
			continue
		}
		func() {
			defer func() { _ = recover() }()
			l.yield = func(struct{}) bool { panic("the simulation is over") }
			l.stop()
		}()
	}
}

func (s *simulation) start() {
	r := s.run
	s.options = simulationOptions{
		steps: 100 + r.Choose(300), clients: 1 + r.Choose(8), pauses: 2 + r.Choose(14),
		resets: r.Choose(2) == 0, stalls: r.Choose(2) == 0, noFiles: r.Choose(3) == 0,
		timeouts: r.Choose(4) == 0, ends: r.Choose(2) == 0, panics: r.Choose(3) == 0, others: r.Choose(2) == 0,
	}
	e := &Engine{
		Loops: 1 + r.Choose(3), Driver: DriverPortable, HighWater: 200 + r.Choose(3000), MaxQueued: 8000,
		ReadBudget: 1 + r.Choose(200), MaxUnread: 4000, AcceptBudget: 1 + r.Choose(3), TaskBudget: 1 + r.Choose(4),
		Linger: 300 * time.Millisecond, DrainTimeout: time.Second, MaxConns: 1 + r.Choose(8), Logger: slog.New(slog.DiscardHandler),
	}
	e.LowWater = r.Choose(e.HighWater)
	if s.options.timeouts {
		e.IdleTimeout, e.WriteTimeout = 2*time.Second, time.Second
	}
	s.engine = e
	cfg, err := e.resolve()
	if err != nil {
		r.Failf("configure: %v", err)
	}
	cfg.Clock = func() int64 { return s.Now }
	cfg.NewDriver = func(c driver.Config) (driver.Driver, error) { return driver.NewSimulated(s.World, c), nil }
	e.once.Do(func() { e.startErr = e.makeLoopsOf(cfg) })
	if _, err := e.Listen("tcp://10.0.0.1:1", s.handler); err != nil {
		r.Failf("listen: %v", err)
	}
	if err := e.advance(running); err != nil {
		r.Failf("start: %v", err)
	}
	for i, l := range e.loops {
		c := &simulatedLoop{loop: l, driver: s.Drivers[i]}
		c.resume, c.stop = iter.Pull(func(yield func(struct{}) bool) {
			c.yield = yield
			if err := l.serve(); err != nil {
				r.Failf("loop %d: %v", l.id, err)
			}
			c.done = true
		})
		s.loops = append(s.loops, c)
	}
}

// point is a place at which other loops and goroutines may go on.
func (s *simulation) point() {
	if s.current == nil {
		return
	}
	if s.Choose(s.options.pauses) == 0 {
		s.current.yield(struct{}{})
	}
	if s.chaos && s.options.others && s.Choose(s.options.pauses) == 0 {
		s.other()
	}
}

// runnable reports whether a loop would go on.
func (s *simulation) runnable(l *simulatedLoop) bool {
	d := l.driver
	return !l.done && (!d.Asleep || d.Woken || d.Until >= 0 && d.Until <= s.Now || d.Possible() > 0)
}

// ready returns the loops that would go on, and when the next of the others does: -1
// is never.
func (s *simulation) ready() (can []*simulatedLoop, next int64) {
	next = -1
	for _, l := range s.loops {
		if s.runnable(l) {
			can = append(can, l)
		} else if until := l.driver.Until; !l.done && until >= 0 && (next < 0 || until < next) {
			next = until
		}
	}
	return can, next
}

func (s *simulation) resume(l *simulatedLoop) {
	s.current = l
	l.resume()
	s.current = nil
}

// step lets one of all that could go on do so.
func (s *simulation) step() {
	can, next := s.ready()
	switch n := s.Choose(10); {
	case n < 3:
		s.peer()
	case n == 3 && s.options.others:
		s.other()
	case n == 4:
		s.Now += int64(s.Choose(3)) * int64(5*time.Millisecond)
	case len(can) > 0:
		s.resume(can[s.Choose(len(can))])
	case next >= 0:
		s.Now = max(s.Now, next)
	}
}

// peer is what a client does, or the network between.
func (s *simulation) peer() {
	if len(s.clients) < s.options.clients && s.Choose(4) == 0 {
		c := &simulatedClient{Link: s.NewLink(len(s.clients))}
		s.clients = append(s.clients, c)
		s.Backlog = append(s.Backlog, c.Link)
		s.run.Note("client %d connects", c.Number)
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
		if s.options.ends && !c.Broken && s.Choose(6) == 0 {
			s.run.Note("client %d ends", c.Number)
			s.Count("FIN")
			c.InEnd = true
		}
	case 3:
		if s.options.resets && !c.Broken && s.Choose(20) == 0 {
			s.run.Note("client %d resets", c.Number)
			s.Count("RST")
			c.Broken, c.Out, c.Arrived = true, nil, nil
		}
		c.Stalled = s.options.stalls && s.Choose(4) == 0
	default:
		s.carry(c)
	}
}

func (s *simulation) send(c *simulatedClient, n int) {
	switch {
	case c.InEnd || c.Broken || c.Refused:
		return
	case c.Closed:
		c.Refused, c.Out = true, nil // it meets a closed socket
		return
	}
	s.run.Note("client %d sends %d bytes", c.Number, n)
	for range n {
		c.In = append(c.In, pattern(c.Number+1, c.sent))
		c.sent++
	}
}

// carry moves bytes to the client's host, and the client reads: all while the world is
// calm, any part of them before.
func (s *simulation) carry(c *simulatedClient) (moved bool) {
	if c.Broken || c.Refused {
		return false
	}
	n := min(driver.SimulatedReceive-len(c.Arrived), len(c.Out))
	if !s.Calm {
		n = s.Choose(n + 1)
	}
	c.Arrived = append(c.Arrived, c.Out[:n]...)
	c.Out = c.Out[n:]
	moved = n > 0
	if len(c.Out) == 0 && c.OutEnd && !c.Acked {
		c.Acked, moved = true, true
	}
	if c.Stalled {
		return moved
	}
	for _, b := range c.Arrived {
		if b != pattern(c.Number, c.got) {
			s.Failf("client %d reads a wrong byte at %d", c.Number, c.got)
		}
		c.got++
		moved = true
	}
	c.Arrived = c.Arrived[:0]
	return moved
}

// pattern returns byte i of what a connection carries one way.
func pattern(id, i int) byte { return byte(i*31 + i>>8*7 + id*13) }

// A simulatedHandler is the handler of one connection, and what must hold of it.
type simulatedHandler struct {
	s      *simulation
	conn   *Conn
	client *simulatedClient

	inside  bool
	opened  bool
	end     bool // OnEOF was called
	closed  int
	cause   error
	greets  bool
	taken   int  // bytes that the handler has consumed
	shown   int  // bytes that it has seen
	written int  // bytes that Write has taken
	paused  bool // on the loop, and not resumed since
	own     bool // this side has ended it, or has let it fail
}

// A simulatedHalf is a handler that has OnEOF.
type simulatedHalf struct{ *simulatedHandler }

func (s *simulation) handler(c *Conn) Handler {
	a := c.host.As4()
	client := s.clients[int(a[2])<<8|int(a[3])]
	h := &simulatedHandler{s: s, conn: c, client: client, greets: s.Choose(2) == 0}
	client.handler = h
	s.handlers = append(s.handlers, h)
	if s.Choose(2) == 0 {
		return simulatedHalf{h}
	}
	return h
}

// enter begins a callback, and returns what ends it.
func (h *simulatedHandler) enter(what string) func() {
	switch {
	case h.inside:
		h.s.Failf("%s inside another callback", what)
	case h.closed > 0:
		h.s.Failf("%s after OnClose", what)
	}
	h.s.run.Note("client %d: %s", h.client.Number, what)
	h.inside = true
	h.s.point()
	return func() { h.inside = false }
}

func (h *simulatedHandler) write(n int) {
	p := make([]byte, n)
	for i := range p {
		p[i] = pattern(h.client.Number, h.written+i)
	}
	var err error
	if h.s.Choose(2) == 0 {
		_, err = h.conn.Write(p)
		clear(p) // it is the caller's again
	} else {
		err = h.conn.Send(p[:n/2], p[n/2:])
	}
	switch {
	case err == nil:
		h.written += n
	case errors.Is(err, ErrQueueFull):
		h.s.Count("queue full")
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
	if h.greets {
		h.write(1 + h.s.Choose(100))
	}
	return nil
}

func (h *simulatedHandler) OnData(c *Conn) error {
	defer h.enter("OnData")()
	unread := c.Unread()
	if h.end || len(unread) == 0 {
		h.s.Failf("OnData after the end, or without bytes")
	}
	if h.paused {
		h.s.Failf("OnData although the handler has paused")
	}
	h.see(unread)
	n := len(unread)
	if h.s.Choose(3) == 0 {
		n = h.s.Choose(n + 1)
	}
	c.Discard(n)
	h.taken += n
	return h.act(n)
}

// see compares what a callback is shown with what was sent.
func (h *simulatedHandler) see(unread []byte) {
	for i, b := range unread {
		if b != pattern(h.client.Number+1, h.taken+i) {
			h.s.Failf("byte %d from client %d is wrong", h.taken+i, h.client.Number)
		}
	}
	h.shown = max(h.shown, h.taken+len(unread))
}

// act is what a handler does with n bytes.
func (h *simulatedHandler) act(n int) error {
	s := h.s
	choice := s.Choose(40)
	if !s.chaos && choice >= 2 && choice <= 5 {
		choice = 39
	}
	switch choice {
	case 0:
		h.own = true
		_ = h.conn.Close()
	case 1:
		_ = h.conn.CloseWrite()
	case 2:
		h.conn.Pause()
		h.paused = h.paused || !h.inside // a callback that is under way may end
		h.paused = true
		_ = h.conn.Loop().After(time.Duration(s.Choose(50))*time.Millisecond, func() { h.paused = false; h.conn.Resume() })
	case 3:
		h.own = true
		s.Count("error")
		return errors.New("an error of the callback")
	case 4:
		if s.options.panics {
			h.own = true
			s.Count("panic")
			panic("a panic of the callback")
		}
	case 5:
		h.own = true
		_ = h.conn.Abort()
	case 6:
		h.write(1 + s.Choose(6000))
	default:
		h.write(1 + s.Choose(2*n+1))
	}
	return nil
}

func (h simulatedHalf) OnEOF(c *Conn) error {
	defer h.enter("OnEOF")()
	if h.end {
		h.s.Failf("OnEOF twice")
	}
	if h.paused {
		h.s.Failf("OnEOF although the connection is paused")
	}
	h.end, h.own = true, true
	h.see(c.Unread())
	if h.shown != h.client.sent {
		h.s.Failf("OnEOF when %d bytes of %d were shown", h.shown, h.client.sent)
	}
	h.taken += c.Discard(len(c.Unread()))
	h.write(1 + h.s.Choose(3000))
	if h.s.Choose(2) == 0 {
		return c.Close()
	}
	return c.CloseWrite()
}

func (h *simulatedHandler) OnDrain(*Conn) { defer h.enter("OnDrain")() }

func (h *simulatedHandler) OnClose(_ *Conn, err error) {
	defer h.enter("OnClose")()
	if h.s.last && !h.own && !h.excused(err) {
		h.s.Failf("client %d ends with %v, though nothing goes wrong any more", h.client.Number, err)
	}
	h.cause = err
	h.closed++
}

// excused reports whether a connection may end so when this side has done nothing to it.
func (h *simulatedHandler) excused(err error) bool {
	l := h.client
	return err == nil || err == io.EOF || l.Broken || l.Refused || errors.Is(err, ErrUnreadFull) ||
		h.s.options.timeouts && (errors.Is(err, ErrWriteStalled) || errors.Is(err, ErrIdle)) ||
		h.s.options.stalls && errors.Is(err, ErrLinger)
}

// other is what another goroutine does to a connection.
func (s *simulation) other() {
	if len(s.handlers) == 0 {
		return
	}
	h := s.handlers[s.Choose(len(s.handlers))]
	switch s.Choose(12) {
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
		h.conn.Pause()
		_ = h.conn.Loop().After(time.Duration(s.Choose(30))*time.Millisecond, func() { h.paused = false; h.conn.Resume() })
	case 3:
		h.paused = false
		h.conn.Resume()
	case 4:
		if s.Choose(4) == 0 {
			_ = h.conn.CloseWrite()
		}
	case 5:
		_ = h.conn.Loop().Do(s.point)
	default:
		h.write(1 + s.Choose(400))
	}
}

// calm ends the first phase: from now on nothing goes wrong.
func (s *simulation) calm() {
	s.run.Note("calm")
	s.chaos, s.Calm, s.NoFiles = false, true, false
	for _, c := range s.clients {
		c.Stalled = false
	}
	for _, h := range s.handlers {
		if h.conn.state.Load()&paused != 0 { // others get no turn that could stand in for one that was lost
			h.paused = false
			h.conn.Resume()
		}
	}
}

// atMost bounds the steps of each part of the second phase.
const atMost = 60_000

// rest lets everything go on that is under way, and nothing new happen: then all loops
// must fall asleep, what was accepted has arrived, and what was sent was shown. Timers
// are let pass, but with timeouts, which would end what is quiet.
func (s *simulation) rest() {
	for range atMost {
		can, next := s.ready()
		switch {
		case len(can) > 0:
			s.resume(can[s.Choose(len(can))])
		case s.carryAll():
		case next >= 0 && (!s.options.timeouts || next <= s.Now):
			s.Now = max(s.Now, next)
		default:
			s.checkRest()
			return
		}
	}
	s.Failf("the engine does not come to rest: %s", s.describe())
}

func (s *simulation) carryAll() (moved bool) {
	for _, c := range s.clients {
		moved = s.carry(c) || moved
	}
	return moved
}

func (s *simulation) checkRest() {
	for _, h := range s.handlers {
		c := h.client
		if h.closed > 0 || c.Broken || c.Refused || h.conn.state.Load()&ending != 0 {
			continue
		}
		if c.got != h.written {
			s.Failf("at rest client %d has read %d bytes of %d that were accepted: %s", c.Number, c.got, h.written, s.describe())
		}
		if h.opened && h.shown != c.sent {
			s.Failf("at rest %d bytes of client %d were shown of %d that it sent: %s", h.shown, c.Number, c.sent, s.describe())
		}
	}
	if len(s.Backlog) > 0 && !s.options.timeouts && s.engine.conns.Load() < int64(s.engine.cfg.maxConns) {
		s.Failf("at rest %d clients wait though there is room: %s", len(s.Backlog), s.describe())
	}
}

// finish lets the clients of every second run end, and waits for all connections.
func (s *simulation) finish() {
	if s.run.Choose(2) == 0 {
		return
	}
	began := s.Now
	for _, c := range s.clients {
		if !c.Broken {
			c.InEnd = true
		}
	}
	for range atMost {
		s.last = s.Now-began > int64(200*time.Millisecond)
		if !s.goOn() {
			break
		}
	}
	s.last = false
	for _, h := range s.handlers {
		if h.closed == 0 && h.client.InEnd && h.conn.state.Load()&closeWrite == 0 {
			s.Failf("client %d has ended, and its connection has not: %s", h.client.Number, s.describe())
		}
	}
}

// goOn lets one loop or the network go on, or time pass, and reports whether anything
// can.
func (s *simulation) goOn() bool {
	can, next := s.ready()
	switch {
	case len(can) > 0:
		s.resume(can[s.Choose(len(can))])
	case s.carryAll():
	case next >= 0:
		s.Now = max(s.Now, next)
	default:
		return false
	}
	return true
}

// end shuts the engine down, as Run does when its context ends.
func (s *simulation) end() {
	e := s.engine
	e.stopping.Store(true)
	e.mu.Lock()
	e.phase = over
	listeners := append([]*Listener(nil), e.listeners...)
	e.mu.Unlock()
	for _, ln := range listeners {
		_ = ln.Close()
	}
	e.tell((*Loop).drain)
	began := s.Now
	for range 2 * atMost {
		if s.over() {
			s.carryAll()
			return
		}
		if !s.goOn() {
			s.Failf("all loops sleep for ever: %s", s.describe())
		}
		if s.Now-began > int64(e.cfg.drainTimeout) {
			s.Failf("the engine does not drain: %s", s.describe())
		}
	}
	s.Failf("the engine does not end: %s", s.describe())
}

func (s *simulation) over() bool {
	for _, l := range s.loops {
		if !l.done {
			return false
		}
	}
	return true
}

// check looks at what is left at the end: nothing.
func (s *simulation) check() {
	for range 8 { // what is under way arrives
		s.carryAll()
	}
	for _, h := range s.handlers {
		s.checkHandler(h)
	}
	for i, l := range s.engine.loops {
		if n := l.live.Load(); n != 0 {
			s.Failf("loop %d counts %d connections at the end", i, n)
		}
		if n := l.drv.Counters().Stale.Load(); n != 0 {
			s.Failf("%d stale events", n)
		}
		l.wheel.Advance(s.Now + int64(time.Hour))
		for t := l.wheel.Expire(); t != nil; t = l.wheel.Expire() {
			if c, ok := t.Owner.(*Conn); ok {
				s.Failf("a timer of connection %v is left, in state %b", c.RemoteAddr(), c.state.Load())
			}
		}
	}
	if n := s.engine.conns.Load(); n != 0 {
		s.Failf("the engine counts %d connections at the end", n)
	}
	if n := s.Open(); n != 0 {
		s.Failf("%d handles are open at the end", n)
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
	case c.got > h.written:
		s.Failf("client %d has read more than was accepted", c.Number)
	case orderly && !c.Broken && !c.Refused && c.got != h.written:
		s.Failf("client %d ends with %v, and has read %d bytes of %d that were accepted", c.Number, h.cause, c.got, h.written)
	case !h.own && h.opened && (h.cause == io.EOF || c.Broken && isReset(h.cause)) && h.shown != c.sent:
		s.Failf("client %d ends with %v, and of %d bytes that it sent %d were shown", c.Number, h.cause, c.sent, h.shown)
	}
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ENOTCONN)
}

func (s *simulation) describe() string {
	text := fmt.Sprintf("now %v", time.Duration(s.Now))
	for i, l := range s.loops {
		text += fmt.Sprintf("; loop %d done %v asleep %v until %v live %d work %b", i, l.done, l.driver.Asleep, time.Duration(l.driver.Until), l.loop.live.Load(), l.loop.work.Load())
	}
	for _, h := range s.handlers {
		if h.closed == 0 {
			text += fmt.Sprintf("; client %d state %b todo %b queued %d", h.client.Number, h.conn.state.Load(), h.conn.todo, h.conn.queued)
		}
	}
	return text
}
