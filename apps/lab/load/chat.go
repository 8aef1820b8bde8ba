package load

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/ws"
)

// Await says when a message to a channel counts as done, so that a closed loop
// goes on.
type Await string

// What can be waited for.
const (
	// AwaitLast is the last member of the channel that gets the message. Every
	// server can be waited for in this way.
	AwaitLast Await = "last"
	// AwaitEcho is the sender's own copy (echo-message).
	AwaitEcho Await = "echo"
)

// A channel is what its members share.
type channel struct {
	name    string
	senders int          // active members
	members atomic.Int32 // that have joined and are still there
}

// A chatter is a client of an IRC server, or of an MQTT broker: a session that
// registers and joins a channel before it counts as open.
type chatter struct {
	*session
	home    *lane // that of its loop, from the beginning on
	channel *channel
	seat    int    // its number among the channel's senders
	echo    bool   // its own copy is waited for
	end     string // of a line
	stage   stage
	parse   ircmsg.Message
	abort   func()     // ends the connection
	asked   bool       // what it wants of capabilities
	arrived bool       // the server has sent something since the timer was looked at
	timer   *epi.Timer // until it talks: looks whether the server goes on
	failure error      // why it was ended before it talked

	// missing counts, for each message in flight, the members that do not have
	// it yet; message n has the place n % depth. Receivers on all loops count
	// down.
	missing []atomic.Int32

	next []uint32 // the number of the next line from each sender
}

// acceptedAfter is when a client is taken for accepted though the server has
// said nothing.
const acceptedAfter = 100 * time.Millisecond

// A stage is how far a chatter's registration is.
type stage int

const (
	negotiating stage = iota // capabilities
	registering              // until the end of the message of the day
	joining                  // until the end of the names
	talking
)

// newChatters makes the clients of a share, and their channels.
func newChatters(g *generator) []*chatter {
	s := &g.share
	channels := make([]channel, s.Channels)
	prefix := "#"
	if s.Endpoints[0].Kind == mqttStream {
		prefix = "" // it is a wildcard
	}
	for i := range channels {
		channels[i].name = fmt.Sprintf("%sepi%d", prefix, s.FirstChannel+i)
	}
	chatters := make([]*chatter, s.Conns)
	for i := range chatters {
		c := &chatter{channel: &channels[i%len(channels)], echo: s.Await == AwaitEcho, end: "\r\n"}
		if i < s.Active {
			c.seat = c.channel.senders
			c.channel.senders++
			c.missing = make([]atomic.Int32, s.Depth)
		}
		chatters[i] = c
	}
	return chatters
}

// enter begins a connection that has just been established.
func (c *chatter) enter(l *lane) {
	c.home = l
	c.timer = l.loop.Every(c.gen.share.Patience, epi.Skip, c.lookForSilence)
	l.loop.After(acceptedAfter, c.accepted)
}

// joined ends the registration.
func (c *chatter) joined() {
	c.stage = talking
	c.timer.Stop()
	c.channel.members.Add(1)
	c.open(c.home.loop, c.wire)
}

// begin registers at an IRC server.
func (c *chatter) begin(l *lane) error {
	c.enter(l)
	c.say("CAP LS 302")
	name := fmt.Sprintf("epi%d", c.id)
	c.say("NICK " + name)
	c.say("USER " + name + " 0 * :epi load")
	return nil
}

// lookForSilence gives the registration up when the server has said nothing
// for a while.
func (c *chatter) lookForSilence() {
	if !c.arrived {
		c.failure = errTooLong
		c.abort()
	}
	c.arrived = false
}

// say writes one line.
func (c *chatter) say(line string) {
	_, err := c.wire.Write([]byte(line + c.end))
	c.home.failedWrite(err)
}

// line takes one line of the server, without its terminator, and reports
// whether it was a message of the load.
func (c *chatter) line(p []byte, now int64) (delivery bool, err error) {
	if text := textOf(p); text != nil && c.stage == talking {
		return true, c.deliver(text, now)
	}
	c.arrived = true
	c.accepted()
	if err := c.parse.Parse(string(p), ircmsg.FromServer); err != nil {
		return false, fmt.Errorf("the server sends what is no line of IRC: %w", err)
	}
	return false, c.answer(&c.parse)
}

