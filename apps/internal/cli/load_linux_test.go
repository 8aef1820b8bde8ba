package cli

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi/apps/lab/load"
	"github.com/epinet/epi/internal/epitest"
)

func TestWrongLoadsExitWith2(t *testing.T) {
	const target = "tcp://127.0.0.1:7000"
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{nil, []string{"no target", "tcp://host:port", "epi load --help"}},
		{[]string{"127.0.0.1:7000"}, []string{"127.0.0.1:7000", "no scheme", "unix:///path"}},
		{[]string{"sctp://127.0.0.1:7000"}, []string{"sctp", "unknown scheme"}},
		{[]string{"tcp://192.0.2.1:7000"}, []string{"192.0.2.1", "loopback", "--allow-remote"}},
		{[]string{target, "--conns", "x"}, []string{"--conns", `"x"`, "whole number"}},
		{[]string{target, "--conns", "0"}, []string{"--conns", `"0"`, "from 1"}},
		{[]string{target, "--depth", "0"}, []string{"--depth", `"0"`, "from 1"}},
		{[]string{target, "--loops", "0"}, []string{"--loops", `"0"`, "from 1"}},
		{[]string{target, "--server", "0"}, []string{"--server", `"0"`, "from 1"}},
		{[]string{target, "--active", "0", "--rate", "10"}, []string{"none is active", "1 or more"}},
		{[]string{target, "--active", "7", "--conns", "5"}, []string{"7 of 5", "at most 5"}},
		{[]string{target, "--rate", "0"}, []string{"--rate", `"0"`, "above 0"}},
		{[]string{target, "--rate", "2e9"}, []string{"2e+09", "at most 1e+09"}},
		{[]string{target, "--size", "big"}, []string{"--size", `"big"`, "uniform:64-1024"}},
		{[]string{target, "--size", "1MiB", "--depth", "100"}, []string{"100 messages", "at most 64"}},
		{[]string{target, "--duration", "0"}, []string{"--duration", `"0"`, "above 0"}},
		{[]string{target, "--driver", "kqueue"}, []string{"--driver", `"kqueue"`}},
	} {
		t.Run(describe(c.args), func(t *testing.T) {
			code, stdout, stderr := call(append([]string{"load"}, c.args...)...)
			if code != exitUsage || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			expectOneLine(t, stderr, c.words...)
		})
	}
}

func TestLoadThatCannotBeMadeExitsWith1(t *testing.T) {
	dir := t.TempDir()
	nobody := "unix://" + filepath.Join(dir, "nobody")
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{[]string{nobody}, []string{nobody, "no connection", "no such socket"}},
		{[]string{nobody, "--hdr", filepath.Join(dir, "no", "x.hgrm")}, []string{"--hdr", "x.hgrm", "no such file"}},
		{[]string{nobody, "--hdr", filepath.Join(dir, "x.hgrm")}, []string{nobody, "no connection"}},
		{[]string{"tcp://host.invalid:7000"}, []string{"host.invalid"}},
		{[]string{"unixgram://" + filepath.Join(dir, "nobody")}, []string{"unixgram://", "/nobody: dial unixgram://", "no such file"}},
	} {
		code, stdout, stderr := call(append([]string{"load", "--conns", "2", "--patience", epitest.Patience.String()}, c.args...)...)
		if code != exitFailed || stdout != "" {
			t.Errorf("%v: exit code %d, stdout %q", c.args, code, stdout)
		}
		expectOneLine(t, stderr, c.words...)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("files stay behind: %v, %v", names, err)
	}
}

