package ws

import (
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/gobwas/ws"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// Both ends send their close frames before they have the other's.
//
//	client:  text "hold"                text "late"   close frame
//	server:  OnMessage (does not return...............................)
//	test:                               "first"  Close, Close again
//	each drops the other's message or reads it, and its close frame; OnClose gets no fault, once
func TestH01_SimultaneousClose(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		held, free := make(chan *Conn, 2), make(chan struct{})
		release := sync.OnceFunc(func() { close(free) })
		defer release()
		s, ended := ends(funcs{message: func(c *Conn, _ Opcode, p []byte) error {
			held <- c
			<-free
			return nil
		}})
		es := epitest.Start(t, m.Serial(), s.Serve)
		client := es.Dial()
		r := open(t, client, "", "")
		epitest.Say(t, client, text("hold"))
		c := epitest.Receive(t, held)
		epitest.Say(t, client, text("late")+bye)
		epitest.AwaitArrival(t, client)
		if err := errors.Join(c.Write(Text, []byte("first")), c.Close(GoingAway, "")); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(Normal, ""); err != ErrClosed {
			t.Errorf("the second Close returns %v", err)
		}
		release()
		if got := told(t, r); got != "t:first close:1001" {
			t.Errorf("the server says %q", got)
		}
		if err := epitest.Receive(t, ended); err != nil {
			t.Errorf("OnClose got %v", err)
		}
		if err := es.Stop(); err != nil {
			t.Error(err)
		}
		if len(held) > 0 {
			t.Error("a message came after Close")
		}
		if len(ended) > 0 {
			t.Errorf("OnClose again: %v", <-ended)
		}
	})
}

// The loop learns of the messages and of the reset at once.
//
//	client:  whole messages, a part of one   resets
//	server:  (loop held...............................) OnMessage for each whole one, then OnClose, once
func TestH03_ResetAfterMessages(t *testing.T) {
	rows := []struct {
		name, tail string
		queued     bool // something waits to be sent
	}{
		{"between messages", "", false},
		{"in the middle of a frame", text("never whole")[:9], false},
		{"in the middle of a header", text(strings.Repeat("x", 200))[:3], false},
		{"in the middle of a message", begin("never whole"), false},
		{"in the middle of a frame, with a message queued", text("never whole")[:9], true},
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for _, row := range rows {
			var heard epitest.Words
			conns := make(chan *Conn, 1)
			s, ended := ends(funcs{
				open:    func(c *Conn) error { conns <- c; return nil },
				message: func(_ *Conn, _ Opcode, p []byte) error { heard.Add("%s", p); return nil },
			})
			es := epitest.Start(t, m.Serial(), s.Serve)
			client := es.Dial()
			open(t, client, "", "")
			c := epitest.Receive(t, conns)
			release := epitest.Hold(t, c.Conn().Loop())
			epitest.Say(t, client, text("a")+begin("b")+last("c")+row.tail)
			epitest.AwaitArrival(t, client)
			if row.queued {
				if err := c.Write(Binary, make([]byte, testMax)); err != nil {
					t.Fatal(err)
				}
			}
			epitest.Reset(t, client)
			epitest.AwaitReset(t, client)
			release()
			if err := epitest.Receive(t, ended); !isReset(err) {
				t.Errorf("%s: OnClose got %v", row.name, err)
			}
			if heard.String() != "a bc" {
				t.Errorf("%s: of the messages %q came", row.name, &heard)
			}
			if err := es.Stop(); err != nil {
				t.Error(err)
			}
			if len(ended) > 0 {
				t.Errorf("%s: OnClose again: %v", row.name, <-ended)
			}
		}
	})
}

// A reset while messages wait for room, in the open connection and after Close.
func TestH03_ResetDuringWrite(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for name, after := range map[string]func(c *Conn) error{
			"open":    func(*Conn) error { return nil },
			"closing": func(c *Conn) error { return c.Close(Normal, "") },
		} {
			conns := make(chan *Conn, 1)
			s, ended := ends(funcs{open: func(c *Conn) error {
				_, err := writeAll(c, eightMiB)
				conns <- c
				return errors.Join(err, after(c))
			}})
			client := serve(t, m, s).DialNarrow()
			open(t, client, "", "")
			c := epitest.Receive(t, conns)
			if n := epitest.Settled(t, "the queue", func() uint64 { return uint64(c.Conn().Queued()) }); n == 0 {
				t.Fatal("nothing is queued: this shows nothing")
			}
			epitest.Reset(t, client)
			if err := epitest.Receive(t, ended); !isReset(err) {
				t.Errorf("%s: OnClose got %v", name, err)
			}
		}
	})
}

