package stream_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// shortTimeout is the timeout of tests that await it.
const shortTimeout = 50 * time.Millisecond

func TestMaxUnread(t *testing.T) {
	const bound = 10_000
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.MaxUnread = bound
		seen, closed := make(chan int, bound), make(chan error, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open:  func(c *epi.Conn) error { _, err := c.Write([]byte("queued")); return err },
				Data:  func(c *epi.Conn) error { seen <- len(c.Unread()); return nil },
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		client := s.Dial()
		if _, err := client.Write(make([]byte, bound)); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < bound; {
			n = epitest.Receive(t, seen)
		}
		epitest.Say(t, client, "!")
		if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrUnreadFull) {
			t.Errorf("OnClose got %v", err)
		}
		if n := epitest.Receive(t, seen); n != bound+1 {
			t.Errorf("the last OnData saw %d bytes", n)
		}
		epitest.Expect(t, client, "queued")
		epitest.ExpectEOF(t, client)
	})
}

// TestTimeouts awaits each timeout, and looks at both sides of what follows.
func TestTimeouts(t *testing.T) {
	stuck := func(c *epi.Conn) error { return c.Send(make([]byte, epitest.EightMiB)) }
	rows := []struct {
		name  string
		set   func(e *epi.Engine)
		open  func(c *epi.Conn) error
		cause error
		peer  func(t *testing.T, c net.Conn)
	}{
		{
			"IdleTimeout", func(e *epi.Engine) { e.IdleTimeout = shortTimeout },
			func(c *epi.Conn) error { _, err := c.Write([]byte("queued")); return err }, epi.ErrIdle,
			func(t *testing.T, c net.Conn) {
				epitest.Expect(t, c, "queued")
				epitest.ExpectEOF(t, c)
			},
		},
		{
			"WriteTimeout", func(e *epi.Engine) { e.WriteTimeout = shortTimeout },
			stuck, epi.ErrWriteStalled, expectTorn,
		},
		{
			"Linger", func(e *epi.Engine) { e.Linger = shortTimeout },
			func(c *epi.Conn) error { return errors.Join(stuck(c), c.Close()) }, epi.ErrLinger, expectTorn,
		},
		{
			"Linger, after the end of the stream", func(e *epi.Engine) { e.Linger = shortTimeout },
			func(c *epi.Conn) error { return errors.Join(stuck(c), c.CloseWrite(), c.Close()) }, epi.ErrLinger, expectTorn,
		},
		{
			"WriteTimeout while closing", func(e *epi.Engine) { e.WriteTimeout = shortTimeout },
			func(c *epi.Conn) error { return errors.Join(stuck(c), c.Close()) }, epi.ErrWriteStalled, expectTorn,
		},
	}
	epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		for _, row := range rows {
			e := m.Engine()
			row.set(e)
			var opened time.Time
			closed := make(chan error, 1)
			s := epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{
					Open:  func(c *epi.Conn) error { opened = time.Now(); return row.open(c) },
					Close: func(_ *epi.Conn, err error) { closed <- err },
				}
			})
			client := s.DialNarrow()
			if err := epitest.Receive(t, closed); !errors.Is(err, row.cause) {
				t.Errorf("%s: OnClose got %v, want %v", row.name, err, row.cause)
			}
			if d := time.Since(opened); d < shortTimeout {
				t.Errorf("%s: closed after %v, want at least %v", row.name, d, shortTimeout)
			}
			row.peer(t, client)
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

// expectTorn reads a part of eightMiB, then a reset.
func expectTorn(t *testing.T, c net.Conn) {
	t.Helper()
	if n := epitest.ExpectReset(t, c); n == 0 || n >= epitest.EightMiB {
		t.Errorf("read %d bytes before the reset", n)
	}
}

// TestCloseWithUnreadInput closes while the peer's bytes lie unread in the
// kernel. A bare close(2) would reset the connection, and with it the bytes
// that are under way to the peer.
//
//	client   sends ───────────────▶ | unread |       reads all of it, then the end
//	server   has paused                       Write, Close
func TestCloseWithUnreadInput(t *testing.T) {
	data := epitest.Pattern(epitest.EightMiB / 2)
	epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		conns, closed := make(chan *epi.Conn, 1), make(chan error, 1)
		s := epitest.StartOn(t, m.Engine(), address, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open:  func(c *epi.Conn) error { c.Pause(); conns <- c; return nil },
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		client := s.DialNarrow()
		c := epitest.Receive(t, conns)
		if _, err := client.Write(make([]byte, 32<<10)); err != nil {
			t.Fatal(err)
		}
		epitest.AwaitArrival(t, client)
		if err := errors.Join(c.Send(data), c.Close()); err != nil {
			t.Fatal(err)
		}
		epitest.ExpectBytes(t, client, data, 64<<10)
		epitest.ExpectEOF(t, client)
		if err := epitest.Receive(t, closed); err != nil {
			t.Errorf("OnClose got %v", err)
		}
	})
}

// TestCloseWhilePeerSends closes under the hands of a peer that never stops
// sending: it gets everything that was written, then the end.
func TestCloseWhilePeerSends(t *testing.T) {
	data := epitest.Pattern(epitest.EightMiB / 2)
	epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		closed := make(chan error, 1)
		s := epitest.StartOn(t, m.Engine(), address, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Data:  func(c *epi.Conn) error { return errors.Join(c.Send(data), c.Close()) },
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		client := s.DialNarrow()
		sent := make(chan error, 1)
		go func() {
			var err error
			for err == nil {
				_, err = client.Write(make([]byte, 10_000))
			}
			sent <- err
		}()
		epitest.ExpectBytes(t, client, data, 64<<10)
		// What was sent after the server's end is answered by a reset, which a
		// Unix socket reports even to one who has not yet read that end.
		rest, err := io.ReadAll(client)
		if _, unix := client.(*net.UnixConn); len(rest) > 0 || err != nil && !unix {
			t.Errorf("read %d bytes more, %v", len(rest), err)
		}
		if err := epitest.Receive(t, sent); err == nil {
			t.Error("the client can still send")
		}
		if err := epitest.Receive(t, closed); err != nil {
			t.Errorf("OnClose got %v", err)
		}
	})
}

// TestCloseLetsPeerFinish closes in the middle of what a peer sends that does
// not read before it has sent everything. If nobody read it, both would wait.
func TestCloseLetsPeerFinish(t *testing.T) {
	epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		e := m.Engine()
		e.Linger = epitest.Patience
		s := epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				return errors.Join(c.Send(make([]byte, epitest.EightMiB)), c.Close())
			}}
		})
		client := s.Dial()
		if _, err := client.Write(make([]byte, 2*epitest.EightMiB)); err != nil {
			t.Fatal(err)
		}
		epitest.ExpectBytes(t, client, make([]byte, epitest.EightMiB), 64<<10)
		epitest.ExpectEOF(t, client)
	})
}
