// Command udp sends every datagram back with its number among the peer's: the
// page docs/guide/udp.md.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/epinet/epi"
)

// A session is what is known of one peer.
type session struct{ datagrams int }

// A counter is the handler of one socket.
type counter struct {
	sessions epi.PacketSessions[*session]
}

func newCounter(c *epi.PacketConn) epi.PacketHandler {
	h := &counter{}
	h.sessions.Loop = c.Loop()
	h.sessions.Idle = 30 * time.Second
	h.sessions.OnEnd = func(peer epi.PacketAddr, s *session) { log.Println(peer, "sent", s.datagrams) }
	return h
}

func (h *counter) OnPacket(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
	s, err := h.sessions.Open(from, func(epi.PacketAddr) *session { return &session{} })
	if err != nil {
		return // too many peers
	}
	s.datagrams++
	_ = c.WriteTo(fmt.Appendf(nil, "%d %s", s.datagrams, p), from) // the peer has to cope with losses anyway
}

func (h *counter) OnClose(*epi.PacketConn, error) { h.sessions.Close() }

func main() {
	var e epi.Engine
	ln, err := e.ListenPacket("udp://127.0.0.1:7000", newCounter)
	if err != nil {
		log.Fatal(err)
	}
	log.Println("listening on", ln)
	log.Fatal(e.Run(context.Background()))
}
