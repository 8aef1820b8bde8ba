package socket_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A proxy is an engine that pipes what it accepts to a listener of package net.
type proxy struct {
	*epitest.Server
	back   net.Listener
	closed chan error // from the handlers of both ends
	piped  chan pipedConns
}

// pipedConns are the two connections of a Pipe.
type pipedConns struct{ near, far *epi.Conn }

// startProxy pipes to a listener on 127.0.0.1. With sameLoop the two ends have one
// loop.
func startProxy(t *testing.T, e *epi.Engine, sameLoop bool) *proxy {
	t.Helper()
	return startProxyOn(t, e, epitest.Mode{TLS: e.TLS != nil}.Address(), sameLoop)
}

func startProxyOn(t *testing.T, e *epi.Engine, address string, sameLoop bool) *proxy {
	t.Helper()
	back, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startProxyTo(t, back, e, address, sameLoop)
}

// startProxyTo is startProxyOn with the server at the back.
func startProxyTo(t *testing.T, back net.Listener, e *epi.Engine, address string, sameLoop bool) *proxy {
	t.Helper()
	t.Cleanup(func() { _ = back.Close() })
	p := &proxy{back: back, closed: make(chan error, 64), piped: make(chan pipedConns, 64)}
	ended := func() *epitest.Funcs {
		return &epitest.Funcs{
			Data:  func(*epi.Conn) error { t.Error("OnData of a handler whose connection is piped"); return nil },
			Close: func(_ *epi.Conn, err error) { p.closed <- err },
		}
	}
	p.Server = epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler {
		h := ended()
		h.Open = func(c *epi.Conn) error {
			var o epi.DialOptions
			if sameLoop {
				o.Loop = c.Loop()
			}
			far := ended()
			if e.Workers > 0 { // it may speak before it is piped: what it says stays unread until then
				far.Data = func(*epi.Conn) error { return nil }
			}
			server, err := e.DialWith(context.Background(), "tcp://"+back.Addr().String(), o, far)
			if err != nil {
				return err
			}
			p.piped <- pipedConns{c, server}
			return epi.Pipe(c, server)
		}
		return h
	})
	return p
}

// connectBoth returns a client of the proxy and the connection that the server at
// its back has accepted for it.
func (p *proxy) connectBoth(t *testing.T) (client, server net.Conn) {
	t.Helper()
	client = p.Dial()
	return client, epitest.Accept(t, p.back)
}

func (p *proxy) expectEnds(t *testing.T, want func(error) bool) {
	t.Helper()
	for range 2 {
		if err := epitest.Receive(t, p.closed); !want(err) {
			t.Errorf("an end was closed with %v", err)
		}
	}
}

func inOrder(err error) bool { return err == nil || err == io.EOF }

// eachPipe runs a test for every mode and transport of the client, with both ends
// on one loop and wherever they come to be.
func eachPipe(t *testing.T, test func(t *testing.T, m epitest.Mode, sameLoop bool)) {
	t.Helper()
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		for name, same := range map[string]bool{"one loop": true, "any loop": false} {
			t.Run(name, func(t *testing.T) { test(t, m, same) })
		}
	})
}

// TestProgram10_PipeBothWays passes bytes, and the end of each direction while the
// other goes on.
func TestProgram10_PipeBothWays(t *testing.T) {
	eachPipe(t, func(t *testing.T, m epitest.Mode, same bool) {
		p := startProxy(t, m.Engine(), same)
		client, server := p.connectBoth(t)
		epitest.Say(t, client, "question")
		epitest.Expect(t, server, "question")
		epitest.Say(t, server, "answer")
		epitest.Expect(t, client, "answer")
		epitest.CloseWrite(t, client)
		epitest.ExpectEOF(t, server)
		large := epitest.Pattern(3 << 20)
		sent := make(chan error, 1)
		go func() {
			_, err := server.Write(large)
			sent <- errors.Join(err, server.(*net.TCPConn).CloseWrite())
		}()
		got, err := io.ReadAll(client)
		if err != nil || !bytes.Equal(got, large) {
			t.Errorf("received %d of %d bytes, %v", len(got), len(large), err)
		}
		if err := epitest.Receive(t, sent); err != nil {
			t.Error(err)
		}
		p.expectEnds(t, inOrder)
	})
}

