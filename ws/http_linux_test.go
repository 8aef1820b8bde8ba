package ws

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

const plainRequest = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// answerTo reads the answer to a request, and its body.
func answerTo(t *testing.T, c net.Conn, request string) (status int, body string) {
	t.Helper()
	epitest.Say(t, c, request)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(p)
}

// withHTTP returns a server of WebSockets at /chat and of HTTP.
func withHTTP(h http.HandlerFunc) *Server {
	s := echoServer()
	s.Path, s.HTTP = "/chat", h
	return s
}

// Behind a proxy and over TLS, with and without bytes that came with the request,
// HTTP and Check know who the client is.
func TestHunt11_HandlersKnowTheClient(t *testing.T) {
	const client = "192.0.2.7:1234"
	describe := func(r *http.Request) string { return fmt.Sprintf("%s, TLS %t", r.RemoteAddr, r.TLS != nil) }
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s := withHTTP(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, describe(r))
		})
		s.Check = func(r *http.Request) error { return refusal(http.StatusForbidden, describe(r)) }
		es := serve(t, m, s)
		proxies := epi.ListenOptions{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
		ln, err := es.Engine.ListenWith(m.Address(), proxies, s.Serve)
		if err != nil {
			t.Fatal(err)
		}
		for _, request := range []string{plainRequest, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", requestLines + "\r\n"} {
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(epitest.Patience))
			epitest.Say(t, c, "PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n")
			if m.TLS {
				c = epitest.SecureClient(c)
			}
			_, body := answerTo(t, c, request)
			if got, want := strings.TrimSpace(body), fmt.Sprintf("%s, TLS %t", client, m.TLS); got != want {
				t.Errorf("the answer to %.10q is %q, want %q", request, got, want)
			}
		}
	})
}

// What HTTP has counts for Engine.MaxConns until it is closed.
//
//	a, b:  request ─ handler waits ─────────────┬ answer, closed
//	c:               accepted and closed        │
//	d:                                          └ request ─ answer
func TestHunt11_HTTPCountsForMaxConns(t *testing.T) {
	const bound = 2
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		entered, free := make(chan struct{}, bound+1), make(chan struct{})
		release := sync.OnceFunc(func() { close(free) })
		defer release()
		s := withHTTP(func(w http.ResponseWriter, _ *http.Request) {
			entered <- struct{}{}
			<-free
		})
		e := m.Engine()
		e.MaxConns = bound
		es := epitest.Start(t, e, s.Serve)
		var waiting []net.Conn
		for range bound {
			c := es.Dial()
			epitest.Say(t, c, plainRequest)
			epitest.Receive(t, entered)
			waiting = append(waiting, c)
		}
		epitest.WaitUntil(t, "the engine has none of them", func() bool { return e.Stats().Conns == 0 })
		shed := es.DialSocket()
		if n, err := io.Copy(io.Discard, shed); n > 0 || err != nil && !isReset(err) {
			t.Errorf("one too many reads %d bytes, %v", n, err)
		}
		release()
		for _, c := range waiting {
			if status, _ := answerTo(t, c, ""); status != http.StatusOK {
				t.Errorf("the status is %d", status)
			}
		}
		epitest.WaitUntil(t, "there is room again", func() bool {
			c, err := es.Connect()
			if err != nil {
				return false
			}
			defer c.Close()
			_, _ = io.WriteString(c, plainRequest)
			_, err = http.ReadResponse(bufio.NewReader(c), nil)
			return err == nil
		})
	})
}

// Clients that take nothing of their page are given up after Engine.WriteTimeout.
func TestHunt11_WriteTimeoutHoldsForHTTP(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		ended := make(chan error, 1)
		s := withHTTP(func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write(make([]byte, eightMiB))
			ended <- err
		})
		e := m.Engine()
		e.WriteTimeout = 50 * time.Millisecond
		epitest.Say(t, epitest.Start(t, e, s.Serve).DialNarrow(), plainRequest)
		if err := epitest.Receive(t, ended); err == nil {
			t.Error("8 MiB were written to a client that does not read")
		}
	})
}

