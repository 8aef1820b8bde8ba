package hall

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/ircmsg"
)

// What follows is one rule of the network each, mostly by ops that are made here.

// said gives a node an op of another one.
func (n *nation) said(from, at fabric.Node, kind string, body any) {
	n.saidAll(from, at, op{kind, encode(kind, body)})
}

func (n *nation) saidAll(from, at fabric.Node, ops ...op) {
	w := n.town(at)
	data := append([]byte{wholeParcel}, encode("parcel", parcel{Last: 1, Ops: ops})...)
	w.news(News{Kind: NodeSaid, From: w.other(from).member, Data: data})
}

// other is what a node knows of another one.
func (w *town) other(name fabric.Node) *node { return w.hall.net.nodes[name] }

// posts notes what nodes say to each other from now on, as "from -> to kind".
func (n *nation) posts() *[]string {
	var all []string
	n.trace = func(format string, args ...any) {
		if format != "%s -> %s %s" {
			return
		}
		p, err := decode[parcel](args[2].([]byte)[1:])
		if err != nil {
			n.t.Fatal(err)
		}
		for _, o := range p.Ops {
			all = append(all, fmt.Sprintf("%s -> %s %s", args[0], args[1], o.Kind))
		}
	}
	return &all
}

// isFenced waits until a node that is cut off has no lease, and the others know.
func (n *nation) isFenced(at fabric.Node) {
	n.t.Helper()
	n.net.Isolate(at)
	if !n.net.RunUntil(5*time.Minute, func() bool {
		for _, name := range n.names() {
			if name != at && n.town(name).other(at) != nil {
				return false
			}
		}
		return !n.town(at).hall.net.live
	}) {
		n.t.Fatalf("node %s has its lease still", at)
	}
	n.settled()
}

// returned heals the network, and waits until all is as before.
func (n *nation) returned() {
	n.t.Helper()
	n.net.Heal()
	n.peace()
	for range 5 {
		n.ticks()
	}
	n.same()
}

func TestMergedIsTheLatestAndWhoIsThereSaysWhoIsIn(t *testing.T) {
	a, b := &node{member: fabric.Member{Node: "a"}}, &node{member: fabric.Member{Node: "b"}}
	h := New(Config{}, nil)
	h.Join(nil)
	h.net.self.Node = "self"
	seat := func(at fabric.Node, user uint64, rank Rank) seating {
		return seating{ref: ref{at, user}, Rank: rank}
	}
	at := func(number uint64, seats []seating, log ...uint64) *snapshot {
		s := &snapshot{state: state{stamp: stamp{7, number}, Kept: KeptChannel{Topic: fmt.Sprint(number)}}, Seats: seats}
		for _, l := range log {
			s.Log = append(s.Log, logged{stamp: stamp{7, l}})
		}
		return s
	}
	got := h.merged(&grant{known: []view{
		{a, at(5, []seating{seat("a", 1, Op), seat("b", 9, Op)}, 3, 5)},
		{nil, at(8, []seating{seat("a", 1, Voice), seat("a", 2, Op), seat("self", 4, 0)}, 5, 8)},
		{b, at(6, []seating{seat("b", 3, Op)}, 1, 6)},
	}})
	if want := []seating{seat("a", 1, Voice), seat("self", 4, 0), seat("b", 3, 0)}; got.Topic() != "8" || !slices.Equal(got.Seats, want) {
		t.Errorf("%s, with %v", got.Topic(), got.Seats)
	}
	var log []uint64
	for _, l := range got.Log {
		log = append(log, l.Number)
	}
	if want := []uint64{1, 3, 5, 6, 8}; !slices.Equal(log, want) {
		t.Errorf("said was %v, want %v", log, want)
	}
}

func (s *snapshot) Topic() string { return s.Kept.Topic }

// TestNetworkAsksAgain: a node that has missed something is asked again, and a claim waits for what it answers
// then. Who was not asked does not count.
func TestNetworkAsksAgain(t *testing.T) {
	n := threeNodes(t, Config{})
	name, w := homedAt("a", "b"), n.town("a")
	id := n.user("a", "ann")
	n.net.Delay("b", "a", slow)
	n.net.Delay("c", "a", slow)
	w.line(id, "JOIN "+name)
	if !n.net.RunUntil(time.Minute, func() bool { g := w.hall.net.grants[name]; return g != nil && g.asked != nil }) {
		t.Fatal("nobody is asked")
	}
	g := w.hall.net.grants[name]
	n.said("b", "a", "answer", answer{Channel: name})
	n.said("b", "a", "answer", answer{Channel: name, Known: &snapshot{}})
	w.Gap(w.other("b").member)
	n.said("c", "a", "answer", answer{Channel: name})
	if g.held || len(g.known) != 0 {
		t.Errorf("held %t, with %d answers, before the one that was asked again has answered", g.held, len(g.known))
	}
	n.said("b", "a", "answer", answer{Channel: name})
	if !g.held {
		t.Error("it is not held when all have answered")
	}
}

