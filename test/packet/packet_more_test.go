package packet_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestPacket_BatchKeepsOrder has more datagrams wait in the socket than one turn
// takes: those of one size leave the client as segments of one message, where the
// kernel has that, and come back as they went.
func TestPacket_BatchKeepsOrder(t *testing.T) {
	for name, size := range map[string]func(i int) int{
		"of one size": func(int) int { return 100 },
		"mixed":       func(i int) int { return 4 + i*i%7*i%301 },
		"of two":      func(i int) int { return 80 - i%5/4*20 },
	} {
		t.Run(name, func(t *testing.T) {
			epitest.Each(t, func(t *testing.T, m epitest.Mode) {
				count := 300
				if !m.Native() {
					count = 150 // one message for each; the socket holds fewer
				}
				e := m.Engine()
				ln := listenPacket(t, e, "udp://127.0.0.1:0", epitest.PacketEcho)
				done := make(chan struct{})
				next := 0
				c, err := e.DialPacket(t.Context(), ln.String(), &epitest.PacketFuncs{Packet: func(_ *epi.PacketConn, p []byte, _ epi.PacketAddr) {
					if len(p) != size(next) || binary.BigEndian.Uint32(p) != uint32(next) {
						t.Errorf("datagram %d has %d bytes and number %d", next, len(p), binary.BigEndian.Uint32(p))
					}
					if next++; next == count {
						close(done)
					}
				}})
				if err != nil {
					t.Fatal(err)
				}
				for i := range count {
					p := make([]byte, size(i))
					binary.BigEndian.PutUint32(p, uint32(i))
					if _, err := c.Write(p); err != nil {
						t.Fatal(err)
					}
				}
				epitest.Run(t, e) // what was written before leaves at once
				epitest.Receive(t, done)
			})
		})
	}
}

// TestPacket_TooLongIsDropped sends a datagram beyond MaxDatagram both ways.
func TestPacket_TooLongIsDropped(t *testing.T) {
	eachPacket(t, func(t *testing.T, m epitest.Mode, address string) {
		e := m.Engine()
		e.MaxDatagram = 1000
		refused := make(chan error, 1)
		ln := listenPacket(t, e, address, func(*epi.PacketConn) epi.PacketHandler {
			return &epitest.PacketFuncs{Packet: func(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
				if string(p) == "long" {
					refused <- c.WriteTo(make([]byte, 1001), from)
				}
				_ = c.WriteTo(p, from)
			}}
		})
		epitest.Run(t, e)
		c := dialPacket(t, ln)
		if _, err := c.Write(make([]byte, 1001)); err != nil {
			t.Fatal(err)
		}
		exchange(t, c, epitest.Pattern(1000))
		exchange(t, c, []byte("long"))
		if err := epitest.Receive(t, refused); !errors.Is(err, epi.ErrPacketTooLong) {
			t.Errorf("WriteTo: %v", err)
		}
		if n := e.Stats().PacketsDropped; n != 1 {
			t.Errorf("%d datagrams dropped", n)
		}
	})
}

