package hall

import (
	"flag"
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

var networkSeeds = flag.Int("hall.seeds", 30, "how many networks TestNetworkFaults plays, 10000 in its long form")

var networkSeed = flag.Uint64("hall.seed", 0, "the first of them")

var networkLog = flag.Int("hall.log", 150, "how much is shown of what happened before a failure")

// A trial is a network whose clients talk while its nodes fail, and what the checker has
// seen.
type trial struct {
	*nation
	random  *rand.Rand
	people  []*person
	disks   map[fabric.Node]*town // nodes that were killed
	said    int
	dead    []fabric.Node // killed
	drained []fabric.Node // until they begin anew
	log     []string
	lost    map[fabric.Node]int64 // when a node was fenced or killed last
	// redacted are the texts that somebody has wanted deleted.
	redacted map[string]bool
	// peaceful: nobody leaves a channel or puts anybody out.
	peaceful bool
}

// A person is a client as it sees itself.
type person struct {
	at       fabric.Node
	name     string // of the session, for scripts
	id       SessionID
	town     *town
	nick     string
	channels map[string]bool
	last     map[string]string // msgid of what was read last, by channel
	waiting  map[string]string // what was said and not answered yet: label to text
	echoed   map[string]string // text to msgid
	spoke    map[string]string // text to channel
	closed   bool
}

func newTrial(t *testing.T, seed uint64, options fabrictest.Options) *trial {
	r := rand.New(rand.NewPCG(seed, 7))
	x := &trial{
		nation: newNation(t, seed, Config{History: History{Enabled: true}}, options, "a", "b", "c"),
		random: r, disks: map[fabric.Node]*town{}, lost: map[fabric.Node]int64{}, redacted: map[string]bool{},
	}
	x.trace = x.note
	for _, name := range x.names() {
		x.towns[name].skew = r.Int64N(120_000) - 60_000
	}
	return x
}

func (x *trial) note(format string, args ...any) {
	x.log = append(x.log, fmt.Sprintf("%8.3f ", x.net.Now().Seconds())+fmt.Sprintf(format, args...))
}

// arrive opens a session at a node.
func (x *trial) arrive(at fabric.Node) {
	w := x.town(at)
	name := fmt.Sprint("p", len(x.people))
	p := &person{at: at, name: name, town: w, channels: map[string]bool{}, last: map[string]string{}, waiting: map[string]string{}, echoed: map[string]string{}, spoke: map[string]string{}}
	p.id = w.open(name, Origin{Host: name, Address: "192.0.2.1"})
	x.people = append(x.people, p)
	x.tell(p, "CAP REQ :echo-message labeled-response batch message-tags server-time")
	x.tell(p, "NICK "+x.nick())
	x.tell(p, "USER u 0 * :U")
	x.tell(p, "CAP END")
}

func (x *trial) nick() string { return fmt.Sprint("n", x.random.IntN(12)) }

func (x *trial) channel() string { return fmt.Sprint("#", x.random.IntN(3)) }

func (x *trial) tell(p *person, line string) {
	x.note("%s@%s > %s", p.name, p.at, line)
	p.town.line(p.id, line)
}

// reachable returns the people whose nodes are running.
func (x *trial) reachable() (some []*person) {
	for _, p := range x.people {
		if !p.closed && x.towns[p.at] == p.town && !p.town.node.Paused() {
			some = append(some, p)
		}
	}
	return some
}

// act lets somebody do something.
func (x *trial) act() {
	people := x.reachable()
	if len(people) < 9 && x.random.IntN(2) == 0 || len(people) == 0 {
		if w := x.towns[x.names()[x.random.IntN(3)]]; w != nil && !w.node.Paused() && !slices.Contains(x.dead, w.node.Name()) {
			x.arrive(w.node.Name())
		}
		return
	}
	p := people[x.random.IntN(len(people))]
	what := x.random.IntN(20)
	if x.peaceful && (what == 4 || what == 8 || what == 10) {
		what = 0
	}
	switch what {
	case 0, 1, 2, 3:
		x.tell(p, "JOIN "+x.channel())
	case 4:
		x.tell(p, "PART "+x.channel())
	case 5, 6:
		x.tell(p, "NICK "+x.nick())
	case 7:
		x.tell(p, "TOPIC "+x.channel()+" :"+fmt.Sprint("topic ", x.said))
	case 8:
		x.tell(p, "MODE "+x.channel()+" +"+[]string{"m", "b x!*@*", "v " + x.nick(), "o " + x.nick()}[x.random.IntN(4)])
	case 9:
		x.tell(p, "MODE "+x.channel()+" -m")
	case 10:
		if x.random.IntN(4) == 0 {
			x.tell(p, "QUIT")
			return
		}
		x.tell(p, "KICK "+x.channel()+" "+x.nick())
	case 11:
		x.redact(p)
	default:
		x.speak(p, x.channel())
	}
}

// redact lets somebody delete what they have said, if they remember something.
func (x *trial) redact(p *person) {
	if len(p.echoed) == 0 {
		return
	}
	text := slices.Sorted(maps.Keys(p.echoed))[x.random.IntN(len(p.echoed))]
	x.redacted[text] = true
	x.tell(p, "REDACT "+p.spoke[text]+" "+p.echoed[text])
}

func (x *trial) speak(p *person, to string) {
	x.said++
	label, text := fmt.Sprint("l", x.said), fmt.Sprint("t", x.said)
	p.waiting[label], p.spoke[text] = text, to
	x.tell(p, fmt.Sprintf("@label=%s PRIVMSG %s :%s", label, to, text))
}

// fail does something bad, or ends it.
func (x *trial) fail() {
	names := x.names()
	one, other := names[x.random.IntN(3)], names[x.random.IntN(3)]
	w := x.towns[one]
	switch x.random.IntN(10) {
	case 0:
		x.note("isolate %s", one)
		x.net.Isolate(one)
	case 1:
		if one != other {
			x.note("cut %s %s", one, other)
			x.net.Cut(one, other, x.random.IntN(2) == 0)
		}
	case 2:
		if !w.node.Paused() && !slices.Contains(x.dead, one) {
			x.note("pause %s", one)
			w.node.Pause()
		}
	case 3:
		if !slices.Contains(x.dead, one) && len(x.dead) == 0 {
			x.note("kill %s", one)
			x.kill(one)
		}
	case 4:
		x.note("lose")
		x.net.Lose(0.05)
	case 6:
		if !w.node.Paused() && !slices.Contains(x.dead, one) && len(x.drained) == 0 {
			x.note("drain %s", one)
			w.node.Drain()
			x.drained = append(x.drained, one)
		}
	case 7:
		x.note("slow: %s to %s", one, other)
		x.net.Delay(one, other, time.Duration(x.random.Int64N(int64(5*time.Second))))
	case 5:
		x.note("stall")
		x.net.Stall(time.Duration(1+x.random.IntN(10)) * time.Second)
	default:
		x.mend()
	}
}

func (x *trial) kill(name fabric.Node) {
	w := x.towns[name]
	w.node.Kill()
	x.dead = append(x.dead, name)
	x.disks[name] = w
	x.lost[name] = w.now
	for _, p := range x.people {
		if p.town == w {
			p.closed = true
		}
	}
}

// mend ends all faults.
func (x *trial) mend() {
	x.note("mend")
	x.net.Heal()
	for _, name := range x.names() {
		if w := x.towns[name]; w.node.Paused() {
			w.node.Resume()
		}
	}
	for _, name := range x.drained {
		if !slices.Contains(x.dead, name) {
			x.kill(name)
		}
	}
	for _, name := range x.dead {
		x.found(name).wake(x.disks[name])
	}
	x.dead, x.drained = nil, nil
}

// read looks at what everybody has received.
func (x *trial) read() {
	for _, name := range x.names() {
		w := x.towns[name]
		for _, r := range w.look() {
			p := x.personOf(w, r.to)
			if p == nil {
				continue
			}
			x.note("%s@%s < %s", p.name, p.at, r.line)
			x.readLine(p, r.line)
		}
		for _, problem := range w.problems {
			x.t.Errorf("%s: %s", name, problem)
		}
		w.problems = nil
	}
}

func (x *trial) personOf(w *town, id SessionID) *person {
	for _, p := range x.people {
		if p.town == w && p.id == id {
			return p
		}
	}
	return nil
}

func (x *trial) readLine(p *person, line string) {
	if line == "(closed)" {
		p.closed = true
		p.town.close(p.id, "closed")
		return
	}
	var m ircmsg.Message
	if err := m.Parse(line, ircmsg.FromServer); err != nil {
		x.t.Errorf("%q: %v", line, err)
		return
	}
	label, _ := m.Tags.Get("label")
	if text, ok := p.waiting[label]; ok {
		delete(p.waiting, label)
		if m.Command == "PRIVMSG" {
			id, _ := m.Tags.Get("msgid")
			p.echoed[text] = id
		} else if m.Command != "FAIL" && (len(m.Command) != 3 || m.Command[0] != '4') {
			x.t.Errorf("%s: a message is answered by %q", p.name, line)
		}
	}
	nick, _, _ := strings.Cut(m.Source, "!")
	switch m.Command {
	case "001":
		p.nick = m.Param(0)
	case "NICK":
		if nick == p.nick {
			p.nick = m.Param(0)
		}
	case "PART", "KICK":
		if x.peaceful && (m.Command == "PART" && nick == p.nick || m.Command == "KICK" && m.Param(1) == p.nick) {
			x.t.Errorf("%s@%s was put out: %s", p.name, p.at, line)
		}
	case "PRIVMSG":
		x.heard(p, &m, line)
	}
}

// heard checks a message: what somebody reads in one channel comes in the order that the
// numbers have for everybody.
func (x *trial) heard(p *person, m *ircmsg.Message, line string) {
	id, _ := m.Tags.Get("msgid")
	channel := m.Param(0)
	if last := p.last[channel]; id <= last {
		x.t.Errorf("%s@%s reads %s after %s: %s", p.name, p.at, id, last, line)
	}
	p.last[channel] = id
}

// exclusive checks that no nick is had twice, and no channel owned twice, by those that may
// act.
func (x *trial) exclusive() {
	seen := map[string]fabric.Node{}
	for _, name := range x.names() {
		w := x.towns[name]
		if slices.Contains(x.dead, name) || w.node.Paused() || !w.node.Valid() || w.fenced {
			continue
		}
		w.accountsOf()
		for _, u := range w.hall.everyone {
			if u.net.node != nil || !u.net.told {
				continue
			}
			key := w.hall.nickKey(u.nick())
			if other, twice := seen[key]; twice {
				x.t.Errorf("the nick %s is had at %s and %s", key, other, name)
			}
			seen[key] = name
		}
		for _, c := range w.hall.slots {
			if c == nil || !c.net.mine {
				continue
			}
			if other, twice := seen[c.name]; twice {
				x.t.Errorf("%s is owned by %s and %s", c.name, other, name)
			}
			seen[c.name] = name
		}
	}
}

// finish mends all and checks what must hold then.
func (x *trial) finish() {
	x.mend()
	x.peace()
	for range 3 {
		x.net.Run(15 * time.Second) // runs that nobody answers end
		x.ticks()
	}
	x.read()
	x.same()
	x.net.Run(10 * time.Second) // what the others have not is appended
	for _, name := range x.names() {
		x.towns[name].replay()
	}
	x.net.Run(10 * time.Second)
	kept := map[int64]string{}
	for _, w := range x.towns {
		for _, r := range w.records {
			kept[r.ID] = r.Text
		}
	}
	for _, name := range x.names() {
		for id, text := range kept {
			if !slices.ContainsFunc(x.towns[name].records, func(r Record) bool { return r.ID == id }) {
				x.t.Errorf("%q, %s, is kept and not at %s", text, MsgID(id), name)
			}
		}
	}
	for _, p := range x.people {
		for label, text := range p.waiting {
			if !p.closed && x.towns[p.at] == p.town {
				x.t.Errorf("%s@%s never got %s, %s", p.name, p.at, label, text)
			}
		}
		for text, id := range p.echoed {
			if !x.redacted[text] && !slices.Contains(slices.Collect(maps.Values(kept)), text) {
				x.t.Errorf("%s@%s was shown %s (%s), which is nowhere", p.name, p.at, text, id)
			}
		}
	}
}

func (x *trial) ticks() {
	for _, name := range x.names() {
		if w := x.towns[name]; !slices.Contains(x.dead, name) && !w.node.Paused() {
			w.apply(&Event{Kind: Tick})
		}
	}
}

func (x *trial) play(steps int) {
	x.peace()
	for range steps {
		if x.random.IntN(12) == 0 {
			x.fail()
		}
		x.act()
		x.net.Run(time.Duration(x.random.Int64N(int64(700 * time.Millisecond))))
		if x.random.IntN(3) == 0 {
			x.net.Run(time.Duration(x.random.Int64N(int64(8 * time.Second))))
		}
		x.ticks()
		x.read()
		x.exclusive()
		if x.t.Failed() {
			return
		}
	}
	x.finish()
}

func TestNetworkFaults(t *testing.T) {
	for seed := range uint64(*networkSeeds) {
		x := newTrial(t, seed+*networkSeed, fabrictest.Options{})
		x.play(100)
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed+*networkSeed, strings.Join(x.log[max(0, len(x.log)-*networkLog):], "\n"))
		}
	}
}

// TestNetworkPutsNobodyOut plays networks in which nobody leaves a channel: whatever fails, nobody is
// shown that they did.
func TestNetworkPutsNobodyOut(t *testing.T) {
	for seed := range uint64(*networkSeeds) {
		x := newTrial(t, seed+*networkSeed, fabrictest.Options{})
		x.peaceful = true
		x.play(100)
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed+*networkSeed, strings.Join(x.log[max(0, len(x.log)-*networkLog):], "\n"))
		}
	}
}

// TestNetworkIsDeterministic plays one network twice: what comes in and out is the same.
func TestNetworkIsDeterministic(t *testing.T) {
	var first []string
	for range 2 {
		x := newTrial(t, 3, fabrictest.Options{})
		x.play(60)
		if first == nil {
			first = x.log
			continue
		}
		for i := range min(len(first), len(x.log)) {
			if first[i] != x.log[i] {
				t.Fatalf("line %d\n was %s\nand is %s", i, first[i], x.log[i])
			}
		}
		if len(first) != len(x.log) {
			t.Fatalf("%d lines, and then %d", len(first), len(x.log))
		}
	}
}