// A load whose connections all fail says why once, not for each.
func TestLoadThatIsRefusedSaysSoOnce(t *testing.T) {
	p := start(t, "echo", "--json", "--listen", "tls://127.0.0.1:0")
	target := await[startEvent](p, "start").Listen[0]
	_, stderr := start(t, "load", "--conns", "5", "--patience", epitest.Patience.String(), target).end(exitFailed)
	expectOneLine(t, stderr, target, "no connection", "certificate")
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

// startEcho starts a server for loads.
func startEcho(t *testing.T) (p *process, target string) {
	t.Helper()
	p = start(t, "echo", "--json", "--listen", "tcp://127.0.0.1:0")
	return p, await[startEvent](p, "start").Listen[0]
}

func (p *process) drain() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

func TestLoadText(t *testing.T) {
	server, target := startEcho(t)
	defer server.drain()
	hdr := filepath.Join(t.TempDir(), "x.hgrm")
	var stdout, stderr string
	epitest.WaitUntil(t, "an answer in the measured time", func() bool { // in which the server may not have been run
		stdout, stderr = start(t, "load", target, "--conns", "10", "--active", "4", "--depth", "2", "--size", "uniform:1-100",
			"--verify", "--duration", "50ms", "--warmup", "0", "--loops", "1", "--patience", epitest.Patience.String(), "--hdr", hdr).end(exitDone)
		return !strings.Contains(stdout, "\nrequests     0 in ")
	})
	const number, span = `\d+(\.\d+)?`, `\d+(\.\d+)?(µs|ms|s)`
	want := `target       ` + regexp.QuoteMeta(target) + `
load         closed loop, 10 connections, 4 active, 2 in flight on each, uniform:1-100 bytes, verified
driver       ` + bestDriver() + `, 1 loop
connections  10 open, 0 failed, \d+/s
set-up       p50 ` + span + `  p99 ` + span + `  max ` + span + `
requests     \d+ in 0.1 s: \d+/s, ` + number + ` MB/s each way
latency      p50 ` + span + `  p90 ` + span + `  p99 ` + span + `  p99.9 ` + span + `  max ` + span + `
cpu          ` + number + ` µs per request, \d+% of one CPU
errors       none
`
	if !regexp.MustCompile("^"+want+"$").MatchString(stdout) || stderr != "" {
		t.Errorf("stdout\n%sstderr %q", stdout, stderr)
	}
	if text, err := os.ReadFile(hdr); err != nil || !strings.Contains(string(text), "#[Max ") {
		t.Errorf("the percentile file: %q, %v", text, err)
	}
}

func TestLoadJSONOpenLoop(t *testing.T) {
	server, target := startEcho(t)
	defer server.drain()
	stdout, _ := start(t, "load", target, "--json", "--conns", "3", "--rate", "1000", "--duration", "50ms", "--warmup", "10ms",
		"--patience", epitest.Patience.String()).end(exitDone)
	var e loadEvent
	if err := json.Unmarshal([]byte(stdout), &e); err != nil {
		t.Fatal(err)
	}
	if e.Event != "load" || e.Mode != "open" || e.Rate != 1000 || e.Setup.Opened != 3 || e.Histogram.Count() != e.Latency.Count {
		t.Errorf("%s", stdout)
	}
	if text := e.text(); !strings.Contains(text, "late ") || !strings.Contains(text, "open loop, 1000 messages/s") || !strings.Contains(text, "at most 64") {
		t.Errorf("as text\n%s", text)
	}
}

// The loader may open so few files that it needs children; the server may not.
func TestLoadWithFewFilesHasChildren(t *testing.T) {
	server, target := startEcho(t)
	defer server.drain()
	stdout, stderr := startAs(t, "few files", "load", target, "--conns", "90", "--duration", "50ms", "--warmup", "0", "--loops", "1",
		"--patience", epitest.Patience.String()).end(exitDone)
	for _, words := range []string{"child processes", "90 open, 0 failed", "1 loop in each of", "errors       none"} {
		if !strings.Contains(stdout, words) {
			t.Errorf("%q is not in\n%s", words, stdout)
		}
	}
	if stderr != "" {
		t.Errorf("stderr %q", stderr)
	}
}

func TestInterruptedLoadTellsWhatItHas(t *testing.T) {
	for _, role := range []string{"epi", "few files"} {
		t.Run(role, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			p := startAs(t, role, "load", "tcp://"+ln.Addr().String(), "--conns", "60", "--loops", "1", "--warmup", "0", "--duration", "1h",
				"--patience", epitest.Patience.String())
			answered := make(chan struct{}, 60)
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					_ = c.SetDeadline(time.Now().Add(epitest.Patience))
					go func() {
						defer c.Close()
						_, _ = io.CopyN(c, c, 640)
						answered <- struct{}{}
						_, _ = io.Copy(c, c)
					}()
				}
			}()
			for range 60 {
				epitest.Receive(t, answered)
			}
			p.signal(syscall.SIGINT)
			stdout, stderr := p.end(exitDone)
			if !strings.HasPrefix(stdout, "partial      interrupted after ") || !strings.Contains(stdout, "60 open") || stderr != "" {
				t.Errorf("stdout\n%sstderr %q", stdout, stderr)
			}
		})
	}
}

func TestErrorsUnderLoadExitWith1(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(c, make([]byte, 64))
			_, _ = c.Write(make([]byte, 64))
			_ = c.Close()
		}
	}()
	code, stdout, stderr := call("load", "tcp://"+ln.Addr().String(), "--conns", "1", "--verify", "--patience", epitest.Patience.String())
	if code != exitFailed || !strings.Contains(stdout, "mismatch     connection 0, message 0, byte") || !strings.Contains(stdout, "1 × wrong bytes came back") {
		t.Errorf("exit code %d, stdout\n%s", code, stdout)
	}
	expectOneLine(t, stderr, "wrong bytes", "connection 0")
}

func TestChildWithoutParent(t *testing.T) {
	_, stderr := start(t, "load", "--child").end(exitFailed)
	expectOneLine(t, stderr, "child", "parent")
}

// A line that is replaced by the next must not wrap.
func TestProgressFitsALine(t *testing.T) {
	e := progressEvent{seconds: 1, now: load.Progress{Phase: "connecting", Open: 999_999, Requests: 999_999_999, Bytes: 9 << 40, Errors: 9999, CPU: 2 * time.Second}}
	if text := e.text(); len([]rune(text)) > 81 || strings.Count(text, "\n") != 1 {
		t.Errorf("%d columns: %q", len([]rune(text))-1, text)
	}
}

// A server whose certificate has escape sequences and lines in the program's manner
// writes neither to the terminal.
func TestHostile08_ServersTextIsPlain(t *testing.T) {
	server, _, err := epitest.SelfSigned("\x1b[2J\x1b]0;title\a\nerrors       none")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			_ = c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for _, format := range []string{"--json=false", "--json"} {
		code, stdout, stderr := call("load", "tls://localhost:"+port, "--conns", "1", "--patience", epitest.Patience.String(), format)
		if code != exitFailed || strings.ContainsAny(stdout+stderr, "\x1b\a") {
			t.Errorf("%s: exit code %d, the text is %q", format, code, stdout+stderr)
		}
		expectOneLine(t, stderr, `valid for \x1b[2J\x1b]0;title\a`)
	}
}
