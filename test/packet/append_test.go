package packet_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/frame"
	"github.com/epinet/epi/internal/epitest"
)

// Handlers append to what they are handed: whatever lies behind it in the same
// buffer stays what it is.
func TestHunt10_AppendingToUnreadBytesCopies(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				p := c.Unread()
				if len(p) != cap(p) {
					t.Errorf("%d unread bytes have room for %d", len(p), cap(p))
				}
				_ = append(p, "garbage"...)
				_, err := c.Write(p)
				c.Discard(len(p) - 1) // the last one is offered again
				if p := c.Unread(); len(p) != cap(p) {
					t.Errorf("%d unread bytes of an inbox have room for %d", len(p), cap(p))
				}
				return err
			}}
		})
		client := s.Dial()
		epitest.RoundTrip(t, client, "ab")
		epitest.RoundTrip(t, client, "b")
	})
}

func TestHunt10_AppendingToAFrameCopies(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
			in := frame.Reader{Framing: frame.Lines{}}
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				for line := range in.Messages(c) {
					if _, err := c.Write(append(line, "!;"...)); err != nil {
						return err
					}
				}
				return nil
			}}
		})
		client := s.Dial()
		if _, err := io.WriteString(client, "one\ntwo\nthree\n"); err != nil {
			t.Fatal(err)
		}
		epitest.Expect(t, client, "one!;two!;three!;")
	})
}

func TestHunt10_AppendingToADatagramCopies(t *testing.T) {
	const count = 20
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		ln, err := e.ListenPacket("udp://127.0.0.1:0", func(*epi.PacketConn) epi.PacketHandler {
			return &epitest.PacketFuncs{Packet: func(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
				if len(p) != cap(p) {
					t.Errorf("a datagram of %d bytes has room for %d", len(p), cap(p))
				}
				_ = c.WriteTo(append(p, '!'), from)
			}}
		})
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("udp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		_ = client.SetDeadline(time.Now().Add(epitest.Patience))
		for i := range count { // they wait in the socket, and come as one batch
			if _, err := fmt.Fprintf(client, "datagram %02d", i); err != nil {
				t.Fatal(err)
			}
		}
		epitest.Run(t, e)
		buf := make([]byte, 100)
		for i := range count {
			n, err := client.Read(buf)
			if want := fmt.Sprintf("datagram %02d!", i); err != nil || string(buf[:n]) != want {
				t.Fatalf("%q came, %v, want %q", buf[:n], err, want)
			}
		}
	})
}
