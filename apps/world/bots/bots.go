// Package bots plays in a world: players that walk, rest and talk, and that check
// every frame they get against the rules of docs/world-protocol.md.
package bots

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/lab/load"
	"github.com/epinet/epi/apps/lab/proc"
	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/replica"
	"github.com/epinet/epi/frame"
	"github.com/epinet/epi/ws"
)

// A Config says how the bots play.
type Config struct {
	Target   string        // ws://, wss://, tcp:// or tls://
	Players  int           // default 100
	Moving   int           // per cent of them that walk; default 30
	Talk     time.Duration // between two lines of one bot on the average; 0: none talk
	Fighting int           // per cent of them that strike what is near
	Looting  int           // per cent of them that pick up, put down and trade
	// Tokens are of those who have been in the world before, by their names.
	Tokens map[string][]byte
	// Entered is called when all are in the world, and Warmup begins after it; nil: it begins
	// when all are connected.
	Entered  func()
	Warmup   time.Duration
	Duration time.Duration
	Seed     uint64
	Server   int // its process, to be measured; 0: none
	Insecure bool
}

// A Result is what they saw.
type Result struct {
	Players   int             `json:"players"` // that entered
	Seconds   float64         `json:"seconds"`
	Hz        int             `json:"hz"`
	Frames    uint64          `json:"frames"`
	Bytes     uint64          `json:"bytes"`
	Visible   float64         `json:"visible"`      // entities that a bot sees, on the average
	Corrected uint64          `json:"corrected"`    // moves that the server refused
	Blows     uint64          `json:"blows"`        // of bots, that have hit
	Wrong     uint64          `json:"wrong_frames"` // frames that break the rules
	Lost      uint64          `json:"lost"`         // sessions that ended before the end
	Faults    []string        `json:"faults"`       // the first of what was wrong
	Late      *load.Histogram `json:"late"`         // frames, after the beat of ticks
	Picked    uint64          `json:"picked_up"`
	Dropped   uint64          `json:"put_down"`
	Trades    uint64          `json:"trades"`       // counted by both
	Hoards    []Hoard         `json:"-"`            // of those that loot
	Own       time.Duration   `json:"own_lateness"` // the longest turn of the bots' own loops

	BytesPerPlayer float64 `json:"bytes_per_player_per_second"`
	CPUPerFrame    float64 `json:"server_cpu_us_per_frame"` // with Server
	CPUPercent     float64 `json:"server_cpu_percent"`
}

// maxFaults is how many faults a result has in words.
const maxFaults = 10

// Run plays until the duration is over, ctx ends, or no session is left. The error is for what keeps the
// bots from playing at all.
func Run(ctx context.Context, c Config) (*Result, error) {
	scheme, _, ok := strings.Cut(c.Target, "://")
	if !ok || !strings.Contains("ws wss tcp tls", scheme) {
		return nil, fmt.Errorf("%s: write ws://host:port/world, wss://, tcp://host:port or tls://", c.Target)
	}
	e := &epi.Engine{Loops: 1, Logger: quiet()}
	if c.Insecure {
		e.TLS = anyCertificate()
	}
	engine, stop := context.WithCancel(context.Background())
	defer stop()
	loop, err := e.Loop(0)
	if err != nil {
		return nil, err
	}
	ran := make(chan error, 1)
	go func() { ran <- e.Run(engine) }()
	herd := &herd{config: c, engine: e, random: rand.New(rand.NewPCG(c.Seed, 1)), late: load.NewHistogram(), all: make(chan struct{}), gone: make(chan struct{})}
	result, err := herd.play(ctx, loop)
	stop()
	return result, errors.Join(err, <-ran)
}

// A herd is all bots, on one loop, to which all below belongs.
type herd struct {
	config Config
	engine *epi.Engine
	random *rand.Rand
	bots   []*bot

	measuring bool
	late      *load.Histogram
	entered   int
	frames    uint64
	bytes     uint64
	seen      uint64
	corrected uint64
	blows     uint64
	picked    uint64
	dropped   uint64
	trades    uint64
	wrong     uint64
	lost      uint64
	faults    []string
	hz        int
	all       chan struct{} // closed when all bots are in the world
	gone      chan struct{} // closed when all sessions have ended
}

