package hall

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
)

// inOneChannel returns a network with #x, in which are ann, its operator, bob and cid, each of
// another node.
func inOneChannel(t *testing.T, config Config, caps ...string) *nation {
	n := threeNodes(t, config)
	n.user("a", "ann", caps...)
	n.user("b", "bob", caps...)
	n.user("c", "cid", caps...)
	n.say("a", "ann", "JOIN #x")
	n.say("b", "bob", "JOIN #x")
	n.say("c", "cid", "JOIN #x")
	n.expectAny()
	return n
}

// ticks has a moment pass at all nodes, and waits for what that begins.
func (n *nation) ticks() {
	for _, w := range n.towns {
		w.apply(&Event{Kind: Tick})
	}
	n.settled()
}

// elsewhere returns a node that does not own #x, and its user.
func (n *nation) elsewhere() (at fabric.Node, name string) {
	users := map[fabric.Node]string{"a": "ann", "b": "bob", "c": "cid"}
	for _, at := range n.names() {
		if at != n.ownerOf("#x") {
			return at, users[at]
		}
	}
	panic("nobody")
}

func TestNetworkLabels(t *testing.T) {
	n := inOneChannel(t, Config{History: History{Enabled: true}}, "labeled-response", "batch", "echo-message")
	at, name := n.elsewhere()
	for _, c := range []struct{ line, want string }{
		{"@label=1 PRIVMSG #x :one", "@label=1 :NAME!NAME@NAME.host PRIVMSG #x :one"},
		{"@label=2 PRIVMSG #x,nobody :two", "@label=2 :NODE BATCH +ID labeled-response|@batch=ID :NAME!NAME@NAME.host PRIVMSG #x :two|@batch=ID :NODE 401 NAME nobody :No such nick|:NODE BATCH -ID"},
		{"@label=3 MODE #x b", "@label=3 :OWNER 368 NAME #x :End of channel ban list"},
		{"@label=4 PING x", "@label=4 :NODE PONG NODE :x"},
		{"@label=5 PART #x,#x", "@label=5 :NODE BATCH +ID labeled-response|@batch=ID :NAME!NAME@NAME.host PART #x|@batch=ID :OWNER 442 NAME #x :You're not on that channel|:NODE BATCH -ID"},
		{"@label=6 JOIN #x", "@label=6 :NODE BATCH +ID labeled-response|@batch=ID :NAME!NAME@NAME.host JOIN #x|@batch=ID :NODE 353 NAME = #x :MEMBERS|@batch=ID :NODE 366 NAME #x :End of /NAMES list|:NODE BATCH -ID"},
		{"@label=7 NAMES #y", "@label=7 :NODE 366 NAME #y :End of /NAMES list"},
	} {
		n.expectAny()
		n.say(at, name, c.line)
		var got []string
		id := ""
		for _, r := range n.town(at).look() {
			if line := r.line; r.to == n.town(at).names[name] {
				if _, after, ok := strings.Cut(line, "BATCH +"); ok {
					id, _, _ = strings.Cut(after, " ")
				}
				if id != "" {
					line = strings.ReplaceAll(line, id, "ID")
				}
				if before, _, ok := strings.Cut(line, " = #x :"); ok {
					line = before + " = #x :MEMBERS"
				}
				got = append(got, line)
			}
		}
		want := strings.NewReplacer("NAME!NAME@NAME.host", name+"!"+name+"@"+name+".host", " NAME ", " "+name+" ", "NODE", string(at)+".example", "OWNER", string(n.ownerOf("#x"))+".example").Replace(c.want)
		if strings.Join(got, "|") != want {
			t.Errorf("%s\n got %s\nwant %s", c.line, strings.Join(got, "|"), want)
		}
	}
	n.same()
}

