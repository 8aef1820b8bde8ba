package study

import (
	"slices"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/lab"
)

// around makes a point with a spread of 5 per cent.
func around(x, v float64) lab.Point { return lab.NewPoint(x, []float64{v * 0.95, v, v * 1.05}) }

// curve makes a series of points at x1, y1, x2, y2, ...
func curve(name string, xy ...float64) lab.Series {
	s := lab.Series{Name: name}
	for i := 0; i < len(xy); i += 2 {
		s.Points = append(s.Points, around(xy[i], xy[i+1]))
	}
	return s
}

func chartOf(name string, series ...lab.Series) *lab.Result {
	return &lab.Result{Machine: lab.Machine{CPUs: 4}, Experiments: []lab.Experiment{{Name: name, Series: series}}}
}

// costTable makes a table of CPU time per message.
func costTable(name string, costs map[string]float64) lab.Table {
	t := lab.Table{Name: name, Columns: []lab.Column{{Name: "something else"}, {Name: columnCPU}}}
	for row, cost := range costs {
		t.Rows = append(t.Rows, lab.Row{Name: row, Cells: []lab.Point{around(0, 1), around(0, cost)}})
	}
	t.Rows = append(t.Rows, lab.Row{Name: "absent", Absent: "not measured"})
	return t
}

func tables(t ...lab.Table) *lab.Result { return &lab.Result{Tables: t} }

func counts(name string, columns []string, rows map[string][]float64) *lab.Result {
	t := lab.Table{Name: name}
	for _, c := range columns {
		t.Columns = append(t.Columns, lab.Column{Name: c})
	}
	for row, values := range rows {
		r := lab.Row{Name: row}
		for _, v := range values {
			r.Cells = append(r.Cells, around(0, v))
		}
		t.Rows = append(t.Rows, r)
	}
	return tables(t)
}

func TestVerdicts(t *testing.T) {
	chain := func(sel, poll, epoll float64) *lab.Result {
		return tables(costTable("performance-1000x1024", map[string]float64{"select": sel, pollAsMeant: poll, "epoll level": epoll, "epoll edge": epoll}))
	}
	edges := func(level, edge, level2, edge2 float64) *lab.Result {
		return tables(costTable("performance-1", map[string]float64{"epoll level": level, "epoll edge": edge}),
			costTable("performance-2", map[string]float64{"epoll level": level2, "epoll edge": edge2}))
	}
	idle := func(poll, level, edge float64) *lab.Result {
		return chartOf("idle", curve("poll", 0, 10, 10000, poll), curve("epoll level", 0, 10, 10000, level), curve("epoll edge", 0, 10, 10000, edge))
	}
	linear := func(linear, poll, slot float64) *lab.Result {
		return tables(costTable("performance_2-10000x1024", map[string]float64{"epoll level, linear": linear, pollAsMeant: poll, "epoll level, slot": slot}))
	}
	edgeOut := func(level, edge float64) *lab.Result {
		return chartOf("edge_out", curve("epoll level", 16, 0, 4096, level), curve("epoll edge", 16, 0, 4096, edge))
	}
	wakes := func(level, edge float64) *lab.Result {
		return chartOf("waiters", curve("epoll level", 1, 1, 8, level), curve("epoll edge", 1, 1, 8, edge))
	}
	oneShot := func(signal, half, more float64) *lab.Result {
		return counts("rearm", []string{columnSignal, columnHalf, columnMore}, map[string][]float64{
			askLevel: {9, 1, 1}, askEdge: {3, 0, 1}, askRearmed: {signal, half, more},
		})
	}
	closing := func(alone, duplicate, both float64) *lab.Result {
		return counts("closing", []string{columnOpen, columnClosed, columnAllClosed}, map[string][]float64{
			rowAlone: {1, alone, 0}, rowDuplicate: {1, duplicate, both},
		})
	}
	// Workers on 4 cores: 4, 5, 6 and 16 of them, for two handlers.
	workers := func(a, b [4]float64) *lab.Result {
		return chartOf("threads",
			curve("busy", 1, 1, 4, a[0], 5, a[1], 6, a[2], 16, a[3]),
			curve("blocked", 1, 1, 4, b[0], 5, b[1], 6, b[2], 16, b[3]))
	}
	few, many, flat := [4]float64{100, 120, 150, 110}, [4]float64{100, 120, 150, 400}, [4]float64{100, 101, 102, 103}

	for _, row := range []struct {
		claim  string
		name   string
		r      *lab.Result
		want   lab.Verdict
		reason string // part of it
	}{
		{"select < poll < epoll", "in order", chain(30, 20, 10), lab.Confirmed, "select < poll: confirmed"},
		{"select < poll < epoll", "poll dearer than select", chain(20, 30, 10), lab.Refuted, "select < poll: refuted"},
		{"select < poll < epoll", "select like poll", chain(20, 20.2, 10), lab.Depends, "no clear difference"},
		{"select < poll < epoll", "no select", tables(costTable("performance-1", map[string]float64{pollAsMeant: 2, "epoll level": 1})), lab.Depends, "not measured"},
		{"poll's cost grows", "as claimed", idle(1000, 10.1, 10.5), lab.Confirmed, "poll"},
		{"poll's cost grows", "the contrary", idle(10, 100, 1000), lab.Refuted, "the contrary"},
		{"poll's cost grows", "edge grows, too", idle(1000, 10, 100), lab.Depends, "the contrary in epoll edge"},
		{"poll's cost grows", "edge grows a little", idle(1000, 10, 15), lab.Depends, "between the thresholds, in epoll edge"},
		{"edge is slightly ahead", "ahead", edges(11, 10, 22, 20), lab.Confirmed, "performance-1, performance-2"},
		{"edge is slightly ahead", "behind", edges(10, 11, 20, 22), lab.Refuted, "the contrary"},
		{"edge is slightly ahead", "both", edges(11, 10, 20, 22), lab.Depends, "as claimed in performance-1"},
		{"edge is slightly ahead", "no clear difference", edges(10, 10.1, 10, 10.1), lab.Depends, "no clear difference"},
		{"edge needs no EPOLLOUT", "as claimed", edgeOut(2, 0), lab.Confirmed, "4096"},
		{"edge needs no EPOLLOUT", "edge calls, too", edgeOut(2, 0.1), lab.Refuted, "edge called"},
		{"edge needs no EPOLLOUT", "replies fit", edgeOut(0, 0), lab.Depends, "there were none"},
		{"edge wakes one", "as claimed", wakes(8, 1), lab.Confirmed, "level wakes"},
		{"edge wakes one", "edge wakes all", wakes(8, 8), lab.Refuted, "several"},
		{"edge wakes one", "edge wakes two sometimes", wakes(8, 1.3), lab.Depends, "more than one"},
		{"edge wakes one", "level wakes one, too", wakes(1, 1), lab.Depends, "how soon"},
		{"level + ONESHOT", "the same", oneShot(3, 0, 1), lab.Confirmed, "no difference"},
		{"level + ONESHOT", "silent until MOD", oneShot(3, 0, 0), lab.Confirmed, "silent"},
		{"level + ONESHOT", "more events", oneShot(9, 1, 1), lab.Refuted, "signal"},
		{"level + ONESHOT", "not after half a read", oneShot(3, 1, 1), lab.Depends, "draining"},
		{"a linear lookup", "as claimed", linear(20, 15, 10), lab.Confirmed, "faster than poll: confirmed"},
		{"a linear lookup", "the contrary", linear(12, 15, 10), lab.Refuted, "the contrary"},
		{"a linear lookup", "no clear difference", linear(15.1, 15, 10), lab.Depends, "no clear difference"},
		{"a linear lookup", "no cure", linear(20, 15, 18), lab.Confirmed, "faster than poll: refuted"},
		{"a few more workers", "as claimed", workers(few, few), lab.Confirmed, "busy, blocked"},
		{"a few more workers", "many are better", workers(many, many), lab.Refuted, "the contrary"},
		{"a few more workers", "it depends", workers(few, many), lab.Depends, "on the handler: as claimed in busy; the contrary in blocked"},
		{"a few more workers", "no difference", workers(flat, flat), lab.Depends, "no clear difference"},
		{"closing removes", "always", closing(0, 0, 0), lab.Confirmed, "also with a duplicate"},
		{"closing removes", "the last duplicate", closing(0, 1, 0), lab.Depends, "duplicates"},
		{"closing removes", "never", closing(1, 1, 1), lab.Refuted, "still reported"},
	} {
		t.Run(row.claim+"/"+row.name, func(t *testing.T) {
			claims := Claims(row.r)
			i := slices.IndexFunc(claims, func(c lab.Claim) bool { return strings.HasPrefix(c.Text, row.claim) })
			if i < 0 {
				t.Fatalf("there is no claim %q", row.claim)
			}
			c := claims[i]
			if c.Verdict != row.want || !strings.Contains(c.Reason, row.reason) || c.Figures == "" || c.Threshold == "" || c.By == "" {
				t.Errorf("%+v\nwant %s, with the reason %q", c, row.want, row.reason)
			}
		})
	}
}