func TestPacket_QueueFull(t *testing.T) {
	eachPacket(t, func(t *testing.T, m epitest.Mode, address string) {
		e := m.Engine()
		e.PacketQueue = 10 * (100 + 128)
		ln := listenPacket(t, e, address, epitest.PacketEcho)
		got := make(chan int, 10)
		c, err := e.DialPacket(t.Context(), dialable(ln), &epitest.PacketFuncs{Packet: func(_ *epi.PacketConn, p []byte, _ epi.PacketAddr) { got <- len(p) }})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if _, err := c.Write(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Write(nil); !errors.Is(err, epi.ErrQueueFull) {
			t.Errorf("the eleventh: %v", err)
		}
		if s := e.Stats(); s.PacketsDropped != 1 || s.QueueFull != 1 {
			t.Errorf("counted %d dropped, %d refused", s.PacketsDropped, s.QueueFull)
		}
		epitest.Run(t, e)
		for range 10 {
			epitest.Receive(t, got)
		}
		if n := c.Queued(); n != 0 {
			t.Errorf("%d bytes are queued", n)
		}
	})
}

// dialable is the listener's address as a client of this machine needs it.
func dialable(ln *epi.PacketListener) string { return strings.Replace(ln.String(), "[::]", "[::1]", 1) }

// TestPacket_SlowUnixPeer floods one that does not read, over a socket that has
// no means to hear when it does; another is served meanwhile. What fits into the
// queue arrives in order as soon as the slow one reads.
func TestPacket_SlowUnixPeer(t *testing.T) {
	const flood = 200
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		dir := t.TempDir()
		ln := listenPacket(t, e, "unixgram://"+filepath.Join(dir, "server"), func(*epi.PacketConn) epi.PacketHandler {
			return &epitest.PacketFuncs{Packet: func(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
				if string(p) != "flood" {
					_ = c.WriteTo(p, from)
					return
				}
				for i := range flood {
					_ = c.WriteTo([]byte{byte(i)}, from)
				}
			}}
		})
		stop := epitest.Run(t, e)
		slow, other := dialPacket(t, ln), dialPacket(t, ln)
		if _, err := slow.Write([]byte("flood")); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			exchange(t, other, []byte("hello"))
		}
		for i := range flood {
			expectPacket(t, slow, []byte{byte(i)})
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if n := e.Stats().PacketsDropped; n != 0 {
			t.Errorf("%d datagrams were dropped", n)
		}
	})
}

// TestPacket_StuckUnixPeerLeavesRoomForOthers fills the whole queue with answers
// to one that does not read. All but its share is given up at once, so that
// another has its answers.
func TestPacket_StuckUnixPeerLeavesRoomForOthers(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.Loops, e.PacketQueue = 1, 1<<20
		var server *epi.PacketConn
		ln := listenPacket(t, e, "unixgram://"+filepath.Join(t.TempDir(), "server"), func(c *epi.PacketConn) epi.PacketHandler {
			server = c
			return &epitest.PacketFuncs{Packet: func(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
				for c.WriteTo(p, from) == nil && string(p) == "flood" {
				}
			}}
		})
		epitest.Run(t, e)
		// It is not connected: else its queue has no bound but the send buffer of
		// the server's socket, which is all peers' (unix(7)).
		stuck, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "stuck"), Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer stuck.Close()
		other := dialPacket(t, ln)
		exchange(t, other, []byte("hello"))
		flood := func() (dropped uint64) {
			dropped = e.Stats().PacketsDropped
			if _, err := stuck.WriteTo([]byte("flood"), ln.Addr()); err != nil {
				t.Fatal(err)
			}
			return dropped
		}
		for range 3 {
			dropped := flood()
			epitest.WaitUntil(t, "the stuck peer has its share", func() bool {
				n := server.Queued()
				given := e.Stats().PacketsDropped > dropped+1 // one was refused by WriteTo
				if given && n == 0 {                          // its patience is over
					dropped = flood()
				}
				return given && n > 0 && n <= e.PacketQueue/4
			})
			exchange(t, other, []byte("hello"))
		}
	})
}

// TestPacket_StuckUnixPeerCostsNothing counts the turns of a loop while a peer of
// either kind of socket takes nothing, and closes the sockets after Linger.
func TestPacket_StuckUnixPeerCostsNothing(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.Loops, e.Linger = 1, 300*time.Millisecond
		dir := t.TempDir()
		path := filepath.Join(dir, "stuck")
		stuck, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer stuck.Close()
		closed := make(chan error, 1)
		c, err := e.DialPacket(t.Context(), "unixgram://"+path, &epitest.PacketFuncs{Closed: func(_ *epi.PacketConn, err error) { closed <- err }})
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		epitest.Run(t, e)
		if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrLinger) {
			t.Errorf("closed with %v", err)
		}
		s := e.Stats()
		if s.PacketsOut+s.PacketsDropped != 1000 || s.PacketsOut == 0 {
			t.Errorf("%d left, %d dropped", s.PacketsOut, s.PacketsDropped)
		}
		if s.Turns > 50 {
			t.Errorf("%d turns to wait for a peer", s.Turns)
		}
	})
}

