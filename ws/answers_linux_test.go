package ws

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

// What Check says to itself is not for the client; what a Refusal says is, also a
// wrapped one.
func TestHostile09_ErrorsOfCheck(t *testing.T) {
	for _, row := range []struct {
		name   string
		err    error
		status int
		body   string
	}{
		{"an error", errors.New("password of db7 is wrong"), http.StatusForbidden, "refused"},
		{"a refusal", refusal(http.StatusUnauthorized, "log in"), http.StatusUnauthorized, "log in"},
		{"a wrapped refusal", fmt.Errorf("db7: %w", refusal(http.StatusTooManyRequests, "wait")), http.StatusTooManyRequests, "wait"},
		{"no refusal", (*Refusal)(nil), http.StatusForbidden, "refused"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for where, set := range map[string]func(s *Server){
				"Check":  func(s *Server) { s.Check = func(*http.Request) error { return row.err } },
				"Answer": func(s *Server) { s.Answer = func(*http.Request, *Answer) error { return row.err } },
			} {
				s := echoServer()
				set(s)
				status, body := answerTo(t, serve(t, oneMode(), s).Dial(), requestLines+"\r\n")
				if status != row.status || body != row.body+"\n" {
					t.Errorf("%s: the answer is %d, %q", where, status, body)
				}
			}
		})
	}
}

