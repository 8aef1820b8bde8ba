package examples

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/internal/epitest"
)

// TestHTTP has net/http's client talk to examples/http, over one connection.
func TestHTTP(t *testing.T) {
	t.Parallel()
	address := serve(t, "http")
	client := &http.Client{Timeout: epitest.Patience, Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	body := epitest.Pattern(1 << 20)
	for _, c := range []struct {
		method, path string
		body         []byte
		status       int
		want         string
	}{
		{http.MethodGet, "/", nil, 200, "hello\n"},
		{http.MethodHead, "/", nil, 200, ""},
		{http.MethodPost, "/echo", []byte("a"), 200, "a"},
		{http.MethodPost, "/echo", body, 200, string(body)},
		{http.MethodGet, "/echo", nil, 405, ""},
		{http.MethodGet, "/nowhere", nil, 404, ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+address+c.path, bytes.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatalf("%s %.20s: %v", c.method, c.path, err)
		}
		got, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != c.status || string(got) != c.want {
			t.Errorf("%s %.20s: %d with %d bytes, %v; want %d with %d", c.method, c.path, response.StatusCode, len(got), err, c.status, len(c.want))
		}
	}
}

// TestHTTP_Pipeline sends requests, and what is none, before it reads an answer.
func TestHTTP_Pipeline(t *testing.T) {
	t.Parallel()
	c, err := net.Dial("tcp", serve(t, "http"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	const echo = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
	if _, err := io.WriteString(c, strings.Repeat(echo, 3)+"NONSENSE\r\n\r\n"+echo); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	for i, want := range []int{200, 200, 200, 400} {
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != want || want == 200 && string(got) != "hello" {
			t.Errorf("answer %d: %d with %q, %v", i, response.StatusCode, got, err)
		}
	}
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Errorf("behind the last: %q, %v", rest, err)
	}
}

// TestHTTP_Refuses says why, and closes.
func TestHTTP_Refuses(t *testing.T) {
	t.Parallel()
	address := serve(t, "http")
	for sent, want := range map[string]int{
		"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n":                413,
		"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n":             501,
		"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n": 400,
		"PRI * HTTP/2.0\r\n\r\n":                           400,
		"GET /" + strings.Repeat("x", 16<<10-len("GET /")): 431,
	} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(c, sent); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(c)
		response, err := http.ReadResponse(in, nil)
		if err != nil || response.StatusCode != want {
			t.Fatalf("%.40q: %v, %v, want %d", sent, response, err, want)
		}
		if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
			t.Errorf("%.40q: behind the answer: %q, %v", sent, rest, err)
		}
	}
}

// TestHTTP_Curl waits for 100 Continue before the body.
func TestHTTP_Curl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	address := serve(t, "http")
	out, err := exec.CommandContext(t.Context(), "curl", "-sS", "--max-time", "50", "-H", "Expect: 100-continue", "-d", "hello", "http://"+address+"/echo", "http://"+address+"/echo").CombinedOutput()
	if err != nil || string(out) != "hellohello" {
		t.Errorf("curl: %q, %v", out, err)
	}
}

// TestHTTP_Wrk asks over and over again, on several connections.
func TestHTTP_Wrk(t *testing.T) {
	t.Parallel()
	address := serve(t, "http")
	out := runWrk(t, "http://"+address+"/")
	if strings.Contains(out, "Non-2xx") || strings.Contains(out, "Socket errors") {
		t.Errorf("wrk:\n%s", out)
	}
}

// runWrk loads a server for a second, and returns what wrk prints of it.
func runWrk(t *testing.T, url string) string {
	t.Helper()
	if _, err := exec.LookPath("wrk"); err != nil {
		t.Skip("wrk is not installed")
	}
	out, err := exec.CommandContext(t.Context(), "wrk", "-c", "10", "-t", "1", "-d", "1s", "--timeout", "50s", url).CombinedOutput()
	if err != nil {
		t.Fatalf("wrk: %v\n%s", err, out)
	}
	return string(out)
}
