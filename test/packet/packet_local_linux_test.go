package packet_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// dialUDP connects a client to one of this machine's addresses, with a watchdog.
func dialUDP(t *testing.T, ip string, ln *epi.PacketListener) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.ParseIP(ip), Port: ln.Addr().(*net.UDPAddr).Port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(epitest.Patience))
	return c
}

// loopbacks are addresses of this machine that a socket on all addresses can be
// asked at.
var loopbacks = map[string][]string{
	"udp://:0":          {"127.0.0.1", "127.0.0.2", "127.1.2.3", "::1"},
	"udp4://:0":         {"127.0.0.1", "127.0.0.2"},
	"udp4://0.0.0.0:0":  {"127.0.0.2"},
	"udp6://[::]:0":     {"::1"},
	"udp://127.0.0.1:0": {"127.0.0.1"},
}

// TestHunt18_AnswersComeFromTheAddressAsked asks a socket at several addresses of
// this machine, by clients that take answers from nobody else. One answer is
// given at once, one by WriteFrom in a task.
func TestHunt18_AnswersComeFromTheAddressAsked(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for address, ips := range loopbacks {
			e := m.Engine()
			arrived := make(chan netip.Addr, 1)
			ln := listenPacket(t, e, address, func(*epi.PacketConn) epi.PacketHandler {
				return &epitest.PacketFuncs{Packet: func(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
					local := c.ArrivedAt()
					if string(p) != "later" {
						_ = c.WriteTo(p, from)
						return
					}
					arrived <- local
					_ = c.Loop().Do(func() { _ = c.WriteFrom([]byte("later"), local, from) })
				}}
			})
			epitest.Run(t, e)
			for _, ip := range ips {
				c := dialUDP(t, ip, ln)
				for range 20 {
					exchange(t, c, []byte("hello"))
				}
				exchange(t, c, []byte("later"))
				if at := epitest.Receive(t, arrived); at != netip.MustParseAddr(ip) {
					t.Errorf("%s: a datagram for %s has arrived at %s", address, ip, at)
				}
			}
		}
	})
}

// TestHunt18_ManyAnswersFromTwoAddresses has datagrams of one client to two
// addresses in one batch, so that answers of one size for one peer could leave
// together.
func TestHunt18_ManyAnswersFromTwoAddresses(t *testing.T) {
	const each = 40
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		ln := listenPacket(t, e, "udp4://:0", epitest.PacketEcho)
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(epitest.Patience))
		port := ln.Addr().(*net.UDPAddr).Port
		for i := range 2 * each {
			if _, err := c.WriteTo([]byte{byte(i % 2)}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%2)), Port: port}); err != nil {
				t.Fatal(err)
			}
		}
		epitest.Run(t, e)
		for range 2 * each {
			var p [8]byte
			n, from, err := c.ReadFromUDPAddrPort(p[:])
			if err != nil || n != 1 {
				t.Fatalf("%d bytes, %v", n, err)
			}
			if want := netip.AddrFrom4([4]byte{127, 0, 0, 2 + p[0]}); from.Addr().Unmap() != want {
				t.Fatalf("the answer of %s came from %s", want, from)
			}
		}
	})
}

// TestHunt18_WriteFromRefuses names addresses that a socket cannot send from.
func TestHunt18_WriteFromRefuses(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		results := make(chan error, 3)
		ln := listenPacket(t, e, "udp4://127.0.0.1:0", func(*epi.PacketConn) epi.PacketHandler {
			return &epitest.PacketFuncs{Packet: func(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
				results <- c.WriteFrom(p, netip.MustParseAddr("127.0.0.2"), from)
				results <- c.WriteFrom(p, netip.MustParseAddr("::1"), from)
				results <- c.WriteFrom(p, netip.MustParseAddr("127.0.0.1"), from)
			}}
		})
		epitest.Run(t, e)
		exchange(t, dialPacket(t, ln), []byte("x"))
		for range 2 {
			if err := epitest.Receive(t, results); !errors.Is(err, epi.ErrBadPeer) {
				t.Errorf("WriteFrom: %v", err)
			}
		}
		if err := epitest.Receive(t, results); err != nil {
			t.Error(err)
		}
	})
}

