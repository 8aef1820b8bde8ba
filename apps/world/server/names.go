package server

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/epinet/epi/apps/internal/lookalike"
	"github.com/epinet/epi/apps/world/proto/table"
)

// maxNameLength is the longest name, in characters.
const maxNameLength = 16

// scripts are those that a name may be in: one of them, besides digits.
var scripts = []*unicode.RangeTable{
	unicode.Latin, unicode.Hangul, unicode.Cyrillic, unicode.Greek, unicode.Han, unicode.Hiragana, unicode.Katakana,
	unicode.Hebrew, unicode.Arabic, unicode.Thai, unicode.Devanagari,
}

var errName = errors.New("a name has 1 to 16 letters of one script, digits, - and _, and begins with a letter")

// checkName returns a name as it is shown, and what two names that look alike have
// in common. Forms of the same letter, such as wide ones, are shown as the usual one.
func checkName(name string) (shown, key string, err error) {
	name = norm.NFKC.String(name)
	if n := utf8.RuneCountInString(name); n < 1 || n > maxNameLength || len(name) > table.MaxName {
		return "", "", errName
	}
	used := map[*unicode.RangeTable]bool{}
	for i, r := range name {
		switch {
		case unicode.IsLetter(r):
			t := scriptOf(r)
			if t == nil {
				return "", "", errName
			}
			used[t] = true
		case i > 0 && (r >= '0' && r <= '9' || r == '-' || r == '_'):
		default:
			return "", "", errName
		}
	}
	japanese := used[unicode.Han] && (used[unicode.Hiragana] || used[unicode.Katakana])
	kana := used[unicode.Hiragana] && used[unicode.Katakana]
	if len(used) > 1 && !japanese && !kana {
		return "", "", errName
	}
	return name, keyOf(name), nil
}

// keyOf is what a name, and all that look like it, have in common.
func keyOf(name string) string { return skeleton(norm.NFKC.String(name)) }

// The block of combining diacritical marks.
const (
	firstAccent = '\u0300'
	lastAccent  = '\u036f'
)

// skeleton is the same for names that look alike, their accents left out.
func skeleton(name string) string {
	plain := strings.Map(func(r rune) rune {
		if firstAccent <= r && r <= lastAccent {
			return -1
		}
		return r
	}, norm.NFD.String(name))
	return alike.Replace(lookalike.Skeleton(norm.NFC.String(plain)))
}

// alike makes characters the same that are hard to tell apart within a script.
var alike = strings.NewReplacer("0", "o", "1", "l", "i", "l", "|", "l", "5", "s", "vv", "w", "rn", "m", "_", "-")

func scriptOf(r rune) *unicode.RangeTable {
	for _, t := range scripts {
		if unicode.Is(t, r) {
			return t
		}
	}
	return nil
}
