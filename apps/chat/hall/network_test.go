package hall

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/fabric/fabrictest"
)

// A nation is several worlds that are nodes of one network.
type nation struct {
	t        *testing.T
	net      *fabrictest.Network
	config   Config
	towns    map[fabric.Node]*town
	appended int                              // entries, to the replicated history
	trace    func(format string, args ...any) // what nodes say to each other
}

// A town is a world with its node.
type town struct {
	*world
	nation   *nation
	node     *fabrictest.Node
	queue    []Event
	owned    map[fabric.Key]fabric.Claim
	busy     bool
	fenced   bool
	epoch    fabric.Epoch
	unshared []unshared                     // what is to come to the replicated history
	skew     int64                          // of the clock, in milliseconds
	read     [fabric.Shards]fabric.Position // of the replicated history
	carried  map[fabric.Node]int            // parcels, by where they went
	slow     bool                           // claims of nicks wait in pending
	pending  []func()
}

func newNation(t *testing.T, seed uint64, config Config, options fabrictest.Options, names ...fabric.Node) *nation {
	n := &nation{t: t, net: fabrictest.New(seed, len(names), options), config: config, towns: map[fabric.Node]*town{}, trace: func(string, ...any) {}}
	for _, name := range names {
		n.found(name)
	}
	return n
}

// found makes a node, or makes it again.
func (n *nation) found(name fabric.Node) *town {
	c := n.config
	c.Name = string(name) + ".example"
	w := &town{nation: n, world: newWorld(n.t, c), node: n.net.Join(name, "1"), owned: map[fabric.Key]fabric.Claim{}, fenced: true, carried: map[fabric.Node]int{}}
	w.around = w.give
	w.hall.Join(w)
	n.towns[name] = w
	if err := w.node.Start(w); err != nil {
		n.t.Fatal(err)
	}
	return w
}

// An unshared is an entry that a node has made, and that is not in the replicated history.
type unshared struct {
	id    string
	shard uint32
	data  []byte
}

// wake lets a node that begins again have what it had kept.
func (w *town) wake(before *town) {
	w.records, w.removed, w.edited = before.records, before.removed, before.edited
	var last int64
	for _, r := range w.records {
		last = max(last, r.ID)
	}
	w.hall.Restore(start+w.nation.net.Now().Milliseconds(), Kept{Last: last})
	for _, e := range before.unshared {
		w.append(e)
	}
}

func (n *nation) town(name fabric.Node) *town { return n.towns[name] }

// give gives the hall an event, in its turn.
func (w *town) give(e *Event) {
	w.queue = append(w.queue, *e)
	if w.busy {
		return // within a call of the fabric by the hall
	}
	w.busy = true
	defer func() { w.busy = false }()
	for len(w.queue) > 0 {
		next := w.queue[0]
		w.queue = w.queue[1:]
		w.one(&next)
	}
}

// one applies an event; before it, the hall must know if its lease is over.
func (w *town) one(e *Event) {
	w.now = start + w.nation.net.Now().Milliseconds() + w.skew
	e.At = w.now
	if !w.fenced && !w.node.Valid() {
		w.fenced = true
		w.hall.Apply(&Event{Kind: Networked, At: w.now, News: &News{Kind: Fenced}})
	}
	if e.Kind == Networked && e.News.Kind != NodeSaid && e.News.Kind != ClaimEnded {
		w.nation.trace("%s: %d %v", w.node.Name(), e.News.Kind, e.News.From)
	}
	w.hall.Apply(e)
}

// news is what the fabric says.
func (w *town) news(n News) {
	w.give(&Event{Kind: Networked, News: &n})
	w.settle()
}

func (w *town) Up(m fabric.Member) {
	if m.Node == w.node.Name() && m.Epoch != w.epoch {
		w.fenced, w.epoch = false, m.Epoch
		w.news(News{Kind: Leased, From: m})
		w.replay()
		return
	}
	w.news(News{Kind: NodeUp, From: m})
}

func (w *town) Down(m fabric.Member) { w.news(News{Kind: NodeDown, From: m}) }

func (w *town) Gap(m fabric.Member) { w.news(News{Kind: NodeMissed, From: m}) }

func (w *town) Received(m fabric.Member, data []byte) {
	w.news(News{Kind: NodeSaid, From: m, Data: data})
}

func (w *town) Fenced() {
	w.fenced = true
	w.news(News{Kind: Fenced})
}

func (w *town) Carry(to fabric.Node, data []byte, records []int64) {
	if slices.ContainsFunc(records, func(id int64) bool { return w.lost[id] }) {
		return
	}
	w.carried[to]++
	w.nation.trace("%s -> %s %s", w.node.Name(), to, data)
	if err := w.node.Send(to, data); err != nil && !errors.Is(err, fabric.ErrDown) && !errors.Is(err, fabric.ErrFenced) {
		w.problem("send: %v", err)
	}
}

