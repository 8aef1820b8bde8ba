package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/sock"
	"github.com/epinet/epi/ws"
)

// A server is what the commands that serve have in common: their flags and
// their life, which is listen, print, run, drain.
type server struct {
	engine      epi.Engine
	listen      []string
	options     epi.ListenOptions // of all listeners
	flags       *pflag.FlagSet
	clients     clientLimits
	security    security
	signals     chan os.Signal
	hangups     <-chan os.Signal // nil: no files to read again
	passed      []*passed        // sockets that were handed over
	datagrams   bool             // the command answers them
	packets     packetEcho
	wave        wave
	thrift      thrift            // in waves
	socketFiles []sock.SocketFile // to be removed when the loops do not come to it
	way         way
	stats       time.Duration
	json        bool
	logLevel    slog.Level

	service
	hosts      []string // names of the server, of a guarded one
	webSockets []*ws.Server
	adminFlags adminFlags
	admin      *admin // nil: nobody asked for it
}

// memoryShare is the part of the memory that connections may hold by default: one
// in so many. The runtime may keep as much again that it has not collected yet.
const memoryShare = 2

// A service is what one command does with the connections of its server.
type service struct {
	// prepare is called once, when the engine is configured and has no listeners
	// yet; nil: there is nothing to prepare.
	prepare func(*server) error
	// stream returns what handles the connections of a listener.
	stream func(place) func(*epi.Conn) epi.Handler
	// webSocket returns a server for ws:// and wss://; nil: the command has none.
	webSocket func(at place, path string) *ws.Server
	// guarded: what it serves over HTTP is closed to the pages of other sites. Not
	// so for echo, which has nothing to protect.
	guarded bool
	// methods are those that its pages take; nil: GET and HEAD.
	methods []string
	// schemes are the command's names for the engine's, such as irc for tcp.
	schemes map[string]string
	// reload reads files again at SIGHUP, and returns what to print; nil: it has none.
	reload func() event
	// opened is called when the server listens everywhere, with the addresses as they
	// are. What it returns ends what it has begun; nil: nothing is to begin.
	opened func(addresses []string) (end func(), err error)
	// links returns what a person may open in a browser, of the addresses; nil: nothing.
	links func(addresses []string) []string
	// goodbye is called when draining begins.
	goodbye func()
	// collectors are what the admin server shows of it.
	collectors []prometheus.Collector
	// pages are those that the admin server has of it, by path.
	pages map[string]http.HandlerFunc
	// live returns what --stats prints; nil: what all servers do.
	live func(from, to measurement) event
}

// A place is where a listener is, as clients write it.
type place struct {
	address string
	secure  bool // the way there is encrypted, or within this machine
}

// messageTimeout is the default of --message-timeout: much longer than the slowest
// link needs for a record of TLS.
const messageTimeout = 30 * time.Second

func (s *server) addFlags(flags *pflag.FlagSet, address string) {
	e := &s.engine
	flags.SortFlags = false
	var addresses []string
	if address != "" {
		addresses = []string{address}
	}
	flags.StringArrayVar(&s.listen, "listen", addresses, "serve on this `address`: "+s.listenForms()+"; repeatable")
	flags.Var(wayValue(&s.way), "driver", "`name` of the driver: "+wayNames)
	flags.Var(count(&e.Loops), "loops", "`number` of event loops (default one per CPU)")
	flags.Var(count(&e.Workers), "workers", "`number` of goroutines for callbacks (default 0: the loops run them)")
	flags.Var(waitValue(&e.Wait), "wait", "`policy` of idle loops: block, spin, spin:DURATION or DURATION")
	flags.Var(count(&e.MaxConns), "max-conns", "`number` of connections served at once (default what open files allow)")
	s.clients.addFlags(flags)
	flags.Var(memoryValue(&e.MaxMemory), "max-memory", "`bytes` that all connections may hold, queued or unread; 0 for any (default half of what the process may have)")
	s.flags = flags
	flags.Var(timeout(&e.IdleTimeout), "idle-timeout", "`duration` of silence after which a connection is closed (default none)")
	flags.Var(timeout(&e.ReadTimeout), "read-timeout", "`duration` after which a connection is closed that has sent nothing, whatever it was sent (default none)")
	e.MessageTimeout = messageTimeout
	flags.Var(timeout(&e.MessageTimeout), "message-timeout", "`duration` after which a peer must have finished a message or a TLS record that it has begun; 0 for none (default 30s)")
	flags.Var(timeout(&e.WriteTimeout), "write-timeout", "`duration` without progress after which a slow reader is reset (default none)")
	flags.Var(limit(&e.Linger), "linger", "`duration` without progress that a closing connection is allowed (default 5s)")
	flags.Var(sizeValue(&e.LeastRate, ""), "least-rate", "`bytes` a second that the peer of a closing connection must take after that, on average (default 16KiB)")
	flags.Var(limit(&e.DrainTimeout), "drain-timeout", "`duration` after which draining gives up (default 10s)")
	flags.BoolVar(&e.ReusePort, "reuse-port", false, "a listening socket for each loop (SO_REUSEPORT)")
	flags.Var(choiceValue(&e.LockOSThread), "lock-os-thread", "`choice` of a thread for each loop alone: auto, yes or no")
	s.security.addFlags(flags)
	flags.Var(count(&e.MaxHandshakes), "max-handshakes", "`number` of TLS handshakes at once; others wait (default 4096)")
	flags.Var(limit(&e.HandshakeTimeout), "handshake-timeout", "`duration` allowed for a TLS handshake and a PROXY header (default 10s)")
	flags.Var(prefixesValue(&s.options.ProxyFrom), "proxy-from", "`network` such as 10.0.0.0/8 of proxies, whose connections begin with a PROXY header; repeatable (default none)")
	flags.Var(usersValue(&s.options.ProxyUsers), "proxy-users", "`user`, by name or number, whose programs are proxies when they connect to a Unix socket: their connections begin with a PROXY header; repeatable (default root and this process's own, where there is --proxy-from)")
	if s.guarded {
		flags.StringArrayVar(&s.hosts, "host", nil, "`name` by which browsers call the server, besides its addresses, localhost, and the names of --listen and of the certificate; repeatable")
	}
	s.adminFlags.add(flags)
	flags.Var(timeout(&s.stats), "stats", "`duration` between lines of statistics (default none)")
	flags.BoolVar(&s.json, "json", false, "print JSON objects, one per line")
	flags.Var(levelValue(&s.logLevel), "log-level", "`level` of the log on stderr: debug, info, warn or error")
}

