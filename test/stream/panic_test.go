package stream_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

var errBoom = errors.New("boom")

// A lockedBuffer is a log that several loops write.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestF02_PanicInCallback lets each callback panic on its first connection.
func TestF02_PanicInCallback(t *testing.T) {
	const high = 1000
	boom := func() error { panic(errBoom) }
	rows := []struct {
		callback string
		handler  func(f *epitest.FuncsEOF) // makes it panic
		client   func(t *testing.T, c net.Conn)
		onClose  bool // OnClose gets the panic
	}{
		{"handler function", nil, func(*testing.T, net.Conn) {}, false}, // there is no handler
		{"OnOpen", func(f *epitest.FuncsEOF) {
			f.Open = func(*epi.Conn) error { return boom() }
		}, func(*testing.T, net.Conn) {}, true},
		{"OnData", func(f *epitest.FuncsEOF) {
			f.Data = func(c *epi.Conn) error { _, _ = c.Write([]byte("queued")); return boom() }
		}, func(t *testing.T, c net.Conn) { epitest.Say(t, c, "?"); epitest.Expect(t, c, "queued") }, true},
		{"OnEOF", func(f *epitest.FuncsEOF) {
			f.EOF = func(*epi.Conn) error { return boom() }
		}, epitest.CloseWrite, true},
		{"OnDrain", func(f *epitest.FuncsEOF) {
			f.Data = func(c *epi.Conn) error { c.Discard(1); return c.Send(make([]byte, high+1)) }
			f.Drain = func(*epi.Conn) { _ = boom() }
		}, func(t *testing.T, c net.Conn) {
			epitest.Say(t, c, "?")
			epitest.ExpectBytes(t, c, make([]byte, high+1), high)
		}, true},
		{"OnClose", func(f *epitest.FuncsEOF) {
			f.Data = (*epi.Conn).Abort
			f.Close = func(*epi.Conn, error) { _ = boom() }
		}, func(t *testing.T, c net.Conn) { epitest.Say(t, c, "?"); epitest.ExpectReset(t, c) }, false},
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for _, row := range rows {
			var log lockedBuffer
			e := m.Engine()
			e.HighWater = high
			e.Logger = slog.New(slog.NewTextHandler(&log, nil))
			closed := make(chan error, 1)
			next := make(chan epi.Handler, 1)
			s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
				h := <-next
				if h == nil {
					_ = boom()
				}
				return h
			})
			next <- &epitest.Funcs{Data: epitest.Echo}
			other := s.Dial()
			epitest.RoundTrip(t, other, "before")

			if row.handler == nil {
				next <- nil
			} else {
				f := &epitest.FuncsEOF{Funcs: epitest.Funcs{Close: func(_ *epi.Conn, err error) { closed <- err }}}
				row.handler(f)
				next <- f
			}
			client := s.Dial()
			row.client(t, client)
			if row.callback != "OnClose" {
				epitest.ExpectEOF(t, client)
			}
			if row.onClose {
				checkPanicError(t, row.callback, epitest.Receive(t, closed))
			}
			epitest.WaitUntil(t, row.callback+": the connection ends", func() bool { return e.Stats().Conns == 1 })
			if n := e.Stats().Panics; n != 1 {
				t.Errorf("%s: %d panics counted", row.callback, n)
			}
			if text := log.String(); !strings.Contains(text, row.callback) || !strings.Contains(text, "panic_test.go") {
				t.Errorf("%s: the log names neither the callback nor the place:\n%s", row.callback, text)
			}
			epitest.RoundTrip(t, other, "after")
			next <- &epitest.Funcs{Data: epitest.Echo}
			epitest.RoundTrip(t, s.Dial(), "a new one")
		}
	})
}

func checkPanicError(t *testing.T, where string, err error) {
	t.Helper()
	p, ok := errors.AsType[*epi.PanicError](err)
	if !ok || !errors.Is(err, errBoom) {
		t.Errorf("%s: OnClose got %v", where, err)
		return
	}
	if p.Value != errBoom || !bytes.Contains(p.Stack, []byte("panic_test.go")) {
		t.Errorf("%s: OnClose got the value %v, stack:\n%s", where, p.Value, p.Stack)
	}
}

// TestF02_PanicInTask lets tasks and timers panic: only they end.
func TestF02_PanicInTask(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		s := epitest.Start(t, e, epitest.EchoHandler)
		client := s.Dial()
		epitest.RoundTrip(t, client, "before")
		l, err := e.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		ran := make(chan string, 1)
		bang := func(what string) func() {
			return func() { ran <- what; panic(what) }
		}
		for _, row := range []struct {
			what  string
			start func(what string) error
		}{
			{"task", func(what string) error { return l.Do(bang(what)) }},
			{"timer", func(what string) error { l.After(time.Microsecond, bang(what)); return nil }},
			{"fault of the runtime", func(what string) error {
				return l.Do(func() { ran <- what; _ = any(what).(error) })
			}},
		} {
			if err := row.start(row.what); err != nil {
				t.Fatal(err)
			}
			if got := epitest.Receive(t, ran); got != row.what {
				t.Errorf("%s ran where %s was due", got, row.what)
			}
		}
		ticks, third := 0, make(chan struct{})
		ticker := l.Every(time.Millisecond, epi.Skip, func() {
			if ticks++; ticks == 3 {
				close(third)
			}
			panic("tick")
		})
		epitest.Receive(t, third)
		ticker.Stop()
		epitest.WaitUntil(t, "the panics are counted", func() bool { return e.Stats().Panics >= 6 })
		epitest.RoundTrip(t, client, "after")
	})
}

// TestF02_ErrorFromCallback is the quiet sibling of a panic.
func TestF02_ErrorFromCallback(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		fail := func(*epi.Conn) error { return errBoom }
		rows := []struct {
			callback string
			handler  epitest.FuncsEOF
		}{
			{"OnOpen", epitest.FuncsEOF{Funcs: epitest.Funcs{Open: fail}}},
			{"OnData", epitest.FuncsEOF{Funcs: epitest.Funcs{Data: fail}}},
			{"OnEOF", epitest.FuncsEOF{EOF: fail}},
		}
		for _, row := range rows {
			closed := make(chan error, 1)
			s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
				h := row.handler
				h.Close = func(_ *epi.Conn, err error) { closed <- err }
				return &h
			})
			client := s.Dial()
			if row.callback == "OnData" {
				epitest.Say(t, client, "?")
			}
			if row.callback == "OnEOF" {
				epitest.CloseWrite(t, client)
			}
			if err := epitest.Receive(t, closed); err != errBoom {
				t.Errorf("%s: OnClose got %v", row.callback, err)
			}
			if rest, err := io.ReadAll(client); err != nil || len(rest) > 0 {
				t.Errorf("%s: the client read %q, %v", row.callback, rest, err)
			}
		}
	})
}
