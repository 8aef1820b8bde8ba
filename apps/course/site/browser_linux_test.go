package site

import (
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/epinet/epi/apps/internal/browsertest"
	"github.com/epinet/epi/apps/lab/show"
)

var pictures = flag.String("pictures", "", "`directory` to write pictures of the pages into")

// TestInBrowser: nothing is wider than the window of a phone, or of a desk, but for
// the programs, which scroll by themselves.
func TestInBrowser(t *testing.T) {
	t.Parallel()
	b := browsertest.Start(t)
	live, err := show.New()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(Handler(live.Handler()))
	defer func() {
		server.Close()
		if err := live.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, at := range []struct {
		page  string
		width int
	}{
		{"/README.md", 1280},
		{"/ko/11-systems.md", 1280},
		{"/ko/11-systems.md", 390},
		{"/ko/06-trigger.md", 390},
	} {
		p := b.Open(server.URL+at.page, at.width, 900)
		if wide := p.Eval("document.documentElement.scrollWidth"); wide.(float64) > float64(at.width) {
			t.Errorf("%s is %v pixels wide in a window of %d", at.page, wide, at.width)
		}
		if loaded := p.Eval("[...document.images].every(i => i.naturalWidth > 0)"); loaded != true {
			t.Errorf("%s: a picture is missing", at.page)
		}
		if at.page == "/ko/06-trigger.md" {
			playInFrames(p)
		}
		picture(t, p, fmt.Sprintf("%d-%s.png", at.width, filepath.Base(at.page)))
	}
	if errs := b.Errors(); len(errs) > 0 {
		t.Errorf("errors of the pages: %q", errs)
	}
}

// playInFrames opens the live pages beside a chapter and presses a button in one.
func playInFrames(p *browsertest.Page) {
	p.Eval("document.querySelectorAll('.live iframe').forEach(f => { f.loading = 'eager' })")
	p.Eval("document.querySelectorAll('.live details').forEach(d => { d.open = true })")
	p.Until("the frames have one part each", `[...document.querySelectorAll('.live iframe')].map(f => f.contentDocument?.querySelectorAll('section:not([hidden])').length).join() === '1,1,1'`)
	p.Eval("document.querySelectorAll('.live iframe')[2].contentDocument.querySelector('[data-trap=send]').click()")
	p.Until("the trap has caught somebody", "document.querySelectorAll('.live iframe')[2].contentDocument.getElementById('traps').textContent.includes('3072 bytes are unread')")
	p.Eval("document.querySelector('.live').scrollIntoView()")
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