// TestNetworkAskEndsTheFormerOwner: a node that was asked takes nothing of a channel from its owner before any
// more, and numbers after all that this one may have shown. The owner itself stops to be one.
func TestNetworkAskEndsTheFormerOwner(t *testing.T) {
	m := meet(t, Config{})
	w := m.town(m.two)
	w.other(m.owner).ahead = 60_000
	m.said(m.one, m.two, "ask", question{m.channel})
	c := w.hall.channels[m.channel]
	if c.net.owner != w.other(m.one) || w.hall.lastID < (w.hall.now+60_000)<<IDBits {
		t.Errorf("the owner is %+v, and the last number %d", c.net.owner, w.hall.lastID)
	}
	m.said(m.owner, m.two, "empty", emptied{m.channel, stamp{1 << 62, 1}})
	if w.hall.channels[m.channel] != c {
		t.Error("the former owner ends the channel")
	}
	m.said(m.one, m.owner, "ask", question{m.channel})
	o := m.town(m.owner)
	if _, owned := o.owned[channelKey(m.channel)]; o.hall.channels[m.channel].net.mine || o.hall.net.grants[m.channel] != nil || owned {
		t.Error("it is still owned where it was")
	}
}

// TestNetworkOldRegistration: a registration that the channel has outlived is none for its next owner.
func TestNetworkOldRegistration(t *testing.T) {
	m := meet(t, Config{})
	for _, at := range []fabric.Node{m.one, m.two} {
		m.town(at).hall.channels[m.channel].net.kept = &KeepChannel{KeptChannel{Name: m.channel, Founder: "hal"}, 1, 1}
	}
	m.town(m.owner).node.Kill()
	delete(m.towns, m.owner)
	m.net.RunUntil(5*time.Minute, func() bool { return m.ownerOf(m.channel) != "nobody" })
	m.peace()
	for _, name := range m.names() {
		if m.town(name).hall.channels[m.channel].registered != nil {
			t.Errorf("node %s: the channel is registered", name)
		}
	}
	m.same()
}

// TestNetworkChannelThatItsHomeDoesNotKnow: a channel without an owner is left to the node that it belongs to,
// for some time, and then claimed by one that knows it.
func TestNetworkChannelThatItsHomeDoesNotKnow(t *testing.T) {
	n := threeNodes(t, Config{})
	n.user("a", "ann")
	name, w := homedAt("b", "b"), n.town("a")
	seat := seating{ref: w.hall.net.refOf(w.hall.find("ann"))}
	n.said("c", "a", "channel", &snapshot{state: state{stamp: stamp{1, 1}, Kept: KeptChannel{Name: name}}, Seats: []seating{seat}})
	n.said("b", "a", "left", question{name})
	if w.hall.channels[name].net.owner == nil {
		t.Fatal("a node has given away what is not its own")
	}
	n.said("c", "a", "left", question{name})
	n.net.Run((orphanWait - 1000) * time.Millisecond)
	w.apply(&Event{Kind: Tick})
	if w.hall.net.grants[name] != nil {
		t.Error("it is claimed at once")
	}
	n.net.Run(2 * time.Second)
	n.ticks()
	if got := n.ownerOf(name); got != "a" {
		t.Errorf("it is owned by %s", got)
	}
}

// TestNetworkGoneWhileClaimed: what was claimed for somebody who has gone meanwhile is given back.
func TestNetworkGoneWhileClaimed(t *testing.T) {
	n := threeNodes(t, Config{})
	w, name := n.town("a"), homedAt("a", "b")
	ann := n.user("a", "ann")
	w.line(ann, "JOIN "+name)
	w.close(ann, "gone")
	bob := w.open("bob", Origin{Host: "bob.host", Address: "192.0.2.1"})
	w.line(bob, "NICK bob")
	w.line(bob, "USER bob 0 * :B")
	w.close(bob, "gone")
	n.settled()
	if w.hall.channels[name] != nil || w.hall.find("bob") != nil {
		t.Error("who is gone is there")
	}
	n.same()
}

// TestNetworkNickForTheFirstWhoWaits: of two who want a nick that was left here, the second one is refused; when
// the node has no lease any more, so is the first.
func TestNetworkNickForTheFirstWhoWaits(t *testing.T) {
	for _, cut := range []bool{false, true} {
		m := meet(t, Config{})
		m.user(m.one, "eve")
		m.user(m.one, "fay")
		m.net.Delay(m.one, m.two, slow)
		m.say(m.one, "ann", "NICK annie")
		m.say(m.one, "eve", "NICK ann")
		m.say(m.one, "fay", "NICK ann")
		if got := m.town(m.one).text(); !strings.Contains(got, " 433 fay ann ") {
			t.Errorf("fay has read\n%s", got)
		}
		if cut {
			m.isFenced(m.one)
			if got := m.town(m.one).text(); !strings.Contains(got, "FAIL NICK NETWORK_UNAVAILABLE ann") {
				t.Errorf("cut off, eve has read\n%s", got)
			}
			m.returned()
			continue
		}
		m.late()
		if u := m.town(m.two).hall.find("ann"); u == nil || u.name() != "eve" {
			t.Errorf("the nick is had by %+v", u)
		}
		m.same()
	}
}

