// Command balancer spreads TCP connections over several servers, each to the one
// that has the fewest. Where one cannot be reached the next is tried.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"sync/atomic"
	"time"

	"github.com/epinet/epi"
)

// patience is how long a server may take to accept a connection.
const patience = 2 * time.Second

// A backend is one of the servers.
type backend struct {
	address string
	active  atomic.Int64 // connections to it, those on their way included
}

type balancer struct {
	engine   *epi.Engine
	backends []*backend
}

// choose returns the backend with the fewest connections of those not yet tried.
func (b *balancer) choose(tried map[*backend]bool) *backend {
	var best *backend
	for _, be := range b.backends {
		if !tried[be] && (best == nil || be.active.Load() < best.active.Load()) {
			best = be
		}
	}
	return best
}

// A client waits for a server.
type client struct {
	balancer *balancer
	tried    map[*backend]bool
}

func (h *client) OnOpen(c *epi.Conn) error {
	c.Pause() // until there is somebody to send it to
	return h.try(c)
}

func (h *client) OnData(*epi.Conn) error         { return nil }
func (h *client) OnClose(_ *epi.Conn, err error) {}

// try dials the next backend, on the client's own loop.
func (h *client) try(c *epi.Conn) error {
	be := h.balancer.choose(h.tried)
	if be == nil {
		return errors.New("no server can be reached")
	}
	h.tried[be] = true
	be.active.Add(1)
	o := epi.DialOptions{Loop: c.Loop(), Timeout: patience}
	_, err := h.balancer.engine.DialWith(context.Background(), be.address, o, &server{client: h, conn: c, backend: be})
	if err != nil {
		be.active.Add(-1)
	}
	return err
}

// A server is a connection to a backend.
type server struct {
	client  *client
	conn    *epi.Conn // the client's
	backend *backend
	open    bool
}

func (h *server) OnOpen(s *epi.Conn) error {
	h.open = true
	return epi.Pipe(h.conn, s)
}

func (h *server) OnData(*epi.Conn) error { return nil }

func (h *server) OnClose(_ *epi.Conn, err error) {
	h.backend.active.Add(-1)
	if h.open {
		return
	}
	log.Printf("%q", err)
	if h.client.try(h.conn) != nil {
		_ = h.conn.Abort()
	}
}

func main() {
	listen := flag.String("listen", "tcp://127.0.0.1:7000", "`address` to listen on")
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("usage: balancer [-listen address] tcp://server:port ...")
	}
	e := new(epi.Engine)
	b := &balancer{engine: e}
	for _, address := range flag.Args() {
		b.backends = append(b.backends, &backend{address: address})
	}
	_, err := e.Listen(*listen, func(*epi.Conn) epi.Handler {
		return &client{balancer: b, tried: map[*backend]bool{}}
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(e.Run(context.Background()))
}
