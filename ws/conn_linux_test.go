package ws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// funcs is a handler made of functions.
type funcs struct {
	open    func(c *Conn) error
	message func(c *Conn, op Opcode, p []byte) error
	close   func(c *Conn, err error)
}

func (f *funcs) OnOpen(c *Conn) error {
	if f.open == nil {
		return nil
	}
	return f.open(c)
}

func (f *funcs) OnMessage(c *Conn, op Opcode, p []byte) error {
	if f.message == nil {
		return nil
	}
	return f.message(c, op, p)
}

func (f *funcs) OnClose(c *Conn, err error) {
	if f.close != nil {
		f.close(c, err)
	}
}

// ends returns a server with this handler, and the errors of its OnClose calls.
func ends(f funcs) (*Server, <-chan error) {
	ended := make(chan error, 2) // no test has more connections
	f.close = func(_ *Conn, err error) { ended <- err }
	s := echoServer()
	s.Handler = func(*Conn, *http.Request) Handler { return &f }
	return s, ended
}

func TestH02_OnCloseTellsWhy(t *testing.T) {
	angry := errors.New("angry")
	closes := func(c *Conn) error { return c.Close(GoingAway, "restart") }
	fails := func(*Conn, Opcode, []byte) error { return angry }
	chooses := func(*Conn, Opcode, []byte) error { return &CloseError{Code: PolicyViolation, Reason: "no"} }
	for _, c := range []struct {
		name    string
		handler funcs
		sends   string
		says    string
		told    string
	}{
		{"the peer closes", funcs{}, closing(4000, "bye"), "close:4000", "websocket closed by the peer: code 4000: \"bye\""},
		{"the peer closes without a code", funcs{}, frame(true, 0, ws.OpClose, ""), "close", "websocket closed by the peer: code 1005"},
		{"the peer breaks a rule", funcs{}, last("a"), "close:1002", "websocket closed: code 1002: \"continuation of no message\""},
		{"the stream ends", funcs{}, "", "", io.ErrUnexpectedEOF.Error()},
		{"the stream ends within a frame", funcs{}, text("abc")[:7], "", io.ErrUnexpectedEOF.Error()},
		{"Close, answered", funcs{open: closes}, text("late") + closing(GoingAway, ""), "close:1001", "<nil>"},
		{"an error", funcs{message: fails}, text("a"), "close:1011", "angry"},
		{"an error with a code", funcs{message: chooses}, text("a"), "close:1008", "websocket closed: code 1008: \"no\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			epitest.Each(t, func(t *testing.T, m epitest.Mode) {
				s, ended := ends(c.handler)
				conn := serve(t, m, s).Dial()
				r := open(t, conn, "", c.sends)
				epitest.CloseWrite(t, conn)
				if got := told(t, r); got != c.says {
					t.Errorf("the server says %q, want %q", got, c.says)
				}
				if got := fmt.Sprint(epitest.Receive(t, ended)); got != c.told {
					t.Errorf("OnClose got %q, want %q", got, c.told)
				}
			})
		})
	}
}

// A handler's reason may be the text of an error, of any length: the code is what the
// peer acts on.
func TestH02_ReasonsThatDoNotFit(t *testing.T) {
	for _, c := range []struct {
		name, reason, want string
	}{
		{"as long as can be", strings.Repeat("x", 123), strings.Repeat("x", 123)},
		{"longer", strings.Repeat("x", 500), strings.Repeat("x", 123)},
		{"longer, cut within a character", strings.Repeat("é", 500), strings.Repeat("é", 61)},
		{"no UTF-8", "a\xffb", "a\uFFFDb"},
		{"no UTF-8, and longer", strings.Repeat("\xff ", 500), strings.Repeat("\uFFFD ", 30) + "\uFFFD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, ended := ends(funcs{message: func(*Conn, Opcode, []byte) error {
				return &CloseError{Code: PolicyViolation, Reason: c.reason}
			}})
			conn := serve(t, oneMode(), s).Dial()
			_, p := next(t, open(t, conn, "", text("a")))
			if code, reason := ws.ParseCloseFrameData(p); code != PolicyViolation || reason != c.want {
				t.Errorf("the peer gets %d %q, want %d %q", code, reason, PolicyViolation, c.want)
			}
			_ = conn.Close()
			var told *CloseError
			if err := epitest.Receive(t, ended); !errors.As(err, &told) || told.Reason != c.reason {
				t.Errorf("OnClose is told %v", err)
			}
		})
	}
}

