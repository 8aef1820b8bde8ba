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
	"time"

	"github.com/epinet/epi/apps/internal/browsertest"
	"github.com/epinet/epi/internal/epitest"
	"github.com/epinet/epi/poll"
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
	for _, nonsense := range []string{"/cost/-1", "/cost/5001", "/cost/many", "/pipe/format", "/boss/send-13", "/boss/slow-x", "/boss/format", "/twin/write-5", "/trap/format", "/waiters/nobody", "/nobody/look"} {
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
	p := b.Open(server.URL+"/", 390, 4600)
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
	p.Eval("{ const i = document.getElementById('slow'); i.value = 0; i.dispatchEvent(new Event('input')) }")
	p.Until("the handler is quick", "document.getElementById('boss-look').textContent.includes('served')")
	p.Eval("document.querySelector('[data-boss=send-12]').click()")
	p.Until("the requests are served", "document.getElementById('boss-look').textContent.includes('12 requests served')")
	p.Eval("document.getElementById('trial').click()")
	p.Until("who wakes", "document.querySelectorAll('#wakings tr').length === 5")
	for _, press := range []string{"[data-twin=write-4]", "[data-trap=connect]", "[data-trap=send]"} {
		p.Eval("document.querySelector('" + press + "').click()")
	}
	p.Until("both twins have answered", "document.querySelector('[data-twin=turn]').click(), [...document.querySelectorAll('#twins > div')].filter(d => d.textContent.includes(' 20 bytes')).length === 2")
	p.Until("the trap", "document.getElementById('traps').textContent.includes('3072 bytes are unread')")
	if wide := p.Eval("document.documentElement.scrollWidth"); wide.(float64) > 390 {
		t.Errorf("the page is %v pixels wide", wide)
	}
	if *pictures != "" {
		picture(t, p, "show.png")
		desk := b.Open(server.URL+"/boss", 1280, 3000)
		desk.Dark()
		desk.Eval("document.querySelector('[data-boss=send-12]').click()")
		for _, press := range []string{"[data-trap=connect]", "[data-trap=send]", "#trial", "[data-twin=write-4]", "[data-twin=turn]"} {
			desk.Eval("document.querySelector('" + press + "').click()")
		}
		desk.Until("who wakes", "document.querySelectorAll('#wakings tr').length === 5")
		picture(t, desk, "show-dark.png")
	}
	if errs := b.Errors(); len(errs) > 0 {
		t.Errorf("errors of the page: %q", errs)
	}
}

func picture(t *testing.T, p *browsertest.Page, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(*pictures, name), p.Screenshot(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestBoss: requests wait in the queue while there are no workers, and are all served
// by one.
func TestBoss(t *testing.T) {
	t.Parallel()
	server := serve(t)
	look := func(act string) (b BossLook) {
		t.Helper()
		if code := post(t, server.URL+"/boss/"+act, &b); code != http.StatusOK {
			t.Fatalf("%s: %d", act, code)
		}
		return b
	}
	look("slow-0")
	look("workers-0")
	look("send-12")
	look("send-12")
	epitest.WaitUntil(t, "all connections are in the queue", func() bool { return len(look("look").Queue) == bossConns })
	if b := look("look"); b.Served != 0 || b.Conns[0].Asked != 2 || len(b.Busy) != 0 {
		t.Errorf("nobody works: %+v", b)
	}
	look("workers-1")
	epitest.WaitUntil(t, "all is served", func() bool { return look("look").Served == 2*bossConns })
	if b := look("look"); len(b.Queue) != 0 || b.Longest != bossConns || b.Conns[3].Asked != 0 {
		t.Errorf("at the end %+v", b)
	}
}

// TestWhoWakes: of what is written to a pipe that several threads wait for.
func TestWhoWakes(t *testing.T) {
	t.Parallel()
	for _, a := range arrangements {
		least, most := 1, 1
		switch {
		case a.mode == poll.Level:
			least, most = waiterCount, waiterCount
		case a.mode == poll.Exclusive:
			most = waiterCount // one, or more: epoll_ctl(2)
		}
		quiet := settled(10 * time.Millisecond)
		woken, err := trial(a.shared, a.mode, func(n int) bool { return quiet(n) && n >= least })
		if err != nil {
			t.Fatalf("%s: %v", a.name, err)
		}
		n := 0
		for _, after := range woken {
			if after >= 0 {
				n++
			}
		}
		if n < least || n > most {
			t.Errorf("%s: %d threads woke, want %d to %d", a.name, n, least, most)
		}
	}
}

// TestTwins: both servers answer all clients, the one by readiness with a read and a
// write for each, the other with one system call a turn.
func TestTwins(t *testing.T) {
	t.Parallel()
	if missing := epitest.UringMissing(); missing != "" {
		t.Skip(missing)
	}
	server := serve(t)
	var calls, answered [2]int
	press := func(act string) []TwinAnswer {
		t.Helper()
		var answers []TwinAnswer
		if code := post(t, server.URL+"/twin/"+act, &answers); code != http.StatusOK || len(answers) != 2 {
			t.Fatalf("%s: %d", act, code)
		}
		for i, a := range answers {
			calls[i] += a.Calls
			answered[i] += a.Answered
		}
		return answers
	}
	press("turn") // the one finds nobody, the other begins to receive
	press("write-4")
	epitest.WaitUntil(t, "all are answered", func() bool {
		press("turn")
		return answered == [2]int{20, 20}
	})
	if calls[0] < 2+2*twinConns || calls[1] >= calls[0] {
		t.Errorf("the system calls were %v", calls)
	}
}

// TestTrap: who reads, or accepts, once for each edge sleeps on the rest.
func TestTrap(t *testing.T) {
	t.Parallel()
	server := serve(t)
	for i, step := range []struct {
		act      string
		unread   [3]int // edge and once, edge until EAGAIN, level
		stranded [3]int
	}{
		{"send", [3]int{3072, 0, 0}, [3]int{}},
		{"nudge", [3]int{2049, 0, 0}, [3]int{}},
		{"connect", [3]int{2049, 0, 0}, [3]int{2, 0, 0}},
		{"again", [3]int{}, [3]int{}},
		{"send", [3]int{3072, 0, 0}, [3]int{}},
	} {
		var answers []TrapAnswer
		if code := post(t, server.URL+"/trap/"+step.act, &answers); code != http.StatusOK || len(answers) != 3 {
			t.Fatalf("step %d, %s: %d", i, step.act, code)
		}
		for j, a := range answers {
			if a.Unread != step.unread[j] || a.Stranded != step.stranded[j] {
				t.Errorf("step %d, %s: %+v, want %d bytes and %d clients", i, step.act, a, step.unread[j], step.stranded[j])
			}
		}
	}
}
