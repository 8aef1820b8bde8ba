package socket_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A journal keeps what is logged, as LEVEL text.
type journal struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler       { return j }
func (j *journal) WithGroup(string) slog.Handler            { return j }

func (j *journal) Handle(_ context.Context, r slog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, r.Level.String()+" "+r.Message)
	return nil
}

func (j *journal) count(line string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, l := range j.lines {
		if l == line {
			n++
		}
	}
	return n
}

// all returns the different lines, sorted.
func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := slices.Clone(j.lines)
	slices.Sort(lines)
	return slices.Compact(lines)
}

func TestLog_EachNatureHasItsLevel(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		log := &journal{}
		e := m.Engine()
		e.Logger, e.MaxConns = slog.New(log), 1
		e.Loops = 1 // never more than there are processors
		refuse := make(chan bool, 2)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			if <-refuse {
				return nil
			}
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				if string(c.Unread()) == panicWord {
					panic("as asked for")
				}
				return epitest.Echo(c)
			}}
		})
		refuse <- true
		epitest.ExpectEOF(t, s.Dial())
		epitest.WaitUntil(t, "it is gone", func() bool { return e.Stats().Conns == 0 })
		refuse <- false
		c := s.Dial()
		epitest.RoundTrip(t, c, "x")
		for range 3 {
			epitest.ExpectEOF(t, s.Dial()) // shed
		}
		epitest.Say(t, c, panicWord)
		epitest.ExpectEOF(t, c)
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"DEBUG connection closed", "DEBUG connection opened",
			"ERROR callback panicked",
			"INFO listener closed", "INFO listening", "INFO peer refused", "INFO serving",
			"WARN connections are shed",
		}
		if got := log.all(); !slices.Equal(got, want) {
			t.Errorf("the log has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if n := log.count("WARN connections are shed"); n > e.Loops {
			t.Errorf("%d lines say that connections are shed", n)
		}
	})
}

// TestProgram11_MoreLoopsThanProcessors says so.
func TestProgram11_MoreLoopsThanProcessors(t *testing.T) {
	log := &journal{}
	e := &epi.Engine{Loops: runtime.GOMAXPROCS(0) + 1, Logger: slog.New(log)}
	s := epitest.Start(t, e, epitest.EchoHandler)
	epitest.RoundTrip(t, s.Dial(), "x")
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(log.all(), func(line string) bool {
		return strings.HasPrefix(line, "WARN there are more loops than processors")
	}) {
		t.Errorf("the log has\n%s", strings.Join(log.all(), "\n"))
	}
}

// Each loop's goroutine, and each worker's, can be told apart in a profile.
func TestProfilesNameTheLoops(t *testing.T) {
	for _, m := range epitest.Modes() {
		t.Run(m.String(), func(t *testing.T) { // not parallel: the profile is of the whole program
			e := m.Engine()
			s := epitest.Start(t, e, epitest.EchoHandler)
			epitest.RoundTrip(t, s.Dial(), "x")
			// An echo shows that one loop has begun, not that all have, nor the workers.
			for id := range e.Loops {
				awaitLabel(t, `"epi_driver":"`+e.Stats().Driver+`", "epi_loop":"`+strconv.Itoa(id)+`"`)
			}
			for id := range m.Workers {
				awaitLabel(t, `"epi_worker":"`+strconv.Itoa(id)+`"`)
			}
		})
	}
}

// awaitLabel waits for a goroutine that bears a label in profiles.
func awaitLabel(t *testing.T, label string) {
	t.Helper()
	epitest.WaitUntil(t, "a goroutine is labelled "+label, func() bool {
		var profile bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(profile.String(), label)
	})
}

// TestHostile11_RefusalsAreToldAFewTimes: the others are said at Debug.
func TestHostile11_RefusalsAreToldAFewTimes(t *testing.T) {
	const peers = 40
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		log := &journal{}
		server, _ := epitest.Certificates(t)
		e := m.Serial()
		e.Logger, e.TLS = slog.New(log), server
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
		for range peers {
			c := s.Dial()
			epitest.Say(t, c, "garbage")
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		const text = " a connection is refused"
		if info, debug := log.count("INFO"+text), log.count("DEBUG"+text); info == 0 || debug == 0 || info+debug != peers {
			t.Errorf("of %d refusals %d were logged at Info, %d at Debug", peers, info, debug)
		}
	})
}
