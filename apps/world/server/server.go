package server

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/world/inputs"
	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/apps/world/store"
	"github.com/epinet/epi/ws"
)

// A Config is what a Server needs to know. Limits that are 0 are their defaults, but for
// Grace, without which players go with their connections.
type Config struct {
	World sim.Config
	// Grace is how long a player stays after its connection has ended.
	Grace time.Duration
	// HelloTimeout bounds the time from the connection to Hello.
	HelloTimeout time.Duration
	// FrameBudget bounds the bytes of one frame: what does not fit comes with the
	// next.
	FrameBudget int
	// Conflate is the number of queued bytes above which a client gets no state.
	Conflate int
	// MaxQueue is the number of queued bytes at which a session ends.
	MaxQueue int
	// TalkRate and TalkBurst are how much a player may say: lines a second, and at
	// once.
	TalkRate  float64
	TalkBurst int
	// Moderators are by the SHA-256 of the key that makes a player one: the name under
	// which what they do is logged.
	Moderators map[[32]byte]string
	// Banned are names of players who may not come in, nor others that look like them.
	Banned []string
	// Store has what lasts: who players are, where, and what they have; nil: nothing
	// lasts, and items are in memory. After the engine has ended, Server.Keep waits for it. Then close it.
	Store store.Store
	// NewAccounts is how many accounts one address, of IPv6 one /64, may make at once, and in an
	// hour; 0: any number.
	NewAccounts int
	// Loot is what monsters leave, by their kinds; nil: DefaultLoot.
	Loot map[uint8]Loot
	// Litter is after what time that which lies on the ground is gone; below 0: never.
	Litter time.Duration
	// Game makes another game of the world; nil: there is none.
	Game Game
	// Failed is called once, on the loop, when the world cannot go on: another server has
	// its store, or a tick has panicked. The world has begun to drain then, and Failed is to
	// end the engine. Keep returns the error, too; nil: it alone does.
	Failed func(error)
	// Origins are the values of Origin from which browsers may connect: see
	// ws.Server.
	Origins []string
	// Log has what moderators do; nil: slog.Default.
	Log *slog.Logger
}

// Defaults of a Config's fields.
const (
	DefaultGrace        = 10 * time.Second
	DefaultHelloTimeout = 10 * time.Second
	DefaultFrameBudget  = 8 << 10
	DefaultConflate     = 16 << 10
	DefaultMaxQueue     = 64 << 10
	DefaultTalkRate     = 1
	DefaultTalkBurst    = 5
	DefaultLitter       = 30 * time.Minute
)

// A Server is one world and its sessions, on the only loop of an engine. But where
// it says otherwise, all of it belongs to that loop.
type Server struct {
	engine *epi.Engine
	loop   *epi.Loop
	config Config
	world  *sim.World
	clock  clock
	beat   *epi.Timer // of ticks
	counts counters   // read by anybody

	sessions map[*session]struct{}
	players  map[sim.ID]*player
	names    map[string]*player // by the name's skeleton
	tokens   map[token]*player
	orphans  []orphan // the one that goes first in front
	messages proto.ClientMessages
	scratch  []byte          // the frame that is made
	barred   map[string]bool // by the configuration; by the name's skeleton
	banned   map[string]bool // by moderators; so, too
	muted    map[string]bool // so, too
	goods    *goods
	keeper   *keeper // nil: nothing lasts
	draining bool
	failure  atomic.Pointer[error] // why the world cannot go on; nil: it can
}

// A token is who a player is, to the world. The zero token is none.
type token [16]byte

// A player is somebody in the world, with a session or, for a while, without.
type player struct {
	id      sim.ID
	name    string
	key     string // of names
	token   token
	session *session
	leaves  uint64 // without a session: the tick in which it goes; else 0

	character int64      // in the store
	account   string     // its key in the store
	epoch     int64      // of character
	version   int64      // of the last snapshot
	kept      store.Soft // what that had, without its version

	bag     []*piece // as the store has committed it
	gold    int64    // so, too
	coming  int      // items under way into the bag
	earning int64    // gold under way into the purse
	pending int      // changes that wait for the store
	loading bool     // what it has is read again
	opened  *chest   // the last one it has opened; nil: none
	trade   *trade   // nil: none
	asks    *player  // whom it has asked for a trade; nil: nobody
	askedBy *player  // who has asked it last
}

// An orphan is a player without a session, until the tick in which it goes.
type orphan struct {
	player *player
	leaves uint64
}