// serve runs the engine until a signal ends it.
func (s *server) serve(stdout, stderr io.Writer) error {
	if err := raiseOpenFiles(); err != nil {
		return failure{err}
	}
	// A server outlives those who read what it says: what it cannot write has no
	// part in the exit code, and SIGPIPE would end it.
	signal.Ignore(syscall.SIGPIPE)
	out := newReport(below(stdout), s.json)
	s.engine.Driver, s.engine.Trigger = s.way.driver, s.way.trigger
	s.engine.Logger = slog.New(newSparingHandler(slog.NewTextHandler(out.logTo(stderr), &slog.HandlerOptions{Level: s.logLevel})))
	s.wave = newWave()
	s.signals = make(chan os.Signal, 2) // one to drain, one to abort
	signals := s.signals
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	begun, err := s.open()
	if err == nil && s.opened != nil {
		var end func()
		if end, err = s.opened(begun.Listen); err == nil {
			defer end()
		}
	}
	if err != nil {
		s.discard()
		s.closeAdmin()
		signal.Stop(signals)
		return err
	}
	if s.hangups == nil {
		drainAtHangup(signals)
	}
	out.print(begun)
	defer s.closeAdmin()
	return s.run(out, signals) // signals stay caught: a late one does not change the exit code
}

// spareProcessor gives Go's scheduler one processor more than there are loops,
// unless the environment says how many it has. The loop that sleeps in the kernel
// keeps its processor then: taking it back and giving it again is a fifth of what
// a message costs where every message wakes the loop.
func spareProcessor(loops int) {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) <= loops {
		runtime.GOMAXPROCS(loops + 1)
	}
}

// open listens and finds out what there is to print at the start.
func (s *server) open() (startEvent, error) {
	addresses, err := s.openListeners()
	if err != nil {
		return startEvent{}, err
	}
	if err := s.openAdmin(); err != nil {
		return startEvent{}, failure{err}
	}
	stats := s.engine.Stats()
	spareProcessor(len(stats.Loops))
	r, err := measureRoom(stats.Driver)
	if err != nil {
		return startEvent{}, failure{err}
	}
	if err := r.check(s.engine.MaxConns); err != nil {
		return startEvent{}, failure{err}
	}
	var links []string
	if s.links != nil {
		links = s.links(addresses)
	}
	begun := newStart(addresses, stats, s.engine.Wait, s.engine.MaxConns, r)
	begun.MaxMemory, begun.memoryGiven = s.engine.MaxMemory, s.flags.Changed("max-memory")
	begun.Links = links
	begun.ConnsPerIP, begun.HandshakesPerIP = s.engine.MaxConnsPerIP, s.engine.MaxHandshakesPerIP
	if s.admin != nil {
		begun.Admin = s.admin.url()
	}
	if s.engine.TLS != nil {
		served := s.security.describe(s.engine.TLS)
		begun.Certificate = &served
	}
	return begun, nil
}

