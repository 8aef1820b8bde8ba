// Command open echoes lines over TLS to strangers, and messages of a WebSocket to
// the pages of one host: the page docs/guide/open-internet.md.
package main

import (
	"context"
	"crypto/tls"
	"log"
	"net/http"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/frame"
	"github.com/epinet/epi/ws"
)

// maxLine is the longest line that is taken, and the longest message.
const maxLine = 4 << 10

type session struct {
	in frame.Reader
}

func newSession(*epi.Conn) epi.Handler {
	return &session{in: frame.Reader{Framing: frame.Lines{}, Max: maxLine}}
}

func (s *session) OnData(c *epi.Conn) error {
	for line, err := range s.in.Messages(c) {
		if err != nil {
			return err
		}
		if _, err := c.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) OnClose(*epi.Conn, error) {}

type messages struct{}

func (messages) OnMessage(c *ws.Conn, op ws.Opcode, p []byte) error { return c.Write(op, p) }
func (messages) OnClose(*ws.Conn, error)                            {}

func main() {
	cert, err := epi.LoadCertificate("cert.pem", "key.pem")
	if err != nil {
		log.Fatal(err)
	}
	e := epi.Engine{
		TLS: &tls.Config{
			GetCertificate: cert.GetCertificate,
			NextProtos:     []string{"lines"}, // a browser that was sent here offers others, and is refused
		},
		MaxConns:           10_000,
		MaxConnsPerIP:      100,
		MaxHandshakesPerIP: 20,
		IdleTimeout:        5 * time.Minute,
		WriteTimeout:       30 * time.Second,
		MessageTimeout:     30 * time.Second,
		MaxQueued:          256 << 10,
		MaxUnread:          16 << 10,
		MaxMemory:          1 << 30,
	}
	if _, err := e.Listen("tls://127.0.0.1:7443", newSession); err != nil {
		log.Fatal(err)
	}
	socket := &ws.Server{
		Handler:    func(*ws.Conn, *http.Request) ws.Handler { return messages{} },
		MaxMessage: maxLine,
		Check: func(r *http.Request) error {
			if r.Host != "chat.example:8443" {
				return &ws.Refusal{Status: http.StatusMisdirectedRequest, Reason: "this server has another name"}
			}
			return nil
		},
	}
	https := epi.ListenOptions{TLS: &tls.Config{GetCertificate: cert.GetCertificate, NextProtos: []string{"http/1.1"}}}
	if _, err := e.ListenWith("tls://127.0.0.1:8443", https, socket.Serve); err != nil {
		log.Fatal(err)
	}
	log.Fatal(e.Run(context.Background()))
}