// TestNetworkAnswerToAMarkIsLost: the mark is said again, and nicks that were left come free.
func TestNetworkAnswerToAMarkIsLost(t *testing.T) {
	m := meet(t, Config{})
	m.net.Cut(m.two, m.one, false)
	m.say(m.one, "ann", "NICK annie")
	m.net.Heal()
	for range 3 {
		m.ticks()
	}
	m.say(m.owner, "hal", "NICK ann")
	m.reads("hal", ":ann!ann@ann.host NICK annie", ":hal!hal@hal.host NICK ann")
	m.same()
}

// TestNetworkMarks: a node that has missed something answers a mark only when it knows all again, and an old
// answer takes a later one not back.
func TestNetworkMarks(t *testing.T) {
	m := meet(t, Config{})
	w := m.town(m.two)
	posts := m.posts()
	w.other(m.one).behind = w.now
	m.said(m.one, m.two, "mark", markOp{9})
	if len(*posts) != 0 {
		t.Errorf("with something missing it says %q", *posts)
	}
	w.other(m.one).behind = 0
	m.said(m.one, m.two, "mark", markOp{9})
	if want := []string{"c -> a shown"}; !slices.Equal(*posts, want) {
		t.Errorf("it says %q", *posts)
	}
	m.said(m.one, m.two, "shown", markOp{5})
	m.said(m.one, m.two, "shown", markOp{3})
	if got := w.other(m.one).marked; got != 5 {
		t.Errorf("the last mark that was answered is %d", got)
	}
}

// TestNetworkNicksThatANodeWasWaitedFor: all come free when that node is down.
func TestNetworkNicksThatANodeWasWaitedFor(t *testing.T) {
	m := meet(t, Config{})
	m.user(m.one, "eve")
	m.net.Delay(m.two, m.one, time.Hour)
	m.say(m.one, "ann", "NICK annie")
	m.say(m.one, "eve", "NICK evie")
	if got := len(m.town(m.one).hall.net.vacancies); got != 2 {
		t.Fatalf("%d nicks are kept back", got)
	}
	m.town(m.two).node.Kill()
	delete(m.towns, m.two)
	m.net.RunUntil(5*time.Minute, func() bool { return m.town(m.one).other(m.two) == nil })
	m.settled()
	if got := len(m.town(m.one).hall.net.vacancies); got != 0 {
		t.Errorf("%d nicks are kept back", got)
	}
	m.same()
}

// TestNetworkLetsNobodyInWithoutALease: who comes then is told, and may try another node.
func TestNetworkLetsNobodyInWithoutALease(t *testing.T) {
	n := threeNodes(t, Config{})
	n.isFenced("c")
	w := n.town("c")
	id := w.open("dan", Origin{Host: "dan.host", Address: "192.0.2.1"})
	w.line(id, "NICK dan")
	w.line(id, "USER dan 0 * :D")
	if got := w.text(); !strings.Contains(got, "Cut off from the network") || !strings.Contains(got, "dan < (closed)") {
		t.Errorf("dan has read\n%s", got)
	}
	n.returned()
}

// TestNetworkElsewhereIsWhoStays: of the users that an account has at other nodes, one that stays is named.
func TestNetworkElsewhereIsWhoStays(t *testing.T) {
	for _, first := range []bool{true, false} {
		n := threeNodes(t, Config{})
		h := n.town("a").hall
		for i, stays := range []bool{first, !first} {
			n.said("b", "a", "user", portrait{User: 1<<40 + uint64(i), Nick: fmt.Sprint("ann", i), Account: "ann", Stays: stays})
		}
		if u := h.elsewhere("ann"); u == nil || !u.net.stays {
			t.Errorf("named is %+v", u)
		}
	}
}

// TestNetworkWhoMayBeNamedYet: a user that is not known may come yet, unless the node has named later ones, and
// nothing of what it said was lost, or its lease is over.
func TestNetworkWhoMayBeNamedYet(t *testing.T) {
	n := threeNodes(t, Config{})
	w := n.town("a")
	net, b := w.hall.net, w.other("b")
	number := uint64(b.member.Epoch)<<userBits + 100
	n.said("b", "a", "user", portrait{User: number, Nick: "bob"})
	n.said("b", "a", "user", portrait{User: number - 1, Nick: "bill"})
	for _, kind := range []string{"all", "users", "channels"} { // of them it names nobody
		n.said("b", "a", kind, struct{}{})
	}
	if w.hall.find("bob") != nil {
		t.Fatal("a user stays who is not named any more")
	}
	net.over["z"] = 7
	later := func(at fabric.Node, epoch, user uint64, want bool) {
		t.Helper()
		if got := net.later(ref{at, epoch<<userBits + user}); got != want {
			t.Errorf("user %d of the lease %d of %s: %t", user, epoch, at, got)
		}
	}
	later("b", number>>userBits, 100, false)
	later("b", number>>userBits, 101, true)
	later("z", 7, 1, false)
	later("z", 8, 1, true)
	b.behind = 1
	later("b", number>>userBits, 100, true)
	later("a", 1, 1, false)
}

