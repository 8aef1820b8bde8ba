package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi/internal/epitest"
)

// fewFiles is the limit of open files of the role "few files".
const fewFiles = 64

// nobody is a user without rights.
const nobody = 65534

func TestMain(m *testing.M) {
	epitest.Main(m, map[string]func([]string) error{
		"epi":        program,
		"few files":  limited(fewFiles, fewFiles),
		"no files":   limited(16, 16),
		"soft limit": limited(fewFiles, 0),
		"full disk":  fullDisk,
		"activated":  activated,
		"unheard":    unheard,
		"nobody": func(args []string) error {
			if err := syscall.Setuid(nobody); err != nil {
				return err
			}
			return program(args)
		},
	})
}

// limited is the program with limits of open files; a hard one of 0 stays.
func limited(soft, hard uint64) func([]string) error {
	return func(args []string) error {
		var files syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
			return err
		}
		files.Cur = soft
		if hard > 0 {
			files.Max = hard
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
			return err
		}
		return program(args)
	}
}

// fullDisk is the program where no file can grow, as if there were no room for any.
func fullDisk(args []string) error {
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{}); err != nil {
		return err
	}
	return program(args) // Go ignores SIGXFSZ, so that writes fail with EFBIG
}

// activated is the program as systemd starts it, with the names of its sockets
// in SOCKETS.
func activated(args []string) error {
	names := os.Getenv("SOCKETS")
	for name, value := range map[string]string{
		"LISTEN_PID":     strconv.Itoa(os.Getpid()),
		"LISTEN_FDS":     strconv.Itoa(1 + strings.Count(names, ":")),
		"LISTEN_FDNAMES": names,
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return program(args)
}

// unheard is the program with a stdout that nobody reads any more.
func unheard(args []string) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Dup3(int(write.Fd()), syscall.Stdout, 0), read.Close(), write.Close()); err != nil {
		return err
	}
	return program(args)
}

// program is what the command's main function does.
func program(args []string) error {
	os.Exit(Main(args, os.Stdout, os.Stderr))
	return nil
}

// A process is the program as a child.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    *bufio.Reader
	stderr bytes.Buffer // to be read after end
	ended  bool
}

// start runs the program. A process that hangs is killed, and the test fails.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startAs(t, "epi", args...)
}

func startAs(t *testing.T, role string, args ...string) *process {
	t.Helper()
	return startWith(t, role, nil, args...)
}

// startWith is startAs with further open files, from descriptor 3 on.
func startWith(t *testing.T, role string, files []*os.File, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: epitest.Command(role, args...)}
	p.cmd.Stderr = &p.stderr
	p.cmd.ExtraFiles = files
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(2*epitest.Patience, func() { _ = p.cmd.Process.Kill() }) // it lives through several waits
	t.Cleanup(func() {
		watchdog.Stop()
		if !p.ended {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
			t.Logf("stderr: %s", p.stderr.String())
		}
	})
	return p
}

// line waits for a line on stdout that starts with prefix, and returns the rest.
func (p *process) line(prefix string) string {
	p.t.Helper()
	for {
		line, err := p.out.ReadString('\n')
		if err != nil {
			p.t.Fatalf("no line %q came: %v", prefix, err)
		}
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
}

// await waits for the JSON line of an event. The lines before it must be JSON, too.
func await[E anyEvent](p *process, name string) E {
	p.t.Helper()
	for {
		line, err := p.out.ReadString('\n')
		if err != nil {
			p.t.Fatalf("no event %q came: %v", name, err)
		}
		var kind struct{ Event string }
		var e E
		if err := errors.Join(json.Unmarshal([]byte(line), &kind), json.Unmarshal([]byte(line), &e)); err != nil {
			p.t.Fatalf("%q is not JSON: %v", line, err)
		}
		if kind.Event == name {
			return e
		}
	}
}

type anyEvent interface {
	startEvent | statsEvent | drainingEvent | totalsEvent | certificateEvent
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the end of the process and expects its exit code. It returns
// the rest of stdout and all of stderr.
func (p *process) end(code int) (stdout, stderr string) {
	p.t.Helper()
	rest, err := io.ReadAll(p.out)
	if err != nil {
		p.t.Fatal(err)
	}
	err = p.cmd.Wait()
	p.ended = true
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("exit code %d (%v), want %d\nstdout: %s\nstderr: %s", got, err, code, rest, p.stderr.String())
	}
	return string(rest), p.stderr.String()
}

// dial connects to an address as the program prints it.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	return dialWith(t, &net.Dialer{}, address)
}

func dialWith(t *testing.T, d *net.Dialer, address string) net.Conn {
	t.Helper()
	network, rest, _ := strings.Cut(address, "://")
	c, err := d.Dial(network, rest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(epitest.Patience))
	return c
}

// expectOneLine expects an error as all are told: one line that starts with
// the program's name and has all of the words.
func expectOneLine(t *testing.T, stderr string, words ...string) {
	t.Helper()
	if !strings.HasPrefix(stderr, "epi: ") || strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") {
		t.Errorf("the error is not one line: %q", stderr)
	}
	for _, word := range words {
		if !strings.Contains(stderr, word) {
			t.Errorf("the error %q does not say %q", stderr, word)
		}
	}
}

// call runs the program inside the test: for calls that end by themselves.
func call(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = Main(args, &out, &err)
	return code, out.String(), err.String()
}

func describe(args []string) string {
	if len(args) == 0 {
		return "nothing"
	}
	return fmt.Sprint(args)
}
