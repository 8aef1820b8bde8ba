package socket_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// resolverOf returns a resolver that knows these addresses for every name.
func resolverOf(addrs ...string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			for answerName(server, addrs) == nil {
			}
		}()
		return client, nil
	}}
}

// answerName answers one question over a stream (RFC 1035, sections 4.1 and 4.2.2).
func answerName(c net.Conn, addrs []string) error {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return err
	}
	question := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, question); err != nil {
		return err
	}
	end := 12
	for question[end] != 0 {
		end += 1 + int(question[end])
	}
	end += 5 // the end of the name, type and class
	kind := binary.BigEndian.Uint16(question[end-4:])
	answer := append([]byte(nil), question[:end]...)
	count := 0
	for _, text := range addrs {
		ip := netip.MustParseAddr(text)
		if kind != 1 && ip.Is4() || kind != 28 && ip.Is6() {
			continue
		}
		count++
		answer = append(answer, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 60, 0, byte(len(ip.AsSlice())))
		answer = append(answer, ip.AsSlice()...)
	}
	answer[2], answer[3] = 0x81, 0x80
	binary.BigEndian.PutUint16(answer[6:], uint16(count))
	answer[8], answer[9], answer[10], answer[11] = 0, 0, 0, 0
	_, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	return err
}

// holes listens at the addresses, on a port that is free at all of them, where
// nobody gets in: connecting has no answer.
func holes(t *testing.T, addrs ...string) (port int) {
	t.Helper()
	for _, addr := range addrs {
		ln, err := net.Listen("tcp", net.JoinHostPort(addr, strconv.Itoa(port)))
		if err != nil {
			t.Skipf("a port that is free at %v: %v", addrs, err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		epitest.Fill(t, ln)
		port = ln.Addr().(*net.TCPAddr).Port
	}
	return port
}

func addressOf(scheme string, port int) string {
	return scheme + "://many.example:" + strconv.Itoa(port)
}

// TestHunt14_OneOfManyAddressesAnswers dials a name whose addresses all but one
// swallow what is sent to them, whatever their order.
func TestHunt14_OneOfManyAddressesAnswers(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		port := holes(t, "::1", "127.0.0.2")
		ln, err := net.Listen("tcp", "127.0.0.3:"+strconv.Itoa(port))
		if err != nil {
			t.Skip(err)
		}
		defer ln.Close()
		e := m.Engine()
		epitest.Run(t, e)
		h := newCaller()
		o := epi.DialOptions{Resolver: resolverOf("::1", "127.0.0.2", "127.0.0.3")}
		c, err := e.DialWith(t.Context(), addressOf("tcp", port), o, h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		peer := epitest.Accept(t, ln)
		epitest.RoundTrip(t, echoBack{peer}, "hello")
		if got := c.RemoteAddr().String(); got != ln.Addr().String() {
			t.Errorf("the peer is %s, want %s", got, ln.Addr())
		}
		_ = peer.Close()
		if err := epitest.Receive(t, h.closed); err != io.EOF {
			t.Errorf("closed with %v", err)
		}
		if got := h.heard.String(); got != "open close" {
			t.Errorf("got %q", got)
		}
	})
}

// echoBack has RoundTrip only read.
type echoBack struct{ net.Conn }

func (echoBack) Write(p []byte) (int, error) { return len(p), nil }

// TestHunt14_AllAddressesRefuse: the error names the first.
func TestHunt14_AllAddressesRefuse(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		epitest.Run(t, e)
		h := newCaller()
		o := epi.DialOptions{Resolver: resolverOf("127.0.0.2", "127.0.0.3")}
		if _, err := e.DialWith(t.Context(), addressOf("tcp", 1), o, h); err != nil {
			t.Fatal(err)
		}
		err := epitest.Receive(t, h.closed)
		if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "many.example") || !strings.Contains(err.Error(), "127.0.0.") {
			t.Errorf("closed with %v", err)
		}
	})
}

