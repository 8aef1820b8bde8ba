package epitest

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi"
)

// EightMiB is more than all buffers between two sockets hold.
const EightMiB = 8 << 20

// Run starts e without a listener. At the end of the test it must drain; stop ends
// it before, and returns what Run returned.
func Run(t *testing.T, e *epi.Engine) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- e.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return Receive(t, result)
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("the engine did not drain: %v", err)
		}
		if n := e.Stats().Conns; n != 0 {
			t.Errorf("%d connections are left after the end", n)
		}
	})
	return stop
}

// StartLoop runs e as an echo server with one loop, and returns that.
func StartLoop(t *testing.T, e *epi.Engine) *epi.Loop {
	t.Helper()
	e.Loops = 1
	Start(t, e, EchoHandler)
	l, err := e.Loop(0)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// OnLoop runs fn on the loop and waits for it.
func OnLoop(t *testing.T, l *epi.Loop, fn func()) {
	t.Helper()
	done := make(chan struct{})
	if err := l.Do(func() { defer close(done); fn() }); err != nil {
		t.Fatal(err)
	}
	Receive(t, done)
}

// ListenAlso makes another listener of a running engine.
func ListenAlso(t *testing.T, e *epi.Engine, handler func(*epi.Conn) epi.Handler) *epi.Listener {
	t.Helper()
	ln, err := e.Listen("tcp://127.0.0.1:0", handler)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// Dial dials, and fails the test when that is refused at once.
func Dial(t *testing.T, e *epi.Engine, address string, h epi.Handler) *epi.Conn {
	t.Helper()
	c, err := e.Dial(context.Background(), address, h)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// DialPlain is DialListener for a listener without TLS.
func DialPlain(t *testing.T, ln *epi.Listener) net.Conn {
	t.Helper()
	return dialListener(t, ln, net.Dialer{}, false)
}

// Accept takes one connection of ln, with a watchdog.
func Accept(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	if d, ok := ln.(interface{ SetDeadline(time.Time) error }); ok {
		_ = d.SetDeadline(time.Now().Add(Patience))
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(Patience))
	return c
}

// Certificates is SelfSigned for a test, which fails when there are none.
func Certificates(t *testing.T, names ...string) (server, client *tls.Config) {
	t.Helper()
	server, client, err := SelfSigned(names...)
	if err != nil {
		t.Fatal(err)
	}
	return server, client
}
