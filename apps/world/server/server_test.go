package server_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/replica"
	"github.com/epinet/epi/apps/world/server"
	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/internal/epitest"
	"github.com/epinet/epi/ws"
)

func TestMain(m *testing.M) { epitest.Main(m, nil) }

func settings() server.Config {
	return server.Config{
		World:        sim.Config{Seed: 7, Width: 8, Height: 8, Hz: 60, Monsters: 50, MaxPlayers: 1000},
		Grace:        time.Hour,
		HelloTimeout: time.Hour,
		FrameBudget:  server.DefaultFrameBudget, Conflate: server.DefaultConflate, MaxQueue: server.DefaultMaxQueue,
		TalkRate: 1e6, TalkBurst: 1000,
		Log: epitest.NoLog(),
	}
}

// A world is a server under test.
type world struct {
	*server.Server
	t      *testing.T
	engine *epi.Engine
	tcp    *epi.Listener
	web    *epi.Listener
	end    context.CancelFunc
	dial   func(network, address string) (net.Conn, error)
}

func start(t *testing.T, config server.Config) *world {
	t.Helper()
	e := &epi.Engine{Loops: 1, Logger: epitest.NoLog(), MaxQueued: 256 << 10}
	s, err := server.New(e, config)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Server: s, t: t, engine: e, dial: net.Dial}
	if w.tcp, err = e.Listen("tcp://127.0.0.1:0", s.Accept); err != nil {
		t.Fatal(err)
	}
	sockets := s.WebSocket("/world", http.NotFoundHandler())
	if w.web, err = e.Listen("tcp://127.0.0.1:0", sockets.Serve); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- e.Run(ctx) }()
	w.end = func() { s.Drain(); cancel() }
	t.Cleanup(func() {
		w.end()
		if err := errors.Join(epitest.Receive(t, ran), sockets.Close()); err != nil {
			t.Error(err)
		}
		if n := s.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
	return w
}

// A client speaks framed TCP.
type client struct {
	t       *testing.T
	conn    net.Conn
	in      *bufio.Reader
	welcome proto.Welcome
	replica replica.Replica
	refused *proto.Refused
	notices []proto.Notice
	pongs   int
	bag     proto.Bag
	deal    proto.Deal
	dealt   []uint8
	chest   proto.Contents
	watch   func(proto.Message) // what else a test looks for; nil: nothing
	moves   uint32
	epoch   uint8
}

func (w *world) connect() *client {
	w.t.Helper()
	conn, err := w.dial("tcp", w.tcp.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() }) // the server may have done it
	if err := conn.SetDeadline(time.Now().Add(epitest.Patience)); err != nil {
		w.t.Fatal(err)
	}
	return &client{t: w.t, conn: conn, in: bufio.NewReader(conn)}
}

func (w *world) join(name string) *client {
	w.t.Helper()
	c := w.connect()
	c.hello(name, nil)
	return c
}

func (c *client) hello(name string, token []byte) {
	c.t.Helper()
	c.send(&proto.Hello{Version: proto.Version, Name: name, Token: token})
	c.until("Welcome or Refused", func() bool { return c.welcome.Self != 0 || c.refused != nil })
}

func (c *client) send(messages ...proto.Message) {
	c.t.Helper()
	var p []byte
	for _, m := range messages {
		p = m.Append(p)
	}
	c.raw(p)
}

func (c *client) raw(p []byte) {
	c.t.Helper()
	n := len(p)
	if _, err := c.conn.Write(append([]byte{byte(n >> 16), byte(n >> 8), byte(n)}, p...)); err != nil {
		c.t.Fatal(err)
	}
}

// frame reads one frame, and reports whether there is one.
func (c *client) frame() bool {
	c.t.Helper()
	var length [4]byte
	if _, err := io.ReadFull(c.in, length[1:]); err != nil {
		return false
	}
	p := make([]byte, binary.BigEndian.Uint32(length[:]))
	if _, err := io.ReadFull(c.in, p); err != nil {
		return false
	}
	if err := c.replica.Frame(p, c.other); err != nil {
		c.t.Fatal(err)
	}
	for _, correction := range c.replica.Corrections {
		c.epoch = correction.Epoch
	}
	return true
}

