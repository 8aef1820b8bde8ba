package ircmsg

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse holds that a line that is read can be written, and that what is
// written is read as the same message.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, line string) {
		var m Message
		if err := m.Parse(line, FromClient); err != nil {
			return
		}
		if len(m.Params) > MaxParams {
			t.Fatalf("%d parameters", len(m.Params))
		}
		written, err := m.Append(nil, FromClient)
		if errors.Is(err, ErrTooLong) {
			return // the last parameter of 15 needed no colon
		}
		if err != nil {
			t.Fatalf("%q is read, and not written: %v", line, err)
		}
		body, ok := bytes.CutSuffix(written, []byte("\r\n"))
		if !ok || bytes.ContainsAny(body, "\r\n\x00") {
			t.Fatalf("%q is written as %q", line, written)
		}
		var again Message
		if err := again.Parse(string(body), FromClient); err != nil {
			t.Fatalf("%q is written as %q: %v", line, written, err)
		}
		if again.Tags != m.Tags || again.Source != m.Source || again.Command != m.Command || !slices.Equal(again.Params, m.Params) {
			t.Fatalf("%q is written as %q", line, written)
		}
	})
}

// FuzzTags holds that tags can be written, and are read as they were.
func FuzzTags(f *testing.F) {
	f.Fuzz(func(t *testing.T, key, value string) {
		for _, tag := range Tags(value).ClientOnly(0) {
			if !ValidTagKey(tag.Key) || tag.Key[0] != '+' {
				t.Fatalf("passed on is %q", tag.Key)
			}
		}
		l, err := NewLine(FromServer, []Tag{{Key: key, Value: value}}, Body{Message: Message{Command: "PING"}})
		if err != nil {
			return
		}
		var m Message
		line, _ := strings.CutSuffix(string(l.Form(0).Line()), "\r\n")
		if err := m.Parse(line, FromServer); err != nil {
			t.Fatalf("%q=%q is written as %q: %v", key, value, line, err)
		}
		if got, ok := m.Tags.Get(key); !ok || got != value {
			t.Fatalf("%q=%q is written as %q, and read as %q", key, value, line, got)
		}
	})
}

// FuzzText holds that text is cut between characters, and no earlier than it
// must be.
func FuzzText(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit %= 600
		m := Message{Source: "s", Command: "PRIVMSG", Params: []string{"#a", text}, Text: true}
		line, err := m.Append(nil, Limits{Line: limit})
		if err != nil {
			return
		}
		kept, _ := strings.CutSuffix(strings.TrimPrefix(string(line), ":s PRIVMSG #a :"), "\r\n")
		if len(line) > limit || !strings.HasPrefix(text, kept) {
			t.Fatalf("%q is cut to %q", text, kept)
		}
		if len(kept) < len(text) && len(line)+utf8.UTFMax <= limit {
			t.Fatalf("%d of %d bytes are used", len(line), limit)
		}
		if utf8.ValidString(text) && !utf8.ValidString(kept) {
			t.Fatalf("%q is cut to %q", text, kept)
		}
	})
}

// FuzzMatch compares with package regexp, on text that is UTF-8.
func FuzzMatch(f *testing.F) {
	f.Fuzz(func(t *testing.T, mask, s string) {
		got := ASCII.Match(mask, s)
		if !utf8.ValidString(mask) || !utf8.ValidString(s) || len(mask) > 100 {
			return
		}
		// Small letters on both sides: regexp's own folding goes beyond ASCII.
		if want := expression(ASCII.Fold(mask)).MatchString(ASCII.Fold(s)); got != want {
			t.Fatalf("%q on %q: %v, should be %v", mask, s, got, want)
		}
	})
}

func expression(mask string) *regexp.Regexp {
	var e strings.Builder
	for mask != "" {
		size := 1
		switch {
		case mask[0] == '*':
			e.WriteString(".*")
		case mask[0] == '?':
			e.WriteString(".")
		case strings.HasPrefix(mask, `\*`), strings.HasPrefix(mask, `\?`):
			size = 2
			e.WriteString(mask[:size])
		default:
			size = characterSize(mask)
			e.WriteString(regexp.QuoteMeta(mask[:size]))
		}
		mask = mask[size:]
	}
	return regexp.MustCompile(`(?s)\A` + e.String() + `\z`)
}
