package ircmsg

import (
	"fmt"
	"iter"
	"strings"
)

// Tags is the tag data of a line as it is on the wire: keys with escaped
// values, between semicolons.
type Tags string

// A Tag is one tag that a line may carry.
type Tag struct {
	Key   string // as [ValidTagKey] allows it
	Value string // not escaped; "" is written as the key alone

	// Need are the capabilities without which a session does not get it. See
	// [Line].
	Need Caps
}

// All returns the tags in their order, values without their escapes. A key
// that comes several times does so here, too: the last one counts. Keys are
// not checked.
func (t Tags) All() iter.Seq2[string, string] {
	return func(yield func(key, value string) bool) {
		rest := string(t)
		for rest != "" {
			var tag string
			tag, rest, _ = strings.Cut(rest, ";")
			key, value, _ := strings.Cut(tag, "=")
			if key != "" && !yield(key, Unescape(value)) {
				return
			}
		}
	}
}

// Get returns the value of a tag without its escapes.
func (t Tags) Get(key string) (value string, ok bool) {
	for k, v := range t.All() {
		if k == key {
			value, ok = v, true
		}
	}
	return value, ok
}

// ClientOnly returns the tags that a server passes on from a client to others:
// those whose keys begin with "+" and are valid, each key once, with the value
// that counts, in the order of their first occurrence.
func (t Tags) ClientOnly(need Caps) []Tag {
	if strings.IndexByte(string(t), '+') < 0 {
		return nil
	}
	var tags []Tag
	at := map[string]int{}
	for key, value := range t.All() {
		if key[0] != '+' || !ValidTagKey(key) {
			continue
		}
		if i, again := at[key]; again {
			tags[i].Value = value
			continue
		}
		at[key] = len(tags)
		tags = append(tags, Tag{Key: key, Value: value, Need: need})
	}
	return tags
}

// check refuses tag data that is too long or would not be read as tags.
func (t Tags) check(most int) error {
	if len(t) > most {
		return fmt.Errorf("%w: %d bytes, where %d are allowed", ErrTagsTooLong, len(t), most)
	}
	if strings.IndexByte(string(t), ' ') >= 0 || hasBadByte(string(t)) {
		return fmt.Errorf("%w: its tags are %q", ErrInvalid, string(t))
	}
	return nil
}

// ValidTagKey says whether key is one that message-tags allows: "+" or not, a
// host's name and "/" or not, and letters, digits and hyphens.
func ValidTagKey(key string) bool {
	key = strings.TrimPrefix(key, "+")
	if vendor, name, ok := strings.Cut(key, "/"); ok {
		if !isKeyName(vendor, true) {
			return false
		}
		key = name
	}
	return isKeyName(key, false)
}

func isKeyName(s string, dots bool) bool {
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && s[i] != '-' && (s[i] != '.' || !dots) {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

// Unescape returns the value that an escaped one stands for. A backslash that
// escapes nothing is dropped.
func Unescape(value string) string {
	at := strings.IndexByte(value, '\\')
	if at < 0 {
		return value
	}
	out := make([]byte, 0, len(value))
	for at >= 0 && at+1 < len(value) {
		out = append(out, value[:at]...)
		out = append(out, unescaped(value[at+1]))
		value = value[at+2:]
		at = strings.IndexByte(value, '\\')
	}
	if at >= 0 {
		value = value[:at]
	}
	return string(append(out, value...))
}

func unescaped(b byte) byte {
	switch b {
	case ':':
		return ';'
	case 's':
		return ' '
	case 'r':
		return '\r'
	case 'n':
		return '\n'
	}
	return b
}

// AppendTag appends a tag to tag data that was or was not begun.
func AppendTag(dst []byte, key, value string) []byte {
	if len(dst) > 0 {
		dst = append(dst, ';')
	}
	return appendTag(dst, key, value)
}

func appendTag(dst []byte, key, value string) []byte {
	dst = append(dst, key...)
	if value == "" {
		return dst
	}
	dst = append(dst, '=')
	for i := range len(value) {
		if e := escape(value[i]); e != 0 {
			dst = append(dst, '\\', e)
			continue
		}
		dst = append(dst, value[i])
	}
	return dst
}

// escape returns what stands behind a backslash for b, or 0 if b stands for
// itself.
func escape(b byte) byte {
	switch b {
	case ';':
		return ':'
	case ' ':
		return 's'
	case '\\':
		return '\\'
	case '\r':
		return 'r'
	case '\n':
		return 'n'
	}
	return 0
}

// tagSize returns the bytes that appendTag appends.
func tagSize(key, value string) int {
	n := len(key)
	if value == "" {
		return n
	}
	n += len("=") + len(value)
	for i := range len(value) {
		if escape(value[i]) != 0 {
			n++
		}
	}
	return n
}