// What is prepared is a message: a frame of another kind would end the connection, or
// break the rules, behind the server's back.
func TestPreparedOfNoMessage(t *testing.T) {
	refused := make(chan error, 10)
	s, ended := ends(funcs{open: func(c *Conn) error {
		for _, op := range []Opcode{ws.OpContinuation, 3, ws.OpClose, ws.OpPing, ws.OpPong} {
			refused <- c.Send(Prepare(op, []byte("x")))
		}
		close(refused)
		return errors.Join(c.Send(Prepare(Text, []byte("t"))), c.Close(Normal, ""))
	}})
	conn := serve(t, oneMode(), s).Dial()
	r := open(t, conn, "", closing(Normal, ""))
	if got, want := told(t, r), "t:t close:1000"; got != want {
		t.Errorf("the server says %q, want %q", got, want)
	}
	for err := range refused {
		if err == nil || !strings.Contains(err.Error(), "Text or Binary") {
			t.Errorf("a frame that is no message is sent: %v", err)
		}
	}
	if err := epitest.Receive(t, ended); err != nil {
		t.Errorf("OnClose is told %v", err)
	}
}

func TestF03_DrainTellsGoingAway(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		es := serve(t, m, echoServer())
		talking, silent := es.Dial(), es.Dial()
		r := open(t, talking, "", text("a"))
		first := make([]byte, len("\x81\x01a"))
		if _, err := io.ReadFull(r, first); err != nil {
			t.Fatal(err)
		}
		// Who waits to be accepted is reset: the silent one may be there still.
		epitest.WaitUntil(t, "both are accepted", func() bool { return es.Engine.Stats().Accepted == 2 })
		if err := es.Stop(); err != nil {
			t.Error(err)
		}
		if got := told(t, r); got != "close:1001" {
			t.Errorf("the server says %q", got)
		}
		if got, err := io.ReadAll(silent); len(got) > 0 || err != nil {
			t.Errorf("without an upgrade the server says %q, %v", got, err)
		}
	})
}

func TestCloseTimeout(t *testing.T) {
	s, ended := ends(funcs{open: func(c *Conn) error { return c.Close(Normal, "") }})
	s.CloseTimeout = time.Millisecond
	r := open(t, serve(t, oneMode(), s).Dial(), "", "")
	if got := told(t, r); got != "close:1000" {
		t.Errorf("the server says %q", got)
	}
	if err := epitest.Receive(t, ended); err != ErrCloseTimeout {
		t.Errorf("OnClose got %v", err)
	}
}

// The peer reads pings and does not answer.
func TestPingTimeout(t *testing.T) {
	s, ended := ends(funcs{})
	s.PingInterval = 10 * time.Millisecond
	c := serve(t, oneMode(), s).Dial()
	r := open(t, c, "", "")
	if h, err := ws.ReadHeader(r); err != nil || h.OpCode != ws.OpPing {
		t.Fatalf("the server sends %+v, %v", h, err)
	}
	if err := epitest.Receive(t, ended); err != ErrPingTimeout {
		t.Errorf("OnClose got %v", err)
	}
}

func TestArguments(t *testing.T) {
	result := make(chan string, 1)
	s, _ := ends(funcs{open: func(c *Conn) error {
		var w epitest.Words
		for _, err := range []error{
			c.Write(ws.OpPing, nil), c.Ping(make([]byte, 126)), c.Close(1005, ""), c.Close(1006, ""),
			c.Close(Normal, strings.Repeat("x", 124)), c.Close(Normal, "\xff"), c.Close(Normal, "x"),
		} {
			w.Add("%t", err == nil)
		}
		for _, err := range []error{c.Close(Normal, ""), c.Write(Text, nil), c.Ping(nil), c.Send(Prepare(Text, nil))} {
			w.Add("%v", err == ErrClosed)
		}
		result <- w.String()
		return nil
	}})
	// Close with 1005 has no payload, and is the one that closes.
	if got := told(t, open(t, serve(t, oneMode(), s).Dial(), "", frame(true, 0, ws.OpClose, ""))); got != "close" {
		t.Errorf("the server says %q", got)
	}
	if got, want := epitest.Receive(t, result), "false false true false false false false true true true true"; got != want {
		t.Errorf("the results are %q, want %q", got, want)
	}
}

