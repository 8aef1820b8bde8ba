package cluster

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// answerWithin is how long a client waits for an answer before it goes on. It says
// nothing about what has become of the request.
const answerWithin = 20 * time.Second

// A client is at one node, and connects again whenever the connection ends.
type client struct {
	name     string
	place    Place
	channels []string
	nicks    []string // that all clients try to have
	random   *rand.Rand
	said     int
	echoes   *echoes // of all clients

	evidence Evidence // its own part

	mu     sync.Mutex
	joined map[string]bool // guarded by mu; channels in which it is, as the server says
	called string          // guarded by mu; nick, while it is connected

	conn    net.Conn
	in      *bufio.Reader
	nick    string               // as the server says
	parting string               // a channel that it leaves
	doubted map[string]int       // of each channel, PARTs that may be carried out yet: nobody has said
	places  []string             // the last lines about where it is and its nick, sent (>) and received
	held    *Hold                // nil: it has its own nick; without From, it may have lost the other one
	seen    map[string][]Message // of this connection
}

// run talks until talking ends, and then is there until the context ends.
func (c *client) run(ctx, talking context.Context) {
	for ctx.Err() == nil {
		err := c.connect(ctx)
		for err == nil && ctx.Err() == nil {
			if talking.Err() == nil {
				err = c.act()
			} else {
				err = c.stay(ctx)
			}
		}
		c.leave()
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
}

func (c *client) leave() {
	if c.conn == nil {
		return
	}
	_ = c.conn.Close()
	c.conn = nil
	c.setPlace(func() { c.called, c.joined = "", nil })
	for channel := range c.seen {
		c.endSession(channel)
	}
	c.endHold()
}

func (c *client) endSession(channel string) {
	if len(c.seen[channel]) > 0 {
		c.evidence.Sessions = append(c.evidence.Sessions, Session{c.name, channel, c.seen[channel]})
	}
	delete(c.seen, channel)
}

func (c *client) endHold() {
	if c.held != nil && c.held.Until.After(c.held.From) {
		c.evidence.Holds = append(c.evidence.Holds, *c.held)
	}
	c.held = nil
}

// unbroken is less than a lease, from its last renewal on: a node that answers within this time has not
// lost it meanwhile.
const unbroken = 3 * time.Second

// breakHold notes that the client's node may have lost its lease, and the client its nick. It may have got
// it again since, after others had it.
func (c *client) breakHold() {
	if held := c.held; held != nil {
		c.endHold()
		c.held = &Hold{Client: c.name, Nick: held.Nick}
	}
}

// holds notes that the client had its nick when it asked something. After a break the first answer is but
// the begin: it may be to what was said before the node lost its lease.
func (c *client) holds(asked time.Time) {
	if c.held.From.IsZero() {
		asked = time.Now()
		c.held.From = asked
	}
	c.held.Until = asked
}

func (c *client) connect(ctx context.Context) (err error) {
	if c.conn, err = c.place.Dial(ctx, "tcp", c.place.IRC); err != nil {
		c.conn = nil
		return err
	}
	c.in = bufio.NewReader(c.conn)
	c.nick, c.seen, c.doubted, c.places = "", map[string][]Message{}, map[string]int{}, nil
	c.setPlace(func() { c.joined = map[string]bool{} })
	m, err := c.ask(fmt.Sprintf("CAP REQ :echo-message message-tags server-time batch draft/chathistory\r\nNICK %s\r\nUSER %[1]s 0 * :%[1]s\r\nCAP END", c.name),
		func(m *ircmsg.Message) bool { return m.Command == "001" })
	if err == nil && m.Command != "001" {
		err = fmt.Errorf("%s is not let in: %s %s", c.name, m.Command, strings.Join(m.Params, " "))
	}
	for _, channel := range c.channels {
		if err == nil {
			err = c.join(channel)
		}
	}
	return err
}

func (c *client) join(channel string) error {
	_, err := c.ask("JOIN "+channel, func(m *ircmsg.Message) bool {
		return m.Command == "366" && m.Params[1] == channel
	})
	return err
}

// ask sends a line and reads up to an answer, or an error. What is refused of an earlier line, which
// was shown before it was, is no answer.
func (c *client) ask(line string, answer func(*ircmsg.Message) bool) (*ircmsg.Message, error) {
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		return nil, err
	}
	asked := time.Now()
	command, _, _ := strings.Cut(line, " ")
	if command == "JOIN" || command == "PART" || command == "NICK" {
		c.notePlace("> " + line)
	}
	for end := time.Now().Add(answerWithin); ; {
		m, err := c.read(end)
		if err != nil {
			return nil, err
		}
		if answer(m) || m.Command == "FAIL" && (c.nick == "" || m.Params[0] == command) || isError(m.Command) {
			if m.Command == "FAIL" || time.Since(asked) > unbroken {
				c.breakHold()
			}
			return m, nil
		}
	}
}