// Clients reset where in the upgrade they please, and as soon as it is done: who
// has had OnOpen gets OnClose.
func TestH04_ResetAroundTheUpgrade(t *testing.T) {
	const each = 5
	ways := []string{"", requestLines[:50], requestLines, requestLines + "\r\n", requestLines + "\r\n" + text("a")}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		var opens, closes atomic.Int32
		s := handled(func() Handler {
			return &funcs{
				open:    func(*Conn) error { opens.Add(1); return nil },
				message: echo{}.OnMessage,
				close: func(_ *Conn, err error) {
					closes.Add(1)
					if !isReset(err) {
						t.Errorf("OnClose got %v", err)
					}
				},
			}
		})
		es := serve(t, m, s)
		for range each {
			for _, way := range ways {
				client := es.Dial()
				epitest.Say(t, client, way)
				epitest.Reset(t, client)
			}
			client := es.Dial()
			open(t, client, "", "")
			epitest.Reset(t, client)
		}
		all := uint64(each * (len(ways) + 1))
		epitest.WaitUntil(t, "all have come and gone", func() bool { return es.Engine.Stats().Closed == all })
		if err := es.Stop(); err != nil {
			t.Error(err)
		}
		if o, c := opens.Load(), closes.Load(); o != c || o < each {
			t.Errorf("OnOpen was called %d times, OnClose %d times", o, c)
		}
	})
}

// endings are the ways to end a connection.
var endings = []struct {
	name string
	end  func(c *Conn) error
}{
	{"Close", func(c *Conn) error { return c.Close(Normal, "") }},
	{"Abort", (*Conn).Abort},
}

// Both connections have messages in one batch; who is served first ends the other.
//
//	clients:   a writes   b writes
//	loop:      (held..............) batch {a, b}: OnMessage of one ends the other
//	handlers:                       one gets "message close", the other "close"
func TestL01_CloseOtherInSameBatch(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for _, way := range endings {
			var heard [2]epitest.Words
			var conns [2]*Conn
			opened, closed := make(chan struct{}, 2), make(chan int, 2)
			made := 0
			s := handled(func() Handler {
				me := made
				made++
				return &funcs{
					open: func(c *Conn) error { conns[me] = c; opened <- struct{}{}; return nil },
					message: func(*Conn, Opcode, []byte) error {
						heard[me].Add("message")
						return way.end(conns[1-me])
					},
					close: func(*Conn, error) { heard[me].Add("close"); closed <- me },
				}
			})
			es := epitest.Start(t, m.Serial(), s.Serve)
			var clients [2]net.Conn
			for i := range clients {
				clients[i] = es.Dial()
				open(t, clients[i], "", "")
				epitest.Receive(t, opened)
			}
			release := epitest.Hold(t, conns[0].Conn().Loop())
			for _, c := range clients {
				epitest.Say(t, c, text("x"))
				epitest.AwaitArrival(t, c)
			}
			release()
			for _, c := range clients {
				_ = c.Close() // nobody answers the close frame
			}
			ended := epitest.Receive(t, closed)
			epitest.Receive(t, closed)
			if heard[ended].String() != "close" {
				ended = 1 - ended
			}
			if heard[ended].String() != "close" || heard[1-ended].String() != "message close" {
				t.Errorf("%s: one got %q, the other %q", way.name, &heard[0], &heard[1])
			}
			if err := es.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

// The handler ends its connection in the first of many messages.
func TestL02_CloseItselfWhileMessagesWait(t *testing.T) {
	rows := []struct {
		name string
		end  func(c *Conn) error
		says string // the server; "reset" stands for itself
	}{
		{"Close", func(c *Conn) error { return c.Close(Normal, "") }, "t:bye close:1000"},
		{"Close without a code", func(c *Conn) error { return c.Close(NoStatus, "") }, "t:bye close"},
		{"Abort", (*Conn).Abort, "reset"},
		{"an error", func(*Conn) error { return errors.New("angry") }, "t:bye close:1011"},
		{"a panic", func(*Conn) error { panic("angry") }, "t:bye"},
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for _, row := range rows {
			var heard epitest.Words
			s, ended := ends(funcs{message: func(c *Conn, _ Opcode, p []byte) error {
				heard.Add("%s", p)
				return errors.Join(c.Write(Text, []byte("bye")), row.end(c))
			}})
			client := serve(t, m, s).Dial()
			r := open(t, client, "", "")
			epitest.Say(t, client, text("1")+begin("2")+ping("p")+last("3")+text("4")+bye)
			if row.says == "reset" {
				if _, err := io.Copy(io.Discard, r); !isReset(err) {
					t.Errorf("%s: the client reads %v", row.name, err)
				}
			} else if got := told(t, r); got != row.says {
				t.Errorf("%s: the server says %q, want %q", row.name, got, row.says)
			}
			_ = client.Close()
			epitest.Receive(t, ended)
			if heard.String() != "1" {
				t.Errorf("%s: the handler got %q", row.name, &heard)
			}
		}
	})
}

func TestL04_OneOnClose(t *testing.T) {
	const closers = 100
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for _, way := range endings {
			conns := make(chan *Conn, 1)
			var calls, first atomic.Int32
			s := handled(func() Handler {
				return &funcs{
					open: func(c *Conn) error { conns <- c; return nil },
					close: func(c *Conn, _ error) {
						calls.Add(1)
						if err := c.Close(Normal, ""); err != ErrClosed {
							t.Errorf("Close inside OnClose returns %v", err)
						}
					},
				}
			})
			es := serve(t, m, s)
			client := es.Dial()
			open(t, client, "", "")
			c := epitest.Receive(t, conns)
			var all sync.WaitGroup
			for range closers {
				all.Go(func() {
					switch err := way.end(c); err {
					case nil:
						first.Add(1)
					case ErrClosed:
					default:
						t.Errorf("%s: a later one returns %v", way.name, err)
					}
				})
			}
			all.Wait()
			_ = client.Close()
			if err := es.Stop(); err != nil {
				t.Fatal(err)
			}
			if first.Load() != 1 || calls.Load() != 1 {
				t.Errorf("%s: %d of %d calls ended the connection, OnClose was called %d times", way.name, first.Load(), closers, calls.Load())
			}
		}
	})
}

