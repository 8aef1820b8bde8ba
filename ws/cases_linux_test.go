package ws

import (
	"bytes"
	wire "encoding/binary"
	"io"
	"net/http"
	"testing"

	"github.com/gobwas/ws"
)

// The tests whose names carry the number of a case show it for messages; the
// engine's own tests show it for bytes, with TLS too. Those here that move much
// leave TLS out.

const eightMiB = 8 << 20

// handled returns a server whose connections have the handlers that make returns.
func handled(make func() Handler) *Server {
	s := echoServer()
	s.Handler = func(*Conn, *http.Request) Handler { return make() }
	return s
}

// draining is a handler that also wants to know of OnDrain.
type draining struct {
	funcs
	drain func(c *Conn)
}

func (d *draining) OnDrain(c *Conn) { d.drain(c) }

// sizes are of messages with each form of a frame's header, in a frame that is
// copied into the queue and in one that is not.
var sizes = []int{4, 125, 126, 1000, 5000, 65_535, 65_536, 200_000}

// numbered is message i, of a length.
func numbered(i, size int) []byte {
	p := bytes.Repeat([]byte{byte(i)}, size)
	wire.BigEndian.PutUint32(p, uint32(i))
	return p
}

// next reads a whole message, or a control frame, of the server.
func next(t *testing.T, r io.Reader) (op Opcode, p []byte) {
	t.Helper()
	h, err := ws.ReadHeader(r)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Fin || h.Masked || h.Rsv != 0 {
		t.Fatalf("a server's frame is %+v", h)
	}
	p = make([]byte, h.Length)
	if _, err := io.ReadFull(r, p); err != nil {
		t.Fatal(err)
	}
	return h.OpCode, p
}

// expectNumbered reads messages by their numbers and sizes.
func expectNumbered(t *testing.T, r io.Reader, count int, size func(i int) int) {
	t.Helper()
	for i := range count {
		if op, p := next(t, r); op != Binary || !bytes.Equal(p, numbered(i, size(i))) {
			t.Fatalf("message %d, of %d bytes, came with opcode %d and %d bytes, or wrong ones", i, size(i), op, len(p))
		}
	}
}

// expectClose reads a close frame with a code.
func expectClose(t *testing.T, r io.Reader, code Code) {
	t.Helper()
	op, p := next(t, r)
	if got, _ := ws.ParseCloseFrameData(p); op != ws.OpClose || got != code {
		t.Fatalf("a frame with opcode %d and %q came, want a close frame with %d", op, brief(p), code)
	}
}

// expectEnd reads the end of the stream.
func expectEnd(t *testing.T, r io.Reader) {
	t.Helper()
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Fatalf("%d bytes more, %v, want the end", len(rest), err)
	}
}
