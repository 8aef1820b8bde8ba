package socket_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A handler function that refuses, or panics, closes that connection and no
// other. With MaxConns 1 a connection that was not given back would show.
func TestListen_HandlerRefuses(t *testing.T) {
	const clients = 10
	refusals := []struct {
		name   string
		refuse func() epi.Handler
		panics uint64
	}{
		{"nil", func() epi.Handler { return nil }, 0},
		{"panic", func() epi.Handler { panic("no handler today") }, clients},
	}
	epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		for _, r := range refusals {
			asked := 0
			e := m.Serial()
			e.MaxConns = 1
			s := epitest.StartOn(t, e, address, func(c *epi.Conn) epi.Handler {
				if asked++; asked <= clients {
					return r.refuse()
				}
				return epitest.EchoHandler(c)
			})
			for i := range clients {
				epitest.ExpectEOF(t, s.Dial())
				epitest.WaitUntil(t, "the refused are gone", func() bool { return e.Stats().Closed == uint64(i+1) })
			}
			epitest.RoundTrip(t, s.Dial(), "served")
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
			if st := e.Stats(); st.Panics != r.panics || st.Shed != 0 {
				t.Errorf("%s: %d panics, %d shed, want %d and 0", r.name, st.Panics, st.Shed, r.panics)
			}
		}
	})
}

// A client that is refused may have spoken already: it sees the end, not a
// reset.
func TestListen_RefusedClientHasSpoken(t *testing.T) {
	epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		e := m.Serial()
		s := epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler { return nil })
		loop, err := e.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		release := epitest.Hold(t, loop)
		client := s.Dial()
		epitest.Say(t, client, "hello?")
		epitest.AwaitArrival(t, client)
		release()
		epitest.ExpectEOF(t, client)
	})
}

func TestListen_PortInUse(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		_, err := s.Engine.Listen(s.Listener.String(), epitest.EchoHandler)
		expectRemedy(t, err, syscall.EADDRINUSE, "choose another port")
		epitest.RoundTrip(t, s.Dial(), "unharmed")
	})
}

// expectRemedy expects an error that a program can test and a person can act on.
func expectRemedy(t *testing.T, err error, want error, remedy string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), remedy) {
		t.Errorf("the error is %v, want %v and %q", err, want, remedy)
	}
}

// listenOnly calls Listen on an engine that is freed again.
func listenOnly(t *testing.T, address string) error {
	t.Helper()
	e := &epi.Engine{Loops: 1, Logger: epitest.NoLog()}
	_, listenErr := e.Listen(address, epitest.EchoHandler)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Run(ctx); err != nil {
		t.Error(err)
	}
	return listenErr
}

func TestListen_UnixPathTaken(t *testing.T) {
	path := epitest.UnixPath(t)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	expectRemedy(t, listenOnly(t, "unix://"+path), syscall.EADDRINUSE, "another server listens")
	_ = ln.Close()
	expectRemedy(t, listenOnly(t, "unix://"+path), syscall.EADDRINUSE, "rm "+path)
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("a failed Listen has touched the file: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := listenOnly(t, "unix://"+path); err != nil {
		t.Errorf("after the remedy: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the engine leaves its socket file behind: %v", err)
	}
}

func TestListen_UnixPathUnfit(t *testing.T) {
	path := epitest.UnixPath(t)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	expectRemedy(t, listenOnly(t, "unix://"+path), syscall.EADDRINUSE, "not a socket")
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("a failed Listen has touched the file: %q, %v", text, err)
	}
	missing := filepath.Join(filepath.Dir(path), "missing", "s")
	expectRemedy(t, listenOnly(t, "unix://"+missing), syscall.ENOENT, "make it first")
}

func TestListen_BadAddresses(t *testing.T) {
	e := &epi.Engine{Loops: 1, Logger: epitest.NoLog()}
	stop := epitest.Run(t, e)
	for address, want := range badAddresses {
		_, err := e.Listen(address, epitest.EchoHandler)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen on %q returns %v, want %q in it", address, err, want)
		}
	}
	if _, err := e.Listen("tcp://127.0.0.1:0", nil); err == nil {
		t.Error("Listen without a handler function succeeds")
	}
	stop()
	if _, err := e.Listen("tcp://127.0.0.1:0", epitest.EchoHandler); !errors.Is(err, epi.ErrShutdown) {
		t.Errorf("Listen after Run returns %v", err)
	}
}
