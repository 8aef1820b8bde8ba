package ws

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/epinet/epi/internal/epitest"
)

// partwise is a PartHandler made of a function.
type partwise struct {
	funcs
	part func(c *Conn, op Opcode, p []byte, last bool) error
}

func (h *partwise) OnPart(c *Conn, op Opcode, p []byte, last bool) error {
	return h.part(c, op, p, last)
}

// echoParts sends each part back as it comes.
func echoParts() Handler {
	return &partwise{part: func(c *Conn, op Opcode, p []byte, last bool) error { return c.WritePart(op, p, last) }}
}

// joined reads frames to the end of the stream, joins those that belong to one
// message, and describes them as told does.
func joined(t *testing.T, r io.Reader) string {
	t.Helper()
	var words []string
	var op Opcode
	var p []byte
	for {
		h, err := ws.ReadHeader(r)
		if err == io.EOF {
			return strings.Join(words, " ")
		}
		if err != nil {
			t.Fatalf("after %q: %v", words, err)
		}
		body := make([]byte, h.Length)
		if _, err := io.ReadFull(r, body); err != nil {
			t.Fatal(err)
		}
		if h.OpCode.IsControl() {
			words = append(words, describe(t, h, body))
			continue
		}
		if (h.OpCode == ws.OpContinuation) != (op != 0) {
			t.Fatalf("a frame with opcode %d within a message of opcode %d", h.OpCode, op)
		}
		if op == 0 {
			op = h.OpCode
		}
		p = append(p, body...)
		if h.Fin {
			words = append(words, describe(t, ws.Header{Fin: true, OpCode: op}, p))
			op, p = 0, nil
		}
	}
}

// A handler of parts gets what one of whole messages gets, however it arrives: all
// of the conformance talks.
func TestHunt23_PartsConform(t *testing.T) {
	// What comes in parts was said before the fault in it was found.
	differs := map[string]string{
		"invalid UTF-8": "", "UTF-8 that stops short": "", "UTF-8 that stops short in a frame": "",
		"a bad byte, and no end": "", "new message inside": "", "close between fragments": "",
		"too long by fragments": "", "RSV1 on a continuation": "", "RSV1 on the second fragment": "",
		"a bad byte in half a frame": "", "an overlong character in half a frame": "", "a bad second byte, and no end": "",
		"a byte too long": "", "a bomb": "", "a stored block that is cut": "",
	}
	plain := func(list []talk) []talk {
		return slices.DeleteFunc(slices.Clone(list), func(k talk) bool { _, ok := differs[k.name]; return ok })
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		es := serve(t, m, handled(echoParts))
		for _, k := range plain(talks()) {
			for way, cut := range cuts {
				if way == "byte by byte" && len(k.sends) > fewBytes {
					continue
				}
				sayParts(t, es, "", way+"/"+k.name, cut(k.sends), k.says)
			}
		}
		for _, k := range plain(packedTalks()) {
			sayParts(t, es, offerLine, k.name, []string{k.sends}, strings.NewReplacer("zt:", "t:", "zb:", "b:").Replace(k.says))
		}
	})
}

func sayParts(t *testing.T, es *epitest.Server, lines, name string, pieces []string, says string) {
	t.Helper()
	c := es.Dial()
	defer c.Close()
	r := open(t, c, lines, "")
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for _, piece := range pieces {
			if _, err := io.WriteString(c, piece); err != nil {
				return // the server has closed
			}
		}
	}()
	if got := joined(t, r); got != says {
		t.Errorf("%s: the server says %q, want %q", name, got, says)
	}
	<-sent
}

// An upload far beyond what may be held arrives whole, compressed or not, in one
// frame and in many.
func TestHunt23_PartsOfABigUpload(t *testing.T) {
	const size = 5 << 20
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, size)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	smooth := bytes.Repeat(epitest.Pattern(1000), size/1000)
	fragments := func(first byte, p []byte) string {
		var b strings.Builder
		for i, piece := range slices.Collect(slices.Chunk(p, 300_000)) {
			op, rsv := ws.OpContinuation, byte(0)
			if i == 0 {
				op, rsv = Binary, first
			}
			b.WriteString(frame((i+1)*300_000 >= len(p), rsv, op, string(piece)))
		}
		return b.String()
	}
	pack := func(p []byte) []byte {
		z := deflate(p, maxWindow)
		defer buffers.put(z)
		return bytes.Clone(z.Bytes())
	}
	for _, row := range []struct {
		name  string
		sends string
		want  []byte
	}{
		{"one frame", frame(true, 0, Binary, string(noise)), noise},
		{"fragments", fragments(0, noise), noise},
		{"compressed, one frame", frame(true, rsv1, Binary, string(pack(noise))), noise},
		{"compressed, fragments", fragments(rsv1, pack(noise)), noise},
		{"compressed well", frame(true, rsv1, Binary, string(pack(smooth))), smooth},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, m := range epitest.Modes() {
				if m.Driver == "select" || m.Driver == "poll" {
					continue
				}
				at, longest := 0, 0
				done := make(chan error, 1)
				s := handled(func() Handler {
					return &partwise{
						part: func(c *Conn, _ Opcode, p []byte, last bool) error {
							longest = max(longest, len(p))
							if at+len(p) > size || !bytes.Equal(p, row.want[at:at+len(p)]) {
								return fmt.Errorf("the %d bytes from %d are wrong", len(p), at)
							}
							at += len(p)
							if last {
								return c.Close(Normal, "")
							}
							return nil
						},
						funcs: funcs{close: func(_ *Conn, err error) { done <- err }},
					}
				})
				s.MaxMessage = math.MaxInt
				client := serve(t, m, s).Dial()
				r := open(t, client, offerLine, "")
				go func() { _, _ = io.WriteString(client, row.sends+bye) }()
				expectClose(t, r, Normal)
				if err := epitest.Receive(t, done); err != nil || at != len(row.want) {
					t.Errorf("%v: %d of %d bytes came, OnClose got %v", m, at, len(row.want), err)
				}
				if longest > 1<<20 {
					t.Errorf("%v: a part has %d bytes", m, longest)
				}
			}
		})
	}
}

