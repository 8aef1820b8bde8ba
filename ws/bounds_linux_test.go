package ws

import (
	"io"
	"math"
	"net/http"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

// The largest bounds and times are none: nothing overflows.
func TestHunt08_LargestBounds(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s := withHTTP(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })
		s.MaxMessage, s.MaxHTTP = math.MaxInt, math.MaxInt
		s.PingInterval, s.OpenTimeout, s.CloseTimeout, s.WriteTimeout = math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64
		es := serve(t, m, s)
		if _, body := answerTo(t, es.Dial(), plainRequest); body != "page" {
			t.Errorf("HTTP says %q", body)
		}
		got := told(t, open(t, es.Dial(), offerLine, text("a")+begin("b")+last("c")+packed(Text, "dddddddddddddddd")+bye))
		if want := "t:a t:bc zt:dddddddddddddddd close:1000"; got != want {
			t.Errorf("the server says %q, want %q", got, want)
		}
		c, err := Dial(t.Context(), es.Engine, "ws://"+es.Addr()+"/chat", Options{
			MaxMessage: math.MaxInt, CompressFrom: math.MaxInt, Compression: true, PingInterval: math.MaxInt64, CloseTimeout: math.MaxInt64,
		}, echo{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(Normal, ""); err != nil {
			t.Error(err)
		}
		epitest.WaitUntil(t, "it closes", func() bool { return c.state.Load()&isOver != 0 })
	})
}