// openListeners listens everywhere, and returns the addresses.
func (s *server) openListeners() (addresses []string, err error) {
	if err := s.adminFlags.check(); err != nil {
		return nil, err
	}
	if s.passed, err = takePassed(); err != nil {
		return nil, failure{err}
	}
	listen := s.engineSchemes(s.listen)
	if s.engine.TLS, err = s.security.open(listen, s.engine.Logger); err != nil {
		return nil, err
	}
	if s.security.rereads() || s.reload != nil {
		s.hangups = notifyHangup()
	}
	if s.proxied() && !slices.ContainsFunc(listen, isStream) {
		return nil, errors.New("--proxy-from and --proxy-users are about connections, and datagrams have none: add another address by --listen")
	}
	s.clients.set(&s.engine, listen)
	if room := memoryRoom(); !s.flags.Changed("max-memory") && room < math.MaxInt {
		s.engine.MaxMemory = room / memoryShare
	}
	if s.prepare != nil {
		if err := s.prepare(s); err != nil { // before the engine begins with the first listener
			return nil, err
		}
	}
	for _, address := range listen {
		bound, err := s.listenAt(address)
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, s.commandSchemes(bound)...)
	}
	for _, p := range s.passed {
		if !p.taken {
			s.engine.Logger.Warn("a socket was handed over and is not used: name it by --listen", "socket", p.String())
		}
	}
	return addresses, nil
}

func (s *server) openAdmin() (err error) {
	if s.adminFlags.address != "" {
		s.admin, err = openAdmin(&s.adminFlags, "epi "+s.flags.Name(), &s.engine, s.collectors, s.pages)
	}
	return err
}

func (s *server) closeAdmin() {
	if s.admin != nil {
		s.admin.close()
	}
}

// drains lets health checks see that the server drains.
func (s *server) drains() {
	if s.admin != nil {
		s.admin.draining.Store(true)
	}
}

// listenError separates an address that makes no sense, a usage error, from one
// that the system or a name server refuses.
func listenError(err error) error {
	var errno syscall.Errno
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return failure{fmt.Errorf("%w; raise the limit with ulimit -n or choose fewer --loops", err)}
	case errors.As(err, &dns):
		return failure{fmt.Errorf("%w: choose a name or an address of this machine", err)}
	case errors.As(err, &errno):
		return failure{err}
	}
	return err
}

// discard frees an engine that is not to run.
func (s *server) discard() {
	ended, end := context.WithCancel(context.Background())
	end()
	_ = s.engine.Run(ended) // it has returned its error before
}

// run serves and drains at the first signal. The second aborts.
func (s *server) run(out *report, signals <-chan os.Signal) error {
	ctx, drain := context.WithCancel(context.Background())
	defer drain()
	result := make(chan error, 1)
	go func() { result <- s.engine.Run(ctx) }()
	defer s.closeWebSockets()

	first := s.measure()
	last := first
	ticks, stop := tick(s.stats)
	defer stop()
	defer s.wave.ended.Stop()
	for {
		select {
		case <-s.wave.grown:
			s.thrift.begin()
			s.wave.follow(s.engine.Stats().Held)
		case <-s.wave.ended.C:
			if s.wave.follow(s.engine.Stats().Held) {
				debug.FreeOSMemory()
				s.thrift.end()
			}
		case <-ticks:
			now := s.measure()
			out.printLive(s.statsOf(last, now))
			last = now
		case <-s.hangups:
			s.reread(out)
		case <-signals:
			if ctx.Err() != nil {
				err := s.abort(result)
				out.print(newTotals(first, s.measure()))
				return err
			}
			s.drains()
			if s.goodbye != nil {
				s.goodbye()
			}
			if now := s.measure(); now.conns() > 0 {
				out.print(newDraining(now))
			}
			drain()
		case err := <-result:
			out.print(newTotals(first, s.measure()))
			return runError(err)
		}
	}
}

func (s *server) statsOf(from, to measurement) event {
	if s.live != nil {
		return s.live(from, to)
	}
	return newStats(from, to)
}

// stop begins to drain, as a signal does. It may be called from any goroutine.
func (s *server) stop() {
	select {
	case s.signals <- syscall.SIGTERM:
	default: // it has begun
	}
}

// reread reads again what SIGHUP is for.
func (s *server) reread(out *report) {
	if s.security.rereads() {
		out.print(s.security.reload(s.engine.TLS, s.engine.Logger))
	}
	if s.reload != nil {
		out.print(s.reload())
	}
}

// lastMoment is far more than an engine without connections needs to end.
const lastMoment = time.Second

// abort gives up draining. The connections break when the process ends. When
// none are left there is nothing to give up, only a moment to wait: timeout(1)
// and its like send each signal twice.
func (s *server) abort(result <-chan error) error {
	left := s.measure().conns()
	if left == 0 {
		select {
		case err := <-result:
			return runError(err)
		case <-time.After(lastMoment):
		}
	}
	s.removeSocketFiles()
	return failure{fmt.Errorf("aborted: %s cut off", plural(left, "connection"))}
}

// removeSocketFiles does what the loops may not have come to.
func (s *server) removeSocketFiles() {
	for _, file := range s.socketFiles {
		_ = file.Remove()
	}
}

// tick is a ticker that may be none.
func tick(d time.Duration) (<-chan time.Time, func()) {
	if d == 0 {
		return nil, func() {}
	}
	t := time.NewTicker(d)
	return t.C, t.Stop
}

func runError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, epi.ErrDrainTimeout):
		return failure{fmt.Errorf("%w; slow readers need a longer --drain-timeout", err)}
	}
	return failure{err}
}
