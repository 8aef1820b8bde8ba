package ws

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

// A bitWriter writes a DEFLATE stream by hand.
type bitWriter struct {
	b    []byte
	bits uint64
	n    uint
}

func (w *bitWriter) put(v uint64, n uint) {
	w.bits |= v << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.b = append(w.b, byte(w.bits))
		w.bits >>= 8
	}
}

// emptyDynamic is a block with tables of its own and nothing but its end (RFC 1951,
// section 3.2.7).
func (w *bitWriter) emptyDynamic() {
	w.put(0, 1)
	w.put(2, 2)
	w.put(0, 5)
	w.put(0, 5)
	w.put(14, 4)
	for i := range 18 { // lengths of codes for 18 and for 1, of one bit each
		if i == 2 || i == 17 {
			w.put(1, 3)
		} else {
			w.put(0, 3)
		}
	}
	w.put(1, 1)
	w.put(127, 7) // 138 zeros
	w.put(1, 1)
	w.put(107, 7) // 118 zeros
	w.put(0, 1)   // the end of the block: one bit
	w.put(0, 1)   // a distance: one bit
	w.put(0, 1)   // the end
}

func (w *bitWriter) emptyFixed() { w.put(0, 1); w.put(1, 2); w.put(0, 7) }

func (w *bitWriter) emptyStored() {
	w.put(0, 3)
	w.put(0, (8-w.n)%8)
	w.b = append(w.b, 0, 0, 0xff, 0xff)
}

// empties is a message of empty blocks of one kind, of about a size.
func empties(size int, block func(w *bitWriter)) string {
	w := new(bitWriter)
	for len(w.b) < size {
		block(w)
	}
	w.put(0, 3) // a stored block, whose rest inflateTail is
	w.put(0, (8-w.n)%8)
	return string(w.b)
}

// Blocks without content cost most for each byte. A step stops at its bound.
func TestHostile04_EmptyBlocksAreRefused(t *testing.T) {
	for name, block := range map[string]func(w *bitWriter){
		"dynamic": (*bitWriter).emptyDynamic, "fixed": (*bitWriter).emptyFixed, "stored": (*bitWriter).emptyStored,
	} {
		few := append([]byte(empties(1000, block)), inflateTail...)
		var out bytes.Buffer
		if err := inflate(&out, few, testMax); err != nil || out.Len() > 0 {
			t.Errorf("%s: %d bytes came out of a few empty blocks, %v", name, out.Len(), err)
		}
		f := newInflation()
		many := append([]byte(empties(testMax*4, block)), inflateTail...)
		used, over, err := f.step(many, true, testMax)
		if err != errEmptyBlocks || used > maxStepInput || over {
			t.Errorf("%s: a step used %d bytes, %t, %v", name, used, over, err)
		}
		f.free()
	}
	s := echoServer()
	s.MaxMessage = 1 << 20
	es := serve(t, oneMode(), s)
	sends := frame(true, rsv1, Binary, empties(512<<10, (*bitWriter).emptyDynamic))
	client := es.Dial()
	r := open(t, client, offerLine, "")
	go func() { _, _ = io.WriteString(client, sends) }()
	if got := told(t, r); got != "close:1008" {
		t.Errorf("the server says %q", got)
	}
}

// Many clients send at once what a loop needs long for: in one turn it decompresses
// for some, and for all in the end.
//
//	clients:  each a compressed message, while the loop is held
//	loop:     turn: some, up to the bound │ turn: the next │ …
func TestHostile04_ALoopsTurnIsBounded(t *testing.T) {
	const clients = 60
	long := strings.Repeat("*", testMax)
	const share = 2 * (turnCost/outputCost + testMax) // two spans, each with a message more that was under way
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		if m.Workers > 0 {
			return // a worker that decompresses holds up nobody's loop
		}
		e := m.Serial()
		conns := make(chan *Conn, clients)
		perTurn := map[uint64]int{} // of the loop
		s := handled(func() Handler {
			return &funcs{
				open: func(c *Conn) error { conns <- c; return nil },
				message: func(c *Conn, op Opcode, p []byte) error {
					perTurn[e.Stats().Turns] += len(p)
					return c.Write(op, p[:1])
				},
			}
		})
		es := epitest.Start(t, e, s.Serve)
		var all []net.Conn
		var readers []io.Reader
		for range clients {
			c := es.Dial()
			all, readers = append(all, c), append(readers, open(t, c, offerLine, ""))
		}
		release := epitest.Hold(t, epitest.Receive(t, conns).Conn().Loop())
		for _, c := range all {
			epitest.Say(t, c, packed(Binary, long))
			epitest.AwaitArrival(t, c)
		}
		release()
		for _, r := range readers {
			if op, p := next(t, r); op != Binary || len(p) != 1 {
				t.Fatalf("the answer has opcode %d and %d bytes", op, len(p))
			}
		}
		if err := es.Stop(); err != nil {
			t.Error(err)
		}
		total := 0
		for _, n := range perTurn {
			total += n
			if n > share {
				t.Errorf("%d bytes came out in one turn, want at most %d", n, share)
			}
		}
		if total != clients*testMax {
			t.Errorf("%d bytes came, want %d", total, clients*testMax)
		}
	})
}

// What is decompressed in steps, with the input in pieces, is what it is at once.
func TestHostile04_StepsAgree(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		data := make([]byte, random.IntN(1<<20))
		for i := range data { // some of it compresses well, some does not
			data[i] = byte(random.Uint32()) & (1 << (i >> 14 % 8))
		}
		z := deflate(data, maxWindow)
		input := append(bytes.Clone(z.Bytes()), inflateTail...)
		buffers.put(z)
		f := newInflation()
		var buf, out []byte
		for over := false; !over; {
			n := min(len(input), random.IntN(200_000))
			buf, input = append(buf, input[:n]...), input[n:]
			for whole := len(input) == 0; !over && (whole || len(buf) >= maxStepInput); {
				used, last, err := f.step(buf, whole, len(data))
				if err != nil {
					t.Fatal(err)
				}
				buf, over = buf[used:], last
				out = append(out, f.fresh()...)
				f.delivered()
			}
		}
		if f.free(); !bytes.Equal(out, data) {
			t.Fatalf("%d bytes came out of %d, or wrong ones", len(out), len(data))
		}
	}
}

// A client, too, lets others have their turns between the steps of what its server
// has compressed.
func TestHostile04_ClientsTakeTurns(t *testing.T) {
	const size, count = 1 << 20, 8
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s := handled(func() Handler {
			return &funcs{open: func(c *Conn) error {
				for i := range count {
					if err := c.Write(Binary, bytes.Repeat([]byte{byte(i)}, size)); err != nil {
						return err
					}
				}
				return nil
			}}
		})
		es := serve(t, m, s)
		got := make(chan []byte, count)
		h := &funcs{message: func(_ *Conn, _ Opcode, p []byte) error { got <- bytes.Clone(p); return nil }}
		c, err := Dial(t.Context(), es.Engine, "ws://"+es.Addr()+"/", Options{Compression: true}, h)
		if err != nil {
			t.Fatal(err)
		}
		for i := range count {
			if p := epitest.Receive(t, got); !bytes.Equal(p, bytes.Repeat([]byte{byte(i)}, size)) {
				t.Fatalf("message %d has %d bytes, or wrong ones", i, len(p))
			}
		}
		if err := c.Close(Normal, ""); err != nil {
			t.Error(err)
		}
	})
}
