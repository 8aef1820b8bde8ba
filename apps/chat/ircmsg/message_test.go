package ircmsg

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// parsed writes the parts of a message so that they can be compared at a
// glance.
func parsed(m *Message) string {
	var out strings.Builder
	for key, value := range m.Tags.All() {
		fmt.Fprintf(&out, "%s=%q ", key, value)
	}
	if m.Source != "" {
		fmt.Fprintf(&out, "from %q ", m.Source)
	}
	fmt.Fprintf(&out, "%s %q", m.Command, m.Params)
	return out.String()
}

func TestParse(t *testing.T) {
	for line, want := range map[string]string{
		"PING":                                `PING []`,
		"PING ":                               `PING []`,
		"  PING  a":                           `PING ["a"]`,
		"join #a,#b key":                      `join ["#a,#b" "key"]`,
		"PRIVMSG #a :":                        `PRIVMSG ["#a" ""]`,
		"PRIVMSG #a ::":                       `PRIVMSG ["#a" ":"]`,
		"PRIVMSG #a : b  c ":                  `PRIVMSG ["#a" " b  c "]`,
		"PRIVMSG #a b:c":                      `PRIVMSG ["#a" "b:c"]`,
		"PRIVMSG  #a   b  ":                   `PRIVMSG ["#a" "b"]`,
		"PRIVMSG #a\tb":                       `PRIVMSG ["#a\tb"]`,
		":n!u@h PART #a":                      `from "n!u@h" PART ["#a"]`,
		":a\tb  001  c":                       `from "a\tb" 001 ["c"]`,
		": PING":                              `PING []`,
		"@ PING":                              `PING []`,
		"@; PING":                             `PING []`,
		"@a PING":                             `a="" PING []`,
		"@a= PING":                            `a="" PING []`,
		"@a=b;c;+d/e=f=g :s PING x":           `a="b" c="" +d/e="f=g" from "s" PING ["x"]`,
		"@a=1;a=2   PING":                     `a="1" a="2" PING []`,
		`@a=\:\s\\\r\n\x\ PING`:               `a="; \\\r\nx" PING []`,
		`@a=\\:\\s PING`:                      `a="\\:\\s" PING []`,
		"a 1 2 3 4 5 6 7 8 9 0 1 2 3 4":       `a ["1" "2" "3" "4" "5" "6" "7" "8" "9" "0" "1" "2" "3" "4"]`,
		"a 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 :6 ": `a ["1" "2" "3" "4" "5" "6" "7" "8" "9" "0" "1" "2" "3" "4" "5 :6 "]`,
		"a 1 2 3 4 5 6 7 8 9 0 1 2 3 4 :5 6":  `a ["1" "2" "3" "4" "5" "6" "7" "8" "9" "0" "1" "2" "3" "4" "5 6"]`,
	} {
		var m Message
		if err := m.Parse(line, FromClient); err != nil {
			t.Errorf("%q: %v", line, err)
		} else if got := parsed(&m); got != want {
			t.Errorf("%q is\n%s, should be\n%s", line, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for line, want := range map[string]error{
		"":                ErrEmpty,
		"   ":             ErrEmpty,
		":":               ErrEmpty,
		":source":         ErrNoCommand,
		":source ":        ErrNoCommand,
		"@tag":            ErrNoCommand,
		"@tag :source":    ErrNoCommand,
		"@tag @tag PING":  ErrNoCommand,
		" @tag PING":      ErrNoCommand,
		":source :PING":   ErrNoCommand,
		"PING\x00":        ErrBadByte,
		"PING a\rb":       ErrBadByte,
		"PING a\n":        ErrBadByte,
		"@a=\x00 PING":    ErrBadByte,
		"PRIVMSG a :\r\n": ErrBadByte,
	} {
		var m Message
		if err := m.Parse(line, FromClient); !errors.Is(err, want) {
			t.Errorf("%q: %v, should be %v", line, err, want)
		}
	}
}

func TestParseAtTheLimits(t *testing.T) {
	for _, limits := range []Limits{FromClient, FromServer, {Line: 100, Tags: 20}} {
		for over := -1; over <= 1; over++ {
			line := "PRIVMSG a :" + strings.Repeat("x", limits.Line-len("PRIVMSG a :\r\n")+over)
			tags := "+a=" + strings.Repeat("y", limits.Tags-len("+a=")+over)
			for text, wrong := range map[string]error{
				line:                    ErrTooLong,
				"@a=b " + line:          ErrTooLong,
				"@" + tags + " PING":    ErrTagsTooLong,
				"@" + tags + " " + line: ErrTagsTooLong,
			} {
				if over <= 0 {
					wrong = nil
				}
				var m Message
				if err := m.Parse(text, limits); !errors.Is(err, wrong) {
					t.Errorf("%v, %+d, %.20q…: %v, should be %v", limits, over, text, err, wrong)
				}
			}
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	var m Message
	if n := testing.AllocsPerRun(100, func() {
		if err := m.Parse(":nick!user@host PRIVMSG #channel,nick :some text here", FromClient); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("parsing allocates %v times", n)
	}
}

func TestParam(t *testing.T) {
	m := Message{Params: []string{"a", "b"}}
	if got := m.Param(0) + m.Param(1) + m.Param(2); got != "ab" {
		t.Errorf("parameters are %q", got)
	}
}

func TestAppend(t *testing.T) {
	for _, c := range []struct {
		m    Message
		want string
	}{
		{Message{Command: "PING"}, "PING\r\n"},
		{Message{Command: "PING", Params: []string{""}}, "PING :\r\n"},
		{Message{Command: "PING", Params: []string{":a"}}, "PING ::a\r\n"},
		{Message{Command: "PING", Params: []string{"a b"}}, "PING :a b\r\n"},
		{Message{Command: "JOIN", Params: []string{"#a", "k"}}, "JOIN #a k\r\n"},
		{Message{Source: "s", Command: "TOPIC", Params: []string{"#a", "t"}, Text: true}, ":s TOPIC #a :t\r\n"},
		{Message{Tags: "a=b;c", Source: "s", Command: "001", Params: []string{"a\tb"}}, "@a=b;c :s 001 a\tb\r\n"},
	} {
		got, err := c.m.Append([]byte("…"), FromServer)
		if err != nil || string(got) != "…"+c.want {
			t.Errorf("%+v is %q, %v", c.m, got, err)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	long := strings.Repeat("x", 512)
	for name, c := range map[string]struct {
		m    Message
		want error
	}{
		"no command":             {Message{}, ErrInvalid},
		"space in command":       {Message{Command: "A B"}, ErrInvalid},
		"colon before command":   {Message{Command: ":A"}, ErrInvalid},
		"at sign before command": {Message{Command: "@A"}, ErrInvalid},
		"space in source":        {Message{Source: "a b", Command: "A"}, ErrInvalid},
		"LF in source":           {Message{Source: "a\nb", Command: "A"}, ErrInvalid},
		"empty middle":           {Message{Command: "A", Params: []string{"", "b"}}, ErrInvalid},
		"space in middle":        {Message{Command: "A", Params: []string{"a b", "b"}}, ErrInvalid},
		"colon before middle":    {Message{Command: "A", Params: []string{":a", "b"}}, ErrInvalid},
		"NUL in middle":          {Message{Command: "A", Params: []string{"a\x00", "b"}}, ErrInvalid},
		"CR in last":             {Message{Command: "A", Params: []string{"a\rb"}}, ErrInvalid},
		"sixteen parameters":     {Message{Command: "A", Params: slices.Repeat([]string{"a"}, 16)}, ErrInvalid},
		"space in tags":          {Message{Tags: "a=b c", Command: "A"}, ErrInvalid},
		"NUL in tags":            {Message{Tags: "a=\x00", Command: "A"}, ErrInvalid},
		"long tags":              {Message{Tags: Tags(strings.Repeat("a", 8190)), Command: "A"}, ErrTagsTooLong},
		"long last":              {Message{Command: "A", Params: []string{long}}, ErrTooLong},
		"long middle, text":      {Message{Command: "A", Params: []string{long, "b"}, Text: true}, ErrTooLong},
		"long command":           {Message{Command: long}, ErrTooLong},
	} {
		got, err := c.m.Append([]byte("before"), FromServer)
		if !errors.Is(err, c.want) || string(got) != "before" {
			t.Errorf("%s: %q, %v, should be %v", name, got, err, c.want)
		}
	}
}

// TestTextIsCutAtCharacters lets text of characters of 1 to 4 bytes grow over
// the end of the line.
func TestTextIsCutAtCharacters(t *testing.T) {
	for _, character := range []string{"a", "é", "한", "🎈"} {
		for n := range 600 {
			m := Message{Source: "nick!user@host", Command: "PRIVMSG", Params: []string{"#a", strings.Repeat(character, n)}, Text: true}
			line, err := m.Append(nil, FromServer)
			if err != nil {
				t.Fatal(err)
			}
			head := ":nick!user@host PRIVMSG #a :"
			fits := min(n, (510-len(head))/len(character))
			if want := head + strings.Repeat(character, fits) + "\r\n"; string(line) != want {
				t.Fatalf("%d of %q: %d bytes, should be %d", n, character, len(line), len(want))
			}
		}
	}
}

func TestTruncate(t *testing.T) {
	for _, c := range []struct {
		s    string
		n    int
		want string
	}{
		{"abc", 3, "abc"}, {"abc", 2, "ab"}, {"abc", 0, ""}, {"abc", -1, ""}, {"", -1, ""},
		{"한글", 6, "한글"}, {"한글", 5, "한"}, {"한글", 4, "한"}, {"한글", 3, "한"}, {"한글", 2, ""}, {"한글", 1, ""},
		{"🎈", 3, ""}, {"🎈", 4, "🎈"},
		{"\x80\x80\x80\x80\x80\x80", 5, "\x80\x80\x80\x80\x80"}, {"\x80\x80", 1, "\x80"},
	} {
		if got := Truncate(c.s, c.n); got != c.want {
			t.Errorf("Truncate(%q, %d) = %q, should be %q", c.s, c.n, got, c.want)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for name, line := range map[string]string{
		"plain": "PRIVMSG #channel :some text that is as long as usual",
		"tags":  "@+typing=active;label=123 PRIVMSG #channel :some text that is as long as usual",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var m Message
			for b.Loop() {
				if err := m.Parse(line, FromClient); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
