package cli

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

// smallWindow is a dialer whose connections take few bytes that nobody reads.
func smallWindow() *net.Dialer {
	return &net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
		})
		if err != nil {
			return err
		}
		return failed
	}}
}

// stuck starts a server that has read n bytes from a client that has read
// nothing back yet.
func stuck(t *testing.T, n int, args ...string) (*process, net.Conn) {
	t.Helper()
	p, _, c := startStuck(t, n, args...)
	return p, c
}

// startStuck is stuck, with what the server told at its start.
func startStuck(t *testing.T, n int, args ...string) (*process, startEvent, net.Conn) {
	t.Helper()
	p := start(t, append([]string{"echo", "--json", "--stats", "20ms", "--listen", "tcp://127.0.0.1:0",
		"--drain-timeout", epitest.Patience.String(), "--linger", epitest.Patience.String()}, args...)...)
	begun := await[startEvent](p, "start")
	c := dialWith(t, smallWindow(), begun.Listen[0])
	if _, err := c.Write(epitest.Pattern(n)); err != nil {
		t.Fatal(err)
	}
	for await[statsEvent](p, "stats").BytesIn < uint64(n) {
	}
	return p, begun, c
}

// belowHighWater is read by the server to the last byte, though the client
// reads nothing.
const belowHighWater = 240 << 10

// client: 240 KiB ───────────────────────────► reads everything ─► end
// server:            SIGTERM ─► draining ─────►                      ─► exit 0
func TestSignalDrains(t *testing.T) {
	for _, sent := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		for _, workers := range []string{"0", "2"} {
			t.Run(sent.String()+"/"+workers, func(t *testing.T) {
				if sent == syscall.SIGHUP && signal.Ignored(syscall.SIGHUP) {
					t.Skip("the tests were told to outlive their terminal (nohup), and so is the server")
				}
				p, c := stuck(t, belowHighWater, "--workers", workers)
				p.signal(sent)
				if e := await[drainingEvent](p, "draining"); e.Connections != 1 {
					t.Errorf("draining %d connections", e.Connections)
				}
				got, err := io.ReadAll(c)
				if err != nil || !bytes.Equal(got, epitest.Pattern(belowHighWater)) {
					t.Errorf("%d of %d bytes came back: %v", len(got), belowHighWater, err)
				}
				totals := await[totalsEvent](p, "totals")
				if totals.Closed != 1 || totals.BytesOut != belowHighWater {
					t.Errorf("the totals are %+v", totals)
				}
				if _, stderr := p.end(exitDone); stderr != "" {
					t.Errorf("stderr %q", stderr)
				}
			})
		}
	}
}

// A client that goes on sending while the server drains gets everything that
// was written for it, and the end of the stream instead of a reset.
func TestSignalInMidTransfer(t *testing.T) {
	for _, workers := range []string{"0", "2"} {
		t.Run(workers, func(t *testing.T) {
			p := start(t, "echo", "--json", "--listen", "tcp://127.0.0.1:0", "--workers", workers,
				"--drain-timeout", epitest.Patience.String(), "--linger", epitest.Patience.String())
			c := dial(t, await[startEvent](p, "start").Listen[0])
			pattern := epitest.Pattern(1 << 20)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for {
					if _, err := c.Write(pattern); err != nil {
						return
					}
				}
			}()
			received := 0
			buf := make([]byte, len(pattern))
			for err := error(nil); err == nil; {
				var n int
				n, err = io.ReadFull(c, buf)
				received += n
				if !bytes.Equal(buf[:n], pattern[:n]) {
					t.Error("other bytes came back than were sent")
				}
				if n > 0 && received == 2*len(pattern) { // once: a second signal aborts
					p.signal(syscall.SIGTERM)
				}
				if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
					t.Errorf("after %d bytes: %v", received, err)
				}
			}
			<-sent
			if totals := await[totalsEvent](p, "totals"); totals.BytesOut != uint64(received) {
				t.Errorf("%d bytes came back, the server has sent %d", received, totals.BytesOut)
			}
			p.end(exitDone)
		})
	}
}

func TestSecondSignalAborts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "echo.sock")
	p, _ := stuck(t, belowHighWater, "--listen", "unix://"+path)
	p.signal(syscall.SIGTERM)
	await[drainingEvent](p, "draining")
	p.signal(syscall.SIGINT)
	if totals := await[totalsEvent](p, "totals"); totals.Accepted != 1 {
		t.Errorf("the totals are %+v", totals)
	}
	_, stderr := p.end(exitFailed)
	expectOneLine(t, stderr, "aborted", "1 connection")
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket file stays behind")
	}
}

func TestDrainTimeout(t *testing.T) {
	p, _ := stuck(t, belowHighWater, "--drain-timeout", "50ms")
	p.signal(syscall.SIGTERM)
	if totals := await[totalsEvent](p, "totals"); totals.Closed != 1 {
		t.Errorf("the totals are %+v", totals)
	}
	_, stderr := p.end(exitFailed)
	expectOneLine(t, stderr, "drain timed out", "50ms", "--drain-timeout")
}

func TestDrainText(t *testing.T) {
	p := start(t, "echo", "--listen", "tcp://127.0.0.1:0")
	c := dial(t, p.line("listening on "))
	epitest.RoundTrip(t, c, "hello")
	p.signal(syscall.SIGINT)
	if line := p.line("draining "); line != "1 connection, interrupt again to abort" {
		t.Errorf("the line is %q", line)
	}
	epitest.ExpectEOF(t, c)
	stdout, stderr := p.end(exitDone)
	want := "accepted     1\nclosed       1\nshed         0\nbytes in     5\nbytes out    5\nduration     "
	if !strings.HasPrefix(stdout, want) || stderr != "" {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
}

// Signals that come twice, as some programs send them, abort nothing when there
// is nothing to abort.
func TestSignalTwiceWithoutConnections(t *testing.T) {
	p := start(t, "echo", "--listen", "tcp://127.0.0.1:0")
	p.line("connections ")
	p.signal(syscall.SIGTERM)
	_ = p.cmd.Process.Signal(syscall.SIGINT) // it may have ended
	if _, stderr := p.end(exitDone); stderr != "" {
		t.Errorf("stderr %q", stderr)
	}
}