func isError(command string) bool {
	return len(command) == 3 && (command[0] == '4' && command != "422" || command[0] == '5')
}

// read reads a message and notes what it shows.
func (c *client) read(end time.Time) (*ircmsg.Message, error) {
	if err := c.conn.SetReadDeadline(end); err != nil {
		return nil, err
	}
	line, err := c.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	m := new(ircmsg.Message)
	if err := m.Parse(strings.TrimRight(line, "\r\n"), ircmsg.FromServer); err != nil {
		return nil, fmt.Errorf("%q: %w", line, err)
	}
	c.note(m)
	return m, nil
}

func (c *client) note(m *ircmsg.Message) {
	from, _, _ := strings.Cut(m.Source, "!")
	switch m.Command {
	case "JOIN", "PART", "KICK", "NICK":
		if from == c.nick {
			c.notePlace(m.Source + " " + m.Command + " " + strings.Join(m.Params, " "))
		}
	default:
		if m.Command == "FAIL" || isError(m.Command) {
			c.notePlace(m.Command + " " + strings.Join(m.Params, " "))
		}
	}
	switch {
	case m.Command == "PING":
		_, _ = fmt.Fprintf(c.conn, "PONG :%s\r\n", m.Params[0])
	case m.Command == "001", m.Command == "NICK" && from == c.nick:
		c.nick = m.Params[0]
		c.setPlace(func() { c.called = c.nick })
	case m.Command == "JOIN" && from == c.nick:
		c.setPlace(func() { c.joined[m.Params[0]] = true })
	case m.Command == "PART" && from == c.nick, m.Command == "KICK" && m.Params[1] == c.nick:
		c.setPlace(func() { delete(c.joined, m.Params[0]) })
		switch channel := m.Params[0]; {
		case channel == c.parting: // for this PART or an earlier one: as many are to come as before
		case m.Command == "PART" && c.doubted[channel] > 0:
			c.doubted[channel]--
		default:
			c.evidence.PutOut = append(c.evidence.PutOut, fmt.Sprintf("%s: %s was put out: %s, after\n\t%s",
				channel, c.name, m.Command, strings.Join(c.places, "\n\t")))
		}
	case m.Command == "PRIVMSG" && !inBatch(m):
		c.seen[m.Params[0]] = append(c.seen[m.Params[0]], Message{tag(m, "msgid"), m.Params[1]})
	}
}

// notePlace keeps the last lines that say how the client has come to be where it is, with its nick.
func (c *client) notePlace(line string) {
	const most = 16
	if len(c.places) == most {
		c.places = c.places[1:]
	}
	c.places = append(c.places, time.Now().Format(time.StampMilli)+" "+line)
}

func tag(m *ircmsg.Message, key string) string {
	value, _ := m.Tags.Get(key)
	return value
}

func inBatch(m *ircmsg.Message) bool { return tag(m, "batch") != "" }

// act does one thing.
func (c *client) act() error {
	switch n := c.random.IntN(20); {
	case n == 0:
		return c.rename()
	case n == 1:
		return c.rejoin()
	}
	time.Sleep(time.Duration(c.random.IntN(40)) * time.Millisecond)
	return c.say()
}

