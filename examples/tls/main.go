// Command tls is an echo server behind TLS: the page docs/guide/tls.md.
package main

import (
	"context"
	"crypto/tls"
	"log"

	"github.com/epinet/epi"
)

type session struct{}

func (session) OnData(c *epi.Conn) error {
	n, err := c.Write(c.Unread())
	c.Discard(n)
	return err
}

func (session) OnClose(c *epi.Conn, err error) { log.Println(c.RemoteAddr(), "left:", err) }

func main() {
	cert, err := epi.LoadCertificate("cert.pem", "key.pem")
	if err != nil {
		log.Fatal(err)
	}
	e := epi.Engine{TLS: &tls.Config{GetCertificate: cert.GetCertificate}}
	if _, err := e.Listen("tls://127.0.0.1:7443", func(*epi.Conn) epi.Handler { return session{} }); err != nil {
		log.Fatal(err)
	}
	log.Fatal(e.Run(context.Background()))
}