// TestNetworkFanOut counts what goes between nodes for one message.
func TestNetworkFanOut(t *testing.T) {
	n := inOneChannel(t, Config{})
	for i := range 30 {
		at := n.names()[i%3]
		name := fmt.Sprint("u", i)
		n.user(at, name)
		n.say(at, name, "JOIN #x")
	}
	owner := n.town(n.ownerOf("#x"))
	clear(owner.carried)
	speaker := map[fabric.Node]string{"a": "ann", "b": "bob", "c": "cid"}[owner.node.Name()]
	n.expectAny()
	n.say(owner.node.Name(), speaker, "PRIVMSG #x :to all")
	read := 0
	for at, w := range n.towns {
		read += strings.Count(w.text(), ":to all")
		if w != owner && owner.carried[at] != 1 {
			t.Errorf("%d parcels for node %s, want 1", owner.carried[at], at)
		}
	}
	if read != 32 {
		t.Errorf("%d have read it, want 32", read)
	}
}

// TestNetworkFanOutForAnotherNode counts what goes between nodes for one message of a node that does
// not own the channel: there, and from the owner to each. That it is done goes with it.
func TestNetworkFanOutForAnotherNode(t *testing.T) {
	n := inOneChannel(t, Config{History: History{Enabled: true}})
	owner := n.town(n.ownerOf("#x"))
	speaker := map[fabric.Node]string{"a": "ann", "b": "bob", "c": "cid"}
	for at, from := range n.towns {
		if from == owner {
			continue
		}
		clear(owner.carried)
		clear(from.carried)
		n.expectAny()
		n.say(at, speaker[at], "PRIVMSG #x :to all")
		for to, w := range n.towns {
			if w != owner && owner.carried[to] != 1 {
				t.Errorf("%d parcels for node %s, want 1", owner.carried[to], to)
			}
		}
		if len(from.carried) != 1 || from.carried[owner.node.Name()] != 1 {
			t.Errorf("node %s has carried %v, want one parcel to the owner", at, from.carried)
		}
		if runs := len(from.hall.net.runs); runs != 0 {
			t.Errorf("node %s waits for %d commands", at, runs)
		}
	}
}

// TestNetworkMessageThatIsNotKept lets the owner lose what users of other nodes say: they get FAIL,
// nobody else gets it, and nobody waits for its end, which is not carried.
func TestNetworkMessageThatIsNotKept(t *testing.T) {
	n := inOneChannel(t, Config{History: History{Enabled: true}}, "labeled-response", "echo-message", "batch")
	owner := n.town(n.ownerOf("#x"))
	owner.full = true
	n.expectAny()
	for at, from := range n.towns {
		if from == owner {
			continue
		}
		speaker := map[fabric.Node]string{"a": "ann", "b": "bob", "c": "cid"}[at]
		n.say(at, speaker, "PRIVMSG #x :lost", "@label=l PRIVMSG #x :lost", "NOTICE #x :lost")
		if runs := len(from.hall.net.runs); runs != 0 {
			t.Errorf("node %s waits for %d commands", at, runs)
		}
	}
	for at, w := range n.towns {
		want := 3
		if w == owner {
			want = 0
		}
		text := w.text()
		if got := strings.Count(text, " MESSAGE_NOT_KEPT #x "); got != want || strings.Contains(text, ":lost") {
			t.Errorf("at node %s there are %d refusals, want %d, in\n%s", at, got, want, text)
		}
	}
}

