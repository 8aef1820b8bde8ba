package ws

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/schedule"
	"github.com/epinet/epi/internal/seam"
	sim "github.com/epinet/epi/internal/simulation"
)

// TestSim_WebSocket runs a server and its clients, on one engine, in a world that is
// made of one seed: see docs/simulation.md.
func TestSim_WebSocket(t *testing.T) {
	schedule.Program{Play: playWebSocket, Seeds: 400}.Test(t)
}

// A simulation is one engine with both ends of all connections.
type simulation struct {
	*sim.World
	engine   *epi.Engine
	server   *Server
	options  Options
	links    []*driver.Link // of the clients
	clients  []*simulatedClient
	servers  []*simulatedServer
	chaos    bool
	began    int64 // when all clients began to close
	deaf     bool  // a server has stopped reading, for good
	returned bool
	result   error
}

func playWebSocket(r *schedule.Run) {
	s := &simulation{World: sim.New(r), chaos: true}
	s.Network = s.carry
	defer s.Release()
	stop := s.start()
	r.Steps(60+s.Choose(150), s.step)
	s.chaos, s.Calm = false, true
	for _, c := range s.clients {
		c.conn.Resume()
	}
	s.rest()
	s.closeAll()
	s.rest()
	s.checkClosed()
	stop()
	s.until(func() bool { return s.returned })
	s.check()
}

