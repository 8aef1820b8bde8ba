package socket_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// The listener closes with twenty clients in its backlog.
//
//	clients:  20 connect, into the backlog
//	loop:     (held.........................................) the removal, a task
//	test:     ............. Listener.Close: all are reset, but
//	          for those that the driver had accepted ahead
func TestR05_ListenerClosedWhileClientsWait(t *testing.T) {
	const waiting = 20
	before := epitest.UsageNow(t)
	t.Run("modes", func(t *testing.T) {
		epitest.Each(t, func(t *testing.T, m epitest.Mode) {
			t.Parallel()
			s := epitest.Start(t, m.Serial(), epitest.EchoHandler)
			epitest.RoundTrip(t, s.Dial(), "it serves")
			loop, err := s.Engine.Loop(0)
			if err != nil {
				t.Fatal(err)
			}
			release := epitest.Hold(t, loop)
			var clients []net.Conn
			for range waiting {
				clients = append(clients, s.Dial())
			}
			if err := s.Listener.Close(); err != nil {
				t.Fatal(err)
			}
			for _, c := range clients[1:] {
				epitest.ExpectReset(t, c) // the portable driver has one
			}
			release()
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
			expectClosed(t, clients[0])
			if c, err := net.Dial("tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a client of the closed listener gets %v, %v", c, err)
			}
			if err := s.Listener.Close(); err != nil {
				t.Errorf("the second Close returns %v", err)
			}
			if n := s.Engine.Stats().Accepted; n > 2 {
				t.Errorf("%d were accepted", n)
			}
		})
	})
	before.Await(t)
}

// A loop is busy, or the engine does not run yet: nevertheless Close has closed.
func TestHunt16_CloseHasClosed(t *testing.T) {
	const rounds = 20
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, host := range []string{"tcp://127.0.0.1", "tcp://", "unix://" + epitest.UnixPath(t)} {
			e := m.Engine()
			ln := listenQuietly(t, e, host)
			address := ln.String()
			ln = listenAgain(t, e, ln, address) // before Run
			epitest.Start(t, e, epitest.EchoHandler)
			for range rounds {
				ln = listenAgain(t, e, ln, address)
				epitest.RoundTrip(t, epitest.DialListener(t, e, ln, net.Dialer{}), "hello")
			}
			loop, err := e.Loop(0)
			if err != nil {
				t.Fatal(err)
			}
			release := epitest.Hold(t, loop)
			listenAgain(t, e, ln, address)
			release()
		}
	})
}

// listenQuietly listens at host, with a port that the system gives to nobody who does
// not ask for it (ip_local_port_range, ip(7)): it is free whenever it is not in use
// here.
func listenQuietly(t *testing.T, e *epi.Engine, host string) *epi.Listener {
	t.Helper()
	const least, count = 20000, 10000
	for range 100 {
		address := host
		if strings.HasPrefix(host, "tcp:") {
			address = fmt.Sprintf("%s:%d", host, least+rand.N(count))
		}
		ln, err := e.Listen(address, epitest.EchoHandler)
		if err == nil {
			return ln
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
	t.Fatal("there is no free port")
	return nil
}

// listenAgain closes the listener, and listens at once at its address: by package
// net, and then by the engine.
func listenAgain(t *testing.T, e *epi.Engine, ln *epi.Listener, address string) *epi.Listener {
	t.Helper()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatalf("package net: %v", err)
	}
	_ = other.Close()
	ln, err = e.Listen(address, epitest.EchoHandler)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// TestHunt16_AbstractNameIsFree: such a name lasts as long as the socket, which the
// kernel holds for a loop that waits.
func TestHunt16_AbstractNameIsFree(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		address := "unix://@" + epitest.UnixPath(t)
		s := epitest.StartOn(t, m.Engine(), address, epitest.EchoHandler)
		epitest.RoundTrip(t, s.Dial(), "hello")
		if err := s.Listener.Close(); err != nil {
			t.Fatal(err)
		}
		var again *epi.Listener
		listen := func() bool {
			var err error
			again, err = s.Engine.Listen(address, epitest.EchoHandler)
			return err == nil
		}
		epitest.WaitUntil(t, "the name is free", listen)
		epitest.RoundTrip(t, epitest.DialListener(t, s.Engine, again, net.Dialer{}), "hello again")
	})
}

// The end of a listener leaves alone what is at its path by then:
//
//	old:  listens .................. ends
//	new:  ......... takes the path ...... is still there
func TestHunt15_OnlyTheOwnSocketFileIsRemoved(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, scheme := range []string{"unix", "unixgram"} {
			path := epitest.UnixPath(t)
			end := startAt(t, m, scheme, path)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			endNew := startAt(t, m, scheme, path)
			end()
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("%s: the file of the new server: %v", scheme, err)
			}
			endNew()
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: after the end of both: %v", scheme, err)
			}
		}
	})
}

