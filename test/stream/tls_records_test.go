package stream_test

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A joining connection passes the ClientHello on and keeps what is written after
// it, so that it leaves in one segment:
//
//	client ── ClientHello ──────────────────────► server
//	client ── Finished, record, record, … ──────► server
type joining struct {
	net.Conn
	begun  bool
	joined bool
	kept   []byte
}

func (j *joining) Write(p []byte) (int, error) {
	if !j.begun || j.joined {
		j.begun = true
		return j.Conn.Write(p)
	}
	j.kept = append(j.kept, p...)
	return len(p), nil
}

// dialJoined returns a client of TLS 1.3 whose Finished has arrived together
// with a record for each text.
func dialJoined(t *testing.T, s *epitest.Server, config *tls.Config, texts ...string) *tls.Conn {
	t.Helper()
	config.MinVersion = tls.VersionTLS13
	j := &joining{Conn: s.Dial()}
	client := tls.Client(j, config)
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		epitest.Say(t, client, text)
	}
	j.joined = true
	if _, err := j.Conn.Write(j.kept); err != nil {
		t.Fatal(err)
	}
	return client
}

// recordsAtOnce are one of several messages, a short one, and one that needs
// several records.
func recordsAtOnce() []string {
	return []string{"one\ntwo\nthree\n", "x", strings.Repeat("0123456789abcdef", 2500)}
}

// TestTLS_RecordsWithFinishedAreDelivered: nothing more arrives that could wake
// the connection up for them.
func TestTLS_RecordsWithFinishedAreDelivered(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s, config := startTLS(t, m, epitest.EchoHandler)
		texts := recordsAtOnce()
		client := dialJoined(t, s, config, texts...)
		epitest.Expect(t, client, strings.Join(texts, ""))
		epitest.RoundTrip(t, client, "and later")
	})
}

// TestTLS_OneRecordOfManyMessages: the handler takes a message in each OnData
// and asks for the rest by Pause and Resume.
func TestTLS_OneRecordOfManyMessages(t *testing.T) {
	text := strings.Repeat("m", 500)
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s, config := startTLS(t, m, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				_, err := c.Write(c.Unread()[:1])
				c.Discard(1)
				c.Pause()
				c.Resume()
				return err
			}}
		})
		client := tls.Client(s.Dial(), config)
		epitest.Say(t, client, text)
		epitest.Expect(t, client, text)
	})
}

// TestTLS_DetachKeepsWhatCameWithFinished detaches before anything was read and
// after the first byte.
func TestTLS_DetachKeepsWhatCameWithFinished(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, atOpen := range []bool{true, false} {
			conns := make(chan net.Conn, 1)
			detach := func(c *epi.Conn) error { return c.Detach(func(nc net.Conn) { conns <- nc }) }
			s, config := startTLS(t, m, func(*epi.Conn) epi.Handler {
				if atOpen {
					return &epitest.Funcs{Open: detach}
				}
				return &epitest.Funcs{Data: func(c *epi.Conn) error {
					_, err := c.Write(c.Unread()[:1])
					c.Discard(1)
					return errors.Join(err, detach(c))
				}}
			})
			texts := recordsAtOnce()
			client := dialJoined(t, s, config, texts...)
			nc := epitest.Receive(t, conns)
			want := strings.Join(texts, "")
			if !atOpen {
				epitest.Expect(t, client, want[:1])
				want = want[1:]
			}
			epitest.Expect(t, nc, want)
			epitest.Say(t, client, "later")
			epitest.Expect(t, nc, "later")
			epitest.Say(t, nc, "answer")
			epitest.Expect(t, client, "answer")
			_ = nc.Close()
		}
	})
}