func TestNetworkSplitAndReturn(t *testing.T) {
	n := inOneChannel(t, Config{}, "batch")
	n.net.Isolate("c")
	n.net.RunUntil(5*time.Minute, func() bool { return len(n.town("a").hall.net.order) == 1 && !n.town("c").hall.net.live })
	n.settled()
	got := n.town("a").text()
	for _, part := range []string{"BATCH +", " netsplit a c\n", ":cid!cid@cid.host QUIT :a c\n", "BATCH -"} {
		if !strings.Contains(got, part) {
			t.Errorf("ann has not read %q in\n%s", part, got)
		}
	}
	n.expectAny()
	n.say("c", "cid", "PRIVMSG #x :lost", "NICK other", "PRIVMSG cid :me")
	got = n.town("c").text()
	for _, part := range []string{"FAIL PRIVMSG CHANNEL_UNAVAILABLE #x", "FAIL NICK NETWORK_UNAVAILABLE other", "FAIL PRIVMSG USER_UNAVAILABLE cid"} {
		if !strings.Contains(got, part) {
			t.Errorf("cid has not read %q in\n%s", part, got)
		}
	}
	n.say("a", "ann", "PRIVMSG #x :without cid", "MODE #x +m")
	n.net.Heal()
	n.peace()
	for range 5 {
		n.ticks()
	}
	n.same()
	got = n.town("a").text()
	if !strings.Contains(got, ":cid!cid@cid.host JOIN #x\n") {
		t.Errorf("cid has not come back:\n%s", got)
	}
	if got := n.town("c").text(); !strings.Contains(got, "MODE #x +m\n") || strings.Contains(got, "lost") {
		t.Errorf("cid has read\n%s", got)
	}
}

// TestNetworkSeatBeforeItsNode: a node learns from the owner of a channel that somebody is back
// there before it knows that their node has another lease.
//
//	younger   older   owner
//	   ├── ╳ ───┤       │     neither reaches the other: the younger one gives its lease up
//	   │◄───────┤       │     it receives again, and takes another lease
//	   ├── back ─────────►│     the older one does not see it,
//	   │        │◄─ over ─┤     only that the one before is over
//	   │        │◄─ seat ─┤
//	   ├──────► │       │     but now: and the seat stays
func TestNetworkSeatBeforeItsNode(t *testing.T) {
	n := inOneChannel(t, Config{})
	owner := n.town(n.ownerOf("#x"))
	var others []*town
	for _, name := range n.names() {
		if w := n.town(name); w != owner {
			others = append(others, w)
		}
	}
	slices.SortFunc(others, func(a, b *town) int { return cmp.Compare(a.node.Self().Epoch, b.node.Self().Epoch) })
	older, younger := others[0], others[1]
	known := func(w *town) fabric.Epoch {
		if at := w.hall.net.nodes[younger.node.Name()]; at != nil {
			return at.member.Epoch
		}
		return 0
	}
	before := known(older)
	n.net.Cut(younger.node.Name(), older.node.Name(), true)
	if !n.net.RunUntil(5*time.Minute, func() bool { return !younger.hall.net.live }) {
		t.Fatal("the younger node has its lease still")
	}
	n.net.Heal()
	n.net.Cut(younger.node.Name(), older.node.Name(), false)
	for range 4 {
		n.ticks()
	}
	if known(owner) == before || len(owner.hall.channels["#x"].members) < 3 {
		t.Fatal("the owner has not taken the member back")
	}
	if known(older) == known(owner) {
		t.Fatal("the older node knows of the lease already")
	}
	n.net.Heal()
	n.peace()
	for range 5 {
		n.ticks()
	}
	n.same()
}

// TestNetworkNickLostWhileAway: who has lost its nick to another node while its own was cut off
// never reads what the other one does by that name, however long its node waits for the claim.
func TestNetworkNickLostWhileAway(t *testing.T) {
	n := inOneChannel(t, Config{})
	away := n.town("c")
	n.net.Isolate("c")
	n.net.RunUntil(5*time.Minute, func() bool { return len(n.town("a").hall.net.order) == 1 && !away.hall.net.live })
	n.settled()
	n.say("b", "bob", "NICK cid")
	if got := n.town("b").text(); !strings.Contains(got, ":bob!bob@bob.host NICK cid\n") {
		t.Fatalf("bob has not got the nick:\n%s", got)
	}
	away.slow = true
	away.text()
	n.net.Heal()
	n.peace()
	n.say("b", "bob", "PRIVMSG #x :by the other", "PART #x", "JOIN #x", "NICK bob")
	got := away.text()
	if strings.Contains(got, ":cid!bob") || !strings.Contains(got, "Nickname is in use since the network was cut") {
		t.Errorf("cid has read\n%s", got)
	}
	away.slow = false
	for _, claim := range away.pending {
		claim()
	}
	n.peace()
	n.same()
}

