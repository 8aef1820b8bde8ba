package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/ws"
)

// MaxLoops is the most loops that a Server can have: a SessionID has four bits for
// its loop. One hall is busy long before so many loops are.
const MaxLoops = 16

// A Config is what a Server needs to know besides the hall's.
type Config struct {
	Hall hall.Config
	// Registration bounds the time from the connection to the end of registration.
	Registration time.Duration
	// Ping is the silence after which a session is asked for a sign of life, and
	// Dead that after which it is given up.
	Ping, Dead time.Duration
	// Stall is how long a client for which much waits may take nothing of it; 0: no
	// limit but the engine's.
	Stall time.Duration
	// Throttle is what a session can spend.
	Throttle Throttle
	// Origins are the values of Origin from which browsers may connect: see
	// ws.Server.
	Origins []string
	// Kept is what was kept before, for the start.
	Kept hall.Kept
	// Keep keeps a change for the next start, or is nil. One goroutine calls it; it
	// must not block. done is called when the change is durable, or with the reason why it
	// will not be; it may be nil.
	Keep func(c hall.Change, done func(error))
	// Claim registers a channel of a network, unless it is registered. It may block. nil: there is
	// no Fabric.
	Claim func(context.Context, *hall.KeepChannel) hall.Result
	// Proxies are networks from which a PROXY header may come as the first line. Who
	// sends none comes from where the connection does.
	Proxies []netip.Prefix
	// Vault has the accounts and the passwords.
	Vault Vault
	// History keeps what is said; nil if nothing is kept. Relaxed: what is said is shown
	// before it is durable.
	History History
	Relaxed bool
	// Durable is called with each message that has become durable, by the goroutine that
	// writes: it must not block. nil: nobody wants to know.
	Durable func(*hall.Record)
	// Push sends push messages; nil if there are none.
	Push Push
	// Fabric joins this chat with others to one network; nil if it is alone. New starts
	// it, and whoever has made it closes it, after the engine's Run has returned and
	// EndNetwork.
	Fabric fabric.Fabric
	// CatchUp waits, at the start of a node, until Server.Changed has been called with what all
	// nodes keep; nil: there is nothing.
	CatchUp func(context.Context) error
	// Replicated: what is said is durable, and shown, once a majority of the nodes has it
	// on disk, and not only this one.
	Replicated bool
	// Retention is for how long the Fabric keeps the replicated history; 0 is for good.
	Retention time.Duration
	// Reload reads the configuration again, for REHASH; nil if there is none.
	Reload func() (*Config, error)
	// Applied is called when this configuration replaces another; nil: nothing is.
	Applied func()
	// Stop ends the server in order, for DIE.
	Stop func()
	// Clock says what time it is; nil: time.Now.
	Clock func() time.Time
	// Log has what operators want to know; never passwords.
	Log *slog.Logger
}

// A Server is a chat server on an engine, whose loops it uses but does not run.
type Server struct {
	engine *epi.Engine
	config atomic.Pointer[Config]
	desk   *desk
	shards []*shard
	clock  func() time.Time
	work   workers // hashes: they take the CPU
	reads  workers // of the history: they wait for the disk
	counts counters
}

// New returns a server for the loops of engine, which must not run yet.
func New(engine *epi.Engine, config Config) (*Server, error) {
	s := &Server{engine: engine, clock: config.Clock}
	if s.clock == nil {
		s.clock = time.Now
	}
	s.config.Store(&config)
	s.work.init(s)
	s.reads.init(s)
	s.counts.commands = newOutcomes()
	loops := engine.Stats().Loops
	if len(loops) == 0 {
		return nil, errors.New("chat: the engine has no loops")
	}
	if len(loops) > MaxLoops {
		return nil, fmt.Errorf("chat: %d loops are more than the %d that one hall can keep busy", len(loops), MaxLoops)
	}
	for i := range loops {
		loop, err := engine.Loop(i)
		if err != nil {
			return nil, err
		}
		s.shards = append(s.shards, newShard(s, loop, i))
	}
	s.desk = newDesk(s, config)
	return s, s.desk.startNetwork()
}

// nowMillis is the time as the hall wants it.
func (s *Server) nowMillis() int64 { return s.clock().UnixMilli() }

// Configure replaces the configuration, as SIGHUP does. It may be called from any
// goroutine. What belongs to a session already, such as its bucket's size, stays.
func (s *Server) Configure(config Config) {
	s.config.Store(&config)
	_ = s.desk.loop.Do(func() { s.desk.configure(config.Hall) }) // when the loop has ended there is no hall
	if config.Applied != nil {
		config.Applied()
	}
}

// Listener says what a listener's sessions are like.
type Listener struct {
	// Secure: the way to the clients is encrypted, or does not leave the machine.
	Secure bool
}

// Accept returns what epi.Engine.Listen wants for lines on a byte stream.
func (s *Server) Accept(l Listener) func(*epi.Conn) epi.Handler {
	return func(c *epi.Conn) epi.Handler {
		return (*lines)(s.open(c, l, plain))
	}
}

// The subprotocols of https://ircv3.net/specs/extensions/websocket. The first that
// a client offers is taken; without one, lines are text.
var subprotocols = []string{"binary.ircv3.net", "text.ircv3.net"}

// maxMessage is one line of a client with tags, in bytes.
var maxMessage = len("@ ") + ircmsg.FromClient.Tags + ircmsg.FromClient.Line

// WebSocket returns a server of WebSockets at a path, with page for all other
// requests.
func (s *Server) WebSocket(path string, l Listener, page http.Handler) *ws.Server {
	c := s.config.Load()
	return &ws.Server{
		Path:         path,
		Origins:      c.Origins,
		Subprotocols: subprotocols,
		Answer:       firstOffered,
		HTTP:         page,
		MaxMessage:   maxMessage,
		OpenTimeout:  c.Registration,
		Handler: func(w *ws.Conn, _ *http.Request) ws.Handler {
			kind := text
			if w.Subprotocol() == subprotocols[0] {
				kind = binary
			}
			se := s.open(w.Conn(), l, kind)
			se.socket = w
			return (*messages)(se)
		},
	}
}

// firstOffered chooses the subprotocol as the client prefers: its first that we
// speak.
func firstOffered(r *http.Request, a *ws.Answer) error {
	for _, header := range r.Header.Values("Sec-WebSocket-Protocol") {
		for offered := range strings.SplitSeq(header, ",") {
			if offered = strings.TrimSpace(offered); slices.Contains(subprotocols, offered) {
				a.Subprotocol = offered
				return nil
			}
		}
	}
	return nil
}

// Vault returns the vault of the configuration that holds now.
func (s *Server) Vault() Vault { return s.config.Load().Vault }

// Drain says goodbye on all loops; the engine's Run closes the connections when its
// context ends. It may be called from any goroutine and does not wait.
func (s *Server) Drain() {
	for _, sh := range s.shards {
		_ = sh.loop.Do(sh.farewell) // an ended loop has no sessions
	}
}

// EndNetwork lets the fabric go on that waits for the hall, whose loop has ended.
func (s *Server) EndNetwork() { s.desk.endNetwork() }

// Wait waits until no work is under way, after the engine's Run has returned.
func (s *Server) Wait(ctx context.Context) error {
	return errors.Join(s.work.wait(ctx), s.reads.wait(ctx))
}
