package gate_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/chat/gate"
	"github.com/epinet/epi/internal/epitest"
	"github.com/epinet/epi/ws"
)

// TestBadInputCostsItsOwnSession lets a client in a channel do what none should. It gets
// what it is to get, or its session ends; who else is in the channel sees no more than
// its QUIT, once, and can talk.
func TestBadInputCostsItsOwnSession(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for _, test := range []struct {
		what string
		send string
		want string // in a line that the client gets; "" when it only ends
		quit string // what the other reads in its QUIT; "" when it stays
	}{
		{"NUL in a command", "PI\x00NG a", "PONG irc.test :a", ""},
		{"NUL in a text", "PRIVMSG #c :a\x00b\r\nPING a", ":a", ""},
		{"CR in a text", "PRIVMSG #c :a\rPING b", "PONG irc.test :b", ""},
		{"a byte order mark", "\ufeffPING a\r\nPING b", " 421 bad \ufeffPING ", ""},
		{"not UTF-8", "PRIVMSG #c :\xff\xfe", "FAIL PRIVMSG INVALID_UTF8", ""},
		{"half of a character", "PRIVMSG #c :\xc3", "FAIL PRIVMSG INVALID_UTF8", ""},
		{"a surrogate", "PRIVMSG #c :\xed\xa0\x80", "FAIL PRIVMSG INVALID_UTF8", ""},
		{"510 bytes", "PING :" + long[:504], long[:400], ""},
		{"511 bytes", "PING :" + long[:505], " 417 bad ", ""},
		{"a line of spaces", "    \r\nPING a", "PONG irc.test :a", ""},
		{"a source", ":somebody!else@here PING a", "PONG irc.test :a", ""},
		{"a source alone", ":somebody\r\nPING a", "PONG irc.test :a", ""},
		{"tags alone", "@a=b\r\nPING a", "PONG irc.test :a", ""},
		{"4,094 bytes of tags", "@" + strings.Repeat("a", 4094) + " PING a", "PONG irc.test :a", ""},
		{"4,095 bytes of tags", "@" + strings.Repeat("a", 4095) + " PING a", " 417 bad ", ""},
		{"16 parameters", "JOIN #d 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", " 366 ", ""},
		{"no command", "12345", " 421 bad 12345 ", ""},
		{"a verb of HTTP, later", "GET / HTTP/1.1", " 421 bad GET ", ""},
		{"a line that never ends", strings.Repeat("x", 64<<10), "", "A line is too long"},
		{"a login that is not finished", "AUTHENTICATE PLAIN\r\nQUIT", "AUTHENTICATE", "Quit"},
	} {
		t.Run(test.what, func(t *testing.T) {
			for _, loops := range []int{1, 2} {
				config := settings()
				config.Hall.Mechanisms = []string{"PLAIN"}
				server := start(t, engine(loops), config)
				bad, other := server.register("bad"), server.register("other")
				for _, c := range []*client{other, bad} {
					c.say("JOIN #c")
					c.await(" 366 ")
				}
				_, _ = bad.conn.Write([]byte(test.send + "\r\n")) // the server may have closed
				if test.want != "" {
					bad.await(test.want)
				}
				if test.quit == "" {
					bad.say("PRIVMSG #c :still here")
					other.await("PRIVMSG #c :still here")
					continue
				}
				bad.ends()
				if line := other.await(" QUIT "); !strings.Contains(line, "bad!") {
					t.Errorf("%q", line)
				}
				server.register("bad") // the nick is free
			}
		})
	}
}

// TestClientsThatGoAway: however a client goes, its session does.
func TestClientsThatGoAway(t *testing.T) {
	for what, leave := range map[string]func(t *testing.T, c *client){
		"closed": func(_ *testing.T, c *client) { _ = c.conn.Close() },
		"half closed": func(t *testing.T, c *client) {
			if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Error(err)
			}
		},
		"reset": func(t *testing.T, c *client) {
			if err := c.conn.(*net.TCPConn).SetLinger(0); err != nil {
				t.Error(err)
			}
			_ = c.conn.Close()
		},
		"in a line":  func(_ *testing.T, c *client) { _, _ = c.conn.Write([]byte("PRIVMSG #c :ha")); _ = c.conn.Close() },
		"in a login": func(_ *testing.T, c *client) { c.say("AUTHENTICATE PLAIN"); _ = c.conn.Close() },
		"in a batch": func(_ *testing.T, c *client) { c.say("BATCH +1 draft/multiline #c"); _ = c.conn.Close() },
	} {
		t.Run(what, func(t *testing.T) {
			for _, loops := range []int{1, 2} {
				server := start(t, engine(loops), settings())
				bad, other := server.register("bad"), server.register("other")
				for _, c := range []*client{other, bad} {
					c.say("JOIN #c")
					c.await(" 366 ")
				}
				leave(t, bad)
				other.await(":bad!bad@127.0.0.1 QUIT")
				epitest.WaitUntil(t, "the session's end", func() bool { return server.Stats().Sessions == 1 })
			}
		})
	}
}