// TestHunt18_Broadcast sends to everybody on the loopback network, and is asked by
// such a datagram.
func TestHunt18_Broadcast(t *testing.T) {
	everybody := net.IPv4(127, 255, 255, 255)
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, address := range []string{"udp4://:0", "udp://:0"} {
			listener, err := net.ListenUDP("udp4", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			_ = listener.SetDeadline(time.Now().Add(epitest.Patience))
			to := netip.AddrPortFrom(netip.MustParseAddr(everybody.String()), listener.LocalAddr().(*net.UDPAddr).AddrPort().Port())
			e := m.Engine()
			failed := make(chan error, 2)
			ln := listenPacket(t, e, address, func(*epi.PacketConn) epi.PacketHandler {
				return &epitest.PacketFuncs{
					Failed: func(_ *epi.PacketConn, err error) { t.Error(err) },
					Packet: func(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
						failed <- c.WriteTo(p, epi.PacketAddr{AddrPort: to})
						failed <- c.WriteTo(p, from)
					},
				}
			})
			epitest.Run(t, e)
			client, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			_ = client.SetDeadline(time.Now().Add(epitest.Patience))
			if _, err := client.WriteTo([]byte("anybody?"), &net.UDPAddr{IP: everybody, Port: ln.Addr().(*net.UDPAddr).Port}); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := epitest.Receive(t, failed); err != nil {
					t.Error(err)
				}
			}
			expectPacket(t, client, []byte("anybody?"))
			expectPacket(t, listener, []byte("anybody?"))
		}
	})
}

// TestHunt18_ReadBuffer gives a socket a queue too short for what arrives before
// it is read.
func TestHunt18_ReadBuffer(t *testing.T) {
	const sent = 50
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		ln, err := e.ListenPacketWith("udp4://127.0.0.1:0", epi.PacketOptions{ReadBuffer: 1}, epitest.PacketEcho)
		if err != nil {
			t.Fatal(err)
		}
		c := dialPacket(t, ln)
		for range sent {
			if _, err := c.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		epitest.Run(t, e)
		epitest.WaitUntil(t, "something arrived", func() bool { return e.Stats().PacketsIn > 0 })
		if n := e.Stats().PacketsIn; n >= sent {
			t.Errorf("%d datagrams found room", n)
		}
	})
}

// TestHunt18_Multicast joins one group on the loopback interface; another socket
// there is in another group, and nothing of that arrives here.
func TestHunt18_Multicast(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skip(err)
	}
	ours, theirs := netip.MustParseAddr("239.77.1.2"), netip.MustParseAddr("239.77.1.3")
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, address := range []string{"udp4://:0", "udp://:0"} {
			e := m.Engine()
			o := epi.PacketOptions{Groups: []netip.Addr{ours}, MulticastInterface: "lo", MulticastHops: 2}
			arrived := make(chan string, 2)
			ln, err := e.ListenPacketWith(address, o, func(*epi.PacketConn) epi.PacketHandler {
				return &epitest.PacketFuncs{Packet: func(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
					arrived <- c.ArrivedAt().String() + " " + string(p)
					_ = c.WriteTo(p, from)
				}}
			})
			if err != nil {
				t.Fatal(err)
			}
			port := ln.Addr().(*net.UDPAddr).AddrPort().Port()
			other, err := net.ListenMulticastUDP("udp4", lo, net.UDPAddrFromAddrPort(netip.AddrPortFrom(theirs, 0)))
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			epitest.Run(t, e)
			send := make(chan *epi.PacketConn, 1)
			answered := make(chan string, 1)
			sender, err := e.ListenPacketWith("udp4://127.0.0.1:0", epi.PacketOptions{MulticastInterface: "lo"}, func(c *epi.PacketConn) epi.PacketHandler {
				send <- c
				return &epitest.PacketFuncs{Packet: func(_ *epi.PacketConn, p []byte, _ epi.PacketAddr) { answered <- string(p) }}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer sender.Close()
			c := epitest.Receive(t, send)
			for _, group := range []netip.Addr{theirs, ours} {
				if err := c.WriteTo([]byte(group.String()), epi.PacketAddr{AddrPort: netip.AddrPortFrom(group, port)}); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := epitest.Receive(t, arrived), ours.String()+" "+ours.String(); got != want {
				t.Errorf("%s: received %q, want %q", address, got, want)
			}
			if got := epitest.Receive(t, answered); got != ours.String() {
				t.Errorf("%s: answered with %q", address, got)
			}
		}
	})
}

