package live

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/epinet/epi/apps/internal/browsertest"
	"github.com/epinet/epi/internal/epitest"
)

var pictures = flag.String("pictures", "", "`directory` to write pictures of the page into")

// TestInBrowser looks at a server, pauses a connection by the button, and closes it.
func TestInBrowser(t *testing.T) {
	t.Parallel()
	b := browsertest.Start(t)
	s, _, pages := watchedEvery(t, 100*time.Millisecond, epitest.Mode{}, Options{Name: "epi echo", Write: true})
	client := s.Dial()
	epitest.RoundTrip(t, client, "hello")
	p := b.Open(pages.URL+"/live", 1280, 1000)
	p.Until("the loops are shown", "document.querySelectorAll('.loop').length > 0 && document.querySelector('#about').textContent.includes('1 connection')")
	p.Until("the connection is in the table", "document.querySelectorAll('#conns tbody tr').length === 1")
	p.Eval("[...document.querySelectorAll('.acts button')].find(b => b.textContent === 'pause').click()")
	p.Until("it is paused", "document.querySelector('#conns tbody').textContent.includes('open, paused')")
	epitest.Say(t, client, "nobody reads this")
	p.Eval("[...document.querySelectorAll('.acts button')].find(b => b.textContent === 'resume').click()")
	epitest.Expect(t, client, "nobody reads this")
	p.Until("something is drawn", `[...document.querySelectorAll('canvas')].some(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(n => n > 0))`)
	drawnOnce(p)
	picture(t, p, "live.png")
	p.Dark()
	picture(t, p, "live-dark.png")
	p.Eval("[...document.querySelectorAll('.acts button')].find(b => b.textContent === 'close').click()")
	epitest.ExpectEOF(t, client)
	p.Until("why it has ended", "document.querySelector('#closed').textContent.includes('close')")
	phone := b.Open(pages.URL+"/live", 390, 900)
	phone.Until("the loops are shown", "document.querySelectorAll('.loop').length > 0")
	if wide := phone.Eval("document.documentElement.scrollWidth"); wide.(float64) > 390 {
		t.Errorf("the page is %v pixels wide on a phone", wide)
	}
	picture(t, phone, "live-phone.png")
	if errs := b.Errors(); len(errs) > 0 {
		t.Errorf("errors of the page: %q", errs)
	}
}

// drawnOnce holds the browser's drawing back: frames that come meanwhile are then drawn once.
func drawnOnce(p *browsertest.Page) {
	p.Eval(`window.drawn = 0; window.came = 0; window.held = []; window.drawsWhenAsked = window.requestAnimationFrame;
		window.requestAnimationFrame = f => held.push(f);
		const clear = CanvasRenderingContext2D.prototype.clearRect;
		CanvasRenderingContext2D.prototype.clearRect = function (...args) { drawn++; return clear.apply(this, args); };
		new EventSource('/live/events').addEventListener('frame', () => came++); 0`)
	// One that was asked for before may still be drawn.
	p.Until("many frames come, and are not drawn", "came > 20 && held.length === 1 && drawn <= 3 * document.querySelectorAll('.loop').length")
	p.Eval("window.requestAnimationFrame = drawsWhenAsked; requestAnimationFrame(held[0]); 0")
}

func picture(t *testing.T, p *browsertest.Page, name string) {
	t.Helper()
	if *pictures == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(*pictures, name), p.Screenshot(), 0o644); err != nil {
		t.Fatal(err)
	}
}