// TestHunt15_RelativePath changes the directory while servers listen, as daemons do.
func TestHunt15_RelativePath(t *testing.T) {
	for _, m := range epitest.Modes() {
		for _, scheme := range []string{"unix", "unixgram"} {
			first, second := t.TempDir(), t.TempDir()
			t.Chdir(first)
			end := startAt(t, m, scheme, "s")
			t.Chdir(second)
			if err := os.WriteFile("s", []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			end()
			if text, err := os.ReadFile("s"); string(text) != "precious" {
				t.Errorf("%v, %s: the file in the new directory: %q, %v", m, scheme, text, err)
			}
			if _, err := os.Lstat(filepath.Join(first, "s")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%v, %s: the socket's own file: %v", m, scheme, err)
			}
		}
	}
}

// startAt runs an engine that listens at path, until the function that it returns
// is called.
func startAt(t *testing.T, m epitest.Mode, scheme, path string) (end func() error) {
	t.Helper()
	e := m.Engine()
	var err error
	if scheme == "unixgram" {
		_, err = e.ListenPacket("unixgram://"+path, epitest.PacketEcho)
	} else {
		_, err = e.Listen("unix://"+path, epitest.EchoHandler)
	}
	if err != nil {
		t.Fatal(err)
	}
	return epitest.Run(t, e)
}

// The listener closes before the engine runs: nobody is accepted.
func TestR05_ListenerClosedBeforeRun(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		ln, err := e.Listen("tcp://127.0.0.1:0", epitest.EchoHandler)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		other := epitest.Start(t, e, epitest.EchoHandler)
		epitest.ExpectReset(t, c)
		epitest.RoundTrip(t, other.Dial(), "the other listener works")
	})
}

// TestR05_TwoEnginesOnOnePort: the kernel spreads by a hash, so clients come until both engines
// have accepted one.
func TestR05_TwoEnginesOnOnePort(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		m.Parallel(t)
		first, second, third := m.Engine(), m.Engine(), m.Engine()
		first.ReusePort, second.ReusePort = true, true
		s := epitest.Start(t, first, epitest.EchoHandler)
		epitest.StartOn(t, second, s.Listener.String(), epitest.EchoHandler)
		for clients := uint64(1); ; clients++ {
			epitest.RoundTrip(t, s.Dial(), "x")
			a, b := first.Stats().Accepted, second.Stats().Accepted
			if a+b != clients || clients == 1000 {
				t.Fatalf("one engine accepted %d, the other %d, of %d clients", a, b, clients)
			}
			if a > 0 && b > 0 {
				break
			}
		}
		// Without ReusePort the port is taken.
		_, err := third.Listen(s.Listener.String(), epitest.EchoHandler)
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "choose another port") {
			t.Errorf("Listen returns %v", err)
		}
		epitest.Start(t, third, epitest.EchoHandler) // frees what Listen has made
	})
}

func TestR05_SocketFileLeftByACrash(t *testing.T) {
	path := epitest.UnixPath(t)
	address := "unix://" + path
	s := startServer(t, serverConfig{Modes: epitest.Modes()[:1], Address: address})
	refused := func(t *testing.T, m epitest.Mode, address, remedy string) {
		t.Helper()
		e := m.Engine()
		_, err := e.Listen(address, epitest.EchoHandler)
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), remedy) {
			t.Errorf("Listen returns %v", err)
		}
		epitest.Start(t, e, epitest.EchoHandler) // frees what Listen has made
	}
	eachRefused := func(name, address, remedy string) {
		t.Run(name, func(t *testing.T) {
			epitest.Each(t, func(t *testing.T, m epitest.Mode) { refused(t, m, address, remedy) })
		})
	}
	eachRefused("in use", address, "another server listens there; stop it or choose another path")
	s.Kill()
	eachRefused("stale", address, "remove it: rm "+path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s := epitest.StartOn(t, m.Engine(), address, epitest.EchoHandler)
		epitest.RoundTrip(t, s.Dial(), "x")
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after a clean end the socket file: %v", err)
		}
	})
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	eachRefused("a file", address, "is not a socket; choose another path")
	if text, err := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file that was in the way: %q, %v", text, err)
	}
}

// TestR05_AcceptedOnce lets one loop or sixteen accept from one socket or each
// from its own, asleep or spinning.
func TestR05_AcceptedOnce(t *testing.T) {
	const clients = 20
	for _, loops := range []int{1, 16} {
		for _, wait := range []epi.WaitPolicy{epi.Block(), epi.Spin()} {
			for _, reusePort := range []bool{false, true} {
				t.Run(fmt.Sprintf("loops=%d,wait=%v,reuseport=%v", loops, wait, reusePort), func(t *testing.T) {
					epitest.Each(t, func(t *testing.T, m epitest.Mode) {
						e := m.Engine()
						e.Loops, e.Wait, e.ReusePort = loops, wait, reusePort
						s := epitest.Start(t, e, epitest.EchoHandler)
						var all []net.Conn
						for i := range clients {
							c := s.Dial()
							all = append(all, c)
							epitest.Say(t, c, fmt.Sprintf("client %2d", i))
						}
						for i, c := range all {
							epitest.Expect(t, c, fmt.Sprintf("client %2d", i))
							epitest.CloseWrite(t, c)
						}
						for _, c := range all {
							epitest.ExpectEOF(t, c)
						}
						if err := s.Stop(); err != nil {
							t.Fatal(err)
						}
						if now := e.Stats(); now.Accepted != clients || now.Closed != clients || now.Shed != 0 {
							t.Errorf("of %d clients %d were accepted, %d closed, %d shed", clients, now.Accepted, now.Closed, now.Shed)
						}
					})
				})
			}
		}
	}
}