// TestHunt14_EndOfARace ends one in every way: by its context, its time, Abort,
// Close, and the end of the engine, which must not wait for it.
func TestHunt14_EndOfARace(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		port := holes(t, "::1", "127.0.0.2", "127.0.0.3")
		o := epi.DialOptions{Resolver: resolverOf("::1", "127.0.0.2", "127.0.0.3")}
		e := m.Engine()
		stop := epitest.Run(t, e)
		dialled := func(ctx context.Context, o epi.DialOptions) (*epi.Conn, *caller) {
			t.Helper()
			h := newCaller()
			c, err := e.DialWith(ctx, addressOf("tcp", port), o, h)
			if err != nil {
				t.Fatal(err)
			}
			return c, h
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, byContext := dialled(ctx, o)
		aborted, byAbort := dialled(t.Context(), o)
		closed, byClose := dialled(t.Context(), o)
		short := o
		short.Timeout = 10 * time.Millisecond
		_, byTimeout := dialled(t.Context(), short)
		_, byShutdown := dialled(t.Context(), o)

		if err := epitest.Receive(t, byTimeout.closed); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Timeout") {
			t.Errorf("after Timeout: %v", err)
		}
		cancel()
		if err := epitest.Receive(t, byContext.closed); !errors.Is(err, context.Canceled) {
			t.Errorf("after the context: %v", err)
		}
		_ = aborted.Abort()
		if err := epitest.Receive(t, byAbort.closed); err != epi.ErrAborted {
			t.Errorf("after Abort: %v", err)
		}
		_ = closed.Close()
		if err := epitest.Receive(t, byClose.closed); err != nil {
			t.Errorf("after Close: %v", err)
		}
		stop()
		if err := epitest.Receive(t, byShutdown.closed); err != epi.ErrShutdown {
			t.Errorf("at the end: %v", err)
		}
	})
}

// TestHunt14_SecureRace shakes hands with the one that answers.
func TestHunt14_SecureRace(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		m.TLS = true
		e := m.Engine()
		port := holes(t, "::1", "127.0.0.2")
		s := epitest.StartOn(t, e, "tls://127.0.0.3:"+strconv.Itoa(port), epitest.EchoHandler)
		got := make(chan string, 1)
		h := newCaller()
		h.Data = func(c *epi.Conn) error { got <- string(c.Unread()); return c.Close() }
		o := epi.DialOptions{Resolver: resolverOf("::1", "127.0.0.2", "127.0.0.3")}
		c, err := s.Engine.DialWith(t.Context(), addressOf("tls", port), o, h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if text := epitest.Receive(t, got); text != "hello" {
			t.Errorf("the echo is %q", text)
		}
	})
}

// TestHunt14_NoHostIsThisMachine leaves the host out: the family of the scheme is
// dialled, or both.
func TestHunt14_NoHostIsThisMachine(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for scheme, hosts := range map[string][]string{
			"tcp4": {"127.0.0.1"}, "tcp6": {"::1"}, "tcp": {"127.0.0.1", "::1"},
		} {
			for _, host := range hosts {
				ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
				if err != nil {
					t.Skip(err)
				}
				defer ln.Close()
				e := m.Engine()
				epitest.Run(t, e)
				h := newCaller()
				c := epitest.Dial(t, e, scheme+"://:"+strconv.Itoa(ln.Addr().(*net.TCPAddr).Port), h)
				_ = epitest.Accept(t, ln).Close()
				if err := epitest.Receive(t, h.closed); err != io.EOF {
					t.Errorf("%s without a host: %v", scheme, err)
				}
				if got := c.RemoteAddr().String(); got != ln.Addr().String() {
					t.Errorf("%s without a host: connected to %s, want %s", scheme, got, ln.Addr())
				}
			}
		}
	})
}

// TestHunt14_ZoneByNumber writes the zone of an address as a number (RFC 4007).
func TestHunt14_ZoneByNumber(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skip(err)
	}
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip(err)
	}
	defer ln.Close()
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		epitest.Run(t, e)
		for _, zone := range []string{lo.Name, strconv.Itoa(lo.Index)} {
			h := newCaller()
			epitest.Dial(t, e, "tcp://[::1%"+zone+"]:"+strconv.Itoa(ln.Addr().(*net.TCPAddr).Port), h)
			_ = epitest.Accept(t, ln).Close()
			if err := epitest.Receive(t, h.closed); err != io.EOF {
				t.Errorf("zone %s: %v", zone, err)
			}
		}
		h := newCaller()
		epitest.Dial(t, e, "tcp://[::1%nowhere0]:1", h)
		if err := epitest.Receive(t, h.closed); err == nil || !strings.Contains(err.Error(), "nowhere0") {
			t.Errorf("a zone that is not there: %v", err)
		}
	})
}

// A watchedContext counts who waits for its end.
type watchedContext struct {
	context.Context
	waiting atomic.Int32
}

func (c *watchedContext) AfterFunc(f func()) (stop func() bool) {
	c.waiting.Add(1)
	stopParent := context.AfterFunc(c.Context, f)
	var once atomic.Bool
	return func() bool {
		if once.CompareAndSwap(false, true) {
			c.waiting.Add(-1)
		}
		return stopParent()
	}
}

