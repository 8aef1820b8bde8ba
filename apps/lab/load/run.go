package load

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Progress says how far a run is. The counts are those since its start,
// warm-up included.
type Progress struct {
	Phase    string        `json:"phase"`
	Conns    int           `json:"conns"`
	Open     int           `json:"open"`
	Requests uint64        `json:"requests"`
	Bytes    uint64        `json:"bytes"`
	Errors   uint64        `json:"errors"`
	CPU      time.Duration `json:"cpu"` // of all processes that make load
}

// add makes p the progress of two processes.
func (p *Progress) add(other Progress) {
	if p.Phase == "" {
		p.Phase = other.Phase
	}
	p.Conns += other.Conns
	p.Open += other.Open
	p.Requests += other.Requests
	p.Bytes += other.Bytes
	p.Errors += other.Errors
	p.CPU += other.CPU
}

// progressPeriod is the time between two calls of progress.
const progressPeriod = time.Second

// Run makes the load and returns what it measured. When ctx ends it stops
// early, and the report is marked as partial. progress, which may be nil, is called
// once a second from one goroutine at a time.
//
// Errors of single connections are in the report. Run's own error says why
// there is no report: the Config is wrong, or no connection could be
// established.
func Run(ctx context.Context, c Config, progress func(Progress)) (*Report, error) {
	c = c.withDefaults()
	endpoints, err := c.check(ctx)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	m, err := thisMachine()
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return run(ctx, c, endpoints, m, progress)
}

func run(ctx context.Context, c Config, endpoints []endpoint, m machine, progress func(Progress)) (*Report, error) {
	p, err := newPlan(&c, endpoints, m)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	started := time.Now()
	var total *tally
	if len(p.shares) == 1 {
		total, err = runShare(ctx, p.shares[0], progress, nil)
	} else {
		total, err = supervise(ctx, p.shares, c.Child, progress)
	}
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", c.Targets[0], err)
	}
	return newReport(&c, p, started, total), nil
}

// errNoConnection is why there is nothing to report.
var errNoConnection = errors.New("no connection could be established")

// runShare makes one share of the load in this process. ready, which may be
// nil, is called when the connections are open, and the load begins when it
// returns true.
func runShare(ctx context.Context, s share, progress func(Progress), ready func(failure error) bool) (*tally, error) {
	g, err := startGenerator(s)
	if err != nil {
		return nil, err
	}
	stop := g.showProgress(progress)
	err = g.connect(ctx)
	switch {
	case err != nil:
	case ctx.Err() != nil:
		g.part = interrupted
	case ready != nil:
		if ready(g.failure()) {
			g.measure(ctx)
		} else {
			g.part = interrupted
		}
	case g.failure() != nil:
		err = g.failure()
	default:
		g.measure(ctx)
	}
	stop()
	total, closing := g.close()
	return total, errors.Join(err, closing)
}

// failure says why no connection could be established.
func (g *generator) failure() error {
	if g.opened.Load() > 0 {
		return nil
	}
	if first := g.firstError.Load(); first != nil {
		return fmt.Errorf("%w: %s", errNoConnection, causeOf(*first))
	}
	return errNoConnection
}

// showProgress calls progress once a second until stop is called.
func (g *generator) showProgress(progress func(Progress)) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticks := time.NewTicker(progressPeriod)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				progress(g.progress())
			case <-end:
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}
