package live

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watched starts an echo server and its view, which is quick.
func watched(t *testing.T, m epitest.Mode, o Options) (*epitest.Server, *epi.Engine, *httptest.Server) {
	t.Helper()
	return watchedEvery(t, 20*time.Millisecond, m, o)
}

func watchedEvery(t *testing.T, every time.Duration, m epitest.Mode, o Options) (*epitest.Server, *epi.Engine, *httptest.Server) {
	t.Helper()
	e := m.Engine()
	s := epitest.Start(t, e, epitest.EchoHandler)
	view := New(e, o)
	view.frameEvery, view.tableEvery = every, every
	pages := httptest.NewServer(view.Handler())
	t.Cleanup(func() {
		view.Close()
		pages.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return s, e, pages
}

// A browser reads a stream of events as one does.
type browser struct {
	t    *testing.T
	in   *bufio.Scanner
	stop func()
}

func look(t *testing.T, url string) *browser {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), epitest.Patience)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if kind := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || kind != "text/event-stream" {
		t.Fatalf("%s: %s, %s", url, answer.Status, kind)
	}
	in := bufio.NewScanner(answer.Body)
	in.Buffer(nil, 1<<20)
	b := &browser{t: t, in: in, stop: func() { cancel(); _ = answer.Body.Close() }}
	t.Cleanup(b.stop)
	return b
}

// await reads events until one of that name satisfies.
func await[T any](b *browser, name string, satisfies func(T) bool) T {
	b.t.Helper()
	event := ""
	for b.in.Scan() {
		if value, is := strings.CutPrefix(b.in.Text(), "event: "); is {
			event = value
		}
		data, is := strings.CutPrefix(b.in.Text(), "data: ")
		if !is || event != name {
			continue
		}
		var what T
		if err := json.Unmarshal([]byte(data), &what); err != nil {
			b.t.Fatalf("%s: %v: %s", name, err, data)
		}
		if satisfies(what) {
			return what
		}
	}
	b.t.Fatalf("the stream has ended before the %s that was waited for: %v", name, b.in.Err())
	panic("unreachable")
}

func act(t *testing.T, url string, header ...string) (status int, text string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range header {
		r.Header.Set(name, "test")
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// What a server does is in its stream, and the buttons act on the connection.
func TestStreamShowsWhatTheEngineDoes(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s, e, pages := watched(t, m, Options{Name: "a server", Write: true})
		client := s.Dial()
		epitest.RoundTrip(t, client, "hello")
		b := look(t, pages.URL+"/live/events")
		hello := await(b, "hello", func(hello) bool { return true })
		if hello.Name != "a server" || !hello.Write || hello.Loops != len(e.Stats().Loops) || strings.Join(hello.Phases, " ") != "wait dispatch tasks timers flush close" {
			t.Errorf("the hello is %+v", hello)
		}
		table := await(b, "conns", func(p page) bool { return p.Total == 1 && p.Rows[0].State == "open" })
		if r := table.Rows[0]; r.Peer != client.LocalAddr().String() || r.Paused {
			t.Errorf("the connection of %v is %+v", client.LocalAddr(), r)
		}
		epitest.RoundTrip(t, client, "hello again")
		await(b, "frame", func(f frame) bool {
			for _, l := range f.Loops {
				if l.Noted > 0 && len(l.Turns) > 0 && len(l.Turns[0]) == 3+len(l.Phases) && l.Waits > 0 {
					return f.Conns == 1
				}
			}
			return false
		})

		conn := fmt.Sprintf("%s/live/conns/%d/", pages.URL, table.Rows[0].ID)
		for _, step := range []struct {
			act  string
			done func(p page) bool
		}{
			{"pause", func(p page) bool { return p.Total == 1 && p.Rows[0].Paused }},
			{"resume", func(p page) bool { return p.Total == 1 && !p.Rows[0].Paused }},
			{"close", func(p page) bool { return p.Total == 0 }},
		} {
			if status, text := act(t, conn+step.act, actHeader); status != http.StatusNoContent {
				t.Fatalf("%s: %d, %s", step.act, status, text)
			}
			await(b, "conns", step.done)
		}
		epitest.ExpectEOF(t, client)
		await(b, "frame", func(f frame) bool { return f.Closed["close"] == 1 })
		if status, _ := act(t, conn+"pause", actHeader); status != http.StatusNotFound {
			t.Errorf("a closed connection: %d", status)
		}
		b.stop()
		epitest.WaitUntil(t, "nobody looks", func() bool { return tapped(t, e) })
	})
}

// tapped reports whether nobody else has the engine's tap.
func tapped(t *testing.T, e *epi.Engine) bool {
	t.Helper()
	tap, err := e.Tap(1)
	if err != nil {
		if !errors.Is(err, epi.ErrTapped) {
			t.Fatal(err)
		}
		return false
	}
	tap.Close()
	return true
}

