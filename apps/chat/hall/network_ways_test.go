package hall

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/fabric/fabrictest"
	"github.com/epinet/epi/apps/chat/ircmsg"
)

// What a node shows of a user comes to it on two ways: what the user changes of itself from the user's
// node, and what it does in a channel from the channel's owner. One of them may be slower.

// slow is how much slower a way is than the others: much longer than say waits, shorter than a lease.
const slow = 7 * time.Second

// A meeting is three people in one channel: one at its owner, and two at the other nodes.
type meeting struct {
	*nation
	owner, one, two fabric.Node
	channel         string
}

// meet returns one: hal is at the owner and its operator, ann at one, bob at two.
func meet(t *testing.T, config Config, caps ...string) *meeting {
	m := &meeting{nation: threeNodes(t, config), owner: "b", one: "a", two: "c", channel: homedAt("b", "b")}
	for name, at := range m.places() {
		m.user(at, name, caps...)
	}
	m.say(m.owner, "hal", "JOIN "+m.channel)
	m.say(m.one, "ann", "JOIN "+m.channel)
	m.say(m.two, "bob", "JOIN "+m.channel)
	if got := m.ownerOf(m.channel); got != m.owner {
		t.Fatalf("%s is owned by %s", m.channel, got)
	}
	m.expectAny()
	return m
}

func (m *meeting) places() map[string]fabric.Node {
	return map[string]fabric.Node{"hal": m.owner, "ann": m.one, "bob": m.two}
}

// say lets a session say lines, each answered on the fast ways before the next.
func (m *meeting) say(at fabric.Node, name string, lines ...string) {
	w := m.town(at)
	for _, line := range lines {
		w.line(w.names[name], line)
		m.net.Run(500 * time.Millisecond)
	}
}