// setPlace changes where the client is.
func (c *client) setPlace(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// isIn returns the client's nick, if it is in a channel.
func (c *client) isIn(channel string) (nick string, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.called, c.called != "" && c.joined[channel]
}

// stay is there for a moment, and reads what comes.
func (c *client) stay(ctx context.Context) error {
	wait(ctx, 100*time.Millisecond)
	_, err := c.ask("PING still", func(m *ircmsg.Message) bool { return m.Command == "PONG" })
	return err
}

// names returns who is in a channel, but for judges, as its node shows it.
func (c *client) names(channel string) (nicks []string, err error) {
	_, err = c.ask("NAMES "+channel, func(m *ircmsg.Message) bool {
		if m.Command == "353" {
			nicks = append(nicks, strings.Fields(m.Params[3])...)
		}
		return m.Command == "366"
	})
	for i := range nicks {
		nicks[i] = strings.TrimLeft(nicks[i], "~&@%+")
	}
	return slices.DeleteFunc(nicks, func(nick string) bool { return strings.HasPrefix(nick, judge) }), err
}

// say says something in a channel.
func (c *client) say() error {
	c.said++
	s := Said{Client: c.name, Channel: c.channels[c.random.IntN(len(c.channels))], Text: fmt.Sprintf("%s says %d", c.name, c.said)}
	asked := time.Now()
	answer, err := c.ask(fmt.Sprintf("PRIVMSG %s :%s", s.Channel, s.Text), func(m *ircmsg.Message) bool {
		return m.Command == "PRIVMSG" && m.Params[1] == s.Text
	})
	switch {
	case err != nil:
	case answer.Command == "PRIVMSG":
		s.ID = tag(answer, "msgid")
		c.echoes.note()
		if from, _, _ := strings.Cut(answer.Source, "!"); c.held != nil && from == c.held.Nick {
			c.holds(asked)
		}
	default:
		s.Refused = true
	}
	c.evidence.Said = append(c.evidence.Said, s)
	return err
}

// together is the time between the moments at which clients want a nick: those who do at the same
// one do so within less than a write takes.
const together = 250 * time.Millisecond

// rename takes one of the nicks that all want, or gives it back.
func (c *client) rename() error {
	want := c.name
	if c.held == nil {
		want = c.nicks[c.random.IntN(len(c.nicks))]
		time.Sleep(time.Until(time.Now().Truncate(together).Add(together)))
	}
	c.endHold()
	_, err := c.ask("NICK "+want, func(m *ircmsg.Message) bool { // not that another one has it now
		return m.Command == "NICK" && m.Params[0] == want && c.nick == want
	})
	if err == nil && c.nick == want && want != c.name {
		now := time.Now()
		c.held = &Hold{Client: c.name, Nick: want, From: now, Until: now}
	}
	return err
}

// rejoin leaves a channel and joins it again.
func (c *client) rejoin() error {
	channel := c.channels[c.random.IntN(len(c.channels))]
	c.parting = channel
	answer, err := c.ask("PART "+channel, func(m *ircmsg.Message) bool {
		from, _, _ := strings.Cut(m.Source, "!")
		return m.Command == "PART" && from == c.nick && m.Params[0] == channel
	})
	c.parting = ""
	if err != nil {
		return err
	}
	if answer.Command == "FAIL" && answer.Params[1] == "NO_ANSWER" {
		c.doubted[channel]++
	}
	c.endSession(channel)
	return c.join(channel)
}

// history reads all that the node has of a channel.
func (c *client) history(channel string) (all []Message, err error) {
	for before := "*"; ; {
		line := "CHATHISTORY LATEST " + channel + " * 100"
		if before != "*" {
			line = "CHATHISTORY BEFORE " + channel + " msgid=" + before + " 100"
		}
		page, err := c.page(line)
		if err != nil || len(page) == 0 {
			return all, err
		}
		before = page[0].ID
		all = append(page, all...)
	}
}

func (c *client) page(line string) (page []Message, err error) {
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		return nil, err
	}
	for end, batch := time.Now().Add(answerWithin), ""; ; {
		m, err := c.read(end)
		switch {
		case err != nil:
			return nil, err
		case m.Command == "FAIL":
			return nil, fmt.Errorf("%s: %s", line, strings.Join(m.Params, " "))
		case m.Command == "BATCH" && strings.HasPrefix(m.Params[0], "+") && m.Params[1] == "chathistory":
			batch = m.Params[0][1:]
		case m.Command == "BATCH" && batch != "" && m.Params[0] == "-"+batch:
			return page, nil
		case m.Command == "PRIVMSG" && batch != "" && tag(m, "batch") == batch:
			page = append(page, Message{tag(m, "msgid"), m.Params[1]})
		}
	}
}
