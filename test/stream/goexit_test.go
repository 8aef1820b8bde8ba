package stream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestHunt09_GoexitInCallback lets each callback end its goroutine, on a loop
// that has other connections with something to say in the same turn.
func TestHunt09_GoexitInCallback(t *testing.T) {
	const high, others = 1000, 8
	exit := func() error { runtime.Goexit(); return nil }
	rows := []struct {
		callback string
		handler  func(f *epitest.FuncsEOF)
		client   func(t *testing.T, c net.Conn)
	}{
		{"handler function", nil, func(*testing.T, net.Conn) {}},
		{"OnOpen", func(f *epitest.FuncsEOF) {
			f.Open = func(*epi.Conn) error { return exit() }
		}, func(*testing.T, net.Conn) {}},
		{"OnData", func(f *epitest.FuncsEOF) {
			f.Data = func(c *epi.Conn) error { _, _ = c.Write([]byte("queued")); return exit() }
		}, func(t *testing.T, c net.Conn) { epitest.Say(t, c, "?"); epitest.Expect(t, c, "queued") }},
		{"OnEOF", func(f *epitest.FuncsEOF) {
			f.EOF = func(*epi.Conn) error { return exit() }
		}, epitest.CloseWrite},
		{"OnDrain", func(f *epitest.FuncsEOF) {
			f.Data = func(c *epi.Conn) error { c.Discard(1); return c.Send(make([]byte, high+1)) }
			f.Drain = func(*epi.Conn) { _ = exit() }
		}, func(t *testing.T, c net.Conn) {
			epitest.Say(t, c, "?")
			epitest.ExpectBytes(t, c, make([]byte, high+1), high)
		}},
		{"OnClose", func(f *epitest.FuncsEOF) {
			f.Data = (*epi.Conn).Abort
			f.Close = func(*epi.Conn, error) { _ = exit() }
		}, func(t *testing.T, c net.Conn) { epitest.Say(t, c, "?"); epitest.ExpectReset(t, c) }},
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.Loops, e.HighWater = 1, high
		next := make(chan epi.Handler, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			h := <-next
			if h == nil {
				_ = exit()
			}
			return h
		})
		var clients []net.Conn
		for range others {
			next <- &epitest.Funcs{Data: epitest.Echo}
			clients = append(clients, s.Dial())
			epitest.RoundTrip(t, clients[len(clients)-1], "before")
		}
		for i, row := range rows {
			closed := make(chan error, 1)
			if row.handler == nil {
				next <- nil
			} else {
				f := &epitest.FuncsEOF{Funcs: epitest.Funcs{Close: func(_ *epi.Conn, err error) { closed <- err }}}
				row.handler(f)
				next <- f
			}
			victim := s.Dial()
			for _, c := range clients[:others/2] {
				epitest.Say(t, c, row.callback)
			}
			row.client(t, victim)
			for _, c := range clients[others/2:] {
				epitest.Say(t, c, row.callback)
			}
			if row.callback != "OnClose" {
				epitest.ExpectEOF(t, victim)
			}
			if row.handler != nil && row.callback != "OnClose" {
				if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrGoexit) {
					t.Errorf("%s: OnClose got %v", row.callback, err)
				}
			}
			for _, c := range clients {
				epitest.Expect(t, c, row.callback)
			}
			epitest.WaitUntil(t, row.callback+": the connection ends", func() bool { return e.Stats().Conns == others })
			if n := e.Stats().Panics; n != uint64(i+1) {
				t.Errorf("%s: %d are counted, want %d", row.callback, n, i+1)
			}
		}
	})
}

// TestHunt09_GoexitOfManyInOneTurn lets every second connection end the
// goroutine; all have something to say when the loop looks.
func TestHunt09_GoexitOfManyInOneTurn(t *testing.T) {
	const conns = 40
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.Loops = 1
		var made atomic.Int64
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			bad := made.Add(1)%2 == 0
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				if bad {
					runtime.Goexit()
				}
				return epitest.Echo(c)
			}}
		})
		l, err := e.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		var clients []net.Conn
		for i := range conns {
			clients = append(clients, s.Dial())
			epitest.WaitUntil(t, "it is open", func() bool { return made.Load() == int64(i+1) })
		}
		said, held := make(chan struct{}), make(chan struct{})
		if err := l.Do(func() { close(held); <-said }); err != nil {
			t.Fatal(err)
		}
		epitest.Receive(t, held)
		for i, c := range clients {
			epitest.Say(t, c, fmt.Sprint("from ", i))
		}
		close(said)
		for i, c := range clients {
			if i%2 == 0 {
				epitest.Expect(t, c, fmt.Sprint("from ", i))
			} else {
				epitest.ExpectEOF(t, c)
			}
		}
		if n := e.Stats().Panics; n != conns/2 {
			t.Errorf("%d are counted", n)
		}
	})
}