// Append tries until the entry is in the replicated history, and so does the node when it begins
// again.
func (w *town) Append(name string, data []byte, record, _ int64) {
	if w.lost[record] {
		return
	}
	w.nation.appended++
	w.append(unshared{fmt.Sprint(w.nation.appended), fabric.Shard(name), data})
}

func (w *town) append(e unshared) {
	w.unshared = append(w.unshared, e)
	w.try(e)
}

func (w *town) try(e unshared) {
	w.node.Append(e.shard, e.id, e.data, func(err error) {
		if err != nil {
			w.tryLater(e)
			return
		}
		w.unshared = slices.DeleteFunc(w.unshared, func(o unshared) bool { return o.id == e.id })
	})
}

func (w *town) tryLater(e unshared) {
	w.nation.net.After(time.Second, func() {
		switch {
		case w.nation.towns[w.node.Name()] != w:
		case w.node.Paused():
			w.tryLater(e)
		default:
			w.try(e)
		}
	})
}

// replay reads what is new in the replicated history.
func (w *town) replay() {
	for shard := range uint32(fabric.Shards) {
		w.node.Replay(shard, w.read[shard], func(behind fabric.Position, data []byte) bool {
			w.read[shard] = behind
			w.news(News{Kind: Replayed, Data: data})
			return true
		}, func(error) {})
	}
}

func (w *town) Claim(number uint64, key fabric.Key) {
	if w.slow && key.Kind == fabric.Nick {
		w.pending = append(w.pending, func() { w.Claim(number, key) })
		return
	}
	w.nation.trace("%s claims %v", w.node.Name(), key)
	w.node.Claim(key, func(c fabric.Claim, err error) {
		w.nation.trace("%s has %v: %v", w.node.Name(), key, err)
		if err == nil {
			w.owned[key] = c
		}
		w.news(News{Kind: ClaimEnded, Number: number, Err: err})
	})
}

func (w *town) Release(key fabric.Key) {
	w.nation.trace("%s releases %v", w.node.Name(), key)
	if c, ok := w.owned[key]; ok {
		delete(w.owned, key)
		w.node.Release(c)
	}
}

// settled waits until all that was begun is done.
func (n *nation) settled() {
	n.net.Run(3 * time.Second)
}

// peace waits until all nodes know each other.
func (n *nation) peace() {
	n.t.Helper()
	ok := n.net.RunUntil(5*time.Minute, func() bool {
		for _, w := range n.towns {
			if !w.hall.net.live || len(w.hall.net.order) != len(n.towns)-1 {
				return false
			}
		}
		return true
	})
	if !ok {
		for _, name := range n.names() {
			w := n.towns[name]
			n.t.Errorf("node %s: live %t, %d others, members %v", name, w.hall.net.live, len(w.hall.net.order), w.node.Members())
		}
	}
	n.settled()
}

// user opens a session at a node and registers it; its welcome is left out.
func (n *nation) user(at fabric.Node, name string, caps ...string) SessionID {
	w := n.town(at)
	id := w.open(name, Origin{Host: name + ".host", Address: "192.0.2.1"})
	if len(caps) > 0 {
		w.line(id, "CAP REQ :"+strings.Join(caps, " "))
	}
	w.line(id, "NICK "+name)
	w.line(id, "USER "+name+" 0 * :Real "+name)
	if len(caps) > 0 {
		w.line(id, "CAP END")
	}
	n.settled()
	w.look()
	return id
}

// say lets a session say lines, each answered before the next.
func (n *nation) say(at fabric.Node, name string, lines ...string) {
	w := n.town(at)
	for _, line := range lines {
		w.line(w.names[name], line)
		n.settled()
	}
}

