package study

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/epinet/epi/apps/lab"
)

// The sentences on what a chart shows, computed from its points.

// observeGrowth says how each series changes from its first to its last point.
func observeGrowth(e lab.Experiment) string {
	var parts []string
	for _, s := range e.Series {
		a, b := first(&s), last(&s)
		if a.X == b.X {
			parts = append(parts, fmt.Sprintf("%s takes %s at %s", s.Name, quantity(a.Median, e.Y.Unit), digits(a.X)))
			continue
		}
		parts = append(parts, fmt.Sprintf("%s from %s at %s to %s at %s (%s)",
			s.Name, quantity(a.Median, e.Y.Unit), digits(a.X), quantity(b.Median, e.Y.Unit), digits(b.X), change(a, b)))
	}
	return sentence(parts)
}

func change(a, b lab.Point) string {
	if clearly(a, b) == 0 {
		return "no clear difference"
	}
	return times(a.Median, b.Median)
}

// observeRace ranks the series at the last point that all have.
func observeRace(e lab.Experiment) string {
	x := commonX(e)
	type place struct {
		name string
		p    lab.Point
	}
	var places []place
	for _, s := range e.Series {
		if p, ok := pointAt(&s, x); ok {
			places = append(places, place{s.Name, p})
		}
	}
	if len(places) == 0 {
		return "The runs ended before there was anything to compare."
	}
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Compare(a.p.Median, b.p.Median) })
	var parts []string
	for _, place := range places {
		parts = append(parts, fmt.Sprintf("%s %s", place.name, quantity(place.p.Median, e.Y.Unit)))
	}
	return fmt.Sprintf("After %s %s, from least to most: %s", digits(x), e.X.Label, sentence(parts))
}

// commonX is the highest x at which every series has a point, or 0.
func commonX(e lab.Experiment) float64 {
	x := 0.0
	for i, s := range e.Series {
		if end := last(&s).X; i == 0 || end < x {
			x = end
		}
	}
	return x
}

// observeLast says where each series ends.
func observeLast(e lab.Experiment) string {
	var parts []string
	for _, s := range e.Series {
		parts = append(parts, fmt.Sprintf("%s %s", s.Name, quantity(last(&s).Median, e.Y.Unit)))
	}
	return fmt.Sprintf("At %s: %s", quantity(commonX(e), e.X.Unit), sentence(parts))
}

func observeThreads(e lab.Experiment, cores int) string {
	var parts []string
	for _, s := range e.Series {
		best := slices.MaxFunc(s.Points, func(a, b lab.Point) int { return cmp.Compare(a.Median, b.Median) })
		parts = append(parts, fmt.Sprintf("with %s %s workers do most, %s requests per second", s.Name, digits(best.X), digits(best.Median)))
	}
	return fmt.Sprintf("On %d CPUs: %s", cores, sentence(parts))
}

// sentence joins parts and ends them.
func sentence(parts []string) string { return strings.Join(parts, "; ") + "." }