// TestHunt14_LookUpGivenUpLeavesNothing gives Dials up during the look-up, whose
// context goes on.
func TestHunt14_LookUpGivenUpLeavesNothing(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		var asked, answered atomic.Int32
		o := epi.DialOptions{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			asked.Add(1)
			<-ctx.Done()
			answered.Add(1)
			return nil, ctx.Err()
		}}}
		ctx := &watchedContext{Context: t.Context()}
		e := m.Engine()
		epitest.Run(t, e)
		for i := range 10 {
			before := asked.Load()
			h := newCaller()
			// A name of its own: those of one name share what is asked.
			c, err := e.DialWith(ctx, "tcp://name"+strconv.Itoa(i)+".example:1", o, h)
			if err != nil {
				t.Fatal(err)
			}
			epitest.WaitUntil(t, "the name is looked up", func() bool { return asked.Load() > before })
			_ = c.Abort()
			if err := epitest.Receive(t, h.closed); err != epi.ErrAborted {
				t.Errorf("closed with %v", err)
			}
		}
		epitest.WaitUntil(t, "nobody looks up", func() bool { return asked.Load() == answered.Load() })
		epitest.WaitUntil(t, "nobody waits for the context", func() bool { return ctx.waiting.Load() == 0 })
	})
}

// TestProgram04_DialOnALoop chooses the loop; one of another engine is refused.
func TestProgram04_DialOnALoop(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		for i := range s.Engine.Loops {
			l, err := s.Engine.Loop(i)
			if err != nil {
				t.Fatal(err)
			}
			for range 5 {
				got := make(chan *epi.Loop, 1)
				h := newCaller()
				h.Open = func(c *epi.Conn) error { got <- c.Loop(); return c.Close() }
				if _, err := s.Engine.DialWith(t.Context(), s.Listener.String(), epi.DialOptions{Loop: l}, h); err != nil {
					t.Fatal(err)
				}
				if on := epitest.Receive(t, got); on != l {
					t.Errorf("dialled on loop %d, want %d", on.Index(), i)
				}
				epitest.Receive(t, h.closed)
			}
		}
		other := m.Engine()
		epitest.Run(t, other)
		l, err := other.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Engine.DialWith(t.Context(), s.Listener.String(), epi.DialOptions{Loop: l}, newCaller()); err == nil {
			t.Error("a loop of another engine was taken")
		}
	})
}

// TestProgram04_DialTimeout bounds connecting, and the look-up.
func TestProgram04_DialTimeout(t *testing.T) {
	eachDial(t, func(t *testing.T, m epitest.Mode, network string) {
		_, address := epitest.FullListener(t, network)
		e := m.Engine()
		epitest.Run(t, e)
		silent := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		for _, address := range []string{address, "tcp://silent.example:1"} {
			h := newCaller()
			o := epi.DialOptions{Timeout: 10 * time.Millisecond, Resolver: silent}
			if _, err := e.DialWith(t.Context(), address, o, h); err != nil {
				t.Fatal(err)
			}
			if err := epitest.Receive(t, h.closed); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "DialOptions.Timeout") {
				t.Errorf("%s: %v", address, err)
			}
		}
		if _, err := e.DialWith(t.Context(), address, epi.DialOptions{Timeout: -1}, newCaller()); err == nil {
			t.Error("a negative Timeout was taken")
		}
	})
}

// TestProgram04_TimeoutEndsNothingThatIsOpen waits until it is over.
func TestProgram04_TimeoutEndsNothingThatIsOpen(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		s := epitest.Start(t, e, epitest.EchoHandler)
		l, err := e.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		opened, echoed := make(chan struct{}, 1), make(chan string, 1)
		h := newCaller()
		h.Open = func(*epi.Conn) error { opened <- struct{}{}; return nil }
		h.Data = func(c *epi.Conn) error { echoed <- string(c.Unread()); return c.Close() }
		// Long, because the machine may be slow; the timer that is asked for
		// after it is due after it.
		o := epi.DialOptions{Timeout: time.Second, Loop: l}
		c, err := e.DialWith(t.Context(), s.Listener.String(), o, h)
		if err != nil {
			t.Fatal(err)
		}
		after := make(chan struct{})
		l.After(o.Timeout, func() { close(after) })
		select {
		case <-opened:
		case err := <-h.closed:
			t.Skipf("the machine is too slow for this: %v", err)
		}
		epitest.Receive(t, after)
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if text := epitest.Receive(t, echoed); text != "hello" {
			t.Errorf("the echo is %q", text)
		}
	})
}
