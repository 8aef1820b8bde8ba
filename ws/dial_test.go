package ws

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// answering returns an engine with a server that answers requests with what answer
// returns, pieces that follow each other, and the requests.
func answering(t *testing.T, answer func(r *http.Request) (pieces []string, closes bool)) (*epitest.Server, <-chan *http.Request) {
	t.Helper()
	requests := make(chan *http.Request, 2) // no test dials more often
	es := epitest.Start(t, oneMode().Engine(), func(*epi.Conn) epi.Handler {
		return &epitest.Funcs{Data: func(c *epi.Conn) error {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(c.Unread()))))
			if err != nil {
				return nil // more is to come
			}
			c.Discard(len(c.Unread()))
			requests <- r
			pieces, closes := answer(r)
			for _, p := range pieces {
				if _, err := io.WriteString(c, p); err != nil {
					return err
				}
			}
			if closes {
				return c.Close()
			}
			return nil
		}}
	})
	return es, requests
}

// accepting is the answer that accepts a request.
func accepting(r *http.Request, lines string) string {
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		acceptKey(r.Header.Get(headerKey)) + "\r\n" + lines + "\r\n"
}

func TestHunt21_DialRequest(t *testing.T) {
	es, requests := answering(t, func(r *http.Request) ([]string, bool) { return []string{accepting(r, "")}, false })
	o := Options{Header: http.Header{"host": {"virtual.example"}, "Authorization": {"secret"}}, Subprotocols: []string{"v1"}}
	if _, err := Dial(t.Context(), es.Engine, "ws://"+es.Addr()+"/a b?c=d e&f=\"<>", o, echo{}); err != nil {
		t.Fatal(err)
	}
	r := epitest.Receive(t, requests)
	if r.RequestURI != "/a%20b?c=d%20e&f=%22%3C%3E" || r.Host != "virtual.example" || r.Header.Get("Authorization") != "secret" {
		t.Errorf("the request is %q to %q with %v", r.RequestURI, r.Host, r.Header)
	}
	for name, values := range r.Header {
		if len(values) != 1 {
			t.Errorf("%s is sent %d times", name, len(values))
		}
	}
	for _, name := range []string{"sec-websocket-key", "Sec-WebSocket-Protocol", "Upgrade", "Connection", "Content-Length"} {
		_, err := Dial(t.Context(), es.Engine, "ws://"+es.Addr(), Options{Header: http.Header{name: {"x"}}}, echo{})
		if err == nil || !strings.Contains(err.Error(), http.CanonicalHeaderKey(name)) {
			t.Errorf("with %s in Header the error is %v", name, err)
		}
	}
}

func TestHunt21_HostHasNoZone(t *testing.T) {
	for address, want := range map[string]string{
		"ws://[fe80::1%25eth0]:80/": "[fe80::1]:80",
		"ws://[fe80::1%251]":        "[fe80::1]",
		"ws://[::1]:80/a%25]":       "[::1]:80",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := hostOf(u); got != want {
			t.Errorf("Host for %s is %q, want %q", address, got, want)
		}
	}
}

// Answers of the kind 1xx come before the one that counts.
func TestHunt21_DialSkipsInterimAnswers(t *testing.T) {
	const hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	es, _ := answering(t, func(r *http.Request) ([]string, bool) {
		if r.URL.Path == "/endless" {
			return []string{strings.Repeat(hints, 2*maxHeader/len(hints))}, false
		}
		return []string{"HTTP/1.1 100 Continue\r\n\r\n" + hints, hints + accepting(r, "")}, false
	})
	if _, err := Dial(t.Context(), es.Engine, "ws://"+es.Addr(), Options{}, echo{}); err != nil {
		t.Error(err)
	}
	if _, err := Dial(t.Context(), es.Engine, "ws://"+es.Addr()+"/endless", Options{}, echo{}); err == nil || !strings.Contains(err.Error(), "before its answer") {
		t.Errorf("the error is %v", err)
	}
}