// expect compares all that was received since the last look at all nodes with lines of
// "name < line", in the order of the nodes. Tags are left out.
func (n *nation) expect(want ...string) {
	n.t.Helper()
	var got []string
	for _, name := range n.names() {
		w := n.towns[name]
		for line := range strings.Lines(w.text()) {
			line = strings.TrimSuffix(line, "\n")
			who, text, _ := strings.Cut(line, " < ")
			if who == "kept" {
				continue
			}
			if strings.HasPrefix(text, "@") {
				_, text, _ = strings.Cut(text, " ")
			}
			got = append(got, who+" < "+text)
		}
		w.healthy()
	}
	if !slices.Equal(got, want) {
		n.t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func (n *nation) names() []fabric.Node {
	names := []fabric.Node{}
	for name := range n.towns {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// same fails the test unless all halls know the same users and channels.
func (n *nation) same() {
	n.t.Helper()
	var first string
	for _, name := range n.names() {
		view := n.towns[name].view()
		if first == "" {
			first = view
		} else if view != first {
			n.t.Errorf("node %s knows\n%s\nand the first one\n%s", name, view, first)
		}
		n.towns[name].books()
		n.towns[name].healthy()
	}
}

// books checks the counts and tables of a node that nothing is to come to any more: all is of somebody or
// something that is there, and no name is owned for nothing.
func (w *town) books() {
	h, n := w.hall, w.hall.net
	owned := map[fabric.Key]bool{{Kind: fabric.Account, Name: fmt.Sprintf(" slot %d", n.slot)}: true}
	users, guests := 0, 0
	for _, u := range h.everyone {
		if u.net.node != nil {
			guests += len(u.sessions)
			continue
		}
		users++
		owned[nickKeyOf(h.nickKey(u.nick()))] = true
		if n.here[u.net.number] != u || !u.net.told || !n.nicks[h.nickKey(u.nick())] {
			w.problem("%s is %d here, told %t", u.nick(), u.net.number, u.net.told)
		}
	}
	if len(n.here) != users || len(n.nicks) != users || guests != n.guests {
		w.problem("of %d users here %d have numbers, and %d nicks; of %d sessions elsewhere %d are counted", users, len(n.here), len(n.nicks), guests, n.guests)
	}
	for name, g := range n.grants {
		owned[channelKey(name)] = true
		if c := h.channels[name]; !g.held || c == nil || !c.net.mine {
			w.problem("%s is claimed for nothing", name)
		}
	}
	for _, c := range h.slots {
		if c == nil {
			continue
		}
		at := map[*node]int{}
		for _, m := range c.members {
			if m.user.net.node != nil {
				at[m.user.net.node]++
			}
		}
		if !maps.Equal(at, c.net.at) {
			w.problem("%s has members at %d nodes, and counts those of %d", c.name, len(at), len(c.net.at))
		}
	}
	for key, c := range w.owned {
		if c.Epoch == w.node.Self().Epoch && !owned[key] {
			w.problem("%v is owned for nothing", key)
		}
	}
	if left := len(n.claims) + len(n.runs) + len(n.early) + len(n.returns) + len(n.coming) + len(n.vacancies) + len(n.posts) + len(n.altering); left > 0 {
		w.problem("left are %d claims, %d runs, %d seats, %d returns of %d, %d vacancies, %d posts, %d changes",
			len(n.claims), len(n.runs), len(n.early), len(n.returns), len(n.coming), len(n.vacancies), len(n.posts), len(n.altering))
	}
}

// view is what a hall knows of the network.
func (w *town) view() string {
	var lines []string
	h := w.hall
	for _, u := range h.everyone {
		lines = append(lines, fmt.Sprintf("%s %s %q %s away=%q account=%q %d sessions", u.source, u.realname, u.modes, h.net.refOf(u).Node, u.away(), u.account, len(u.sessions)))
	}
	for _, c := range h.slots {
		if c == nil {
			continue
		}
		owner := h.net.self.Node
		switch {
		case c.net.owner != nil:
			owner = c.net.owner.member.Node
		case !c.net.mine:
			owner = "nobody"
		}
		var members []string
		for _, m := range c.members {
			members = append(members, m.rank.String()+":"+m.user.nick())
		}
		slices.Sort(members)
		k := c.kept()
		lines = append(lines, fmt.Sprintf("%s of %s %v %v", c.name, owner, members, k))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func threeNodes(t *testing.T, config Config) *nation {
	n := newNation(t, 1, config, fabrictest.Options{}, "a", "b", "c")
	n.peace()
	return n
}

func TestNetworkTalk(t *testing.T) {
	n := threeNodes(t, Config{})
	n.user("a", "ann")
	n.user("b", "bob")
	n.user("c", "cid")
	n.say("a", "ann", "JOIN #x")
	n.expect(
		"ann < :ann!ann@ann.host JOIN #x",
		"ann < :a.example 353 ann = #x :@ann",
		"ann < :a.example 366 ann #x :End of /NAMES list",
	)
	n.say("b", "bob", "JOIN #X")
	n.expect(
		"ann < :bob!bob@bob.host JOIN #x",
		"bob < :bob!bob@bob.host JOIN #x",
		"bob < :b.example 353 bob = #x :@ann bob",
		"bob < :b.example 366 bob #x :End of /NAMES list",
	)
	n.say("c", "cid", "JOIN #x")
	n.same()
	n.expect(
		"ann < :cid!cid@cid.host JOIN #x",
		"bob < :cid!cid@cid.host JOIN #x",
		"cid < :cid!cid@cid.host JOIN #x",
		"cid < :c.example 353 cid = #x :@ann bob cid",
		"cid < :c.example 366 cid #x :End of /NAMES list",
	)
	n.say("c", "cid", "PRIVMSG #x :hello")
	n.expect("ann < :cid!cid@cid.host PRIVMSG #x :hello", "bob < :cid!cid@cid.host PRIVMSG #x :hello")
	n.say("a", "ann", "MODE #x +v bob", "TOPIC #x :of things")
	n.same()
	n.expect(
		"ann < :ann!ann@ann.host MODE #x +v bob",
		"ann < :ann!ann@ann.host TOPIC #x :of things",
		"bob < :ann!ann@ann.host MODE #x +v bob",
		"bob < :ann!ann@ann.host TOPIC #x :of things",
		"cid < :ann!ann@ann.host MODE #x +v bob",
		"cid < :ann!ann@ann.host TOPIC #x :of things",
	)
	n.say("b", "bob", "PRIVMSG cid :psst", "NICK bobby", "AWAY :gone")
	n.same()
	n.expect(
		"ann < :bob!bob@bob.host NICK bobby",
		"bob < :bob!bob@bob.host NICK bobby",
		"bob < :b.example 306 bobby :You have been marked as being away",
		"cid < :bob!bob@bob.host PRIVMSG cid :psst",
		"cid < :bob!bob@bob.host NICK bobby",
	)
	n.say("c", "cid", "PRIVMSG bobby :there?", "KICK #x ann", "MODE #x +m", "WHOIS nobody")
	n.expect(
		"bob < :cid!cid@cid.host PRIVMSG bobby :there?",
		"cid < :b.example 301 cid bobby :gone",
		"cid < :"+string(n.ownerOf("#x"))+".example 482 cid #x :You're not a channel operator",
		"cid < :"+string(n.ownerOf("#x"))+".example 482 cid #x :You're not a channel operator",
		"cid < :c.example 401 cid nobody :No such nick",
		"cid < :c.example 318 cid nobody :End of /WHOIS list",
	)
	n.say("a", "ann", "KICK #x cid :out", "NICK cid")
	n.same()
	n.expect(
		"ann < :ann!ann@ann.host KICK #x cid :out",
		"ann < :a.example 433 ann cid :Nickname is already in use at node c: choose another nick; or if it is you, connect to that node",
		"bob < :ann!ann@ann.host KICK #x cid :out",
		"cid < :ann!ann@ann.host KICK #x cid :out",
	)
	n.say("b", "bob", "QUIT :bye")
	n.say("a", "ann", "PART #x")
	n.same()
	n.expect(
		"ann < :bobby!bob@bob.host QUIT :Quit: bye",
		"ann < :ann!ann@ann.host PART #x",
		"bob < :bobby!bob@bob.host QUIT :Quit: bye",
		"bob < ERROR :Closing Link: bob.host (Quit: bye)",
		"bob < (closed)",
	)
	for name, w := range n.towns {
		if len(w.hall.channels) != 0 || len(w.hall.users) != 2 {
			t.Errorf("%s has %d channels and %d users", name, len(w.hall.channels), len(w.hall.users))
		}
	}
}

func (n *nation) ownerOf(name string) fabric.Node {
	for at, w := range n.towns {
		if c := w.hall.channels[name]; c != nil && c.net.mine {
			return at
		}
	}
	return "nobody"
}

// TestNetworkDrain: a node that drains gives its channels to others, and nothing is lost or
// refused meanwhile.
func TestNetworkDrain(t *testing.T) {
	n := threeNodes(t, Config{})
	for _, name := range []string{"a", "b", "c"} {
		n.user(fabric.Node(name), name+name)
		n.say(fabric.Node(name), name+name, "JOIN #x")
	}
	old := n.ownerOf("#x")
	n.expectAny()
	n.town(old).node.Drain()
	for i := range 20 {
		w := n.town("a")
		w.line(w.names["aa"], fmt.Sprintf("PRIVMSG #x :%d", i))
		n.net.Run(15 * time.Millisecond)
	}
	n.settled()
	if now := n.ownerOf("#x"); now == old || now == "nobody" {
		t.Errorf("the channel of %s is now of %s", old, now)
	}
	for _, at := range []fabric.Node{"b", "c"} {
		got := n.town(at).text()
		for i := range 20 {
			if !strings.Contains(got, fmt.Sprintf("PRIVMSG #x :%d\n", i)) {
				t.Errorf("%s has not read %d", at, i)
			}
		}
	}
	if got := n.town("a").text(); strings.Contains(got, "FAIL") {
		t.Errorf("refused: %s", got)
	}
	n.same()
}

// expectAny forgets what was received.
func (n *nation) expectAny() {
	for _, w := range n.towns {
		w.look()
	}
}

// changed says at all nodes what one has changed of what all keep.
func (n *nation) changed(c Change) {
	for _, name := range n.names() {
		n.town(name).news(News{Kind: Changed, Change: c})
	}
	n.settled()
}

// TestNetworkAccounts: what one node does with an account has its effect on the nicks and
// users of all.
func TestNetworkAccounts(t *testing.T) {
	n := threeNodes(t, Config{ReserveNicks: true, Registration: Registration{Enabled: true}})
	n.user("a", "ann")
	n.user("b", "bob")
	n.say("a", "ann", "NS REGISTER secret")
	n.expectAny()
	n.changed(KeepAccount{Name: "ann"})
	n.changed(KeepAccount{Name: "cid"})
	n.say("b", "bob", "NICK cid")
	n.expect("bob < :b.example 433 bob cid :Nickname is already in use")
	n.changed(DropAccount{Name: "cid"})
	n.say("b", "bob", "NICK cid")
	n.expect("bob < :bob!bob@bob.host NICK cid")
	n.say("a", "ann", "JOIN #x")
	n.say("a", "ann", "CS REGISTER #x")
	n.say("b", "bob", "JOIN #x")
	n.expectAny()
	if c := n.town("b").hall.findChannel("#x"); c.registered == nil || c.registered.founder != "ann" {
		t.Fatal("the channel is not registered")
	}
	n.changed(DropAccount{Name: "ann"})
	for _, name := range n.names() {
		h := n.town(name).hall
		if u := h.find("ann"); u == nil || u.account != "" {
			t.Errorf("node %s: the user of the account that was removed is %+v", name, u)
		}
		if c := h.findChannel("#x"); c == nil || c.registered != nil {
			t.Errorf("node %s: the channel of the account that was removed is still registered", name)
		}
	}
	n.same()
	delete(n.town("a").accounts, "ann")
	n.say("a", "ann", "NS REGISTER secret")
	n.expectAny()
	n.changed(KeepAccount{Name: "ann", Suspended: "spam"})
	for _, name := range n.names() {
		if n.town(name).hall.find("ann") != nil {
			t.Errorf("node %s: who is suspended is still there", name)
		}
	}
	n.same()
}

// lastKept is the last that a node has had kept of a channel: KeepChannel, DropChannel or nil.
func (w *town) lastKept(name string) (last Change) {
	for _, c := range w.changes {
		switch of := c.(type) {
		case KeepChannel:
			if sameName(of.Channel.Name, name) {
				last = c
			}
		case DropChannel:
			if sameName(of.Name, name) {
				last = c
			}
		}
	}
	return last
}

// TestNetworkKeptChannels: every node has a change of a registered channel kept, at a place
// in the channel's order that is before that of the next change wherever it is said.
func TestNetworkKeptChannels(t *testing.T) {
	n := threeNodes(t, Config{Registration: Registration{Enabled: true}})
	n.user("a", "ann")
	n.user("b", "bob")
	n.say("a", "ann", "NS REGISTER secret", "JOIN #x", "CS REGISTER #x")
	n.say("b", "bob", "JOIN #x")
	var before, latest stamp
	for i, step := range []struct {
		line  string
		topic string
		drops bool
	}{
		{line: "TOPIC #x :one", topic: "one"},
		{line: "TOPIC #x :two", topic: "two"},
		{line: "CS UNREGISTER #x", drops: true},
		{line: "CS REGISTER #x", topic: "two"},
	} {
		before, latest = latest, stamp{}
		n.say("a", "ann", step.line)
		n.say("b", "bob", "PRIVMSG #x :something between them")
		for _, name := range n.names() {
			at, topic, drops := stamp{}, "", false
			switch c := n.town(name).lastKept("#x").(type) {
			case KeepChannel:
				at, topic = stamp{c.Reign, c.Number}, c.Channel.Topic
			case DropChannel:
				at, drops = stamp{c.Reign, c.Number}, true
			}
			if topic != step.topic || drops != step.drops || !before.isBefore(at) {
				t.Errorf("step %d: node %s has %q kept, dropped %t, at %v after %v", i, name, topic, drops, at, before)
			}
			if latest.isBefore(at) {
				latest = at
			}
		}
	}
	n.same()
}

// TestNetworkUnclaimedChannels: a channel that nobody owns is as all nodes keep it, and one
// that somebody owns is as that node says.
func TestNetworkUnclaimedChannels(t *testing.T) {
	n := threeNodes(t, Config{Registration: Registration{Enabled: true}})
	n.changed(KeepMetadata{Datum: KeptDatum{Owner: "#x", Key: "color", Value: "red"}})
	n.changed(KeepChannel{Channel: KeptChannel{Name: "#X", Founder: "ann", Topic: "one", TopicBy: "ann", Created: 7}})
	n.changed(KeepChannel{Channel: KeptChannel{Name: "#x", Founder: "ann", Topic: "two", TopicBy: "ann", Created: 7}})
	n.changed(KeepChannel{Channel: KeptChannel{Name: "#gone", Founder: "ann", Created: 7}})
	n.changed(DropChannel{Name: "#gone"})
	for _, name := range n.names() {
		h := n.town(name).hall
		if c := h.findChannel("#x"); c == nil || c.registered == nil || c.topic != "two" || c.metadata["color"] != "red" {
			t.Fatalf("node %s has %+v", name, c)
		}
		if h.findChannel("#gone") != nil {
			t.Errorf("node %s has a channel that was dropped", name)
		}
	}
	n.user("b", "bob")
	n.say("b", "bob", "JOIN #x")
	n.changed(KeepChannel{Channel: KeptChannel{Name: "#x", Founder: "eve", Topic: "three", TopicBy: "ann", Created: 7}})
	n.changed(KeepMetadata{Datum: KeptDatum{Owner: "#x", Key: "color", Value: "blue"}})
	n.changed(DropChannel{Name: "#x"})
	for _, name := range n.names() {
		if c := n.town(name).hall.findChannel("#x"); c == nil || c.registered == nil || c.topic != "two" || c.metadata["color"] != "red" {
			t.Errorf("node %s has %+v, and somebody owns it", name, c)
		}
	}
	n.same()
}

// TestNetworkBansOfOtherNodes: a ban that a node learns late ends the sessions there that it
// covers, and is kept by the node alone that has set it.
func TestNetworkBansOfOtherNodes(t *testing.T) {
	n := threeNodes(t, Config{Operators: map[string]Operator{"root": {Rights: []string{"ban"}}}})
	n.user("a", "ann")
	n.user("b", "bob")
	n.say("a", "ann", "OPER root secret")
	n.expectAny()
	n.town("a").line(n.town("a").names["ann"], "KLINE evil!*@*")
	n.settled()
	for name, want := range map[fabric.Node]int{"a": 1, "b": 0, "c": 0} {
		if kept := n.town(name).kept.Bans; len(kept) != want {
			t.Errorf("node %s keeps %+v", name, kept)
		}
		if len(n.town(name).hall.bans) != 1 {
			t.Errorf("node %s knows %d bans", name, len(n.town(name).hall.bans))
		}
	}
	n.expectAny()
	n.town("b").news(News{Kind: Changed, Change: KeepBan{KeptBan{Mask: "bob!*@*", Reason: "late", By: "x", At: start / 1000}}})
	n.settled()
	if n.town("a").hall.find("bob") != nil || n.town("b").hall.find("bob") != nil {
		t.Error("who is banned is still there")
	}
	n.changed(DropBan{Mask: "evil!*@*"})
	n.town("b").news(News{Kind: Changed, Change: DropBan{Mask: "bob!*@*"}})
	for _, name := range n.names() {
		if bans := n.town(name).hall.bans; len(bans) != 0 {
			t.Errorf("node %s knows %+v", name, bans)
		}
	}
}

// TestNetworkMarkers: an account's read markers move at all nodes, and never back.
func TestNetworkMarkers(t *testing.T) {
	n := threeNodes(t, Config{Mechanisms: []string{"PLAIN"}, History: History{Enabled: true}})
	for _, name := range n.names() {
		n.town(name).accounts["ann"] = "secret"
		n.user(name, "ann"+string(name))
		n.say(name, "ann"+string(name), "NS IDENTIFY ann secret")
		n.say(name, "ann"+string(name), "CAP REQ draft/read-marker")
		n.say(name, "ann"+string(name), "MARKREAD #x")
	}
	n.expectAny()
	n.say("a", "anna", "MARKREAD #x timestamp=2020-01-02T00:00:00.000Z")
	n.expect(
		"anna < :a.example MARKREAD #x timestamp=2020-01-02T00:00:00.000Z",
		"annb < :b.example MARKREAD #x timestamp=2020-01-02T00:00:00.000Z",
		"annc < :c.example MARKREAD #x timestamp=2020-01-02T00:00:00.000Z",
	)
	n.say("b", "annb", "MARKREAD #x timestamp=2020-01-01T00:00:00.000Z")
	n.expect("annb < :b.example MARKREAD #x timestamp=2020-01-02T00:00:00.000Z")
	late := n.found("d")
	n.settled()
	if kept := late.markers["ann"]; len(kept) == 0 {
		t.Error("a node that was away does not know the marker")
	}
}

// TestNetworkMetadata: what an account says of itself is the same at all nodes, and those who watch
// it get each change.
func TestNetworkMetadata(t *testing.T) {
	n := threeNodes(t, Config{})
	n.town("a").accounts["ann"] = "secret"
	n.user("a", "ann")
	n.user("b", "bob")
	n.say("a", "ann", "NS IDENTIFY ann secret")
	n.say("a", "ann", "JOIN #x")
	n.say("b", "bob", "JOIN #x")
	n.say("b", "bob", "CAP REQ draft/metadata-3")
	n.say("b", "bob", "METADATA * SUB color")
	n.say("a", "ann", "METADATA * SET color :red")
	n.expectAny()
	n.changed(KeepMetadata{KeptDatum{"ann", "color", "red"}})
	n.expect("bob < :b.example 761 bob ann color * :red")
	n.say("b", "bob", "METADATA ann GET color")
	n.expect("bob < :b.example 761 bob ann color * :red")
	n.changed(KeepMetadata{KeptDatum{"ann", "color", ""}})
	n.expectAny()
	n.say("b", "bob", "METADATA ann GET color")
	n.expect("bob < :b.example 766 bob ann color :There is no such key")
}

// TestNetworkRegisteredByClaim: a channel is registered by who adds the entry of all nodes, and by
// nobody whose entry is refused; and what was registered is so when the owner ends before it has
// said so to any other node.
func TestNetworkRegisteredByClaim(t *testing.T) {
	n := threeNodes(t, Config{})
	for _, w := range n.towns {
		w.accounts["ann"], w.refuses = "secret", true
	}
	n.user("a", "ann")
	n.user("b", "bob")
	n.user("c", "cid")
	n.say("a", "ann", "NS IDENTIFY ann secret", "JOIN #x")
	n.say("b", "bob", "JOIN #x")
	n.say("c", "cid", "JOIN #x")
	owner := n.ownerOf("#x")
	n.say("a", "ann", "CS REGISTER #x")
	for _, name := range n.names() {
		if n.town(name).hall.findChannel("#x").registered != nil {
			t.Errorf("node %s: a channel is registered whose entry was refused", name)
		}
	}
	n.expectAny()
	c := n.town(owner).hall.findChannel("#x")
	kept, at := c.kept(), c.net.step()
	kept.Founder = "ann"
	n.town(owner).node.Kill()
	delete(n.towns, owner)
	n.changed(KeepChannel{kept, at.Reign, at.Number})
	if !n.net.RunUntil(5*time.Minute, func() bool { return n.ownerOf("#x") != "nobody" }) {
		t.Fatal("nobody owns the channel")
	}
	n.peace()
	for _, name := range n.names() {
		if c := n.town(name).hall.findChannel("#x"); c.registered == nil || c.registered.founder != "ann" || len(c.members) != 2 {
			t.Errorf("node %s: the channel is %+v", name, c)
		}
	}
	n.same()
}

// TestNetworkUserLostAtNewOwner: a node takes over a channel while it does not know a member yet,
// since what the member's node said of them was lost on the way:
//
//	b: ann comes ──✕── c           a: JOIN #x: a seat ──► b, c       a drains
//	c claims #x, asks b ──► its answer shows that something was lost
//
// The member stays, with its rank.
func TestNetworkUserLostAtNewOwner(t *testing.T) {
	for _, later := range []bool{false, true} { // somebody else comes to b after ann
		n := newNation(t, 1, Config{}, fabrictest.Options{}, "a", "b", "c")
		n.peace()
		name := homedAt("a", "c")
		a, b, c := n.town("a"), n.town("b"), n.town("c")
		within := func(what string, condition func() bool) {
			t.Helper()
			if !n.net.RunUntil(time.Minute, condition) {
				t.Fatalf("later %t: %s: does not come to pass", later, what)
			}
		}
		n.net.Cut("b", "c", false)
		come := func(nick string) SessionID {
			t.Helper()
			id := b.open(nick, Origin{Host: nick + ".host", Address: "192.0.2.1"})
			b.line(id, "NICK "+nick)
			b.line(id, "USER "+nick+" 0 * :Real "+nick)
			within(nick+" is known at a", func() bool { return a.hall.find(nick) != nil })
			return id
		}
		id := come("ann")
		b.line(id, "JOIN "+name)
		within("the seat is known at c", func() bool {
			x := c.hall.findChannel(name)
			return x != nil && x.net.number > 0 && b.hall.find("ann").in(b.hall.findChannel(name)) != nil
		})
		cid := c.open("cid", Origin{Host: "cid.host", Address: "192.0.2.1"})
		c.line(cid, "NICK cid")
		c.line(cid, "USER cid 0 * :Real cid")
		within("cid is known at a", func() bool { return a.hall.find("cid") != nil })
		c.line(cid, "JOIN "+name)
		within("cid is in the channel", func() bool { return c.hall.find("cid").in(c.hall.findChannel(name)) != nil })
		if later {
			come("bob")
		}
		b.look()
		a.node.Drain()
		within("c claims the channel", func() bool {
			g := c.hall.net.grants[name]
			return g != nil && g.asked != nil
		})
		n.net.Heal()
		within("c owns the channel", func() bool { return n.ownerOf(name) == "c" })
		n.settled()
		n.settled()
		if got := b.text(); strings.Contains(got, " PART ") || strings.Contains(got, " MODE ") {
			t.Errorf("later %t: ann has read\n%s", later, got)
		}
		for _, at := range n.names() {
			w := n.town(at)
			if m := w.hall.find("ann").in(w.hall.findChannel(name)); m == nil || m.rank != Op {
				t.Errorf("later %t: at %s, ann is %+v", later, at, m)
			}
		}
		n.same()
	}
}

// homedAt returns a channel that belongs to one of three nodes, and without it to another.
func homedAt(first, then fabric.Node) string {
	for i := 0; ; i++ {
		name := fmt.Sprint("#x", i)
		home, _ := fabric.Home(name, []fabric.Member{{Node: "a"}, {Node: "b"}, {Node: "c"}})
		next, _ := fabric.Home(name, []fabric.Member{{Node: "a", Draining: true}, {Node: "b"}, {Node: "c"}})
		if home.Node == first && next.Node == then {
			return name
		}
	}
}

// TestNetworkChangeBeforeLateRecord: what a node has kept and not shared before it ended it shares
// when it comes back. Where another has deleted or edited that meanwhile, it counts at all nodes, also
// at one that has begun since, and at one that begins later.
func TestNetworkChangeBeforeLateRecord(t *testing.T) {
	n := threeNodes(t, Config{History: History{Enabled: true}})
	a, b := n.town("a"), n.town("b")
	first := (start+n.net.Now().Milliseconds())<<IDBits | a.hall.net.slot
	a.node.Kill()
	for i, text := range []string{"left", "deleted", "said"} {
		r := Record{ID: first + int64(i)<<slotBits, Target: "#x", Command: "PRIVMSG", Text: text}
		a.records = append(a.records, r)
		a.unshared = append(a.unshared, unshared{fmt.Sprint("late ", i), fabric.Shard("#x"), RecordEntry(&r)})
	}
	edited := a.records[2]
	edited.Text, edited.Edited = "edited", first+1<<IDBits
	for _, w := range []*farWork{{Kind: RemoveRecord, Lookup: &Lookup{ID: a.records[1].ID}}, {Kind: EditRecord, Record: &edited}} {
		b.hall.shareChange("work", b.hall.outgoing("#x", "w", "work", w))
	}
	n.settled()
	for _, name := range []fabric.Node{"b", "c"} {
		n.town(name).replay()
	}
	n.settled()
	c := n.town("c")
	c.node.Kill()
	n.found("c").wake(c)
	n.found("a").wake(a)
	n.peace()
	n.found("d")
	n.peace()
	for _, name := range n.names() {
		w := n.town(name)
		w.replay()
		n.settled()
		var texts []string
		for _, r := range w.records {
			texts = append(texts, r.Text)
		}
		slices.Sort(texts)
		if want := []string{"edited", "left"}; !slices.Equal(texts, want) {
			t.Errorf("node %s has %q, want %q", name, texts, want)
		}
	}
}

// TestNetworkChangeOfWhoHasGone: a change of a record that was begun for somebody who is gone when it is
// done is shared all the same.
func TestNetworkChangeOfWhoHasGone(t *testing.T) {
	n := threeNodes(t, Config{History: History{Enabled: true}})
	a := n.town("a")
	id := a.open("ann", Origin{Host: "ann.host", Address: "192.0.2.1"})
	a.line(id, "CAP REQ :echo-message message-tags")
	a.line(id, "NICK ann")
	a.line(id, "USER ann 0 * :Ann")
	a.line(id, "CAP END")
	n.settled()
	name := "#x"
	for i := 0; ; i++ {
		if home, _ := fabric.Home(name, []fabric.Member{{Node: "a"}, {Node: "b"}, {Node: "c"}}); home.Node == "a" {
			break
		}
		name = fmt.Sprint("#x", i)
	}
	n.say("a", "ann", "JOIN "+name, "PRIVMSG "+name+" :mistake")
	var said Record
	for _, r := range n.town("b").records {
		if r.Text == "mistake" {
			said = r
		}
	}
	a.lazy = true
	a.line(id, "REDACT "+name+" "+MsgID(said.ID))
	found := a.works[0]
	a.works = nil
	a.apply(&Event{Kind: Worked, At: a.now, Result: a.do(found)})
	if len(a.works) != 1 || a.works[0].Kind != RemoveRecord {
		t.Fatalf("it has %+v done", a.works)
	}
	a.close(id, "gone")
	a.lazy = false
	a.settle()
	n.settled()
	for _, at := range n.names() {
		for _, r := range n.town(at).records {
			if r.ID == said.ID {
				t.Errorf("node %s has what was deleted", at)
			}
		}
	}
}