// TestNetworkSilentUntilNickIsBack: who has not got its nick again yet, after its node was cut off, says
// nothing in a channel and joins none, also where its own node owns that: another may have the nick.
func TestNetworkSilentUntilNickIsBack(t *testing.T) {
	n := inOneChannel(t, Config{})
	away, own, other := n.town("c"), homedAt("c", "c"), "#y"
	n.say("c", "cid", "JOIN "+own)
	n.net.Isolate("c")
	n.net.RunUntil(5*time.Minute, func() bool { return len(n.town("a").hall.net.order) == 1 && !away.hall.net.live })
	n.settled()
	away.slow = true
	n.net.Heal()
	n.peace()
	away.text()
	n.say("c", "cid", "PRIVMSG "+own+" :early", "JOIN "+other, "PRIVMSG ann :early")
	got := away.text()
	for _, part := range []string{"FAIL PRIVMSG CHANNEL_UNAVAILABLE " + own, "FAIL JOIN CHANNEL_UNAVAILABLE " + other, "FAIL PRIVMSG USER_UNAVAILABLE ann"} {
		if !strings.Contains(got, part) {
			t.Errorf("cid has not read %q in\n%s", part, got)
		}
	}
	away.slow = false
	for _, claim := range away.pending {
		claim()
	}
	n.peace()
	away.text()
	n.say("c", "cid", "PRIVMSG "+own+" :late", "JOIN "+other, "PRIVMSG ann :late")
	if got := away.text(); strings.Contains(got, "FAIL") {
		t.Errorf("cid has read\n%s", got)
	}
	n.same()
}

// TestNetworkNoAnswer: what an owner was asked for that then was lost is not said to be undone.
func TestNetworkNoAnswer(t *testing.T) {
	n := inOneChannel(t, Config{})
	at, who := n.elsewhere()
	owner, w := n.town(n.ownerOf("#x")), n.town(at)
	w.line(w.names[who], "PART #x")
	owner.node.Kill()
	delete(n.towns, owner.node.Name())
	n.net.Run(time.Minute)
	if got := w.text(); !strings.Contains(got, who+" < :"+string(at)+".example FAIL PART NO_ANSWER #x :") {
		t.Errorf("%s has read\n%s", who, got)
	}
}

// TestNetworkSecondSession: a client of an account that has a user at another node learns which, and
// does not make a second user that stays.
func TestNetworkSecondSession(t *testing.T) {
	n := threeNodes(t, Config{Mechanisms: []string{"PLAIN"}, AlwaysOn: OptOut})
	for _, w := range n.towns {
		w.accounts["ann"] = "secret"
	}
	logIn := func(at fabric.Node, session, nick string, caps ...string) string {
		w := n.town(at)
		id := w.open(session, Origin{Host: session + ".host", Address: "192.0.2.1"})
		for _, line := range []string{"CAP REQ :" + strings.Join(append(caps, "sasl"), " "), "AUTHENTICATE PLAIN", "AUTHENTICATE AGFubgBzZWNyZXQ=", "NICK " + nick, "USER u 0 * :U", "CAP END"} {
			w.line(id, line)
		}
		n.settled()
		return w.text()
	}
	has := func(got, part string) {
		t.Helper()
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in\n%s", part, got)
		}
	}
	logIn("a", "phone", "ann")
	n.town("a").close(n.town("a").names["phone"], "gone")
	n.settled()
	has(logIn("b", "laptop", "ann", "standard-replies"), "433 * ann :Nickname is already in use at node a: choose another nick; or if it is you, connect to that node\n")
	n.say("b", "laptop", "NICK ann2")
	const text = "Your account is also here as ann at node a: connect to that node to be one user with all your clients\n"
	has(n.town("b").text(), "laptop < :b.example NOTE * ACCOUNT_ELSEWHERE :"+text)
	n.say("b", "laptop", "NS SET ALWAYS-ON TRUE")
	has(n.town("b").text(), "Another user of your account is always on at node a\n")
	has(logIn("c", "tablet", "ann3"), "tablet < :c.example NOTICE ann3 :"+text)
	if got := logIn("a", "desktop", "ann4"); strings.Contains(got, "also here") || !strings.Contains(got, " 001 ann :") {
		t.Errorf("at its own node, a client is greeted with\n%s", got)
	}
	n.town("b").close(n.town("b").names["laptop"], "gone")
	n.settled()
	n.same()
	if n.town("a").hall.find("ann2") != nil {
		t.Error("a second user of the account stays")
	}
}