// TestNetworkUnconfirmedGivesWay: a user of a node that was cut off, who has not got its nick again yet, has to
// go when another one takes that nick.
func TestNetworkUnconfirmedGivesWay(t *testing.T) {
	n := inOneChannel(t, Config{})
	away := n.town("c")
	n.isFenced("c")
	away.slow = true
	n.net.Heal()
	n.peace()
	away.text()
	bob := away.hall.net.refOf(away.hall.find("bob"))
	n.said("b", "c", "user", portrait{User: bob.User, Nick: "cid", Name: "bob", Host: "bob.host"})
	if got := away.text(); !strings.Contains(got, "Nickname is in use since the network was cut") {
		t.Errorf("cid has read\n%s", got)
	}
	if u := away.hall.find("cid"); u == nil || u.name() != "bob" {
		t.Errorf("the nick is had by %+v", u)
	}
}

// TestNetworkLeavesBeforeTheNickIsBack: who goes before that gives it back, and the claim is tried again while
// nobody answers it. Who takes the nick there meanwhile keeps it.
func TestNetworkLeavesBeforeTheNickIsBack(t *testing.T) {
	for _, again := range []bool{false, true} {
		leaveBeforeTheNickIsBack(t, again)
	}
}

func leaveBeforeTheNickIsBack(t *testing.T, again bool) {
	n := inOneChannel(t, Config{})
	away := n.town("c")
	n.isFenced("c")
	away.slow = true
	n.net.Heal()
	n.peace()
	away.pending = nil
	for number := range away.hall.net.claims {
		away.news(News{Kind: ClaimEnded, Number: number, Err: fabric.ErrUnavailable})
	}
	if len(away.pending) != 1 {
		t.Fatalf("%d claims were tried again", len(away.pending))
	}
	away.close(away.names["cid"], "gone")
	away.slow = false
	if again {
		id := away.open("new", Origin{Host: "new.host", Address: "192.0.2.1"})
		away.line(id, "NICK cid")
		away.line(id, "USER new 0 * :N")
	}
	away.pending[0]()
	n.peace()
	n.same()
	if _, has := away.owned[nickKeyOf("cid")]; has != again {
		t.Errorf("the nick is owned: %t; somebody has it: %t", has, again)
	}
}

// TestNetworkSweepsChannels: of what a node owns, it names all when it says all again.
func TestNetworkSweepsChannels(t *testing.T) {
	n := threeNodes(t, Config{})
	w := n.town("a")
	for _, name := range []string{"#kept", "#gone"} {
		n.said("b", "a", "channel", &snapshot{state: state{stamp: stamp{1, 1}, Kept: KeptChannel{Name: name}, Registered: true}})
	}
	n.said("b", "a", "all", allOp{})
	n.said("b", "a", "channel", &snapshot{state: state{stamp: stamp{1, 1}, Kept: KeptChannel{Name: "#kept"}, Registered: true}})
	n.said("b", "a", "users", struct{}{})
	n.said("b", "a", "channels", struct{}{})
	if w.hall.channels["#kept"] == nil || w.hall.channels["#gone"] != nil {
		t.Errorf("there are %v", w.hall.channels)
	}
}

// TestNetworkMissedInTheMiddle: what a node has begun to say when something was lost does not count: half a
// parcel, and all that it has; and it is asked to say all again, as often as that is lost, too.
func TestNetworkMissedInTheMiddle(t *testing.T) {
	m := meet(t, Config{})
	w := m.town(m.two)
	from := w.other(m.one).member
	m.said(m.one, m.two, "all", allOp{})
	w.news(News{Kind: NodeSaid, From: from, Data: []byte(`m{"l":1,`)})
	posts := m.posts()
	m.net.Cut(m.two, m.one, false)
	w.Gap(from)
	if at := w.other(m.one); at.behind == 0 {
		t.Error("it is not expected to say all")
	}
	m.said(m.one, m.two, "users", struct{}{})
	if w.hall.find("ann") == nil {
		t.Error("who was not named before is gone")
	}
	w.now += againEvery + 1
	m.net.Run((againEvery + 100) * time.Millisecond)
	w.apply(&Event{Kind: Tick})
	again := 0
	for _, p := range *posts {
		if p == "c -> a again" {
			again++
		}
	}
	if again != 2 {
		t.Errorf("it was asked %d times to say all", again)
	}
	w.healthy()
}