// on runs fn on the loop and waits for it.
func on(loop *epi.Loop, fn func()) {
	done := make(chan struct{})
	if loop.Do(func() { fn(); close(done) }) == nil {
		<-done
	}
}

// perSecond is how many bots enter in a second.
const perSecond = 2000

func (h *herd) play(ctx context.Context, loop *epi.Loop) (*Result, error) {
	if err := h.enter(ctx); err != nil {
		return nil, err
	}
	if h.config.Entered != nil && h.allAreIn(ctx) {
		h.config.Entered()
	}
	h.sleep(ctx, h.config.Warmup)
	var before, after proc.Usage
	if h.config.Server != 0 {
		var err error
		if before, err = proc.Of(h.config.Server); err != nil {
			return nil, err
		}
	}
	on(loop, func() { h.measuring = true })
	began := time.Now()
	h.sleep(ctx, h.config.Duration)
	seconds := time.Since(began).Seconds()
	if h.config.Server != 0 {
		var err error
		if after, err = proc.Of(h.config.Server); err != nil {
			return nil, err
		}
	}
	var r *Result
	on(loop, func() { r = h.result(seconds, after.Sub(before)) })
	if r.Players == 0 {
		return nil, fmt.Errorf("%s: no bot came into the world: %s", h.config.Target, strings.Join(r.Faults, "; "))
	}
	return r, nil
}

// allAreIn waits for that, but not when ctx ends or no session is left.
func (h *herd) allAreIn(ctx context.Context) bool {
	select {
	case <-h.all:
		return true
	case <-h.gone:
		return false
	case <-ctx.Done():
		return false
	}
}

// sleep waits, but not when ctx ends or no session is left.
func (h *herd) sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-h.gone:
		return false
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (h *herd) result(seconds float64, used proc.Usage) *Result {
	h.measuring = false
	r := &Result{
		Players: h.entered, Seconds: seconds, Hz: h.hz, Frames: h.frames, Bytes: h.bytes, Corrected: h.corrected, Blows: h.blows,
		Picked: h.picked, Dropped: h.dropped, Trades: h.trades, Hoards: h.hoards(),
		Wrong: h.wrong, Lost: h.lost, Faults: h.faults, Late: h.late,
		CPUPercent: used.CPU.Seconds() / seconds * 100,
	}
	if h.frames > 0 {
		r.Visible = float64(h.seen) / float64(h.frames)
		r.CPUPerFrame = float64(used.CPU.Microseconds()) / float64(h.frames)
	}
	if h.entered > 0 {
		r.BytesPerPlayer = float64(h.bytes) / float64(h.entered) / seconds
	}
	lag := h.engine.Stats().Lag
	for i, n := range lag.Turns {
		if n > 0 {
			r.Own = epi.LagBounds[min(i, len(epi.LagBounds)-1)]
		}
	}
	for _, b := range h.bots {
		b.leave()
	}
	return r
}

// A bot is one player. It is an epi.Handler for framed TCP, and a ws.Handler as a
// socket.
type bot struct {
	herd    *herd
	name    string
	conn    *epi.Conn
	socket  *ws.Conn
	in      frame.Reader
	replica replica.Replica
	entered bool
	leaving bool

	epoch    uint8
	sequence uint32
	going    uint8
	fights   bool
	loots    *looter       // nil: it does not
	strikes  uint32        // whom it has struck last; 0: nobody
	ready    uint32        // the tick in which it strikes again
	until    uint32        // the tick up to which it goes there
	first    time.Time     // when the first tick came,
	tick     uint32        // and its number
	since    int           // ticks since then,
	least    time.Duration // and the least lateness of those since the beat was looked at
}

const maxFrame = 1 << 20

// dialing is how many bots come in at the same time: each waits for several turns of both
// ends' loops, which are long where many play already.
const dialing = 32

