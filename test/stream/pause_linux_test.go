package stream_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A diary notes the calls of a handler. Neighbouring calls of OnData are one
// entry, because the kernel may split bytes anywhere.
type diary struct {
	mu   sync.Mutex
	text strings.Builder
	data bool // the last entry is data
}

func (d *diary) note(entry string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text.WriteString(" " + entry)
	d.data = false
}

func (d *diary) noteData(p []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.data {
		d.text.WriteString(" data:")
	}
	d.text.Write(p)
	d.data = true
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}

// TestW10_PauseAndResume pauses and resumes in every place while everything
// that can happen does.
//
//	client   "first" ──────── "second", FIN or RST ──
//	server   Pause ─ (silence, and a loop at rest) ─ Resume ─ all of it arrives
func TestW10_PauseAndResume(t *testing.T) {
	pauses := []string{"in OnOpen", "in OnData", "outside"}
	resumes := []struct {
		name string
		how  func(c *epi.Conn) error
	}{
		{"outside", func(c *epi.Conn) error { c.Resume(); return nil }},
		{"twice", func(c *epi.Conn) error { c.Resume(); c.Resume(); return nil }},
		{"in a task", func(c *epi.Conn) error { return c.Loop().Do(c.Resume) }},
		{"in a timer", func(c *epi.Conn) error { c.Loop().After(time.Microsecond, c.Resume); return nil }},
		{"in OnDrain", func(c *epi.Conn) error { return c.Send(make([]byte, pauseHighWater+1)) }},
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		m.Parallel(t)
		s := newPauseServer(t, m)
		var trials []*pauseTrial
		for _, pause := range pauses {
			for _, resume := range resumes {
				for _, pending := range pendings {
					if pending.reset && resume.name != "outside" {
						continue // awaiting a reset is slow, and no write drains after it
					}
					name := "pause " + pause + ", " + pending.name + ", resume " + resume.name
					trials = append(trials, s.begin(name, pause, pending, resume.how))
				}
			}
		}
		for _, trial := range trials {
			epitest.AwaitArrival(t, trial.client)
			if trial.pending.reset {
				epitest.Reset(t, trial.client)
				epitest.AwaitReset(t, trial.client)
			}
		}
		epitest.Settled(t, "the loops", func() uint64 { return s.Engine.Stats().Turns })
		for _, trial := range trials {
			trial.checkSilence(t)
			trial.checkResume(t)
			_ = trial.client.Close()
		}
		epitest.WaitUntil(t, "all connections end", func() bool { return s.Engine.Stats().Conns == 0 })
	})
}

const pauseHighWater = 1000

// A pending is what a client does while its connection is paused.
type pending struct {
	name  string
	act   func(t *testing.T, c net.Conn)
	told  string // after the rest of "first"
	reset bool   // and then it resets
}

var pendings = []pending{
	{"nothing", func(*testing.T, net.Conn) {}, "", false},
	{"data", func(t *testing.T, c net.Conn) { epitest.Say(t, c, "second") }, "second", false},
	{"an end", epitest.CloseWrite, " EOF close:<nil>", false},
	{"data and an end", func(t *testing.T, c net.Conn) {
		epitest.Say(t, c, "second")
		epitest.CloseWrite(t, c)
	}, "second EOF close:<nil>", false},
	{"data and a reset", func(t *testing.T, c net.Conn) { epitest.Say(t, c, "second") }, "second close:reset", true},
}

// A pauseServer has handlers that pause where the row says.
type pauseServer struct {
	*epitest.Server
	t    *testing.T
	next chan *pauseTrial // of the next connection
}

// A pauseTrial is a connection that is paused somewhere.
type pauseTrial struct {
	name    string
	pause   string
	pending pending
	resume  func(c *epi.Conn) error
	diary   diary
	opened  chan *epi.Conn
	paused  chan struct{}
	conn    *epi.Conn
	client  net.Conn
}

func newPauseServer(t *testing.T, m epitest.Mode) *pauseServer {
	s := &pauseServer{t: t, next: make(chan *pauseTrial, 1)}
	e := m.Engine()
	e.HighWater = pauseHighWater
	s.Server = epitest.Start(t, e, func(*epi.Conn) epi.Handler { return (<-s.next).handler() })
	return s
}

func (p *pauseTrial) handler() epi.Handler {
	return &epitest.FuncsEOF{
		Funcs: epitest.Funcs{Open: p.onOpen, Data: p.onData, Drain: (*epi.Conn).Resume, Close: p.onClose},
		EOF:   func(c *epi.Conn) error { p.diary.note("EOF"); return c.Close() },
	}
}

func (p *pauseTrial) onOpen(c *epi.Conn) error {
	if p.pause == "in OnOpen" {
		c.Pause()
		close(p.paused)
	}
	p.opened <- c
	return nil
}

func (p *pauseTrial) onData(c *epi.Conn) error {
	n := len(c.Unread())
	if p.pause == "in OnData" && p.diary.String() == "" {
		c.Pause()
		defer close(p.paused)
		n = 1 // and the rest stays unread
	}
	p.diary.noteData(c.Unread()[:n])
	c.Discard(n)
	return nil
}

func (p *pauseTrial) onClose(_ *epi.Conn, err error) {
	if errors.Is(err, syscall.ECONNRESET) {
		err = errors.New("reset")
	}
	p.diary.note(fmt.Sprint("close:", err))
}

