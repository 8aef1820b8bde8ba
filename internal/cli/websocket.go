package cli

import (
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/epinet/epi/ws"
)

const (
	// echoMessage is the longest message that comes back: the longest of the
	// Autobahn test suite.
	echoMessage = 16 << 20
	// echoQueued has room for the longest message behind what is queued when
	// package ws stops reading.
	echoQueued = 2 * echoMessage
)

// webSocketSchemes are those that this package adds, with the engine's below.
var webSocketSchemes = map[string]string{"ws": "tcp", "wss": "tls"}

// listenWebSocket listens on an address of package ws.
func (s *server) listenWebSocket(address, scheme, rest string) ([]string, error) {
	host, path, hasPath := strings.Cut(rest, "/")
	if hasPath {
		path = "/" + path
	}
	w := s.webSocket(path)
	s.engine.MaxQueued = max(s.engine.MaxQueued, echoQueued)
	ln, err := s.engine.ListenWith(webSocketSchemes[scheme]+"://"+host, s.options, w.Serve)
	if err != nil {
		return nil, listenError(fmt.Errorf("%s: %w", address, err))
	}
	s.webSockets = append(s.webSockets, w)
	_, bound, _ := strings.Cut(ln.String(), "://")
	return []string{scheme + "://" + bound + path}, nil
}

// closeWebSockets closes the connections that HTTP still has.
func (s *server) closeWebSockets() {
	for _, w := range s.webSockets {
		_ = w.Close() // there is nothing to do about it
	}
}

//go:embed page.html
var page string

// echoMessages is a server whose messages all come back. The path "/" has both
// the page and the WebSocket.
func echoMessages(path string) *ws.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, strings.ReplaceAll(page, "{{path}}", pathOnPage(path)))
	})
	return &ws.Server{
		Handler:      func(*ws.Conn, *http.Request) ws.Handler { return messageEcho{} },
		Path:         path,
		Origins:      []string{"*"},
		HTTP:         mux,
		MaxMessage:   echoMessage,
		Compression:  true,
		CompressFrom: 1,
	}
}

// pathOnPage is the path as a part of the page's attribute.
func pathOnPage(path string) string {
	if path == "" {
		path = "/"
	}
	return strings.NewReplacer("&", "&amp;", `"`, "&quot;", "<", "&lt;").Replace(path)
}

type messageEcho struct{}

func (messageEcho) OnMessage(c *ws.Conn, op ws.Opcode, p []byte) error { return c.Write(op, p) }
func (messageEcho) OnClose(*ws.Conn, error)                            {}
