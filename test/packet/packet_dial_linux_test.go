package packet_test

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestHunt23_PacketSockets marks what both ends of an exchange send, gives them room,
// and has each socket shown to Control before it has an address.
func TestHunt23_PacketSockets(t *testing.T) {
	eachPacket(t, func(t *testing.T, m epitest.Mode, address string) {
		internet := !strings.HasPrefix(address, "unixgram")
		networks := make(chan string, 2)
		o := epi.PacketOptions{ReadBuffer: 64 << 10, Control: func(network, _ string, c syscall.RawConn) error {
			networks <- network
			return c.Control(func(fd uintptr) {
				if sa, err := unix.Getsockname(int(fd)); err != nil || !unbound(sa) {
					t.Errorf("the socket has the address %v already, %v", sa, err)
				}
				if size, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF); size != 128<<10 {
					t.Errorf("the socket has room for %d bytes", size)
				}
				if !internet {
					return
				}
				level, option := unix.IPPROTO_IP, unix.IP_TOS
				if network == "udp6" {
					level, option = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
				}
				if class, err := unix.GetsockoptInt(int(fd), level, option); err != nil || class != 46<<2 {
					t.Errorf("the socket of %s marks datagrams with %d, %v", network, class, err)
				}
			})
		}}
		if internet {
			o.DSCP = 46
		}
		e := m.Engine()
		ln, err := e.ListenPacketWith(address, o, epitest.PacketEcho)
		if err != nil {
			t.Fatal(err)
		}
		answers := make(chan string, 1)
		c, err := e.DialPacketWith(t.Context(), dialable(ln), o, &epitest.PacketFuncs{Packet: func(_ *epi.PacketConn, p []byte, _ epi.PacketAddr) { answers <- string(p) }})
		if err != nil {
			t.Fatal(err)
		}
		epitest.Run(t, e)
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if answer := epitest.Receive(t, answers); answer != "hello" {
			t.Errorf("the answer is %q", answer)
		}
		if listened, dialled := epitest.Receive(t, networks), epitest.Receive(t, networks); listened != dialled || internet == (listened == "unixgram") {
			t.Errorf("Control is called for %s, then for %s", listened, dialled)
		}
	})
}

// unbound reports whether an address is that of a socket without one.
func unbound(sa unix.Sockaddr) bool {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return sa.Port == 0
	case *unix.SockaddrInet6:
		return sa.Port == 0
	case *unix.SockaddrUnix:
		return sa.Name == "" || sa.Name == "@" // which is how package unix writes none
	}
	return false
}

// TestHunt23_PacketOptionsThatDoNotFit are refused, and leave nothing behind.
func TestHunt23_PacketOptionsThatDoNotFit(t *testing.T) {
	refusal := errors.New("not this one")
	unixgram := "unixgram://" + filepath.Join(t.TempDir(), "s")
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		epitest.Run(t, e)
		for _, row := range []struct {
			name, address string
			o             epi.PacketOptions
		}{
			{"Control", "udp://127.0.0.1:9", epi.PacketOptions{Control: func(string, string, syscall.RawConn) error { return refusal }}},
			{"DSCP", "udp://127.0.0.1:9", epi.PacketOptions{DSCP: 64}},
			{"DSCP of a Unix socket", unixgram, epi.PacketOptions{DSCP: 1}},
			{"ReadBuffer", "udp://127.0.0.1:9", epi.PacketOptions{ReadBuffer: -1}},
		} {
			_, err := e.DialPacketWith(t.Context(), row.address, row.o, &epitest.PacketFuncs{})
			if err == nil || row.o.Control != nil && !errors.Is(err, refusal) {
				t.Errorf("%s: DialPacketWith returns %v", row.name, err)
			}
		}
		if n := e.Stats().Conns; n != 0 {
			t.Errorf("%d sockets are left", n)
		}
	})
}

// TestHunt23_HandshakeTimeoutAndLingerOfAListener ends a silent client, and one that
// does not read the rest, in the time of their listener, not of the engine.
func TestHunt23_HandshakeTimeoutAndLingerOfAListener(t *testing.T) {
	server, _ := epitest.Certificates(t)
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.HandshakeTimeout, e.Linger = time.Hour, time.Hour
		e.LeastRate = 1
		s := epitest.Start(t, e, epitest.EchoHandler)
		silent, err := e.ListenWith("tls://127.0.0.1:0", epi.ListenOptions{TLS: server, HandshakeTimeout: 50 * time.Millisecond}, epitest.EchoHandler)
		if err != nil {
			t.Fatal(err)
		}
		client := epitest.DialPlain(t, silent)
		epitest.ExpectEOF(t, client)
		closed := make(chan error, 2)
		handler := func(own bool) func(*epi.Conn) epi.Handler {
			return func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{
					Open: func(c *epi.Conn) error {
						if own {
							c.SetLinger(50 * time.Millisecond)
						}
						return errors.Join(c.Send(make([]byte, epitest.EightMiB)), c.Close())
					},
					Close: func(_ *epi.Conn, err error) { closed <- err },
				}
			}
		}
		full, err := e.ListenWith("tcp://127.0.0.1:0", epi.ListenOptions{Linger: 50 * time.Millisecond}, handler(false))
		if err != nil {
			t.Fatal(err)
		}
		epitest.DialPlain(t, full)
		epitest.DialPlain(t, epitest.ListenAlso(t, s.Engine, handler(true)))
		for range 2 {
			if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrLinger) {
				t.Errorf("it is closed with %v", err)
			}
		}
	})
}

// TestHunt23_QueueOfErrorsIsEmptied asks the kernel, by Control, to keep the answers of
// hosts (IP_RECVERR, ip(7)): what waits there is reported until somebody takes it.
func TestHunt23_QueueOfErrorsIsEmptied(t *testing.T) {
	epitest.EachNative(t, func(t *testing.T, m epitest.Mode) {
		to := nobody(t)
		e := m.Engine()
		failed := make(chan error, 8) // more than there are
		o := epi.PacketOptions{Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			_ = c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1) })
			return err
		}}
		ln, err := e.ListenPacketWith("udp://127.0.0.1:0", o, func(c *epi.PacketConn) epi.PacketHandler {
			return &epitest.PacketFuncs{
				Packet: func(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
					_ = c.WriteTo(p, epi.PacketAddr{AddrPort: to})
				},
				Failed: func(_ *epi.PacketConn, err error) { failed <- err },
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		epitest.Run(t, e)
		if _, err := dialPacket(t, ln).Write([]byte("for nobody")); err != nil {
			t.Fatal(err)
		}
		if err := epitest.Receive(t, failed); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("OnError got %v", err)
		}
		epitest.ExpectQuiet(t, e)
	})
}
