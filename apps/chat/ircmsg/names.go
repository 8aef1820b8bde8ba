package ircmsg

import (
	"strings"
	"unicode/utf8"
)

// A Casemapping says which names are the same, as the token CASEMAPPING of
// RPL_ISUPPORT does.
type Casemapping uint8

const (
	ASCII         Casemapping = iota // a to z are A to Z
	RFC1459                          // besides, {}|~ are []\^
	RFC1459Strict                    // besides, {}| are []\
)

func (c Casemapping) String() string {
	return [...]string{ASCII: "ascii", RFC1459: "rfc1459", RFC1459Strict: "rfc1459-strict"}[c]
}

// lastUpper is the last character that has a small one 32 places behind it.
var lastUpper = [...]byte{ASCII: 'Z', RFC1459: '^', RFC1459Strict: ']'}

func (c Casemapping) lower(b byte) byte {
	if 'A' <= b && b <= lastUpper[c] {
		return b + ('a' - 'A')
	}
	return b
}

// Fold returns the form of name that is the same for all names equal to it. A
// name that is folded already comes back as it is, without an allocation.
func (c Casemapping) Fold(name string) string {
	for i := range len(name) {
		if c.lower(name[i]) != name[i] {
			return c.fold(name)
		}
	}
	return name
}

func (c Casemapping) fold(name string) string {
	out := make([]byte, len(name))
	for i := range out {
		out[i] = c.lower(name[i])
	}
	return string(out)
}

// Equal says whether two names are the same.
func (c Casemapping) Equal(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if c.lower(a[i]) != c.lower(b[i]) {
			return false
		}
	}
	return true
}

// Match says whether s matches a mask: "*" is any text, "?" one character, and
// `\*` and `\?` are those themselves (RFC 2812, section 2.5). It takes at most
// len(mask) × len(s) steps, whatever they are.
func (c Casemapping) Match(mask, s string) bool {
	m, i := 0, 0
	retryMask, retry := -1, 0 // behind the last "*", and where its text may end
	for i < len(s) {
		if m < len(mask) && mask[m] == '*' {
			m++
			retryMask, retry = m, i
			continue
		}
		if width, size := c.matchOne(mask[m:], s[i:]); width > 0 {
			m += width
			i += size
			continue
		}
		if retryMask < 0 {
			return false
		}
		retry += characterSize(s[retry:])
		m, i = retryMask, retry
	}
	return strings.Trim(mask[m:], "*") == ""
}

// matchOne matches what a mask begins with against the first character of s.
// It returns how much of each was used, or zeros.
func (c Casemapping) matchOne(mask, s string) (width, size int) {
	if mask == "" {
		return 0, 0
	}
	if mask[0] == '?' {
		return 1, characterSize(s)
	}
	width = 1
	if mask[0] == '\\' && len(mask) > 1 && (mask[1] == '*' || mask[1] == '?') {
		width = 2
	}
	if c.lower(mask[width-1]) != c.lower(s[0]) {
		return 0, 0
	}
	return width, 1
}

// characterSize returns the bytes of the first character of s; a byte that is
// no UTF-8 is one.
func characterSize(s string) int {
	_, size := utf8.DecodeRuneInString(s)
	return size
}

// SplitSource splits nick!user@host. What is not there is "".
func SplitSource(source string) (nick, user, host string) {
	nick, host, _ = strings.Cut(source, "@")
	nick, user, _ = strings.Cut(nick, "!")
	return nick, user, host
}

// ValidHostname says whether name can be the name of a server or of a client's
// host: labels of letters, digits and hyphens inside, and at least one dot.
func ValidHostname(name string) bool {
	if len(name) > 253 || !strings.Contains(name, ".") {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

func isLabel(s string) bool {
	return len(s) <= 63 && isKeyName(s, false) && s[0] != '-' && s[len(s)-1] != '-'
}

// Truncate returns the longest beginning of s that has at most n bytes and ends
// between two characters. Text that is not UTF-8 is cut at a byte.
func Truncate(s string, n int) string {
	n = max(n, 0)
	if len(s) <= n {
		return s
	}
	for cut := n; cut >= 0 && cut > n-utf8.UTFMax; cut-- {
		if utf8.RuneStart(s[cut]) {
			return s[:cut]
		}
	}
	return s[:n]
}