// New makes the world, and a server for it on the loop of an engine that must have
// one, no workers, and not run yet. Time begins with the first tick, when the engine runs.
func New(engine *epi.Engine, config Config) (*Server, error) {
	if stats := engine.Stats(); len(stats.Loops) != 1 || stats.Workers != 0 {
		return nil, errors.New("a world has one loop, which runs all callbacks: set Engine.Loops to 1 and Engine.Workers to 0, and run a second world for a second CPU")
	}
	config.fill()
	world, err := sim.New(config.World)
	if err != nil {
		return nil, err
	}
	loop, err := engine.Loop(0)
	if err != nil {
		return nil, err
	}
	s := &Server{
		engine: engine, loop: loop, config: config, world: world,
		sessions: map[*session]struct{}{}, players: map[sim.ID]*player{},
		names: map[string]*player{}, tokens: map[token]*player{},
		barred: map[string]bool{}, banned: map[string]bool{}, muted: map[string]bool{},
	}
	for _, name := range config.Banned {
		s.barred[keyOf(name)] = true
	}
	if config.Store == nil {
		s.goods, err = newGoods(s, store.NewMemory(), nil)
	} else {
		s.keeper = newKeeper(s)
		s.goods, err = newGoods(s, config.Store, s.keeper.failed)
	}
	if err != nil {
		return nil, err
	}
	if config.Game != nil {
		config.Game.Begin(s)
	}
	s.counts.entities.Store(int64(world.Entities()))
	return s, loop.Do(s.vital(s.begin))
}

// fill sets what is left out.
func (c *Config) fill() {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.TalkBurst == 0 {
		c.TalkRate, c.TalkBurst = DefaultTalkRate, DefaultTalkBurst
	}
	if c.Loot == nil {
		c.Loot = DefaultLoot
	}
	c.Litter = cmp.Or(c.Litter, DefaultLitter)
	c.HelloTimeout = cmp.Or(c.HelloTimeout, DefaultHelloTimeout)
	c.FrameBudget = cmp.Or(c.FrameBudget, DefaultFrameBudget)
	c.Conflate = cmp.Or(c.Conflate, DefaultConflate)
	c.MaxQueue = cmp.Or(c.MaxQueue, DefaultMaxQueue)
}

// LogInputs writes every call that changes the world, and hashes of its state, for
// inputs.Replay. It must be called before the engine runs, and what it returns be
// closed when the engine has ended.
func (s *Server) LogInputs(to io.Writer) (*inputs.Log, error) {
	l, err := inputs.NewLog(to, s.config.World, s.world, func(err error) {
		s.config.Log.Error("the world goes on without its log of inputs", "error", err)
	})
	if err == nil {
		s.world.Record(l.Note)
	}
	return l, err
}

// Accept is what epi.Engine.Listen wants, for framed TCP.
func (s *Server) Accept(c *epi.Conn) epi.Handler { return s.open(c, nil) }

// WebSocket returns a server of WebSockets at a path, with page for all other
// requests.
func (s *Server) WebSocket(path string, page http.Handler) *ws.Server {
	return &ws.Server{
		Path:       path,
		Origins:    s.config.Origins,
		HTTP:       page,
		MaxMessage: maxClientFrame,
		Handler: func(c *ws.Conn, _ *http.Request) ws.Handler {
			return (*socket)(s.open(c.Conn(), c))
		},
	}
}

// Drain says goodbye to all, and ends their sessions after what is queued. It may be
// called from any goroutine and does not wait.
func (s *Server) Drain() {
	_ = s.loop.Do(func() { s.drain() }) // an ended loop has no sessions
}

// drain returns false when it has begun before.
func (s *Server) drain() bool {
	if s.draining {
		return false
	}
	s.draining = true
	for se := range s.sessions {
		se.refuse(refusedShutdown, "the world ends here for now")
	}
	if s.keeper != nil {
		s.keeper.drain()
	}
	return true
}

// fail ends a world that cannot go on. Any goroutine may call it.
func (s *Server) fail(err error) {
	if !s.failure.CompareAndSwap(nil, &err) {
		return
	}
	s.config.Log.Error("this world ends", "error", err)
	_ = s.loop.Do(func() { // an ended loop has ended its world
		if s.drain() && s.config.Failed != nil {
			s.config.Failed(err)
		}
	})
}

// watch ends the world when another server has its store: nothing lasts here any more. Any
// goroutine may call it with the error of a write.
func (s *Server) watch(err error) {
	if errors.Is(err, store.ErrTaken) {
		s.fail(err)
	}
}

// ErrPanicked: the world's state may be half of one tick and half of the next.
var ErrPanicked = errors.New("a tick of the world has panicked: the log has the stack")

// vital makes a panic of fn, which the engine logs, the end of the world: no tick follows it.
func (s *Server) vital(fn func()) func() {
	return func() {
		returned := false
		defer func() {
			if !returned {
				s.fail(ErrPanicked)
			}
		}()
		fn()
		returned = true
	}
}

func newToken() (t token) {
	_, _ = rand.Read(t[:]) // it never fails
	return t
}

// tokenIn returns a copy of the token that a client has sent, or none.
func tokenIn(p []byte) (t token) {
	if len(p) == len(t) {
		t = token(p)
	}
	return t
}

// chosen returns the token for a new player that has sent this one. Bytes that are all the
// same were not chosen: a client that forgot to would share them with others.
func (t token) chosen() token {
	if bytes.Count(t[:], t[:1]) == len(t) {
		return newToken()
	}
	return t
}

