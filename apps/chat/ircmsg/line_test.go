package ircmsg

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Capabilities, as a server would number them.
const (
	serverTime Caps = 1 << iota
	messageTags
	accountTag
	extendedJoin
	multiPrefix // changes no form here
)

func newJoin(t testing.TB) *Line {
	t.Helper()
	l, err := NewLine(FromServer,
		[]Tag{
			{Key: "time", Value: "2030-01-01T00:00:00.000Z", Need: serverTime},
			{Key: "msgid", Value: "a;b", Need: messageTags},
			{Key: "account", Value: "ann", Need: accountTag},
		},
		Body{Message: Message{Source: "ann!a@host", Command: "JOIN", Params: []string{"#a", "ann", "Ann Other"}}, Need: extendedJoin},
		Body{Message: Message{Source: "ann!a@host", Command: "JOIN", Params: []string{"#a"}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestForms(t *testing.T) {
	l := newJoin(t)
	for caps, want := range map[Caps]string{
		0:                         ":ann!a@host JOIN #a\r\n",
		multiPrefix:               ":ann!a@host JOIN #a\r\n",
		extendedJoin:              ":ann!a@host JOIN #a ann :Ann Other\r\n",
		serverTime:                "@time=2030-01-01T00:00:00.000Z :ann!a@host JOIN #a\r\n",
		messageTags | accountTag:  `@msgid=a\:b;account=ann :ann!a@host JOIN #a` + "\r\n",
		^Caps(0):                  `@time=2030-01-01T00:00:00.000Z;msgid=a\:b;account=ann :ann!a@host JOIN #a ann :Ann Other` + "\r\n",
		accountTag | extendedJoin: "@account=ann :ann!a@host JOIN #a ann :Ann Other\r\n",
	} {
		if got := l.Form(caps).Line(); string(got) != want {
			t.Errorf("capabilities %b get %q, should get %q", caps, got, want)
		}
	}
}

func TestLabelGoesToOne(t *testing.T) {
	l := newJoin(t)
	label := Tag{Key: "label", Value: "x y"}
	for caps, want := range map[Caps]string{
		0:          `@label=x\sy :ann!a@host JOIN #a`,
		accountTag: `@label=x\sy;account=ann :ann!a@host JOIN #a`,
	} {
		if got := string(l.Append(nil, caps, label)); got != want+"\r\n" {
			t.Errorf("capabilities %b get %q, should get %q", caps, got, want)
		}
	}
	if got := string(l.Form(0).Line()); strings.Contains(got, "label") {
		t.Errorf("another session gets %q", got)
	}
}

// TestEachFormIsBuiltOnce asks for forms from several goroutines, and compares
// where they lie.
func TestEachFormIsBuiltOnce(t *testing.T) {
	l := newJoin(t)
	const askers = 8
	var forms [askers][16]*Form
	var frames [askers][16]any
	var wg sync.WaitGroup
	for asker := range askers {
		wg.Go(func() {
			for i := range forms[asker] {
				form := l.Form(Caps(i))
				forms[asker][i] = form
				frames[asker][i] = form.Other(func(line []byte) any { return new(string(line)) })
			}
		})
	}
	wg.Wait()
	for asker := range askers {
		if forms[asker] != forms[0] || frames[asker] != frames[0] {
			t.Errorf("asker %d has other forms than asker 0", asker)
		}
	}
	if n := testing.AllocsPerRun(100, func() { l.Form(serverTime | multiPrefix) }); n != 0 {
		t.Errorf("a form that is built allocates %v times", n)
	}
}

func TestOtherHasNoTerminator(t *testing.T) {
	form := newJoin(t).Form(0)
	got := form.Other(func(line []byte) any {
		_ = append(line, "overwritten"...) // in a copy: the line ends where it ends
		return string(line)
	})
	if got != ":ann!a@host JOIN #a" || string(form.Line()) != ":ann!a@host JOIN #a\r\n" {
		t.Errorf("the other form is %q, the line %q", got, form.Line())
	}
}

func TestNewLineRefuses(t *testing.T) {
	good := Body{Message: Message{Command: "A"}}
	for name, c := range map[string]struct {
		tags   []Tag
		bodies []Body
		want   error
	}{
		"no body":            {nil, nil, ErrInvalid},
		"no body for all":    {nil, []Body{{Message: Message{Command: "A"}, Need: 1}}, ErrInvalid},
		"a body that is not": {nil, []Body{{Message: Message{}, Need: 1}, good}, ErrInvalid},
		"a long body":        {nil, []Body{{Message: Message{Command: "A", Params: []string{strings.Repeat("a", 512)}}}}, ErrTooLong},
		"a key that is none": {[]Tag{{Key: "a b"}}, []Body{good}, ErrInvalid},
		"NUL in a tag":       {[]Tag{{Key: "a", Value: "\x00"}}, []Body{good}, ErrInvalid},
		"tags that are long": {[]Tag{{Key: "a", Value: strings.Repeat(" ", 4095)}}, []Body{good}, ErrTagsTooLong},
	} {
		if _, err := NewLine(FromServer, c.tags, c.bodies...); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, should be %v", name, err, c.want)
		}
	}
}

// TestLineTagsAtTheLimit fills the tags of a line up.
func TestLineTagsAtTheLimit(t *testing.T) {
	for over := -1; over <= 1; over++ {
		tags := []Tag{{Key: "a", Value: "; "}, {Key: "b", Value: strings.Repeat("x", FromServer.Tags-len(`a=\:\s;b=`)+over)}}
		l, err := NewLine(FromServer, tags, Body{Message: Message{Command: "PING"}})
		if over > 0 {
			if !errors.Is(err, ErrTagsTooLong) {
				t.Errorf("%+d: %v", over, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, want := len(l.Form(0).Line()), 8191+over+len("PING\r\n"); got != want {
			t.Errorf("%+d: %d bytes, should be %d", over, got, want)
		}
	}
}

func TestTextIsCutInEachBody(t *testing.T) {
	text := strings.Repeat("é", 300)
	l, err := NewLine(FromServer, nil,
		Body{Message: Message{Source: "a-much-longer-source", Command: "TOPIC", Params: []string{"#a", text}, Text: true}, Need: 1},
		Body{Message: Message{Source: "s", Command: "TOPIC", Params: []string{"#a", text}, Text: true}},
	)
	if err != nil {
		t.Fatal(err)
	}
	for caps := range Caps(2) {
		line := string(l.Form(caps).Line())
		if len(line) > 512 || len(line) < 511 || strings.ToValidUTF8(line, "?") != line {
			t.Errorf("capabilities %b get %d bytes", caps, len(line))
		}
	}
}

func BenchmarkForm(b *testing.B) {
	l := newJoin(b)
	for caps := range Caps(8) {
		l.Form(caps)
	}
	for caps := range Caps(8) {
		b.Run(fmt.Sprint(caps), func(b *testing.B) {
			for b.Loop() {
				l.Form(caps)
			}
		})
	}
}

func BenchmarkNewLine(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		l, err := NewLine(FromServer,
			[]Tag{{Key: "time", Value: "2030-01-01T00:00:00.000Z", Need: serverTime}},
			Body{Message: Message{Source: "ann!a@host", Command: "PRIVMSG", Params: []string{"#a", "text"}}})
		if err != nil {
			b.Fatal(err)
		}
		l.Form(0)
	}
}