func (c *client) other(m proto.Message) {
	if c.watch != nil {
		c.watch(m)
	}
	switch m := m.(type) {
	case *proto.Welcome:
		c.welcome = *m
		c.welcome.Token = append([]byte(nil), m.Token...)
		c.replica.Begin(m)
		c.epoch = m.Epoch
	case *proto.Refused:
		refused := *m
		c.refused = &refused
	case *proto.Notice:
		c.notices = append(c.notices, *m)
	case *proto.Pong:
		c.pongs++
	case *proto.Bag:
		c.bag = proto.Bag{Gold: m.Gold, Items: slices.Clone(m.Items)}
	case *proto.Deal:
		c.deal = *m
		c.deal.Yours.Items, c.deal.Theirs.Items = slices.Clone(m.Yours.Items), slices.Clone(m.Theirs.Items)
	case *proto.Dealt:
		c.dealt = append(c.dealt, m.Result)
	case *proto.Contents:
		c.chest = proto.Contents{Chest: m.Chest, Items: slices.Clone(m.Items)}
	}
}

func (c *client) until(what string, reached func() bool) {
	c.t.Helper()
	for !reached() {
		if !c.frame() {
			c.t.Fatalf("the connection ended before %s (refused: %+v, notices %+v)", what, c.refused, c.notices)
		}
	}
}

func (c *client) ticks(n int) {
	c.t.Helper()
	for last := c.replica.Tick; n > 0; n-- {
		c.until("a tick", func() bool { return c.replica.Tick != last })
		last = c.replica.Tick
	}
}

// ends reads up to the end.
func (c *client) ends() {
	c.t.Helper()
	for c.frame() {
	}
}

func (c *client) walk(direction uint8) {
	c.t.Helper()
	c.moves++
	c.send(&proto.Move{Epoch: c.epoch, Sequence: c.moves, Direction: direction, Ticks: 1})
}

// walks goes somewhere, which must be possible in one of the directions.
func (c *client) walks() {
	c.t.Helper()
	c.ticks(1)
	before := c.replica.Own
	for i := 0; c.replica.Own.X == before.X && c.replica.Own.Y == before.Y; i++ {
		if i > 100 {
			c.t.Fatalf("100 moves led nowhere: %+v", c.replica.Own)
		}
		c.walk(uint8(1 + 2*(i/20%4)))
		c.until("the move to be carried out", func() bool { return c.replica.Own.Sequence == c.moves })
	}
}

func TestTwoSeeEachOther(t *testing.T) {
	w := start(t, settings())
	a, b := w.join("anna"), w.join("bert")
	a.walks()
	b.ticks(8)
	a.send(&proto.Say{Text: "hello 안녕"})
	a.until("its own words", func() bool { return len(a.replica.Talk) > 0 && a.replica.Talk[0].Text == "hello 안녕" })
	a.send(&proto.Ping{Time: 5})
	a.until("a pong", func() bool { return a.pongs == 1 })
}

func TestTheWorldGoesOnAlone(t *testing.T) {
	w := start(t, settings())
	w.join("anna").send(&proto.Bye{})
	before := w.Stats().Ticks
	epitest.WaitUntil(t, "ticks without players", func() bool { s := w.Stats(); return s.Players == 0 && s.Ticks > before+5 })
}

// TestCase02_TakeOver: a second connection with the token takes the player over at
// once, the same entity; the first one ends with a reason.
func TestCase02_TakeOver(t *testing.T) {
	w := start(t, settings())
	a := w.join("anna")
	again := w.connect()
	again.hello("anna", a.welcome.Token)
	if again.welcome.Self != a.welcome.Self || again.welcome.Resumed != 1 {
		t.Errorf("the second is %+v, the first was %d", again.welcome, a.welcome.Self)
	}
	a.ends()
	if a.refused == nil || a.refused.Reason != 8 {
		t.Errorf("the first is refused with %+v", a.refused)
	}
	again.ticks(5)
	if n := w.Stats().Players; n != 1 {
		t.Errorf("%d players", n)
	}
}

