package plaintext

import "testing"

func TestHostile08_OthersTextIsPlain(t *testing.T) {
	for _, row := range []struct{ text, line, lines string }{
		{"", "", ""},
		{`plain "text" \ ä 漢 😀`, `plain "text" \ ä 漢 😀`, `plain "text" \ ä 漢 😀`},
		{"a\nerrors       none", `a\nerrors       none`, "a\nerrors       none"},
		{"a\r\x1b[2J\x1b]0;title\a", `a\r\x1b[2J\x1b]0;title\a`, `a\r\x1b[2J\x1b]0;title\a`},
		{"8-bit \u009b31m", `8-bit \u009b31m`, `8-bit \u009b31m`},
		{"\xff\xc0 bytes", `\xff\xc0 bytes`, `\xff\xc0 bytes`},
		{"replaced \ufffd", "replaced \ufffd", "replaced \ufffd"},
		{"right \u202eto left\u2066", `right \u202eto left\u2066`, `right \u202eto left\u2066`},
		{"other ends \u2028\u2029\u0085\v\f", `other ends \u2028\u2029\u0085\v\f`, `other ends \u2028\u2029\u0085\v\f`},
		{"del \x7f nul \x00 bom \ufeff", `del \x7f nul \x00 bom \ufeff`, `del \x7f nul \x00 bom \ufeff`},
	} {
		if got := Line(row.text); got != row.line {
			t.Errorf("Line(%q) is %q, want %q", row.text, got, row.line)
		}
		if got := Lines(row.text); got != row.lines {
			t.Errorf("Lines(%q) is %q, want %q", row.text, got, row.lines)
		}
	}
}

func TestClip(t *testing.T) {
	for _, row := range []struct {
		text string
		n    int
		want string
	}{{"", 0, ""}, {"ab", 2, "ab"}, {"abc", 2, "ab…"}, {"äöü", 2, "äö…"}, {"a", 0, "…"}} {
		if got := Clip(row.text, row.n); got != row.want {
			t.Errorf("Clip(%q, %d) is %q, want %q", row.text, row.n, got, row.want)
		}
	}
}
