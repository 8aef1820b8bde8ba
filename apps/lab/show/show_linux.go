// Package show has pages on which a reader plays with real descriptors: what level,
// edge and one-shot report of a pipe, what a wait costs among idle ones, a boss and
// workers, who wakes, readiness beside completion, and the trap of edge. The buttons
// are system calls of this process, and the pages show what the kernel said.
package show

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
)

//go:embed page.html show.css show.js
var assets embed.FS

// Names are the pages.
var Names = []string{"pipe", "signal", "cost", "boss", "waiters", "twin", "trap"}

// A Show is the pages and the descriptors behind them. Its methods may be called
// from any goroutine.
type Show struct {
	mu     sync.Mutex
	pipes  []*pipe          // guarded by mu
	stages map[string]stage // guarded by mu; those that somebody has used
	closed bool             // guarded by mu
}

// A stage is what is behind one page. Its methods are called one at a time.
type stage interface {
	act(name string) (any, error)
	close() error
}

// stages open what is behind a page, when its first button is pressed.
var stages = map[string]func() (stage, error){
	"boss":    newBoss,
	"waiters": newWaiters,
	"twin":    newTwin,
	"trap":    newTrap,
}

// New opens what the pages need.
func New() (*Show, error) {
	s := &Show{stages: map[string]stage{}}
	for _, m := range modes {
		p, err := newPipe(m.name, m.mode)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.pipes = append(s.pipes, p)
	}
	return s, nil
}

// Close closes the descriptors.
func (s *Show) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, p := range s.pipes {
		err = errors.Join(err, p.close())
	}
	s.pipes = nil
	for _, stage := range s.stages {
		err = errors.Join(err, stage.close())
	}
	s.stages, s.closed = nil, true
	return err
}

// Handler serves the page, at / and the names of its parts, and what the buttons do, by
// POST. All of it may lie below any path.
// It does not look at who asks: that is for what is around it.
func (s *Show) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, name := range append([]string{"{$}"}, Names...) {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'")
			http.ServeFileFS(w, r, assets, "page.html")
		})
	}
	mux.Handle("GET /show.css", http.FileServerFS(assets))
	mux.Handle("GET /show.js", http.FileServerFS(assets))
	mux.HandleFunc("POST /pipe/{act}", func(w http.ResponseWriter, r *http.Request) {
		reply(w, func() (any, error) { return s.act(r.PathValue("act")) })
	})
	mux.HandleFunc("POST /cost/{idle}", func(w http.ResponseWriter, r *http.Request) {
		reply(w, func() (any, error) {
			idle, err := strconv.Atoi(r.PathValue("idle"))
			if err != nil || idle < 0 || idle > mostIdle {
				return nil, fmt.Errorf("%w: idle descriptors are from 0 to %d", errAsked, mostIdle)
			}
			s.mu.Lock() // one measurement at a time
			defer s.mu.Unlock()
			return costs(idle)
		})
	})
	mux.HandleFunc("POST /{stage}/{act}", func(w http.ResponseWriter, r *http.Request) {
		reply(w, func() (any, error) { return s.actOn(r.PathValue("stage"), r.PathValue("act")) })
	})
	return mux
}

// actOn presses a button of a stage.
func (s *Show) actOn(name, act string) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("the pages are closed")
	}
	on := s.stages[name]
	if on == nil {
		open := stages[name]
		if open == nil {
			return nil, unknown(name)
		}
		var err error
		if on, err = open(); err != nil {
			return nil, err
		}
		s.stages[name] = on
	}
	return on.act(act)
}

// errAsked is wrapped by errors of the request.
var errAsked = errors.New("bad request")

func unknown(name string) error { return fmt.Errorf("%w: there is no %.20q", errAsked, name) }

func reply(w http.ResponseWriter, do func() (any, error)) {
	answer, err := do()
	if err != nil {
		status := http.StatusInternalServerError
		if errors.Is(err, errAsked) {
			status = http.StatusBadRequest
		}
		http.Error(w, err.Error(), status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // an error is the client's going
}

// An Answer is what one of the three pipes said.
type Answer struct {
	Mode   string
	Said   string // the system call and its result
	Events int    // that a wait has reported
	Bytes  int    // in the pipe now
}

// act does the same to each pipe.
func (s *Show) act(name string) ([]Answer, error) {
	do := acts[name]
	if do == nil {
		return nil, unknown(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var answers []Answer
	for _, p := range s.pipes {
		a := Answer{Mode: p.name}
		var err error
		if a.Said, a.Events, err = do(p); err != nil {
			return nil, err
		}
		if a.Bytes, err = p.unread(); err != nil {
			return nil, err
		}
		answers = append(answers, a)
	}
	return answers, nil
}
