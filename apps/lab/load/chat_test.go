package load

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
	"github.com/epinet/epi/ws"
)

// A room is an IRC server that knows what the load needs, on one loop. spoil,
// which may be nil, makes of the line to a member those that it gets.
type room struct {
	noCap    bool
	noEcho   bool
	refusal  string // in place of the welcome
	spoil    func(to *roomClient, line string) []string
	channels map[string][]*roomClient
}

// A roomClient is one client of a room.
type roomClient struct {
	room       *room
	write      func(line string)
	nick       string
	echo       bool
	got        int // messages
	held       string
	negotiates bool
}

func (r *room) client(write func(string)) *roomClient { return &roomClient{room: r, write: write} }

// line answers one line.
func (c *roomClient) line(line string) error {
	command, rest, _ := strings.Cut(line, " ")
	switch command {
	case "CAP":
		c.capabilities(rest)
	case "NICK":
		c.nick = rest
	case "USER":
		if !c.negotiates {
			c.welcome()
		}
	case "JOIN":
		c.room.channels[rest] = append(c.room.channels[rest], c)
		c.write(":" + c.nick + "!u@h JOIN " + rest)
		c.write(":room 366 " + c.nick + " " + rest + " :end of names")
	case "PRIVMSG":
		channel, _, _ := strings.Cut(rest, " ")
		c.deliver(channel, ":"+c.nick+"!u@h "+line)
	case "PONG":
		c.welcome()
	default:
		return fmt.Errorf("the load says %q", line)
	}
	return nil
}

func (c *roomClient) capabilities(rest string) {
	switch {
	case c.room.noCap:
		c.write(":room 421 * CAP :unknown command")
	case strings.HasPrefix(rest, "LS"):
		c.negotiates = true
		c.write(":room CAP * LS * :something")
		c.write(":room CAP * LS :echo-message")
	case strings.HasPrefix(rest, "REQ"):
		c.echo = !c.room.noEcho
		c.write(":room CAP * " + map[bool]string{true: "ACK", false: "NAK"}[c.echo] + " :echo-message")
	case rest == "END":
		c.write("PING :cookie") // the welcome comes when it is answered
	}
}

func (c *roomClient) welcome() {
	if c.room.refusal != "" {
		c.write(c.room.refusal)
		return
	}
	c.write(":room 001 " + c.nick + " :welcome")
	c.write(":room 422 " + c.nick + " :no message of the day")
}

func (c *roomClient) deliver(channel, line string) {
	for _, to := range c.room.channels[channel] {
		if to == c && !c.echo {
			continue
		}
		to.got++
		lines := []string{line}
		if c.room.spoil != nil {
			lines = c.room.spoil(to, line)
		}
		for _, l := range lines {
			to.write(l)
		}
	}
}

// OnMessage takes a line from a WebSocket.
func (c *roomClient) OnMessage(_ *ws.Conn, _ ws.Opcode, p []byte) error { return c.line(string(p)) }
func (c *roomClient) OnClose(*ws.Conn, error)                           {}

// start makes r serve on irc://, ircs://, irc+ws:// or irc+wss:// and returns
// the target.
func (r *room) start(t *testing.T, scheme string) string {
	t.Helper()
	r.channels = map[string][]*roomClient{}
	e := &epi.Engine{Loops: 1, Logger: epitest.NoLog(), HighWater: 64 << 20, MaxQueued: 64 << 20}
	below := "tcp"
	if scheme == "ircs" || scheme == "irc+wss" {
		config, _, err := epitest.SelfSigned("localhost")
		if err != nil {
			t.Fatal(err)
		}
		e.TLS, below = config, "tls"
	}
	handler := func(c *epi.Conn) epi.Handler {
		client := r.client(func(line string) { _, _ = c.Write([]byte(line + "\r\n")) })
		return &epitest.Funcs{Data: client.lines}
	}
	if strings.HasPrefix(scheme, "irc+ws") {
		server := &ws.Server{Subprotocols: []string{chatSubprotocol}, Handler: func(c *ws.Conn, _ *http.Request) ws.Handler {
			return r.client(func(line string) { _ = c.Write(ws.Text, []byte(line)) })
		}}
		t.Cleanup(func() { _ = server.Close() })
		handler = server.Serve
	}
	address := epitest.StartOn(t, e, below+"://127.0.0.1:0", handler).Listener.String()
	return strings.Replace(address, below, scheme, 1)
}

// lines takes the complete lines of a stream.
func (c *roomClient) lines(conn *epi.Conn) error {
	for {
		end := bytes.Index(conn.Unread(), []byte("\r\n"))
		if end < 0 {
			return nil
		}
		line := string(conn.Unread()[:end])
		conn.Discard(end + 2)
		if err := c.line(line); err != nil {
			return err
		}
	}
}

var chatSchemes = []string{"irc", "ircs", "irc+ws", "irc+wss"}