// enter brings all bots in.
func (h *herd) enter(ctx context.Context) error {
	var doors sync.WaitGroup
	waiting := make(chan *bot)
	failed := make(chan error, dialing) // a door ends at its first error
	for range dialing {
		doors.Go(func() {
			for b := range waiting {
				if err := b.dial(ctx); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	err := h.send(ctx, waiting, failed)
	close(waiting)
	doors.Wait()
	if len(failed) > 0 && err == nil {
		err = <-failed
	}
	return err
}

// send sends the bots to the doors, perSecond of them.
func (h *herd) send(ctx context.Context, doors chan<- *bot, failed <-chan error) error {
	for n := range h.config.Players {
		b := h.newBot(n)
		h.bots = append(h.bots, b)
		select {
		case doors <- b:
		case err := <-failed:
			return err
		}
		if n%(perSecond/50) == perSecond/50-1 && !h.sleep(ctx, time.Second/50) {
			return context.Cause(ctx)
		}
	}
	return nil
}

func (h *herd) newBot(n int) *bot {
	b := &bot{herd: h, name: fmt.Sprintf("Bot%d", n), fights: n%100 < h.config.Fighting}
	b.in = frame.Reader{Framing: frame.LengthPrefix{Size: 3}, Max: maxFrame}
	if n%100 < h.config.Looting {
		b.loots = &looter{Hoard: Hoard{Name: b.name, Token: h.config.Tokens[b.name]}}
	}
	return b
}

func (b *bot) dial(ctx context.Context) error {
	h := b.herd
	if strings.HasPrefix(h.config.Target, "ws") {
		_, err := ws.Dial(ctx, h.engine, h.config.Target, ws.Options{MaxMessage: maxFrame}, (*socketBot)(b))
		return err
	}
	_, err := h.engine.Dial(ctx, h.config.Target, b)
	return err
}

type socketBot bot

func (s *socketBot) OnOpen(c *ws.Conn) error {
	s.socket = c
	(*bot)(s).hello()
	return nil
}

func (s *socketBot) OnMessage(_ *ws.Conn, _ ws.Opcode, p []byte) error {
	(*bot)(s).frame(p)
	return nil
}

func (s *socketBot) OnClose(_ *ws.Conn, err error) { (*bot)(s).closed(err) }

// OnOpen is a method of epi.OpenHandler.
func (b *bot) OnOpen(c *epi.Conn) error {
	b.conn = c
	b.hello()
	return nil
}

// OnData is a method of epi.Handler.
func (b *bot) OnData(c *epi.Conn) error {
	for p, err := range b.in.Messages(c) {
		if err != nil {
			return err
		}
		b.frame(p)
	}
	return nil
}

// OnClose is a method of epi.Handler.
func (b *bot) OnClose(_ *epi.Conn, err error) { b.closed(err) }

func (b *bot) closed(err error) {
	if b.leaving {
		return
	}
	b.leaving = true
	if b.herd.lost++; b.herd.lost == uint64(b.herd.config.Players) {
		close(b.herd.gone)
	}
	b.herd.fault("%s: the connection ended: %v", b.name, err)
}

func (h *herd) fault(format string, args ...any) {
	if len(h.faults) < maxFaults {
		h.faults = append(h.faults, fmt.Sprintf(format, args...))
	}
}

func (b *bot) send(m proto.Message) {
	p := m.Append(nil)
	if b.socket != nil {
		_ = b.socket.Write(ws.Binary, p) // closed says what is wrong
		return
	}
	n := len(p)
	_ = b.conn.Send([]byte{byte(n >> 16), byte(n >> 8), byte(n)}, p)
}

func (b *bot) hello() {
	b.send(&proto.Hello{Version: proto.Version, Name: b.name, Token: b.herd.config.Tokens[b.name]})
}

func (b *bot) leave() {
	if b.leaving {
		return
	}
	b.leaving = true
	if b.entered {
		b.send(&proto.Bye{})
	}
}

// frame checks what the server sent, and plays on with each tick.
func (b *bot) frame(p []byte) {
	h, before := b.herd, b.replica.Tick
	if h.measuring {
		h.bytes += uint64(len(p))
	}
	if err := b.replica.Frame(p, b.other); err != nil {
		h.wrong++
		h.fault("%s: %v", b.name, err)
		return
	}
	for _, c := range b.replica.Corrections {
		b.epoch = c.Epoch
		h.corrected++
	}
	if b.entered && b.replica.Tick != before {
		b.play()
	}
}

func (b *bot) other(m proto.Message) {
	switch m := m.(type) {
	case *proto.Welcome:
		b.replica.Begin(m)
		b.epoch, b.entered = m.Epoch, true
		if b.herd.entered++; b.herd.entered == b.herd.config.Players {
			close(b.herd.all)
		}
		b.herd.hz = int(m.Hz)
		if b.loots != nil {
			b.loots.Token = slices.Clone(m.Token)
		}
	case *proto.Hit:
		b.hit(m)
	case *proto.Refused:
		b.herd.fault("%s: refused: %s", b.name, m.Text)
	default:
		if b.loots != nil {
			b.answer(m)
		}
	}
}

// play is one tick.
func (b *bot) play() {
	h, now := b.herd, time.Now()
	if h.measuring {
		h.frames++
		h.seen += uint64(len(b.replica.Entities))
		b.measure(now)
	}
	if b.going != 0 {
		b.sequence++
		b.send(&proto.Move{Epoch: b.epoch, Sequence: b.sequence, Direction: b.going, Ticks: 1})
	}
	if b.fights && int32(b.replica.Tick-b.ready) >= 0 {
		b.strike()
	}
	if b.loots != nil {
		b.loot()
	}
	if int32(b.replica.Tick-b.until) >= 0 {
		b.decide()
	}
	if every := h.config.Talk; every > 0 && h.random.Float64() < 1/every.Seconds()/float64(h.hz) {
		b.send(&proto.Say{Text: "hello from " + b.name})
	}
}

// strikeRange is how far a player reaches, in units.
const strikeRange = 3 * 64

// strike strikes the nearest that it sees.
func (b *bot) strike() {
	b.ready = b.replica.Tick + uint32(b.herd.hz)/2 + b.herd.random.Uint32N(4)
	target := b.nearest(strikeRange, isAlive)
	if target != 0 {
		b.strikes = target
		b.send(&proto.Attack{Target: target, Seen: b.replica.Tick})
	}
}

// hit checks what is said of a blow: the bot's own must be at whom it has struck.
func (b *bot) hit(m *proto.Hit) {
	h := b.herd
	if int(m.Damage)+int(m.Health) > 100 || m.Damage == 0 || m.By == m.Target {
		h.wrong++
		h.fault("%s: a blow that cannot be: %+v", b.name, *m)
	}
	if m.By != b.replica.Self {
		return
	}
	h.blows++
	if m.Target != b.strikes {
		h.wrong++
		h.fault("%s: a blow of its own at %d, and it has struck %d", b.name, m.Target, b.strikes)
	}
}

// beat is after how many ticks a bot looks whether the beat is another one: it moves
// when the server drops ticks, or game time goes slower.
const beat = 40

// measure notes how late a frame is: after the beat, which is that of the earliest of
// the frames before.
func (b *bot) measure(now time.Time) {
	period := time.Second / time.Duration(b.herd.hz)
	if b.first.IsZero() {
		b.first, b.tick, b.least = now, b.replica.Tick, period
	}
	due := b.first.Add(time.Duration(int32(b.replica.Tick-b.tick)) * period)
	late := now.Sub(due)
	if late < 0 { // this one was earlier than the first
		b.first = b.first.Add(late)
		late = 0
	}
	b.least = min(b.least, late)
	if b.since++; b.since%beat == 0 {
		b.first = b.first.Add(b.least)
		b.least = period
	}
	b.herd.late.Record(int64(late))
}

// decide lets a bot go somewhere for a while, or rest, as people do.
func (b *bot) decide() {
	r, c := b.herd.random, &b.herd.config
	b.until = b.replica.Tick + 10 + r.Uint32N(40)
	b.going = 0
	if r.IntN(100) < c.Moving {
		b.going = 1 + uint8(r.IntN(8))
	}
}
