package stream_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestProgram01_RunningCallbackFinishes ends the engine while handlers work.
//
//	worker: OnData ............ Write ─► delivered
//	engine:         drain ─► OnShutdown, close
func TestProgram01_RunningCallbackFinishes(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		if m.Workers == 0 {
			return // while a callback runs, nothing else does
		}
		t.Parallel()
		working, goOn := make(chan *epi.Conn, 1), make(chan struct{})
		closed := make(chan error, 1)
		e := m.Engine()
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Data: func(c *epi.Conn) error {
					c.Discard(len(c.Unread()))
					working <- c
					<-goOn
					_, err := c.Write([]byte("answer"))
					return err
				},
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		c := s.Dial()
		epitest.Say(t, c, "question")
		l := epitest.Receive(t, working).Loop()
		s.Cancel()
		epitest.WaitUntil(t, "the engine drains", func() bool {
			_, err := e.Dial(context.Background(), "tcp://127.0.0.1:1", &epitest.Funcs{})
			return errors.Is(err, epi.ErrShutdown)
		})
		epitest.OnLoop(t, l, func() {}) // behind what closes the connections
		close(goOn)
		epitest.Expect(t, c, "answer")
		epitest.ExpectEOF(t, c)
		if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrShutdown) {
			t.Errorf("OnClose got %v", err)
		}
	})
}

// staying answers each question when the test lets it, also when the engine drains.
type staying struct {
	asked  chan *epi.Conn
	left   chan struct{}
	closed chan error

	mu   sync.Mutex
	busy bool // guarded by mu; an answer is still to come
}

func (h *staying) OnData(c *epi.Conn) error {
	c.Discard(len(c.Unread()))
	h.mu.Lock()
	h.busy = true
	h.mu.Unlock()
	h.asked <- c
	return nil
}

func (h *staying) OnShutdown(c *epi.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy {
		c.StayOpen()
	}
	close(h.left)
}

func (h *staying) OnClose(_ *epi.Conn, err error) { h.closed <- err }

// TestProgram01_StayOpen has two connections when the engine ends: one has an
// answer that another goroutine is to give, the other has none.
func TestProgram01_StayOpen(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		made := make(chan *staying, 1)
		s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
			h := &staying{asked: make(chan *epi.Conn, 1), left: make(chan struct{}), closed: make(chan error, 1)}
			made <- h
			return h
		})
		quiet := s.Dial()
		idle := epitest.Receive(t, made)
		client := s.Dial()
		busy := epitest.Receive(t, made)
		epitest.Say(t, client, "question")
		conn := epitest.Receive(t, busy.asked)
		s.Cancel()
		epitest.Receive(t, busy.left)
		epitest.ExpectEOF(t, quiet)
		if err := epitest.Receive(t, idle.closed); !errors.Is(err, epi.ErrShutdown) {
			t.Errorf("OnClose of the idle connection got %v", err)
		}
		if _, err := io.WriteString(conn, "answer"); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		epitest.Expect(t, client, "answer")
		epitest.ExpectEOF(t, client)
		if err := epitest.Receive(t, busy.closed); err != nil {
			t.Errorf("OnClose of the busy connection got %v", err)
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestProgram01_DrainTimeoutBoundsStayOpen has a handler that stays open for ever.
func TestProgram01_DrainTimeoutBoundsStayOpen(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.DrainTimeout = shortTimeout
		h := &staying{busy: true, asked: make(chan *epi.Conn, 1), left: make(chan struct{}), closed: make(chan error, 1)}
		s := newStopping(t, e, "tcp://127.0.0.1:0", func(*epi.Conn) epi.Handler { return h })
		c := s.dial()
		epitest.Say(t, c, "question")
		epitest.Receive(t, h.asked)
		if err := s.stop(); !errors.Is(err, epi.ErrDrainTimeout) {
			t.Errorf("Run returned %v", err)
		}
		if err := epitest.Receive(t, h.closed); !errors.Is(err, epi.ErrShutdown) {
			t.Errorf("OnClose got %v", err)
		}
	})
}

// TestProgram02_EndedContext dials with one.
func TestProgram02_EndedContext(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		reason := errors.New("changed my mind")
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(reason)
		closed := make(chan error, 1)
		_, err := s.Engine.Dial(ctx, s.Listener.String(), &epitest.Funcs{
			Open:  func(*epi.Conn) error { t.Error("it is open"); return nil },
			Close: func(_ *epi.Conn, err error) { closed <- err },
		})
		if err == nil {
			err = epitest.Receive(t, closed)
		}
		if !errors.Is(err, reason) {
			t.Errorf("Dial with an ended context: %v", err)
		}
	})
}

// TestProgram02_EndedLoop makes timers that are due after the end, and others
// afterwards.
func TestProgram02_EndedLoop(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		s := epitest.Start(t, e, epitest.EchoHandler)
		l, err := e.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		never := func() { t.Error("a timer runs after the end") }
		waiting := l.After(time.Hour, never)
		select {
		case <-l.Done():
			t.Error("a loop that runs is done")
		default:
		}
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		epitest.Receive(t, l.Done())
		late := l.After(0, never)
		for what, timer := range map[string]*epi.Timer{"made before the end": waiting, "made after it": late, "periodic": l.Every(1, epi.Skip, never), "watched": l.AfterWatched(0, never)} {
			if timer.Reset(0) || timer.Stop() {
				t.Errorf("%s: it is said to be going to run", what)
			}
		}
		if err := l.Do(never); !errors.Is(err, epi.ErrShutdown) {
			t.Errorf("Do: %v", err)
		}
	})
}

