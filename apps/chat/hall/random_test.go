package hall

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

var randomCommands = flag.Int("hall.commands", 10_000, "how many random commands TestRandomCommands gives, 1000000 in its long form")

// A chance makes random lines of clients: mostly what real ones send, with now and then
// a parameter that is missing, empty, too long or not what was meant.
type chance struct{ *rand.Rand }

func (c chance) of(words ...string) string { return words[c.IntN(len(words))] }

func (c chance) nick() string {
	nick := fmt.Sprintf("n%d", c.IntN(60))
	if c.IntN(6) == 0 {
		nick = strings.ToUpper(nick)
	}
	return nick
}

func (c chance) channel() string {
	name := fmt.Sprintf("#c%d", c.IntN(12))
	if c.IntN(6) == 0 {
		name = strings.ToUpper(name)
	}
	return name
}

func (c chance) text() string {
	switch c.IntN(8) {
	case 0:
		return ":" + strings.Repeat("é", c.IntN(200))
	case 1:
		return ":\x01VERSION\x01"
	case 2:
		return ":"
	case 3:
		return ""
	}
	return ":some words of no account"
}

func (c chance) list(one func() string) string {
	words := make([]string, 1+c.IntN(3))
	for i := range words {
		words[i] = one()
	}
	return strings.Join(words, ",")
}

func (c chance) target() string {
	switch c.IntN(4) {
	case 0:
		return c.nick()
	case 1:
		return c.of("@", "+", "~", "%+") + c.channel()
	}
	return c.channel()
}

func (c chance) mask() string {
	return c.of(c.nick(), c.nick()+"!*@*", "*!*@host1", "m:"+c.nick(), "a:acc*", "r:*real*", "j:"+c.channel(), "m:a:acc1", "*", "a:")
}

func (c chance) modes() string {
	switch c.IntN(6) {
	case 0:
		return c.of("+", "-") + c.of("b", "e", "I") + " " + c.mask()
	case 1:
		return c.of("+", "-") + c.of("q", "a", "o", "h", "v") + " " + c.nick()
	case 2:
		return c.of("+k key", "-k", "-k key", "+k :", "+l 3", "-l", "+l 0", "+l x", "+f "+c.channel(), "-f", "+f")
	case 3:
		return c.of("+ov", "+bb-b", "+vvvvvvvv") + " " + c.nick() + " " + c.nick() + " " + c.mask()
	case 4:
		return c.of("b", "e", "I", "+b", "z", "+")
	}
	return c.of("+", "-") + string("CEMRTUimnstu"[c.IntN(12)]) + c.of("", "-i", "+mn", "-mMU")
}

func (c chance) tags() string {
	switch c.IntN(10) {
	case 0:
		return "@label=l" + fmt.Sprint(c.IntN(100)) + " "
	case 1:
		return "@+react=x;+typing=active;other=1 "
	case 2:
		return "@+big=" + strings.Repeat("x", c.IntN(4000)) + " "
	case 3:
		return "@label=l7;+reply=abc;batch=b1 "
	}
	return ""
}

