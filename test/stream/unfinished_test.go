package stream_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// writeSlowly writes a byte now and then, until the connection ends.
func writeSlowly(c net.Conn) {
	for {
		if _, err := c.Write([]byte("x")); err != nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestHostile13_UnfinishedMessage has clients that are never silent, and never
// finish what they have begun.
func TestHostile13_UnfinishedMessage(t *testing.T) {
	const timeout = 100 * time.Millisecond
	for name, data := range map[string]func(*epi.Conn) error{
		"unread": func(*epi.Conn) error { return nil },
		"told": func(c *epi.Conn) error {
			if string(c.Unread()[:1]) == "b" { // the beginning
				c.MessagePending(true)
			}
			c.Discard(len(c.Unread()))
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
				t.Parallel()
				e := m.Engine()
				e.MessageTimeout = timeout
				closed := make(chan error, 1)
				s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
					return &epitest.Funcs{Data: data, Close: func(_ *epi.Conn, err error) { closed <- err }}
				})
				c := s.Dial()
				epitest.Say(t, c, "b")
				go writeSlowly(c)
				if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrUnfinished) {
					t.Errorf("OnClose got %v", err)
				}
			})
		})
	}
}

// TestHostile13_FinishedMessages has a client that is silent between its messages,
// and one whose messages follow each other without a gap, until another was closed
// for one that it did not finish, many times.
func TestHostile13_FinishedMessages(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.MessageTimeout = 50 * time.Millisecond
		var wrong atomic.Value
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Data: func(c *epi.Conn) error {
					c.MessagePending(true)
					c.MessagePending(false)
					return epitest.Echo(c)
				},
				Close: func(_ *epi.Conn, err error) {
					if errors.Is(err, epi.ErrUnfinished) {
						wrong.Store(err)
					}
				},
			}
		})
		closed := make(chan error, 1)
		unfinished := epitest.ListenAlso(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(*epi.Conn) error { return nil }, Close: func(_ *epi.Conn, err error) { closed <- err }}
		})

		quiet := s.Dial()
		epitest.RoundTrip(t, quiet, "a message")
		for range 3 {
			epitest.Say(t, epitest.DialPlain(t, unfinished), "x")
			if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrUnfinished) {
				t.Errorf("OnClose got %v", err)
			}
		}
		epitest.RoundTrip(t, quiet, "another")
		if err := wrong.Load(); err != nil {
			t.Error(err)
		}
	})
}

// cutting is a connection whose writes can be kept back.
type cutting struct {
	net.Conn
	cut  bool
	kept []byte
}

func (c *cutting) Write(p []byte) (int, error) {
	if !c.cut {
		return c.Conn.Write(p)
	}
	c.kept = append(c.kept, p...)
	return len(p), nil
}

// TestHostile13_UnfinishedRecord has a client that sends a TLS record byte by byte.
func TestHostile13_UnfinishedRecord(t *testing.T) {
	server, client, err := epitest.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.TLS, e.MessageTimeout = server, 100*time.Millisecond
		closed := make(chan error, 1)
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: epitest.Echo, Close: func(_ *epi.Conn, err error) { closed <- err }}
		})
		raw := &cutting{Conn: s.DialSocket()}
		c := tls.Client(raw, client)
		epitest.RoundTrip(t, c, "hello")
		raw.cut = true
		if _, err := c.Write(make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
		go func() {
			for _, b := range raw.kept {
				if _, err := raw.Conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
		if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrUnfinished) {
			t.Errorf("OnClose got %v", err)
		}
		_, _ = io.Copy(io.Discard, raw.Conn)
	})
}

// TestHostile13_PausedInTheMiddle pauses a connection in the middle of a message
// until another was closed.
func TestHostile13_PausedInTheMiddle(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.MessageTimeout = 100 * time.Millisecond
		paused, closed := make(chan *epi.Conn, 1), make(chan error, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			first := true
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				if first {
					first = false
					c.Pause()
					paused <- c
					return nil
				}
				return epitest.Echo(c)
			}}
		})
		unfinished := epitest.ListenAlso(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(*epi.Conn) error { return nil }, Close: func(_ *epi.Conn, err error) { closed <- err }}
		})

		client := s.Dial()
		epitest.Say(t, client, "a part")
		c := epitest.Receive(t, paused)
		for range 2 {
			epitest.Say(t, epitest.DialPlain(t, unfinished), "x")
			epitest.Receive(t, closed)
		}
		c.Resume()
		epitest.Expect(t, client, "a part")
	})
}