// nobody returns an address whose datagrams the host refuses, and nobody else gets: its socket is
// connected to another, and takes none but of that.
func nobody(t *testing.T) netip.AddrPort {
	t.Helper()
	loopback := net.IPv4(127, 0, 0, 1)
	c, err := net.DialUDP("udp4", &net.UDPAddr{IP: loopback}, &net.UDPAddr{IP: loopback, Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// TestPacket_RefusedByThePeersHost: the socket of DialPacket reports it, and goes
// on; one that answers anybody does not report it and goes on, too.
func TestPacket_RefusedByThePeersHost(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		nobody := nobody(t)
		e := m.Engine()
		failed := make(chan error, 64)
		c, err := e.DialPacket(t.Context(), "udp://"+nobody.String(), &epitest.PacketFuncs{Failed: func(_ *epi.PacketConn, err error) { failed <- err }})
		if err != nil {
			t.Fatal(err)
		}
		ln := listenPacket(t, e, "udp4://127.0.0.1:0", func(*epi.PacketConn) epi.PacketHandler {
			return &epitest.PacketFuncs{Packet: func(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
				_ = c.WriteTo(p, epi.PacketAddr{AddrPort: nobody})
				_ = c.WriteTo(p, from)
			}}
		})
		epitest.Run(t, e)
		for range 3 {
			if _, err := c.Write([]byte("anybody?")); err != nil {
				t.Fatal(err)
			}
			if err := epitest.Receive(t, failed); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("OnClose got %v", err)
			}
		}
		client := dialPacket(t, ln)
		for range 3 {
			exchange(t, client, []byte("hello"))
		}
	})
}

// TestPacket_UnixPeerIsGone: the datagram is lost and counted, the next goes on.
func TestPacket_UnixPeerIsGone(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		dir := t.TempDir()
		nobody := epi.PacketAddr{Path: filepath.Join(dir, "nobody")}
		failed := make(chan error, 1)
		ln := listenPacket(t, e, "unixgram://"+filepath.Join(dir, "s"), func(*epi.PacketConn) epi.PacketHandler {
			return &epitest.PacketFuncs{
				Failed: func(_ *epi.PacketConn, err error) { failed <- err },
				Packet: func(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
					_ = c.WriteTo(p, nobody)
					_ = c.WriteTo(p, from)
				},
			}
		})
		epitest.Run(t, e)
		exchange(t, dialPacket(t, ln), []byte("hello"))
		if err := epitest.Receive(t, failed); !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), nobody.Path) {
			t.Errorf("OnClose got %v", err)
		}
		if n := e.Stats().PacketsDropped; n != 1 {
			t.Errorf("%d dropped", n)
		}
	})
}

func TestPacket_PanicEndsNothingElse(t *testing.T) {
	eachPacket(t, func(t *testing.T, m epitest.Mode, address string) {
		e := m.Engine()
		ln := listenPacket(t, e, address, func(*epi.PacketConn) epi.PacketHandler {
			return &epitest.PacketFuncs{Packet: func(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
				if string(p) == "panic" {
					panic("as asked for")
				}
				epitest.EchoPacket(c, p, from)
			}}
		})
		epitest.Run(t, e)
		c := dialPacket(t, ln)
		for range 3 {
			if _, err := c.Write([]byte("panic")); err != nil {
				t.Fatal(err)
			}
			exchange(t, c, []byte("go on"))
		}
		if n := e.Stats().Panics; n != 3 {
			t.Errorf("counted %d panics", n)
		}
	})
}

