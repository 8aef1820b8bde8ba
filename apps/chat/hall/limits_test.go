package hall

import (
	"fmt"
	"strings"
	"testing"
)

// xs returns n letters.
func xs(n int) string { return strings.Repeat("x", n) }

// times returns n numbered forms with commas between them.
func times(n int, format string) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(format, i))
	}
	return strings.Join(all, ",")
}

// TestLimits goes to each limit of the default configuration, one below it and one above.
func TestLimits(t *testing.T) {
	one := func(format string, fill func(int) string) func(int) []string {
		return func(n int) []string { return []string{fmt.Sprintf(format, fill(n))} }
	}
	for _, test := range []struct {
		what   string
		limit  int
		say    func(n int) []string // the answers to the last line are looked at
		within func(n int) string   // in an answer while n is within the limit
		beyond string               // in one when it is not, and in none before; with %s for what was cut
	}{
		{"nick", 32, one("NICK %s", xs), func(n int) string { return " NICK " + xs(n) }, " 432 "},
		{"channel", 64, one("JOIN #%s", func(n int) string { return xs(n - 1) }), func(n int) string { return " 366 me #" + xs(n-1) + " " }, " 403 "},
		{"topic", 390, one("TOPIC #a :%s", xs), func(n int) string { return " TOPIC #a :" + xs(n) + "\n" }, " TOPIC #a :" + xs(390) + "\n"},
		{"reason of KICK", 390, one("KICK #a me :%s", xs), func(n int) string { return " KICK #a me :" + xs(n) + "\n" }, " KICK #a me :" + xs(390) + "\n"},
		{"reason of PART", 390, one("PART #a :%s", xs), func(n int) string { return " PART #a :" + xs(n) + "\n" }, " PART #a :" + xs(390) + "\n"},
		{"reason of QUIT", 390, one("QUIT :%s", xs), func(n int) string { return " QUIT :Quit: " + xs(n) + "\n" }, " QUIT :Quit: " + xs(390) + "\n"},
		{
			"away", 390, func(n int) []string { return []string{"AWAY :" + xs(n), "WHOIS me"} },
			func(n int) string { return " 301 me me :" + xs(n) + "\n" }, " 301 me me :" + xs(390) + "\n",
		},
		{"real name", 150, one("SETNAME :%s", xs), func(n int) string { return " SETNAME :" + xs(n) + "\n" }, "FAIL SETNAME INVALID_REALNAME"},
		{"key", 32, one("MODE #a +k %s", xs), func(n int) string { return " MODE #a +k " + xs(n) }, " 696 "},
		{"mask", 200, one("MODE #a +b %s!*@*", func(n int) string { return xs(n - len("!*@*")) }), func(n int) string { return " MODE #a +b " + xs(n-4) + "!*@*" }, " 696 "},
		{
			"channels", 100, func(n int) []string { return append(strings.Split("JOIN "+times(n-2, "#%d"), "\n"), "JOIN #last") },
			func(int) string { return " 366 me #last " }, " 405 me #last ",
		},
		{
			"bans", 100, func(n int) (all []string) {
				for i := range n {
					all = append(all, fmt.Sprintf("MODE #a +b %d!*@*", i))
				}
				return all
			},
			func(n int) string { return fmt.Sprintf(" MODE #a +b %d!*@*", n-1) }, " 478 ",
		},
		{"MONITOR", 100, one("MONITOR + %s", func(n int) string { return times(n, "n%d") }), func(n int) string { return fmt.Sprintf(",n%d", n-1) }, " 734 me 100 n100 "},
		{
			"modes", 6, func(n int) []string {
				return []string{"MODE #a +" + strings.Repeat("b", n) + strings.ReplaceAll(","+times(n, "%d!*@*"), ",", " ")}
			},
			func(n int) string { return fmt.Sprintf(" MODE #a +%s 0!*@*", strings.Repeat("b", n)) }, " MODE #a +bbbbbb 0!*@* 1!*@* 2!*@* 3!*@* 4!*@* 5!*@*\n",
		},
		{"targets", 4, one("PRIVMSG %s :hi", func(n int) string { return times(n, "no%d") }), func(n int) string { return fmt.Sprintf(" 401 me no%d ", n-1) }, " 407 me no4 "},
		{"line", 512, one("PING :%s", func(n int) string { return xs(n - len("PING :\r\n")) }), func(int) string { return "PONG irc.example.org :xxx" }, " 417 "},
		{"tags", 4094, one("@+a=%s TAGMSG me", func(n int) string { return xs(n - len("+a=")) }), func(n int) string { return "+a=" + xs(n-3) }, " 417 "},
		{"label", 64, one("@label=%s PING a", xs), func(n int) string { return "label=" + xs(n) }, "PONG irc.example.org :a"},
		{
			"lines of a batch", 100, func(n int) []string {
				all := []string{"BATCH +b draft/multiline #a"}
				for range n {
					all = append(all, "@batch=b PRIVMSG #a :x")
				}
				return append(all, "BATCH -b")
			},
			func(int) string { return "BATCH +" }, "",
		},
		{
			"bytes of a batch", 4096, func(n int) []string {
				all := []string{"BATCH +b draft/multiline #a"}
				for n > 256 {
					all = append(all, "@batch=b;draft/multiline-concat PRIVMSG #a :"+xs(256))
					n -= 256
				}
				return append(all, "@batch=b;draft/multiline-concat PRIVMSG #a :"+xs(n), "BATCH -b")
			},
			func(int) string { return "BATCH +" }, "",
		},
		{"part of a login", 400, func(n int) []string { return []string{"AUTHENTICATE PLAIN", "AUTHENTICATE " + strings.Repeat("A", n)} }, func(n int) string {
			if n < 400 {
				return " 904 " // it is the last one, and says nothing
			}
			return ""
		}, " 905 "},
	} {
		for _, n := range []int{test.limit - 1, test.limit, test.limit + 1} {
			said := sayAll(t, test.say(n))
			want := test.beyond
			if n <= test.limit {
				want = test.within(n)
				if test.beyond != "" && test.beyond[0] == ' ' && test.beyond[len(test.beyond)-1] == ' ' && strings.Contains(said, test.beyond) {
					t.Errorf("%s of %d: refused: %q", test.what, n, said)
				}
			}
			if !strings.Contains(said, want) {
				t.Errorf("%s of %d: %q, want %q", test.what, n, said, want)
			}
			if test.beyond == "" && n > test.limit && said != "" {
				t.Errorf("%s of %d: %q, want nothing", test.what, n, said)
			}
		}
	}
}

// sayAll lets somebody say lines, and returns what they get for the last one.
func sayAll(t *testing.T, lines []string) string {
	t.Helper()
	w := newWorld(t, Config{Mechanisms: []string{"PLAIN"}})
	me := w.open("me", Origin{Host: "host", Address: "192.0.2.1"})
	for _, line := range []string{
		"CAP REQ :echo-message message-tags batch draft/multiline", "CAP REQ :labeled-response setname sasl", "NICK me", "USER me 0 * :Me", "CAP END", "JOIN #a",
	} {
		w.line(me, line)
	}
	for i, line := range lines {
		if i == len(lines)-1 {
			w.look()
		}
		w.line(me, line)
	}
	said := w.text()
	w.healthy()
	return said
}