// A loop that is held up is seen while it is, and its connections stay in the table.
func TestStreamShowsALoopThatIsHeldUp(t *testing.T) {
	t.Parallel()
	s, e, pages := watched(t, epitest.Mode{}, Options{})
	epitest.RoundTrip(t, s.Dial(), "hello")
	l, err := e.Loop(0)
	if err != nil {
		t.Fatal(err)
	}
	b := look(t, pages.URL+"/live/events?sort=age")
	await(b, "conns", func(p page) bool { return p.Total == 1 && p.Sort == "age" })
	release := epitest.Hold(t, l)
	defer release()
	await(b, "frame", func(f frame) bool { return f.Loops[0].Phase == "tasks" && f.Loops[0].Since > 1e5 })
	late := look(t, pages.URL+"/live/events")
	await(late, "conns", func(p page) bool { return p.Total == 1 })
}

// What may not be done says why.
func TestRefusals(t *testing.T) {
	t.Parallel()
	_, _, looks := watched(t, epitest.Mode{}, Options{})
	_, _, writes := watched(t, epitest.Mode{}, Options{Write: true})
	for _, test := range []struct {
		url    string
		header string
		status int
		word   string
	}{
		{looks.URL + "/live/conns/1/close", actHeader, http.StatusForbidden, "--admin-write"},
		{writes.URL + "/live/conns/1/close", "Accept", http.StatusForbidden, actHeader},
		{writes.URL + "/live/conns/1/close", actHeader, http.StatusNotFound, "not in the table"},
		{writes.URL + "/live/conns/-1/close", actHeader, http.StatusNotFound, "not in the table"},
		{writes.URL + "/live/conns/1/format", actHeader, http.StatusNotFound, "pause, resume or close"},
		{writes.URL + "/live", actHeader, http.StatusMethodNotAllowed, ""},
	} {
		if status, text := act(t, test.url, test.header); status != test.status || !strings.Contains(text, test.word) {
			t.Errorf("%s: %d %q, want %d", test.url, status, text, test.status)
		}
	}
	answer, err := http.Get(looks.URL + "/live/events?sort=luck")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusBadRequest {
		t.Errorf("sorting by luck: %d", answer.StatusCode)
	}
}

// The number of pages that look is bounded, and one that leaves makes room.
func TestViewersAreBounded(t *testing.T) {
	t.Parallel()
	_, _, pages := watched(t, epitest.Mode{}, Options{})
	first := look(t, pages.URL+"/live/events")
	for range mostViewers - 1 {
		look(t, pages.URL+"/live/events")
	}
	status := func() int {
		answer, err := http.Get(pages.URL + "/live/events")
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	if code := status(); code != http.StatusServiceUnavailable {
		t.Errorf("one viewer too many: %d", code)
	}
	first.stop()
	epitest.WaitUntil(t, "there is room", func() bool { return status() == http.StatusOK })
}

// A long table is sent in part: what it is sorted by comes first.
func TestPagesOfATable(t *testing.T) {
	all := &table{}
	for id := range uint64(2 * tableRows) {
		all.rows = append(all.rows, &row{ID: id + 1, Rate: int64(id % 7), Queued: int(id), State: "open"})
	}
	p := all.page("queued")
	if p.Total != 2*tableRows || len(p.Rows) != tableRows || p.Rows[0].Queued != 2*tableRows-1 {
		t.Errorf("the page has %d of %d rows, the first of %+v", len(p.Rows), p.Total, p.Rows[0])
	}
	if first := all.page("rate").Rows[0]; first.Rate != 6 || first.ID != 7 {
		t.Errorf("the first top talker is %+v", first)
	}
	if c := all.find(2*tableRows + 1); c != nil {
		t.Error("a connection was found that is not there")
	}
}

// A browser that takes nothing is replaced its frames, and nobody waits for it.
func TestReplace(t *testing.T) {
	to := make(chan int, 1)
	for i := range 3 {
		replace(to, i)
	}
	if got := <-to; got != 2 {
		t.Errorf("what waits is %d", got)
	}
}

// The rate of a connection is of the time between two looks.
func TestRates(t *testing.T) {
	e := epitest.Mode{}.Engine()
	opened := make(chan *epi.Conn, 1)
	s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
		return &epitest.Funcs{Open: func(c *epi.Conn) error { opened <- c; return nil }, Data: epitest.Echo}
	})
	client := s.Dial()
	c := epitest.Receive(t, opened)
	w := &watch{view: New(e, Options{}), engine: e, known: map[*epi.Conn]*row{}}
	now := time.Now()
	first := w.look([]*epi.Conn{c}, now)
	epitest.RoundTrip(t, client, strings.Repeat("x", 1000))
	if acknowledged, _ := c.Delivered(); acknowledged == 0 {
		t.Skip("this system does not count what has moved")
	}
	second := w.look([]*epi.Conn{c}, now.Add(2*time.Second))
	if a, b := first.rows[0], second.rows[0]; a.ID != b.ID || a.Rate != 0 || b.In != 1000 || b.Rate < 500 {
		t.Errorf("first %+v, two seconds later %+v", a, b)
	}
}