// begin pauses a connection and lets its client do what is then pending.
func (s *pauseServer) begin(name, pause string, pending pending, resume func(c *epi.Conn) error) *pauseTrial {
	t := s.t
	t.Helper()
	p := &pauseTrial{
		name: name, pause: pause, pending: pending, resume: resume,
		opened: make(chan *epi.Conn, 1), paused: make(chan struct{}),
	}
	s.next <- p
	p.client = s.Dial()
	p.conn = epitest.Receive(t, p.opened)
	if pause == "outside" {
		p.conn.Pause()
		p.conn.Pause() // again changes nothing
		close(p.paused)
	}
	epitest.Say(t, p.client, "first")
	epitest.Receive(t, p.paused)
	pending.act(t, p.client)
	return p
}

func (p *pauseTrial) checkSilence(t *testing.T) {
	t.Helper()
	want := ""
	if p.pause == "in OnData" {
		want = " data:f"
	}
	if got := p.diary.String(); got != want {
		t.Fatalf("%s: while paused the handler got%q, want%q", p.name, got, want)
	}
}

func (p *pauseTrial) checkResume(t *testing.T) {
	t.Helper()
	if err := p.resume(p.conn); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	want := " data:first" + p.pending.told
	epitest.WaitUntil(t, p.name+": Resume reports"+want, func() bool {
		got := p.diary.String()
		if len(got) >= len(want) && got != want || strings.Contains(got, "close") && len(got) < len(want) {
			t.Fatalf("%s: the handler got%q, want%q", p.name, got, want)
		}
		return got == want
	})
}

// TestW10_PauseHoldsThePeerBack lets a client send more than all buffers hold
// to a connection that is paused: the engine reads next to nothing of it.
func TestW10_PauseHoldsThePeerBack(t *testing.T) {
	data := epitest.Pattern(2 * epitest.EightMiB)
	epitest.EachStream(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		e := m.Engine()
		conns, got := make(chan *epi.Conn, 1), make(chan bool, 1)
		at := 0
		s := epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open: func(c *epi.Conn) error { c.Pause(); conns <- c; return nil },
				Data: func(c *epi.Conn) error {
					p := c.Unread()
					if !bytes.Equal(p, data[at:][:len(p)]) {
						return errors.New("wrong bytes")
					}
					at += c.Discard(len(p))
					return nil
				},
				Close: func(*epi.Conn, error) { got <- at == len(data) },
			}
		})
		client := s.Dial()
		c := epitest.Receive(t, conns)
		sent := make(chan error, 1)
		go func() {
			_, err := client.Write(data)
			sent <- errors.Join(err, client.Close())
		}()
		const readBudget = 256 << 10 // the default: what one turn may have read before Pause
		if n := epitest.Settled(t, "the client", func() uint64 { return e.Stats().BytesIn }); n > readBudget {
			t.Errorf("%d bytes were read from a paused connection", n)
		}
		c.Resume()
		if err := epitest.Receive(t, sent); err != nil {
			t.Error(err)
		}
		if !epitest.Receive(t, got) {
			t.Error("what was sent while paused was not received whole")
		}
	})
}

// TestW10_ResumeInOnData resumes in the very callback that left bytes unread:
// they are offered again, without new ones, until nothing is left.
func TestW10_ResumeInOnData(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		const message = "one at a time"
		told := make(chan byte, len(message))
		s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				told <- c.Unread()[0]
				c.Discard(1)
				c.Pause()
				c.Resume()
				return nil
			}}
		})
		epitest.Say(t, s.Dial(), message)
		for i := range message {
			if got := epitest.Receive(t, told); got != message[i] {
				t.Fatalf("byte %d is %q, want %q", i, got, message[i])
			}
		}
		epitest.Settled(t, "the loop", func() uint64 { return s.Engine.Stats().Turns })
		if len(told) > 0 {
			t.Error("OnData was called without unread bytes")
		}
	})
}

// TestW10_EndWhilePaused ends connections that are paused with unread bytes:
// OnClose comes at once, and OnData not any more.
func TestW10_EndWhilePaused(t *testing.T) {
	rows := []struct {
		name  string
		end   func(c *epi.Conn) error
		cause error
	}{
		{"Close", (*epi.Conn).Close, nil},
		{"Abort", (*epi.Conn).Abort, epi.ErrAborted},
		{"Close and Resume", func(c *epi.Conn) error { err := c.Close(); c.Resume(); return err }, nil},
		{"Write and Close", func(c *epi.Conn) error {
			_, err := c.Write([]byte("reply"))
			return errors.Join(err, c.Close())
		}, nil},
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for _, row := range rows {
			conns, closed := make(chan *epi.Conn, 1), make(chan error, 1)
			s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{
					Data: func(c *epi.Conn) error {
						c.Pause()
						conns <- c // the second time it would block
						return nil
					},
					Close: func(_ *epi.Conn, err error) { closed <- err },
				}
			})
			client := s.Dial()
			epitest.Say(t, client, "unread")
			c := epitest.Receive(t, conns)
			epitest.Say(t, client, "more")
			epitest.AwaitArrival(t, client)
			if err := row.end(c); err != nil {
				t.Errorf("%s: %v", row.name, err)
			}
			switch row.name {
			case "Abort":
				epitest.ExpectReset(t, client)
			case "Write and Close":
				epitest.Expect(t, client, "reply")
				epitest.ExpectEOF(t, client)
			default:
				epitest.ExpectEOF(t, client)
			}
			if err := epitest.Receive(t, closed); err != row.cause {
				t.Errorf("%s: OnClose got %v, want %v", row.name, err, row.cause)
			}
			if len(conns) > 0 {
				t.Errorf("%s: OnData was called while paused", row.name)
			}
		}
	})
}