func TestChat(t *testing.T) {
	for _, scheme := range chatSchemes {
		for name, c := range map[string]Config{
			"closed":   {Conns: 10, Channels: 3, Verify: true},
			"deep":     {Conns: 4, Depth: 5, Sizes: sizes(t, "uniform:29-400"), Verify: true},
			"echo":     {Conns: 4, Channels: 4, Await: AwaitEcho, Depth: 2},
			"open":     {Conns: 6, Channels: 2, Rate: 500, Verify: true},
			"few talk": {Conns: 8, Channels: 2, Active: 2, Loops: 2},
		} {
			t.Run(scheme+" "+name, func(t *testing.T) {
				t.Parallel()
				c.Targets, c.Duration, c.Patience, c.Trust.Insecure = []string{new(room).start(t, scheme)}, short, epitest.Patience, true
				r := mustRun(t, c)
				checkReport(t, r, c)
				if r.Chat == nil || r.Chat.Channels != max(1, c.Channels) || r.Chat.Lost > 0 || r.Chat.OutOfOrder > 0 || r.Chat.Joins != uint64(c.Conns) {
					t.Errorf("of the chat: %+v", r.Chat)
				}
			})
		}
	}
}

// TestChatCountsDeliveries has a channel of five: a message of a run that is
// over has four deliveries, or five with the sender's copy.
func TestChatCountsDeliveries(t *testing.T) {
	for await, each := range map[Await]uint64{AwaitLast: 4, AwaitEcho: 5} {
		endpoints := []endpoint{{Address: strings.Replace(new(room).start(t, "irc"), "irc", "tcp", 1), Kind: chatStream}}
		s := share{Endpoints: endpoints, Conns: 5, Active: 5, Window: 2, Depth: 2, Sizes: defaultSizes,
			Patience: epitest.Patience, Loops: 2, Channels: 1, Await: await}
		total := mustShare(t, s)
		sent := total.Awaited / each
		if total.Delivered != sent*each || total.Awaited != total.Delivered || sent == 0 {
			t.Errorf("%s: %d deliveries of %d, in groups of %d", await, total.Delivered, total.Awaited, each)
		}
		if total.Messages > sent || total.Requests > total.Delivered {
			t.Errorf("%s: of %d messages and %d deliveries %d and %d were within the time", await, sent, total.Delivered, total.Messages, total.Requests)
		}
	}
}

// mustShare runs a share for longer where nothing was delivered.
func mustShare(t *testing.T, s share) (total *tally) {
	t.Helper()
	longer(func(d time.Duration) bool {
		var err error
		s.Duration = d
		if total, err = runShare(t.Context(), s, func(Progress) {}, nil); err != nil {
			t.Fatal(err)
		}
		return total.Delivered > 0
	})
	return total
}

// runSpoiled runs for longer where a fault was not found: it may take some messages.
// What is missing at the end does not come, and is not waited for.
func runSpoiled(t *testing.T, c Config, cause string) {
	t.Helper()
	var r *Report
	longer(func(d time.Duration) bool {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var err error
		c.Duration = d
		r, err = Run(ctx, c, func(p Progress) {
			if p.Phase == "finishing" {
				stop()
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return count(r, cause) > 0
	})
	if count(r, cause) == 0 {
		t.Errorf("the errors are %v, should have %q", r.Errors, cause)
	}
}

func TestChatWithoutCapabilities(t *testing.T) {
	c := Config{Targets: []string{(&room{noCap: true}).start(t, "irc")}, Conns: 4, Duration: short, Patience: epitest.Patience}
	checkReport(t, mustRun(t, c), c)
}

func TestChatSpoiled(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(to *roomClient, line string) []string
		cause string
		await Await
	}{
		"lost": {func(to *roomClient, line string) []string {
			if to.got == 3 {
				return nil
			}
			return []string{line}
		}, lostLines, AwaitEcho},
		"doubled": {func(to *roomClient, line string) []string {
			if to.got == 3 {
				return []string{line, line}
			}
			return []string{line}
		}, outOfOrder, AwaitEcho},
		"exchanged": {func(to *roomClient, line string) []string {
			if to.held == "" {
				to.held = line
				return nil
			}
			lines := []string{line, to.held}
			to.held = ""
			return lines
		}, outOfOrder, AwaitLast},
		"changed": {func(to *roomClient, line string) []string {
			return []string{line[:len(line)-1] + "!"}
		}, errMismatch.Error(), AwaitLast},
		"foreign": {func(to *roomClient, line string) []string {
			return []string{":x PRIVMSG #epi0 :ffffff 00000000 000000000000 "}
		}, errUnasked.Error(), AwaitLast},
		"no line": {func(to *roomClient, line string) []string {
			return []string{":"}
		}, "the server sends what is no line of IRC: line is empty", AwaitLast},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Two in a channel: each line of one comes before the next.
			target := (&room{spoil: c.spoil}).start(t, "irc")
			runSpoiled(t, Config{Targets: []string{target}, Conns: 2, Active: 1, Depth: 4, Verify: true,
				Patience: epitest.Patience, Await: c.await}, c.cause)
		})
	}
}