// TestL05_UseAfterClose calls everything after Close, after OnClose, and after
// the end of the engine.
func TestL05_UseAfterClose(t *testing.T) {
	use := func(t *testing.T, c *Conn) {
		t.Helper()
		for name, err := range map[string]error{
			"Write": c.Write(Text, []byte("to nobody")),
			"Send":  c.Send(Prepare(Text, []byte("to nobody"))),
			"Ping":  c.Ping(nil),
			"Close": c.Close(Normal, ""),
		} {
			if err != ErrClosed {
				t.Errorf("%s returns %v", name, err)
			}
		}
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		conns := make(chan *Conn, 1)
		s, ended := ends(funcs{open: func(c *Conn) error { conns <- c; return c.Close(Normal, "") }})
		es := serve(t, m, s)
		client := es.Dial()
		r := open(t, client, "", "")
		c := epitest.Receive(t, conns)
		expectClose(t, r, Normal) // now Close has returned
		use(t, c)
		epitest.Say(t, client, bye)
		if err := epitest.Receive(t, ended); err != nil {
			t.Errorf("OnClose got %v", err)
		}
		use(t, c)
		if err := c.Abort(); err != ErrClosed {
			t.Errorf("Abort returns %v", err)
		}
		if err := es.Stop(); err != nil {
			t.Fatal(err)
		}
		use(t, c)
		if got, want := c.Conn().RemoteAddr().String(), client.LocalAddr().String(); got != want {
			t.Errorf("RemoteAddr is %s, want %s", got, want)
		}
	})
}

func TestL06_DialRefused(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		held := epitest.Bound(t) // a port that is free could be another's
		defer held.Close()
		es := serve(t, m, echoServer())
		scheme := map[string]string{"tcp": "ws", "tls": "wss"}[m.Network()]
		url := scheme + "://" + held.Addr().String()
		if _, err := Dial(t.Context(), es.Engine, url, Options{}, echo{}); !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), url) {
			t.Errorf("the error is %v", err)
		}
	})
}

// The server accepts and does not answer; the engine ends.
func TestL06_ShutdownWhileDialling(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		_, address := epitest.Listen(t, "tcp")
		es := serve(t, m, echoServer())
		result := make(chan error, 1)
		go func() {
			_, err := Dial(t.Context(), es.Engine, "ws"+strings.TrimPrefix(address, "tcp"), Options{}, echo{})
			result <- err
		}()
		epitest.WaitUntil(t, "the request is sent", func() bool { return es.Engine.Stats().BytesOut > 0 })
		if err := es.Stop(); err != nil {
			t.Error(err)
		}
		if err := epitest.Receive(t, result); !errors.Is(err, epi.ErrShutdown) {
			t.Errorf("the error is %v", err)
		}
	})
}