// TestCase24_ReconnectAfterSilence: the old connection is still there, half open.
func TestCase24_ReconnectAfterSilence(t *testing.T) {
	w := start(t, settings())
	a := w.join("anna")
	a.walks() // so that it has counted moves
	epitest.Reset(t, a.conn)
	epitest.WaitUntil(t, "the end of the connection", func() bool { return w.Stats().Sessions == 0 })
	again := w.connect()
	again.hello("other name", a.welcome.Token)
	if again.welcome.Self != a.welcome.Self || again.welcome.Resumed != 1 {
		t.Errorf("it is %+v, it was %d", again.welcome, a.welcome.Self)
	}
	again.until("itself", func() bool { return again.replica.Entities[a.welcome.Self] != nil })
	again.walks()
	if name := again.replica.Entities[a.welcome.Self].Name; name != "anna" {
		t.Errorf("its name is %q", name)
	}
}

func TestWhoDoesNotComeBackIsGone(t *testing.T) {
	config := settings()
	config.Grace = 50 * time.Millisecond
	w := start(t, config)
	a := w.join("anna")
	_ = a.conn.Close()
	epitest.WaitUntil(t, "the end of the player", func() bool { return w.Stats().Players == 0 })
	again := w.connect()
	again.hello("anna", a.welcome.Token)
	if again.welcome.Resumed != 0 {
		t.Error("it was in the world all the time")
	}
}

// TestCase20_Names: those that look like one that is taken, and those with characters
// that cannot be seen or turn the text. Lines of the server itself have a type of their
// own, which no client can send.
func TestCase20_Names(t *testing.T) {
	w := start(t, settings())
	w.join("Anna1")
	w.join("Coco")
	for name, reason := range map[string]uint8{
		"anna1": 3, "AnnaI": 3, "annal": 3, "An na": 2, "anna\u202e": 2, "": 6, "1anna": 2, "аnna": 2, "a\u200bb": 2,
		"abcdefghijklmnopq": 2, "anna1 ": 2, "сосо": 3, "ｃｏｃｏ": 3, "cöco": 3, "ᴄᴏᴄᴏ": 3, "coco\u00ad": 2, "coco\u2066": 2, "co\u0301co": 3, "co\x00co": 2,
		"ﷺﷺﷺﷺﷺﷺﷺﷺ": 2, "민지": 0, "さくら花": 0, "Bob_2": 0, "system:": 2,
	} {
		c := w.connect()
		if name == "" {
			c.raw([]byte{1, 1, 0, 0})
			c.ends()
		} else {
			c.hello(name, nil)
		}
		got := uint8(0)
		if c.refused != nil {
			got = c.refused.Reason
		}
		if got != reason {
			t.Errorf("%q: reason %d, want %d", name, got, reason)
		}
	}
}

// TestCase06_BadMessages: each message cut at every byte, with each byte at its
// extremes, of unknown types, and frames of wrong lengths: an answer with a reason and
// the end of that connection, and of no other.
func TestCase06_BadMessages(t *testing.T) {
	w := start(t, settings())
	other := w.join("other")
	good := []proto.Message{&proto.Move{Sequence: 1, Direction: 1, Ticks: 1}, &proto.Say{Text: "hello"}, &proto.Ping{Time: 1}}
	n := 0
	try := func(p []byte, length int) {
		n++
		c := w.join(fmt.Sprintf("bad%c%c", 'a'+n/26%26, 'a'+n%26))
		if _, err := c.conn.Write(append([]byte{byte(length >> 16), byte(length >> 8), byte(length)}, p...)); err != nil {
			t.Fatal(err)
		}
		_ = c.conn.(*net.TCPConn).CloseWrite() // the server may have ended it
		c.ends()
		_ = c.conn.Close()
	}
	for _, m := range good {
		p := m.Append(nil)
		for cut := range p {
			try(p[:cut], cut)
		}
		for i := range p {
			for _, v := range []byte{0, 0x7f, 0x80, 0xff} {
				changed := append([]byte(nil), p...)
				changed[i] = v
				try(changed, len(changed))
			}
		}
	}
	for _, c := range []struct {
		p      []byte
		length int
	}{{nil, 0}, {nil, 1 << 20}, {nil, 1<<24 - 1}, {[]byte{200}, 1}, {[]byte{66}, 1}, {good[0].Append(nil), 3}} {
		try(c.p, c.length)
	}
	other.ticks(3)
	epitest.WaitUntil(t, "the ends", func() bool { return w.Stats().Sessions == 1 })
}

