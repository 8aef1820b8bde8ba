package hall

import (
	"fmt"
	"strings"
	"testing"
)

// usages has a good use of commands, for TestBadParameters to spoil.
var usages = map[string][]string{
	"ACCEPT": {"bob"}, "ADMIN": {"irc.example.org"}, "AUTHENTICATE": {"PLAIN"}, "AWAY": {":gone"}, "BATCH": {"+b", "draft/multiline", "#a"},
	"CAP": {"LS", "302"}, "CHATHISTORY": {"LATEST", "#a", "*", "5"}, "CHANSERV": {"INFO", "#a"}, "CHGHOST": {"bob", "x", "h.example"}, "CS": {"AMODE", "#a", "+o", "acc"}, "DIE": nil,
	"DLINE": {"10", "192.0.2.9", ":reason"}, "HELP": {"JOIN"}, "HELPOP": {"JOIN"}, "INFO": {"irc.example.org"}, "INVITE": {"bob", "#a"},
	"ISON": {"bob", "me"}, "ISUPPORT": nil, "JOIN": {"#b,#c", "k,l"}, "KICK": {"#a", "bob", ":reason"}, "KILL": {"nobody", ":reason"},
	"KLINE": {"10", "x!y@z", ":reason"}, "LINKS": nil, "LIST": {"#a,>0"}, "LUSERS": nil, "MODE": {"#a", "+bkl", "x", "k", "5"},
	"MONITOR": {"+", "bob,carol"}, "MOTD": {"irc.example.org"}, "NAMES": {"#a,#b"}, "NICK": {"me2"}, "NICKSERV": {"IDENTIFY", "acc", "pw"},
	"NOTICE": {"bob,#a", ":hi"}, "NPC": {"#a", "bilbo", ":hi"}, "NS": {"INFO", "acc"}, "OPER": {"root", "wrong"}, "PART": {"#b,#a", ":reason"},
	"PASS": {"x"}, "PERSISTENCE": {"SET", "ON"}, "PING": {"x", "y"}, "PONG": {"x"}, "PRIVMSG": {"bob,@#a", ":hi"}, "QUIT": nil, "MARKREAD": {"#a", "timestamp=2020-01-01T00:00:00.000Z"}, "SEARCH": {"text=x;in=#a"}, "REDACT": {"#a", "0000000000001", ":spam"}, "REGISTER": {"*", "*", "secret"}, "REHASH": nil,
	"RELAYMSG": {"#a", "x/y", ":hi"}, "RENAME": {"#a", "#a2", ":reason"}, "RESTART": nil, "SAJOIN": {"bob", "#d"}, "SAMODE": {"#a", "+v", "me"},
	"SCENE": {"#a", ":it rains"}, "SETNAME": {":Me"}, "STATS": {"u"}, "TAGMSG": {"bob,#a"}, "TIME": {"irc.example.org"}, "TOPIC": {"#a", ":topic"},
	"UNDLINE": {"192.0.2.9"}, "UNKLINE": {"x!y@z"}, "USER": {"x", "0", "*", ":X"}, "USERHOST": {"bob", "me"}, "VERIFY": {"acc", "code"},
	"VERSION": {"irc.example.org"}, "WALLOPS": {":hi"}, "WEBIRC": {"pw", "gw", "h.example", "192.0.2.3"}, "WHO": {"#a", "%tcuihsnfdlaor,12"},
	"WHOIS": {"irc.example.org", "bob"}, "WEBPUSH": {"REGISTER", "https://push.example/x", "p256dh=a;auth=b"}, "WHOWAS": {"bob", "1"},
}