// Messages of many goroutines do not mix, and Prepared ones go to all.
func TestWritersAndFanOut(t *testing.T) {
	const each, writers = 50, 4
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		conns := make(chan *Conn, 2)
		s, _ := ends(funcs{open: func(c *Conn) error { conns <- c; return nil }})
		es := serve(t, m, s)
		plain := open(t, es.Dial(), "", "")
		compressed := open(t, es.Dial(), "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n", "")
		shared := Prepare(Text, []byte(strings.Repeat("shared ", 20)))
		var wg sync.WaitGroup
		for range 2 {
			c := epitest.Receive(t, conns)
			for range writers {
				wg.Go(func() {
					for range each {
						if err := errors.Join(c.Send(shared), c.Write(Binary, bytes.Repeat([]byte("own "), 20))); err != nil {
							t.Error(err)
						}
					}
				})
			}
			defer func() { _ = c.Conn().Close() }()
		}
		wg.Wait()
		for z, r := range map[string]io.Reader{"": plain, "z": compressed} {
			texts := 0
			for range 2 * writers * each {
				h, err := ws.ReadHeader(r)
				if err != nil {
					t.Fatal(err)
				}
				p := make([]byte, h.Length)
				if _, err := io.ReadFull(r, p); err != nil {
					t.Fatal(err)
				}
				switch got := describe(t, h, p); got {
				case z + `t:140×'s'`:
					texts++
				case z + `b:80×'o'`:
				default:
					t.Fatalf("the server says %q", got)
				}
			}
			if texts != writers*each {
				t.Errorf("%d shared messages came, want %d", texts, writers*each)
			}
		}
	})
}

// zlib refuses a distance that is longer than the window that was agreed on.
func TestCompressorKeepsToItsWindow(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("install python3: apt-get install python3")
	}
	block := epitest.Pattern(200)
	var data []byte
	for i := range 400 { // matches at all distances
		data = append(append(data, block[:50+i%150]...), byte(i), byte(i>>3))
	}
	for bits := uint8(minWindow + 1); bits <= maxWindow; bits++ { // zlib has no window of 8 bits
		z := deflate(data, bits)
		if z.Len() > len(data)/2 {
			t.Errorf("%d bits: %d bytes became %d", bits, len(data), z.Len())
		}
		cmd := exec.Command(python, "-c", "import sys,zlib; sys.stdout.buffer.write(zlib.decompressobj(-int(sys.argv[1])).decompress(sys.stdin.buffer.read()+b'\\x00\\x00\\xff\\xff'))", fmt.Sprint(bits))
		cmd.Stdin = bytes.NewReader(z.Bytes())
		if out, err := cmd.Output(); err != nil || !bytes.Equal(out, data) {
			t.Errorf("%d bits: %d of %d bytes, %v", bits, len(out), len(data), err)
		}
		buffers.put(z)
	}
}

func TestL06_Dial(t *testing.T) {
	for _, compression := range []bool{false, true} {
		t.Run(fmt.Sprintf("compression %t", compression), func(t *testing.T) {
			epitest.Each(t, func(t *testing.T, m epitest.Mode) {
				s := echoServer()
				s.Subprotocols = []string{"v1"}
				es := serve(t, m, s)
				got := make(chan string, 8)
				h := &funcs{
					message: func(c *Conn, op Opcode, p []byte) error {
						got <- fmt.Sprintf("%d:%s", op, brief(p))
						return nil
					},
					close: func(_ *Conn, err error) { got <- fmt.Sprint(err) },
				}
				c, err := Dial(t.Context(), es.Engine, "ws://"+es.Addr()+"/chat?a=b", Options{Subprotocols: []string{"v2", "v1"}, Compression: compression, CompressFrom: 1}, h)
				if err != nil {
					t.Fatal(err)
				}
				if c.Subprotocol() != "v1" || c.Compressed() != compression {
					t.Errorf("agreed on %q, compression %t", c.Subprotocol(), c.Compressed())
				}
				long := bytes.Repeat([]byte("*"), testMax)
				if err := errors.Join(c.Write(Text, []byte("a")), c.Send(Prepare(Binary, long)), c.Ping(nil)); err != nil {
					t.Fatal(err)
				}
				words := []string{epitest.Receive(t, got), epitest.Receive(t, got)}
				if err := c.Close(4001, "done"); err != nil {
					t.Fatal(err)
				}
				want := fmt.Sprintf("1:a 2:%d×'*' <nil>", testMax)
				if all := strings.Join(append(words, epitest.Receive(t, got)), " "); all != want {
					t.Errorf("the client gets %q, want %q", all, want)
				}
			})
		})
	}
}