// TestNetworkLifeBefore: what a node says counts for the lease in which it says so, and one that is over does not
// come back.
func TestNetworkLifeBefore(t *testing.T) {
	m := meet(t, Config{})
	w := m.town(m.two)
	now := w.other(m.one).member
	before, next := now, now
	before.Epoch--
	next.Epoch += 1000
	ann := w.hall.net.refOf(w.hall.find("ann"))
	w.news(News{Kind: NodeSaid, From: before, Data: fmt.Appendf(nil, `p{"l":1,"o":[{"k":"gone","b":{"u":%d}}]}`, ann.User)})
	if w.hall.find("ann") == nil {
		t.Error("what was said in another lease counts")
	}
	w.hall.isOver(now.Node, before.Epoch)
	if w.other(m.one) == nil {
		t.Error("the end of the lease before is that of this one")
	}
	w.hall.net.early[ref{now.Node, uint64(next.Epoch)<<userBits + 1}] = []earlySeat{{channel: w.hall.channels[m.channel]}}
	w.hall.net.early[ref{now.Node, uint64(now.Epoch)<<userBits + 99}] = []earlySeat{{channel: w.hall.channels[m.channel]}}
	m.saidAll(m.one, m.two,
		op{"over", encode("over", overOp{now.Node, now.Epoch})},
		op{"user", encode("user", portrait{User: ann.User + 1, Nick: "ghost"})},
	)
	if w.hall.find("ann") != nil || w.hall.find("ghost") != nil {
		t.Error("a node that is over goes on to be heard")
	}
	if len(w.hall.net.early) != 1 {
		t.Errorf("seats to come: %v", w.hall.net.early)
	}
	w.hall.isOver(now.Node, before.Epoch)
	w.news(News{Kind: NodeUp, From: now})
	if w.other(m.one) != nil {
		t.Error("a lease that is over has come back")
	}
	w.news(News{Kind: NodeUp, From: next})
	w.hall.net.early = map[ref][]earlySeat{}
	m.said(m.one, m.two, "user", portrait{User: uint64(next.Epoch)<<userBits + 1, Nick: "anew"})
	next.Epoch++
	w.news(News{Kind: NodeUp, From: next})
	if at := w.other(m.one); at.member != next || w.hall.find("anew") != nil || len(w.hall.net.order) != 2 {
		t.Errorf("the node has two lives: %+v", w.hall.net.order)
	}
}

// TestNetworkWaitsNotForWhoIsDown: a channel that is claimed while a node goes down is owned without its answer;
// and who waits for a channel when the own lease ends is told.
func TestNetworkWaitsNotForWhoIsDown(t *testing.T) {
	for _, fenced := range []bool{false, true} {
		n := threeNodes(t, Config{})
		w, name := n.town("a"), homedAt("a", "c")
		id := n.user("a", "ann")
		n.net.Delay("b", "a", time.Hour)
		w.line(id, "JOIN "+name)
		if !n.net.RunUntil(time.Minute, func() bool { g := w.hall.net.grants[name]; return g != nil && len(g.asked) == 1 }) {
			t.Fatal("nobody is waited for")
		}
		if fenced {
			n.isFenced("a")
			if got := w.text(); !strings.Contains(got, "FAIL JOIN CHANNEL_UNAVAILABLE "+name) {
				t.Errorf("ann has read\n%s", got)
			}
			continue
		}
		down := w.other("b")
		w.news(News{Kind: NodeDown, From: down.member})
		if g := w.hall.net.grants[name]; g == nil || !g.held {
			t.Error("the node that is down is waited for")
		}
	}
}

// TestNetworkRankOfASplit: a member who was cut off comes back with no rank that a cut could have given, and not
// at all if banned meanwhile; the node's own sessions, who have seen nobody go, see nobody come.
func TestNetworkRankOfASplit(t *testing.T) {
	m := meet(t, Config{})
	m.user(m.two, "dan")
	m.say(m.two, "dan", "JOIN "+m.channel)
	m.say(m.owner, "hal", "MODE "+m.channel+" +o bob")
	m.isFenced(m.two)
	m.say(m.owner, "hal", "MODE "+m.channel+" +b dan!*@*")
	m.expectAny()
	m.returned()
	h := m.town(m.owner).hall
	c := h.channels[m.channel]
	if b := h.find("bob").in(c); b == nil || b.rank != 0 {
		t.Errorf("bob has come back as %+v", b)
	}
	if h.find("dan").in(c) != nil {
		t.Error("who is banned has come back")
	}
	if got := m.town(m.two).text(); strings.Contains(got, "bob < :bob!bob@bob.host JOIN") || !strings.Contains(got, "dan < :dan!dan@dan.host PART "+m.channel) {
		t.Errorf("at their node they have read\n%s", got)
	}
}

// TestNetworkTakesOnce: what the owner of a channel says is taken once, from it alone, and in its order.
func TestNetworkTakesOnce(t *testing.T) {
	m := meet(t, Config{})
	w, o := m.town(m.two), m.town(m.owner)
	var last []byte
	m.trace = func(format string, args ...any) {
		if format == "%s -> %s %s" && args[1] == m.two {
			last = args[2].([]byte)
		}
	}
	m.say(m.owner, "hal", "PRIVMSG "+m.channel+" :once")
	w.news(News{Kind: NodeSaid, From: w.other(m.owner).member, Data: last})
	m.reads("bob", ":hal!hal@hal.host PRIVMSG # :once")
	c := w.hall.channels[m.channel]
	m.said(m.one, m.two, "empty", emptied{m.channel, stamp{c.net.reign, c.net.number + 9}})
	m.said(m.one, m.two, "channel", &snapshot{state: state{stamp: stamp{c.net.reign, c.net.number + 9}, Kept: KeptChannel{Name: m.channel}}})
	if c.net.owner != w.other(m.owner) || len(c.members) != 3 {
		t.Error("another node than the owner is obeyed")
	}
	m.said(m.owner, m.two, "empty", emptied{m.channel, stamp{c.net.reign, c.net.number + 9}})
	if w.hall.find("bob").in(c) == nil || c.net.owner != nil {
		t.Error("a member here is put out where the channel ends elsewhere")
	}
	own := o.hall.channels[m.channel].net
	m.said(m.one, m.owner, "channel", &snapshot{state: state{stamp: stamp{own.reign + 1, 1}, Kept: KeptChannel{Name: m.channel}}})
	if _, owned := o.owned[channelKey(m.channel)]; own.mine || owned {
		t.Error("a node goes on to own what another one owns since")
	}
}