// enter answers Hello.
func (s *Server) enter(se *session, m *proto.Hello) {
	if s.draining {
		se.refuse(refusedShutdown, "the world ends here for now")
		return
	}
	if m.Version != proto.Version {
		se.refuse(refusedVersion, "this world speaks another version of the protocol: get its own client")
		return
	}
	t := tokenIn(m.Token)
	if p := s.tokens[t]; p != nil {
		s.resume(se, p)
		return
	}
	name, key, err := checkName(m.Name)
	if err != nil {
		se.refuse(refusedName, err.Error())
		return
	}
	if s.barred[key] || s.banned[key] {
		se.refuse(refusedBanned, "that name may not come in")
		return
	}
	if s.names[key] != nil {
		se.refuse(refusedTaken, "somebody has that name, or one that looks like it: choose another")
		return
	}
	if s.keeper != nil {
		s.keeper.look(&visitor{se, name, key, t})
		return
	}
	s.admit(se, name, key, t.chosen(), store.Character{}, nil)
}

// admit brings somebody into the world, with the character that is kept, if there is
// one, and what it has.
func (s *Server) admit(se *session, name, key string, t token, c store.Character, items []store.Item) {
	id, err := s.world.Join(name)
	if err != nil {
		se.refuse(refusedFull, "no more players fit into this world: try later")
		return
	}
	p := &player{id: id, name: name, key: key, token: t}
	s.players[id], s.names[key], s.tokens[p.token] = p, p, p
	s.counts.players.Store(int64(len(s.players)))
	if c.ID != 0 {
		p.account = key
		s.restore(p, c)
		p.has(c.Gold, items)
	} else {
		s.goods.stranger(p)
	}
	s.welcome(se, p, false)
	if g := s.config.Game; g != nil {
		g.Joined(id, name)
	}
}

const takenOver = "you have come from somewhere else"

// resume gives a player another session. The old one, if it is there still, ends.
func (s *Server) resume(se *session, p *player) {
	if old := p.session; old != nil {
		old.player, p.session = nil, nil
		old.refuse(refusedTakenOver, takenOver)
	}
	s.goods.lost(p)
	p.leaves = 0
	_ = s.world.Restart(p.id) // it is there
	s.welcome(se, p, true)
}

func (s *Server) welcome(se *session, p *player, resumed bool) {
	se.player, p.session = p, se
	se.view.Reset()
	x, y, _ := s.world.At(p.id)
	w := proto.Welcome{
		Version: proto.Version, Self: uint32(p.id), Token: p.token[:], Tick: uint32(s.world.Tick()),
		Hz: uint8(s.config.World.Hz), Seed: s.config.World.Seed,
		Width: uint8(s.config.World.Width), Height: uint8(s.config.World.Height),
		Day: uint32(s.world.Day()), Epoch: s.world.Epoch(p.id), X: uint16(x), Y: uint16(y),
	}
	if resumed {
		w.Resumed = 1
	}
	for _, step := range s.world.Steps() {
		w.Steps = append(w.Steps, proto.Step{Straight: uint8(step.Straight), Diagonal: uint8(step.Diagonal)})
	}
	se.send(p.appendBag(s.world.Standing(w.Append(nil), p.id)))
	s.counts.joins.Add(1)
}

// lose is the end of a player's session: the player stays for a while.
func (s *Server) lose(p *player) {
	p.session = nil
	s.goods.lost(p)
	p.leaves = s.world.Tick() + 1 + s.ticks(s.config.Grace)
	s.orphans = append(s.orphans, orphan{p, p.leaves})
}

// ticks is how many ticks there are in a time, 0 for none.
func (s *Server) ticks(d time.Duration) uint64 { return uint64(max(0, d) / s.clock.period) }

// notice sends a player a line of the server's own.
func (p *player) notice(code uint8, text string) {
	if p.session != nil {
		p.session.notice(code, text)
	}
}

// leave takes a player out of the world.
func (s *Server) leave(p *player) {
	if g := s.config.Game; g != nil {
		g.Left(p.id)
	}
	if s.keeper != nil {
		s.keeper.leave(p)
	}
	s.goods.leave(p)
	_ = s.world.Leave(p.id) // it is there
	delete(s.players, p.id)
	delete(s.names, p.key)
	delete(s.tokens, p.token)
	s.counts.players.Store(int64(len(s.players)))
}

// expire takes those out who have not come back. All stay for the same time, so the
// first of them goes first.
func (s *Server) expire() {
	for len(s.orphans) > 0 && s.orphans[0].leaves <= s.world.Tick() {
		o := s.orphans[0]
		s.orphans = s.orphans[1:]
		if o.player.leaves == o.leaves && s.players[o.player.id] == o.player {
			s.leave(o.player)
		}
	}
	if len(s.orphans) == 0 {
		s.orphans = nil
	}
}
