package ws

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/internal/epitest"
)

// without leaves a line out of the request; with puts others in.
func without(name string) string {
	var kept []string
	for _, line := range strings.SplitAfter(requestLines, "\r\n") {
		if !strings.HasPrefix(line, name) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func swapped(old, replacement string) string {
	if !strings.Contains(requestLines, old) {
		panic("the request has no " + old)
	}
	return strings.Replace(requestLines, old, replacement, 1)
}

type upgradeTest struct {
	name, request string
	status        int
}

func TestUpgradeIsStrict(t *testing.T) {
	huge := strings.Repeat("X-Filler: "+strings.Repeat("x", 1000)+"\r\n", 70)
	tests := []upgradeTest{
		{"good", requestLines, 101},
		{"names in other cases", strings.NewReplacer("Upgrade: websocket", "uPGRADE: WebSocket", "keep-alive, Upgrade", "UPGRADE,keep-alive").Replace(requestLines), 101},
		{"other upgrades besides", swapped("Upgrade: websocket", "Upgrade: foo/2, websocket"), 101},
		{"absolute target", swapped("GET /chat", "GET http://example.com/chat"), 101},
		{"no HTTP", "\x16\x03\x01\x02\x00\x01", 400},
		{"no request line", "GET\r\n", 400},
		{"bad version", swapped("HTTP/1.1", "HTTP/1.x"), 400},
		{"HTTP/1.0", swapped("HTTP/1.1", "HTTP/1.0"), 400},
		{"HTTP/2.0", swapped("HTTP/1.1", "HTTP/2.0"), 505},
		{"HTTP/1.2, which means 1.1", swapped("HTTP/1.1", "HTTP/1.2"), 101},
		{"an empty line first", "\r\n" + requestLines, 101},
		{"two empty lines first", "\r\n\r\n" + requestLines, 400},
		{"a line feed first", "\n" + requestLines, 400},
		{"a fragment in the target", swapped("GET /chat", "GET /chat#a"), 400},
		{"a target in no ASCII", swapped("GET /chat", "GET /\xff"), 400},
		{"asterisk", swapped("GET /chat", "GET *"), 400},
		{"authority", swapped("GET /chat", "GET example.com:80"), 400},
		{"absolute target without a host", swapped("GET /chat", "GET http:///chat"), 400},
		{"POST", swapped("GET", "POST"), 405},
		{"HEAD", swapped("GET", "HEAD"), 405},
		{"no Host", without("Host"), 400},
		{"empty Host", swapped("example.com", ""), 400},
		{"Host with a port", swapped("example.com", "[::1]:8080"), 101},
		{"Host with characters that no name has", swapped("example.com", "a%20_b!"), 101},
		{"two Hosts", requestLines + "host: example.com\r\n", 400},
		{"no Upgrade", without("Upgrade"), 400},
		{"wrong Upgrade", swapped("Upgrade: websocket", "Upgrade: h2c"), 400},
		{"no Connection", without("Connection"), 400},
		{"wrong Connection", swapped("keep-alive, Upgrade", "keep-alive"), 400},
		{"no key", without("Sec-WebSocket-Key"), 400},
		{"two keys", requestLines + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400},
		{"short key", swapped("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"), 400},
		{"key that is no base64", swapped("dGhlIHNhbXBsZSBub25jZQ==", "!!!!IHNhbXBsZSBub25jZQ=="), 400},
		{"key with bits behind its end, as in RFC 6455, section 4.1", swapped("dGhlIHNhbXBsZSBub25jZQ==", "AQIDBAUGBwgJCgsMDQ4PEC=="), 101},
		{"no version", without("Sec-WebSocket-Version"), 426},
		{"version 8", swapped("Version: 13", "Version: 8"), 426},
		{"version 13, 8", swapped("Version: 13", "Version: 13, 8"), 426},
		{"two versions", requestLines + "Sec-WebSocket-Version: 13\r\n", 426},
		{"body", requestLines + "Content-Length: 1\r\n", 400},
		{"chunked body", requestLines + "Transfer-Encoding: chunked\r\n", 400},
		{"a space before the colon", requestLines + "X-Bad : 1\r\n", 400},
		{"a folded line", requestLines + "X-Bad: 1\r\n 2\r\n", 400},
		{"a line without a colon", requestLines + "X-Bad\r\n", 400},
		{"a bare line feed", requestLines + "X-Bad: 1\n", 400},
		{"a bare carriage return", requestLines + "X-Bad: 1\r2\r\n", 400},
		{"NUL", requestLines + "X-Bad: \x00\r\n", 400},
		{"a huge header", requestLines + huge, 431},
		{"no upgrade at all", "GET / HTTP/1.1\r\nHost: a\r\n", 426},
		{"foreign origin", requestLines + "Origin: http://evil.example\r\n", 403},
		{"own origin", requestLines + "Origin: https://example.com\r\n", 101},
		{"malformed extensions", requestLines + "Sec-WebSocket-Extensions: a; =\r\n", 400},
		{"malformed subprotocols", requestLines + "Sec-WebSocket-Protocol: a, b c\r\n", 400},
	}
	for _, host := range []string{"a b", "a,b/c", "user@a", "http://a", "a:b", "a:65536", "a:1:2", ":80", "::1", "[::1", "[a]", "[::1]a", "[1.2.3.4]", "%zz", "\xff"} {
		tests = append(tests, upgradeTest{"Host " + host, swapped("example.com", host), 400})
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		es := serve(t, m, echoServer())
		for _, c := range tests {
			t.Run(c.name, func(t *testing.T) {
				conn := es.Dial()
				_, _ = io.WriteString(conn, c.request+"\r\n") // the answer may come before all of it is sent
				var said strings.Builder                      // net/http takes Connection out of the header
				r := bufio.NewReader(io.TeeReader(conn, &said))
				method, _, _ := strings.Cut(c.request, " ")
				resp, err := http.ReadResponse(r, &http.Request{Method: method})
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != c.status {
					t.Fatalf("the status is %d, want %d", resp.StatusCode, c.status)
				}
				if c.status == 101 {
					return
				}
				if resp.StatusCode == 426 && (resp.Header.Get(headerVersion) != "13" || !strings.Contains(said.String(), "\r\nConnection: close, Upgrade\r\n")) {
					t.Errorf("426 does not say what to upgrade to: %v", resp.Header)
				}
				if _, err := http.ParseTime(resp.Header.Get("Date")); err != nil {
					t.Error(err)
				}
				if _, err := io.ReadAll(resp.Body); err != nil || !resp.Close {
					t.Errorf("the answer does not close: %v, %v", resp.Header, err)
				}
				if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
					t.Errorf("after the answer comes %q, %v", rest, err)
				}
			})
		}
	})
}

