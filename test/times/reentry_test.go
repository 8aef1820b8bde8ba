package times_test

import (
	"context"
	"regexp"
	"sync"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// publicCall matches the frames of calls that could cause a callback.
var publicCall = regexp.MustCompile(`^github\.com/epinet/epi\.\(\*(` +
	`Conn\)\.(Write|Send|Close|CloseWrite|Abort|Pause|Resume)|` +
	`Loop\)\.(Do|After|Every)|Timer\)\.Stop|Listener\)\.Close|Engine\)\.(Dial|Listen))$`)

// A recorder notes which callbacks ran, and complains of those that ran inside
// the call that caused them.
type recorder struct {
	t    *testing.T
	mu   sync.Mutex
	seen map[string]bool // guarded by mu
}

func (r *recorder) called(callback string) {
	if cause := epitest.CallOnStack(publicCall); cause != "" {
		r.t.Errorf("%s runs inside %s", callback, cause)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[callback] = true
}

// everyCall makes each call that causes a callback: OnDrain by a write above
// HighWater, OnData by Resume, OnClose by Close.
func (r *recorder) everyCall(c *epi.Conn, e *epi.Engine, network string) {
	c.Pause()
	c.Resume()
	if _, err := c.Write(make([]byte, 100)); err != nil {
		r.t.Error(err)
	}
	if err := c.Loop().Do(func() { r.called("task") }); err != nil {
		r.t.Error(err)
	}
	c.Loop().After(0, func() { r.called("timer") })
	if _, err := e.Dial(context.Background(), network+"://"+c.LocalAddr().String(), &epitest.Funcs{
		Open:  func(c *epi.Conn) error { r.called("OnOpen, dialled"); return c.Close() },
		Close: func(*epi.Conn, error) { r.called("OnClose, dialled") },
	}); err != nil {
		r.t.Error(err)
	}
	if err := c.Close(); err != nil {
		r.t.Error(err)
	}
}

func TestL07_NoCallbackInsideTheCallThatCausesIt(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Run("from a callback", func(t *testing.T) {
			t.Parallel()
			testReentry(t, m, func(act func()) { act() })
		})
		t.Run("from a goroutine", func(t *testing.T) {
			t.Parallel()
			testReentry(t, m, func(act func()) {
				done := make(chan struct{})
				go func() { defer close(done); act() }()
				<-done
			})
		})
	})
}

// testReentry makes every call in OnData, by means of run.
func testReentry(t *testing.T, m epitest.Mode, run func(act func())) {
	r := &recorder{t: t, seen: make(map[string]bool)}
	e := m.Engine()
	e.HighWater, e.LowWater = 10, 5
	var once sync.Once
	s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
		r.called("handler function")
		return &epitest.Funcs{
			Open:  func(*epi.Conn) error { r.called("OnOpen"); return nil },
			Drain: func(*epi.Conn) { r.called("OnDrain") },
			Data: func(c *epi.Conn) error {
				r.called("OnData")
				// The bytes stay unread, so that Resume has something to offer.
				once.Do(func() { run(func() { r.everyCall(c, e, m.Network()) }) })
				return nil
			},
			Close: func(*epi.Conn, error) { r.called("OnClose") },
		}
	})
	client := s.Dial()
	epitest.Say(t, client, "x")
	for range 100 {
		epitest.Expect(t, client, "\x00")
	}
	epitest.ExpectEOF(t, client)
	want := []string{
		"handler function", "OnOpen", "OnData", "OnClose", "task", "timer", "OnOpen, dialled", "OnClose, dialled",
	}
	epitest.WaitUntil(t, "every callback", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, callback := range want {
			if !r.seen[callback] {
				return false
			}
		}
		return true
	})
}
