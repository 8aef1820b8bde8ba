package study

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/epinet/epi/apps/lab"
)

// The thresholds of the claims.
const (
	growsBy   = 2.0 // what costs so many times more with idle connections grows
	flatBelow = 1.1 // what costs less than so many times more does not
	wakesOne  = 1.1 // threads woken per event: not more than one
	wakesMore = 1.5 // threads woken per event: several

	beyondSpread = "the middle halves of the samples do not overlap"
)

// A test holds one claim against a result. It returns the figures, and what the
// outcomes say; no outcome means that the data are not there.
type test struct {
	text      string
	by        string // experiments, separated by commas
	threshold string
	hold      func(r *lab.Result) finding
}

// A finding is what the data say of a claim.
type finding struct {
	figures []string
	verdict lab.Verdict
	reason  string
}

var tests = []test{
	{"select < poll < epoll", "performance, idle", "CPU time of the server: " + beyondSpread, holdOrder},
	{"poll's cost grows with idle connections, epoll's does not", "idle",
		fmt.Sprintf("CPU time per request with the most idle connections against none: grows from %g× on, does not below %g× or without a clear difference", growsBy, flatBelow), holdIdle},
	{"edge is slightly ahead of level", "performance", "CPU time of the server: " + beyondSpread, holdEdgeAhead},
	{"edge needs no EPOLLOUT add/del", "edge_out", "calls of epoll_ctl per reply: none with edge, some with level", holdEdgeOut},
	{"edge wakes one of several waiting threads", "waiters",
		fmt.Sprintf("threads woken per event: edge at most %g, level at least %g", wakesOne, wakesMore), holdWaiters},
	{"level + ONESHOT behaves as edge", "rearm", "the same number of events for the signal, and the same silence after half a read", holdOneShot},
	{"a linear lookup makes epoll slower than poll", "performance_2", "CPU time of the server: " + beyondSpread, holdLinear},
	{"a few more workers than cores is best", "threads", "requests per second: " + beyondSpread, holdWorkers},
	{"closing removes the registration by itself", "rearm", "events after closing: none, also while a duplicate is open", holdClosing},
}

// Claims holds the deck's claims against what was measured. A claim whose
// experiment is missing depends on it.
func Claims(r *lab.Result) []lab.Claim {
	var claims []lab.Claim
	for _, t := range tests {
		f := t.hold(r)
		if f.verdict == "" {
			f = finding{[]string{"none"}, lab.Depends, "not measured; run epi lab study --only " + strings.ReplaceAll(t.by, ", ", ",")}
		}
		claims = append(claims, lab.Claim{
			Text: t.text, By: t.by, Figures: strings.Join(f.figures, "; "), Threshold: t.threshold, Verdict: f.verdict, Reason: f.reason,
		})
	}
	return claims
}

