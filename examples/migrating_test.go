package examples

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/frame"
	"github.com/epinet/epi/internal/epitest"
)

// numberLines is a server of package net, and numbering the same one on epi: the
// page docs/guide/migrating.md.

const silence = 2 * time.Minute

func numberLines(c net.Conn) {
	defer c.Close()
	n := 0
	_ = c.SetReadDeadline(time.Now().Add(silence))
	for lines := bufio.NewScanner(c); lines.Scan(); {
		n++
		if _, err := fmt.Fprintf(c, "%d %s\n", n, lines.Bytes()); err != nil {
			return
		}
		_ = c.SetReadDeadline(time.Now().Add(silence))
	}
}

type numbering struct {
	in frame.Reader
	n  int
}

func newNumbering(*epi.Conn) epi.Handler {
	return &numbering{in: frame.Reader{Framing: frame.Lines{}}}
}

func (s *numbering) OnData(c *epi.Conn) error {
	for line, err := range s.in.Messages(c) {
		if err != nil {
			return err
		}
		if err := s.answer(c, line); err != nil {
			return err
		}
	}
	return nil
}

func (s *numbering) answer(c *epi.Conn, line []byte) error {
	s.n++
	_, err := fmt.Fprintf(c, "%d %s\n", s.n, line)
	return err
}

// OnEOF takes a last line without its end, as the Scanner does.
func (s *numbering) OnEOF(c *epi.Conn) error {
	line, err := s.in.Tail(c)
	if err == nil {
		err = s.answer(c, line)
	}
	if err != nil && err != io.EOF {
		return err
	}
	return c.Close() // delivers the answers
}

func (s *numbering) OnClose(*epi.Conn, error) {}

// TestMigratedServerAnswersLikeTheOldOne holds both against the same bytes.
func TestMigratedServerAnswersLikeTheOldOne(t *testing.T) {
	e := &epi.Engine{IdleTimeout: silence, Logger: epitest.NoLog()}
	migrated := epitest.Start(t, e, newNumbering)
	for _, line := range []struct{ text, want string }{
		{"", ""},
		{"\n", "1 \n"},
		{"one\ntwo\n", "1 one\n2 two\n"},
		{"one\r\ntwo", "1 one\n2 two\n"},
		{"one\n\nthree\r\n", "1 one\n2 \n3 three\n"},
	} {
		for name, c := range map[string]net.Conn{"net": oldServer(t), "epi": migrated.Dial()} {
			if got := conversation(t, c, line.text); got != line.want {
				t.Errorf("%s answers %q with %q, want %q", name, line.text, got, line.want)
			}
		}
	}
}

// oldServer returns a client of numberLines.
func oldServer(t *testing.T) net.Conn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go numberLines(server) // until the client has ended
	_ = client.SetDeadline(time.Now().Add(patience))
	return client
}

// conversation says everything, half-closes, and returns all the answers.
func conversation(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	epitest.CloseWrite(t, c)
	answers, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(answers)
}