// reads compares what somebody has read since the last look at their node, without the channel's name.
func (m *meeting) reads(name string, want ...string) {
	m.t.Helper()
	w := m.town(m.places()[name])
	var got []string
	for _, r := range w.look() {
		if r.to == w.names[name] {
			line := r.line
			if strings.HasPrefix(line, "@") {
				_, line, _ = strings.Cut(line, " ")
			}
			got = append(got, strings.ReplaceAll(line, m.channel, "#"))
		}
	}
	w.healthy()
	if !slices.Equal(got, want) {
		m.t.Errorf("%s has read\n\t%s\nwant\n\t%s", name, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// late heals the network and waits for what was late.
func (m *meeting) late() {
	m.net.Heal()
	m.net.Run(slow)
	m.settled()
}

// TestNetworkLineBeforeItsNick:
//
//	one: ann is now annie ──── slow ───► two
//	one: annie says hi ─► owner ───────► two
func TestNetworkLineBeforeItsNick(t *testing.T) {
	m := meet(t, Config{}, "invite-notify")
	m.user(m.owner, "dan")
	m.say(m.owner, "hal", "MODE "+m.channel+" +o bob")
	m.expectAny()
	m.net.Delay(m.one, m.two, slow)
	m.say(m.one, "ann", "NICK annie", "PRIVMSG "+m.channel+" :hi", "INVITE dan "+m.channel)
	m.say(m.owner, "hal", "MODE "+m.channel+" +mv annie", "KICK "+m.channel+" annie :out")
	m.reads("bob",
		":ann!ann@ann.host PRIVMSG # :hi",
		":ann!ann@ann.host INVITE dan #",
		":hal!hal@hal.host MODE # +mv ann",
		":hal!hal@hal.host KICK # ann :out",
	)
	m.reads("hal",
		":ann!ann@ann.host NICK annie",
		":annie!ann@ann.host PRIVMSG # :hi",
		":annie!ann@ann.host INVITE dan #",
		":hal!hal@hal.host MODE # +mv annie",
		":hal!hal@hal.host KICK # annie :out",
	)
	m.late()
	m.reads("bob", ":ann!ann@ann.host NICK annie")
	m.same()
}

// TestNetworkLineAfterItsNick:
//
//	one: ann says hi ─► owner ─ slow ──► two
//	one: ann is now annie ─────────────► two
func TestNetworkLineAfterItsNick(t *testing.T) {
	m := meet(t, Config{})
	m.net.Delay(m.owner, m.two, slow)
	m.say(m.one, "ann", "PRIVMSG "+m.channel+" :hi", "NICK annie")
	m.reads("bob", ":ann!ann@ann.host NICK annie")
	m.late()
	m.reads("bob", ":annie!ann@ann.host PRIVMSG # :hi")
	m.same()
}

// TestNetworkLineOfSomebodyWhoIsGone: what comes after its user has gone, and somebody else has the nick, is
// not taken for the words of that one.
func TestNetworkLineOfSomebodyWhoIsGone(t *testing.T) {
	m := meet(t, Config{})
	m.net.Delay(m.owner, m.two, slow)
	m.say(m.one, "ann", "PRIVMSG "+m.channel+" :hi")
	m.say(m.owner, "hal", "MODE "+m.channel+" +v ann", "KICK "+m.channel+" ann :out")
	m.town(m.one).close(m.town(m.one).names["ann"], "gone")
	m.settled()
	m.say(m.two, "bob", "NICK ann")
	m.reads("bob", ":ann!ann@ann.host QUIT :gone", ":bob!bob@bob.host NICK ann")
	m.late()
	m.reads("bob",
		":ann/gone!ann@ann.host PRIVMSG # :hi",
		":hal!hal@hal.host MODE # +v ann/gone",
		":hal!hal@hal.host KICK # ann/gone :out",
	)
	m.same()
}

// TestNetworkNamesWithoutTheUser: who joins a channel in which is somebody whom the node does not know yet
// reads of them when it does; who was there has read of them before.
func TestNetworkNamesWithoutTheUser(t *testing.T) {
	m := meet(t, Config{})
	m.user(m.two, "dan")
	m.net.Delay(m.one, m.two, slow)
	w := m.town(m.one)
	w.open("eve", Origin{Host: "eve.host", Address: "192.0.2.1"})
	m.say(m.one, "eve", "NICK eve", "USER eve 0 * :E", "JOIN "+m.channel)
	m.reads("bob", ":eve!eve@eve.host JOIN #")
	m.say(m.two, "dan", "JOIN "+m.channel)
	m.town(m.two).look()
	m.late()
	got := m.town(m.two).text()
	if want := "dan < :eve!eve@eve.host JOIN " + m.channel + "\n"; got != want {
		t.Errorf("at the node of dan and bob they have read\n%s\nwant\n%s", got, want)
	}
	m.same()
}

// TestNetworkKickCrossesNick: who has another nick already where they are, and not yet at the channel's
// owner, are put out under the one that they know.
func TestNetworkKickCrossesNick(t *testing.T) {
	m := meet(t, Config{})
	m.net.Delay(m.one, m.owner, slow)
	m.say(m.one, "ann", "NICK annie")
	m.say(m.owner, "hal", "MODE "+m.channel+" +v ann", "KICK "+m.channel+" ann :out")
	m.reads("ann",
		":ann!ann@ann.host NICK annie",
		":hal!hal@hal.host MODE # +v annie",
		":hal!hal@hal.host KICK # annie :out",
	)
	m.reads("bob",
		":ann!ann@ann.host NICK annie",
		":hal!hal@hal.host MODE # +v annie",
		":hal!hal@hal.host KICK # annie :out",
	)
	m.late()
	m.same()
}

// TestNetworkGoneWhileJoining: who joins and is gone before the owner of the channel has answered is no
// member for anybody, whatever comes first.
func TestNetworkGoneWhileJoining(t *testing.T) {
	for _, way := range []string{"none", "owner", "one"} {
		m := meet(t, Config{})
		switch way {
		case "owner":
			m.net.Delay(m.owner, m.two, slow)
		case "one":
			m.net.Delay(m.one, m.two, slow)
		}
		id := m.user(m.one, "eve")
		m.late()
		m.expectAny()
		switch way {
		case "owner":
			m.net.Delay(m.owner, m.two, slow)
		case "one":
			m.net.Delay(m.one, m.two, slow)
		}
		w := m.town(m.one)
		w.line(id, "JOIN "+m.channel)
		w.close(id, "gone")
		m.settled()
		m.late()
		for name, at := range m.places() {
			there := false
			for _, r := range m.town(at).look() {
				if r.to == m.town(at).names[name] && strings.Contains(r.line, ":eve!") {
					there = strings.Contains(r.line, " JOIN ")
				}
			}
			if there {
				t.Errorf("%s is slow: for %s, eve is in the channel for ever", way, name)
			}
		}
		m.same()
	}
}

// TestNetworkNickMoves: a nick that somebody leaves is nobody else's until all nodes show that.
//
//	one: ann is now annie ── slow ──► two
//	one: eve wants ann    ── waits, until two has answered
//	owner: dan wants ann  ── is taken
func TestNetworkNickMoves(t *testing.T) {
	m := meet(t, Config{})
	m.user(m.one, "eve")
	m.user(m.owner, "dan")
	m.say(m.two, "bob", "MONITOR + ann")
	m.say(m.one, "eve", "JOIN "+m.channel)
	m.expectAny()
	m.net.Delay(m.one, m.two, slow)
	m.say(m.one, "ann", "NICK annie")
	m.say(m.owner, "dan", "NICK ann")
	if got := m.town(m.owner).text(); !strings.Contains(got, " 433 dan ann ") {
		t.Errorf("dan has read\n%s", got)
	}
	m.say(m.one, "eve", "NICK ann")
	m.reads("bob")
	m.late()
	m.say(m.one, "eve", "PRIVMSG "+m.channel+" :I am eve")
	m.reads("bob",
		":ann!ann@ann.host NICK annie",
		":c.example 731 bob :ann",
		":eve!eve@eve.host NICK ann",
		":c.example 730 bob :ann!eve@eve.host",
		":ann!eve@eve.host PRIVMSG # :I am eve",
	)
	m.same()
	m.say(m.one, "eve", "NICK eve")
	m.say(m.owner, "dan", "NICK ann")
	if m.town(m.two).hall.find("ann") == nil {
		t.Error("a nick that was left cannot be had")
	}
	m.same()
}

// TestNetworkNickOfAnOlderNode: a node that does not answer marks is not waited for.
func TestNetworkNickOfAnOlderNode(t *testing.T) {
	m := meet(t, Config{})
	for _, at := range m.town(m.one).hall.net.order {
		at.answers = false
	}
	m.net.Delay(m.one, m.two, slow)
	m.say(m.one, "ann", "NICK annie")
	m.say(m.owner, "hal", "NICK ann")
	m.late()
	if u := m.town(m.two).hall.find("ann"); u == nil || u.name() != "hal" {
		t.Errorf("the nick is had by %+v", u)
	}
	m.same()
}

// TestNetworkNickThatWasLost: who has not read that somebody is called otherwise, since that was lost on
// its way, reads it when the node says all again.
func TestNetworkNickThatWasLost(t *testing.T) {
	m := meet(t, Config{})
	m.net.Cut(m.one, m.two, false)
	m.say(m.one, "ann", "NICK annie")
	m.net.Heal()
	for range 3 {
		m.ticks()
	}
	m.reads("bob", ":ann!ann@ann.host NICK annie")
	m.say(m.owner, "hal", "NICK ann")
	m.reads("bob", ":hal!hal@hal.host NICK ann")
	m.same()
}

// TestNetworkNickOfTheOwner: a change that the user's node says is not one of the channels that the node
// owns: who takes nothing of a channel from it any more takes that.
func TestNetworkNickOfTheOwner(t *testing.T) {
	m := meet(t, Config{})
	w := m.town(m.two)
	w.hall.channels[m.channel].net.owner = w.hall.net.nodes[m.one]
	m.say(m.owner, "hal", "NICK hank")
	m.reads("bob", ":hal!hal@hal.host NICK hank")
	m.say(m.owner, "hal", "QUIT :bye")
	m.reads("bob", ":hank!hal@hal.host QUIT :Quit: bye")
}

// TestNetworkOverBeforeDown: a node that is said to be over is down, before its own fabric says so.
func TestNetworkOverBeforeDown(t *testing.T) {
	m := meet(t, Config{})
	w := m.town(m.two)
	over := w.hall.net.nodes[m.one].member
	by := w.hall.net.nodes[m.owner].member
	w.news(News{Kind: NodeSaid, From: by, Data: fmt.Appendf(nil, `p{"l":1,"o":[{"k":"over","b":{"n":"a","e":%d}},{"k":"over","b":{"n":"c","e":%d}}]}`, over.Epoch, w.hall.net.self.Epoch)})
	if w.hall.find("ann") != nil || w.hall.find("bob") == nil {
		t.Errorf("there are %d users", len(w.hall.everyone))
	}
	m.reads("bob", ":ann!ann@ann.host QUIT :c a")
	w.news(News{Kind: NodeUp, From: over})
	w.news(News{Kind: NodeDown, From: over})
	m.reads("bob")
}

// TestNetworkEndedWhileClaimed: of two who wait for the claim of a channel, the first one leaves it at
// once, and so ends it, before the second one has joined: that claims it again.
func TestNetworkEndedWhileClaimed(t *testing.T) {
	n := threeNodes(t, Config{})
	w := n.town("a")
	ann, eve := n.user("a", "ann"), n.user("a", "eve")
	name := homedAt("a", "b")
	w.line(ann, "JOIN "+name)
	w.line(ann, "PART "+name)
	w.line(eve, "JOIN "+name)
	n.settled()
	if got := n.ownerOf(name); got != "a" {
		t.Errorf("the channel is owned by %s", got)
	}
	n.same()
}

// A reader is a client that keeps what it was shown: who is in its channels, by which nicks.
type reader struct {
	at       fabric.Node
	name     string // its user name, too
	id       SessionID
	nick     string
	channels map[string]map[string]string // nick to user name, by channel
	closed   bool
}

// A slowPlay has readers at three nodes whose ways to each other are slow, now one and now another.
type slowPlay struct {
	*nation
	random  *rand.Rand
	readers []*reader
	said    int
	log     []string
}

func (x *slowPlay) note(format string, args ...any) {
	x.log = append(x.log, fmt.Sprintf("%8.3f ", x.net.Now().Seconds())+fmt.Sprintf(format, args...))
}

func (x *slowPlay) wrong(r *reader, format string, args ...any) {
	x.t.Errorf("%s@%s, who is %s: %s", r.name, r.at, r.nick, fmt.Sprintf(format, args...))
}

func (x *slowPlay) nick() string { return fmt.Sprint("n", x.random.IntN(7)) }

func (x *slowPlay) channel() string { return fmt.Sprint("#", x.random.IntN(3)) }

func (x *slowPlay) tell(r *reader, line string) {
	x.note("%s@%s > %s", r.name, r.at, line)
	x.town(r.at).line(r.id, line)
}

func (x *slowPlay) arrive() {
	at := x.names()[x.random.IntN(3)]
	r := &reader{at: at, name: fmt.Sprint("p", len(x.readers)), channels: map[string]map[string]string{}}
	r.id = x.town(at).open(r.name, Origin{Host: "h", Address: "192.0.2.1"})
	x.readers = append(x.readers, r)
	x.tell(r, "CAP REQ :userhost-in-names")
	x.tell(r, "USER "+r.name+" 0 * :U")
	x.tell(r, "CAP END")
	x.tell(r, "NICK "+x.nick())
}

func (x *slowPlay) act() {
	var open []*reader
	for _, r := range x.readers {
		if !r.closed {
			open = append(open, r)
		}
	}
	if len(open) < 5 || len(open) < 7 && x.random.IntN(2) == 0 {
		x.arrive()
		return
	}
	r := open[x.random.IntN(len(open))]
	switch x.random.IntN(16) {
	case 0, 1, 2, 3:
		x.tell(r, "JOIN "+x.channel())
	case 4:
		x.tell(r, "PART "+x.channel())
	case 5, 6, 7:
		x.tell(r, "NICK "+x.nick())
	case 8:
		x.tell(r, "MODE "+x.channel()+" +v-v "+x.nick()+" "+x.nick())
	case 9:
		x.tell(r, "KICK "+x.channel()+" "+x.nick())
	case 10:
		if x.random.IntN(2) == 0 {
			x.tell(r, "JOIN "+x.channel())
		}
		r.closed = true
		x.town(r.at).close(r.id, "gone")
	default:
		x.said++
		x.tell(r, fmt.Sprint("PRIVMSG ", x.channel(), " :t", x.said))
	}
}

// read has everybody read what has come, and look whether it fits to what they were shown before.
func (x *slowPlay) read() {
	for _, name := range x.names() {
		w := x.towns[name]
		for _, got := range w.look() {
			for _, r := range x.readers {
				if r.at == name && r.id == got.to && !r.closed {
					x.note("%s@%s < %s", r.name, r.at, got.line)
					x.readLine(r, got.line)
				}
			}
		}
		for _, problem := range w.problems {
			x.t.Errorf("%s: %s", name, problem)
		}
		w.problems = nil
	}
}

func (x *slowPlay) readLine(r *reader, line string) {
	var m ircmsg.Message
	if err := m.Parse(line, ircmsg.FromServer); err != nil {
		x.t.Errorf("%q: %v", line, err)
		return
	}
	nick, rest, _ := strings.Cut(m.Source, "!")
	user, _, _ := strings.Cut(rest, "@")
	members := r.channels[m.Param(0)]
	switch m.Command {
	case "001":
		r.nick = m.Param(0)
	case "353":
		for name := range strings.FieldsSeq(m.Param(3)) {
			nick, rest, _ := strings.Cut(strings.TrimLeft(name, rankPrefixes), "!")
			user, _, _ := strings.Cut(rest, "@")
			x.shown(r, m.Param(2), nick, user, line)
		}
	case "JOIN":
		if user == r.name {
			r.channels[m.Param(0)] = map[string]string{}
		}
		x.shown(r, m.Param(0), nick, user, line)
	case "NICK":
		if user == r.name {
			r.nick = m.Param(0)
		}
		for channel, members := range r.channels {
			if members[nick] == user {
				delete(members, nick)
				x.shown(r, channel, m.Param(0), user, line)
			}
		}
	case "QUIT":
		for _, members := range r.channels {
			if members[nick] == user {
				delete(members, nick)
			}
		}
	case "PART":
		x.known(r, members, nick, user, line)
		x.out(r, m.Param(0), nick)
	case "KICK":
		x.known(r, members, m.Param(1), members[m.Param(1)], line)
		x.out(r, m.Param(0), m.Param(1))
	case "MODE":
		for i := 2; i < len(m.Params); i++ {
			x.known(r, members, m.Param(i), members[m.Param(i)], line)
		}
	case "PRIVMSG":
		x.known(r, members, nick, user, line)
	}
}

// shown adds a member.
func (x *slowPlay) shown(r *reader, channel, nick, user, line string) {
	members := r.channels[channel]
	if members == nil {
		x.wrong(r, "is not in %s: %s", channel, line)
		return
	}
	for other, of := range members {
		if (other == nick) != (of == user) {
			x.wrong(r, "knows %s as %s: %s", of, other, line)
		}
	}
	members[nick] = user
}

// out takes a member off.
func (x *slowPlay) out(r *reader, channel, nick string) {
	if nick == r.nick {
		delete(r.channels, channel)
		return
	}
	delete(r.channels[channel], nick)
}

// known checks that a line is not of somebody whom the reader knows by another nick, nor by a nick that it knows
// somebody else by. Of somebody it may be who is gone, or whose node has not said who that is.
func (x *slowPlay) known(r *reader, members map[string]string, nick, user, line string) {
	if members[nick] == user {
		return
	}
	for other, of := range members {
		if other == nick || of == user {
			x.wrong(r, "knows %s as %s: %s", of, other, line)
		}
	}
}

func (x *slowPlay) tick() {
	for _, name := range x.names() {
		x.towns[name].apply(&Event{Kind: Tick})
	}
}

func (x *slowPlay) play(steps int) {
	x.peace()
	for range steps {
		switch x.random.IntN(12) {
		case 0:
			names := x.names()
			from, to := names[x.random.IntN(3)], names[x.random.IntN(3)]
			x.note("slow: %s to %s", from, to)
			x.net.Delay(from, to, time.Duration(x.random.Int64N(int64(5*time.Second))))
		case 1:
			x.net.Heal()
		}
		x.act()
		x.net.Run(time.Duration(x.random.Int64N(int64(400 * time.Millisecond))))
		x.tick()
		x.read()
		if x.t.Failed() {
			return
		}
	}
	x.net.Heal()
	for range 10 {
		x.net.Run(3 * time.Second)
		x.tick()
	}
	x.read()
	x.same()
	for _, r := range x.readers {
		if r.closed || r.nick == "" {
			continue
		}
		u := x.town(r.at).hall.find(r.nick)
		if u == nil || u.name() != r.name {
			x.wrong(r, "has another nick")
			continue
		}
		for _, m := range u.channels {
			members := map[string]string{}
			for _, other := range m.channel.members {
				members[other.user.nick()] = other.user.name()
			}
			if !maps.Equal(members, r.channels[m.channel.name]) {
				x.wrong(r, "knows in %s %v, and there are %v", m.channel.name, r.channels[m.channel.name], members)
			}
		}
		if len(u.channels) != len(r.channels) {
			x.wrong(r, "is in %d channels, and knows of %d", len(u.channels), len(r.channels))
		}
	}
}

// TestNetworkSlowWays plays networks with slow ways: nobody is shown anything that does not fit to
// what they were shown before, and in the end everybody knows who is in their channels.
func TestNetworkSlowWays(t *testing.T) {
	for seed := range uint64(*networkSeeds) {
		seed += *networkSeed
		x := &slowPlay{nation: newNation(t, seed, Config{}, fabrictest.Options{}, "a", "b", "c"), random: rand.New(rand.NewPCG(seed, 9))}
		x.trace = x.note
		x.play(200)
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, strings.Join(x.log[max(0, len(x.log)-*networkLog):], "\n"))
		}
	}
}
