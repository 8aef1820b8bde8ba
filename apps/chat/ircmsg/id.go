package ircmsg

import (
	"strings"
	"time"
)

// IDBits is how far the milliseconds of a message's number are shifted; the bits below
// tell apart the messages of one millisecond.
const IDBits = 20

// SlotBits is how many of those, the lowest ones, name the node that has numbered the message: 0
// is a chat on one machine.
const SlotBits = 6

// MaxMoment is the last moment that the numbers of messages can hold, in the year 2248.
const MaxMoment = 1<<(63-IDBits) - 1

const idDigits = "0123456789abcdefghijklmnopqrstuv"

// FormatID writes the number of a message as the tag msgid has it: 13 digits to base 32,
// so that their order is that of the messages.
func FormatID(id int64) string {
	var text [13]byte
	for i := len(text) - 1; i >= 0; i-- {
		text[i] = idDigits[id&31]
		id >>= 5
	}
	return string(text[:])
}

// ParseID reads what FormatID has written for a number above 0, and nothing else.
func ParseID(text string) (id int64, ok bool) {
	if len(text) != 13 {
		return 0, false
	}
	for i := range len(text) {
		digit := strings.IndexByte(idDigits, text[i])
		if digit < 0 || i == 0 && digit > 7 {
			return 0, false // it would not fit into 63 bits
		}
		id = id<<5 | int64(digit)
	}
	return id, id > 0
}

// FormatTime writes a moment, in milliseconds since 1970, as the tag time has it
// (https://ircv3.net/specs/extensions/server-time).
func FormatTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// ParseTime reads a moment as RFC 3339 writes it, in milliseconds since 1970. What the
// numbers of messages cannot hold becomes the first or the last moment that they can.
func ParseTime(text string) (ms int64, ok bool) {
	at, err := time.Parse(time.RFC3339, text)
	return min(max(0, at.UnixMilli()), MaxMoment), err == nil
}

// Action returns what somebody does who says a text with the CTCP ACTION ("/me"), and
// whether that is one (https://modern.ircdocs.horse/ctcp#action).
func Action(text string) (does string, is bool) {
	does, is = strings.CutPrefix(text, "\x01ACTION ")
	if !is {
		return text, false
	}
	return strings.TrimSuffix(does, "\x01"), true
}