// TestPacket_AfterClose closes from many goroutines and inside a callback: what
// was written before is sent, then everything is refused.
func TestPacket_AfterClose(t *testing.T) {
	eachPacket(t, func(t *testing.T, m epitest.Mode, address string) {
		e := m.Engine()
		closed := make(chan error, 2)
		conns := make(chan *epi.PacketConn, 1)
		ln := listenPacket(t, e, address, func(c *epi.PacketConn) epi.PacketHandler {
			conns <- c
			return &epitest.PacketFuncs{
				Packet: func(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
					_ = c.WriteTo(p, from)
					_ = c.Close()
					if err := c.WriteTo(p, from); !errors.Is(err, epi.ErrClosed) {
						t.Errorf("WriteTo after Close: %v", err)
					}
				},
				Closed: func(_ *epi.PacketConn, err error) { closed <- err },
			}
		})
		epitest.Run(t, e)
		exchange(t, dialPacket(t, ln), []byte("last words"))
		if err := epitest.Receive(t, closed); err != nil {
			t.Errorf("closed with %v", err)
		}
		c := epitest.Receive(t, conns)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if err := c.Close(); !errors.Is(err, epi.ErrClosed) {
					t.Errorf("Close again: %v", err)
				}
			})
		}
		all.Wait()
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		if path := c.LocalAddr().Path; path != "" {
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket file is left: %v", err)
			}
		}
	})
}

// TestPacket_ReusePort: each loop has a socket, and every sender's datagrams arrive.
func TestPacket_ReusePort(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.ReusePort = true
		var sockets atomic.Int32
		ln := listenPacket(t, e, "udp://127.0.0.1:0", func(c *epi.PacketConn) epi.PacketHandler {
			sockets.Add(1)
			return &epitest.PacketFuncs{Packet: epitest.EchoPacket}
		})
		epitest.Run(t, e)
		for range 32 {
			exchange(t, dialPacket(t, ln), []byte("hello"))
		}
		if n := sockets.Load(); int(n) != e.Loops {
			t.Errorf("%d sockets for %d loops", n, e.Loops)
		}
	})
}

// TestPacket_ShutdownUnderLoad: what was queued leaves, every socket gets OnClose.
func TestPacket_ShutdownUnderLoad(t *testing.T) {
	eachPacket(t, func(t *testing.T, m epitest.Mode, address string) {
		e := m.Engine()
		closed := make(chan error, 1)
		ln := listenPacket(t, e, address, func(*epi.PacketConn) epi.PacketHandler {
			return &epitest.PacketFuncs{Packet: epitest.EchoPacket, Closed: func(_ *epi.PacketConn, err error) { closed <- err }}
		})
		stop := epitest.Run(t, e)
		ctx, cancel := context.WithCancel(t.Context())
		var conns []net.Conn
		for range 4 { // all before the load, which may cost anybody a datagram
			c := dialPacket(t, ln)
			exchange(t, c, []byte("hello"))
			conns = append(conns, c)
		}
		var clients sync.WaitGroup
		for _, c := range conns {
			clients.Go(func() {
				for buf := make([]byte, 100); ctx.Err() == nil; {
					if _, err := c.Write(buf); err != nil {
						return
					}
					_ = c.SetReadDeadline(time.Now())
					_, _ = c.Read(buf)
				}
			})
		}
		err := stop()
		cancel()
		clients.Wait()
		if err != nil && !strings.HasPrefix(address, "unixgram") {
			t.Errorf("the engine did not drain: %v", err)
		}
		if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrShutdown) {
			t.Errorf("closed with %v", err)
		}
	})
}

