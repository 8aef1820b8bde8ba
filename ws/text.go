package ws

import "unicode/utf8"

// A textCheck checks UTF-8 that arrives in pieces, and refuses the first byte
// that cannot be part of any.
type textCheck struct {
	begun [utf8.UTFMax]byte // the first bytes of a character
	n     int               // how many there are
}

func (t *textCheck) accepts(p []byte) bool {
	for t.n > 0 && len(p) > 0 {
		t.begun[t.n] = p[0]
		t.n++
		p = p[1:]
		if !utf8.FullRune(t.begun[:t.n]) {
			continue
		}
		// Of a character that was refused only the first byte would be used up.
		if _, size := utf8.DecodeRune(t.begun[:t.n]); size != t.n {
			return false
		}
		t.n = 0
	}
	whole := wholeCharacters(p)
	t.n += copy(t.begun[t.n:], p[whole:])
	return utf8.Valid(p[:whole])
}

// complete reports whether the text may end here.
func (t *textCheck) complete() bool { return t.n == 0 }

// wholeCharacters returns the length of p without a character at its end of
// which bytes are missing.
func wholeCharacters(p []byte) int {
	for i := len(p) - 1; i >= max(0, len(p)-utf8.UTFMax+1); i-- {
		if utf8.RuneStart(p[i]) {
			if utf8.FullRune(p[i:]) {
				return len(p)
			}
			return i
		}
	}
	return len(p)
}