// The rules of messages in parts, for those who write them.
func TestHunt23_WritePart(t *testing.T) {
	result := make(chan string, 1)
	s := handled(func() Handler {
		return &funcs{open: func(c *Conn) error {
			var w epitest.Words
			for _, err := range []error{
				c.WritePart(Text, []byte("a"), false), c.Write(Text, nil), c.Send(Prepare(Text, nil)), c.Ping([]byte("p")),
				c.WritePart(Text, nil, false), c.WritePart(Text, []byte("b"), true), c.Write(Text, []byte("c")),
				c.WritePart(Binary, []byte("d"), true), c.WritePart(ws.OpPing, nil, true), c.WritePart(Text, []byte("e"), false),
				c.Close(Normal, ""), c.WritePart(Text, nil, true),
			} {
				w.Add("%t,%t,%t", err == nil, errors.Is(err, ErrWithinMessage), err == ErrClosed)
			}
			result <- strings.NewReplacer("true,false,false", "ok", "false,true,false", "within", "false,false,true", "closed", "false,false,false", "bad").Replace(w.String())
			return nil
		}}
	})
	r := open(t, serve(t, oneMode(), s).Dial(), "", bye)
	var frames []string
	for {
		h, err := ws.ReadHeader(r)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, h.Length)
		if _, err := io.ReadFull(r, p); err != nil {
			t.Fatal(err)
		}
		if h.OpCode != ws.OpClose {
			frames = append(frames, fmt.Sprintf("%t:%d:%s", h.Fin, h.OpCode, p))
		}
	}
	if got, want := strings.Join(frames, " "), "false:1:a true:9:p false:0: true:0:b true:1:c true:2:d false:1:e"; got != want {
		t.Errorf("the frames are %q, want %q", got, want)
	}
	if got, want := epitest.Receive(t, result), "ok within within ok ok ok ok ok bad ok ok closed"; got != want {
		t.Errorf("the results are %q, want %q", got, want)
	}
}

// SetCompression is for what is written from then on.
func TestHunt23_SetCompression(t *testing.T) {
	long := strings.Repeat("a", 100)
	s := handled(func() Handler {
		return &funcs{message: func(c *Conn, op Opcode, p []byte) error {
			c.SetCompression(false)
			err := errors.Join(c.Write(op, p), c.Send(Prepare(op, bytes.Clone(p))))
			c.SetCompression(true)
			return errors.Join(err, c.Write(op, p), c.Send(Prepare(op, bytes.Clone(p))))
		}}
	})
	got := told(t, open(t, serve(t, oneMode(), s).Dial(), offerLine, text(long)+bye))
	if want := "t:100×'a' t:100×'a' zt:100×'a' zt:100×'a' close:1000"; got != want {
		t.Errorf("the server says %q, want %q", got, want)
	}
}

// A byte that never becomes a message holds no more than the smallest buffer,
// whatever messages came before it.
func TestHunt17_AByteHoldsLittle(t *testing.T) {
	const most = 512
	long := strings.Repeat("x", testMax/2)
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		if m.Workers > 0 {
			return // the loop may look at what its callbacks own
		}
		conns := make(chan *Conn, 1)
		s := handled(func() Handler {
			return &funcs{open: func(c *Conn) error { conns <- c; return nil }, message: echo{}.OnMessage}
		})
		client := serve(t, m, s).Dial()
		r := open(t, client, offerLine, begin(long)+last(long)+packed(Binary, long)+ping(""))
		for range 3 {
			h, err := ws.ReadHeader(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, r, h.Length); err != nil {
				t.Fatal(err)
			}
		}
		c := epitest.Receive(t, conns)
		for _, sends := range []string{begin("x"), last("y") + frame(false, rsv1, Binary, "x")} {
			epitest.Say(t, client, sends+ping(""))
			for {
				h, err := ws.ReadHeader(r)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.CopyN(io.Discard, r, h.Length); err != nil {
					t.Fatal(err)
				}
				if h.OpCode == ws.OpPong {
					break
				}
			}
			held := make(chan int, 1)
			if err := c.Conn().Loop().Do(func() {
				held <- cap(c.part.buf)
				if c.part.z != nil {
					t.Error("decompressing has begun for a byte")
				}
			}); err != nil {
				t.Fatal(err)
			}
			if n := epitest.Receive(t, held); n > most {
				t.Errorf("a byte holds %d bytes", n)
			}
		}
	})
}
