package cli

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

func TestStartText(t *testing.T) {
	t.Setenv("GOMAXPROCS", "3") // fewer than loops would be warned of
	path := filepath.Join(t.TempDir(), "echo.sock")
	p := start(t, "echo", "--listen", "tcp://127.0.0.1:0", "--listen", "unix://"+path,
		"--driver", "poll", "--loops", "3", "--workers", "2", "--wait", "spin:50us", "--max-conns", "7")
	var text strings.Builder
	for range 7 {
		line, err := p.out.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(line)
	}
	want := `listening on tcp://127\.0\.0\.1:[1-9]\d*
listening on unix://` + regexp.QuoteMeta(path) + `
driver       poll \(as asked for\)
loops        3
workers      2
wait         spin:50µs
connections  at most 7 \(room for \d+; open files: limit \d+, \d+ in use\)
`
	if !regexp.MustCompile("^" + want + "$").MatchString(text.String()) {
		t.Errorf("the start text is\n%s", &text)
	}
	p.signal(syscall.SIGINT)
	if rest, stderr := p.end(exitDone); !strings.HasPrefix(rest, "accepted     0\n") || stderr != "" {
		t.Errorf("stdout %q, stderr %q", rest, stderr)
	}
}

func TestEchoOverEveryNetwork(t *testing.T) {
	path := filepath.Join(t.TempDir(), "echo.sock")
	args := []string{"echo", "--json", "--listen", "tcp://127.0.0.1:0", "--listen", "tcp4://127.0.0.1:0", "--listen", "unix://" + path}
	if ln, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		_ = ln.Close()
		args = append(args, "--listen", "tcp6://[::1]:0")
	} else {
		t.Logf("without IPv6, which this machine does not have: %v", err)
	}
	p := start(t, args...)
	begun := await[startEvent](p, "start")
	for _, address := range begun.Listen {
		c := dial(t, address)
		epitest.RoundTrip(t, c, "hello "+address)
		epitest.CloseWrite(t, c)
		epitest.ExpectEOF(t, c)
	}
	p.signal(syscall.SIGTERM)
	totals := await[totalsEvent](p, "totals")
	if n := uint64(len(begun.Listen)); totals.Accepted != n || totals.Closed != n || totals.Shed != 0 || totals.BytesIn != totals.BytesOut {
		t.Errorf("the totals are %+v", totals)
	}
	p.end(exitDone)
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket file stays behind: %v", err)
	}
}

// bestDriver is what auto chooses on this machine.
func bestDriver() string {
	if epitest.UringMissing() == "" {
		return "uring"
	}
	return "epoll-edge"
}

// Every driver returns 8 MiB to a client that half-closes and reads meanwhile.
func TestEchoHalfClose(t *testing.T) {
	data := epitest.Pattern(8 << 20)
	rows := []struct{ flag, loops, workers string }{
		{"select", "select", "select"},
		{"poll", "poll", "poll"},
		{"epoll", "epoll-edge", "epoll-oneshot"},
		{"epoll-level", "epoll-level", "epoll-oneshot"},
		{"epoll-edge", "epoll-edge", "epoll-oneshot"},
		{"epoll-oneshot", "epoll-oneshot", "epoll-oneshot"},
		{"auto", bestDriver(), "epoll-oneshot"},
		{"portable", "portable", "portable"},
	}
	if epitest.UringMissing() == "" {
		rows = append(rows, struct{ flag, loops, workers string }{"uring", "uring", "uring-poll"})
	}
	for _, c := range rows {
		for workers, driver := range map[string]string{"0": c.loops, "2": c.workers} {
			t.Run(c.flag+"/"+workers, func(t *testing.T) {
				p := start(t, "echo", "--json", "--listen", "tcp://127.0.0.1:0", "--driver", c.flag, "--workers", workers)
				begun := await[startEvent](p, "start")
				if begun.Driver != driver {
					t.Errorf("the driver is %s, want %s", begun.Driver, driver)
				}
				client := dial(t, begun.Listen[0])
				sent := make(chan error, 1)
				go func() {
					_, err := client.Write(data)
					sent <- errors.Join(err, client.(*net.TCPConn).CloseWrite())
				}()
				got, err := io.ReadAll(client)
				if err := errors.Join(err, <-sent); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, data) {
					t.Fatalf("%d bytes came back, not the %d that were sent", len(got), len(data))
				}
				p.signal(syscall.SIGTERM)
				if totals := await[totalsEvent](p, "totals"); totals.BytesOut != uint64(len(data)) {
					t.Errorf("the totals are %+v", totals)
				}
				p.end(exitDone)
			})
		}
	}
}

func TestEchoWithNetcat(t *testing.T) {
	const install = "install netcat-openbsd: apt-get install netcat-openbsd"
	nc, err := exec.LookPath("nc")
	if err != nil {
		t.Skip(install)
	}
	if help, _ := exec.Command(nc, "-h").CombinedOutput(); !bytes.Contains(help, []byte("OpenBSD")) {
		t.Skip("this nc is another: " + install)
	}
	p := start(t, "echo", "--listen", "tcp://127.0.0.1:0")
	_, port, _ := strings.Cut(p.line("listening on tcp://"), ":")
	cmd := exec.Command(nc, "-N", "127.0.0.1", port)
	cmd.Stdin = strings.NewReader("hello\n")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "hello\n" {
		t.Errorf("nc prints %q, %v", out, err)
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

func TestStatsLines(t *testing.T) {
	p := start(t, "echo", "--listen", "tcp://127.0.0.1:0", "--stats", "20ms")
	epitest.RoundTrip(t, dial(t, p.line("listening on ")), "hello")
	want := regexp.MustCompile(`^conns  in +\d+(\.\d)? \w+/s  out +\d+(\.\d)? \w+/s +\d+\.\d events/wait  cpu +\d+%$`)
	if line := p.line("     1 "); !want.MatchString(line) {
		t.Errorf("the line is %q", line)
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

func TestStatsAsJSON(t *testing.T) {
	p := start(t, "echo", "--json", "--listen", "tcp://127.0.0.1:0", "--stats", "20ms")
	epitest.RoundTrip(t, dial(t, await[startEvent](p, "start").Listen[0]), "hello")
	for {
		if s := await[statsEvent](p, "stats"); s.BytesIn == 5 && s.BytesOut == 5 && s.Connections == 1 {
			break
		}
	}
	p.signal(syscall.SIGTERM)
	await[totalsEvent](p, "totals")
	if rest, _ := p.end(exitDone); rest != "" {
		t.Errorf("after the totals comes %q", rest)
	}
}
