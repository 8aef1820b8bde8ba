package cli

import (
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

// get asks the admin server.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	client := &http.Client{Timeout: epitest.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

func TestAdminTellsAboutTheServer(t *testing.T) {
	p := start(t, "echo", "--json", "--listen", "tcp://127.0.0.1:0", "--admin", ":0")
	begun := await[startEvent](p, "start")
	if !strings.HasPrefix(begun.Admin, "http://127.0.0.1:") {
		t.Fatalf("the admin server is at %q", begun.Admin)
	}
	c := dial(t, begun.Listen[0])
	epitest.RoundTrip(t, c, "hello")
	for _, test := range []struct {
		path   string
		status int
		body   string
	}{
		{"/", 200, "^/live\n/metrics\n/healthz\n/debug/pprof\n$"},
		{"/healthz", 200, "^ready\n$"},
		{"/metrics", 200, `(?m)^epi_connections\{loop="0"\} [01]$`},
		{"/metrics", 200, `(?m)^epi_loop_lag_seconds_bucket\{loop="0",le="0.001"\} \d+$`},
		{"/metrics", 200, `(?m)^go_goroutines \d+$`},
		{"/metrics", 200, `(?m)^process_open_fds \d+$`},
		{"/debug/pprof/", 200, "goroutine"},
		{"/debug/pprof/goroutine?debug=1", 200, "epi_loop"},
		{"/nothing", 404, ""},
	} {
		status, body := get(t, begun.Admin+test.path)
		if status != test.status || !regexp.MustCompile(test.body).MatchString(body) {
			t.Errorf("%s: status %d, want %d; the body does not match %s:\n%.2000s", test.path, status, test.status, test.body, body)
		}
	}
	p.signal(syscall.SIGTERM)
	if _, stderr := p.end(exitDone); stderr != "" {
		t.Errorf("stderr: %s", stderr)
	}
}

// ask sends the admin server a request of its own kind.
func ask(t *testing.T, method, url, host string, header ...string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Timeout: epitest.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// Pages that a browser beside the server shows get nothing, and nobody gets a
// profile of any length.
func TestHostile07_AdminIsClosedToPages(t *testing.T) {
	p := start(t, "echo", "--json", "--listen", "tcp://127.0.0.1:0", "--admin", ":0", "--admin-host", "node1.example")
	begun := await[startEvent](p, "start")
	place := strings.TrimPrefix(begun.Admin, "http://")
	_, port, _ := net.SplitHostPort(place)
	for _, test := range []struct {
		method, path, host string
		header             []string
		status             int
		word               string
	}{
		{"GET", "/metrics", "evil.example:" + port, nil, http.StatusMisdirectedRequest, "evil.example"},
		{"GET", "/metrics", "localhost:" + port, nil, 200, "epi_"},
		{"GET", "/metrics", "node1.example:" + port, nil, 200, "epi_"},
		{"GET", "/debug/pprof/cmdline", "rebound.example:" + port, []string{"Sec-Fetch-Site", "same-origin"}, http.StatusMisdirectedRequest, ""},
		{"GET", "/debug/pprof/profile?seconds=1", place, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden, ""},
		{"GET", "/healthz", place, []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden, ""},
		{"POST", "/debug/pprof/symbol", place, nil, http.StatusMethodNotAllowed, ""},
		{"DELETE", "/healthz", place, nil, http.StatusMethodNotAllowed, ""},
		{"GET", "/debug/pprof/profile?seconds=86400", place, nil, http.StatusBadRequest, "at most 60"},
		{"GET", "/debug/pprof/trace?seconds=60.5", place, nil, http.StatusBadRequest, "at most 60"},
		{"GET", "/debug/pprof/heap?seconds=NaN", place, nil, http.StatusBadRequest, "at most 60"},
		{"GET", "/debug/pprof/goroutine?seconds=1&seconds=1e9", place, nil, http.StatusBadRequest, "at most 60"},
	} {
		status, body := ask(t, test.method, begun.Admin+test.path, test.host, test.header...)
		if status != test.status || !strings.Contains(body, test.word) {
			t.Errorf("%s %s of %s %v: status %d, want %d; %.300s", test.method, test.path, test.host, test.header, status, test.status, body)
		}
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

// While the server drains it is not healthy, and the admin server still answers.
//
//	client:  240 KiB, reads nothing
//	server:  ready ......... SIGTERM draining ... SIGTERM aborted
//	admin:   200                     503
func TestAdminSaysDraining(t *testing.T) {
	p, begun, _ := startStuck(t, belowHighWater, "--admin", "127.0.0.1:0")
	p.signal(syscall.SIGTERM)
	await[drainingEvent](p, "draining")
	if status, body := get(t, begun.Admin+"/healthz"); status != http.StatusServiceUnavailable || body != "draining\n" {
		t.Errorf("health is %d %q", status, body)
	}
	p.signal(syscall.SIGTERM)
	p.end(exitFailed)
}

func TestAdminIsInTheStartText(t *testing.T) {
	p := start(t, "echo", "--listen", "tcp://127.0.0.1:0", "--admin", "localhost:0")
	line := p.line("admin        ")
	if !regexp.MustCompile(`^http://\S+:\d+ \(/live, /metrics, /healthz, /debug/pprof\)$`).MatchString(line) {
		t.Errorf("the line is %q", line)
	}
	p.signal(syscall.SIGTERM)
	if _, stderr := p.end(exitDone); stderr != "" {
		t.Errorf("loopback is warned about: %s", stderr)
	}
}

func TestAdminForOtherMachinesIsWarnedAbout(t *testing.T) {
	p := start(t, "echo", "--json", "--listen", "tcp://127.0.0.1:0", "--admin", "0.0.0.0:0")
	await[startEvent](p, "start")
	p.signal(syscall.SIGTERM)
	if _, stderr := p.end(exitDone); !strings.Contains(stderr, "level=WARN") || !strings.Contains(stderr, "other machines") {
		t.Errorf("the log says %q", stderr)
	}
}

func TestAdminThatCannotBeHad(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	code, _, stderr := call("echo", "--listen", "tcp://127.0.0.1:0", "--loops", "1", "--admin", address)
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	expectOneLine(t, stderr, "--admin", address, "in use", "choose another")
}