// publicCall matches the frames of calls that could cause a callback.
var publicCall = regexp.MustCompile(`epi/ws\.\(\*Conn\)\.(Write|Send|Ping|Close|Abort)$`)

// TestL07_NoCallbackInsideTheCallThatCausesIt makes the calls in OnMessage and in
// another goroutine: a write above HighWater causes OnDrain, Abort OnClose.
func TestL07_NoCallbackInsideTheCallThatCausesIt(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for name, run := range map[string]func(act func()){
			"from a callback": func(act func()) { act() },
			"from a goroutine": func(act func()) {
				done := make(chan struct{})
				go func() { defer close(done); act() }()
				<-done
			},
		} {
			var heard epitest.Words
			called := func(what string) {
				if cause := epitest.CallOnStack(publicCall); cause != "" {
					t.Errorf("%s: %s runs inside %s", name, what, cause)
				}
				heard.Add("%s", what)
			}
			closed := make(chan error, 1)
			e := m.Engine()
			e.HighWater, e.LowWater = 10, 5
			s := handled(func() Handler {
				return &draining{funcs{
					open: func(*Conn) error { called("OnOpen"); return nil },
					message: func(c *Conn, _ Opcode, p []byte) error {
						called("OnMessage")
						run(func() {
							var err error
							if string(p) == "write" {
								err = errors.Join(c.Write(Binary, make([]byte, 100)), c.Ping(nil), c.Send(Prepare(Text, p)))
							} else {
								err = errors.Join(c.Close(Normal, ""), c.Abort())
							}
							if err != nil {
								t.Error(err)
							}
						})
						return nil
					},
					close: func(_ *Conn, err error) { called("OnClose"); closed <- err },
				}, func(*Conn) { called("OnDrain") }}
			})
			client := epitest.Start(t, e, s.Serve).Dial()
			open(t, client, "", text("write"))
			epitest.WaitUntil(t, "OnDrain", func() bool { return strings.HasSuffix(heard.String(), "OnDrain") })
			epitest.Say(t, client, text("end"))
			epitest.Receive(t, closed)
			if got, want := heard.String(), "OnOpen OnMessage OnDrain OnMessage OnClose"; got != want {
				t.Errorf("%s: the handler got %q, want %q", name, got, want)
			}
		}
	})
}

// TestL08_GarbageCollectorRunsAllTheTime moves messages through pooled buffers,
// compressors and prepared frames.
func TestL08_GarbageCollectorRunsAllTheTime(t *testing.T) {
	const clients, rounds = 4, 6
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		s := handled(func() Handler {
			return &funcs{message: func(c *Conn, op Opcode, p []byte) error {
				return errors.Join(c.Write(op, p), c.Send(Prepare(op, append([]byte(nil), p...))))
			}}
		})
		es := serve(t, m, s)
		var all sync.WaitGroup
		for i := range clients {
			client := es.Dial()
			r := open(t, client, map[bool]string{true: offerLine}[i%2 == 0], "")
			all.Go(func() {
				for n := range rounds {
					p := string(numbered(n, min(sizeOf(n), testMax)))
					half := len(p) / 2
					if _, err := io.WriteString(client, frame(false, 0, Binary, p[:half])+last(p[half:])); err != nil {
						t.Error(err)
						return
					}
					for range 2 {
						if err := expectPacked(r, p); err != nil {
							t.Errorf("client %d, message %d: %v", i, n, err)
							return
						}
					}
				}
			})
		}
		all.Wait()
	})
}

// expectPacked reads a message, compressed or not.
func expectPacked(r io.Reader, want string) error {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return err
	}
	p := make([]byte, h.Length)
	if _, err := io.ReadFull(r, p); err != nil {
		return err
	}
	if h.Rsv == rsv1 {
		out := buffers.get()
		defer buffers.put(out)
		if err := inflate(out, append(p, inflateTail...), testMax); err != nil {
			return err
		}
		p = out.Bytes()
	}
	if string(p) != want {
		return fmt.Errorf("%d bytes, or wrong ones, of %d", len(p), len(want))
	}
	return nil
}
