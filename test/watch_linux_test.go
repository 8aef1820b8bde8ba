package test

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

func init() { roles["idle"] = idleRole }

// idleRole is an echo server: driver, workers, IdleTimeout.
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
	ln, err := e.Listen("tcp://127.0.0.1:0", epitest.EchoHandler)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	fmt.Println(ln.Addr())
	return e.Run(ctx)
}

// TestHunt05_StoppedProcess stops a server by SIGSTOP for longer than IdleTimeout.
func TestHunt05_StoppedProcess(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		if m.Trigger == epi.TriggerLevel || m.Trigger == epi.TriggerOneShot || m.Driver == epi.DriverSelect {
			return // what the trigger is makes no difference here
		}
		t.Parallel()
		tryWithPatience(t, func(t *testing.T, timeout time.Duration) error {
			child := epitest.StartChild(t, "idle", string(m.Driver), strconv.Itoa(m.Workers), timeout.String())
			defer child.End()
			c, err := net.Dial("tcp", child.Hear())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(epitest.Patience))
			epitest.RoundTrip(t, c, "before")
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
