package stream_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// isReset reports whether err says that the peer threw the connection away.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// The loop learns of everything at once: the tail, the reset, its own writes.
//
//	client:   writes a tail   resets
//	server:   (loop held............) reads the tail → OnData, then the error → OnClose, once
//	variants: a queued write fails first; the connection is paused until the reset has come
func TestH03_ResetAfterData(t *testing.T) {
	tail := string(epitest.Pattern(16 << 10))
	cases := []struct {
		name   string
		before func(c *epi.Conn) error // while the loop is held
		after  func(c *epi.Conn)       // when the reset has reached the loop
		tail   string
	}{
		{name: "idle"},
		{name: "unread data", tail: tail},
		{
			name:   "queued write",
			before: func(c *epi.Conn) error { _, err := c.Write([]byte(tail)); return err },
		},
		{
			name:   "queued write and unread data",
			before: func(c *epi.Conn) error { _, err := c.Write([]byte(tail)); return err },
			tail:   tail,
		},
		{
			name:   "paused",
			before: func(c *epi.Conn) error { c.Pause(); return nil },
			after:  (*epi.Conn).Resume,
			tail:   tail,
		},
		{
			name: "paused, a write fails first",
			before: func(c *epi.Conn) error {
				c.Pause()
				_, err := c.Write([]byte(tail))
				return err
			},
			after: (*epi.Conn).Resume,
			tail:  tail,
		},
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		for _, tc := range cases {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				var got strings.Builder
				opened := make(chan *epi.Conn, 1)
				closed := make(chan error, 2)
				e := m.Serial()
				e.ReadBudget = 4 << 10
				s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
					return &epitest.Funcs{
						Open:  func(c *epi.Conn) error { opened <- c; return nil },
						Data:  func(c *epi.Conn) error { got.Write(c.Unread()); c.Discard(len(c.Unread())); return nil },
						Close: func(_ *epi.Conn, err error) { closed <- err },
					}
				})
				client := s.Dial()
				c := epitest.Receive(t, opened)
				release := epitest.Hold(t, c.Loop())
				epitest.Say(t, client, tc.tail)
				epitest.AwaitArrival(t, client)
				if tc.before != nil {
					if err := tc.before(c); err != nil {
						t.Fatal(err)
					}
				}
				epitest.Reset(t, client)
				epitest.AwaitReset(t, client)
				release()
				if tc.after != nil {
					epitest.ExpectQuiet(t, e)
					tc.after(c)
				}
				if err := epitest.Receive(t, closed); !isReset(err) {
					t.Errorf("the cause is %v", err)
				}
				if got.String() != tc.tail {
					t.Errorf("of %d bytes before the reset the handler was offered %d", len(tc.tail), got.Len())
				}
				if err := s.Stop(); err != nil {
					t.Error(err)
				}
				if len(closed) > 0 {
					t.Errorf("OnClose again: %v", <-closed)
				}
			})
		}
	})
}

// A reset while a write waits for room, in the open and in the closing
// connection. In the latter the kernel may have taken every byte, and the peer
// none: the handler must get it.
func TestH03_ResetDuringWrite(t *testing.T) {
	cases := []struct {
		name  string
		size  int
		close bool
	}{
		{"open, the socket full", 8 << 20, false},
		{"closing, the socket full", 8 << 20, true},
		{"closing, all bytes in the kernel", 256 << 10, true},
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		for _, tc := range cases {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				opened := make(chan *epi.Conn, 1)
				closed := make(chan error, 2)
				s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
					return &epitest.Funcs{
						Open:  func(c *epi.Conn) error { opened <- c; return nil },
						Close: func(_ *epi.Conn, err error) { closed <- err },
					}
				})
				client := s.DialNarrow()
				c := epitest.Receive(t, opened)
				if err := c.Send(make([]byte, tc.size)); err != nil {
					t.Fatal(err)
				}
				if tc.size < 8<<20 {
					epitest.WaitUntil(t, "the kernel takes all", func() bool { return c.Queued() == 0 })
				} else if epitest.Settled(t, "the queue", func() uint64 { return uint64(c.Queued()) }) == 0 {
					t.Fatal("nothing is queued: this shows nothing")
				}
				if tc.close {
					if err := c.Close(); err != nil {
						t.Fatal(err)
					}
				}
				epitest.Reset(t, client)
				if err := epitest.Receive(t, closed); !isReset(err) {
					t.Errorf("the cause is %v", err)
				}
			})
		}
	})
}