// answer does what a line that is no message of the load asks for.
func (c *chatter) answer(m *ircmsg.Message) error {
	switch m.Command {
	case "PING":
		c.say("PONG :" + m.Param(len(m.Params)-1))
		return nil
	case "JOIN":
		c.home.tally.Joins++
		return nil
	case "ERROR":
		return fmt.Errorf("the server ends the connection: %q", m.Param(0))
	}
	if c.stage < talking && isRefusal(m.Command) {
		return fmt.Errorf("the server refuses: %s %q", m.Command, m.Param(len(m.Params)-1))
	}
	return c.advance(m)
}

// advance goes on with the registration.
func (c *chatter) advance(m *ircmsg.Message) error {
	switch {
	case m.Command == "CAP" && c.stage == negotiating:
		return c.negotiate(m.Param(1))
	case (m.Command == "376" || m.Command == "422") && c.stage < joining: // the end of the MOTD, or none
		if c.echo && c.stage == negotiating {
			return errNoEcho // it knows no capabilities
		}
		c.say("JOIN " + c.channel.name)
		c.stage = joining
	case m.Command == "366" && c.stage == joining: // the end of the names
		c.joined()
	}
	return nil
}

var errNoEcho = errors.New("the server has no echo-message: wait for the last receiver instead")

// negotiate answers what the server says of capabilities.
func (c *chatter) negotiate(subcommand string) error {
	switch {
	case subcommand == "NAK":
		return errNoEcho
	case subcommand == "LS" && c.echo && !c.asked:
		c.asked = true
		c.say("CAP REQ :echo-message")
	case subcommand == "ACK" || subcommand == "LS" && !c.echo && !c.asked:
		c.asked = true
		c.stage = registering
		c.say("CAP END")
	}
	return nil
}

// isRefusal says whether a numeric means that there is no registration, or no
// joining: all errors but that there is no message of the day, and that the
// server does not know CAP.
func isRefusal(command string) bool {
	switch command {
	case "422", "410", "421", "451":
		return false
	}
	return len(command) == 3 && (command[0] == '4' || command[0] == '5')
}

// deliver counts a message of the load.
func (c *chatter) deliver(text []byte, now int64) error {
	l := c.lane
	if l.ended {
		return nil
	}
	h, ok := parseHeader(text)
	from := c.gen.chatter(h.sender)
	if !ok || from == nil || from.missing == nil || from.channel != c.channel {
		return errUnasked
	}
	if l.verify && !sameFilling(text) {
		return errMismatch
	}
	if c.next == nil {
		c.next = make([]uint32, c.channel.senders)
	}
	if c.next[from.seat] != h.sequence {
		l.fail(outOfOrder, 1)
	}
	c.next[from.seat] = h.sequence + 1
	if l.measured(h.due) {
		l.tally.Latency.Record(now - h.due)
	}
	if l.measured(now) {
		l.tally.Requests++
		l.tally.Bytes += uint64(len(text))
	}
	l.tally.Delivered++
	if !c.awaits(from) {
		return nil
	}
	if c.echo || from.missing[int(h.sequence)%len(from.missing)].Add(-1) == 0 {
		c.finished(from, h.sequence)
	}
	return nil
}

// awaits reports whether a message from another, or from c itself, is one that its
// sender waits for.
func (c *chatter) awaits(from *chatter) bool {
	if c.echo {
		return from == c
	}
	return from != c || c.kind == mqttStream
}

// finished lets the sender of a message know that it is done.
func (c *chatter) finished(from *chatter, sequence uint32) {
	if from.lane == c.lane {
		from.done(sequence)
		return
	}
	// The engine has ended when this fails, and with it the load.
	_ = from.lane.loop.Do(func() { from.done(sequence) })
}

// done lets the next message go. One that is done before an earlier one waits
// for it, so that at most depth numbers are in flight.
func (c *chatter) done(sequence uint32) {
	l := c.lane
	i := int(sequence - uint32(c.sent) + uint32(c.flights.n))
	if i >= c.flights.n || l.ended {
		return // it came twice, or too late
	}
	c.flights.at(i).done = true
	answers := 0
	for c.flights.n > 0 && c.flights.at(0).done {
		f := c.flights.pop()
		l.outstanding--
		if l.measured(f.due) {
			l.tally.Messages++
		}
		answers++
	}
	if answers > 0 {
		l.next(c.session, answers, l.gen.clock())
	}
}