// TestPacket_FloodStarvesNoConnection: an echo over TCP goes on while its loop is
// sent datagrams without a pause. The flood ends with the last echo only, so a
// starved connection would wait for ever.
func TestPacket_FloodStarvesNoConnection(t *testing.T) {
	const echoes = 100
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.Loops = 1
		packets := listenPacket(t, e, "udp://127.0.0.1:0", epitest.PacketEcho)
		s := epitest.Start(t, e, epitest.EchoHandler)
		udp := dialPacket(t, packets)
		ctx, cancel := context.WithCancel(t.Context())
		var flood sync.WaitGroup
		flood.Go(func() {
			for buf := make([]byte, 64); ctx.Err() == nil; {
				_, _ = udp.Write(buf)
			}
		})
		defer flood.Wait()
		defer cancel()
		c := s.Dial()
		for range echoes {
			epitest.RoundTrip(t, c, "still there?")
		}
	})
}

func TestPacket_NoAllocationPerEcho(t *testing.T) {
	const echoes = 200
	eachPacket(t, func(t *testing.T, m epitest.Mode, address string) {
		if !m.Native() {
			t.Skip("package net allocates for each datagram")
		}
		e := m.Engine()
		ln := listenPacket(t, e, address, epitest.PacketEcho)
		epitest.Run(t, e)
		c := dialPacket(t, ln)
		message, got := epitest.Pattern(64), make([]byte, 65)
		exchange(t, c, message)
		_ = c.SetDeadline(time.Time{})
		failed := error(nil)
		if n := testing.AllocsPerRun(echoes, func() {
			if _, err := c.Write(message); err != nil {
				failed = err
			}
			if _, err := c.Read(got); err != nil {
				failed = err
			}
		}); n != 0 || failed != nil {
			t.Errorf("%v allocations per echo, %v", n, failed)
		}
		if !bytes.Equal(got[:64], message) {
			t.Error("the echo is another")
		}
	})
}

// TestPacket_BadPeers are refused before anything is queued.
func TestPacket_BadPeers(t *testing.T) {
	e := epitest.Modes()[0].Engine()
	conns := make(chan *epi.PacketConn, 1)
	ln := listenPacket(t, e, "udp4://127.0.0.1:0", func(c *epi.PacketConn) epi.PacketHandler { conns <- c; return &epitest.PacketFuncs{} })
	client, err := e.DialPacket(t.Context(), ln.String(), &epitest.PacketFuncs{})
	if err != nil {
		t.Fatal(err)
	}
	epitest.Run(t, e)
	c := epitest.Receive(t, conns)
	for _, to := range []epi.PacketAddr{{}, {Path: "/tmp/x"}, peerNo(0)} {
		for _, c := range []*epi.PacketConn{c, client} {
			if err := c.WriteTo(nil, to); !errors.Is(err, epi.ErrBadPeer) {
				t.Errorf("WriteTo(%q): %v", to, err)
			}
		}
	}
	if err := c.WriteTo(make([]byte, 65508), peerNo(1)); !errors.Is(err, epi.ErrPacketTooLong) {
		t.Errorf("65,508 bytes: %v", err)
	}
}

func TestPacket_BadAddresses(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	old, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: stale, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	_ = old.Close() // package net leaves the file of a socket for datagrams
	if _, err := os.Stat(stale); err != nil {
		t.Fatal(err)
	}
	e := epitest.Modes()[0].Engine()
	ln := listenPacket(t, e, "udp://127.0.0.1:0", epitest.PacketEcho)
	for address, want := range map[string]string{
		"127.0.0.1:1":         "has no scheme",
		"tcp://127.0.0.1:1":   "not one for datagrams",
		"udp://127.0.0.1":     "is not udp://host:port",
		"udp4://[::1]:1":      "family",
		"unixgram://":         "write unixgram:///path",
		"unixgram://" + stale: "stale",
		ln.String():           "another server has the port",
	} {
		if _, err := e.ListenPacket(address, epitest.PacketEcho); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("listen %s: %v, want %q", address, err, want)
		}
	}
	if _, err := e.DialPacket(t.Context(), "udp://127.0.0.1:0", &epitest.PacketFuncs{}); err == nil {
		t.Error("dialled port 0")
	}
	epitest.Run(t, e)
}