// A Unix socket that is closed with unread bytes resets its peer.
func TestH03_UnixPeerClosesWithUnreadData(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		var got strings.Builder
		closed := make(chan error, 1)
		opened := make(chan *epi.Conn, 1)
		s := epitest.StartOn(t, m.Serial(), "unix://"+epitest.UnixPath(t), func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open: func(c *epi.Conn) error {
					_, err := c.Write([]byte("never read"))
					opened <- c
					return err
				},
				Data:  func(c *epi.Conn) error { got.Write(c.Unread()); c.Discard(len(c.Unread())); return nil },
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		client := s.Dial()
		c := epitest.Receive(t, opened)
		epitest.WaitUntil(t, "the bytes leave", func() bool { return c.Queued() == 0 })
		release := epitest.Hold(t, c.Loop())
		epitest.Say(t, client, "tail")
		_ = client.Close()
		release()
		if err := epitest.Receive(t, closed); !isReset(err) {
			t.Errorf("the cause is %v", err)
		}
		if got.String() != "tail" {
			t.Errorf("the handler was offered %q", got.String())
		}
	})
}

// Clients come and go before the listener looks.
//
//	client:  connects   writes (or not)   resets            | another connects
//	loop:    (held, the connection waits in the backlog...) | accepts: a socket with an error, then a sound one
//
// Over TLS they end before their handshake, and nothing is made for them.
func TestH04_ResetBetweenSYNAndAccept(t *testing.T) {
	const clients = 3
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		for _, tail := range []string{"", "tail"} {
			t.Run("with "+tail, func(t *testing.T) {
				t.Parallel()
				closed := make(chan string, clients+1)
				e := m.Serial()
				s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
					var got strings.Builder
					return &epitest.Funcs{
						Data: func(c *epi.Conn) error {
							got.Write(c.Unread())
							return epitest.Echo(c)
						},
						Close: func(_ *epi.Conn, err error) {
							if !isReset(err) {
								t.Errorf("the cause is %v", err)
							}
							closed <- got.String()
						},
					}
				})
				loop, err := e.Loop(0)
				if err != nil {
					t.Fatal(err)
				}
				release := epitest.Hold(t, loop)
				for range clients {
					client := s.DialSocket()
					epitest.Say(t, client, tail)
					epitest.AwaitArrival(t, client)
					epitest.Reset(t, client)
					epitest.AwaitReset(t, client)
				}
				sound := s.DialSocket()
				release()
				if m.TLS {
					sound = epitest.SecureClient(sound)
				}
				epitest.RoundTrip(t, sound, "sound")
				if !m.TLS {
					for range clients {
						if got := epitest.Receive(t, closed); got != tail {
							t.Errorf("before the reset the handler was offered %q", got)
						}
					}
				}
				epitest.WaitUntil(t, "the clients' ends are counted", func() bool { return e.Stats().Closed == clients })
				cause := epi.CauseReset
				if m.TLS {
					cause = epi.CauseHandshake
				}
				if st := e.Stats(); st.Accepted != clients+1 || st.Causes[cause] != clients {
					t.Errorf("of %d connections %d were accepted; their ends: %v", clients+1, st.Accepted, st.Causes)
				}
				epitest.Reset(t, sound)
				epitest.Receive(t, closed)
			})
		}
	})
}

