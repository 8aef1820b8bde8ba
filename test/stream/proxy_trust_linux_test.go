package stream_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestHunt01_ResetPeersAreKnown has untrusted clients send a PROXY header and
// reset at once: by the time they are looked at, getpeername(2) knows no peer.
func TestHunt01_ResetPeersAreKnown(t *testing.T) {
	const clients = 200
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		options := epi.ListenOptions{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		ln, err := s.Engine.ListenWith("tcp://127.0.0.1:0", options, func(c *epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				t.Errorf("the handler is given %q of %v", c.Unread(), c.RemoteAddr())
				return nil
			}}
		})
		if err != nil {
			t.Fatal(err)
		}
		for range clients {
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			epitest.Say(t, c, "PROXY TCP4 192.0.2.77 192.0.2.1 4242 80\r\nDELETE everything\n")
			epitest.Reset(t, c)
		}
		epitest.WaitUntil(t, "all are gone", func() bool { return s.Engine.Stats().Closed == clients })
	})
}

// TestHunt01_HandlersKnowTheirPeer is the same without PROXY headers: who was
// reset is told with its address, and what it had sent.
func TestHunt01_HandlersKnowTheirPeer(t *testing.T) {
	const clients = 200
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s := epitest.Start(t, m.Engine(), func(c *epi.Conn) epi.Handler {
			if peer := c.RemoteAddr().(*net.TCPAddr); !peer.IP.IsLoopback() || peer.Port == 0 {
				t.Errorf("the peer is %v", peer)
			}
			return &epitest.Funcs{}
		})
		for range clients {
			c := s.DialSocket()
			epitest.Say(t, c, "hello")
			epitest.Reset(t, c)
		}
		// Nobody goes unseen: a client without a handler is counted.
		epitest.WaitUntil(t, "all are gone", func() bool {
			now := s.Engine.Stats()
			return now.Closed+now.Shed == clients
		})
	})
}

// TestHostile12_UntrustedHeaderInTwoPieces cuts the header of a peer that may not
// send one behind each of its first bytes.
func TestHostile12_UntrustedHeaderInTwoPieces(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		for _, header := range []string{"PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n", proxySignature + "\x21\x11\x00\x0c" + proxyIPv4} {
			for cut := 1; cut <= 6; cut++ {
				client := dialProxied(t, s.Engine, "tcp://127.0.0.1:0", "192.0.2.0/24", func(*epi.Conn) epi.Handler {
					t.Errorf("cut at %d: the handler is called", cut)
					return nil
				})
				sayInTwo(t, s.Engine, client, header[:cut], header[cut:]+"hello")
				if rest, _ := io.ReadAll(client); len(rest) > 0 {
					t.Errorf("cut at %d: the client reads %q", cut, rest)
				}
			}
		}
	})
}

// sayInTwo sends the second piece when the first has arrived.
func sayInTwo(t *testing.T, e *epi.Engine, c net.Conn, first, second string) {
	t.Helper()
	before := e.Stats().BytesIn
	epitest.Say(t, c, first)
	epitest.WaitUntil(t, "the first piece has arrived", func() bool { return e.Stats().BytesIn == before+uint64(len(first)) })
	_, _ = io.WriteString(c, second) // it may be refused already
}

// TestHostile12_BytesLikeAHeader lets peers without one say what begins like it.
func TestHostile12_BytesLikeAHeader(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		for _, text := range []string{"PROXIMATE\n", "P", "\r\n", "\r\n\r\nNICK nobody\r\n", "PROXY", "GET / HTTP/1.1\r\n\r\n", ""} {
			client := dialProxied(t, s.Engine, "tcp://127.0.0.1:0", "192.0.2.0/24", epitest.EchoHandler)
			if text != "" {
				sayInTwo(t, s.Engine, client, text[:1], text[1:])
			}
			epitest.CloseWrite(t, client)
			epitest.Expect(t, client, text)
			epitest.ExpectEOF(t, client)
		}
	})
}

// TestHostile12_UnixPeersAreTrustedByUser takes a header on a Unix socket, one with
// a file or an abstract one, of the users that were named only.
func TestHostile12_UnixPeersAreTrustedByUser(t *testing.T) {
	own := uint32(os.Geteuid())
	any := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, row := range []struct {
			name    string
			options epi.ListenOptions
			trusted bool
		}{
			{"this user, by default", epi.ListenOptions{ProxyFrom: any}, true},
			{"this user", epi.ListenOptions{ProxyUsers: []uint32{own + 1, own}}, true},
			{"another", epi.ListenOptions{ProxyUsers: []uint32{own + 1}}, false},
			{"another, and all networks", epi.ListenOptions{ProxyFrom: any, ProxyUsers: []uint32{own + 1}}, false},
			{"nobody", epi.ListenOptions{ProxyFrom: any, ProxyUsers: []uint32{}}, false},
		} {
			s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
			for _, address := range unixAddresses(t) {
				peers := make(chan string, 1)
				ln, err := s.Engine.ListenWith(address, row.options, func(c *epi.Conn) epi.Handler {
					peers <- c.RemoteAddr().String()
					return epitest.EchoHandler(c)
				})
				if err != nil {
					t.Fatal(err)
				}
				client := epitest.DialListener(t, s.Engine, ln, net.Dialer{})
				epitest.Say(t, client, "PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\nhello")
				if !row.trusted {
					if rest, _ := io.ReadAll(client); len(rest) > 0 || len(peers) > 0 {
						t.Errorf("%s, %s: the client reads %q", address, row.name, rest)
					}
					continue
				}
				epitest.Expect(t, client, "hello")
				if peer := epitest.Receive(t, peers); peer != "192.0.2.7:1234" {
					t.Errorf("%s, %s: the peer is %s", address, row.name, peer)
				}
			}
		}
	})
}