func TestServerChooses(t *testing.T) {
	s := echoServer()
	s.Path = "/chat"
	s.Subprotocols = []string{"v2", "v1"}
	s.Check = func(r *http.Request) error {
		switch r.Header.Get("Cookie") {
		case "stranger":
			return &Refusal{Status: http.StatusUnauthorized, Reason: "who are you?"}
		case "enemy":
			return errors.New("go away")
		}
		return nil
	}
	s.Handler = func(_ *Conn, r *http.Request) Handler {
		if r.Header.Get("Cookie") == "late" {
			return nil
		}
		return echo{}
	}
	es := serve(t, oneMode(), s)
	for _, c := range []struct {
		name, request string
		status        int
		protocol      string
	}{
		{"nothing offered", requestLines, 101, ""},
		{"the server's order", requestLines + "Sec-WebSocket-Protocol: v1, v2\r\n", 101, "v2"},
		{"two lines", requestLines + "Sec-WebSocket-Protocol: v0\r\nSec-WebSocket-Protocol: v1\r\n", 101, "v1"},
		{"none in common", requestLines + "Sec-WebSocket-Protocol: v3\r\n", 101, ""},
		{"other path", swapped("/chat", "/other"), 404, ""},
		{"path with a query", swapped("/chat", "/chat?a=b"), 101, ""},
		{"refused with a status", requestLines + "Cookie: stranger\r\n", 401, ""},
		{"refused", requestLines + "Cookie: enemy\r\n", 403, ""},
		{"no handler", requestLines + "Cookie: late\r\n", 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := es.Dial()
			if _, err := io.WriteString(conn, c.request+"\r\n"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != c.status || resp.Header.Get("Sec-WebSocket-Protocol") != c.protocol {
				t.Errorf("the answer is %v, %v", resp, err)
			}
		})
	}
}