// Whatever a Refusal has, the answer is one that any client understands.
func TestHostile10_RefusalsAreAnswers(t *testing.T) {
	for _, row := range []struct {
		name    string
		refusal Refusal
		status  string
		has     []string // lines of the answer
		hasNot  []string
		body    string
	}{
		{"no status", Refusal{Reason: "no"}, "403 Forbidden", []string{"X-Content-Type-Options: nosniff", "Content-Length: 3", "Connection: close"}, nil, "no\n"},
		{"continue", Refusal{Status: 100}, "403 Forbidden", nil, nil, "\n"},
		{"switching protocols", Refusal{Status: 101}, "403 Forbidden", nil, nil, "\n"},
		{"no content", Refusal{Status: 204, Reason: "x"}, "403 Forbidden", nil, nil, "x\n"},
		{"not modified", Refusal{Status: 304, Reason: "x"}, "304 Not Modified", nil, []string{"Content-Length"}, ""},
		{"four digits", Refusal{Status: 4030, Reason: "x"}, "403 Forbidden", nil, nil, "x\n"},
		{"elsewhere", Refusal{Status: 302, Reason: "there", Header: http.Header{"Location": {"/there"}}}, "302 Found", []string{"Location: /there"}, nil, "there\n"},
		{"framing of its own", Refusal{Status: 400, Reason: "x", Header: http.Header{"content-length": {"99"}, "Transfer-Encoding": {"chunked"}, "Connection": {"keep-alive"}, "Trailer": {"X"}}},
			"400 Bad Request", []string{"Content-Length: 2", "Connection: close"}, []string{"99", "chunked", "keep-alive", "Trailer"}, "x\n"},
		{"a type of its own", Refusal{Status: 400, Reason: "{}", Header: http.Header{"Content-Type": {"application/json"}}}, "400 Bad Request", []string{"Content-Type: application/json"}, []string{"text/plain"}, "{}\n"},
		{"line feeds", Refusal{Status: 400, Reason: "x", Header: http.Header{"X-A": {"1\r\nX-B: 2"}, "X C": {"3"}}}, "400 Bad Request", []string{"X-A: 1  X-B: 2"}, []string{"X C"}, "x\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			header, body, _ := strings.Cut(string(row.refusal.response(false)), "\r\n\r\n")
			lines := strings.Split(header, "\r\n")
			if lines[0] != "HTTP/1.1 "+row.status || body != row.body {
				t.Errorf("the answer is %q with body %q", lines[0], body)
			}
			for _, want := range row.has {
				count := 0
				for _, line := range lines {
					if line == want {
						count++
					}
				}
				if count != 1 {
					t.Errorf("the answer has %d lines %q: %q", count, want, lines)
				}
			}
			for _, unwanted := range row.hasNot {
				if strings.Contains(header, unwanted) {
					t.Errorf("the answer has %q: %q", unwanted, lines)
				}
			}
			if _, err := http.ReadResponse(bufio.NewReader(strings.NewReader(header+"\r\n\r\n"+body)), nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// Answer has a say in the header, the subprotocol and the compression of each
// connection.
func TestHunt21_Answer(t *testing.T) {
	s := echoServer()
	s.Subprotocols = []string{"v1"}
	s.Answer = func(r *http.Request, a *Answer) error {
		a.Header.Set("Set-Cookie", "a=b")
		a.Header.Set("Sec-WebSocket-Accept", "forged")
		a.Header["connection"] = []string{"close"}
		a.Compression = r.Header.Get("X-Compress") != "no"
		if p := r.Header.Get("X-Choose"); p != "" {
			a.Subprotocol = p
		}
		return nil
	}
	protocols := make(chan string, 1)
	s.Handler = func(c *Conn, _ *http.Request) Handler {
		protocols <- fmt.Sprintf("%s %t", c.Subprotocol(), c.Compressed())
		return echo{}
	}
	es := serve(t, oneMode(), s)
	offer := "Sec-WebSocket-Protocol: v1, v2\r\n" + offerLine
	for _, row := range []struct{ lines, says, agreed string }{
		{offer, "Sec-WebSocket-Protocol: v1", "v1 true"},
		{offer + "X-Choose: v2\r\n", "Sec-WebSocket-Protocol: v2", "v2 true"},
		{offer + "X-Compress: no\r\n", "Sec-WebSocket-Protocol: v1", "v1 false"},
	} {
		c := es.Dial()
		epitest.Say(t, c, requestLines+row.lines+"\r\n"+bye)
		all, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		header, _, _ := strings.Cut(string(all), "\r\n\r\n")
		for _, want := range []string{"HTTP/1.1 101 ", row.says, "Set-Cookie: a=b", "Connection: Upgrade", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="} {
			if strings.Count(header, want) != 1 {
				t.Errorf("the answer has not one %q: %q", want, header)
			}
		}
		if strings.Contains(header, "forged") || strings.Contains(header, "close") {
			t.Errorf("the answer has fields that are not Answer's: %q", header)
		}
		if got := epitest.Receive(t, protocols); got != row.agreed {
			t.Errorf("agreed on %s, want %s", got, row.agreed)
		}
	}
	if status, _ := answerTo(t, es.Dial(), requestLines+offer+"X-Choose: v3\r\n\r\n"); status != http.StatusInternalServerError {
		t.Errorf("a subprotocol that was not offered: %d", status)
	}
}

// A server without Handler has no WebSockets, and says so.
func TestHunt21_NoHandler(t *testing.T) {
	s := &Server{}
	es := serve(t, oneMode(), s)
	if status, _ := answerTo(t, es.Dial(), requestLines+"\r\n"); status != http.StatusNotFound {
		t.Errorf("the status is %d", status)
	}
	s = &Server{HTTP: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })}
	if _, body := answerTo(t, serve(t, oneMode(), s).Dial(), requestLines+"\r\n"); body != "page" {
		t.Errorf("HTTP says %q", body)
	}
	if n := es.Engine.Stats().Panics; n != 0 {
		t.Errorf("%d panics", n)
	}
}

// Paths and origins mean what their writer means.
func TestHunt21_PathsAndOrigins(t *testing.T) {
	for _, row := range []struct {
		path, origins, host, origin string
		status                      int
	}{
		{"chat", "", "", "", 101},
		{"/chat", "", "", "", 101},
		{"/other", "", "", "", 404},
		{"", "https://a.example/", "", "https://a.example", 101},
		{"", "https://A.example", "", "https://a.example", 101},
		{"", "https://a.example:443", "", "https://a.example", 101},
		{"", "https://a.example:8443", "", "https://a.example", 403},
		{"", "https://a.example", "", "http://a.example", 403},
		{"", "https://a.example", "", "https://a.example.evil", 403},
		{"", "null", "", "null", 101},
		{"", "*", "", "https://b.example", 101},
		{"", "", "example.com:443", "https://example.com", 101},
		{"", "", "example.com:80", "https://example.com", 403},
		{"", "", "example.com:80", "http://example.com", 101},
		{"", "", "", "null", 403},
		{"", SameOrigin, "example.com", "https://example.com", 101},
		{"", SameOrigin, "example.com", "https://a.example", 403},
		{"", "", "", "https://", 403},
	} {
		s := echoServer()
		s.Path = row.path
		if row.origins != "" {
			s.Origins = []string{row.origins}
		}
		request := requestLines
		if row.host != "" {
			request = swapped("example.com", row.host)
		}
		if row.origin != "" {
			request += "Origin: " + row.origin + "\r\n"
		}
		if status, _ := answerTo(t, serve(t, oneMode(), s).Dial(), request+"\r\n"+bye); status != row.status {
			t.Errorf("%+v: the status is %d", row, status)
		}
	}
}

// A wss stream that ends without a close frame is cut, with and without the
// farewell of TLS.
func TestHunt21_StreamWithoutCloseFrame(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s, ended := ends(funcs{})
		es := serve(t, m, s)
		for _, cut := range []func(c net.Conn){
			func(c net.Conn) { _ = c.Close() },
			func(c net.Conn) {
				if secure, ok := c.(*tls.Conn); ok {
					c = secure.NetConn() // whose end no close_notify announces
				}
				_ = c.Close()
			},
		} {
			c := es.Dial()
			open(t, c, "", "")
			cut(c)
			if err := epitest.Receive(t, ended); err != io.ErrUnexpectedEOF {
				t.Errorf("OnClose got %v", err)
			}
		}
	})
}
