// Package live shows the loops of a running engine in the browser: what each phase
// of their turns takes, how late they are, what they move, the connections, and why
// those have ended. The page is fed by server-sent events.
//
//	browser ── GET /live/events ──► viewer ◄── frames, tables ── watch ◄── epi.Tap, Stats, Conns
//	browser ── POST /live/conns/7/pause ──► the connection         (with Options.Write)
//
// While nobody looks there is no goroutine and no tap, so the engine pays nothing.
package live

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/epinet/epi"
)

//go:embed live.html live.css live.js
var assets embed.FS

const (
	// mostViewers bounds the pages that look at once.
	mostViewers = 8
	// frameEvery is how often a page gets the state of the loops, and tableEvery that
	// of the connections.
	frameEvery = 200 * time.Millisecond
	tableEvery = time.Second
	// viewerPatience is how long a browser may take for what it is sent.
	viewerPatience = 10 * time.Second
	// retryAfter is when a browser asks again that has lost the server, in ms.
	retryAfter = 1000
)

// actHeader is in each request that changes something. A page of another site
// cannot send it without asking first, which is refused.
const actHeader = "Epi-Live"

// Options are how a View is.
type Options struct {
	Name  string // of what is shown, such as "epi echo"
	Write bool   // the page may pause, resume and close connections
}

// A View is the page of one engine. Its methods may be called from any goroutine.
type View struct {
	engine *epi.Engine
	Options
	frameEvery, tableEvery time.Duration

	mu      sync.Mutex
	watch   *watch               // guarded by mu; nil while nobody looks
	viewers map[*viewer]struct{} // guarded by mu
	closed  bool                 // guarded by mu
	ended   sync.WaitGroup       // the goroutines of watches
	lastID  atomic.Uint64        // of a connection in a table; no number is used again
}

// New returns the view of an engine, which must have been started: it has a
// listener.
func New(e *epi.Engine, o Options) *View {
	return &View{engine: e, Options: o, frameEvery: frameEvery, tableEvery: tableEvery, viewers: map[*viewer]struct{}{}}
}

// Close ends all streams of events, and waits until nothing looks at the engine any
// more. New streams are refused.
func (v *View) Close() {
	v.mu.Lock()
	v.closed = true
	for w := range v.viewers {
		v.leaveLocked(w)
	}
	v.mu.Unlock()
	v.ended.Wait()
}

// Handler serves the page at /live and what belongs to it below that. Who may ask is
// for what is around it, but for what changes something.
func (v *View) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'")
		http.ServeFileFS(w, r, assets, "live.html")
	})
	files := http.StripPrefix("/live", http.FileServerFS(assets))
	mux.Handle("GET /live/live.css", files)
	mux.Handle("GET /live/live.js", files)
	mux.HandleFunc("GET /live/events", v.serveEvents)
	mux.HandleFunc("POST /live/conns/{id}/{act}", v.serveAct)
	return mux
}

// A viewer is one page that looks. What it has not taken yet when the next comes is
// replaced by that.
type viewer struct {
	frames chan []byte   // room for one
	tables chan *table   // likewise
	gone   chan struct{} // closed when it has been removed
}

var errBusy = errors.New("too many pages look at this server: close one")

// join adds a viewer; the first one begins the watch.
func (v *View) join() (*viewer, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, epi.ErrShutdown
	}
	if len(v.viewers) >= mostViewers {
		return nil, errBusy
	}
	if v.watch == nil {
		w, err := newWatch(v)
		if err != nil {
			return nil, err
		}
		v.watch = w
		v.ended.Go(w.lookAtLoops)
		v.ended.Go(w.lookAtConns)
	}
	w := &viewer{frames: make(chan []byte, 1), tables: make(chan *table, 1), gone: make(chan struct{})}
	v.viewers[w] = struct{}{}
	if t := v.watch.table.Load(); t != nil {
		w.tables <- t
	}
	return w, nil
}

// leave removes a viewer; the last one ends the watch.
func (v *View) leave(w *viewer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.leaveLocked(w)
}

func (v *View) leaveLocked(w *viewer) {
	if _, in := v.viewers[w]; !in {
		return
	}
	delete(v.viewers, w)
	close(w.gone)
	if len(v.viewers) == 0 {
		v.watch.end()
		v.watch = nil
	}
}

// each calls give for those who look by w, which may have ended.
func (v *View) each(w *watch, give func(*viewer)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.watch != w {
		return
	}
	for viewer := range v.viewers {
		give(viewer)
	}
}