// One that takes a little now and then is given up after Server.WriteTimeout.
func TestHunt11_ServerWriteTimeout(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		ended := make(chan error, 1)
		s := withHTTP(func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write(make([]byte, eightMiB))
			ended <- err
		})
		s.WriteTimeout = 50 * time.Millisecond
		epitest.Say(t, serve(t, m, s).DialNarrow(), plainRequest)
		if err := epitest.Receive(t, ended); err == nil {
			t.Error("8 MiB were written to a client that does not read")
		}
	})
}

// MaxHTTP connections are with HTTP at most, whichever way they end.
func TestHunt11_MaxHTTP(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		entered, free := make(chan struct{}, 1), make(chan struct{})
		release := sync.OnceFunc(func() { close(free) })
		defer release()
		s := withHTTP(func(w http.ResponseWriter, _ *http.Request) {
			entered <- struct{}{}
			<-free
		})
		s.MaxHTTP = 1
		es := serve(t, m, s)
		first := es.Dial()
		epitest.Say(t, first, plainRequest)
		epitest.Receive(t, entered)
		if status, _ := answerTo(t, es.Dial(), plainRequest); status != http.StatusServiceUnavailable {
			t.Errorf("the status of one too many is %d", status)
		}
		if got := told(t, open(t, es.Dial(), "", bye)); got != "close:1000" {
			t.Errorf("a WebSocket gets %q", got)
		}
		release()
		if status, _ := answerTo(t, first, ""); status != http.StatusOK {
			t.Errorf("the status is %d", status)
		}
		epitest.WaitUntil(t, "its place is free", func() bool { return s.httpNow.Load() == 0 })
		if status, _ := answerTo(t, es.Dial(), plainRequest); status != http.StatusOK {
			t.Errorf("the status of the next is %d", status)
		}
	})
}

// The answer that is under way is finished, later requests are refused.
func TestHunt11_Shutdown(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		entered, free := make(chan struct{}), make(chan struct{})
		release := sync.OnceFunc(func() { close(free) })
		defer release()
		page := epitest.Pattern(1 << 20)
		s := withHTTP(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/late" {
				return
			}
			close(entered)
			<-free
			_, _ = w.Write(page)
		})
		es := serve(t, m, s)
		c := es.Dial()
		epitest.Say(t, c, plainRequest)
		epitest.Receive(t, entered)
		result := make(chan error, 1)
		go func() { result <- s.Shutdown(context.Background()) }()
		epitest.WaitUntil(t, "later requests are refused", func() bool {
			late := es.Dial()
			defer late.Close()
			_, _ = io.WriteString(late, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
			r, err := http.ReadResponse(bufio.NewReader(late), nil)
			return err == nil && r.StatusCode == http.StatusServiceUnavailable
		})
		if len(result) > 0 {
			t.Errorf("Shutdown has returned %v", <-result)
		}
		release()
		if _, body := answerTo(t, c, ""); body != string(page) {
			t.Errorf("%d of %d bytes came", len(body), len(page))
		}
		if err := epitest.Receive(t, result); err != nil {
			t.Errorf("Shutdown returns %v", err)
		}
	})
}

// Panics of HTTP go to ErrorLog, and nowhere else.
func TestHostile11_ErrorLog(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		var told lockedBuffer
		s := withHTTP(func(http.ResponseWriter, *http.Request) { panic("boom") })
		s.ErrorLog = log.New(&told, "", 0)
		c := serve(t, m, s).Dial()
		epitest.Say(t, c, plainRequest)
		epitest.ExpectEOF(t, c)
		if !strings.Contains(told.String(), "boom") {
			t.Errorf("the log says %q", told.String())
		}
	})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