// TestHunt09_GoexitInTask lets tasks, timers and packet handlers end the
// goroutine.
func TestHunt09_GoexitInTask(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.Loops = 1
		s := epitest.Start(t, e, epitest.EchoHandler)
		packets, err := e.ListenPacket("udp://127.0.0.1:0", func(*epi.PacketConn) epi.PacketHandler { return exitingPackets{} })
		if err != nil {
			t.Fatal(err)
		}
		client := s.Dial()
		l, err := e.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		ran := make(chan int, 2)
		exit := func() { ran <- 1; runtime.Goexit() }
		for _, begin := range []func(){
			func() { _ = l.Do(exit); _ = l.Do(func() { ran <- 2 }) },
			func() { l.After(0, exit); l.After(0, func() { ran <- 2 }) },
		} {
			epitest.OnLoop(t, l, begin)
			if first, second := epitest.Receive(t, ran), epitest.Receive(t, ran); first != 1 || second != 2 {
				t.Errorf("%d and %d ran", first, second)
			}
			epitest.RoundTrip(t, client, "after")
		}
		ticks := make(chan struct{}, 100)
		every := l.Every(time.Millisecond, epi.Skip, func() { ticks <- struct{}{}; runtime.Goexit() })
		for range 3 {
			epitest.Receive(t, ticks)
		}
		every.Stop()
		udp, err := net.Dial("udp", packets.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer udp.Close()
		_ = udp.SetDeadline(time.Now().Add(epitest.Patience))
		answer := make([]byte, 100)
		for _, text := range []string{"one", "exit", "two"} {
			if _, err := udp.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			if text == "exit" {
				continue
			}
			if n, err := udp.Read(answer); err != nil || string(answer[:n]) != text {
				t.Fatalf("read %q, %v", answer[:n], err)
			}
		}
	})
}

// exitingPackets echoes datagrams and ends its goroutine when it is to.
type exitingPackets struct{}

func (exitingPackets) OnPacket(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
	if string(p) == "exit" {
		runtime.Goexit()
	}
	_ = c.WriteTo(p, from)
}

func (exitingPackets) OnClose(*epi.PacketConn, error) { runtime.Goexit() }

// TestHunt09_GoexitInHandshake ends the goroutine in a function of the tls.Config.
func TestHunt09_GoexitInHandshake(t *testing.T) {
	server, client, err := epitest.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.MaxHandshakes = 1
		var seen atomic.Bool
		e.TLS = server.Clone()
		e.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if !seen.Swap(true) {
				runtime.Goexit()
			}
			return nil, nil
		}
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
		dialer := net.Dialer{Timeout: epitest.Patience}
		if c, err := tls.DialWithDialer(&dialer, "tcp", s.Addr(), client); err == nil {
			_ = c.Close()
			t.Error("a handshake ended its goroutine and goes on")
		}
		c, err := tls.DialWithDialer(&dialer, "tcp", s.Addr(), client) // has the only slot
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		epitest.RoundTrip(t, c, "another")
	})
}

// TestHunt09_GoexitAndShutdown ends an engine some of whose connections end the
// goroutine while it drains.
func TestHunt09_GoexitAndShutdown(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		ln, err := e.Listen("tcp://127.0.0.1:0", func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: epitest.Echo, Close: func(*epi.Conn, error) { runtime.Goexit() }}
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		for range 10 {
			epitest.RoundTrip(t, epitest.DialPlain(t, ln), "here")
		}
		cancel()
		if err := epitest.Receive(t, ended); err != nil {
			t.Error(err)
		}
	})
}

// TestHunt09_ResumeWithoutPause calls Resume in each OnData while a message is
// incomplete.
func TestHunt09_ResumeWithoutPause(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		var calls atomic.Int64
		s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				calls.Add(1)
				c.Resume()
				if len(c.Unread()) < 4 {
					return nil
				}
				return epitest.Echo(c)
			}}
		})
		c := s.Dial()
		for _, piece := range []string{"a", "b", "c", "d"} {
			before := calls.Load()
			epitest.Say(t, c, piece)
			epitest.WaitUntil(t, "it arrives", func() bool { return calls.Load() > before })
		}
		epitest.Expect(t, c, "abcd")
		if n := calls.Load(); n > 4 {
			t.Errorf("four pieces came, and OnData was called %d times", n)
		}
	})
}
