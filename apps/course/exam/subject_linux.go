package exam

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/apps/lab/proc"
	"github.com/epinet/epi/internal/freeport"
)

const (
	sample    = 100 * time.Millisecond // between two looks at the server
	asleep    = 10                     // looks in a row at a sleeping server, after which it hangs
	busy      = 2 * time.Second        // CPU time without a byte, after which it hangs, too
	startTime = 2 * time.Minute        // until it listens: it may have to be compiled
	dialTime  = 30 * time.Second       // until the kernel has a connection
	keptLog   = 4 << 10
)

// A subject is the server program that is examined.
type subject struct {
	ctx     context.Context
	dialect dialect
	address string
	cmd     *exec.Cmd
	log     tailWriter
	ended   chan struct{} // closed when the process that was started has ended
	clients []net.Conn
	trace   string // strace's file, with underStrace
}

// start starts the command and returns when it listens.
func start(ctx context.Context, d dialect, command []string) (*subject, error) {
	address, err := freeport.Next()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	s := &subject{ctx: ctx, dialect: d, address: address, ended: make(chan struct{})}
	args := make([]string, len(command))
	for i, arg := range command {
		args[i] = strings.ReplaceAll(arg, "{port}", port)
	}
	if i := traceArgument(args); i > 0 {
		s.trace = args[i]
	}
	s.cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	s.cmd.Env = append(os.Environ(), "PORT="+port)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.cmd.Cancel = func() error { return s.signal(unix.SIGKILL) }
	s.cmd.WaitDelay = time.Second // for children that keep its output open
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = s.cmd.Wait(); close(s.ended) }()
	if err := s.awaitListening(); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

func (s *subject) awaitListening() error {
	for deadline := time.Now().Add(startTime); time.Now().Before(deadline); {
		c, err := net.Dial("tcp", s.address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-s.ended:
			return s.dead()
		case <-time.After(sample / 5):
		}
	}
	return fmt.Errorf("it does not listen on %s: the port is in place of {port}, and in the environment as PORT", s.address)
}

// dead is the error for a server that has ended.
func (s *subject) dead() error {
	return fmt.Errorf("the server has ended (%v): %s", s.cmd.ProcessState, s.log.String())
}

func (s *subject) alive() error {
	select {
	case <-s.ended:
		return s.dead()
	default:
		return s.ctx.Err()
	}
}

// end kills the server and all that it has started.
func (s *subject) end() {
	for _, c := range s.clients {
		_ = c.Close()
	}
	_ = s.signal(unix.SIGKILL)
	<-s.ended
	if s.trace != "" {
		_ = os.Remove(s.trace)
	}
}

func (s *subject) signal(sig unix.Signal) error { return unix.Kill(-s.cmd.Process.Pid, sig) }

// stop stops the server and returns when it stands still.
func (s *subject) stop() error {
	if err := s.signal(unix.SIGSTOP); err != nil {
		return err
	}
	for {
		if err := s.alive(); err != nil {
			return err
		}
		if look, err := s.look(); err != nil || look.stopped {
			return err
		}
		time.Sleep(sample / 20)
	}
}

func (s *subject) resume() error { return s.signal(unix.SIGCONT) }

// A look is what the server's processes do at a moment.
type look struct {
	cpu             time.Duration
	sleeps, stopped bool // all threads
}

func (s *subject) look() (look, error) {
	l := look{sleeps: true, stopped: true}
	for pids := []int{s.cmd.Process.Pid}; len(pids) > 0; {
		dir := filepath.Join("/proc", strconv.Itoa(pids[0]))
		usage, err := proc.Of(pids[0])
		if err != nil && pids[0] == s.cmd.Process.Pid {
			return l, err
		}
		l.cpu += usage.CPU
		pids = append(pids[1:], l.add(dir)...)
	}
	return l, nil
}

// add takes the states of a process' threads and returns its children.
func (l *look) add(dir string) (children []int) {
	threads, _ := filepath.Glob(filepath.Join(dir, "task", "*"))
	for _, thread := range threads {
		stat, err := os.ReadFile(filepath.Join(thread, "stat"))
		if err != nil {
			continue // it has ended
		}
		state := threadState(stat)
		l.sleeps = l.sleeps && state == "S"
		l.stopped = l.stopped && state == "T"
		born, _ := os.ReadFile(filepath.Join(thread, "children"))
		for _, field := range strings.Fields(string(born)) {
			if pid, err := strconv.Atoi(field); err == nil {
				children = append(children, pid)
			}
		}
	}
	return children
}

// threadState returns the state in /proc/PID/stat: it comes behind the name, which is
// in parentheses.
func threadState(stat []byte) string {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) == 0 {
		return ""
	}
	return string(fields[0])
}

// A patience says when a server that owes something hangs.
type patience struct {
	s     *subject
	begin time.Duration // CPU time when it last did what is awaited
	last  time.Duration
	calm  int // looks in a row at which it slept and had used no time
}

// again returns nil while there is hope.
func (p *patience) again() error {
	if err := p.s.alive(); err != nil {
		return err
	}
	l, err := p.s.look()
	if err != nil {
		return err
	}
	if p.begin == 0 {
		p.begin = l.cpu
	}
	if p.calm++; !l.sleeps || l.cpu != p.last {
		p.calm = 0
	}
	p.last = l.cpu
	if p.calm >= asleep {
		return errors.New("the server sleeps")
	}
	if l.cpu-p.begin > busy {
		return errors.New("the server is busy with something else")
	}
	return nil
}

// quiet returns an error when the server uses CPU time while nothing happens. It may
// have something to finish first.
func (s *subject) quiet(while string) error {
	const window, most, tries = 4 * sample, 10 * time.Millisecond, 10
	var used time.Duration
	for range tries {
		before, err := s.look()
		if err != nil {
			return err
		}
		time.Sleep(window)
		after, err := s.look()
		if err != nil {
			return err
		}
		if err := s.alive(); err != nil {
			return err
		}
		if used = after.cpu - before.cpu; used < most && after.sleeps { // who waits for a CPU has used little, and does not sleep
			return nil
		}
	}
	return fmt.Errorf("it spins: %v of CPU time in %v %s", used.Round(time.Millisecond), window, while)
}

// A tailWriter keeps the end of what is written to it. It may be used by any number of goroutines.
type tailWriter struct {
	mu   sync.Mutex
	kept []byte // guarded by mu
}

func (w *tailWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept = append(w.kept, p...)
	w.kept = w.kept[max(0, len(w.kept)-keptLog):]
	return len(p), nil
}

func (w *tailWriter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(string(w.kept))
}
