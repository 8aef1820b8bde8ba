package show

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/internal/browsertest"
)

var pictures = flag.String("pictures", "", "`directory` to write pictures of the pages into")

func serve(t *testing.T) *httptest.Server {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		server.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func post(t *testing.T, url string, into any) int {
	t.Helper()
	r, err := http.Post(url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode == http.StatusOK {
		if err := json.NewDecoder(r.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	return r.StatusCode
}

// TestHalfRead: two KiB in the pipe, one is read.
func TestHalfRead(t *testing.T) {
	t.Parallel()
	server := serve(t)
	for i, step := range []struct {
		act    string
		events [3]int // level, edge, one-shot
		bytes  int
	}{
		{"wait", [3]int{0, 0, 0}, 0},
		{"write", [3]int{}, 1024},
		{"write", [3]int{}, 2048},
		{"wait", [3]int{1, 1, 1}, 2048},
		{"read", [3]int{}, 1024},
		{"wait", [3]int{1, 0, 0}, 1024},
		{"write", [3]int{}, 2048},
		{"wait", [3]int{1, 1, 0}, 2048},
		{"arm", [3]int{}, 2048},
		{"wait", [3]int{1, 1, 1}, 2048},
		{"drain", [3]int{}, 0},
		{"read", [3]int{}, 0},
		{"wait", [3]int{0, 0, 0}, 0},
	} {
		var answers []Answer
		if code := post(t, server.URL+"/pipe/"+step.act, &answers); code != http.StatusOK || len(answers) != 3 {
			t.Fatalf("step %d, %s: %d", i, step.act, code)
		}
		for j, a := range answers {
			if a.Events != step.events[j] || a.Bytes != step.bytes || a.Said == "" {
				t.Errorf("step %d, %s: %+v, want %d events and %d bytes", i, step.act, a, step.events[j], step.bytes)
			}
		}
	}
}

func TestCosts(t *testing.T) {
	t.Parallel()
	server := serve(t)
	var costs []Cost
	if code := post(t, server.URL+"/cost/1000", &costs); code != http.StatusOK || len(costs) != 3 {
		t.Fatalf("%d, %+v", code, costs)
	}
	for _, c := range costs {
		if wants := c.Backend == "select"; (c.Refused != "") != wants || (c.Microseconds == 0) != wants {
			t.Errorf("%+v", c)
		}
	}
	for _, nonsense := range []string{"/cost/-1", "/cost/5001", "/cost/many", "/pipe/format"} {
		if code := post(t, server.URL+nonsense, nil); code != http.StatusBadRequest {
			t.Errorf("%s: %d", nonsense, code)
		}
	}
}

// TestInBrowser plays the pages.
func TestInBrowser(t *testing.T) {
	t.Parallel()
	b := browsertest.Start(t)
	server := serve(t)
	p := b.Open(server.URL+"/", 390, 1700)
	for _, act := range []string{"write", "write", "wait", "read", "wait"} {
		before := p.Eval("document.querySelectorAll('#pipes li').length").(float64)
		p.Eval("document.querySelector('[data-act=" + act + "]').click()")
		p.Until(act, fmt.Sprintf("document.querySelectorAll('#pipes li').length > %v", before))
	}
	last := p.Eval("[...document.querySelectorAll('#pipes li:last-child')].map(e => e.textContent).join('|')").(string)
	if !strings.HasPrefix(last, "epoll_wait = 1: readable|epoll_wait = 0") {
		t.Errorf("after half a read the pipes say %q", last)
	}
	p.Eval("document.getElementById('play').click()")
	p.Until("the signal", "document.querySelectorAll('#marks tr:nth-child(2) td').length === 20")
	if sums := p.Eval("[...document.querySelectorAll('#marks td:last-child')].map(e => e.textContent).join(' ')"); sums != "1 = 9 = 3 = 3" {
		t.Errorf("the sums are %q", sums)
	}
	p.Eval("{ const i = document.getElementById('idle'); i.value = 800; i.dispatchEvent(new Event('input')) }")
	p.Until("the costs", "document.querySelectorAll('.bar').length === 3 && [...document.querySelectorAll('.bar')].every(b => b.textContent.includes('µs'))")
	if wide := p.Eval("document.documentElement.scrollWidth"); wide.(float64) > 390 {
		t.Errorf("the page is %v pixels wide", wide)
	}
	if *pictures != "" {
		if err := os.WriteFile(filepath.Join(*pictures, "show.png"), p.Screenshot(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if errs := b.Errors(); len(errs) > 0 {
		t.Errorf("errors of the page: %q", errs)
	}
}