// What a server refuses with is to be had, however its length is given.
func TestHunt21_DialTellsTheRefusal(t *testing.T) {
	const status = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n"
	long := strings.Repeat("x", 3*maxRefusalBody)
	for _, row := range []struct {
		name   string
		pieces []string
		closes bool
		body   string
	}{
		{"a length", []string{status + "Content-Length: 4\r\n\r\nwa", "it and more"}, false, "wait"},
		{"no body", []string{status + "Content-Length: 0\r\n\r\n"}, false, ""},
		{"up to the end", []string{status + "\r\nwa", "it"}, true, "wait"},
		{"chunks", []string{status + "Transfer-Encoding: chunked\r\n\r\n2\r\nwa\r\n", "2\r\nit\r\n0\r\n\r\n"}, false, "wait"},
		{"bad chunks", []string{status + "Transfer-Encoding: chunked\r\n\r\n2\r\nwa\r\nno length"}, true, "wa"},
		{"cut off", []string{status + "Content-Length: 100\r\n\r\nwait"}, true, "wait"},
		{"long", []string{status + "\r\n" + long}, false, long[:maxRefusalBody]},
		{"long, in chunks", []string{status + "Transfer-Encoding: chunked\r\n\r\n3000\r\n" + long}, false, long[:maxRefusalBody]},
	} {
		t.Run(row.name, func(t *testing.T) {
			es, _ := answering(t, func(*http.Request) ([]string, bool) { return row.pieces, row.closes })
			_, err := Dial(t.Context(), es.Engine, "ws://"+es.Addr(), Options{}, echo{})
			var r *Refusal
			if !errors.As(err, &r) {
				t.Fatalf("the error is %v", err)
			}
			if r.Status != http.StatusTooManyRequests || r.Header.Get("Retry-After") != "7" || string(r.Body) != row.body {
				t.Errorf("the refusal is %d, %v, %d bytes: %q", r.Status, r.Header, len(r.Body), brief(r.Body))
			}
		})
	}
}

// The body of a refusal does not come: ctx ends Dial, which still returns it.
func TestHunt21_DialTellsTheRefusalAtItsEnd(t *testing.T) {
	const answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nhalf"
	var es *epitest.Server
	var asked atomic.Uint64 // bytes that had come when it was answered
	es, _ = answering(t, func(*http.Request) ([]string, bool) {
		asked.Store(es.Engine.Stats().BytesIn)
		return []string{answer}, false
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() {
		_, err := Dial(ctx, es.Engine, "ws://"+es.Addr(), Options{}, echo{})
		result <- err
	}()
	epitest.WaitUntil(t, "the answer has come", func() bool {
		n := asked.Load()
		return n > 0 && es.Engine.Stats().BytesIn == n+uint64(len(answer))
	})
	epitest.AwaitTurns(t, es.Engine)
	cancel()
	var r *Refusal
	if err := epitest.Receive(t, result); !errors.As(err, &r) || !errors.Is(err, context.Canceled) || r.Status != http.StatusForbidden {
		t.Errorf("the error is %v", err)
	}
}

// Check sees the answer that accepts, and may think otherwise.
func TestHunt21_DialChecksTheAnswer(t *testing.T) {
	es, _ := answering(t, func(r *http.Request) ([]string, bool) { return []string{accepting(r, "X-Node: 7\r\n")}, false })
	var node string
	o := Options{Check: func(r *http.Response) error { node = r.Header.Get("X-Node"); return nil }}
	if _, err := Dial(t.Context(), es.Engine, "ws://"+es.Addr(), o, echo{}); err != nil || node != "7" {
		t.Errorf("Check saw node %q, %v", node, err)
	}
	other := errors.New("another node was wanted")
	o.Check = func(*http.Response) error { return other }
	if _, err := Dial(t.Context(), es.Engine, "ws://"+es.Addr(), o, echo{}); !errors.Is(err, other) {
		t.Errorf("the error is %v", err)
	}
}

// A server that chooses HTTP/2 speaks no WebSocket here.
func TestHunt21_DialSaysThatHTTP2WasChosen(t *testing.T) {
	server, client, err := epitest.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	server.NextProtos, client.NextProtos = []string{"h2"}, []string{"h2", "http/1.1"}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if c, err := ln.Accept(); err == nil {
			defer c.Close()
			_, _ = io.Copy(io.Discard, tls.Server(c, server))
		}
	}()
	es := serve(t, oneMode(), echoServer())
	_, err = Dial(t.Context(), es.Engine, "wss://"+ln.Addr().String(), Options{TLS: client}, echo{})
	if err == nil || !strings.Contains(err.Error(), `"h2"`) || !strings.Contains(err.Error(), "NextProtos") {
		t.Errorf("the error is %v", fmt.Sprint(err))
	}
}