func TestClaimsWithoutDataDepend(t *testing.T) {
	claims := Claims(&lab.Result{})
	if len(claims) != 9 {
		t.Errorf("there are %d claims, want 9", len(claims))
	}
	for _, c := range claims {
		if c.Verdict != lab.Depends || !strings.Contains(c.Reason, "epi lab study --only ") {
			t.Errorf("%+v", c)
		}
	}
}

func TestNeededExperimentsExist(t *testing.T) {
	for _, name := range Needed() {
		if !slices.Contains(Names(), name) {
			t.Errorf("there is no experiment %q", name)
		}
	}
}

func TestClearly(t *testing.T) {
	point := func(samples ...float64) lab.Point { return lab.NewPoint(0, samples) }
	for _, row := range []struct {
		a, b lab.Point
		want int
	}{
		{point(1, 2, 3), point(4, 5, 6), -1},
		{point(4, 5, 6), point(1, 2, 3), 1},
		{point(1, 2, 3, 4, 100), point(5, 6, 7, 8, 9), -1}, // one sample was disturbed
		{point(1, 2, 3, 7, 100), point(5, 6, 7, 8, 9), 0},
		{point(2), point(2), 0},
		{lab.Point{Median: 2, Min: 1, Max: 3}, point(4), -1}, // samples were not kept
		{lab.Point{Median: 2, Min: 1, Max: 4}, point(4), 0},
	} {
		if got := clearly(row.a, row.b); got != row.want {
			t.Errorf("clearly(%v, %v) is %d, want %d", row.a, row.b, got, row.want)
		}
	}
}

func TestQuantity(t *testing.T) {
	for _, row := range []struct {
		v    float64
		unit string
		want string
	}{
		{0, "s", "0 s"}, {12e-9, "s", "12 ns"}, {1.234e-6, "s", "1.23 µs"}, {0.0456, "s", "45.6 ms"}, {12, "s", "12 s"},
		{12345, "", "12345"}, {0.5, "µs", "0.5 µs"},
	} {
		if got := quantity(row.v, row.unit); got != row.want {
			t.Errorf("quantity(%v, %q) is %q, want %q", row.v, row.unit, got, row.want)
		}
	}
}