// TestNetworkNewOwnerHasNotAsked: members who a new owner does not know go back to it.
func TestNetworkNewOwnerHasNotAsked(t *testing.T) {
	m := meet(t, Config{})
	w := m.town(m.two)
	c := w.hall.channels[m.channel]
	posts := m.posts()
	log := []logged{{stamp: stamp{c.net.reign + 1, 1}, Item: json.RawMessage(`{"l":[{"b":[{"m":{"Command":"PRIVMSG"}}]}]}`)}}
	m.said(m.one, m.two, "channel", &snapshot{state: state{stamp: stamp{c.net.reign + 1, 1}, Kept: KeptChannel{Name: m.channel}}, Log: log})
	if !slices.Contains(*posts, "c -> a back") || w.hall.find("bob").in(c) == nil {
		t.Errorf("bob does not go back: %q", *posts)
	}
	if len(c.net.log) != 1 {
		t.Errorf("of what was said %d lines are kept for who missed them", len(c.net.log))
	}
	w.problems = nil
}

// TestNetworkSeatsToCome: a seat of a user who is not known yet is kept once, goes on in a snapshot, and is none
// any more when the user is out, or gone.
func TestNetworkSeatsToCome(t *testing.T) {
	m := meet(t, Config{})
	w := m.town(m.two)
	c := w.hall.channels[m.channel]
	user := ref{m.one, w.other(m.one).seen + 1}
	seat := func(out bool) {
		m.said(m.owner, m.two, "seat", seatChange{Channel: m.channel, stamp: stamp{c.net.reign, c.net.number + 1}, Seat: seating{ref: user}, Out: out})
	}
	seat(false)
	seat(false)
	if got := len(w.hall.net.early[user]); got != 1 {
		t.Errorf("%d seats of one user", got)
	}
	if s := w.hall.snapshot(c).Seats; len(s) != 4 {
		t.Errorf("in the snapshot are %v", s)
	}
	seat(true)
	if len(w.hall.net.early) != 0 {
		t.Error("who is out is to come")
	}
	seat(false)
	m.said(m.one, m.two, "gone", departure{User: user.User})
	if len(w.hall.net.early) != 0 {
		t.Error("who is gone is to come")
	}
}

func TestLogOfAChannelIsBounded(t *testing.T) {
	h := New(Config{}, nil)
	h.Join(nil)
	h.now = 10 * logFor
	q := &sequence{}
	for i := range 2 * logMost {
		q.keep(logged{stamp: stamp{1, uint64(i)}, At: h.now})
	}
	if len(q.log) != logMost || q.log[0].Number != logMost {
		t.Errorf("%d are kept, from %d on", len(q.log), q.log[0].Number)
	}
	q.log[logMost-1].At = h.now - logFor
	if got := h.snapshot(&channel{net: q}).Log; len(got) != logMost-1 {
		t.Errorf("%d are for who has missed them", len(got))
	}
}

// TestNetworkRunOfAnother: a command ends by the word of the node that carries it out, and goes on from node to
// node only so often.
func TestNetworkRunOfAnother(t *testing.T) {
	m := meet(t, Config{})
	w := m.town(m.one)
	m.net.Delay(m.owner, m.one, time.Hour)
	m.net.Delay(m.two, m.one, time.Hour)
	w.line(w.names["ann"], "TOPIC "+m.channel+" :new")
	for i := range maxHops + 2 {
		var r *run
		for _, r = range w.hall.net.runs {
		}
		if r == nil {
			if i != maxHops+1 {
				t.Errorf("it ends after %d nodes", i)
			}
			break
		}
		at, other := r.node.member.Node, m.two
		if at == m.two {
			other = m.owner
		}
		m.said(other, m.one, "done", doneOp{Run: r.number})
		if w.hall.net.runs[r.number] != r {
			t.Fatal("a command ends that another node carries out")
		}
		m.said(at, m.one, "done", doneOp{Run: r.number, Owner: other})
	}
	if got := w.text(); strings.Count(got, "FAIL TOPIC CHANNEL_UNAVAILABLE") != 1 {
		t.Errorf("ann has read\n%s", got)
	}
}

// TestNetworkRestOfACommand: a command goes on with its other pieces, also when the first one is passed from
// node to node.
func TestNetworkRestOfACommand(t *testing.T) {
	n := threeNodes(t, Config{})
	first, second, w := homedAt("b", "b"), homedAt("c", "c"), n.town("a")
	id := n.user("a", "ann")
	n.net.Delay("b", "a", slow)
	w.line(id, "JOIN "+first+","+second)
	for number := range w.hall.net.runs {
		n.said("b", "a", "done", doneOp{Run: number, Owner: "c"})
	}
	n.net.Heal()
	n.net.Run(3 * slow)
	n.settled()
	for _, name := range []string{first, second} {
		if c := w.hall.channels[name]; c == nil || w.hall.find("ann").in(c) == nil {
			t.Errorf("ann is not in %s", name)
		}
	}
}

