package load

import "bytes"

// The text of a message of the load says where it belongs:
//
//	0      7        16           29
//	sender sequence due ........ filling
//
// Sender, sequence and due (nanoseconds on the generator's clock) are
// hexadecimal digits, each field with a space behind it.
type header struct {
	sender, sequence uint32
	due              int64
}

// Digits of the fields, and where these begin.
const (
	senderDigits   = 6
	sequenceDigits = 8
	dueDigits      = 12

	sequenceAt = senderDigits + 1
	dueAt      = sequenceAt + sequenceDigits + 1
	headerText = dueAt + dueDigits
)

const (
	// leastText has room for the numbers.
	leastText = headerText + 1
	// mostText leaves room for a long source before the text: a line has 512
	// bytes (RFC 1459, section 2.3).
	mostText = 400
	// longestLine is what a line with tags can have (message-tags).
	longestLine = 8191 + 512
)

const hexDigits = "0123456789abcdef"

// digitOf is the value of a hexadecimal digit, or notADigit.
var digitOf = func() (t [256]byte) {
	for i := range t {
		t[i] = notADigit
	}
	for i := range len(hexDigits) {
		t[hexDigits[i]] = byte(i)
	}
	return t
}()

const notADigit = 0xff

// filling is what stands behind the numbers.
var filling = bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog "), mostText/44+1)

// appendText appends a text of size bytes, at least leastText.
func appendText(dst []byte, h header, size int) []byte {
	dst = appendHex(dst, uint64(h.sender), senderDigits)
	dst = append(dst, ' ')
	dst = appendHex(dst, uint64(h.sequence), sequenceDigits)
	dst = append(dst, ' ')
	dst = appendHex(dst, uint64(h.due), dueDigits)
	dst = append(dst, ' ')
	return append(dst, filling[:size-leastText]...)
}

func appendHex(dst []byte, v uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[v>>shift&15])
	}
	return dst
}

// parseHeader reads the numbers of a text.
func parseHeader(text []byte) (h header, ok bool) {
	if len(text) < leastText {
		return header{}, false
	}
	sender, ok1 := parseHex(text[:senderDigits])
	sequence, ok2 := parseHex(text[sequenceAt:][:sequenceDigits])
	due, ok3 := parseHex(text[dueAt:][:dueDigits])
	return header{uint32(sender), uint32(sequence), int64(due)}, ok1 && ok2 && ok3
}

func parseHex(digits []byte) (v uint64, ok bool) {
	var all byte
	for _, d := range digits {
		n := digitOf[d]
		all |= n
		v = v<<4 | uint64(n)
	}
	return v, all < 16
}

// sameFilling compares what stands behind the numbers.
func sameFilling(text []byte) bool {
	rest := text[leastText:]
	return len(rest) <= len(filling) && bytes.Equal(rest, filling[:len(rest)])
}

// textOf returns the text of a PRIVMSG to a channel, and nil for other lines.
func textOf(line []byte) []byte {
	if len(line) > 0 && line[0] == '@' {
		_, line, _ = bytes.Cut(line, []byte(" "))
	}
	if len(line) == 0 || line[0] != ':' {
		return nil
	}
	_, rest, _ := bytes.Cut(line, []byte(" "))
	rest, ok := bytes.CutPrefix(rest, []byte("PRIVMSG #"))
	if !ok {
		return nil
	}
	_, text, _ := bytes.Cut(rest, []byte(" :"))
	return text
}