func (s *simulation) start() (stop func()) {
	e := &epi.Engine{
		Loops: 1 + s.Choose(3), Driver: epi.DriverPortable, Logger: slog.New(slog.DiscardHandler),
		ReadBudget: 1 + s.Choose(300), HighWater: 100 + s.Choose(2000), MaxQueued: 20_000,
		Linger: 300 * time.Millisecond, DrainTimeout: 8 * time.Second, MaxConns: 64,
	}
	e.LowWater = s.Choose(e.HighWater)
	if s.Choose(4) == 0 {
		e.Workers = 1 + s.Choose(2)
	}
	s.engine = e
	s.World.World.Dialled = func(_ driver.Stream, l *driver.Link, _ net.Addr) driver.Answer {
		s.links = append(s.links, l)
		return driver.Answer{Peer: s.NewLink(len(s.links)), Delay: time.Duration(s.Choose(3)) * time.Millisecond}
	}
	seam.Give(e, s.Seams())
	s.options = Options{Compression: s.Choose(2) == 0, CompressFrom: 1 + s.Choose(200)}
	s.server = &Server{
		Compression: s.Choose(4) > 0, CompressFrom: 1 + s.Choose(200), MaxMessage: 2000,
		Handler: func(*Conn, *http.Request) Handler {
			h := &simulatedServer{s: s}
			s.servers = append(s.servers, h)
			return h
		},
	}
	if _, err := e.Listen("tcp://10.0.0.1:1", s.server.Serve); err != nil {
		s.Failf("listen: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.Spawn(func() { s.result = e.Run(ctx); s.returned = true })
	return stop
}

// dial begins a connection, as Dial does, and does not wait for it.
func (s *simulation) dial() {
	h := &simulatedClient{s: s}
	a := &answer{url: &url.URL{Scheme: "ws", Host: "10.0.0.1:1", Path: "/"}, options: s.options, key: newKey(), handler: h, done: make(chan error, 1)}
	h.done = a.done
	h.conn = &Conn{opening: a, with: (&settings{client: true, maxMessage: 2000, compressFrom: s.options.CompressFrom}).fillIn()}
	if _, err := s.engine.Dial(context.Background(), "tcp://10.0.0.1:1", (*session)(h.conn)); err != nil {
		s.Failf("dial: %v", err)
	}
	s.clients = append(s.clients, h)
}

func (s *simulation) step() {
	can, next := s.Ready()
	switch n := s.Choose(8); {
	case n == 0 && len(s.clients) < 4:
		s.dial()
	case n == 1 && len(s.clients) > 0:
		s.clients[s.Choose(len(s.clients))].act()
	case n < 4:
		s.carry()
	case len(can) > 0:
		s.Resume(can[s.Choose(len(can))])
	case next >= 0:
		s.Now = max(s.Now, next)
	}
}

// carry moves what is on its way.
func (s *simulation) carry() (moved bool) {
	for _, l := range s.links {
		for _, end := range []*driver.Link{l, l.Twin} {
			if end == nil {
				continue
			}
			n := len(end.Out)
			if !s.Calm {
				n = s.Choose(n + 1)
			}
			moved = s.Carry(end, n) || moved
		}
	}
	return moved
}

// until lets everything go on until something is so.
func (s *simulation) until(done func() bool) {
	for range 60_000 {
		if done() {
			return
		}
		if !s.Turn() {
			s.Failf("all loops sleep for ever")
		}
	}
	s.Failf("it does not end")
}

// rest lets everything go on that is under way: then every message has come back.
func (s *simulation) rest() {
	for range 60_000 {
		can, next := s.Ready()
		switch {
		case len(can) > 0:
			s.Resume(can[s.Choose(len(can))])
		case s.carry():
		case next >= 0:
			s.Now = max(s.Now, next)
		default:
			s.checkRest()
			return
		}
	}
	s.Failf("the engine does not come to rest")
}

func (s *simulation) checkRest() {
	s.Run.Checked(len(s.clients), "connections at rest: all has arrived")
	for i, c := range s.clients {
		switch {
		case c.closed > 0 || c.failed():
		case !c.opened:
			s.Failf("at rest client %d is not open", i)
		case len(c.expected) > 0 && !c.ended && !s.deaf:
			s.Failf("at rest %d messages of client %d have not come back", len(c.expected), i)
		}
	}
}

// closeAll has every client begin to close.
func (s *simulation) closeAll() {
	s.began = s.Now
	for _, c := range s.clients {
		if c.closed > 0 || c.ended || !c.opened {
			continue
		}
		if s.Choose(2) == 0 {
			c.conn.Pause() // which Close ends, for the answer
		}
		if c.conn.Close(Normal, "that is all") != nil {
			continue
		}
		c.ended, c.inOrder = true, len(c.expected) == 0
		if err := c.conn.Write(Text, nil); !errors.Is(err, ErrClosed) {
			s.Failf("a message behind Close: %v", err)
		}
	}
}

// checkClosed says that those have ended that were closed, whether they got an answer
// or not.
func (s *simulation) checkClosed() {
	for i, c := range s.clients {
		if c.ended && c.closed == 0 {
			s.Failf("client %d was closed, and has not ended", i)
		}
	}
}

func (s *simulation) check() {
	if s.result != nil {
		s.Failf("Run returns %v", s.result)
	}
	for i, c := range s.clients {
		switch {
		case c.failed():
		case c.closed != 1:
			s.Failf("OnClose of client %d was called %d times", i, c.closed)
		case c.inOrder && c.cause != nil && !s.deaf:
			s.Failf("client %d has closed in order, and gets %v", i, c.cause)
		}
	}
	for i, h := range s.servers {
		if h.closed != 1 {
			s.Failf("OnClose of server %d was called %d times", i, h.closed)
		}
	}
	if n := s.Open(); n != 0 {
		s.Failf("%d handles are open at the end", n)
	}
}

// A simulatedServer sends every message back.
type simulatedServer struct {
	s      *simulation
	closed int
	within bool
}

func (h *simulatedServer) enter() func() {
	if h.within || h.closed > 0 {
		h.s.Failf("a callback inside another, or after OnClose")
	}
	h.within = true
	h.s.Point()
	return func() { h.within = false }
}

func (h *simulatedServer) OnMessage(c *Conn, op Opcode, p []byte) error {
	defer h.enter()()
	s := h.s
	if s.chaos && s.Choose(60) == 0 {
		return errors.New("an error of the callback")
	}
	if s.chaos && s.Choose(60) == 0 {
		s.Fault("a server stops reading")
		s.deaf = true
		c.Pause()
	}
	if s.Choose(3) > 0 {
		return c.Write(op, p)
	}
	s.Count("answer in parts")
	for len(p) > 0 {
		n := s.Choose(len(p) + 1)
		if err := c.WritePart(op, p[:n], false); err != nil {
			return err
		}
		p = p[n:]
	}
	return c.WritePart(op, nil, true)
}

func (h *simulatedServer) OnClose(*Conn, error) {
	defer h.enter()()
	h.closed++
}

// A simulatedClient sends messages and knows which must come back.
type simulatedClient struct {
	s        *simulation
	conn     *Conn
	done     <-chan error // what Dial would wait for
	broken   error        // what it would return
	opened   bool
	ended    bool // it has been closed, or has failed
	inOrder  bool // by Close, when all was well
	closed   int
	cause    error
	number   int
	expected [][]byte
}

func (c *simulatedClient) OnOpen(*Conn) error {
	c.s.Point()
	c.opened = true
	c.send()
	return nil
}

// failed reports whether Dial would have failed: then there is no other callback.
func (c *simulatedClient) failed() bool {
	select {
	case err := <-c.done:
		c.broken = err
	default:
	}
	return c.broken != nil
}

// act is what another goroutine does.
func (c *simulatedClient) act() {
	s := c.s
	if !c.opened {
		return
	}
	switch s.Choose(12) {
	case 0:
		_ = c.conn.Ping([]byte("ping"))
	case 1:
		c.conn.Pause()
	case 2:
		c.conn.Resume()
	case 3:
		if s.Choose(4) == 0 && c.conn.Close(GoingAway, "") == nil {
			c.ended = true
		}
	case 4:
		if s.Choose(6) == 0 {
			c.ended = true
			_ = c.conn.Abort()
		}
	default:
		c.send()
	}
}

// send sends a message of letters, whole or in parts.
func (c *simulatedClient) send() {
	s := c.s
	c.number++
	p := make([]byte, s.Choose([]int{1, 20, 130, 700}[s.Choose(4)]+1))
	for i := range p {
		p[i] = 'a' + byte((i*c.number+c.number)%26)
	}
	op := Text
	if s.Choose(2) == 0 {
		op = Binary
	}
	s.Count("message")
	kept := bytes.Clone(p)
	err := c.write(op, p)
	clear(p)
	switch {
	case err == nil:
		c.expected = append(c.expected, kept)
	case errors.Is(err, epi.ErrQueueFull), errors.Is(err, ErrClosed), errors.Is(err, ErrWithinMessage) && c.ended:
	default:
		s.Failf("a message is refused: %v", err)
	}
}

func (c *simulatedClient) write(op Opcode, p []byte) error {
	s := c.s
	if s.Choose(4) > 0 || len(p) == 0 {
		return c.conn.Write(op, p)
	}
	n := s.Choose(len(p))
	if err := c.conn.WritePart(op, p[:n], false); err != nil {
		return err
	}
	if err := c.conn.Write(op, p); err == nil {
		s.Failf("a message is taken within another")
	}
	if err := c.conn.WritePart(op, p[n:], true); err != nil {
		c.ended = true // half of it is gone
		return err
	}
	return nil
}

func (c *simulatedClient) OnMessage(_ *Conn, _ Opcode, p []byte) error {
	c.s.Point()
	if len(c.expected) == 0 || !bytes.Equal(p, c.expected[0]) {
		c.s.Failf("a message of %d bytes comes back changed, or out of order", len(p))
	}
	c.expected = c.expected[1:]
	c.s.Run.Checked(1, "messages: whole, and in their order")
	return nil
}

func (c *simulatedClient) OnClose(_ *Conn, err error) {
	c.closed++
	c.cause = err
	if took := time.Duration(c.s.Now - c.s.began); c.inOrder && !c.s.deaf && took > 3*time.Second {
		c.s.Failf("closing in order has taken %v", took)
	}
	var closing *CloseError
	orderly := err == nil || errors.As(err, &closing) || errors.Is(err, io.ErrUnexpectedEOF)
	if !orderly && !c.ended && !c.s.chaos {
		c.s.Failf("a client ends with %v", err)
	}
}
