package times_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

func init() { roles["idle"], roles["draining"] = idleRole, drainingRole }

// idleRole is an echo server: driver, workers, IdleTimeout. Who says "hold" holds the
// loop for half of that.
func idleRole(args []string) error {
	workers, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	timeout, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	e := &epi.Engine{Driver: epi.Driver(args[0]), Workers: workers, Loops: 1, IdleTimeout: timeout, Logger: epitest.NoLog()}
	ln, err := e.Listen("tcp://127.0.0.1:0", func(c *epi.Conn) epi.Handler {
		return &epitest.Funcs{Data: func(c *epi.Conn) error {
			if string(c.Unread()) != "hold" {
				return epitest.Echo(c)
			}
			c.Discard(len("hold"))
			return c.Loop().Do(func() { fmt.Println("held"); time.Sleep(timeout / 2) })
		}}
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	fmt.Println(ln.Addr())
	return e.Run(ctx)
}

// TestHunt05_StoppedProcess stops a server by SIGSTOP for longer than IdleTimeout, in
// the midst of a turn: the timers of that turn come before the next look.
//
//	client: echo ── "hold" ──────────── x ──────────────► echo
//	loop:              task (stopped for 2 IdleTimeout) timers, look
func TestHunt05_StoppedProcess(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		if m.Trigger == epi.TriggerLevel || m.Trigger == epi.TriggerOneShot || m.Driver == epi.DriverSelect {
			return // what the trigger is makes no difference here
		}
		t.Parallel()
		tryWithPatience(t, func(t *testing.T, timeout time.Duration) error {
			child := epitest.StartChild(t, "idle", string(m.Driver), strconv.Itoa(m.Workers), timeout.String())
			defer child.End()
			address := child.ReadLine()
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(epitest.Patience))
			epitest.RoundTrip(t, c, "before")
			holding, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer holding.Close()
			epitest.Say(t, holding, "hold")
			if child.ReadLine() != "held" {
				t.Fatal("the loop is not held")
			}
			if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * timeout)
			_, _ = io.WriteString(c, "x") // it is closed where the machine is slow
			if err := child.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				return fmt.Errorf("the server was stopped for two IdleTimeouts of %v; a client that has talked before it went on reads: %w", timeout, err)
			}
			return nil
		})
	})
}

// drainingRole sends each client more than its socket takes, and drains when it is
// told to: driver, workers, DrainTimeout.
func drainingRole(args []string) error {
	workers, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	timeout, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	e := &epi.Engine{Driver: epi.Driver(args[0]), Workers: workers, Loops: 1, DrainTimeout: timeout, Linger: time.Hour, Logger: epitest.NoLog()}
	ln, err := e.Listen("tcp://127.0.0.1:0", func(*epi.Conn) epi.Handler {
		return &drainingHandler{Funcs: epitest.Funcs{Open: func(c *epi.Conn) error { return c.Send(epitest.Pattern(epitest.EightMiB)) }}}
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _, _ = io.ReadFull(os.Stdin, make([]byte, 1)); cancel() }()
	fmt.Println(ln.Addr())
	return e.Run(ctx)
}

// A drainingHandler says when draining has begun.
type drainingHandler struct{ epitest.Funcs }

func (h *drainingHandler) OnShutdown(*epi.Conn) { fmt.Println("draining") }

// TestHunt05_StoppedWhileDraining stops a server for longer than DrainTimeout, while a
// client waits for the rest of what was queued for it.
func TestHunt05_StoppedWhileDraining(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		if m.Trigger == epi.TriggerLevel || m.Trigger == epi.TriggerOneShot || m.Driver == epi.DriverSelect {
			return // what the trigger is makes no difference here
		}
		t.Parallel()
		tryWithPatience(t, func(t *testing.T, timeout time.Duration) error {
			child := epitest.StartChild(t, "draining", string(m.Driver), strconv.Itoa(m.Workers), timeout.String())
			defer child.Kill()
			c, err := net.Dial("tcp", child.ReadLine())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(epitest.Patience))
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			child.Say("drain")
			if child.ReadLine() != "draining" {
				t.Fatal("it does not drain")
			}
			if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * timeout)
			if err := child.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, c); err != nil || n != epitest.EightMiB-1 {
				return fmt.Errorf("the server was stopped for two DrainTimeouts of %v; its client reads %d bytes, %w", timeout, n+1, err)
			}
			return nil
		})
	})
}