func TestChatRefused(t *testing.T) {
	for name, c := range map[string]struct {
		room  room
		await Await
		wait  time.Duration
		want  string
	}{
		"nick":  {room{refusal: ":room 433 * epi0 :is in use"}, "", 0, `the server refuses: 433 "is in use"`},
		"ban":   {room{refusal: "ERROR :go away"}, "", 0, `the server ends the connection: "go away"`},
		"echo":  {room{noEcho: true}, AwaitEcho, 0, "no echo-message"},
		"caps":  {room{noCap: true}, AwaitEcho, 0, "no echo-message"},
		"quiet": {room{refusal: ":room NOTICE * :wait"}, "", short, "timed out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := c.room.start(t, "irc")
			_, err := Run(t.Context(), Config{Targets: []string{target}, Conns: 3, Await: c.await, Patience: c.wait}, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, should tell %q", err, c.want)
			}
		})
	}
}

func TestChatHasChildren(t *testing.T) {
	for _, scheme := range []string{"irc", "irc+ws"} {
		c := Config{Targets: []string{new(room).start(t, scheme)}, Conns: 20, Channels: 4, Duration: short,
			Child: func() *exec.Cmd { return as("child") }, Patience: epitest.Patience}
		r, err := runChildren(t.Context(), t, c)
		if err != nil {
			t.Fatal(err)
		}
		if r.Failed() || r.Processes < 2 || r.Setup.Opened != c.Conns || r.Chat.Lost > 0 || r.Chat.OutOfOrder > 0 {
			t.Errorf("%s: %+v", scheme, r)
		}
		c.Channels = 1
		if _, err := runChildren(t.Context(), t, c); err == nil || !strings.Contains(err.Error(), "channels") {
			t.Errorf("one channel in several processes: %v", err)
		}
	}
}

func TestChatInterrupted(t *testing.T) {
	for _, refusal := range []string{"", ":room NOTICE * :wait"} {
		target := (&room{refusal: refusal}).start(t, "irc")
		ctx, stop := context.WithCancel(t.Context())
		interrupting := func(Progress) { stop() }
		r, err := Run(ctx, Config{Targets: []string{target}, Conns: 4, Duration: epitest.Patience, Patience: epitest.Patience}, interrupting)
		stop()
		if err != nil || r.Partial != interrupted {
			t.Errorf("refusal %q: %+v, %v", refusal, r, err)
		}
	}
}

func TestChatText(t *testing.T) {
	h := header{sender: 0xabcdef, sequence: 0x12345678, due: 0x123456789abc}
	for _, size := range []int{leastText, leastText + 1, mostText} {
		text := appendText(nil, h, size)
		got, ok := parseHeader(text)
		if len(text) != size || !ok || got != h || !sameFilling(text) {
			t.Errorf("%d bytes: %q is %+v, %v", size, text, got, ok)
		}
		for i := range headerText {
			damaged := slices.Clone(text)
			damaged[i] = 'x'
			if got, ok := parseHeader(damaged); ok && got == h && damaged[i] != text[i] && text[i] != ' ' {
				t.Errorf("%q is taken", damaged)
			}
		}
	}
	if _, ok := parseHeader(make([]byte, leastText-1)); ok {
		t.Error("a short text is taken")
	}
	if sameFilling(make([]byte, 4096)) {
		t.Error("a long text is taken")
	}
}

func TestTextOf(t *testing.T) {
	for line, want := range map[string]string{
		":n!u@h PRIVMSG #a :text :more":   "text :more",
		"@time=1 :n!u@h PRIVMSG #a :text": "text",
		"@a=:\\s :n PRIVMSG #a :":         "",
		":n!u@h PRIVMSG nick :text":       "none",
		":n!u@h NOTICE #a :text":          "none",
		"PING :x":                         "none",
		"":                                "none",
		"@":                               "none",
		":x":                              "none",
	} {
		got := textOf([]byte(line))
		if want == "none" && len(got) > 0 || want != "none" && string(got) != want {
			t.Errorf("%q has the text %q", line, got)
		}
	}
}

func TestNothingIsAllocatedPerDelivery(t *testing.T) {
	g := &generator{share: share{Endpoints: make([]endpoint, 1), Conns: 2, Active: 2, Channels: 1, Depth: 1, Await: AwaitLast, Verify: true}, epoch: time.Now()}
	l := newLane(g, nil, 0)
	l.from, l.to = 0, never
	g.chat = newChatters(g)
	for i, c := range g.chat {
		c.session, c.home, c.stage = &session{gen: g, id: uint64(i), lane: l}, l, talking
	}
	c := g.chat[0]
	line := append([]byte(":epi1!u@h PRIVMSG #epi0 :"), appendText(nil, header{sender: 1, due: 1}, mostText)...)
	if n := testing.AllocsPerRun(1000, func() {
		if delivery, err := c.line(line, 2); !delivery || err != nil {
			t.Fatal(delivery, err)
		}
		c.next[1] = 0
	}); n != 0 {
		t.Errorf("a delivery allocates %v times", n)
	}
	if len(l.tally.Errors) != 0 || l.tally.Requests < 1000 {
		t.Errorf("%d deliveries, errors %v", l.tally.Requests, l.tally.Errors)
	}
}