func TestNetworkNicksAreExclusive(t *testing.T) {
	n := threeNodes(t, Config{})
	for _, at := range n.names() {
		w := n.town(at)
		id := w.open(string(at), Origin{Host: "h", Address: "192.0.2.1"})
		w.line(id, "NICK same")
		w.line(id, "USER u 0 * :U")
	}
	n.settled()
	welcome, taken := 0, 0
	for _, w := range n.towns {
		text := w.text()
		welcome += strings.Count(text, " 001 same ")
		taken += strings.Count(text, " 433 * same ")
	}
	if welcome != 1 || taken != 2 {
		t.Errorf("%d have the nick, %d were refused", welcome, taken)
	}
	n.same()
}

func TestNetworkBansAndKills(t *testing.T) {
	n := inOneChannel(t, Config{Operators: map[string]Operator{"op": {Rights: []string{RightAll}}}})
	n.say("a", "ann", "OPER op secret", "KILL bob :enough", "KLINE cid!*@* away")
	for at, want := range map[fabric.Node]string{"b": "Killed (ann (enough))", "c": "Banned: away"} {
		if got := n.town(at).text(); !strings.Contains(got, want) || !strings.Contains(got, "(closed)") {
			t.Errorf("at %s: want %q in\n%s", at, want, got)
		}
	}
	id := n.town("b").open("again", Origin{Host: "h", Address: "192.0.2.1"})
	n.town("b").line(id, "NICK cid")
	n.town("b").line(id, "USER u 0 * :U")
	n.settled()
	if got := n.town("b").text(); !strings.Contains(got, "You are banned") {
		t.Errorf("a ban does not hold at another node:\n%s", got)
	}
	n.same()
}

// TestNetworkMultiline: a batch goes to the owner as a whole.
func TestNetworkMultiline(t *testing.T) {
	n := inOneChannel(t, Config{}, "batch", "message-tags", "draft/multiline", "echo-message", "labeled-response")
	at, name := n.elsewhere()
	n.say(at, name, "@label=9 BATCH +1 draft/multiline #x", "@batch=1 PRIVMSG #x :one", "@batch=1;draft/multiline-concat PRIVMSG #x : and more", "@batch=1 PRIVMSG #x :two", "BATCH -1")
	for _, w := range n.towns {
		text := w.text()
		for _, part := range []string{"draft/multiline #x", "PRIVMSG #x :one\n", "draft/multiline-concat :" + name, "PRIVMSG #x : and more\n", "PRIVMSG #x :two\n"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s has not %q in\n%s", w.node.Name(), part, text)
			}
		}
	}
}

// TestNetworkRename: the owner claims the new name, too.
func TestNetworkRename(t *testing.T) {
	n := inOneChannel(t, Config{History: History{Enabled: true}}, "draft/channel-rename")
	n.say("c", "cid", "JOIN #taken")
	n.say("a", "ann", "RENAME #x #taken", "RENAME #x #y :better")
	n.same()
	if got := n.town("a").text(); !strings.Contains(got, "FAIL RENAME CHANNEL_NAME_IN_USE #x #taken") {
		t.Errorf("ann has read\n%s", got)
	}
	for at, w := range n.towns {
		if w.hall.channels["#y"] == nil || w.hall.channels["#x"] != nil {
			t.Errorf("node %s does not know the new name", at)
		}
	}
	n.say("b", "bob", "JOIN #x", "PRIVMSG #y :there")
	n.same()
	if got := n.town("c").text(); !strings.Contains(got, "PRIVMSG #y :there") {
		t.Errorf("cid has read\n%s", got)
	}
}