// Clients reset as soon as they are connected, while the loops accept. Over TLS
// that is when they have sent the last of their handshake, which the server may
// never read: then no handler gets it.
func TestH04_ZeroLinger(t *testing.T) {
	const clients = 50
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		var handlers atomic.Int32
		closed := make(chan error, clients)
		s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
			handlers.Add(1)
			return &epitest.Funcs{Data: epitest.Echo, Close: func(_ *epi.Conn, err error) { closed <- err }}
		})
		for range clients {
			epitest.Reset(t, s.Dial())
		}
		epitest.WaitUntil(t, "all have come and gone", func() bool { return s.Engine.Stats().Closed == clients })
		made := int(handlers.Load())
		if made != clients && !m.TLS {
			t.Errorf("%d handlers were made for %d clients", made, clients)
		}
		for range made {
			if err := epitest.Receive(t, closed); !isReset(err) {
				t.Errorf("the cause is %v", err)
			}
		}
	})
}

// A Unix client that goes before it is accepted leaves its bytes and the end.
func TestH04_UnixPeerGoneBeforeAccept(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		var heard epitest.Words
		closed := make(chan error, 1)
		e := m.Serial()
		s := epitest.StartOn(t, e, "unix://"+epitest.UnixPath(t), func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Data:  func(c *epi.Conn) error { heard.Add("%s", c.Unread()); c.Discard(len(c.Unread())); return nil },
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		loop, err := e.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		release := epitest.Hold(t, loop)
		client, err := net.Dial("unix", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		epitest.Say(t, client, "tail")
		_ = client.Close()
		release()
		if err := epitest.Receive(t, closed); err != io.EOF {
			t.Errorf("the cause is %v", err)
		}
		if heard.String() != "tail" {
			t.Errorf("the handler got %q", &heard)
		}
	})
}

// TestHunt01_EndBehindBytes lets the loop find bytes and the end behind them at
// once, of a connection from which it has received before and for which it waits.
//
//	client:   "first"               "last", resets or closes
//	server:            reads, waits  (loop held............)  OnData, OnClose
func TestHunt01_EndBehindBytes(t *testing.T) {
	const first, last = "first", "last"
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, tc := range []struct {
			name, address string
			end           func(*testing.T, net.Conn)
		}{
			{"tcp, reset", "tcp://127.0.0.1:0", epitest.Reset},
			{"tcp, closed", "tcp://127.0.0.1:0", func(_ *testing.T, c net.Conn) { _ = c.Close() }},
			{"tcp, half-closed", "tcp://127.0.0.1:0", epitest.CloseWrite},
			{"unix, closed", "unix://" + epitest.UnixPath(t), func(_ *testing.T, c net.Conn) { _ = c.Close() }},
			{"unix, half-closed", "unix://" + epitest.UnixPath(t), epitest.CloseWrite},
		} {
			t.Run(tc.name, func(t *testing.T) {
				var got strings.Builder
				opened := make(chan *epi.Conn, 1)
				closed := make(chan string, 1)
				e := m.Serial()
				s := epitest.StartOn(t, e, tc.address, func(*epi.Conn) epi.Handler {
					return &epitest.Funcs{
						Open:  func(c *epi.Conn) error { opened <- c; return nil },
						Data:  func(c *epi.Conn) error { got.Write(c.Unread()); c.Discard(len(c.Unread())); return nil },
						Close: func(*epi.Conn, error) { closed <- got.String() },
					}
				})
				client := s.Dial()
				c := epitest.Receive(t, opened)
				epitest.Say(t, client, first)
				epitest.WaitUntil(t, "the first bytes have come", func() bool { return e.Stats().BytesIn == uint64(len(first)) })
				release := epitest.Hold(t, c.Loop())
				epitest.Say(t, client, last)
				tc.end(t, client)
				release()
				if all := epitest.Receive(t, closed); all != first+last {
					t.Errorf("%q came before the end", all)
				}
			})
		}
	})
}
