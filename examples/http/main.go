// Command http is a small HTTP/1.1 server: keep-alive, pipelines and bodies, with
// net/http's own parser for what comes before the body.
package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/epinet/epi"
)

const (
	maxHead   = 16 << 10  // bytes of a request line with its headers
	maxBody   = 1 << 20   // bytes of a body
	highWater = 256 << 10 // bytes of answers that wait, beyond which requests wait, too
	patience  = time.Minute
)

// A session is one connection.
type session struct {
	request   *http.Request // whose body is still to come; nil between requests
	body      int           // bytes of it
	continued bool          // it was asked for
}

func (s *session) OnData(c *epi.Conn) error {
	for len(c.Unread()) > 0 || s.request != nil {
		if c.Queued() > highWater {
			c.Pause() // the rest when this client has read: see OnDrain
			return nil
		}
		if s.request == nil {
			if whole, err := s.readHead(c); !whole || err != nil {
				return err
			}
		}
		if len(c.Unread()) < s.body {
			return s.awaitBody(c)
		}
		request := s.request
		s.request = nil
		err := answer(c, request, c.Unread()[:s.body])
		c.Discard(s.body)
		if err != nil || request.Close {
			_ = c.Close()
			return err
		}
	}
	return nil
}

// readHead takes a request without its body, once it is there as a whole.
func (s *session) readHead(c *epi.Conn) (whole bool, err error) {
	p := c.Unread()
	end := bytes.Index(p[:min(len(p), maxHead)], []byte("\r\n\r\n"))
	if end < 0 {
		if len(p) < maxHead {
			return false, nil
		}
		return false, refuse(c, http.StatusRequestHeaderFieldsTooLarge)
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(p[:end+4])))
	switch {
	case err != nil, r.ProtoMajor != 1:
		return false, refuse(c, http.StatusBadRequest)
	case len(r.TransferEncoding) > 0:
		return false, refuse(c, http.StatusNotImplemented)
	case r.ContentLength > maxBody:
		return false, refuse(c, http.StatusRequestEntityTooLarge)
	}
	c.Discard(end + 4)
	s.request, s.body, s.continued = r, int(r.ContentLength), false
	return true, nil
}

// awaitBody has the body collected, after a word to a client that waits for one.
func (s *session) awaitBody(c *epi.Conn) error {
	if !s.continued && s.request.Header.Get("Expect") == "100-continue" {
		if _, err := c.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return err
		}
	}
	s.continued = true
	return c.Expect(s.body)
}

func (s *session) OnDrain(c *epi.Conn) { c.Resume() }

func (s *session) OnClose(*epi.Conn, error) {}

// answer is what this server does.
func answer(c *epi.Conn, r *http.Request, body []byte) error {
	switch {
	case r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		return respond(c, r, http.StatusOK, []byte("hello\n"))
	case r.URL.Path == "/echo" && r.Method == http.MethodPost:
		return respond(c, r, http.StatusOK, body)
	case r.URL.Path == "/", r.URL.Path == "/echo":
		return respond(c, r, http.StatusMethodNotAllowed, nil)
	}
	return respond(c, r, http.StatusNotFound, nil)
}

func respond(c *epi.Conn, r *http.Request, status int, body []byte) error {
	out := head(status, len(body))
	if r.Close {
		out = append(out, "Connection: close\r\n"...)
	} else if r.ProtoMinor == 0 {
		out = append(out, "Connection: keep-alive\r\n"...)
	}
	out = append(out, "\r\n"...)
	if r.Method != http.MethodHead {
		out = append(out, body...)
	}
	return c.Send(out)
}

// refuse answers a request that cannot be understood, behind which nothing can be.
func refuse(c *epi.Conn, status int) error {
	if err := c.Send(append(head(status, 0), "Connection: close\r\n\r\n"...)); err != nil {
		return err
	}
	return c.Close()
}

func head(status, length int) []byte {
	return fmt.Appendf(make([]byte, 0, 256+length), "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nContent-Length: %d\r\n",
		status, http.StatusText(status), time.Now().UTC().Format(http.TimeFormat), length)
}

func main() {
	listen := flag.String("listen", "tcp://127.0.0.1:8080", "`address` to listen on")
	flag.Parse()
	e := epi.Engine{HighWater: highWater, MaxUnread: 2 * maxBody, IdleTimeout: patience, WriteTimeout: patience}
	if _, err := e.Listen(*listen, func(*epi.Conn) epi.Handler { return new(session) }); err != nil {
		log.Fatal(err)
	}
	log.Fatal(e.Run(context.Background()))
}
