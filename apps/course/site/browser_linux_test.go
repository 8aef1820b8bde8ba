package site

import (
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/epinet/epi/apps/internal/browsertest"
)

var pictures = flag.String("pictures", "", "`directory` to write pictures of the pages into")

// TestInBrowser: nothing is wider than the window of a phone, or of a desk, but for
// the programs, which scroll by themselves.
func TestInBrowser(t *testing.T) {
	t.Parallel()
	b := browsertest.Start(t)
	server := httptest.NewServer(Handler())
	defer server.Close()
	for _, width := range []int{390, 1280} {
		for _, at := range []string{"/README.md", "/ko/11-systems.md"} {
			p := b.Open(server.URL+at, width, 900)
			if wide := p.Eval("document.documentElement.scrollWidth"); wide.(float64) > float64(width) {
				t.Errorf("%s is %v pixels wide in a window of %d", at, wide, width)
			}
			if loaded := p.Eval("[...document.images].every(i => i.naturalWidth > 0)"); loaded != true {
				t.Errorf("%s: a picture is missing", at)
			}
			if *pictures != "" {
				name := fmt.Sprintf("%d-%s.png", width, filepath.Base(at))
				if err := os.WriteFile(filepath.Join(*pictures, name), p.Screenshot(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if errs := b.Errors(); len(errs) > 0 {
		t.Errorf("errors of the pages: %q", errs)
	}
}
