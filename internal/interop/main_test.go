package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net/http"
	"testing"

	"github.com/epinet/epi/internal/epitest"
	"github.com/epinet/epi/ws"
)

func TestMain(m *testing.M) { epitest.Main(m, nil) }

// maxMessage is the longest message of the tests.
const maxMessage = 1 << 20

// A message is one that is to come back as it is.
type message struct {
	text bool
	data []byte
}

// conversation has the lengths at which frames and compression change.
func conversation() []message {
	list := []message{{true, nil}, {false, nil}, {true, []byte("κόσμε 😀")}, {false, []byte{0, 0xff, 0xfe}}}
	for _, n := range []int{1, 125, 126, 127, 128, 4096, 65535, 65536, maxMessage} {
		list = append(list,
			message{true, bytes.Repeat([]byte("*"), n)},
			message{false, noise(n)})
	}
	return list
}

// noise does not get smaller when it is compressed.
func noise(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.Read(p) // it never fails
	return p
}

func (m message) check(text bool, data []byte) error {
	if text != m.text || !bytes.Equal(data, m.data) {
		return fmt.Errorf("a message of %d bytes (text: %v) came back as one of %d (text: %v)", len(m.data), m.text, len(data), text)
	}
	return nil
}

// echo sends every message back.
type echo struct{}

func (echo) OnMessage(c *ws.Conn, op ws.Opcode, p []byte) error { return c.Write(op, p) }
func (echo) OnClose(*ws.Conn, error)                            {}

// serve runs an epi server, with TLS or without, and returns its URL.
func serve(t *testing.T, m epitest.Mode, trust *trust) string {
	t.Helper()
	s := &ws.Server{
		Handler:      func(*ws.Conn, *http.Request) ws.Handler { return echo{} },
		MaxMessage:   maxMessage,
		Compression:  true,
		CompressFrom: 1,
		Subprotocols: []string{"echo"},
	}
	e := m.Engine()
	e.MaxQueued = 2*maxMessage + 1<<20
	scheme, below := "ws://", "tcp://"
	if trust != nil {
		e.TLS = trust.server
		scheme, below = "wss://", "tls://"
	}
	return scheme + epitest.StartOn(t, e, below+"127.0.0.1:0", s.Serve).Addr() + "/"
}

// trust is a certificate for this machine, and who believes in it.
type trust struct {
	server, client *tls.Config
}

func newTrust(t *testing.T) *trust {
	t.Helper()
	server, client, err := epitest.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	return &trust{server, client}
}

// within bounds what a test waits for.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), epitest.Patience)
	t.Cleanup(cancel)
	return ctx
}
