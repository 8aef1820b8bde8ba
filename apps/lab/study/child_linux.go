package study

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// patience bounds how long a child may take for one command, beyond the limits
// that the command itself has.
const patience = time.Minute

// A child is a process that the study commands: a line of JSON is a command,
// a line back its answer.
type child struct {
	role    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	stderr  bytes.Buffer // to be read after the end
	cancel  func() bool  // no longer kill it when the study's context ends
	endOnce bool
}

type command struct {
	Do   string          `json:"do"`
	Args json.RawMessage `json:"args,omitempty"`
}

type answer struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// start starts a child in a role on a CPU.
func (b *bench) start(role string, cpu int) (*child, error) {
	if err := b.ctx.Err(); err != nil {
		return nil, err
	}
	c := &child{role: role, cmd: b.cfg.Child(role)}
	// A process group of its own: Ctrl-C is for the study, which ends its children.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.Stderr = &c.stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w", role, err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w", role, err)
	}
	c.in, c.out = in, bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the %s: %w", role, err)
	}
	stop := context.AfterFunc(b.ctx, func() { _ = c.cmd.Process.Kill() })
	c.cancel = stop
	var unpinned string
	if err := c.call("pin", pinArgs{CPU: cpu}, &unpinned); err != nil {
		c.end()
		return nil, err
	}
	if unpinned != "" {
		b.note("the %s is not pinned: %s", role, unpinned)
	}
	return c, nil
}

// send gives a command.
func (c *child) send(do string, args any) error {
	text, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("send the %s the command %s: %w", c.role, do, err)
	}
	line, err := json.Marshal(command{do, text})
	if err != nil {
		return fmt.Errorf("send the %s the command %s: %w", c.role, do, err)
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return c.died(err)
	}
	return nil
}

// receive waits for an answer, at most limit and the patience that is always due.
func (c *child) receive(result any, limit time.Duration) error {
	watchdog := time.AfterFunc(limit+patience, func() { _ = c.cmd.Process.Kill() })
	line, err := c.out.ReadBytes('\n')
	if !watchdog.Stop() && err != nil {
		err = fmt.Errorf("no answer for %v: %w", limit+patience, err)
	}
	if err != nil {
		return c.died(err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return fmt.Errorf("the %s answers %q: %w", c.role, line, err)
	}
	if a.Error != "" {
		return fmt.Errorf("the %s: %s", c.role, a.Error)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(a.Result, result); err != nil {
		return fmt.Errorf("the %s answers %q: %w", c.role, line, err)
	}
	return nil
}

func (c *child) call(do string, args, result any) error {
	if err := c.send(do, args); err != nil {
		return err
	}
	return c.receive(result, 0)
}

// died ends the child, which no longer answers, and says what it last said.
func (c *child) died(cause error) error {
	c.end()
	state := "ended"
	if c.cmd.ProcessState != nil {
		state = c.cmd.ProcessState.String()
	}
	said, _, _ := strings.Cut(strings.TrimSpace(c.stderr.String()), "\n")
	if said != "" {
		return fmt.Errorf("the %s (process %d) died, %s: %s", c.role, c.cmd.Process.Pid, state, said)
	}
	return fmt.Errorf("the %s (process %d) died, %s: %w", c.role, c.cmd.Process.Pid, state, cause)
}

// end ends the child by ending its input, and by force if that does not help.
func (c *child) end() {
	if c.endOnce {
		return
	}
	c.endOnce = true
	_ = c.in.Close()
	const grace = 5 * time.Second
	force := time.AfterFunc(grace, func() { _ = c.cmd.Process.Kill() })
	_, _ = io.Copy(io.Discard, c.out)
	_ = c.cmd.Wait()
	force.Stop()
	c.cancel()
}

// Child is what the other process does: it follows the commands on in, and when
// that ends it exits, whatever is under way. It returns only an error.
func Child(role string, in io.Reader, out io.Writer) error {
	ops, ok := roles[role]
	if !ok {
		return fmt.Errorf("role %q: there are server and client", role)
	}
	// A thread for the measured loop and one for this input; the default would
	// follow the CPUs that the process is pinned to, and one P is taken away
	// from a thread in each long system call.
	runtime.GOMAXPROCS(2)
	p, err := newProcess()
	if err != nil {
		return err
	}
	commands := make(chan command)
	go func() {
		lines := bufio.NewReader(in)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				os.Exit(0)
			}
			var c command
			if err := json.Unmarshal(line, &c); err != nil {
				fmt.Fprintf(os.Stderr, "command %q: %v\n", line, err)
				os.Exit(1)
			}
			if c.Do == "stop" {
				p.stop.raise()
				continue
			}
			commands <- c
		}
	}()
	runtime.LockOSThread()
	p.answer = func(result any, failed error) error {
		var a answer
		text, err := json.Marshal(result)
		if err != nil {
			return err
		}
		a.Result = text
		if failed != nil {
			a.Error = failed.Error()
		}
		line, err := json.Marshal(a)
		if err != nil {
			return err
		}
		_, err = out.Write(append(line, '\n'))
		return err
	}
	for {
		c := <-commands
		op, ok := ops[c.Do]
		if !ok {
			return fmt.Errorf("command %q: a %s cannot do that", c.Do, role)
		}
		result, err := op(p, c.Args)
		if err := p.answer(result, err); err != nil {
			return err
		}
	}
}

// An op is what a child can do.
type op func(p *process, args json.RawMessage) (any, error)

// opOf makes an op of a method with typed arguments.
func opOf[A any](do func(*process, A) (any, error)) op {
	return func(p *process, text json.RawMessage) (any, error) {
		var args A
		if err := json.Unmarshal(text, &args); err != nil {
			return nil, fmt.Errorf("arguments %s: %w", text, err)
		}
		return do(p, args)
	}
}

var roles map[string]map[string]op

func init() {
	roles = map[string]map[string]op{
		"server": {
			"pin":     opOf((*process).pin),
			"listen":  opOf((*process).listen),
			"accept":  opOf((*process).accept),
			"gather":  opOf((*process).gather),
			"serve":   opOf((*process).serve),
			"work":    opOf((*process).work),
			"wait":    opOf((*process).wait),
			"pairs":   opOf((*process).pairs),
			"signal":  opOf((*process).signal),
			"half":    opOf((*process).half),
			"closing": opOf((*process).closing),
		},
		"client": {
			"pin":     opOf((*process).pin),
			"connect": opOf((*process).connect),
			"load":    opOf((*process).load),
		},
	}
}

type pinArgs struct{ CPU int }

// pin answers why the process could not be pinned, if so.
func (p *process) pin(args pinArgs) (any, error) {
	if args.CPU == anyCPU {
		return "", nil
	}
	if err := pin(args.CPU); err != nil {
		return err.Error(), nil
	}
	return "", nil
}
