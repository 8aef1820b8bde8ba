package interop

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
	"github.com/epinet/epi/ws"
)

// servers send back every message; package ws is their client.
var servers = map[string]http.HandlerFunc{
	"gorilla": gorillaServer,
	"coder":   coderServer,
}

func gorillaServer(w http.ResponseWriter, r *http.Request) {
	u := gorilla.Upgrader{EnableCompression: true, Subprotocols: []string{"echo"}}
	c, err := u.Upgrade(w, r, nil)
	if err != nil {
		return // it has answered
	}
	defer func() { _ = c.Close() }()
	for {
		kind, p, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, p) != nil {
			return // it answers close frames itself
		}
	}
}

func coderServer(w http.ResponseWriter, r *http.Request) {
	c, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: []string{"echo"}, CompressionMode: coder.CompressionNoContextTakeover})
	if err != nil {
		return // it has answered
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(maxMessage + 1)
	for {
		kind, p, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, p) != nil {
			return
		}
	}
}

func TestServers(t *testing.T) {
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			plain := httptest.NewServer(server)
			defer plain.Close()
			secure := httptest.NewTLSServer(server)
			defer secure.Close()
			config := secure.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
			config.NextProtos = nil // the client of httptest asks for HTTP/2
			epitest.Each(t, func(t *testing.T, m epitest.Mode) {
				for _, url := range []string{plain.URL, secure.URL} {
					for _, compression := range []bool{false, true} {
						epiClient(t, m.Engine(), "ws"+strings.TrimPrefix(url, "http"),
							ws.Options{TLS: config, Compression: compression, Subprotocols: []string{"echo"}})
					}
				}
			})
		})
	}
}

// epiClient has the conversation with a server.
func epiClient(t *testing.T, e *epi.Engine, url string, o ws.Options) {
	t.Helper()
	e.MaxQueued = 2 * maxMessage
	epitest.Start(t, e, epitest.EchoHandler) // it runs the engine
	o.CompressFrom, o.MaxMessage = 1, maxMessage
	h := &talker{left: conversation(), ended: make(chan error, 1)}
	ctx := within(t)
	c, err := ws.Dial(ctx, e, url, o, h)
	if err != nil {
		t.Fatal(err)
	}
	if c.Subprotocol() != "echo" || c.Compressed() != o.Compression {
		t.Errorf("%s: subprotocol %q, compressed %v", url, c.Subprotocol(), c.Compressed())
	}
	select {
	case err := <-h.ended:
		if err != nil {
			t.Errorf("%s: %v", url, err)
		}
	case <-ctx.Done():
		t.Errorf("%s: no end", url)
	}
}

// A talker sends the next message when the last has come back.
type talker struct {
	left  []message
	wrong error
	ended chan error
}

func (h *talker) OnOpen(c *ws.Conn) error { return h.send(c) }

func (h *talker) send(c *ws.Conn) error {
	if len(h.left) == 0 {
		return c.Close(ws.Normal, "done")
	}
	op := ws.Binary
	if h.left[0].text {
		op = ws.Text
	}
	return c.Write(op, h.left[0].data)
}

func (h *talker) OnMessage(c *ws.Conn, op ws.Opcode, p []byte) error {
	h.wrong = errors.Join(h.wrong, h.left[0].check(op == ws.Text, p))
	h.left = h.left[1:]
	return h.send(c)
}

func (h *talker) OnClose(_ *ws.Conn, err error) {
	if len(h.left) > 0 {
		err = errors.Join(err, io.ErrUnexpectedEOF)
	}
	h.ended <- errors.Join(h.wrong, err)
}
