package interop

import (
	"context"
	"crypto/tls"
	"net/http"
	"testing"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/epinet/epi/internal/epitest"
)

// clients talk to an epi server: each sends the whole conversation, compares
// what comes back and closes.
var clients = map[string]func(t *testing.T, url string, config *tls.Config){
	"gorilla": gorillaClient,
	"coder":   coderClient,
}

func TestClients(t *testing.T) {
	trust := newTrust(t)
	for name, client := range clients {
		t.Run(name, func(t *testing.T) {
			epitest.Each(t, func(t *testing.T, m epitest.Mode) {
				client(t, serve(t, m, nil), nil)
				client(t, serve(t, m, trust), trust.client)
			})
		})
	}
}

func gorillaClient(t *testing.T, url string, config *tls.Config) {
	for _, compression := range []bool{false, true} {
		d := gorilla.Dialer{TLSClientConfig: config, EnableCompression: compression, Subprotocols: []string{"none", "echo"}}
		c, resp, err := d.DialContext(within(t), url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.Subprotocol() != "echo" || (resp.Header.Get("Sec-WebSocket-Extensions") != "") != compression {
			t.Errorf("the server chooses %q and %v", c.Subprotocol(), resp.Header)
		}
		for _, m := range conversation() {
			kind := gorilla.BinaryMessage
			if m.text {
				kind = gorilla.TextMessage
			}
			if err := c.WriteMessage(kind, m.data); err != nil {
				t.Fatal(err)
			}
			kind, p, err := c.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if err := m.check(kind == gorilla.TextMessage, p); err != nil {
				t.Error(err)
			}
		}
		bye := gorilla.FormatCloseMessage(4000, "done")
		if err := c.WriteMessage(gorilla.CloseMessage, bye); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.ReadMessage(); !gorilla.IsCloseError(err, 4000) {
			t.Errorf("the server closes with %v", err)
		}
		_ = c.Close()
	}
}

func coderClient(t *testing.T, url string, config *tls.Config) {
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	for _, mode := range []coder.CompressionMode{coder.CompressionDisabled, coder.CompressionNoContextTakeover, coder.CompressionContextTakeover} {
		ctx := within(t)
		c, _, err := coder.Dial(ctx, url, &coder.DialOptions{HTTPClient: &http.Client{Transport: transport},
			CompressionMode: mode, Subprotocols: []string{"none", "echo"}})
		if err != nil {
			t.Fatal(err)
		}
		if c.Subprotocol() != "echo" {
			t.Errorf("the server chooses %q", c.Subprotocol())
		}
		c.SetReadLimit(maxMessage + 1)
		for _, m := range conversation() {
			if err := coderTalk(ctx, c, m); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(4000, "done"); err != nil {
			t.Errorf("the server's close: %v", err)
		}
	}
}

func coderTalk(ctx context.Context, c *coder.Conn, m message) error {
	kind := coder.MessageBinary
	if m.text {
		kind = coder.MessageText
	}
	if err := c.Write(ctx, kind, m.data); err != nil {
		return err
	}
	kind, p, err := c.Read(ctx)
	if err != nil {
		return err
	}
	return m.check(kind == coder.MessageText, p)
}