// TestNetworkPost: a program speaks in a channel that another node has, in its order.
func TestNetworkPost(t *testing.T) {
	n := inOneChannel(t, Config{History: History{Enabled: true}})
	at, _ := n.elsewhere()
	var id string
	var failed error
	post := func(channel string) {
		w := n.town(at)
		w.hall.PostFor(w.now, channel, "robot", "beep", func(said string, err error) { id, failed = said, err })
		n.settled()
	}
	post("#x")
	if id == "" || failed != nil {
		t.Fatalf("%q, %v", id, failed)
	}
	for _, w := range n.towns {
		if got := strings.Count(w.text(), ":robot/api!robot@"); got != 1 {
			t.Errorf("%d have read it at %s", got, w.node.Name())
		}
		if !slices.ContainsFunc(w.records, func(r Record) bool { return MsgID(r.ID) == id }) {
			t.Errorf("%s has not kept it", w.node.Name())
		}
	}
	post("#none")
	if !errors.Is(failed, ErrPost) {
		t.Errorf("a channel that there is not: %v", failed)
	}
	n.town(n.ownerOf("#x")).node.Kill()
	w := n.town(at)
	w.hall.PostFor(w.now, "#x", "robot", "beep", func(said string, err error) { id, failed = said, err })
	failed = nil
	n.net.Run(time.Minute)
	if !errors.Is(failed, ErrPost) {
		t.Errorf("an owner that is gone: %v", failed)
	}
}

// TestNetworkRecordAfterItsRemoval has a node append what it has kept after another has taken
// that out of the history: nobody gets it back.
func TestNetworkRecordAfterItsRemoval(t *testing.T) {
	n := threeNodes(t, Config{History: History{Enabled: true}})
	n.user("a", "ann", "message-tags", "echo-message", "draft/message-redaction")
	n.say("a", "ann", "JOIN #x", "PRIVMSG #x :secret")
	w := n.town("b")
	at := slices.IndexFunc(w.records, func(r Record) bool { return r.Text == "secret" })
	if at < 0 {
		t.Fatalf("node b has %v", w.records)
	}
	late, err := json.Marshal(entry{Record: &w.records[at]})
	if err != nil {
		t.Fatal(err)
	}
	n.say("a", "ann", "REDACT #x "+MsgID(w.records[at].ID))
	for _, name := range n.names() {
		w := n.town(name)
		w.news(News{Kind: Replayed, Data: late})
		if slices.ContainsFunc(w.records, func(r Record) bool { return r.Text == "secret" }) {
			t.Errorf("node %s has what was deleted", name)
		}
	}
}

// TestNetworkOfTwoVersions has a node of a later version say what this one does not know, among
// what it does: that is left out, and the rest is taken.
func TestNetworkOfTwoVersions(t *testing.T) {
	n := threeNodes(t, Config{})
	n.user("a", "ann")
	later := n.town("a").node.Self()
	later.Version = "99"
	n.town("b").news(News{Kind: NodeUp, From: later})
	n.town("b").news(News{Kind: NodeSaid, From: later, Data: []byte(`p{"l":1,"z":{"of":"later"},"o":[
		{"k":"whatever","b":[1,{"x":2}]},
		{"k":"user","b":{"u":9007199254740991,"n":"eve","i":"eve","h":"eve.host","z":7,"f":{"Z":1},"c":[{"i":5,"z":[]}]}},
		{"k":"whatever","b":null,"z":3}]}`)})
	w := n.town("b")
	w.healthy()
	if u := w.hall.find("eve"); u == nil || u.host() != "eve.host" || len(u.sessions) != 1 {
		t.Errorf("what is known was not taken: %+v", u)
	}
	if w.hall.find("ann") == nil {
		t.Error("a user of the node is not known any more")
	}
}