// TestProgram10_PipeHoldsLittle has a client send to a server that does not read:
// the client has to wait, and then all of it arrives.
func TestProgram10_PipeHoldsLittle(t *testing.T) {
	eachPipe(t, func(t *testing.T, m epitest.Mode, same bool) {
		e := m.Engine()
		e.HighWater, e.LowWater, e.MaxQueued = 64<<10, 16<<10, 1<<20
		p := startProxy(t, e, same)
		client, server := p.connectBoth(t)
		large := epitest.Pattern(12 << 20)
		sent := make(chan error, 1)
		go func() {
			_, err := client.Write(large)
			sent <- errors.Join(err, client.(interface{ CloseWrite() error }).CloseWrite())
		}()
		// Nobody reads until the proxy has stopped taking in.
		var before uint64
		epitest.WaitUntil(t, "the proxy takes no more", func() bool {
			now := e.Stats().BytesIn
			same := now > 0 && now == before
			before = now
			time.Sleep(20 * time.Millisecond) // a look too early only makes the test easier
			return same
		})
		got, err := io.ReadAll(server)
		if err != nil || !bytes.Equal(got, large) {
			t.Errorf("received %d of %d bytes, %v", len(got), len(large), err)
		}
		if err := epitest.Receive(t, sent); err != nil {
			t.Error(err)
		}
		_ = server.Close()
		epitest.ExpectEOF(t, client)
		p.expectEnds(t, inOrder)
	})
}

// TestProgram10_PipeDirectionsAreApart: a server sends all it has before it reads,
// while the client sends and reads at once. That the way to the server is full
// must not stop what comes from it.
func TestProgram10_PipeDirectionsAreApart(t *testing.T) {
	eachPipe(t, func(t *testing.T, m epitest.Mode, same bool) {
		e := m.Engine()
		e.HighWater, e.LowWater = 64<<10, 16<<10
		p := startProxy(t, e, same)
		client, server := p.connectBoth(t)
		large := epitest.Pattern(12 << 20)
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := client.Write(large); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if _, err := server.Write(large); err != nil {
				t.Error(err)
			}
			got := make([]byte, len(large))
			if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, large) {
				t.Errorf("the server has received something else: %v", err)
			}
		})
		got := make([]byte, len(large))
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, large) {
			t.Errorf("the client has received something else: %v", err)
		}
		all.Wait()
	})
}

// TestProgram10_PipePassesResetsOn resets either side.
func TestProgram10_PipePassesResetsOn(t *testing.T) {
	eachPipe(t, func(t *testing.T, m epitest.Mode, same bool) {
		p := startProxy(t, m.Engine(), same)
		for range 2 {
			for _, clientFirst := range []bool{true, false} {
				client, server := p.connectBoth(t)
				epitest.Say(t, client, "x")
				epitest.Expect(t, server, "x")
				first, second := client, server
				if !clientFirst {
					first, second = server, client
				}
				epitest.Reset(t, first)
				if _, err := io.ReadAll(second); err == nil {
					t.Error("the other side saw an orderly end")
				}
				p.expectEnds(t, func(err error) bool { return !inOrder(err) })
			}
		}
	})
}