// awaited returns how many sessions are to get each message of c.
func (c *chatter) awaited() int {
	n := int(c.channel.members.Load())
	if !c.echo && c.kind != mqttStream {
		n--
	}
	return n
}

// appendMessage appends the line, or the packet, of a message and notes who is to get it.
func (c *chatter) appendMessage(dst []byte, sequence uint64, f flight) []byte {
	to := c.awaited()
	c.missing[sequence%uint64(len(c.missing))].Store(int32(to))
	c.lane.tally.Awaited += uint64(to)
	h := header{uint32(c.id), uint32(sequence), f.due}
	if c.kind == mqttStream {
		return c.appendPublish(dst, h, f.size)
	}
	dst = append(dst, "PRIVMSG "...)
	dst = append(dst, c.channel.name...)
	dst = append(dst, " :"...)
	dst = appendText(dst, h, f.size)
	return append(dst, c.end...)
}

// unanswered returns how many members did not get a message in flight.
func (c *chatter) unanswered(sequence uint64) int {
	return int(c.missing[sequence%uint64(len(c.missing))].Load())
}

// ended notes that the connection has ended.
func (c *chatter) ended(loop *epi.Loop, err error) {
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.stage == talking {
		c.channel.members.Add(-1)
	}
	if c.failure != nil {
		err = c.failure
	}
	c.close(loop, err)
}

// A chatLines is a chatter on a byte stream.
type chatLines struct{ *chatter }

// OnOpen begins the registration.
func (c chatLines) OnOpen(conn *epi.Conn) error {
	c.conn, c.wire, c.abort = conn, conn, func() { _ = conn.Abort() }
	return c.begin(c.gen.lanes[conn.Loop()])
}

// OnData is the hot path: it takes the lines that are complete.
func (c chatLines) OnData(conn *epi.Conn) error {
	data := conn.Unread()
	now := c.gen.clock()
	used, deliveries := 0, uint64(0)
	var err error
	for err == nil {
		end := bytes.IndexByte(data[used:], '\n')
		if end < 0 {
			break
		}
		line := bytes.TrimSuffix(data[used:used+end], []byte("\r"))
		used += end + 1
		var delivery bool
		if delivery, err = c.line(line, now); delivery {
			deliveries++
		}
	}
	c.home.count(deliveries, used)
	conn.Discard(used)
	return err
}

func (c chatLines) OnClose(conn *epi.Conn, err error) {
	c.ended(conn.Loop(), err)
}

// count shows what a call of OnData has brought.
func (l *lane) count(deliveries uint64, bytes int) {
	if deliveries > 0 {
		l.live.requests.Add(deliveries)
		l.live.bytes.Add(uint64(bytes))
	}
}

// chatSubprotocol has a line in each message of text.
const chatSubprotocol = "text.ircv3.net"

// A chatSocket is a chatter on a WebSocket
// (https://ircv3.net/specs/extensions/websocket).
type chatSocket struct {
	*chatter
	*upgrade
}

func (c chatSocket) OnOpen(conn *ws.Conn) error {
	if !c.claim() {
		return errTooLong
	}
	c.wire, c.end, c.abort = textWriter{conn}, "", func() { _ = conn.Conn().Abort() }
	return c.begin(c.gen.lanes[conn.Conn().Loop()])
}

func (c chatSocket) OnMessage(_ *ws.Conn, _ ws.Opcode, p []byte) error {
	delivery, err := c.line(p, c.gen.clock())
	if delivery {
		c.home.count(1, len(p))
	}
	return err
}

func (c chatSocket) OnClose(conn *ws.Conn, err error) {
	if c.home != nil {
		c.ended(conn.Conn().Loop(), err)
	}
}

// A textWriter makes each write a message of text.
type textWriter struct{ conn *ws.Conn }

func (w textWriter) Write(p []byte) (int, error) {
	if err := w.conn.Write(ws.Text, p); err != nil {
		return 0, err
	}
	return len(p), nil
}
