package live

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/epinet/epi"
)

const (
	// keptTurns is how many turns of a loop are kept from one frame to the next,
	// and shownTurns how many a frame shows.
	keptTurns  = 64
	shownTurns = 48
	// tableShare: a long table is made so seldom that it takes one part in so many
	// of a CPU.
	tableShare = 50
	// tableRows bounds those that a page is sent.
	tableRows = 200
)

// A watch is what looks at an engine while there are viewers.
type watch struct {
	view   *View
	engine *epi.Engine
	tap    *epi.Tap
	ctx    context.Context
	cancel context.CancelFunc
	table  atomic.Pointer[table] // the last one; nil: there is none yet
	acted  chan struct{}         // room for one; something was done to a connection

	// Of lookAtLoops.
	last  []loopNow // of the frame before
	stats epi.Stats
	at    time.Time

	// Of lookAtConns.
	known map[*epi.Conn]*row
}

type loopNow struct {
	noted  uint64
	phases epi.Phases
}

func newWatch(v *View) (*watch, error) {
	tap, err := v.engine.Tap(keptTurns)
	if err != nil {
		return nil, err
	}
	w := &watch{view: v, engine: v.engine, tap: tap, known: map[*epi.Conn]*row{}, acted: make(chan struct{}, 1)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.stats, w.at = v.engine.Stats(), time.Now()
	w.last = make([]loopNow, len(w.stats.Loops))
	return w, nil
}

func (w *watch) end() {
	w.tap.Close()
	w.cancel()
}

// lookAtLoops makes the frames.
func (w *watch) lookAtLoops() {
	ticks := time.NewTicker(w.view.frameEvery)
	defer ticks.Stop()
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-ticks.C:
		}
		frame, err := json.Marshal(w.frame())
		if err != nil {
			continue // cannot be: a frame is numbers and strings
		}
		w.view.each(w, func(v *viewer) { replace(v.frames, frame) })
	}
}

// A frame is what has happened since the one before.
type frame struct {
	Seconds float64           `json:"seconds"`
	Conns   int64             `json:"conns"`
	Waiting int               `json:"waiting"` // for a worker
	Closed  map[string]uint64 `json:"closed"`  // since the start, by cause
	Loops   []loopFrame       `json:"loops"`
}

// A loopFrame is that of one loop. Counts are of the time since the frame before,
// times in µs.
type loopFrame struct {
	Phase  string    `json:"phase"` // the one under way
	Since  float64   `json:"since"` // for how long
	Phases []float64 `json:"phases"`
	Turns  [][]int64 `json:"turns"` // each: events, tasks, timers, and the phases in ns
	Noted  uint64    `json:"noted"` // turns, shown or not

	Waits    uint64   `json:"waits"`
	Events   uint64   `json:"events"`
	Reads    uint64   `json:"reads"`
	Writes   uint64   `json:"writes"`
	Controls uint64   `json:"controls"`
	Submits  uint64   `json:"submits"`
	In       uint64   `json:"in"`
	Out      uint64   `json:"out"`
	Lag      []uint64 `json:"lag"`

	Conns  int64 `json:"conns"`
	Tasks  int   `json:"tasks"`  // that wait
	Timers int   `json:"timers"` // likewise
	Held   int64 `json:"held"`   // bytes
}

func (w *watch) frame() frame {
	stats, now := w.engine.Stats(), time.Now()
	f := frame{Seconds: now.Sub(w.at).Seconds(), Conns: stats.Conns, Waiting: stats.Waiting, Closed: map[string]uint64{}}
	for cause, n := range stats.Causes {
		if n > 0 {
			f.Closed[epi.Cause(cause).String()] = n
		}
	}
	for i, s := range stats.Loops {
		f.Loops = append(f.Loops, w.loopFrame(i, s))
	}
	w.stats, w.at = stats, now
	return f
}

