package sim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/epinet/epi/apps/lab"
)

// planted is what go run ./internal/plant -o has written.
type planted struct {
	Seeds  int            `json:"seeds"` // of each test
	Faults []plantedFault `json:"faults"`
}

// A plantedFault is what came of one.
type plantedFault struct {
	List    string  `json:"list"`
	Fault   string  `json:"fault"`
	Outcome string  `json:"outcome"`
	Seed    *uint64 `json:"seed"` // nil: a test without seeds has caught it, or nothing
	Steps   int     `json:"steps"`
}

// The outcomes of planted faults.
const (
	caught      = "caught"
	survives    = "survives"
	tookTooLong = "took too long"
)

// readPlanted reads the named file; no name is none.
func readPlanted(name string) (*planted, error) {
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("--planted: %w; go run ./internal/plant -o FILE writes it, in epi's sources", err)
	}
	p := &planted{}
	if err := json.Unmarshal(text, p); err != nil || len(p.Faults) == 0 {
		return nil, fmt.Errorf("--planted: %s is not what go run ./internal/plant -o FILE writes, in epi's sources", name)
	}
	return p, nil
}

// count returns how many faults have an outcome.
func (p *planted) count(outcome string) (n int) {
	for _, f := range p.Faults {
		if f.Outcome == outcome {
			n++
		}
	}
	return n
}

// percent is how many of all n are.
func (p *planted) percent(n int) float64 { return 100 * float64(n) / float64(len(p.Faults)) }

// lists returns the faults of each list, in the order of the file.
func (p *planted) lists() (all []planted) {
	for _, f := range p.Faults {
		i := slices.IndexFunc(all, func(l planted) bool { return l.Faults[0].List == f.List })
		if i < 0 {
			i = len(all)
			all = append(all, planted{Seeds: p.Seeds})
		}
		all[i].Faults = append(all[i].Faults, f)
	}
	return all
}

// seeded returns the faults that one of the seeds has caught, the lowest first. Higher
// ones are those that have found something once: tests play them before all others.
func (p *planted) seeded() []plantedFault {
	seeded := slices.DeleteFunc(slices.Clone(p.Faults), func(f plantedFault) bool { return f.Seed == nil || *f.Seed >= uint64(p.Seeds) })
	slices.SortFunc(seeded, func(a, b plantedFault) int { return cmp.Compare(*a.Seed, *b.Seed) })
	return seeded
}

// table counts what came of each list.
func (p *planted) table() lab.Table {
	t := lab.Table{
		Name: "planted", Title: "Planted faults",
		About: fmt.Sprintf("Each is a change of one place of the source, and the tests play %d seeds with it. Those that were caught by a test without seeds have no part in the medians.", p.Seeds),
		Columns: []lab.Column{
			{Name: "Faults"}, {Name: "Caught"}, {Name: "Caught", Unit: "%"}, {Name: "Survive"}, {Name: "Took too long"},
			{Name: "Median seed"}, {Name: "Median steps"},
		},
	}
	for _, list := range append(p.lists(), *p) {
		name := list.Faults[0].List
		if len(t.Rows) == len(p.lists()) {
			name = "all"
		}
		t.Rows = append(t.Rows, list.row(name))
	}
	for _, outcome := range []string{survives, tookTooLong} {
		for _, f := range p.Faults {
			if f.Outcome == outcome {
				t.Notes = append(t.Notes, fmt.Sprintf("%s: “%s” %s.", f.List, f.Fault, outcome))
			}
		}
	}
	return t
}

func (p *planted) row(name string) lab.Row {
	figures := []float64{
		float64(len(p.Faults)), float64(p.count(caught)), p.percent(p.count(caught)),
		float64(p.count(survives)), float64(p.count(tookTooLong)),
	}
	var seeds, steps []float64
	for _, f := range p.seeded() {
		seeds, steps = append(seeds, float64(*f.Seed)), append(steps, float64(f.Steps))
	}
	if len(seeds) > 0 {
		figures = append(figures, lab.Median(seeds), lab.Median(steps))
	}
	return row(name, figures...)
}

// chart shows how many seeds it takes.
func (p *planted) chart() lab.Experiment {
	e := lab.Experiment{
		Name: "planted-seeds", Title: "Planted faults caught within so many seeds",
		About:    "Each fault is a change of one place of the source. What a test without seeds has caught counts from the first seed on.",
		Observed: fmt.Sprintf("%d of %d planted faults are caught, %.0f %%.", p.count(caught), len(p.Faults), p.percent(p.count(caught))),
		X:        lab.Axis{Label: "seeds", Log: true},
		Y:        lab.Axis{Label: "share caught", Unit: "%"},
	}
	seeded := p.seeded()
	s := lab.Series{Name: "Planted faults"}
	for x := 1; ; x = min(2*x, p.Seeds) {
		n := p.count(caught) - len(seeded)
		for _, f := range seeded {
			if *f.Seed < uint64(x) {
				n++
			}
		}
		s.Points = append(s.Points, lab.NewPoint(float64(x), []float64{p.percent(n)}))
		if x >= p.Seeds {
			break
		}
	}
	e.Series = []lab.Series{s}
	return e
}