func TestL06_DialErrors(t *testing.T) {
	accept := "Sec-WebSocket-Accept: %s\r\n"
	for _, c := range []struct{ name, answer, want string }{
		{"refused", "HTTP/1.1 403 Forbidden\r\n\r\n", "403"},
		{"wrong key", "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n", "does not fit the key"},
		{"no upgrade", "HTTP/1.1 101 OK\r\nConnection: upgrade\r\n" + accept + "\r\n", "something else"},
		{"subprotocol", "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Protocol: a\r\n" + accept + "\r\n", "not offered"},
		{"extension", "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Extensions: permessage-deflate\r\n" + accept + "\r\n", "not offered"},
		{"no HTTP", "SSH-2.0\r\n\r\n", "malformed"},
		{"the end", "", "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			es := epitest.Start(t, oneMode().Engine(), func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{Data: func(conn *epi.Conn) error {
					request := string(conn.Unread())
					_, rest, _ := strings.Cut(request, "Sec-WebSocket-Key: ")
					key, _, _ := strings.Cut(rest, "\r\n")
					_, _ = io.WriteString(conn, strings.Replace(c.answer, "%s", acceptKey(key), 1))
					conn.Discard(len(request))
					return conn.Close()
				}}
			})
			_, err := Dial(t.Context(), es.Engine, "ws://"+es.Addr(), Options{}, echo{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, want one with %q", err, c.want)
			}
		})
	}
	for _, bad := range []string{"http://a", "ws://", "ws://u@a", "ws://a#b", "%"} {
		if _, err := Dial(t.Context(), new(epi.Engine), bad, Options{}, echo{}); err == nil {
			t.Errorf("%q is dialled", bad)
		}
	}
}

func TestL06_DialEndsWithItsContext(t *testing.T) {
	es := epitest.Start(t, oneMode().Engine(), func(*epi.Conn) epi.Handler { return &epitest.Funcs{} })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, es.Engine, "ws://"+es.Addr(), Options{}, echo{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
}

// idleBytes is what an idle connection may hold of the Go heap, the engine's
// part included: a buffer would be at least 512 bytes on top.
const idleBytes = 600

func TestIdleConnectionHoldsNoBuffer(t *testing.T) {
	const number = 2000
	s := echoServer()
	s.PingInterval = time.Hour
	hello := []byte(requestLines + offerLine + "\r\n" + begin("a") + last("b") + packed(Text, strings.Repeat("hello ", 20)))
	for _, m := range epitest.Modes() {
		if m.Driver != epi.DriverUring && m.Trigger != epi.TriggerEdge {
			continue // what ws holds is the same with each, and what the engine does has its own test
		}
		t.Run(m.String(), func(t *testing.T) {
			es := serve(t, m, s)
			clients := make([]epitest.RawClient, 0, number)
			defer func() {
				for _, c := range clients {
					c.Close()
				}
			}()
			connect := func(n int) {
				scratch := make([]byte, 4096)
				for range n {
					c, err := epitest.DialRaw(es.Listener.Addr().(*net.TCPAddr), 1)
					if err != nil {
						t.Fatal(err)
					}
					c, err = c.Aside(2 * number)
					clients = append(clients, c)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := c.Write(hello); err != nil {
						t.Fatal(err)
					}
					// The answer, "ab", and the compressed message, whose frame is the last.
					for got := ""; strings.Count(got, "\xc1") == 0; {
						n, err := c.Read(scratch)
						if err != nil {
							t.Fatal(err)
						}
						got = string(scratch[:n])
					}
				}
			}
			connect(100) // what the first ones leave behind
			before := epitest.HeapInUse()
			connect(number - 100)
			per := float64(epitest.HeapInUse()-before) / (number - 100)
			t.Logf("%.0f bytes per idle connection", per)
			if per > idleBytes {
				t.Errorf("%.0f bytes per idle connection, want at most %d", per, idleBytes)
			}
		})
	}
}