// bad are parameters as they should not be.
var bad = []string{
	":", ":" + strings.Repeat("x", 480), strings.Repeat("é", 240), "#" + strings.Repeat("x", 479), strings.Repeat("x,", 240), strings.Repeat("#x,", 160),
	":  ", ": a b", "::", "\ufeff", "\ufeff#a", "#a\ufeff", "\x01", "\x02\x03", "\u202ebob", "*", "?", "#*", "0", "-1", "99999999999999999999", "@", "@#", "+", "-",
	"+" + strings.Repeat("b", 300), "\u0000", "\t", distinct(120), "!", "!@", "a!b@c", ",", ",,", "#,", "%", "~&@%+#a", "\U0010ffff", "#\u200b",
}

// distinct returns so many nicks.
func distinct(n int) string {
	var nicks []string
	for i := range n {
		nicks = append(nicks, fmt.Sprintf("n%d", i))
	}
	return strings.Join(nicks, ",")
}

// TestBadParameters gives every command each of its parameters missing, too many, and as
// it should not be: by somebody with all rights, by anybody, and before the registration.
// Whatever the answer, it is a line that can be written, and the session goes on.
func TestBadParameters(t *testing.T) {
	for name := range commands {
		params, known := usages[name]
		if !known {
			params = []string{"a", "b", "c"}
		}
		t.Run(name, func(t *testing.T) {
			for n := range len(params) + 1 {
				spoil(t, name, params[:n])
			}
			spoil(t, name, append(params[:len(params):len(params)], strings.Fields(strings.Repeat("x ", 15))...))
			for i := range params {
				for _, b := range bad {
					spoiled := append([]string(nil), params...)
					spoiled[i] = b
					spoil(t, name, spoiled)
				}
			}
		})
	}
}

// spoil sends a line as three clients, and looks whether each is answered afterwards.
func spoil(t *testing.T, name string, params []string) {
	t.Helper()
	line := strings.TrimSpace(name + " " + strings.Join(params, " "))
	w := newWorld(t, Config{
		History: History{Enabled: true, Replay: 5},
		Name:    strings.Repeat("s", 59) + ".org",
		VAPID:   "KEY", Mechanisms: []string{"PLAIN"}, Registration: Registration{Enabled: true, BeforeConnect: true}, RelayMsg: true, Roleplay: true, UnicodeNicks: true, ReserveNicks: true,
		Operators: map[string]Operator{"root": {Rights: []string{RightAll}}}, MOTD: []string{"welcome"}, Monitor: 3,
	})
	w.accounts["acc"] = "pw"
	for _, nick := range []string{"bob", "me"} {
		id := w.open(nick, Origin{Host: strings.Repeat("h", 63), Address: "192.0.2.1"})
		for _, said := range []string{"CAP REQ :batch labeled-response draft/multiline message-tags echo-message", "NICK " + nick, "USER xxxxxxxxxxxxxxxxxx 0 * :X", "CAP END", "JOIN #a"} {
			w.line(id, said)
		}
	}
	w.line(w.names["me"], "NICK "+strings.Repeat("m", 32))
	w.line(w.names["me"], "OPER root secret")
	w.line(w.names["bob"], "MODE #a +E")
	w.open("new", Origin{Host: "new.host", Address: "192.0.2.1", Gateway: true})
	for _, who := range []string{"new", "bob", "me"} {
		for _, label := range []string{"", "@label=x "} {
			w.look()
			w.line(w.names[who], label+line)
			if c := w.sessions[w.names[who]]; c.closed {
				continue
			}
			w.line(w.names[who], "AUTHENTICATE *")
			w.line(w.names[who], "PING :still here")
			if said := w.text(); !strings.Contains(said, "still here") {
				t.Errorf("%s: after %q there was %q", who, line, said)
			}
		}
	}
	for _, look := range []string{"STATS k", "STATS d", "MODE #a b", "MODE #a", "WHO *", "NAMES", "LIST", "WHOIS bob", "ACCEPT *", "MONITOR L", "CS LIST", "NS LIST"} {
		w.line(w.names["me"], look)
	}
	w.healthy()
	if t.Failed() {
		t.Fatalf("after %q", line)
	}
}