// TestCase09_SilenceThenBacklog over the wire: the moves of ten seconds come at once.
// Half a second of them is taken, and the client goes on from where it is told.
func TestCase09_SilenceThenBacklog(t *testing.T) {
	w := start(t, settings())
	a := w.join("anna")
	a.ticks(2)
	var all []proto.Message
	for n := range uint32(600) {
		all = append(all, &proto.Move{Sequence: n + 1, Direction: 1, Ticks: 1})
	}
	for len(all) > 0 { // a frame has at most 4 KiB
		n := min(len(all), 300)
		a.send(all[:n]...)
		all = all[n:]
	}
	a.until("a correction", func() bool { return len(a.replica.Corrections) > 0 })
	if s := w.Stats(); s.Corrected != 1 || s.Moves != 30 {
		t.Errorf("%d moves were taken and %d corrected", s.Moves, s.Corrected)
	}
	a.moves = 600
	a.walks()
}

// TestCase11_Talk: texts of every kind.
func TestCase11_Talk(t *testing.T) {
	w := start(t, settings())
	for text, ok := range map[string]bool{
		strings.Repeat("x", 200): true, "a b": true, "👩‍👩‍👧": true, "   ": false, "a\x00b": false, "line\nline": false,
		"\u202eright to left": false, strings.Repeat("x", 201): false, "": false, "bad\xff": false,
	} {
		c := w.connect()
		c.hello("talker", nil)
		p := append([]byte{3}, binary.AppendUvarint(nil, uint64(len(text)))...)
		c.raw(append(p, text...))
		heard := false
		c.until("words or the end", func() bool {
			heard = len(c.replica.Talk) > 0
			return heard || c.refused != nil
		})
		if heard != ok {
			t.Errorf("%q: heard %v, refused %+v", text, heard, c.refused)
		}
		if c.refused == nil {
			c.send(&proto.Bye{})
		}
		c.ends()
		left := w.connect()
		left.hello("talker2", c.welcome.Token) // it may be waited for still
		left.send(&proto.Bye{})
		left.ends()
	}
}

// TestCase21_TooMuchTalk: told once, then closed.
func TestCase21_TooMuchTalk(t *testing.T) {
	config := settings()
	config.TalkRate, config.TalkBurst = 0, 3
	w := start(t, config)
	c := w.join("talker")
	for range 40 { // a few between two ticks, so that it is no flood of messages
		if _, err := c.conn.Write(append([]byte{0, 0, 6}, (&proto.Say{Text: "spam"}).Append(nil)...)); err != nil || !c.frame() {
			break // it was ended
		}
	}
	c.ends()
	if len(c.notices) != 1 || c.refused == nil || c.refused.Reason != 11 {
		t.Errorf("notices %+v, refused %+v", c.notices, c.refused)
	}
}

func TestFloodEndsTheSession(t *testing.T) {
	w := start(t, settings())
	c := w.join("flood")
	var p []byte
	for range 800 {
		p = (&proto.Ping{}).Append(p)
	}
	for c.refused == nil { // faster than ticks earn it
		n := len(p)
		if _, err := c.conn.Write(append([]byte{byte(n >> 16), byte(n >> 8), byte(n)}, p...)); err != nil || !c.frame() {
			break // it was ended
		}
	}
	c.ends()
	if c.refused == nil || c.refused.Reason != 11 {
		t.Errorf("refused %+v", c.refused)
	}
}

