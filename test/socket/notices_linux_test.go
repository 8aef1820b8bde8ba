package socket_test

import (
	"errors"
	"net"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// stamped has the kernel note when each packet left, in the socket's queue of errors,
// which nobody here reads (SO_TIMESTAMPING; accepted connections inherit it).
func stamped(_, _ string, c syscall.RawConn) error {
	const flags = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_OPT_TSONLY
	var err error
	failed := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, flags)
	})
	return errors.Join(failed, err)
}

// What waits in a socket's queue of errors makes it report an error for as long as it
// is there, while reads and writes succeed. A loop must not spin. (With the
// portable driver the Go runtime may take such a connection for one that it cannot
// watch, and end it.)
func TestHunt29_NoticesOfTheKernel(t *testing.T) {
	options := epi.ListenOptions{Socket: epi.SocketOptions{Control: stamped}}
	serve := func(t *testing.T, m epitest.Mode, handler func(*epi.Conn) epi.Handler) (*epi.Engine, net.Conn) {
		s := epitest.Start(t, m.Serial(), epitest.EchoHandler)
		ln, err := s.Engine.ListenWith("tcp://127.0.0.1:0", options, handler)
		if err != nil {
			t.Fatal(err)
		}
		return s.Engine, epitest.DialPlain(t, ln)
	}

	t.Run("reading", func(t *testing.T) {
		epitest.EachNative(t, func(t *testing.T, m epitest.Mode) {
			t.Parallel()
			e, client := serve(t, m, epitest.EchoHandler)
			for i := range 3 {
				epitest.RoundTrip(t, client, "message "+strconv.Itoa(i))
			}
			epitest.ExpectQuiet(t, e)
			epitest.RoundTrip(t, client, "more")
			epitest.CloseWrite(t, client)
			epitest.ExpectEOF(t, client)
		})
	})

	t.Run("full", func(t *testing.T) {
		epitest.EachNative(t, func(t *testing.T, m epitest.Mode) {
			t.Parallel()
			data := epitest.Pattern(epitest.EightMiB)
			e, client := serve(t, m, func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{Data: func(c *epi.Conn) error {
					answer := c.Take(len(c.Unread()))
					if string(answer) == "all" {
						c.Pause()
						answer = data
					}
					_, err := c.Write(answer)
					return err
				}}
			})
			epitest.RoundTrip(t, client, "one") // the notice is of the last packet of a write
			epitest.Say(t, client, "all")
			epitest.Settled(t, "bytes moved", func() uint64 { return epitest.BytesMoved(e) })
			epitest.ExpectQuiet(t, e)
			epitest.ExpectBytes(t, client, data, 1<<20)
		})
	})

	t.Run("pipe", func(t *testing.T) {
		epitest.EachNative(t, func(t *testing.T, m epitest.Mode) {
			t.Parallel()
			far, address := epitest.Listen(t, "tcp")
			opened := make(chan *epi.Conn, 1)
			e, client := serve(t, m, func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{Open: func(c *epi.Conn) error {
					c.Pause()
					opened <- c
					return nil
				}}
			})
			c := epitest.Receive(t, opened)
			d, err := e.DialWith(t.Context(), address, epi.DialOptions{Loop: c.Loop(), Socket: options.Socket}, &epitest.Funcs{})
			if err != nil {
				t.Fatal(err)
			}
			if err := epi.Pipe(c, d); err != nil {
				t.Fatal(err)
			}
			peer := epitest.Accept(t, far)
			for range 3 {
				epitest.Say(t, client, "there")
				epitest.Expect(t, peer, "there")
				epitest.Say(t, peer, "back")
				epitest.Expect(t, client, "back")
			}
			epitest.ExpectQuiet(t, e)
			data := epitest.Pattern(epitest.EightMiB)
			go func() { _, _ = client.Write(data) }()
			epitest.Settled(t, "bytes moved", func() uint64 { return epitest.BytesMoved(e) })
			epitest.ExpectQuiet(t, e)
			epitest.ExpectBytes(t, peer, data, 1<<20)
		})
	})
}
