package socket_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

func TestDialWith_Local(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		local := netip.MustParseAddr("127.0.0.9")
		from := make(chan string, 1)
		closed := make(chan error, 1)
		_, err := s.Engine.DialWith(context.Background(), s.Listener.String(), epi.DialOptions{Local: local}, &epitest.Funcs{
			Open: func(c *epi.Conn) error {
				from <- c.LocalAddr().(*net.TCPAddr).IP.String()
				return c.Close()
			},
			Close: func(_ *epi.Conn, err error) { closed <- err },
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := epitest.Receive(t, from); got != local.String() {
			t.Errorf("dialled from %s, want %s", got, local)
		}
		if err := epitest.Receive(t, closed); err != nil {
			t.Errorf("closed with %v", err)
		}
	})
}

func TestDialWith_LocalThatCannotBe(t *testing.T) {
	s := epitest.Start(t, &epi.Engine{Loops: 1}, epitest.EchoHandler)
	for local, want := range map[string]error{"192.0.2.1": syscall.EADDRNOTAVAIL, "::1": syscall.EAFNOSUPPORT} {
		closed := make(chan error, 1)
		_, err := s.Engine.DialWith(context.Background(), s.Listener.String(), epi.DialOptions{Local: netip.MustParseAddr(local)},
			&epitest.Funcs{Close: func(_ *epi.Conn, err error) { closed <- err }})
		if err != nil {
			t.Fatal(err)
		}
		if err := epitest.Receive(t, closed); !errors.Is(err, want) || !strings.Contains(err.Error(), local) {
			t.Errorf("from %s: %v, want %v", local, err, want)
		}
	}
	path := "unix://" + filepath.Join(t.TempDir(), "s")
	if _, err := s.Engine.DialWith(context.Background(), path, epi.DialOptions{Local: netip.MustParseAddr("127.0.0.1")}, &epitest.Funcs{}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a Unix socket dialled from an IP address: %v", err)
	}
}

// TestDialWith_ControlThatPanics ends the attempt, and nothing else.
func TestDialWith_ControlThatPanics(t *testing.T) {
	expectFailedControl(t, func(string, string, syscall.RawConn) error { panic("on purpose") }, "on purpose")
}

// TestDialWith_ControlThatExits ends its goroutine, and so the attempt.
func TestDialWith_ControlThatExits(t *testing.T) {
	expectFailedControl(t, func(string, string, syscall.RawConn) error { runtime.Goexit(); return nil }, epi.ErrGoexit)
}

// expectFailedControl dials with a Control that does not return, which is to fail with a
// PanicError of value.
func expectFailedControl(t *testing.T, control func(string, string, syscall.RawConn) error, value any) {
	t.Helper()
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.Logger = slog.New(slog.DiscardHandler)
		s := epitest.Start(t, e, epitest.EchoHandler)
		o := epi.DialOptions{Socket: epi.SocketOptions{Control: control}}
		closed := make(chan error, 1)
		_, err := s.Engine.DialWith(context.Background(), s.Listener.String(), o,
			&epitest.Funcs{Close: func(_ *epi.Conn, err error) { closed <- err }})
		if err != nil {
			t.Fatal(err)
		}
		var panicked *epi.PanicError
		if err := epitest.Receive(t, closed); !errors.As(err, &panicked) || panicked.Value != value {
			t.Errorf("closed with %v", err)
		}
		if got := s.Engine.Stats().Panics; got != 1 {
			t.Errorf("%d panics are counted", got)
		}
	})
}
