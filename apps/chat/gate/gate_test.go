package gate_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/chat/gate"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/internal/epitest"
	"github.com/epinet/epi/ws"
)

func TestMain(m *testing.M) { epitest.Main(m, nil) }

// settings are those of a server that throttles nobody.
func settings() gate.Config {
	return gate.Config{
		Hall: hall.Config{
			Name: "irc.test", Network: "Test", Created: time.UnixMilli(0),
			Operators: map[string]hall.Operator{"root": {Rights: []string{hall.RightAll}}},
		},
		Registration: time.Hour, Ping: time.Hour, Dead: 2 * time.Hour,
		Origins: []string{"*"},
		Vault:   openVault{},
		Stop:    func() {},
		Log:     epitest.NoLog(),
	}
}

// An openVault takes every password that is "right".
type openVault struct{}

func (openVault) Do(_ context.Context, w *hall.Work) hall.Result {
	return hall.Result{OK: w.Password == "right", Account: w.Account}
}

// A chat is a server under test.
type chat struct {
	*gate.Server
	t      *testing.T
	engine *epi.Engine
	irc    *epi.Listener
	web    *epi.Listener
	drain  context.CancelFunc
}

func start(t *testing.T, engine *epi.Engine, config gate.Config) *chat {
	t.Helper()
	engine.Logger = epitest.NoLog()
	server, err := gate.New(engine, config)
	if err != nil {
		t.Fatal(err)
	}
	c := &chat{Server: server, t: t, engine: engine}
	at := gate.Listener{Secure: true}
	if c.irc, err = engine.Listen("tcp://127.0.0.1:0", server.Accept(at)); err != nil {
		t.Fatal(err)
	}
	sockets := server.WebSocket("/", at, http.NotFoundHandler())
	if c.web, err = engine.Listen("tcp://127.0.0.1:0", sockets.Serve); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- engine.Run(ctx) }()
	c.drain = func() { server.Drain(); cancel() }
	t.Cleanup(func() {
		c.drain()
		if err := epitest.Receive(t, ran); err != nil {
			t.Error(err)
		}
		patient, end := context.WithTimeout(context.Background(), epitest.Patience)
		defer end()
		if err := errors.Join(server.Wait(patient), sockets.Close()); err != nil {
			t.Error(err)
		}
		if n := server.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
	return c
}

// A client reads and writes lines.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Scanner
}

func (c *chat) connect() *client {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.irc.Addr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() }) // the server may have done it
	if err := conn.SetDeadline(time.Now().Add(epitest.Patience)); err != nil {
		c.t.Fatal(err)
	}
	in := bufio.NewScanner(conn)
	in.Buffer(nil, 1<<20)
	return &client{c.t, conn, in}
}

// register connects somebody.
func (c *chat) register(nick string) *client {
	c.t.Helper()
	cl := c.connect()
	cl.say("NICK %s", nick)
	cl.say("USER %s 0 * :%s", nick, nick)
	cl.await(" 376 ", " 422 ")
	return cl
}

func (c *client) say(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.conn, format+"\r\n", args...); err != nil {
		c.t.Fatal(err)
	}
}

// await reads up to a line that has one of the texts in it.
func (c *client) await(texts ...string) string {
	c.t.Helper()
	for c.in.Scan() {
		for _, text := range texts {
			if strings.Contains(c.in.Text(), text) {
				return c.in.Text()
			}
		}
	}
	c.t.Fatalf("the connection ended (%v) before %q", c.in.Err(), texts)
	return ""
}

// ends reads up to the end, and returns the last line.
func (c *client) ends() (last string) {
	c.t.Helper()
	for c.in.Scan() {
		last = c.in.Text()
	}
	return last
}

func engine(loops int) *epi.Engine { return &epi.Engine{Loops: loops} }

// TestOneOrderForAll: many on several loops speak at once, and all see one order,
// each speaker's lines in the order of speaking.
func TestOneOrderForAll(t *testing.T) {
	for _, loops := range []int{1, 4} {
		t.Run(fmt.Sprint(loops), func(t *testing.T) { oneOrder(t, start(t, engine(loops), settings())) })
	}
}