// replace puts what is new into a channel with room for one.
func replace[T any](to chan T, what T) {
	select {
	case <-to:
	default:
	}
	select {
	case to <- what:
	default: // another has done it
	}
}

// serveEvents is the stream of a viewer.
func (v *View) serveEvents(w http.ResponseWriter, r *http.Request) {
	sort := r.URL.Query().Get("sort")
	if sort == "" {
		sort = firstOrder
	}
	if orders[sort] == nil {
		names := slices.Sorted(maps.Keys(orders))
		http.Error(w, fmt.Sprintf("sort=%.20q: choose one of %s", sort, strings.Join(names, ", ")), http.StatusBadRequest)
		return
	}
	me, err := v.join()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer v.leave(me)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	s := stream{w, http.NewResponseController(w)}
	// A browser that has gone shows by what it is sent: nothing more is to be read.
	if s.controller.SetReadDeadline(time.Time{}) != nil || s.send("hello", v.hello()) != nil {
		return
	}
	for {
		var err error
		select {
		case <-r.Context().Done():
			return
		case <-me.gone:
			return
		case frame := <-me.frames:
			err = s.sendText("frame", frame)
		case table := <-me.tables:
			err = s.send("conns", table.page(sort))
		}
		if err != nil {
			return // the browser has gone, or takes nothing
		}
	}
}

// A stream is an answer of server-sent events.
type stream struct {
	w          http.ResponseWriter
	controller *http.ResponseController
}

func (s stream) send(event string, what any) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return s.sendText(event, text)
}

func (s stream) sendText(event string, text []byte) error {
	if err := s.controller.SetWriteDeadline(time.Now().Add(viewerPatience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.w, "retry: %d\nevent: %s\ndata: %s\n\n", retryAfter, event, text); err != nil {
		return err
	}
	return s.controller.Flush()
}

// A hello is what does not change.
type hello struct {
	Name      string    `json:"name"`
	Driver    string    `json:"driver"`
	Reason    string    `json:"reason"`
	Loops     int       `json:"loops"`
	Workers   int       `json:"workers"`
	Phases    []string  `json:"phases"`
	LagBounds []float64 `json:"lagBounds"` // in seconds
	Every     int64     `json:"every"`     // ms between frames
	Write     bool      `json:"write"`
}

func (v *View) hello() hello {
	stats := v.engine.Stats()
	h := hello{Name: v.Name, Driver: stats.Driver, Reason: stats.Reason, Loops: len(stats.Loops), Workers: stats.Workers, Every: v.frameEvery.Milliseconds(), Write: v.Write}
	for p := range len(epi.Phases{}) {
		h.Phases = append(h.Phases, epi.Phase(p).String())
	}
	for _, bound := range epi.LagBounds {
		h.LagBounds = append(h.LagBounds, bound.Seconds())
	}
	return h
}

// acts are what the buttons do.
var acts = map[string]func(*epi.Conn) error{
	"pause":  func(c *epi.Conn) error { c.Pause(); return nil },
	"resume": func(c *epi.Conn) error { c.Resume(); return nil },
	"close":  (*epi.Conn).Close,
}

func (v *View) serveAct(w http.ResponseWriter, r *http.Request) {
	if !v.Write {
		http.Error(w, "this page only looks: start the server with --admin-write to pause, resume and close connections", http.StatusForbidden)
		return
	}
	if r.Header.Get(actHeader) == "" {
		http.Error(w, "requests that change something need the header "+actHeader+": a page of another site cannot send it", http.StatusForbidden)
		return
	}
	act := acts[r.PathValue("act")]
	if act == nil {
		http.Error(w, fmt.Sprintf("there is no %.20q: choose pause, resume or close", r.PathValue("act")), http.StatusNotFound)
		return
	}
	c, looking := v.find(r.PathValue("id"))
	if c == nil {
		http.Error(w, fmt.Sprintf("connection %.20q is not in the table: it is closed, or nobody looks at the table", r.PathValue("id")), http.StatusNotFound)
		return
	}
	if err := act(c); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	replace(looking.acted, struct{}{}) // so that the table shows it at once
	w.WriteHeader(http.StatusNoContent)
}

// find returns the connection of the table with a number, and who looks at it; nil:
// there is none.
func (v *View) find(text string) (*epi.Conn, *watch) {
	id, err := strconv.ParseUint(text, 10, 64)
	v.mu.Lock()
	w := v.watch
	v.mu.Unlock()
	if err != nil || w == nil {
		return nil, nil
	}
	t := w.table.Load()
	if t == nil {
		return nil, nil
	}
	return t.find(id), w
}