// TestHunt18_BadPacketOptions: each is refused in words.
func TestHunt18_BadPacketOptions(t *testing.T) {
	var e epi.Engine
	defer epitest.Run(t, &e)()
	for _, c := range []struct {
		address string
		o       epi.PacketOptions
		says    string
	}{
		{"udp://127.0.0.1:0", epi.PacketOptions{ReadBuffer: -1}, "ReadBuffer is -1"},
		{"udp://127.0.0.1:0", epi.PacketOptions{MulticastHops: 256}, "MulticastHops 256"},
		{"udp://127.0.0.1:0", epi.PacketOptions{Groups: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}, "10.0.0.1 is no multicast address"},
		{"udp6://[::1]:0", epi.PacketOptions{Groups: []netip.Addr{netip.MustParseAddr("239.1.1.1")}}, "not of the family"},
		{"udp4://:0", epi.PacketOptions{MulticastInterface: "nowhere0"}, `"nowhere0"`},
		{"unixgram:///tmp/x", epi.PacketOptions{MulticastHops: 1}, "a Unix socket knows no multicast"},
	} {
		ln, err := e.ListenPacketWith(c.address, c.o, epitest.PacketEcho)
		if err == nil {
			_ = ln.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s with %+v: %v", c.address, c.o, err)
		}
	}
}

// TestHunt18_ListenPacketOn serves a socket that package net has bound, with what
// waited in it.
func TestHunt18_ListenPacketOn(t *testing.T) {
	for _, network := range []string{"udp", "unixgram"} {
		t.Run(network, func(t *testing.T) {
			epitest.Each(t, func(t *testing.T, m epitest.Mode) {
				address := ":0"
				if network == "unixgram" {
					address = filepath.Join(t.TempDir(), "s")
				}
				opened, err := net.ListenPacket(network, address)
				if err != nil {
					t.Fatal(err)
				}
				e := m.Engine()
				ln, err := e.ListenPacketOn(opened, epi.PacketOptions{}, epitest.PacketEcho)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(ln.String(), network+"://") {
					t.Errorf("the listener is %s", ln)
				}
				if network == "udp" {
					for _, ip := range []string{"127.0.0.1", "127.0.0.2"} {
						early := dialUDP(t, ip, ln)
						if _, err := early.Write([]byte("early")); err != nil {
							t.Fatal(err)
						}
						defer expectPacket(t, early, []byte("early"))
					}
				}
				stop := epitest.Run(t, e)
				if network == "unixgram" {
					exchange(t, dialPacket(t, ln), []byte("hello"))
					if err := stop(); err != nil {
						t.Fatal(err)
					}
					if _, err := os.Stat(address); err != nil {
						t.Errorf("the file of whoever made the socket: %v", err)
					}
				}
			})
		})
	}
}

// TestHunt18_ListenPacketOnRefuses: a connected socket cannot serve.
func TestHunt18_ListenPacketOnRefuses(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		epitest.Run(t, e)
		c, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.ListenPacketOn(c.(net.PacketConn), epi.PacketOptions{}, epitest.PacketEcho); err == nil || !strings.Contains(err.Error(), "connected") {
			t.Errorf("a connected socket: %v", err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("it is left open: %v", err)
		}
	})
}