// TestNetworkRightsAtTheOwner: a command for operators is refused where it is carried out, too.
func TestNetworkRightsAtTheOwner(t *testing.T) {
	m := meet(t, Config{})
	ann := m.town(m.owner).hall.find("ann")
	m.said(m.one, m.owner, "run", runOp{Run: 1, Session: ann.sessions[0].far.id, Command: "SAMODE", Params: []string{m.channel, "+o", "ann"}})
	m.settled()
	if got := ann.in(m.town(m.owner).hall.channels[m.channel]).rank; got != 0 {
		t.Errorf("ann has the rank %v", got)
	}
	if got := m.town(m.one).text(); !strings.Contains(got, " 481 ann ") {
		t.Errorf("ann has read\n%s", got)
	}
}

// TestNetworkDoubtEnds: an answer that was lost is not waited for longer than until its node has said all again.
func TestNetworkDoubtEnds(t *testing.T) {
	m := meet(t, Config{})
	w := m.town(m.one)
	m.net.Cut(m.owner, m.one, false)
	w.line(w.names["ann"], "TOPIC "+m.channel+" :new")
	m.net.Run(200 * time.Millisecond)
	m.net.Heal()
	m.net.Run(4 * time.Second)
	if got := w.text(); !strings.Contains(got, "FAIL TOPIC NO_ANSWER") {
		t.Errorf("after 4 s ann has read\n%s", got)
	}
}

// TestNetworkDrainingOwnsNothing from the moment on in which it gives away.
func TestNetworkDrainingOwnsNothing(t *testing.T) {
	m := meet(t, Config{})
	w := m.town(m.owner)
	self := w.hall.net.self
	self.Draining = true
	w.news(News{Kind: NodeUp, From: self})
	if _, owned := w.owned[channelKey(m.channel)]; owned || w.hall.channels[m.channel].net.mine {
		t.Error("a channel is owned that was given away")
	}
}

// TestNetworkOtherSession: the others know how many sessions a user has, and whoever ends a user that stays ends it.
func TestNetworkOtherSession(t *testing.T) {
	n := threeNodes(t, Config{Mechanisms: []string{"PLAIN"}, AlwaysOn: OptOut})
	w := n.town("a")
	w.accounts["ann"] = "secret"
	for _, name := range []string{"phone", "laptop"} {
		id := w.open(name, Origin{Host: name + ".host", Address: "192.0.2.1"})
		for _, line := range []string{"CAP REQ sasl", "AUTHENTICATE PLAIN", "AUTHENTICATE AGFubgBzZWNyZXQ=", "NICK ann", "USER u 0 * :U", "CAP END"} {
			w.line(id, line)
		}
		n.settled()
	}
	if got := len(n.town("b").hall.find("ann").sessions); got != 2 {
		t.Fatalf("%d sessions are known", got)
	}
	w.close(w.names["phone"], "gone")
	n.settled()
	n.same()
	n.said("b", "a", "end", endedSession{w.names["laptop"], "Killed", "Killed"})
	n.settled()
	if w.hall.find("ann") != nil {
		t.Error("a user that was ended stays")
	}
	n.same()
}

// TestNetworkNumbersGrow: what a node numbers comes after all that it was told of.
func TestNetworkNumbersGrow(t *testing.T) {
	n := threeNodes(t, Config{History: History{Enabled: true}})
	w := n.town("a")
	last := w.hall.lastID + 1<<50
	w.news(News{Kind: NodeSaid, From: w.other("b").member, Data: fmt.Appendf(nil, `p{"l":%d,"o":[]}`, last)})
	if w.hall.lastID < last {
		t.Error("not after the last number of a parcel")
	}
	w.hall.replayed(RecordEntry(&Record{ID: last + 1<<40, Target: "#x"}))
	if w.hall.lastID < last+1<<40 {
		t.Error("not after a record")
	}
	var parcels []string
	n.trace = func(format string, args ...any) { parcels = append(parcels, fmt.Sprintf(format, args...)) }
	n.user("a", "ann")
	if want := fmt.Sprintf(`p{"l":%d,`, w.hall.lastID); !strings.Contains(strings.Join(parcels, "\n"), want) {
		t.Errorf("%s is not said", want)
	}
}

// A wireOf writes down what a hall wants of its wire.
type wireOf struct{ did []string }

func (w *wireOf) Carry(to fabric.Node, data []byte, records []int64) {
	w.did = append(w.did, fmt.Sprint("carry ", to, " ", records))
}
func (w *wireOf) Append(name string, _ []byte, record, change int64) {
	w.did = append(w.did, "append "+name)
}
func (w *wireOf) Claim(number uint64, key fabric.Key) { w.did = append(w.did, "claim "+key.Name) }
func (w *wireOf) Release(key fabric.Key)              { w.did = append(w.did, "release "+key.Name) }

