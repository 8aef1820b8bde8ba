package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/freeport"
)

// A process is a running server.
type process struct {
	cmd    *exec.Cmd
	dir    string // of its files; empty: it has none
	errors *beginning
	died   bool // it ended by itself
}

// startServer starts s on a free port, pinned to cpu (not if it is negative),
// and waits until it listens. The process ends with ctx.
func startServer(ctx context.Context, s Server, cpu int) (*process, string, error) {
	address, err := freeport.Next()
	if err != nil {
		return nil, "", err
	}
	p := &process{errors: &beginning{}}
	if s.config != "" {
		if p.dir, err = os.MkdirTemp("", "epi-peer-"); err != nil {
			return nil, "", err
		}
	}
	r := marks(address, p.dir)
	if err := p.configure(r.Replace(s.config)); err != nil {
		return nil, "", err
	}
	argv := s.command(r)
	p.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	p.cmd.Stderr = p.errors
	p.cmd.WaitDelay = time.Second // a child of its own may hold the pipe
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := startPinned(p.cmd, cpu); err != nil {
		p.clean()
		return nil, "", fmt.Errorf("start %s: %w", s.Name, err)
	}
	lines := bufio.NewScanner(out)
	if s.quiet {
		drained := make(chan struct{})
		go func() { drain(lines); close(drained) }()
		if answers(ctx, address, drained) {
			return p, address, nil
		}
	}
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "listening") {
			go drain(lines)
			return p, address, nil
		}
	}
	return nil, "", fmt.Errorf("%s did not start: %s", s.Name, p.end())
}

// configure writes the server's configuration, if it has one. Some servers give
// up their rights before they read it.
func (p *process) configure(text string) error {
	if p.dir == "" {
		return nil
	}
	return errors.Join(os.Chmod(p.dir, 0o755), os.WriteFile(filepath.Join(p.dir, "config"), []byte(text), 0o644))
}

// startPatience is how long a server may take until it listens.
const startPatience = time.Minute

// answers waits until somebody listens on address, and reports whether that was
// before the server's end and in time.
func answers(ctx context.Context, address string, ended <-chan struct{}) bool {
	deadline := time.After(startPatience)
	looks := time.NewTicker(20 * time.Millisecond)
	defer looks.Stop()
	for {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return true
		}
		select {
		case <-looks.C:
		case <-ended:
			return false
		case <-deadline:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// drain reads what the server still says, so that it cannot block on it.
func drain(lines *bufio.Scanner) {
	for lines.Scan() {
	}
}

// startPinned starts cmd so that all its threads run on one CPU: a new process
// has the affinity of the thread that makes it.
func startPinned(cmd *exec.Cmd, cpu int) error {
	if cpu < 0 {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		return fmt.Errorf("ask for the CPU affinity: %w", err)
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &old) }() // it was allowed before
	return cmd.Start()
}

// end ends the server and returns the first line of what it said on stderr:
// what follows a panic's is its stack.
func (p *process) end() string {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	err := p.cmd.Wait()
	p.clean()
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	p.died = ok && !(status.Signaled() && status.Signal() == syscall.SIGKILL)
	if line := firstLine(p.errors.String()); line != "" {
		return line
	}
	return fmt.Sprint(err)
}

// clean removes the server's files.
func (p *process) clean() {
	if p.dir != "" {
		_ = os.RemoveAll(p.dir) // what is left is in the system's directory for such
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// A beginning keeps the beginning of what is written to it.
type beginning struct{ strings.Builder }

const beginningSize = 4 << 10

func (b *beginning) Write(p []byte) (int, error) {
	_, _ = b.Builder.Write(p[:min(len(p), beginningSize-b.Len())]) // it cannot fail
	return len(p), nil
}

// twoCPUs returns a CPU for the server and another for the client, or -1 twice
// when there is only one.
func twoCPUs() (server, client int) {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil || set.Count() < 2 {
		return -1, -1
	}
	var found []int
	for cpu := 0; len(found) < 2; cpu++ {
		if set.IsSet(cpu) {
			found = append(found, cpu)
		}
	}
	return found[0], found[1]
}