func oneOrder(t *testing.T, server *chat) {
	const people, lines = 12, 100
	var everyone []*client
	for i := range people {
		c := server.register(fmt.Sprintf("n%d", i))
		c.say("CAP REQ :echo-message")
		c.say("JOIN #c")
		c.await(" 366 ")
		everyone = append(everyone, c)
	}
	heard := make([][]string, people)
	var all sync.WaitGroup
	for i, c := range everyone {
		all.Go(func() {
			for n := range lines {
				if _, err := fmt.Fprintf(c.conn, "PRIVMSG #c :%d %d\r\n", i, n); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for len(heard[i]) < people*lines && c.in.Scan() {
				if _, said, ok := strings.Cut(c.in.Text(), " PRIVMSG #c :"); ok {
					heard[i] = append(heard[i], said)
				}
			}
		})
	}
	all.Wait()
	next := make([]int, people)
	for _, said := range heard[0] {
		var who, n int
		if _, err := fmt.Sscanf(said, "%d %d", &who, &n); err != nil || n != next[who] {
			t.Fatalf("%q came where %d of %d was due", said, next[who], who)
		}
		next[who]++
	}
	for i := range heard {
		if strings.Join(heard[i], "|") != strings.Join(heard[0], "|") || len(heard[i]) != people*lines {
			t.Errorf("client %d saw %d lines in another order than client 0 its %d", i, len(heard[i]), len(heard[0]))
		}
	}
}

func TestLinesOfEveryKind(t *testing.T) {
	server := start(t, engine(1), settings())
	c := server.register("me")
	long := strings.Repeat("x", 16_000)
	for _, test := range []struct{ send, want string }{
		{"PING a\r\n", "PONG irc.test :a"}, {"PING b\n", ":b"}, {"PING c\rPING d\r\n", ":d"}, {"\r\n\r\n  \r\nPING e\r\n", ":e"},
		{"PI\x00NG f\r\n", ":f"}, {"PING \xff\r\n", "INVALID_UTF8"}, {"PING " + long[:600] + "\r\n", " 417 me "},
		{"@a=" + long[:5000] + " PING g\r\n", " 417 me "}, {long + "\r\nPING h\r\n", " 417 me "}, {"PING i\r\n", ":h"}, {"", ":i"},
	} {
		if _, err := c.conn.Write([]byte(test.send)); err != nil {
			t.Fatal(err)
		}
		c.await(test.want)
	}
	for _, b := range []byte("PING slowly\r\n") { // byte by byte
		if _, err := c.conn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	c.await(":slowly")
}

// A line without anything in it is a line all the same, for the throttle above all.
func TestEmptyLinesCount(t *testing.T) {
	server := start(t, engine(1), settings())
	const empty = 10_000
	c := server.connect()
	for _, line := range []string{"\n", "\r\n"} {
		before := server.Stats().Lines
		if _, err := c.conn.Write([]byte(strings.Repeat(line, empty))); err != nil {
			t.Fatal(err)
		}
		epitest.WaitUntil(t, "the lines", func() bool { return server.Stats().Lines == before+empty })
	}
	h := &socket{lines: make(chan string, 100), ended: make(chan error, 1)}
	ctx, cancel := context.WithTimeout(t.Context(), epitest.Patience)
	defer cancel()
	socket, err := ws.Dial(ctx, server.engine, "ws://"+server.web.Addr().String()+"/", ws.Options{}, h)
	if err != nil {
		t.Fatal(err)
	}
	before := server.Stats().Lines
	for range empty {
		if err := socket.Write(ws.Text, nil); err != nil {
			t.Fatal(err)
		}
	}
	epitest.WaitUntil(t, "the messages", func() bool { return server.Stats().Lines == before+empty })
	if err := socket.Write(ws.Text, []byte("PING :x\nQUIT")); err != nil {
		t.Fatal(err)
	}
	h.await(t, "PONG")
	epitest.Receive(t, h.ended)
}

// What becomes of commands is counted by name.
func TestCommandsAreCounted(t *testing.T) {
	server := start(t, engine(2), settings())
	c := server.register("me")
	c.say("JOIN #c\r\nJOIN bad\r\nOPER root wrong\r\nOPER root right\r\nnothing\r\nPING :done")
	c.await(":done")
	want := map[string]gate.Command{
		"JOIN": {Name: "JOIN", Done: 1, Refused: 1}, "OPER": {Name: "OPER", Done: 1, Refused: 1},
		"unknown": {Name: "unknown", Refused: 1}, "PING": {Name: "PING", Done: 1}, "KILL": {Name: "KILL"},
	}
	for _, got := range server.Stats().Commands {
		if w, ok := want[got.Name]; ok && got != w {
			t.Errorf("%+v, want %+v", got, w)
		}
		delete(want, got.Name)
	}
	if len(want) != 0 {
		t.Errorf("not counted: %v", want)
	}
}

// What is refused has the label of its line, if that can be read.
func TestRefusedLinesHaveTheirLabel(t *testing.T) {
	server := start(t, engine(1), settings())
	c := server.connect()
	c.say("CAP REQ :labeled-response batch")
	c.say("NICK me\r\nUSER me 0 * :me\r\nCAP END")
	c.await(" 422 ")
	for _, test := range []struct{ send, want string }{
		{"@label=a PRIVMSG me :\xff", "@label=a :irc.test FAIL "},
		{"@label=b PRIVMSG me :" + strings.Repeat("x", 600), "@label=b :irc.test 417 "},
		{"@label=\xff PRIVMSG me :hi", ":irc.test FAIL "},
		{"@label=c;a=" + strings.Repeat("x", 4094) + " PING", ":irc.test 417 "},
	} {
		c.say("%s", test.send)
		if line := c.await("FAIL", " 417 "); !strings.HasPrefix(line, test.want) {
			t.Errorf("%.30q: %q, want %q", test.send, line, test.want)
		}
	}
}

// A line without end costs the session, whether it comes in one piece or in many,
// with its end or without.
func TestEndlessLinesEndTheSession(t *testing.T) {
	server := start(t, engine(1), settings())
	long := strings.Repeat("x", 16<<10+1)
	for _, send := range []string{long + "\r\n", long, "PRIVMSG me :" + long + "\r\n"} {
		c := server.register("me")
		for piece := range slices.Chunk([]byte(send), 1000) {
			if _, err := c.conn.Write(piece); err != nil {
				break // the server may have closed
			}
		}
		c.ends()
		epitest.WaitUntil(t, "the session's end", func() bool { return server.Stats().Sessions == 0 })
	}
}

func TestHTTPEndsTheConnection(t *testing.T) {
	server := start(t, engine(1), settings())
	for _, verb := range []string{"GET / HTTP/1.1", "POST /x HTTP/1.1", "CONNECT a:1 HTTP/1.1"} {
		c := server.connect()
		c.say("%s\r\nNICK attacker\r\nUSER a 0 * :a\r\nJOIN #c", verb)
		if last := c.ends(); !strings.HasPrefix(last, "ERROR :") {
			t.Errorf("%s: the last line is %q", verb, last)
		}
	}
	if n := server.Stats().Users; n != 0 {
		t.Errorf("%d users", n)
	}
}

func TestWhoDoesNotRegisterIsGivenUp(t *testing.T) {
	config := settings()
	config.Registration = 50 * time.Millisecond
	server := start(t, engine(2), config)
	c := server.connect()
	c.say("NICK slow")
	if last := c.ends(); !strings.Contains(last, "Registration timeout") {
		t.Errorf("the last line is %q", last)
	}
	config.Registration = time.Hour
	server.Configure(config)
	server.register("slow") // the nick is free
}

func TestSilenceIsAskedAboutThenGivenUp(t *testing.T) {
	config := settings()
	config.Ping, config.Dead = 50*time.Millisecond, 100*time.Millisecond
	server := start(t, engine(2), config)
	c := server.register("silent")
	c.await("PING :irc.test")
	if last := c.ends(); !strings.Contains(last, "Ping timeout") {
		t.Errorf("the last line is %q", last)
	}
}

func TestWhoAnswersIsNotGivenUp(t *testing.T) {
	config := settings()
	config.Ping, config.Dead = 20*time.Millisecond, time.Hour
	server := start(t, engine(1), config)
	c := server.register("alive")
	for range 5 {
		c.await("PING :irc.test")
		c.say("PONG :irc.test")
	}
	c.say("PING here")
	c.await(":here")
}

// TestSlowReaderIsClosed: one that reads nothing is ended at the hard limit, and
// the others, who have all they are to have, see it leave.
func TestSlowReaderIsClosed(t *testing.T) {
	for _, loops := range []int{1, 3} {
		e := engine(loops)
		e.HighWater, e.MaxQueued = 32<<10, 64<<10
		server := start(t, e, settings())
		slow, speaker := server.register("slow"), server.register("speaker")
		for _, c := range []*client{slow, speaker} {
			c.say("JOIN #c")
			c.await(" 366 ")
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			text := strings.Repeat("x", 400)
			for speaker.in.Scan() {
				if strings.Contains(speaker.in.Text(), "QUIT :SendQ exceeded") {
					return
				}
				if strings.Contains(speaker.in.Text(), "PONG") {
					_, _ = fmt.Fprintf(speaker.conn, "%sPING x\r\n", strings.Repeat("PRIVMSG #c :"+text+"\r\n", 50)) // the test's end may cut it off
				}
			}
			t.Error("the slow reader is still there")
		}()
		speaker.say("PING x")
		epitest.Receive(t, done)
		server.register("slow") // the nick is free
		if n := server.Stats().Sheds; n != 1 {
			t.Errorf("%d were shed", n)
		}
	}
}

// TestWhoTakesNothingIsGivenUp: one for whom much waits has limited time to take it,
// long before its queue is full.
func TestWhoTakesNothingIsGivenUp(t *testing.T) {
	for _, stall := range []time.Duration{100 * time.Millisecond, 0} {
		e := engine(1)
		e.HighWater, e.MaxQueued = 1<<20, 2<<20
		if stall > 0 {
			e.HighWater, e.MaxQueued = 128<<20, 256<<20 // which nothing reaches in that time
		}
		config := settings()
		config.Stall = stall
		server := start(t, e, config)
		slow, speaker := server.register("slow"), server.register("speaker")
		for _, c := range []*client{slow, speaker} {
			c.say("JOIN #c")
			c.await(" 366 ")
		}
		text := strings.Repeat("PRIVMSG #c :"+strings.Repeat("x", 400)+"\r\n", 50) + "PING x\r\n"
		left := ""
		for left == "" {
			if _, err := io.WriteString(speaker.conn, text); err != nil {
				t.Fatal(err)
			}
			for speaker.in.Scan() && !strings.Contains(speaker.in.Text(), "PONG") {
				if strings.HasPrefix(speaker.in.Text(), ":slow!") && strings.Contains(speaker.in.Text(), " QUIT ") {
					left = speaker.in.Text()
				}
			}
			if err := speaker.in.Err(); err != nil {
				t.Fatalf("the slow reader is still there: %v", err)
			}
		}
		if full := strings.Contains(left, "SendQ exceeded"); full != (stall == 0) {
			t.Errorf("with %v to take what waits: %q", stall, left)
		}
	}
}

func TestThrottledLinesWaitAndAreNotLost(t *testing.T) {
	for _, loops := range []int{1, 2} {
		config := settings()
		config.Throttle = gate.Throttle{Rate: 500, Burst: 5, BytesRate: 1e6, BytesBurst: 1e6}
		server := start(t, engine(loops), config)
		c := server.register("fast")
		var all strings.Builder
		for i := range 100 {
			fmt.Fprintf(&all, "PING %d\r\n", i)
		}
		c.say("%s", all.String())
		for i := range 100 {
			c.await(fmt.Sprintf(":%d", i))
		}
	}
}

func TestThrottleExemptsNetworks(t *testing.T) {
	config := settings()
	config.Throttle = gate.Throttle{Rate: 0.001, Burst: 1, BytesRate: 1, BytesBurst: 1, Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	server := start(t, engine(1), config)
	c := server.register("local")
	c.say("PING a\r\nPING b")
	c.await(":b")
}

func TestDrainSaysGoodbye(t *testing.T) {
	server := start(t, engine(2), settings())
	c := server.register("me")
	server.drain()
	if last := c.ends(); last != "ERROR :Closing Link: Server shutting down" {
		t.Errorf("the last line is %q", last)
	}
}

func TestOperatorsWork(t *testing.T) {
	config := settings()
	stopped := make(chan struct{}, 1)
	config.Stop = func() { stopped <- struct{}{} }
	config.Reload = func() (*gate.Config, error) {
		fresh := config
		fresh.Hall.MOTD = []string{"fresh"}
		return &fresh, nil
	}
	server := start(t, engine(2), config)
	c := server.register("boss")
	c.say("OPER root wrong")
	c.await(" 464 ")
	c.say("OPER root right")
	c.await(" 381 ")
	c.say("REHASH")
	c.await(" 382 ")
	for line := ""; !strings.Contains(line, "fresh"); { // the file is read meanwhile
		c.say("MOTD")
		line = c.await("fresh", " 422 ")
	}
	c.say("DIE")
	epitest.Receive(t, stopped)
}

// A listener's sockets speak in messages of the kind that was agreed on.
func TestWebSockets(t *testing.T) {
	for _, test := range []struct {
		offers []string
		agreed string
		op     ws.Opcode
	}{
		{nil, "", ws.Text},
		{[]string{"text.ircv3.net"}, "text.ircv3.net", ws.Text},
		{[]string{"binary.ircv3.net"}, "binary.ircv3.net", ws.Binary},
		{[]string{"text.ircv3.net", "binary.ircv3.net"}, "text.ircv3.net", ws.Text},
		{[]string{"none", "binary.ircv3.net", "text.ircv3.net"}, "binary.ircv3.net", ws.Binary},
	} {
		server := start(t, engine(2), settings())
		h := &socket{lines: make(chan string, 100), ended: make(chan error, 1)}
		ctx, cancel := context.WithTimeout(t.Context(), epitest.Patience)
		defer cancel()
		c, err := ws.Dial(ctx, server.engine, "ws://"+server.web.Addr().String()+"/", ws.Options{Subprotocols: test.offers}, h)
		if err != nil {
			t.Fatal(err)
		}
		if c.Subprotocol() != test.agreed {
			t.Errorf("offered %q, agreed on %q", test.offers, c.Subprotocol())
		}
		for _, line := range []string{"NICK web", "USER web 0 * :web\r\n", "JOIN #c"} {
			if err := c.Write(ws.Text, []byte(line)); err != nil {
				t.Fatal(err)
			}
		}
		h.await(t, " 366 ")
		plain := server.register("plain")
		plain.say("JOIN #c\r\nPRIVMSG #c :hello")
		if line := h.await(t, "hello"); strings.ContainsAny(line, "\r\n") {
			t.Errorf("the message is %q", line)
		}
		if h.op != test.op {
			t.Errorf("offered %q, got messages of kind %d", test.offers, h.op)
		}
		if err := c.Write(ws.Text, []byte("QUIT")); err != nil {
			t.Fatal(err)
		}
		plain.await("web!", "QUIT")
		epitest.Receive(t, h.ended)
	}
}

type socket struct {
	op    ws.Opcode
	lines chan string
	ended chan error
}

func (s *socket) OnMessage(_ *ws.Conn, op ws.Opcode, p []byte) error {
	s.op = op
	s.lines <- string(p)
	return nil
}

func (s *socket) OnClose(_ *ws.Conn, err error) { s.ended <- err }

func (s *socket) await(t *testing.T, text string) string {
	t.Helper()
	for {
		if line := epitest.Receive(t, s.lines); strings.Contains(line, text) {
			return line
		}
	}
}

func TestTooManyLoopsAreRefused(t *testing.T) {
	e := engine(gate.MaxLoops + 1)
	if _, err := gate.New(e, settings()); err == nil || !strings.Contains(err.Error(), "17") {
		t.Errorf("the error is %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Run(ctx); err != nil {
		t.Error(err)
	}
}

// TestManyJoinAndLeave: sessions on all loops come and go while others speak; what
// is delivered goes to members only.
func TestManyJoinAndLeave(t *testing.T) {
	server := start(t, engine(3), settings())
	stay := server.register("stay")
	stay.say("JOIN #c")
	stay.await(" 366 ")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 10 {
				c := server.register(fmt.Sprintf("g%dx%d", i, n))
				c.say("JOIN #c\r\nPRIVMSG #c :%d %d", i, n)
				c.say("PART #c\r\nPING done")
				c.await(":done")
				_ = c.conn.Close()
			}
		})
	}
	got := 0
	for got < 80 {
		stay.await("PRIVMSG #c :")
		got++
	}
	all.Wait()
	stay.say("NAMES #c")
	if line := stay.await(" 353 "); !strings.HasSuffix(line, ":@stay") && !strings.HasSuffix(line, ":stay") {
		t.Errorf("the members are %q", line)
	}
}
