package cli

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/epinet/epi"
	"github.com/epinet/epi/ws"
)

// webSocketSchemes are those that this package adds, with the engine's below.
var webSocketSchemes = map[string]string{"ws": "tcp", "wss": "tls"}

// speaksWebSocket reports whether one of the addresses does.
func speaksWebSocket(addresses []string) bool {
	return slices.ContainsFunc(addresses, func(address string) bool {
		scheme, _ := spokenAt(address)
		return webSocketSchemes[scheme] != ""
	})
}

// listenWebSocket listens on an address of package ws.
func (s *server) listenWebSocket(address, scheme, rest string) ([]string, error) {
	host, path, err := cutPath(rest)
	if err != nil {
		return nil, fmt.Errorf("listen %s: %w", address, err)
	}
	ln, err := s.engine.ListenWith(webSocketSchemes[scheme]+"://"+host, s.options, s.wave.count(s.openWebSocket(s.placeOf(address, scheme), path)))
	if err != nil {
		return nil, listenError(fmt.Errorf("listen %s: %w", address, errors.Unwrap(err))) // without the engine's address
	}
	_, bound, _ := strings.Cut(ln.String(), "://")
	return []string{scheme + "://" + bound + path}, nil
}

// cutPath parts an address, without its scheme, from the path on it. The path
// is what package ws compares with that of a request.
func cutPath(rest string) (place, path string, err error) {
	place, path, ok := strings.Cut(rest, "/")
	if !ok {
		return place, "", nil
	}
	path = "/" + path
	u, err := url.Parse("http://host" + path)
	if err != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Path != path {
		return "", "", fmt.Errorf("the path %q is not one: write it without escapes, ? and #", path)
	}
	return place, path, nil
}

// withOwnOrigin allows browsers from origins besides those whose page came from this
// server.
func withOwnOrigin(origins []string) []string { return append([]string{ws.SameOrigin}, origins...) }

// openWebSocket returns the function that handles connections at a path.
func (s *server) openWebSocket(at place, path string) func(*epi.Conn) epi.Handler {
	w := s.webSocket(at, path)
	if s.guarded {
		s.guard(w)
	}
	s.webSockets = append(s.webSockets, w)
	return w.Serve
}

// closeWebSockets closes the connections that HTTP still has.
func (s *server) closeWebSockets() {
	for _, w := range s.webSockets {
		_ = w.Close() // there is nothing to do about it
	}
}

//go:embed page.html
var page string

// echoMessages returns a server whose messages, of at most longest bytes, all come
// back. The path "/" has both the page and the WebSocket.
func echoMessages(path string, longest int) *ws.Server {
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
		MaxMessage:   longest,
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
