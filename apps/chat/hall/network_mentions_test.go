package hall

import (
	"fmt"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/chat/fabric"
)

// A crossing is a meeting where ann gives her nick up, and eve takes it, while what bob says is on its way
// to the owner:
//
//	two: bob says a line that names ann ──── slow ────► owner
//	one: ann is now annie; eve is now ann ────────────► owner
type crossing struct{ *meeting }

// cross lets ann and eve say some lines first, and bob others then; leave is how ann gives her nick up.
func cross(t *testing.T, first, lines []string, leave string) crossing {
	m := crossing{meet(t, Config{Operators: map[string]Operator{"op": {Rights: []string{RightAll}}}})}
	m.user(m.one, "eve")
	m.say(m.one, "eve", "JOIN "+m.channel)
	m.say(m.owner, "hal", "MODE "+m.channel+" +o bob")
	m.say(m.two, "bob", "OPER op secret")
	for _, line := range first {
		name, line, _ := strings.Cut(line, " ")
		m.say(m.one, name, m.inChannel(line))
	}
	m.net.Delay(m.two, m.owner, slow)
	for _, line := range lines {
		m.say(m.two, "bob", m.inChannel(line))
	}
	m.say(m.one, "ann", leave)
	m.say(m.one, "eve", "NICK ann")
	for _, at := range m.names() {
		if u := m.town(at).hall.find("ann"); u == nil || u.name() != "eve" {
			t.Fatalf("%v: at %s eve is not ann", lines, at)
		}
	}
	m.expectAny()
	return m
}

// inChannel puts the channel for the # of a line.
func (m crossing) inChannel(line string) string { return strings.ReplaceAll(line, "#", m.channel) }

// end waits for what was late, and compares what is read of it at two and at one.
func (m crossing) end(what, two, one string) {
	m.t.Helper()
	m.late()
	m.settled()
	for _, at := range []struct {
		node fabric.Node
		want string
	}{{m.two, two}, {m.one, one}} {
		got := strings.TrimSuffix(strings.ReplaceAll(m.town(at.node).text(), m.channel, "#"), "\n")
		if got != at.want {
			m.t.Errorf("%s: at %s they have read\n%s\nwant\n%s", what, at.node, got, at.want)
		}
	}
	m.same()
}

// TestNetworkNickMovesBeforeItsCommand: what is wanted of somebody by a nick is done to whom the client was
// shown by it, however late, and never to who has it next.
func TestNetworkNickMovesBeforeItsCommand(t *testing.T) {
	outside := []string{"ann PART #", "eve PART #"}
	kicked := "ann < :bob!bob@bob.host KICK # annie :out\neve < :bob!bob@bob.host KICK # annie :out"
	voiced := "ann < :bob!bob@bob.host MODE # +v annie\neve < :bob!bob@bob.host MODE # +v annie"
	said := "ann < :bob!bob@bob.host PRIVMSG # :psst\neve < :bob!bob@bob.host PRIVMSG # :psst\n"
	for _, c := range []struct {
		first, lines []string
		two, one     string
	}{
		{nil, []string{"KICK # ann :out"}, "bob < :bob!bob@bob.host KICK # annie :out", kicked},
		{nil, []string{"CS KICK # ann out"}, "bob < :bob!bob@bob.host KICK # annie :out", kicked},
		{nil, []string{"MODE # +v ann"}, "bob < :bob!bob@bob.host MODE # +v annie", voiced},
		{nil, []string{"PRIVMSG ChanServ :VOICE # ann"}, "bob < :bob!bob@bob.host MODE # +v annie", voiced},
		{nil, []string{"SAMODE # +v ann"}, "bob < :b.example MODE # +v annie", strings.ReplaceAll(voiced, "bob!bob@bob.host", "b.example")},
		{outside, []string{"INVITE ann #"}, "bob < :b.example 341 bob annie :#", "ann < :bob!bob@bob.host INVITE annie #"},
		{outside, []string{"SAJOIN ann #"}, "bob < :annie!ann@ann.host JOIN #",
			"ann < :annie!ann@ann.host JOIN #\nann < :a.example 353 annie = # :@hal @bob annie\nann < :a.example 366 annie # :End of /NAMES list"},
		// These wait for the owner first.
		{nil, []string{"PRIVMSG #,ann :psst"}, "", said + "ann < :bob!bob@bob.host PRIVMSG annie :psst"},
		{nil, []string{"PRIVMSG # :psst", "KICK # ann :out"}, "bob < :bob!bob@bob.host KICK # annie :out", said + kicked},
	} {
		cross(t, c.first, c.lines, "NICK annie").end(fmt.Sprint(c.lines), c.two, c.one)
	}
}

// TestNetworkCommandAboutSomebodyWhoIsGone: who has the nick of somebody who is gone is not meant.
func TestNetworkCommandAboutSomebodyWhoIsGone(t *testing.T) {
	for _, line := range []string{"KICK # ann :out", "MODE # +v ann", "INVITE ann #", "CS KICK # ann"} {
		cross(t, []string{"eve PART #"}, []string{line}, "QUIT").end(line, "bob < :b.example 401 bob ann :No such nick", "")
	}
}

// TestNetworkCommandOfAnOlderNode: where the sender does not say whom a nick means, it is who has it.
func TestNetworkCommandOfAnOlderNode(t *testing.T) {
	m := cross(t, nil, nil, "NICK annie")
	by, w := m.town(m.two), m.town(m.owner)
	run := fmt.Appendf(nil, `p{"l":1,"o":[{"k":"run","b":{"r":1000,"s":%d,"c":"KICK","p":[%q,"ann","out"]}}]}`, by.names["bob"], m.channel)
	w.news(News{Kind: NodeSaid, From: by.hall.net.self, Data: run})
	m.end("KICK", "bob < :bob!bob@bob.host KICK # ann :out", "ann < :bob!bob@bob.host KICK # ann :out\neve < :bob!bob@bob.host KICK # ann :out")
}

// TestNetworkNickMovesBeforeAnEdit: the new text of a message is for whom the old one was for.
func TestNetworkNickMovesBeforeAnEdit(t *testing.T) {
	m := meet(t, Config{History: History{Enabled: true}, Registration: Registration{Enabled: true}})
	m.user(m.one, "eve")
	m.say(m.one, "ann", "NS REGISTER secret")
	m.say(m.two, "bob", "NS REGISTER secret")
	m.say(m.two, "bob", "CAP REQ :message-tags draft/message-editing", "PRIVMSG ann :old")
	records := m.town(m.one).records
	old := MsgID(records[len(records)-1].ID)
	m.net.Delay(m.two, m.owner, slow)
	m.say(m.two, "bob", "PRIVMSG "+m.channel+" :hi", "@+draft/edit="+old+" PRIVMSG ann :new")
	m.say(m.one, "ann", "NICK annie")
	m.say(m.one, "eve", "NICK ann")
	m.expectAny()
	m.late()
	m.settled()
	want := "ann < :bob!bob@bob.host PRIVMSG " + m.channel + " :hi\nann < :bob!bob@bob.host PRIVMSG ann :new\n"
	if got := m.town(m.one).text(); got != want {
		t.Errorf("ann and eve have read\n%swant\n%s", got, want)
	}
	m.same()
}