// TestNetworkSlot: a slot that is taken leads to the next one, and one that nobody answers for is asked for again.
func TestNetworkSlot(t *testing.T) {
	w, wire := newWorld(t, Config{}), &wireOf{}
	w.hall.Join(wire)
	w.hall.Apply(&Event{Kind: Networked, News: &News{Kind: Leased, From: fabric.Member{Node: "a", Epoch: 5}}})
	for number, err := range []error{&fabric.TakenError{}, fabric.ErrUnavailable, nil} {
		if w.hall.InNetwork() {
			t.Errorf("in the network before claim %d has ended", number)
		}
		w.hall.Apply(&Event{Kind: Networked, News: &News{Kind: ClaimEnded, Number: uint64(number) + 1, Err: err}})
	}
	want := []string{"claim  slot 35", "claim  slot 36", "claim  slot 36"}
	if !w.hall.InNetwork() || w.hall.net.slot != 36 || !slices.Equal(wire.did, want) {
		t.Errorf("it has slot %d after %q", w.hall.net.slot, wire.did)
	}
}

// TestNetworkParcelOfRecords: what shows other records is carried apart, and a change that was not made is not shared.
func TestNetworkParcelOfRecords(t *testing.T) {
	wire := &wireOf{}
	h := New(Config{}, nil)
	h.Join(wire)
	at := &node{member: fabric.Member{Node: "b"}}
	h.net.order, h.net.live = []*node{at}, true
	for _, records := range [][]int64{{1}, {1}, {2}, nil} {
		h.net.post(at, "x", struct{}{}, records)
	}
	h.carryAll()
	if want := []string{"carry b [1]", "carry b [2]", "carry b []"}; !slices.Equal(wire.did, want) {
		t.Errorf("carried: %q", wire.did)
	}
	wire.did = nil
	for number, ok := range []bool{false, true} {
		h.net.altering[uint64(number)] = &Outgoing{Name: "#x", body: []byte("{}")}
		h.altered(&Result{Number: uint64(number), OK: ok})
	}
	h.altered(&Result{Number: 1, OK: true})
	if want := []string{"append #x"}; !slices.Equal(wire.did, want) || len(h.net.altering) != 0 {
		t.Errorf("shared: %q; %d changes are under way", wire.did, len(h.net.altering))
	}
}

// TestHeldLineIsAsItCame: the gate uses a message again when the hall has taken it.
func TestHeldLineIsAsItCame(t *testing.T) {
	n := threeNodes(t, Config{})
	w := n.town("a")
	id := n.user("a", "ann")
	w.line(id, "JOIN "+homedAt("b", "b"))
	m := &ircmsg.Message{Command: "PING", Params: []string{"one"}}
	w.apply(&Event{Kind: Line, Session: id, Message: m})
	m.Params[0] = "two"
	n.settled()
	if got := w.text(); !strings.Contains(got, "PONG a.example :one") && !strings.Contains(got, "PONG a.example one") {
		t.Errorf("ann has read\n%s", got)
	}
}

// TestNetworkQuitThatWasNone: who only seemed to quit, for clients that do not know CHGHOST, does so later for all.
func TestNetworkQuitThatWasNone(t *testing.T) {
	m := meet(t, Config{})
	w := m.town(m.two)
	u := w.hall.find("ann")
	u.net.quit = true
	m.said(m.one, m.two, "user", m.town(m.one).hall.portrait(m.town(m.one).hall.find("ann")))
	m.said(m.one, m.two, "gone", departure{u.net.number, "bye"})
	m.reads("bob", ":ann!ann@ann.host QUIT :bye")
}

// TestNetworkMarkerIsNotTakenBack, neither by another node nor by the store.
func TestNetworkMarkerIsNotTakenBack(t *testing.T) {
	n := threeNodes(t, Config{})
	h := n.town("a").hall
	h.markers["ann"] = markers{"#x": 5}
	for _, at := range []int64{7, 6} {
		n.said("b", "a", "marker", KeepMarker{"ann", Marker{"#x", at}})
	}
	h.loaded("ann", &Result{Markers: []Marker{{"#x", 3}, {"#y", 4}}})
	if want := (markers{"#x": 7, "#y": 4}); !reflect.DeepEqual(h.markers["ann"], want) {
		t.Errorf("read up to %v", h.markers["ann"])
	}
}

// TestNetworkPostOfAnother: what a program has said is told by the node that it asked.
func TestNetworkPostOfAnother(t *testing.T) {
	m := meet(t, Config{})
	w := m.town(m.one)
	m.net.Delay(m.owner, m.one, slow)
	var ends []error
	w.hall.PostFor(w.now, m.channel, "bot", "hi", func(_ string, err error) { ends = append(ends, err) })
	number := w.hall.net.posts[0].number
	m.said(m.two, m.one, "posted", postedOp{Number: number})
	if len(ends) != 0 {
		t.Error("it has ended by the word of another node")
	}
	m.said(m.owner, m.one, "posted", postedOp{Number: number, Why: "no"})
	if len(ends) != 1 || !errors.Is(ends[0], ErrPost) {
		t.Errorf("it has ended with %v", ends)
	}
}
