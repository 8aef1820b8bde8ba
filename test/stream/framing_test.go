package stream_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/frame"
	"github.com/epinet/epi/internal/epitest"
)

const frameBound = 1000

// framings are the ways to cut a stream that both a text and a binary protocol use.
var framings = []struct {
	name    string
	framing frame.Framing
	append  func(dst, msg []byte) ([]byte, error)
	tooLong []byte // the least of a message that is sure to be above the bound
}{
	{"lines", frame.Lines{}, frame.Lines{}.Append, []byte(strings.Repeat("x", frameBound+2))},
	{"lengths", frame.LengthPrefix{Size: 4}, frame.LengthPrefix{Size: 4}.Append, []byte{0, 0, frameBound >> 8, frameBound&0xff + 1}},
}

// frameServer answers each message with its length and itself, as a line.
func frameServer(t *testing.T, m epitest.Mode, framing frame.Framing, calls *atomic.Int32, closed chan<- error) *epitest.Server {
	return epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
		in := frame.Reader{Framing: framing, Max: frameBound}
		return &epitest.Funcs{
			Data: func(c *epi.Conn) error {
				calls.Add(1)
				for msg, err := range in.Messages(c) {
					if err != nil {
						return err
					}
					if _, err := fmt.Fprintf(c, "%d %s\n", len(msg), msg); err != nil {
						return err
					}
				}
				return nil
			},
			Close: func(_ *epi.Conn, err error) { closed <- err },
		}
	})
}

func TestW11_FramesInPieces(t *testing.T) {
	messages := []string{"one", "", "three words here", strings.Repeat("long ", frameBound/5)}
	pieces := []struct {
		name string
		size func(total int) int
	}{
		{"whole", func(total int) int { return total }},
		{"halves", func(total int) int { return (total + 1) / 2 }},
		{"byte by byte", func(int) int { return 1 }},
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for _, f := range framings {
			var calls atomic.Int32
			s := frameServer(t, m, f.framing, &calls, make(chan error, len(pieces)))
			for _, p := range pieces {
				client := s.Dial()
				for _, msg := range messages {
					framed, err := f.append(nil, []byte(msg))
					if err != nil {
						t.Fatal(err)
					}
					size := p.size(len(framed))
					for rest := framed; len(rest) > 0; rest = rest[min(size, len(rest)):] {
						epitest.Say(t, client, string(rest[:min(size, len(rest))]))
					}
					epitest.Expect(t, client, fmt.Sprintf("%d %s\n", len(msg), msg))
				}
			}
		}
	})
}

func TestW11_FrameAboveTheBound(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for _, f := range framings {
			var calls atomic.Int32
			closed := make(chan error, 1)
			s := frameServer(t, m, f.framing, &calls, closed)
			client := s.Dial()
			before, err := f.append(nil, []byte("good"))
			if err != nil {
				t.Fatal(err)
			}
			epitest.Say(t, client, string(before)+string(f.tooLong))
			if err := epitest.Receive(t, closed); !errors.Is(err, frame.ErrTooLong) {
				t.Errorf("%s: OnClose got %v", f.name, err)
			}
			epitest.Expect(t, client, "4 good\n") // the answers before it are delivered
			epitest.ExpectEOF(t, client)
		}
	})
}

// TestW11_IncompleteFrameWaits looks at loops that hold a hundred pieces of
// frames: they rest, and nobody calls OnData again, or at all where the length is
// known.
func TestW11_IncompleteFrameWaits(t *testing.T) {
	const conns = 100
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		m.Parallel(t)
		for _, f := range framings {
			var calls atomic.Int32
			s := frameServer(t, m, f.framing, &calls, make(chan error, conns))
			framed, err := f.append(nil, []byte("in many pieces"))
			if err != nil {
				t.Fatal(err)
			}
			half := len(framed) / 2
			var clients []net.Conn
			for range conns {
				clients = append(clients, s.Dial())
			}
			for i, piece := range []string{string(framed[:half]), string(framed[half : half+1])} {
				most := int32((i + 1) * conns)
				want := s.Engine.Stats().BytesIn + uint64(conns*len(piece))
				for _, c := range clients {
					epitest.Say(t, c, piece)
				}
				epitest.WaitUntil(t, "all pieces arrive", func() bool { return s.Engine.Stats().BytesIn >= want })
				epitest.Settled(t, f.name+": the loops", func() uint64 { return s.Engine.Stats().Turns })
				if n := calls.Load(); n > most {
					t.Errorf("%s: OnData was called %d times for %d pieces", f.name, n, most)
				}
			}
			for _, c := range clients {
				epitest.Say(t, c, string(framed[half+1:]))
				epitest.Expect(t, c, "14 in many pieces\n")
			}
		}
	})
}