// TestHunt20_LongHeadersAndChecksums sends headers with fields, of the longest that
// there can be, too.
func TestHunt20_LongHeadersAndChecksums(t *testing.T) {
	long := field(0xe0, strings.Repeat("x", 1<<16-1-12-3-7))
	right := binaryHeader(long+field(0x03, "\x00\x00\x00\x00"), len(long)+3)
	wrong := []byte(right)
	wrong[17]++ // of the source address
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		peers := make(chan string, 1)
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		dial := func() net.Conn {
			return dialProxied(t, s.Engine, "tcp://127.0.0.1:0", "::ffff:127.0.0.0/104", func(c *epi.Conn) epi.Handler {
				peers <- c.RemoteAddr().String()
				return epitest.EchoHandler(c)
			})
		}
		for _, header := range []string{right, binaryHeader(field(0x04, "")+field(0x03, "\x00\x00\x00\x00"), 6), binaryHeader(long, -1)} {
			client := dial()
			sayInTwo(t, s.Engine, client, header[:20], header[20:]+"hello")
			epitest.Expect(t, client, "hello")
			if peer := epitest.Receive(t, peers); peer != "192.0.2.7:1234" {
				t.Errorf("the peer is %s", peer)
			}
		}
		for _, header := range []string{string(wrong), binaryHeader(field(0x03, "\x00\x00\x00"), -1)} {
			client := dial()
			_, _ = io.WriteString(client, header+"hello")
			if rest, _ := io.ReadAll(client); len(rest) > 0 || len(peers) > 0 {
				t.Errorf("of a wrong header, the client reads %q", rest)
			}
		}
	})
}

// field is one field of a binary header.
func field(kind byte, value string) string {
	return string([]byte{kind, byte(len(value) >> 8), byte(len(value))}) + value
}

// binaryHeader makes a header with fields, with its checksum in them at sum,
// unless that is negative.
func binaryHeader(fields string, sum int) string {
	size := len(proxyIPv4) + len(fields)
	header := []byte(proxySignature + "\x21\x11" + string([]byte{byte(size >> 8), byte(size)}) + proxyIPv4 + fields)
	if sum >= 0 {
		at := len(header) - len(fields) + sum
		binary.BigEndian.PutUint32(header[at:], crc32.Checksum(header, crc32.MakeTable(crc32.Castagnoli)))
	}
	return string(header)
}

// TestHunt20_BadNetworkIsRefused: a network that was never set would trust nobody,
// which nobody wants.
func TestHunt20_BadNetworkIsRefused(t *testing.T) {
	e := epitest.Modes()[0].Engine()
	_, err := e.ListenWith("tcp://127.0.0.1:0", epi.ListenOptions{ProxyFrom: make([]netip.Prefix, 1)}, epitest.EchoHandler)
	if err == nil || !strings.Contains(err.Error(), "ProxyFrom[0]") {
		t.Errorf("ListenWith returns %v", err)
	}
	epitest.Start(t, e, epitest.EchoHandler) // frees what Listen has made
}

// TestHunt23_PeerCredentials asks both ends of a Unix socket, and of a TCP
// connection, who the other is.
func TestHunt23_PeerCredentials(t *testing.T) {
	want := epi.Credentials{PID: os.Getpid(), UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
		type answer struct {
			who epi.Credentials
			err error
		}
		answers, closed := make(chan answer, 2), make(chan error, 2)
		handler := func() epi.Handler {
			return &epitest.Funcs{
				Open: func(c *epi.Conn) error {
					who, err := c.PeerCredentials()
					answers <- answer{who, err}
					return nil
				},
				Close: func(c *epi.Conn, _ error) {
					_, err := c.PeerCredentials()
					closed <- err
				},
			}
		}
		s := epitest.StartOn(t, m.Engine(), address, func(*epi.Conn) epi.Handler { return handler() })
		c, err := s.Engine.Dial(t.Context(), s.Listener.String(), handler())
		if err != nil {
			t.Fatal(err)
		}
		local := strings.HasPrefix(address, "unix:")
		for range 2 {
			got := epitest.Receive(t, answers)
			if local && (got.err != nil || got.who != want) || !local && !errors.Is(got.err, errors.ErrUnsupported) {
				t.Errorf("the answer is %v, %v", got.who, got.err)
			}
		}
		_ = c.Close()
		for range 2 {
			err := epitest.Receive(t, closed)
			if local && !errors.Is(err, epi.ErrClosed) || !local && !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("in OnClose the answer is %v", err)
			}
		}
	})
}

// unixAddresses are where to listen: a file, and a name without one where the
// system has such.
func unixAddresses(t *testing.T) []string {
	t.Helper()
	addresses := []string{"unix://" + epitest.UnixPath(t)}
	if runtime.GOOS == "linux" {
		addresses = append(addresses, "unix://@"+epitest.UnixPath(t))
	}
	return addresses
}
