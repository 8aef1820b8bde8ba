// Package plaintext makes text that others wrote fit to be shown. What a peer
// sends, the name of its socket or what its certificate says may have escape
// sequences, which change a terminal, or ends of lines, after which it can write
// what it likes in the program's name.
package plaintext

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns s on one line: of what cannot be printed, ends of lines and signs
// that change the direction of writing among it, it writes the escapes of Go.
func Line(s string) string { return escape(s, unicode.IsPrint) }

// Lines is Line, but for the ends of lines, which stay: each line is to be a Line
// where somebody else wrote a part of it.
func Lines(s string) string {
	return escape(s, func(r rune) bool { return r == '\n' || unicode.IsPrint(r) })
}

func escape(s string, keep func(rune) bool) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !keep(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		part := s[i : i+size]
		i += size
		if keep(r) && (r != utf8.RuneError || size > 1) {
			b.WriteString(part)
			continue
		}
		quoted := strconv.Quote(part) // a byte of no character is written as \x and its digits
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// Clip returns the first n characters of s, and marks that there were more.
func Clip(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i] + "…"
		}
		n--
	}
	return s
}
