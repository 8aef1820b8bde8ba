package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/epinet/epi"
	"github.com/epinet/epi/ws"
)

// A server is what the commands that serve have in common: their flags and
// their life, which is listen, tell, run, drain.
type server struct {
	engine    epi.Engine
	listeners []*epi.Listener
	listen    []string
	way       way
	stats     time.Duration
	json      bool
	logLevel  slog.Level
	cert, key string

	webSocket  func(path string) *ws.Server // for ws:// and wss://; nil: the command has none
	webSockets []*ws.Server
	adminAt    string
	admin      *admin // nil: nobody asked for it
}

func (s *server) addFlags(flags *pflag.FlagSet, address string) {
	e := &s.engine
	flags.SortFlags = false
	flags.StringArrayVar(&s.listen, "listen", []string{address}, "serve on this `address`: tcp://host:port, tcp4://, tcp6://, tls://, unix:///path, ws://host:port/path or wss://; repeatable")
	flags.Var(wayValue(&s.way), "driver", "`name` of the driver: "+wayNames)
	flags.Var(count(&e.Loops), "loops", "`number` of event loops (default one per CPU)")
	flags.Var(count(&e.Workers), "workers", "`number` of goroutines for callbacks (default 0: the loops run them)")
	flags.Var(waitValue(&e.Wait), "wait", "`policy` of idle loops: block, spin, spin:DURATION or DURATION")
	flags.Var(count(&e.MaxConns), "max-conns", "`number` of connections served at once (default what open files allow)")
	flags.Var(timeout(&e.IdleTimeout), "idle-timeout", "`duration` of silence after which a connection is closed (default none)")
	flags.Var(timeout(&e.WriteTimeout), "write-timeout", "`duration` without progress after which a slow reader is reset (default none)")
	flags.Var(limit(&e.Linger), "linger", "`duration` without progress that a closing connection is allowed (default 5s)")
	flags.Var(limit(&e.DrainTimeout), "drain-timeout", "`duration` after which draining gives up (default 10s)")
	flags.BoolVar(&e.ReusePort, "reuse-port", false, "a listening socket for each loop (SO_REUSEPORT)")
	flags.Var(choiceValue(&e.LockOSThread), "lock-os-thread", "`choice` of a thread for each loop alone: auto, yes or no")
	flags.Var(adminValue(&s.adminAt), "admin", "`host:port` for "+adminPaths+" over HTTP; without a host on loopback (default none)")
	flags.Var(timeout(&s.stats), "stats", "`duration` between lines of statistics (default none)")
	flags.StringVar(&s.cert, "cert", "", "PEM `file` with the certificate chain for tls:// and wss://")
	flags.StringVar(&s.key, "key", "", "PEM `file` with the certificate's key")
	flags.BoolVar(&s.json, "json", false, "print JSON objects, one per line")
	flags.Var(levelValue(&s.logLevel), "log-level", "`level` of the log on stderr: debug, info, warn or error")
}

// serve runs the engine until it is told to end by signals.
func (s *server) serve(stdout, stderr io.Writer, handler func(*epi.Conn) epi.Handler) error {
	if err := raiseOpenFiles(); err != nil {
		return failure{err}
	}
	out := newReport(stdout, s.json)
	s.engine.Driver, s.engine.Trigger = s.way.driver, s.way.trigger
	s.engine.Logger = slog.New(slog.NewTextHandler(out.logTo(stderr), &slog.HandlerOptions{Level: s.logLevel}))
	signals := make(chan os.Signal, 2) // one to drain, one to abort
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	begun, err := s.open(handler)
	if err != nil {
		s.discard()
		s.closeAdmin()
		signal.Stop(signals)
		return err
	}
	out.tell(begun)
	defer s.closeAdmin()
	return s.run(out, signals) // signals stay caught: a late one does not change the exit code
}

// open listens and finds out what there is to tell at the start.
func (s *server) open(handler func(*epi.Conn) epi.Handler) (startEvent, error) {
	var addresses []string
	if err := s.loadCertificate(); err != nil {
		return startEvent{}, err
	}
	for _, address := range s.listen {
		ln, name, err := s.listenOn(address, handler)
		if err != nil {
			return startEvent{}, listenError(err)
		}
		s.listeners = append(s.listeners, ln)
		addresses = append(addresses, name)
	}
	if err := s.openAdmin(); err != nil {
		return startEvent{}, failure{err}
	}
	stats := s.engine.Stats()
	r, err := measureRoom(stats.Driver)
	if err != nil {
		return startEvent{}, failure{err}
	}
	if err := r.check(s.engine.MaxConns); err != nil {
		return startEvent{}, failure{err}
	}
	begun := newStart(addresses, stats, s.engine.Wait, s.engine.MaxConns, r)
	if s.admin != nil {
		begun.Admin = s.admin.url()
	}
	return begun, nil
}

func (s *server) openAdmin() (err error) {
	if s.adminAt != "" {
		s.admin, err = openAdmin(s.adminAt, &s.engine)
	}
	return err
}

func (s *server) closeAdmin() {
	if s.admin != nil {
		s.admin.close()
	}
}

// drains tells those who ask for the server's health.
func (s *server) drains() {
	if s.admin != nil {
		s.admin.draining.Store(true)
	}
}

// listenError tells an address that makes no sense, which is a usage error,
// from one that cannot be had: in that the system or a name server has a part.
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
	_ = s.engine.Run(ended) // it has told its error before
}

// run serves and drains at the first signal. The second aborts.
func (s *server) run(out *report, signals <-chan os.Signal) error {
	ctx, drain := context.WithCancel(context.Background())
	defer drain()
	result := make(chan error, 1)
	go func() { result <- s.engine.Run(ctx) }()
	defer s.closeWebSockets()

	first := measure(&s.engine)
	last := first
	ticks, stop := tick(s.stats)
	defer stop()
	for {
		select {
		case <-ticks:
			now := measure(&s.engine)
			out.tellLive(newStats(last, now))
			last = now
		case <-signals:
			if ctx.Err() != nil {
				err := s.abort(result)
				out.tell(newTotals(first, measure(&s.engine)))
				return err
			}
			s.drains()
			if now := measure(&s.engine); now.stats.Conns > 0 {
				out.tell(newDraining(now))
			}
			drain()
		case err := <-result:
			out.tell(newTotals(first, measure(&s.engine)))
			return runError(err)
		}
	}
}

// lastMoment is far more than an engine without connections needs to end.
const lastMoment = time.Second

// abort gives up draining. The connections break when the process ends. When
// none are left there is nothing to give up, only a moment to wait: timeout(1)
// and its like send each signal twice.
func (s *server) abort(result <-chan error) error {
	left := s.engine.Stats().Conns
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
	for _, ln := range s.listeners {
		addr, ok := ln.Addr().(*net.UnixAddr)
		if ok && !strings.HasPrefix(addr.Name, "@") { // those with @ are no files
			_ = os.Remove(addr.Name)
		}
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