// TestCase17_LeavesAbruptly: of those that share cells, some leave by reset; the
// others' views stay right (the replica checks them).
func TestCase17_LeavesAbruptly(t *testing.T) {
	config := settings()
	config.Grace = time.Millisecond
	w := start(t, config)
	stay := w.join("stay")
	for i := range 40 {
		c := w.join(fmt.Sprintf("guest%c%c", 'a'+i/26, 'a'+i%26))
		c.ticks(1)
		if i%2 == 0 {
			epitest.Reset(t, c.conn)
		} else {
			_ = c.conn.Close()
		}
		stay.ticks(1)
	}
	stay.until("all to be gone", func() bool {
		players := 0
		for _, e := range stay.replica.Entities {
			if e.Kind == sim.Player {
				players++
			}
		}
		return players == 1
	})
}

func TestHelloMustComeSoon(t *testing.T) {
	config := settings()
	config.HelloTimeout = 20 * time.Millisecond
	late := start(t, config).connect()
	late.ends()
	if late.refused == nil || late.refused.Reason != 10 {
		t.Errorf("refused %+v", late.refused)
	}
}

func TestHelloMustComeFirst(t *testing.T) {
	w := start(t, settings())
	early := w.connect()
	early.send(&proto.Ping{})
	early.ends()
	if early.refused == nil || early.refused.Reason != 6 {
		t.Errorf("refused %+v", early.refused)
	}
	old := w.connect()
	old.send(&proto.Hello{Version: 9, Name: "old"})
	old.ends()
	if old.refused == nil || old.refused.Reason != 1 {
		t.Errorf("refused %+v", old.refused)
	}
}

func TestDrainSaysGoodbye(t *testing.T) {
	w := start(t, settings())
	c := w.join("anna")
	w.end()
	c.ends()
	if c.refused == nil || c.refused.Reason != 9 {
		t.Errorf("refused %+v", c.refused)
	}
}

