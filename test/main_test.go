package test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// eightMiB is more than all buffers between two sockets hold.
const eightMiB = 8 << 20

// roles are what the test binary can do as a child process.
var roles = map[string]func(args []string) error{}

func TestMain(m *testing.M) { epitest.Main(m, roles) }

// run starts e without a listener. At the end of the test it must drain.
func run(t *testing.T, e *epi.Engine) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := epitest.Receive(t, result); err != nil {
			t.Errorf("the engine did not drain: %v", err)
		}
		if n := e.Stats().Conns; n != 0 {
			t.Errorf("%d connections are left after the end", n)
		}
	})
	t.Cleanup(stop)
	return stop
}

// accept takes one connection of ln, with a watchdog.
func accept(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	if d, ok := ln.(interface{ SetDeadline(time.Time) error }); ok {
		_ = d.SetDeadline(time.Now().Add(epitest.Patience))
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(epitest.Patience))
	return c
}
