package stream_test

import (
	"crypto/tls"
	"errors"
	"io"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

func TestTLS_W02_HalfCloseThenEightMiB(t *testing.T) {
	data := epitest.Pattern(epitest.EightMiB)
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s, config := startTLS(t, m, func(*epi.Conn) epi.Handler {
			return &epitest.FuncsEOF{EOF: func(c *epi.Conn) error { return errors.Join(c.Send(data), c.Close()) }}
		})
		client := tls.Client(s.Dial(), config)
		epitest.Say(t, client, "that is all")
		epitest.CloseWrite(t, client)
		epitest.ExpectBytes(t, client, data, 64<<10)
		epitest.ExpectEOF(t, client)
	})
}

// TestTLS_DrainSendsWhatIsQueued ends Run while a client has read nothing.
func TestTLS_DrainSendsWhatIsQueued(t *testing.T) {
	data := epitest.Pattern(epitest.EightMiB)
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		queued := make(chan struct{})
		s, config := startTLS(t, m, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Open: func(c *epi.Conn) error { defer close(queued); return c.Send(data) }}
		})
		client := tls.Client(s.Dial(), config)
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		epitest.Receive(t, queued)
		s.Cancel()
		epitest.ExpectBytes(t, client, data, 64<<10)
		epitest.ExpectEOF(t, client)
	})
}

// TestTLS_BrokenWhileItDelivers: Close has bytes to deliver, and then the client
// sends what is no record. OnClose reports that they were thrown away.
func TestTLS_BrokenWhileItDelivers(t *testing.T) {
	for _, m := range epitest.SecureModes() {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			closed := make(chan error, 1)
			s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{
					Open:  func(c *epi.Conn) error { return errors.Join(c.Send(make([]byte, epitest.EightMiB)), c.Close()) },
					Close: func(_ *epi.Conn, err error) { closed <- err },
				}
			})
			client := s.DialNarrow().(*tls.Conn)
			epitest.Expect(t, client, "\x00")
			epitest.Say(t, client.NetConn(), "this is no record")
			_, _ = io.Copy(io.Discard, client)
			var broken tls.RecordHeaderError
			if err := epitest.Receive(t, closed); !errors.As(err, &broken) {
				t.Errorf("OnClose got %v", err)
			}
		})
	}
}

// TestTLS_CloseWriteByTheServer: the client reads all and the end, and what it
// sends afterwards arrives.
func TestTLS_CloseWriteByTheServer(t *testing.T) {
	data := epitest.Pattern(twoMiB)
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			var heard epitest.Words
			closed := make(chan error, 1)
			s, config := startTLS(t, m, func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{
					Open:  func(c *epi.Conn) error { return errors.Join(c.Send(data), c.CloseWrite()) },
					Data:  func(c *epi.Conn) error { heard.Add("%s", c.Unread()); c.Discard(len(c.Unread())); return nil },
					Close: func(_ *epi.Conn, err error) { closed <- err },
				}
			})
			config.MaxVersion = version
			client := tls.Client(s.Dial(), config)
			epitest.ExpectBytes(t, client, data, 64<<10)
			epitest.ExpectEOF(t, client)
			epitest.Say(t, client, "still")
			epitest.CloseWrite(t, client)
			if err := epitest.Receive(t, closed); err != io.EOF {
				t.Errorf("%x: OnClose got %v", version, err)
			}
			if heard.String() != "still" {
				t.Errorf("%x: after its CloseWrite the handler got %q", version, &heard)
			}
		}
	})
}

// TestTLS_ResetInsideARecord resets when half of a record has arrived: the
// whole one before it is offered, and then OnClose reports the reset, once.
func TestTLS_ResetInsideARecord(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		var heard epitest.Words
		got, closed := make(chan struct{}, 1), make(chan error, 2)
		s, config := startTLS(t, m, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Data: func(c *epi.Conn) error {
					heard.Add("%s", c.Unread())
					c.Discard(len(c.Unread()))
					got <- struct{}{}
					return nil
				},
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		raw := s.Dial()
		kept := &joining{Conn: raw, joined: true}
		client := tls.Client(kept, config)
		epitest.Say(t, client, "whole")
		epitest.Receive(t, got)
		kept.begun, kept.joined = true, false // from now on it keeps what is written
		epitest.Say(t, client, "never whole")
		epitest.Say(t, raw, string(kept.kept[:len(kept.kept)/2]))
		epitest.AwaitArrival(t, raw)
		epitest.Reset(t, raw)
		if err := epitest.Receive(t, closed); !isReset(err) {
			t.Errorf("OnClose got %v", err)
		}
		if heard.String() != "whole" {
			t.Errorf("the handler got %q", &heard)
		}
	})
}
