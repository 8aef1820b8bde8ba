package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/pflag"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/internal/live"
	"github.com/epinet/epi/apps/internal/webguard"
	"github.com/epinet/epi/metrics"
)

const (
	// adminHost is where the admin server listens when no host is given:
	// profiles show what a program does, to whoever asks.
	adminHost = "127.0.0.1"
	// adminHeaders bounds the time that a client of the admin server has for
	// the header of its request, and adminIdle that between two requests.
	adminHeaders = 5 * time.Second
	adminIdle    = time.Minute
	// adminHeaderBytes bounds the size of that header.
	adminHeaderBytes = 16 << 10
	// adminMeasures bounds how long a profile or trace may take, and adminAnswer
	// how long any answer may.
	adminMeasures = time.Minute
	adminAnswer   = adminMeasures + 15*time.Second
	// adminFarewell is how long an answer under way may take at the end.
	adminFarewell = time.Second
)

// adminPaths are the pages of the admin server.
const adminPaths = "/live, /metrics, /healthz, /debug/pprof"

// adminFlags are what the command line says about the admin server.
type adminFlags struct {
	address string   // empty: there is none
	hosts   []string // names that clients call it by
	write   bool     // the live view may change something
}

func (f *adminFlags) add(flags *pflag.FlagSet) {
	flags.Var(adminValue(&f.address), "admin", "`host:port` for "+adminPaths+" over HTTP; without a host on loopback (default none)")
	flags.BoolVar(&f.write, "admin-write", false, "let the live view of --admin pause, resume and close connections; on loopback only")
	flags.StringArrayVar(&f.hosts, "admin-host", nil, "`name` by which clients call the admin server, besides its addresses, localhost and the host of --admin; repeatable")
}

// check refuses flags that say something about an admin server that is none.
func (f *adminFlags) check() error {
	switch {
	case f.address != "":
		return nil
	case f.hosts != nil:
		return errors.New("--admin-host is about the admin server, and there is none: add --admin")
	case f.write:
		return errors.New("--admin-write is about the admin server, and there is none: add --admin")
	}
	return nil
}

// An admin serves the live view, metrics, health and profiles over HTTP, beside the
// engine.
type admin struct {
	live     *live.View
	listener net.Listener
	server   *http.Server
	done     chan struct{} // serving has ended
	draining atomic.Bool
}

// openAdmin listens, for the server of that name. The engine must have its
// listeners.
func openAdmin(f *adminFlags, name string, e *epi.Engine, more []prometheus.Collector, pages map[string]http.HandlerFunc) (*admin, error) {
	ln, err := net.Listen("tcp", f.address)
	if err != nil {
		return nil, fmt.Errorf("--admin: %w; choose another address", err)
	}
	a := &admin{listener: ln, done: make(chan struct{}), live: live.New(e, live.Options{Name: name, Write: f.write})}
	if !ln.Addr().(*net.TCPAddr).IP.IsLoopback() {
		if f.write {
			_ = ln.Close()
			return nil, fmt.Errorf("--admin-write: other machines can reach %s, and nobody is asked who they are: choose a loopback address for --admin, such as %s, and a tunnel", ln.Addr(), adminHost)
		}
		e.Logger.Warn("other machines can reach the admin address, where everybody may look at profiles; with "+adminHost+" they cannot", "admin", a.url())
	}
	a.server = &http.Server{
		Handler:           f.guard().Wrap(boundMeasures(a.handler(e, more, pages))),
		ReadHeaderTimeout: adminHeaders,
		WriteTimeout:      adminAnswer,
		IdleTimeout:       adminIdle,
		MaxHeaderBytes:    adminHeaderBytes,
		ErrorLog:          slog.NewLogLogger(e.Logger.Handler(), slog.LevelWarn),
	}
	go func() {
		defer close(a.done)
		if err := a.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			e.Logger.Error("the admin server has ended", "error", err)
		}
	}()
	return a, nil
}

// guard keeps pages out that a browser beside the server shows. All requests have
// effects, a profile costs CPU time: so nobody may link here. POST is for the live
// view, which says by itself when it may not, and for a node's leaders.
func (f *adminFlags) guard() *webguard.Guard {
	host, _, _ := net.SplitHostPort(f.address) // which was checked
	return &webguard.Guard{
		Hosts:   append([]string{host}, f.hosts...),
		Methods: []string{http.MethodGet, http.MethodHead, http.MethodPost},
	}
}

// boundMeasures refuses profiles and traces of no length or any.
func boundMeasures(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, text := range r.URL.Query()["seconds"] {
			seconds, err := strconv.ParseFloat(text, 64)
			if err != nil || !(seconds > 0 && seconds <= adminMeasures.Seconds()) {
				http.Error(w, fmt.Sprintf("seconds=%.20q: write a number above 0, at most %.0f", text, adminMeasures.Seconds()), http.StatusBadRequest)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (a *admin) url() string { return "http://" + a.listener.Addr().String() }

func (a *admin) handler(e *epi.Engine, more []prometheus.Collector, pages map[string]http.HandlerFunc) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		metrics.New(e),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	registry.MustRegister(more...)
	mux := http.NewServeMux()
	view := a.live.Handler()
	mux.Handle("/live", view)
	mux.Handle("/live/", view)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	mux.HandleFunc("GET /healthz", a.health)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	paths := strings.Split(adminPaths, ", ")
	for pattern, serve := range pages {
		mux.HandleFunc(pattern, serve)
		if path, ok := strings.CutPrefix(pattern, "GET "); ok {
			paths = append(paths, path)
		}
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Join(paths, "\n")+"\n")
	})
	return mux
}

// health says whether new connections are welcome.
func (a *admin) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if a.draining.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "draining\n")
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}

// close ends the admin server. Answers under way, a profile of half a minute
// perhaps, have a moment; pages that look on have none.
func (a *admin) close() {
	a.live.Close()
	ctx, cancel := context.WithTimeout(context.Background(), adminFarewell)
	defer cancel()
	if a.server.Shutdown(ctx) != nil {
		_ = a.server.Close()
	}
	<-a.done
}

// adminValue is host:port; the host may be missing.
func adminValue(to *string) *value[string] {
	return &value[string]{to: to, parse: func(text string) (string, error) {
		host, service, err := net.SplitHostPort(text)
		if err != nil {
			return "", errors.New("write host:port, or :port for " + adminHost)
		}
		if _, err := net.LookupPort("tcp", service); err != nil {
			return "", errors.New("write a port from 0 to 65535 behind the colon")
		}
		if host == "" {
			host = adminHost
		}
		return net.JoinHostPort(host, service), nil
	}}
}