// TestBadWebSocketMessages ends a socket with the code that fits, or answers it.
func TestBadWebSocketMessages(t *testing.T) {
	server := start(t, engine(2), settings())
	for _, test := range []struct {
		what     string
		protocol string
		op       ws.Opcode
		send     []byte
		want     string
		code     ws.Code
	}{
		{"not UTF-8 in a binary message", "binary.ircv3.net", ws.Binary, []byte("PING \xff"), "FAIL PING INVALID_UTF8", 0},
		{"two lines in one message", "text.ircv3.net", ws.Text, []byte("PING a\nPING b"), "PONG irc.test :b", 0},
		{"a message that is too big", "text.ircv3.net", ws.Text, bytes.Repeat([]byte("x"), 64<<10), "", ws.MessageTooBig},
		{"the longest message that there is", "text.ircv3.net", ws.Text, []byte("@" + strings.Repeat("a", 4094) + " PING :" + strings.Repeat("x", 504)), "PONG", 0},
		{"a line that is too long", "text.ircv3.net", ws.Text, []byte("PING :" + strings.Repeat("x", 505)), " 417 ", 0},
	} {
		h := &socket{lines: make(chan string, 100), ended: make(chan error, 1)}
		ctx, cancel := context.WithTimeout(t.Context(), epitest.Patience)
		c, err := ws.Dial(ctx, server.engine, "ws://"+server.web.Addr().String()+"/", ws.Options{Subprotocols: []string{test.protocol}}, h)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Write(test.op, test.send); err != nil {
			t.Fatal(err)
		}
		if test.want != "" {
			h.await(t, test.want)
			_ = c.Abort()
		}
		var closing *ws.CloseError
		if err := epitest.Receive(t, h.ended); test.code != 0 && (!errors.As(err, &closing) || closing.Code != test.code) {
			t.Errorf("%s: the socket ended with %v, want code %d", test.what, err, test.code)
		}
	}
}

// A bucket that is empty holds a session up, and nobody else.
func TestFloodIsHeldUp(t *testing.T) {
	config := settings()
	config.Throttle = gate.Throttle{Rate: 0.001, Burst: 12, BytesRate: 1e6, BytesBurst: 1e6}
	server := start(t, engine(2), config)
	other := server.register("other")
	flood := server.register("flood")
	flood.say("%s", strings.Repeat("PRIVMSG other :x\r\n", 1000))
	for range 3 {
		other.await("PRIVMSG other :x")
	}
	before := server.Stats().Lines
	other.say("PING a")
	other.await(":a")
	if n := server.Stats().Lines - before; n > 20 {
		t.Errorf("%d lines of a thousand were read", n)
	}
}

// Frames that are no messages are paid for, too: pings, and a message that never
// ends.
func TestFloodOfFramesIsHeldUp(t *testing.T) {
	const frames = 10_000
	for what, frame := range map[string]string{
		"pings":         "\x89\x80mask",
		"pongs":         "\x8a\x80mask",
		"continuations": "\x00\x80mask",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			config := settings()
			config.Throttle = gate.Throttle{Rate: 0.001, Burst: 12, BytesRate: 1e6, BytesBurst: 1e6}
			server := start(t, engine(1), config)
			other := server.register("other")
			c := epitest.DialPlain(t, server.web)
			epitest.Say(t, c, "GET / HTTP/1.1\r\nHost: irc.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
				"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
			before := server.Stats().Lines
			epitest.Say(t, c, "\x01\x80mask"+strings.Repeat(frame, frames)) // the first begins a message
			epitest.WaitUntil(t, "the first frames", func() bool { return server.Stats().Lines >= before+12 })
			other.say("PING a")
			other.await(":a")
			if n := server.Stats().Lines - before; n > 20 {
				t.Errorf("%d frames of %d were read", n, frames)
			}
		})
	}
}
