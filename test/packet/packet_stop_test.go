package packet_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestHunt16_PacketListenerHasClosed listens at an address again as soon as Close has
// returned, from outside, and within a callback.
//
//	Close ──► bind by package net ──► bind by the engine ──► Close …
func TestHunt16_PacketListenerHasClosed(t *testing.T) {
	eachPacket(t, func(t *testing.T, m epitest.Mode, address string) {
		e := m.Engine()
		first := listenPacket(t, e, address, epitest.PacketEcho) // before Run, and never served
		address = closedAddress(t, first)
		epitest.Run(t, e)
		for range 20 {
			ln, err := e.ListenPacket(address, epitest.PacketEcho)
			if err != nil {
				t.Fatal(err)
			}
			exchange(t, dialPacket(t, ln), []byte("hello"))
			closedAddress(t, ln)
		}
		closed := make(chan string, 1)
		own := make(chan *epi.PacketListener, 1)
		ln, err := e.ListenPacket(address, func(*epi.PacketConn) epi.PacketHandler {
			return &epitest.PacketFuncs{Packet: func(*epi.PacketConn, []byte, epi.PacketAddr) { closed <- closedAddress(t, <-own) }}
		})
		if err != nil {
			t.Fatal(err)
		}
		own <- ln
		if _, err := dialPacket(t, ln).Write([]byte("end")); err != nil {
			t.Fatal(err)
		}
		epitest.Receive(t, closed)
	})
}

// closedAddress closes the listener and looks whether its address is free. It returns
// the address.
func closedAddress(t *testing.T, ln *epi.PacketListener) string {
	t.Helper()
	_ = ln.Close()
	_ = ln.Close() // which is too late to do anything
	scheme, where, _ := strings.Cut(ln.String(), "://")
	if scheme == "unixgram" {
		if _, err := os.Lstat(where); !os.IsNotExist(err) {
			t.Errorf("the file of %s is still there: %v", ln, err)
		}
		return ln.String()
	}
	c, err := net.ListenPacket(scheme, where)
	if err != nil {
		t.Errorf("the address of %s is not free: %v", ln, err)
		return ln.String()
	}
	_ = c.Close()
	return ln.String()
}

// TestHunt16_PacketsLeaveBeforeClose closes a listener from outside while answers are
// queued, and perhaps while the loop sends some: all of them arrive, in order.
func TestHunt16_PacketsLeaveBeforeClose(t *testing.T) {
	const rounds, answers = 20, 50
	eachPacket(t, func(t *testing.T, m epitest.Mode, address string) {
		e := m.Engine()
		epitest.Run(t, e)
		for range rounds {
			asked := make(chan func(p []byte) error, 1)
			ln := listenPacket(t, e, address, func(*epi.PacketConn) epi.PacketHandler {
				return &epitest.PacketFuncs{Packet: func(c *epi.PacketConn, _ []byte, from epi.PacketAddr) {
					asked <- func(p []byte) error { return c.WriteTo(p, from) }
				}}
			})
			client := dialPacket(t, ln)
			if _, err := client.Write([]byte("go on")); err != nil {
				t.Fatal(err)
			}
			answer := epitest.Receive(t, asked)
			for i := range answers {
				if err := answer([]byte(strconv.Itoa(i))); err != nil {
					t.Fatal(err)
				}
			}
			_ = ln.Close()
			for i := range answers {
				expectPacket(t, client, []byte(strconv.Itoa(i)))
			}
		}
	})
}
