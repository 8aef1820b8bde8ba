package gate

import (
	"context"
	"runtime"
	"sync"

	"github.com/epinet/epi/apps/chat/hall"
)

// A Vault has what is secret: accounts, and the passwords of operators, gateways
// and the server. Its methods may be called from any goroutine and may block.
type Vault interface {
	// Do does one of the works of hall.WorkKind that ask something, and returns
	// the result; Session and Number are filled in by the caller.
	Do(ctx context.Context, w *hall.Work) hall.Result
}

// Push sends messages to devices that are not connected. Its methods may be called from
// any goroutine.
type Push interface {
	// Notify sends a message that is durable to the devices of Record.Notify. It does
	// not block.
	Notify(r *hall.Record)
	// Do does hall.Subscribe and hall.Unsubscribe, and may block.
	Do(ctx context.Context, w *hall.Work) hall.Result
}

// maxWork is how much work may wait; a client that comes then is asked to try
// later. A hash takes about 100 ms, so that the last of them waits for seconds.
const maxWork = 256

// workers do the hall's work apart from all loops: as many at once as there are
// CPUs, in the order in which it came. An idle server has none of them.
type workers struct {
	server *Server
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu      sync.Mutex
	queue   []*hall.Work // guarded by mu
	running int          // guarded by mu
	ended   bool         // guarded by mu
}

func (w *workers) init(s *Server) {
	w.server = s
	w.ctx, w.cancel = context.WithCancel(context.Background())
}

// begin takes work from the hall. It does not block.
func (w *workers) begin(job *hall.Work) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended:
	case len(w.queue) >= maxWork:
		w.server.counts.workRefused.Add(1)
		w.group.Go(func() { w.finish(job, hall.Result{Pending: true}) }) // not within the call of the hall
	default:
		w.queue = append(w.queue, job)
		if w.running < runtime.GOMAXPROCS(0) {
			w.running++
			w.group.Go(w.run)
		}
	}
}

// apart calls fn by a goroutine of its own, unless the workers have ended.
func (w *workers) apart(fn func(context.Context)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.group.Go(func() { fn(w.ctx) })
	}
}

// begin gives work to those who do it.
func (s *Server) begin(job *hall.Work) {
	if job.Kind.IsHistory() {
		s.reads.begin(job)
		return
	}
	s.work.begin(job)
}

// run works until nothing is left to do.
func (w *workers) run() {
	for job := w.next(); job != nil; job = w.next() {
		w.finish(job, w.do(job))
	}
}

func (w *workers) next() *hall.Work {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 || w.ended {
		w.running--
		return nil
	}
	job := w.queue[0]
	w.queue[0] = nil
	w.queue = w.queue[1:]
	return job
}

func (w *workers) do(job *hall.Work) hall.Result {
	config := w.server.config.Load()
	switch {
	case job.Kind.IsHistory():
		return config.History.Do(w.ctx, job)
	case job.Kind.IsPush():
		return config.Push.Do(w.ctx, job)
	}
	switch job.Kind {
	case hall.Rehash:
		if config.Reload == nil {
			return hall.Result{Text: "there is no configuration file"}
		}
		fresh, err := config.Reload()
		if err != nil {
			config.Log.Error("the configuration stays as it was", "error", err)
			return hall.Result{Text: err.Error()}
		}
		w.server.Configure(*fresh)
		return hall.Result{OK: true}
	case hall.ClaimChannel:
		return config.Claim(w.ctx, job.Channel)
	case hall.Die, hall.Restart:
		config.Stop()
		return hall.Result{OK: true}
	}
	return config.Vault.Do(w.ctx, job)
}

func (w *workers) finish(job *hall.Work, r hall.Result) {
	r.Session, r.Number = job.Session, job.Number
	w.server.desk.result(&r)
}

// wait refuses further work and waits for what is under way.
func (w *workers) wait(ctx context.Context) error {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.cancel()
	done := make(chan struct{})
	go func() { w.group.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