func TestDeflateOffers(t *testing.T) {
	const both = noTakeover
	for _, c := range []struct{ offer, answer string }{
		{"", ""},
		{"x-webkit-deflate-frame", ""},
		{"permessage-deflate", both},
		{"Permessage-Deflate", both},
		{"permessage-deflate; client_max_window_bits", both},
		{"permessage-deflate; client_max_window_bits=8", both},
		{`permessage-deflate; client_max_window_bits="15"`, both},
		{"permessage-deflate;server_no_context_takeover;client_no_context_takeover", both},
		{"permessage-deflate; server_max_window_bits=10", both + "; server_max_window_bits=10"},
		{"permessage-deflate; server_max_window_bits=8", both + "; server_max_window_bits=8"},
		{"permessage-deflate; server_max_window_bits=15", both + "; server_max_window_bits=15"},
		{"permessage-deflate; server_max_window_bits", ""},
		{"permessage-deflate; server_max_window_bits=7", ""},
		{"permessage-deflate; server_max_window_bits=16", ""},
		{"permessage-deflate; server_max_window_bits=09", ""},
		{"permessage-deflate; server_max_window_bits=+9", ""},
		{"permessage-deflate; client_max_window_bits=0", ""},
		{"permessage-deflate; client_no_context_takeover=1", ""},
		{"permessage-deflate; server_no_context_takeover; server_no_context_takeover", ""},
		{"permessage-deflate; unknown", ""},
		{"permessage-deflate; unknown, permessage-deflate", both},
		{"other; a=b, permessage-deflate; server_max_window_bits=9", both + "; server_max_window_bits=9"},
	} {
		offers, err := parseExtensions([]string{c.offer})
		if err != nil {
			t.Errorf("%q: %v", c.offer, err)
		}
		if got, _ := acceptDeflate(offers); got != c.answer {
			t.Errorf("%q is answered with %q, want %q", c.offer, got, c.answer)
		}
	}
	for _, bad := range []string{"=", "a;", "a; ;b", "a b", `a; b="c`, `a; b="c d"`, "a; b=", `a; b=""`, "a; b=c d", strings.Repeat("a,", 100)} {
		if list, err := parseExtensions([]string{bad}); err == nil {
			t.Errorf("%q is parsed as %v", bad, list)
		}
	}
}

func TestRequestTimeout(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s := echoServer()
		s.OpenTimeout = time.Millisecond
		c := serve(t, m, s).Dial()
		answer, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
			t.Errorf("the server says %q, %v", answer, err)
		}
	})
}

// An empty line before the request may come in pieces, and is not HTTP's either.
func TestEmptyLineBeforeTheRequest(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s := echoServer()
		s.HTTP = http.NotFoundHandler()
		es := serve(t, m, s)
		for _, request := range []string{requestLines + "\r\n" + bye, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"} {
			c := es.Dial()
			for _, piece := range strings.Split("\r\n"+request, "") {
				if _, err := io.WriteString(c, piece); err != nil {
					t.Fatal(err)
				}
			}
			all, err := io.ReadAll(c)
			if err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 101 ") && !strings.HasPrefix(string(all), "HTTP/1.1 404 ") {
				t.Errorf("the server says %q, %v", all, err)
			}
		}
	})
}

// Requests that ask for no WebSocket go to net/http, with their bodies.
func TestHTTPOnTheSamePort(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s := echoServer()
		s.Path = "/chat"
		s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Path", r.URL.Path)
			_, _ = io.Copy(w, r.Body)
		})
		es := serve(t, m, s)
		body := string(epitest.Pattern(3 << 20))
		resp, err := http.Post("http://"+es.Addr()+"/healthz", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(got) != body || resp.Header.Get("X-Path") != "/healthz" || !resp.Close {
			t.Errorf("%d of %d bytes came back, %v, %v", len(got), len(body), resp.Header, err)
		}
		other := es.Dial()
		if _, err := io.WriteString(other, swapped("/chat", "/other")+"\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err = http.ReadResponse(bufio.NewReader(other), nil)
		if err != nil || resp.StatusCode != 200 || resp.Header.Get("X-Path") != "/other" {
			t.Errorf("an upgrade at another path: %v, %v", resp, err)
		}
		if got := told(t, open(t, es.Dial(), "", text("a")+bye)); got != "t:a close:1000" {
			t.Errorf("the server says %q", got)
		}
	})
}
