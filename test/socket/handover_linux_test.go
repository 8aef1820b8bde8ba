package socket_test

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A listening socket that others hold, too, is made a blocking one by them, as
// os/exec does with a child's ExtraFiles:
//
//	others:  O_NONBLOCK off ........................
//	client:  ............... one connects ..........
//	loops:   ............... accept it, and go on with the others
func TestHunt02_SharedSocketBlocksNobody(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, network := range []string{"tcp", "unix"} {
			t.Run("adopted/"+network, func(t *testing.T) {
				from, file := listenShared(t, network)
				s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
				ln, err := s.Engine.ListenOn(from, epi.ListenOptions{}, epitest.EchoHandler)
				if err != nil {
					t.Fatal(err)
				}
				serveShared(t, s, ln, file)
			})
			t.Run("given away/"+network, func(t *testing.T) {
				address := "tcp://127.0.0.1:0"
				if network == "unix" {
					address = "unix://" + epitest.UnixPath(t)
				}
				s := epitest.StartOn(t, m.Engine(), address, epitest.EchoHandler)
				file, err := s.Listener.File()
				if err != nil {
					t.Fatal(err)
				}
				serveShared(t, s, s.Listener, file)
			})
		}
	})
}

// listenShared returns a listener of package net, and another descriptor of it.
func listenShared(t *testing.T, network string) (net.Listener, *os.File) {
	t.Helper()
	ln, _ := epitest.Listen(t, network)
	file, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	return ln, file
}

// serveShared has clients served by a listener whose socket file has, too, while it
// is made a blocking one again and again.
func serveShared(t *testing.T, s *epitest.Server, ln *epi.Listener, file *os.File) {
	t.Helper()
	t.Cleanup(func() { _ = file.Close() })
	old := epitest.DialListener(t, s.Engine, ln, net.Dialer{})
	epitest.RoundTrip(t, old, "before")
	for range 8 {
		if err := syscall.SetNonblock(int(file.Fd()), false); err != nil {
			t.Fatal(err)
		}
		epitest.RoundTrip(t, epitest.DialListener(t, s.Engine, ln, net.Dialer{}), "new")
		epitest.RoundTrip(t, old, "old")
		runtime.GC() // a raw system call that blocks would hold it up for ever
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

// TestHunt23_ListenerFile lets another engine go on with the socket, as another
// program would, and nobody in the backlog is lost.
func TestHunt23_ListenerFile(t *testing.T) {
	epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
		first := epitest.StartOn(t, m.Engine(), address, epitest.EchoHandler)
		file, err := first.Listener.File()
		if err != nil {
			t.Fatal(err)
		}
		epitest.RoundTrip(t, first.Dial(), "the first serves")
		if err := first.Stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := first.Listener.File(); !errors.Is(err, epi.ErrClosed) {
			t.Errorf("after Close, File returns %v", err)
		}
		ln, err := net.FileListener(file)
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		second := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		if _, err := second.Engine.ListenOn(ln, epi.ListenOptions{}, epitest.EchoHandler); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(address, "tcp:") { // a path is gone with the listener that made it
			epitest.RoundTrip(t, epitest.DialListener(t, second.Engine, first.Listener, net.Dialer{}), "the second serves")
		}
	})
}

// TestHunt23_NoFileOfManySockets: with ReusePort there is not one socket.
func TestHunt23_NoFileOfManySockets(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.ReusePort = true
		s := epitest.Start(t, e, epitest.EchoHandler)
		if _, err := s.Listener.File(); err == nil || !strings.Contains(err.Error(), "ReusePort") {
			t.Errorf("File returns %v", err)
		}
	})
}

// A loop accepts when another, to which it would give what it accepts, has ended:
//
//	loop 1:   no connections left ..... drains, ends
//	loop 0:   (held...................................) accepts
//	clients:  ............... connect .................. are closed
func TestHunt04_NothingIsGivenToALoopThatHasEnded(t *testing.T) {
	const clients = 64
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s := epitest.Start(t, m.Engine(), func(c *epi.Conn) epi.Handler {
			return &epitest.Funcs{Open: func(c *epi.Conn) error {
				_, err := c.Write([]byte{byte(c.Loop().Index())})
				return err
			}}
		})
		var first []net.Conn
		for range clients {
			first = append(first, s.Dial())
		}
		for _, c := range first {
			on := make([]byte, 1)
			if _, err := c.Read(on); err != nil {
				t.Fatal(err)
			}
			if on[0] == 1 {
				_ = c.Close()
			}
		}
		epitest.WaitUntil(t, "loop 1 has no connections", func() bool { return s.Engine.Stats().Loops[1].Conns == 0 })
		var loops [2]*epi.Loop
		var release [2]func()
		for i := range loops {
			var err error
			if loops[i], err = s.Engine.Loop(i); err != nil {
				t.Fatal(err)
			}
			release[i] = epitest.Hold(t, loops[i])
		}
		var late []net.Conn
		for range clients {
			late = append(late, s.Dial())
		}
		s.Cancel()
		epitest.WaitUntil(t, "the loops are told to drain", func() bool { return s.Engine.Stats().Loops[0].TasksWaiting >= 2 })
		release[1]()
		for _, c := range first {
			_ = c.Close()
		}
		epitest.WaitUntil(t, "loop 1 has ended", func() bool {
			for _, c := range late[:clients/2] {
				_ = c.Close()
			}
			return errors.Is(loops[1].Do(func() {}), epi.ErrShutdown)
		})
		release[0]()
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		for i, c := range late[clients/2:] {
			if _, err := io.Copy(io.Discard, c); err != nil && !epitest.IsReset(err) {
				t.Fatalf("client %d is left: %v", i, err)
			}
		}
	})
}

// TestHunt19_ErrorsOfOneClientPauseNothing has every second accept fail with what
// the network to a client that has connected can say (accept(2)). io_uring accepts
// without the system call that fails here.
func TestHunt19_ErrorsOfOneClientPauseNothing(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed: apt-get install strace")
	}
	var modes []epitest.Mode
	for _, m := range epitest.Modes() {
		if m.Driver != epi.DriverUring || m.Workers > 0 {
			modes = append(modes, m)
		}
	}
	for _, name := range []string{"ENETUNREACH", "ETIMEDOUT", "EPROTO"} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, serverConfig{Modes: modes}, strace, "-f", "-o", os.DevNull, "-e", "trace=accept4", "-e", "inject=accept4:error="+name+":when=1+2", "--")
			for i := range modes {
				for range 4 {
					epitest.RoundTrip(t, s.dial(i), "hello")
				}
			}
			for i, st := range s.stats() {
				if st.AcceptErrors != 0 {
					t.Errorf("%v: accepting paused %d times", modes[i], st.AcceptErrors)
				}
			}
			s.End()
		})
	}
}
