package ws

import (
	"net/http"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

// Handlers append to the message that they get: the frames behind it in the same
// buffer stay what they are.
func TestHunt10_AppendingToAMessageCopies(t *testing.T) {
	long := string(epitest.Pattern(5000))
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s := echoServer()
		s.Handler = func(*Conn, *http.Request) Handler {
			return &funcs{message: func(c *Conn, op Opcode, p []byte) error {
				if len(p) != cap(p) {
					t.Errorf("a message of %d bytes has room for %d", len(p), cap(p))
				}
				return c.Write(op, append(p, '!'))
			}}
		}
		c := serve(t, m, s).Dial()
		r := open(t, c, offerLine, text("a")+text("b")+begin("c")+last("d")+packed(Text, "aaaaaaaaaaaa")+binary(long)+text("e")+bye)
		if got, want := told(t, r), "t:a! t:b! t:cd! zt:aaaaaaaaaaaa! zb:5001×'\\x00' t:e! close:1000"; got != want {
			t.Errorf("the server says %q, want %q", got, want)
		}
	})
}