// TestProgram10_PipeWhoseOtherEndCloses has one end close, and wait for a peer that does
// not read, while the other waits for room in it: a reset of the other is noticed all
// the same, and not after Linger.
func TestProgram10_PipeWhoseOtherEndCloses(t *testing.T) {
	eachPipe(t, func(t *testing.T, m epitest.Mode, same bool) {
		t.Parallel()
		e := m.Engine()
		e.HighWater, e.LowWater, e.Linger = 64<<10, 16<<10, time.Hour
		p := startProxy(t, e, same)
		client, server := p.connectBoth(t)
		_ = server.(*net.TCPConn).SetReadBuffer(64 << 10)
		conns := epitest.Receive(t, p.piped)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for piece := make([]byte, 1<<20); ; {
				if _, err := client.Write(piece); err != nil {
					return
				}
			}
		}()
		// A look too early only makes the test easier: the kernel takes the rest.
		epitest.WaitUntil(t, "the proxy takes no more", func() bool {
			return conns.near.Info().Paused && conns.far.Info().Congested
		})
		epitest.Settled(t, "what the proxy sends", func() uint64 { return e.Stats().BytesOut })
		if err := conns.far.Close(); err != nil {
			t.Fatal(err)
		}
		epitest.Reset(t, client)
		p.expectEnds(t, func(err error) bool { return !errors.Is(err, epi.ErrLinger) })
		epitest.Receive(t, sent)
	})
}

// TestProgram10_PipeToNobody: a client whose server cannot be reached sees no
// orderly end.
func TestProgram10_PipeToNobody(t *testing.T) {
	eachPipe(t, func(t *testing.T, m epitest.Mode, same bool) {
		e := m.Engine()
		c, err := startProxyTo(t, epitest.Bound(t), e, epitest.Mode{TLS: e.TLS != nil}.Address(), same).Connect()
		if err != nil {
			return // reset within the handshake
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(epitest.Patience))
		if _, err := io.WriteString(c, "anybody?"); err != nil {
			return // it was reset meanwhile
		}
		if _, err := io.ReadAll(c); err == nil {
			t.Error("the client saw an orderly end")
		}
	})
}

// TestProgram10_PipeEndsWithTheEngine drains.
func TestProgram10_PipeEndsWithTheEngine(t *testing.T) {
	eachPipe(t, func(t *testing.T, m epitest.Mode, same bool) {
		p := startProxy(t, m.Engine(), same)
		client, server := p.connectBoth(t)
		epitest.Say(t, client, "x")
		epitest.Expect(t, server, "x")
		p.Cancel()
		epitest.ExpectEOF(t, client)
		epitest.ExpectEOF(t, server)
		p.expectEnds(t, func(err error) bool { return inOrder(err) || err == epi.ErrShutdown })
	})
}

// TestProgram10_PipeRefuses says what cannot be piped.
func TestProgram10_PipeRefuses(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		opened, ended := make(chan *epi.Conn, 4), make(chan error, 4)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open:  func(c *epi.Conn) error { opened <- c; return nil },
				Close: func(_ *epi.Conn, err error) { ended <- err },
			}
		})
		conns := make([]*epi.Conn, 4)
		for i := range conns {
			s.Dial()
			conns[i] = epitest.Receive(t, opened)
		}
		if err := epi.Pipe(conns[0], conns[0]); err == nil {
			t.Error("a connection was piped to itself")
		}
		_ = conns[0].Close()
		if err := epitest.Receive(t, ended); err != nil {
			t.Errorf("closed with %v", err)
		}
		if err := epi.Pipe(conns[0], conns[1]); !errors.Is(err, epi.ErrClosed) {
			t.Errorf("a closed one: %v", err)
		}
		if err := epitest.Receive(t, ended); err != epi.ErrAborted {
			t.Errorf("the other is closed with %v", err)
		}
		if err := epi.Pipe(conns[2], conns[3]); err != nil {
			t.Error(err)
		}
		// The first to find out may have ended both by now.
		if err := epi.Pipe(conns[2], conns[3]); err != nil && !errors.Is(err, epi.ErrClosed) {
			t.Error(err)
		}
		for range 2 {
			if err := epitest.Receive(t, ended); inOrder(err) {
				t.Errorf("piped twice, and closed with %v", err)
			}
		}
	})
}