// TestProgram05_TimerReset sets timers anew.
func TestProgram05_TimerReset(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		l := epitest.StartLoop(t, m.Engine())
		for name, after := range map[string]func(time.Duration, func()) *epi.Timer{"After": l.After, "AfterWatched": l.AfterWatched} {
			ran := make(chan struct{}, 10)
			timer := after(time.Hour, func() { ran <- struct{}{} })
			if !timer.Reset(0) {
				t.Errorf("%s: it waits, and Reset says that it does not", name)
			}
			epitest.Receive(t, ran)
			if timer.Reset(time.Hour) || !timer.Stop() || timer.Reset(0) {
				t.Errorf("%s: Reset or Stop says the wrong thing of a timer that has run or was stopped", name)
			}
			epitest.Receive(t, ran)
			epitest.OnLoop(t, l, func() {
				timer.Reset(0)
				timer.Reset(0)
			})

			epitest.Receive(t, ran)
			epitest.OnLoop(t, l, func() {})
			if len(ran) > 0 {
				t.Errorf("%s: it runs twice", name)
			}
		}
		ticks := make(chan struct{}, 1000)
		every := l.Every(time.Hour, epi.Skip, func() { ticks <- struct{}{} })
		every.Reset(0)
		epitest.Receive(t, ticks)
		if !every.Stop() {
			t.Error("an Every that was set anew has no next tick")
		}
	})
}

// TestProgram05_TimerResetInsideItself is a timer that sets itself anew.
func TestProgram05_TimerResetInsideItself(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		l := epitest.StartLoop(t, m.Engine())
		done, runs := make(chan struct{}), 0
		epitest.OnLoop(t, l, func() {
			var timer *epi.Timer
			timer = l.After(0, func() {
				if runs++; runs == 3 {
					close(done)
					return
				}
				timer.Reset(time.Millisecond)
			})
		})

		epitest.Receive(t, done)
	})
}

// TestProgram05_TimeoutsOfAConnection sets them from a callback and from outside,
// and for a listener. The engine has none.
func TestProgram05_TimeoutsOfAConnection(t *testing.T) {
	const short = 50 * time.Millisecond
	fill := func(c *epi.Conn) error { return c.Send(make([]byte, epitest.EightMiB)) }
	rows := []struct {
		name    string
		options epi.ListenOptions
		open    func(*epi.Conn) error
		outside func(*epi.Conn)
		cause   error
	}{
		{"idle, callback", epi.ListenOptions{}, func(c *epi.Conn) error { c.SetIdleTimeout(short); return nil }, nil, epi.ErrIdle},
		{"idle, outside", epi.ListenOptions{}, nil, func(c *epi.Conn) { c.SetIdleTimeout(short) }, epi.ErrIdle},
		{"idle, listener", epi.ListenOptions{IdleTimeout: short}, nil, nil, epi.ErrIdle},
		{"read, callback", epi.ListenOptions{}, func(c *epi.Conn) error { c.SetReadTimeout(short); return nil }, nil, epi.ErrReadTimeout},
		{"read, outside", epi.ListenOptions{}, nil, func(c *epi.Conn) { c.SetReadTimeout(short) }, epi.ErrReadTimeout},
		{"read, listener", epi.ListenOptions{ReadTimeout: short}, nil, nil, epi.ErrReadTimeout},
		{"write, callback", epi.ListenOptions{}, func(c *epi.Conn) error { c.SetWriteTimeout(short); return fill(c) }, nil, epi.ErrWriteStalled},
		{"write, outside", epi.ListenOptions{}, fill, func(c *epi.Conn) { c.SetWriteTimeout(short) }, epi.ErrWriteStalled},
		{"write, listener", epi.ListenOptions{WriteTimeout: short}, fill, nil, epi.ErrWriteStalled},
		{"taken back", epi.ListenOptions{IdleTimeout: time.Hour}, nil, func(c *epi.Conn) { c.SetIdleTimeout(0); c.SetReadTimeout(short) }, epi.ErrReadTimeout},
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.Linger = short
		epitest.Run(t, e)
		for _, row := range rows {
			opened, closed := make(chan *epi.Conn, 1), make(chan error, 1)
			ln, err := e.ListenWith("tcp://127.0.0.1:0", row.options, func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{
					Open: func(c *epi.Conn) error {
						opened <- c
						if row.open == nil {
							return nil
						}
						return row.open(c)
					},
					Close: func(_ *epi.Conn, err error) { closed <- err },
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			epitest.DialPlain(t, ln)
			c := epitest.Receive(t, opened)
			if row.outside != nil {
				row.outside(c)
			}
			if err := epitest.Receive(t, closed); !errors.Is(err, row.cause) {
				t.Errorf("%s: OnClose got %v", row.name, err)
			}
		}
	})
}

// TestProgram05_ReadTimeoutWhileSending has a client that receives much and sends
// nothing.
func TestProgram05_ReadTimeoutWhileSending(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.ReadTimeout = 100 * time.Millisecond
		closed := make(chan error, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open: func(c *epi.Conn) error {
					var tick func()
					tick = func() {
						if _, err := c.Write([]byte("x")); err == nil {
							c.Loop().After(time.Millisecond, tick)
						}
					}
					tick()
					return nil
				},
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		c := s.Dial()
		go func() { _, _ = io.Copy(io.Discard, c) }()
		if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrReadTimeout) {
			t.Errorf("OnClose got %v", err)
		}
	})
}