func (w *watch) loopFrame(i int, s epi.LoopStats) loopFrame {
	before, last := w.stats.Loops[i], &w.last[i]
	notes := w.tap.Loop(i, last.noted, shownTurns)
	f := loopFrame{
		Phase: notes.Phase.String(), Since: micros(notes.Now - notes.Since), Noted: notes.Noted - last.noted,
		Waits: s.Waits - before.Waits, Events: s.Events - before.Events,
		Reads: s.Reads - before.Reads, Writes: s.Writes - before.Writes,
		Controls: s.Controls - before.Controls, Submits: s.Submits - before.Submits,
		In: s.BytesIn - before.BytesIn, Out: s.BytesOut - before.BytesOut,
		Conns: s.Conns, Tasks: s.TasksWaiting, Timers: s.TimersWaiting, Held: s.Held,
	}
	for p, took := range notes.Phases {
		f.Phases = append(f.Phases, micros(took-last.phases[p]))
	}
	for b, n := range s.Lag.Turns {
		f.Lag = append(f.Lag, n-before.Lag.Turns[b])
	}
	for _, turn := range notes.Turns {
		line := []int64{int64(turn.Events), int64(turn.Tasks), int64(turn.Timers)}
		for _, took := range turn.Phases {
			line = append(line, int64(took))
		}
		f.Turns = append(f.Turns, line)
	}
	last.noted, last.phases = notes.Noted, notes.Phases
	return f
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// lookAtConns makes the tables. A loop that is held up does not answer: then the
// last table stays, and the frames say which loop it is.
func (w *watch) lookAtConns() {
	for pause := time.Duration(0); ; {
		select {
		case <-w.ctx.Done():
			return
		case <-w.acted:
		case <-time.After(pause):
		}
		conns, err := w.engine.Conns(w.ctx)
		if err != nil {
			if errors.Is(err, epi.ErrTooManyTasks) {
				pause = w.view.tableEvery
				continue
			}
			return // it was ended
		}
		begun := time.Now()
		t := w.look(conns, begun)
		w.table.Store(t)
		w.view.each(w, func(v *viewer) { replace(v.tables, t) })
		pause = max(w.view.tableEvery, tableShare*time.Since(begun))
	}
}

// A row is a connection as it was looked at.
type row struct {
	ID     uint64 `json:"id"`
	Peer   string `json:"peer"`
	Loop   int    `json:"loop"`
	State  string `json:"state"`
	Paused bool   `json:"paused"`
	Full   bool   `json:"full"`   // it is not read from: its queue is long
	Age    int64  `json:"age"`    // in seconds
	Queued int    `json:"queued"` // bytes
	Held   int64  `json:"held"`
	In     uint64 `json:"in"`   // bytes since it was opened
	Out    uint64 `json:"out"`  // likewise
	Rate   int64  `json:"rate"` // bytes a second, both ways

	conn *epi.Conn
	at   time.Time
}

// A table is all connections at one moment. It does not change.
type table struct {
	rows []*row // by ID
}

// look makes the table of the connections that are there.
func (w *watch) look(conns []*epi.Conn, now time.Time) *table {
	known := make(map[*epi.Conn]*row, len(conns))
	t := &table{rows: make([]*row, 0, len(conns))}
	for _, c := range conns {
		before := w.known[c]
		info := c.Info()
		if info.State == epi.ConnClosed {
			continue
		}
		r := &row{
			Peer: peerName(c), Loop: c.Loop().Index(), State: info.State.String(),
			Paused: info.Paused, Full: info.Congested, Age: int64(max(0, now.Sub(info.Opened)).Seconds()),
			Queued: info.Queued, Held: info.Held, In: info.Received, Out: info.Acknowledged, conn: c, at: now,
		}
		if before == nil {
			r.ID = w.view.lastID.Add(1)
		} else {
			r.ID = before.ID
			moved := float64(r.In+r.Out) - float64(before.In+before.Out)
			r.Rate = int64(max(0, moved) / max(now.Sub(before.at).Seconds(), 1e-3))
		}
		known[c] = r
		t.rows = append(t.rows, r)
	}
	w.known = known
	slices.SortFunc(t.rows, func(a, b *row) int { return cmp.Compare(a.ID, b.ID) })
	return t
}

// peerName returns the peer's address; the clients of Unix sockets mostly have none.
func peerName(c *epi.Conn) string {
	addr := c.RemoteAddr()
	if name := addr.String(); name != "" {
		return name
	}
	return addr.Network()
}

func (t *table) find(id uint64) *epi.Conn {
	i, found := slices.BinarySearchFunc(t.rows, id, func(r *row, id uint64) int { return cmp.Compare(r.ID, id) })
	if !found {
		return nil
	}
	return t.rows[i].conn
}

// orders are what a table can be sorted by: what is looked for comes first.
var orders = map[string]func(a, b *row) int{
	"rate":   func(a, b *row) int { return cmp.Compare(b.Rate, a.Rate) },
	"in":     func(a, b *row) int { return cmp.Compare(b.In, a.In) },
	"out":    func(a, b *row) int { return cmp.Compare(b.Out, a.Out) },
	"queued": func(a, b *row) int { return cmp.Compare(b.Queued, a.Queued) },
	"held":   func(a, b *row) int { return cmp.Compare(b.Held, a.Held) },
	"age":    func(a, b *row) int { return cmp.Compare(b.Age, a.Age) },
	"peer":   func(a, b *row) int { return cmp.Compare(a.Peer, b.Peer) },
	"loop":   func(a, b *row) int { return cmp.Compare(a.Loop, b.Loop) },
	"state":  func(a, b *row) int { return cmp.Compare(a.State, b.State) },
}

// firstOrder has the top talkers first.
const firstOrder = "rate"

// A page is the part of a table that a viewer sees.
type page struct {
	Total int    `json:"total"`
	Sort  string `json:"sort"`
	Rows  []*row `json:"rows"`
}

func (t *table) page(sort string) page {
	rows := slices.Clone(t.rows)
	by := orders[sort]
	slices.SortStableFunc(rows, by) // which leaves equal ones in the order of their numbers
	return page{Total: len(rows), Sort: sort, Rows: rows[:min(len(rows), tableRows)]}
}