// TestWebSocket is the same by messages.
func TestWebSocket(t *testing.T) {
	w := start(t, settings())
	ctx, cancel := context.WithTimeout(t.Context(), epitest.Patience)
	defer cancel()
	h := &socket{frames: make(chan []byte, 1000), ended: make(chan error, 1)}
	c, err := ws.Dial(ctx, w.engine, "ws://"+w.web.Addr().String()+"/world", ws.Options{}, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write(ws.Binary, (&proto.Hello{Version: proto.Version, Name: "web"}).Append(nil)); err != nil {
		t.Fatal(err)
	}
	var messages proto.ServerMessages
	m, _, err := messages.Next(epitest.Receive(t, h.frames))
	if _, ok := m.(*proto.Welcome); !ok {
		t.Fatalf("%T, %v", m, err)
	}
	if m, _, err = messages.Next(epitest.Receive(t, h.frames)); err != nil || m.Type() != proto.TypeTick {
		t.Fatalf("%T, %v", m, err)
	}
	if err := c.Write(ws.Text, []byte("text")); err != nil {
		t.Fatal(err)
	}
	epitest.Receive(t, h.ended)
}

type socket struct {
	frames chan []byte
	ended  chan error
}

func (s *socket) OnMessage(_ *ws.Conn, _ ws.Opcode, p []byte) error {
	select {
	case s.frames <- append([]byte(nil), p...):
	default: // more than the test looks at
	}
	return nil
}

func (s *socket) OnClose(_ *ws.Conn, err error) { s.ended <- err }

var random = flag.Duration("random", 0, "how long TestRandomMessages goes on; 0: for 60 clients")

// TestRandomMessages sends each type with random fields: well formed ones, and bytes of
// any kind. Who watches sees the world go on, and nothing wrong.
func TestRandomMessages(t *testing.T) {
	config := settings()
	config.Grace = time.Millisecond
	w := start(t, config)
	watcher := w.join("watcher")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	until := time.Now().Add(*random)
	for i := 0; i < 60 || time.Now().Before(until); i++ {
		c := w.connect()
		c.send(&proto.Hello{Version: proto.Version, Name: fmt.Sprintf("r%c%c%c", 'a'+i/676%26, 'a'+i/26%26, 'a'+i%26)})
		for range 20 {
			p := randomMessage(r)
			n := len(p)
			if _, err := c.conn.Write(append([]byte{byte(n >> 16), byte(n >> 8), byte(n)}, p...)); err != nil {
				break // it was ended
			}
		}
		_ = c.conn.Close()
		watcher.ticks(1)
	}
	watcher.ticks(5)
}

func randomMessage(r *rand.Rand) []byte {
	text := make([]byte, 1+r.IntN(30))
	for i := range text {
		text[i] = byte(' ' + r.IntN(95))
	}
	switch r.IntN(7) {
	case 0:
		return (&proto.Move{Epoch: uint8(r.IntN(3)), Sequence: r.Uint32(), Direction: uint8(r.IntN(9)), Ticks: uint8(1 + r.IntN(10))}).Append(nil)
	case 1:
		return (&proto.Say{Text: string(text)}).Append(nil)
	case 2:
		return (&proto.Ping{Time: r.Uint32()}).Append(nil)
	case 3:
		return (&proto.Hello{Version: uint8(r.IntN(256)), Name: string(text), Token: text[:min(len(text), 16)]}).Append(nil)
	case 4:
		return (&proto.Bye{}).Append(nil)
	}
	p := []byte{byte(r.IntN(256))}
	for range r.IntN(12) {
		p = append(p, byte(r.IntN(256)))
	}
	return p
}

func TestOneLoopOnly(t *testing.T) {
	e := &epi.Engine{Loops: 2, Logger: epitest.NoLog()}
	if _, err := server.New(e, settings()); err == nil || !strings.Contains(err.Error(), "Engine.Loops to 1") {
		t.Errorf("the error is %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Run(ctx); err != nil {
		t.Error(err)
	}
}

// A broken game panics in a tick.
type broken struct{ ticks atomic.Int32 }

func (*broken) Begin(*server.Server)            {}
func (*broken) Joined(sim.ID, string)           {}
func (*broken) Left(sim.ID)                     {}
func (*broken) Act(sim.ID, uint8, []byte) error { return nil }

func (b *broken) Tick() {
	if b.ticks.Add(1) == 10 {
		panic("a fault of the game")
	}
}

// A tick that panics is the last one: the world ends, and says so to all, instead of
// standing still with its players in it.
func TestATickThatPanicsEndsTheWorld(t *testing.T) {
	t.Parallel()
	config, game, failed := settings(), new(broken), make(chan error, 1)
	config.Game = game
	config.Failed = func(err error) { failed <- err }
	w := start(t, config)
	a := w.connect()
	a.send(&proto.Hello{Version: proto.Version, Name: "anna"})
	if err := epitest.Receive(t, failed); !errors.Is(err, server.ErrPanicked) {
		t.Error(err)
	}
	a.ends()
	if a.reason() != 9 || game.ticks.Load() != 10 {
		t.Errorf("refused with %d, after %d ticks", a.reason(), game.ticks.Load())
	}
	w.mustNotKeep()
}

// TestOneLoopAlone: callbacks elsewhere would change the world at the same time.
func TestOneLoopAlone(t *testing.T) {
	for _, e := range []*epi.Engine{{Loops: 2}, {Loops: 1, Workers: 1}} {
		e.Logger = epitest.NoLog()
		if _, err := server.New(e, settings()); err == nil {
			t.Errorf("a world on %d loops and %d workers", e.Loops, e.Workers)
		}
		ended, end := context.WithCancel(context.Background())
		end()
		if err := e.Run(ended); err != nil {
			t.Error(err)
		}
	}
}