// line returns what a client sends.
func (c chance) line() string {
	switch c.IntN(45) {
	case 0, 1, 2, 3:
		return c.of("PRIVMSG ", "NOTICE ", "TAGMSG ") + c.list(c.target) + " " + c.text()
	case 4, 5, 6, 7, 8:
		return "JOIN " + c.list(c.channel) + " " + c.of("", "key", "key,key")
	case 9:
		return c.of("JOIN 0", "JOIN #", "JOIN #a,,#b", "JOIN :# x")
	case 10, 11:
		return "PART " + c.list(c.channel) + " " + c.text()
	case 12, 13, 14, 15, 16:
		return "MODE " + c.channel() + " " + c.modes()
	case 17:
		return "MODE " + c.nick() + " " + c.of("", "+iw", "-iw", "+BgRT", "-BgRTo", "+oZ", "+x")
	case 18:
		return "TOPIC " + c.channel() + " " + c.text()
	case 19:
		return "KICK " + c.list(c.channel) + " " + c.list(c.nick) + " " + c.text()
	case 20, 21:
		return "INVITE " + c.nick() + " " + c.channel()
	case 22, 23:
		return "NICK " + c.of(c.nick(), c.nick(), "*", "", ":", "1x", strings.Repeat("x", 40), "NickServ")
	case 24:
		return "AWAY " + c.text()
	case 25:
		return "SETNAME " + c.text()
	case 26:
		return "WHO " + c.of(c.channel(), c.nick(), "n*", "*", "") + " " + c.of("", "%tcuihsnfdlaor,12", "o")
	case 27:
		return c.of("WHOIS ", "WHOWAS ", "USERHOST ", "ISON ") + c.nick()
	case 28:
		return "MONITOR " + c.of("+ ", "- ") + c.list(c.nick)
	case 29:
		return c.of("MONITOR "+c.of("L", "S", "C", "x"),
			"METADATA "+c.of("*", c.nick(), c.channel())+c.of(" SET a :x", " SET b :"+c.text(), " SET a", " SUB a b", " UNSUB a", " SYNC", " LIST", " CLEAR", " GET a"))
	case 30:
		return "LIST " + c.of("", "#c1,#c2", "*1,!*2", ">1", "C>0,T<5")
	case 31:
		return "NAMES " + c.of("", c.list(c.channel))
	case 32:
		return "CAP " + c.of("LS", "LS 302", "LIST", "END", "REQ :echo-message labeled-response batch", "REQ :-echo-message", "REQ :draft/multiline message-tags batch server-time", "REQ :extended-join away-notify", "REQ :-message-tags", "REQ :chghost setname", "REQ :nothing")
	case 33:
		return c.of("BATCH +b1 draft/multiline "+c.target(), "BATCH -b1", "@batch=b1 PRIVMSG "+c.target()+" "+c.text(), "@batch=b1;draft/multiline-concat PRIVMSG "+c.target()+" :x")
	case 34:
		return "RENAME " + c.channel() + " " + c.of(c.channel(), "#new", "#") + " " + c.text()
	case 35:
		return c.of("OPER op secret", "OPER op wrong", "ACCEPT "+c.list(c.nick), "ACCEPT *", "ACCEPT -"+c.nick(), "LUSERS", "STATS u", "STATS m", "HELP", "HELP JOIN", "LINKS", "INFO", "VERSION", "ADMIN", "TIME", "MOTD")
	case 36:
		return c.of("AUTHENTICATE PLAIN", "AUTHENTICATE AGFjYzEAcHc=", "AUTHENTICATE *", "AUTHENTICATE EXTERNAL", "AUTHENTICATE SCRAM-SHA-256", "AUTHENTICATE !!", "NS IDENTIFY acc1 pw", "NS LOGOUT", "NS REGISTER password", "NS SET MULTICLIENT OFF", "NS SET ALWAYS-ON TRUE", "NS SET ALWAYS-ON TRUE", "NS SET ALWAYS-ON FALSE", "PERSISTENCE SET ON", "PERSISTENCE SET DEFAULT", "PERSISTENCE GET", "NS PASSWD pw pw", "NS GHOST "+c.nick(), "NS RECOVER "+c.nick(), "NS INFO", "NS INFO acc1", "NS LIST", "NS SUSPEND acc2", "NS UNREGISTER wrong")
	case 37:
		return c.of("RELAYMSG ", "NPC ") + c.channel() + " " + c.of("a/b", "bilbo", "x!y/z") + " " + c.text()
	case 38:
		return c.of("CS OP ", "CS VOICE ", "CS DEOP ", "CS REGISTER ", "CS REGISTER ", "CS DROP ", "CS INFO ", "CS KICK ", "CS BAN ", "CS UNBAN ") + c.channel() + " " + c.nick()
	case 39:
		return c.of("KILL "+c.nick(), "WALLOPS :hello", "KLINE 1m n5!*@*", "UNKLINE n5!*@*", "DLINE 192.0.2.7", "CHGHOST "+c.nick()+" x h.example", "SAJOIN "+c.nick()+" "+c.channel(), "SAMODE "+c.channel()+" +qa "+c.nick()+" "+c.nick())
	case 40:
		return c.of("", "X", "PRIVMSG", "MODE", "NICK", "\xff\xfe", "JOIN \xff", "PING", "PING :", "PONG x", strings.Repeat("x", 600), "@"+strings.Repeat("y", 5000)+" PING x")
	case 41:
		return "SCENE " + c.channel() + " dark and stormy"
	case 43:
		return c.of("CS TRANSFER "+c.channel()+" acc2", "CS AMODE "+c.channel(), "CS AMODE "+c.channel()+" "+c.of("+o", "-o", "+vh", "+q")+" acc1", "CS LIST")
	case 42:
		return c.of("REHASH", "ISUPPORT", "REGISTER * * secret1", "VERIFY acc1 code", "INVITE", "QUIT "+c.text())
	}
	return "PING x"
}

// playRandomly lets 50 clients send random lines, and returns a hash of all that came
// back.
func playRandomly(t *testing.T, seed uint64, commands int) string {
	w := newWorld(t, Config{
		History:    History{Enabled: true, Replay: 5},
		Mechanisms: []string{"PLAIN", "SCRAM-SHA-256", "EXTERNAL"}, Registration: Registration{Enabled: true},
		Operators: map[string]Operator{"op": {Rights: []string{RightAll}}}, RelayMsg: true, Roleplay: true, Channels: 5, List: 4, Invites: 3, Monitor: 5, WhoWas: 20,
	})
	w.accounts["acc1"], w.accounts["acc2"] = "pw", "pw"
	c := chance{rand.New(rand.NewPCG(seed, 1))}
	hash := sha256.New()
	clients := make([]SessionID, 50)
	for i := range commands {
		w.now += int64(c.IntN(2000))
		n := c.IntN(len(clients))
		s := w.sessions[clients[n]]
		sent := "(nothing)"
		switch {
		case s == nil:
			clients[n] = w.open(fmt.Sprint("client", n), Origin{
				Host: fmt.Sprint("host", n%5), Address: fmt.Sprint("192.0.2.", n), Secure: n%3 == 0, Fingerprint: []string{"", "cafe"}[n%2],
			})
		case s.closed || c.IntN(300) == 0:
			w.close(clients[n], "Connection closed")
		case !s.registered && c.IntN(2) == 0:
			sent = c.of("NICK "+c.nick(), "USER u"+fmt.Sprint(n)+" 0 * :The real name", "CAP END")
			w.line(clients[n], sent)
		default:
			sent = c.tags() + c.line()
			w.line(clients[n], sent)
		}
		hash.Write([]byte(w.text()))
		w.healthy()
		if t.Failed() {
			t.Fatalf("after command %d with the seed %d, client %d: %q", i, seed, n, sent)
		}
	}
	return hex.EncodeToString(hash.Sum(nil))
}

func TestRandomCommands(t *testing.T) {
	for seed := range uint64(2) {
		first := playRandomly(t, seed, *randomCommands/2)
		if again := playRandomly(t, seed, *randomCommands/2); again != first {
			t.Errorf("the seed %d gave two different outputs", seed)
		}
	}
}