// Needed returns the experiments that Claims needs.
func Needed() []string {
	var names []string
	for _, t := range tests {
		names = append(names, strings.Split(t.by, ", ")...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// An outcome is one comparison that a claim makes a statement about.
type outcome struct {
	of   string
	sign int // 1: as claimed, -1: the contrary, 0: neither clearly
}

// judge makes a verdict of comparisons that all should come out as claimed.
func judge(outcomes []outcome) (lab.Verdict, string) {
	if len(outcomes) == 0 {
		return "", ""
	}
	groups := map[int][]string{}
	for _, o := range outcomes {
		groups[o.sign] = append(groups[o.sign], o.of)
	}
	switch len(outcomes) {
	case len(groups[1]):
		return lab.Confirmed, "as claimed in " + strings.Join(groups[1], ", ")
	case len(groups[-1]):
		return lab.Refuted, "the contrary in " + strings.Join(groups[-1], ", ")
	}
	var parts []string
	for _, g := range []struct {
		sign int
		text string
	}{{1, "as claimed in"}, {-1, "the contrary in"}, {0, "no clear difference, or between the thresholds, in"}} {
		if len(groups[g.sign]) > 0 {
			parts = append(parts, g.text+" "+strings.Join(groups[g.sign], ", "))
		}
	}
	return lab.Depends, "on the experiment: " + strings.Join(parts, "; ")
}

// A link is the claim that one costs more than the other.
type link struct{ more, less string }

// holdLink compares the CPU time of two rows in each table of an experiment.
func holdLink(r *lab.Result, experiment string, l link) (outcomes []outcome, figures []string) {
	for _, t := range tablesOf(r, experiment) {
		more, ok1 := cell(t, l.more, columnCPU)
		less, ok2 := cell(t, l.less, columnCPU)
		if ok1 && ok2 {
			outcomes = append(outcomes, outcome{t.Name, clearly(more, less)})
			figures = append(figures, fmt.Sprintf("%s: %s %s, %s %s", t.Name, l.more, figure(more, "µs"), l.less, figure(less, "µs")))
		}
	}
	return outcomes, figures
}

// holdIdleLink compares two backends at the most idle connections that both had.
func holdIdleLink(r *lab.Result, l link) (outcomes []outcome, figures []string) {
	e := experimentOf(r, "idle")
	more, less := seriesOf(e, l.more), seriesOf(e, l.less)
	if more == nil || less == nil {
		return nil, nil
	}
	x := min(last(more).X, last(less).X)
	a, ok1 := pointAt(more, x)
	b, ok2 := pointAt(less, x)
	if !ok1 || !ok2 {
		return nil, nil
	}
	of := fmt.Sprintf("idle at %s", digits(x))
	return []outcome{{of, clearly(a, b)}}, []string{fmt.Sprintf("%s: %s %s, %s %s", of, l.more, figure(a, "s"), l.less, figure(b, "s"))}
}

// holdOrder takes the chain apart: it is refuted when one of its links is.
func holdOrder(r *lab.Result) finding {
	var f finding
	verdicts := map[lab.Verdict]int{}
	var reasons []string
	for _, l := range []struct {
		name           string
		perMessage, at link
	}{
		{"select < poll", link{"select", pollAsMeant}, link{"select", "poll"}},
		{"poll < epoll", link{pollAsMeant, "epoll level"}, link{"poll", "epoll level"}},
	} {
		outcomes, figures := holdLink(r, "performance", l.perMessage)
		more, moreFigures := holdIdleLink(r, l.at)
		verdict, reason := judge(append(outcomes, more...))
		if verdict == "" {
			return finding{}
		}
		verdicts[verdict]++
		f.figures = append(f.figures, append(figures, moreFigures...)...)
		reasons = append(reasons, fmt.Sprintf("%s: %s, %s", l.name, verdict, reason))
	}
	f.reason = strings.Join(reasons, "; ")
	switch {
	case verdicts[lab.Refuted] > 0:
		f.verdict = lab.Refuted
	case verdicts[lab.Depends] > 0:
		f.verdict = lab.Depends
	default:
		f.verdict = lab.Confirmed
	}
	return f
}

// holdIdle compares the cost with the most idle connections with that of none.
func holdIdle(r *lab.Result) finding {
	e := experimentOf(r, "idle")
	var f finding
	var outcomes []outcome
	for _, name := range []string{"poll", "epoll level", "epoll edge", "epoll one-shot"} {
		s := seriesOf(e, name)
		if s == nil || len(s.Points) < 2 {
			continue
		}
		none, most := first(s), last(s)
		grown := most.Median / none.Median
		f.figures = append(f.figures, fmt.Sprintf("%s %s with %s idle, %s with %s: %s",
			name, figure(none, "s"), digits(none.X), figure(most, "s"), digits(most.X), times(none.Median, most.Median)))
		outcomes = append(outcomes, outcome{name, growth(name == "poll", grown, clearly(most, none))})
	}
	if seriesOf(e, "poll") == nil || len(outcomes) < 2 {
		return finding{}
	}
	f.verdict, f.reason = judge(outcomes)
	return f
}

// growth is the outcome for one backend, which is claimed to grow or not to.
func growth(claimed bool, grown float64, clear int) int {
	switch {
	case claimed && grown >= growsBy && clear > 0:
		return 1
	case claimed && grown < flatBelow:
		return -1
	case !claimed && (grown <= flatBelow || clear <= 0):
		return 1
	case !claimed && grown >= growsBy:
		return -1
	}
	return 0
}

func holdEdgeAhead(r *lab.Result) finding {
	outcomes, figures := holdLink(r, "performance", link{"epoll level", "epoll edge"})
	verdict, reason := judge(outcomes)
	return finding{figures, verdict, reason}
}

func holdEdgeOut(r *lab.Result) finding {
	e := experimentOf(r, "edge_out")
	level, edge := seriesOf(e, "epoll level"), seriesOf(e, "epoll edge")
	if level == nil || edge == nil {
		return finding{}
	}
	most := func(s *lab.Series) lab.Point {
		return slices.MaxFunc(s.Points, func(a, b lab.Point) int { return cmp.Compare(a.Median, b.Median) })
	}
	l, d := most(level), most(edge)
	f := finding{figures: []string{fmt.Sprintf("at most, per reply: level %s, edge %s", figure(l, ""), figure(d, ""))}}
	switch {
	case d.Max > 0:
		f.verdict, f.reason = lab.Refuted, "edge called epoll_ctl, too"
	case l.Median > 0:
		f.verdict, f.reason = lab.Confirmed, fmt.Sprintf("level calls epoll_ctl when replies of %s bytes do not fit, edge never", digits(l.X))
	default:
		f.verdict, f.reason = lab.Depends, "on replies that do not fit into the socket: there were none"
	}
	return f
}

func holdWaiters(r *lab.Result) finding {
	e := experimentOf(r, "waiters")
	level, edge := seriesOf(e, "epoll level"), seriesOf(e, "epoll edge")
	if level == nil || edge == nil || last(edge).X < 2 {
		return finding{}
	}
	l, d := last(level), last(edge)
	f := finding{figures: []string{fmt.Sprintf("%s threads: level wakes %s, edge %s", digits(d.X), figure(l, ""), figure(d, ""))}}
	switch {
	case d.Median > wakesMore:
		f.verdict, f.reason = lab.Refuted, "edge wakes several, too"
	case d.Median > wakesOne:
		f.verdict, f.reason = lab.Depends, "on the event: edge wakes more than one for some"
	case l.Median < wakesMore:
		f.verdict, f.reason = lab.Depends, "on how soon the woken thread reads: level wakes no more than edge here"
	default:
		f.verdict, f.reason = lab.Confirmed, "level wakes threads for as long as nobody has read"
	}
	return f
}

func holdOneShot(r *lab.Result) finding {
	tables := tablesOf(r, "rearm")
	if len(tables) == 0 {
		return finding{}
	}
	t := tables[0]
	var f finding
	got := map[string]lab.Point{}
	for _, row := range []string{askLevel, askEdge, askRearmed} {
		for _, column := range []string{columnSignal, columnHalf, columnMore} {
			p, ok := cell(t, row, column)
			if !ok {
				return finding{}
			}
			got[row+column] = p
		}
		f.figures = append(f.figures, fmt.Sprintf("%s: %s events for the signal, %s after half a read, %s when more arrives",
			row, digits(got[row+columnSignal].Median), digits(got[row+columnHalf].Median), digits(got[row+columnMore].Median)))
	}
	same := func(column string) bool { return same(got[askRearmed+column], got[askEdge+column]) }
	switch {
	case !same(columnSignal):
		f.verdict, f.reason = lab.Refuted, "another number of events for the signal"
	case !same(columnHalf):
		f.verdict, f.reason = lab.Depends, "on draining: after half a read they differ"
	case !same(columnMore):
		f.verdict, f.reason = lab.Confirmed, "with MOD once drained; until then one-shot is silent even when more arrives, which edge reports"
	default:
		f.verdict, f.reason = lab.Confirmed, "no difference was seen"
	}
	return f
}

// same compares counts, which have no spread when the facts are firm.
func same(a, b lab.Point) bool { return a.Min == b.Min && a.Max == b.Max && a.Median == b.Median }

func holdLinear(r *lab.Result) finding {
	outcomes, figures := holdLink(r, "performance_2", link{"epoll level, " + lookupLinear, pollAsMeant})
	verdict, reason := judge(outcomes)
	cures, cured := holdLink(r, "performance_2", link{pollAsMeant, "epoll level, " + lookupSlot})
	if verdict != "" && len(cures) > 0 {
		cure, _ := judge(cures)
		figures = append(figures, cured...)
		reason += fmt.Sprintf("; that a lookup by slot makes it faster than poll: %s", cure)
	}
	return finding{figures, verdict, reason}
}

func holdWorkers(r *lab.Result) finding {
	e := experimentOf(r, "threads")
	if e == nil || r.Machine.CPUs < 1 {
		return finding{}
	}
	var f finding
	var outcomes []outcome
	for _, s := range e.Series {
		sign, figure, ok := fewMore(&s, r.Machine.CPUs)
		if ok {
			outcomes = append(outcomes, outcome{s.Name, sign})
			f.figures = append(f.figures, figure)
		}
	}
	f.verdict, f.reason = judge(outcomes)
	f.reason = strings.Replace(f.reason, "on the experiment", "on the handler", 1)
	return f
}

// fewMore compares a few more workers than cores with as many or fewer, and
// with many more. It is the best when nothing else is clearly better and as
// many workers as cores are clearly worse.
func fewMore(s *lab.Series, cores int) (sign int, text string, ok bool) {
	few := float64(cores + max(2, cores/2))
	var best, equal, other lab.Point // of a few more; as many as cores; the best of all others
	for _, p := range s.Points {
		switch {
		case p.X > float64(cores) && p.X <= few:
			if p.Median > best.Median {
				best = p
			}
			continue
		case p.X == float64(cores):
			equal = p
		}
		if p.Median > other.Median {
			other = p
		}
	}
	if best.Median == 0 || equal.Median == 0 {
		return 0, "", false
	}
	text = fmt.Sprintf("%s: %s/s with %s workers, %s/s with %s, at best %s/s with %s", s.Name,
		figure(best, ""), digits(best.X), figure(equal, ""), digits(equal.X), figure(other, ""), digits(other.X))
	switch {
	case clearly(other, best) > 0:
		sign = -1
	case clearly(best, equal) > 0:
		sign = 1
	}
	return sign, text, true
}

func holdClosing(r *lab.Result) finding {
	tables := tablesOf(r, "closing")
	if len(tables) == 0 {
		return finding{}
	}
	alone, ok1 := cell(tables[0], rowAlone, columnClosed)
	duplicate, ok2 := cell(tables[0], rowDuplicate, columnClosed)
	both, ok3 := cell(tables[0], rowDuplicate, columnAllClosed)
	if !ok1 || !ok2 || !ok3 {
		return finding{}
	}
	f := finding{figures: []string{fmt.Sprintf("events after closing: %s; while a duplicate is open %s, when it is closed, too, %s",
		digits(alone.Median), digits(duplicate.Median), digits(both.Median))}}
	switch {
	case alone.Max > 0 || both.Max > 0:
		f.verdict, f.reason = lab.Refuted, "the closed descriptor is still reported"
	case duplicate.Max > 0:
		f.verdict, f.reason = lab.Depends, "on duplicates: only when the last one closes is the registration gone"
	default:
		f.verdict, f.reason = lab.Confirmed, "also with a duplicate"
	}
	return f
}
