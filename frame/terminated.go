package frame

import (
	"bytes"
	"fmt"
)

// Lines is a Framing by lines. A line ends with LF or CRLF, which is not part of
// the message. A lone CR is an ordinary byte. At the end of the stream,
// what follows the last LF is a line; see Reader.Tail.
type Lines struct {
	// CRLF makes Append end lines with CRLF instead of LF.
	CRLF bool
}

// Scan implements Framing.
func (Lines) Scan(data []byte, seen, bound int) (n int, msg []byte, err error) {
	n, msg = upTo('\n', data, seen)
	msg = dropCR(msg)
	return n, msg, within(uint64(len(msg)), bound)
}

// Split is a bufio.SplitFunc. It does what bufio.ScanLines does.
func (l Lines) Split(data []byte, atEOF bool) (advance int, msg []byte, err error) {
	return splitTerminated(l, data, atEOF)
}

// Append appends line and its terminator to dst. The error is ErrTerminator,
// and dst as it was, if the receiver would see another line, or more than one:
// if line contains LF, or ends with CR where the terminator is LF.
func (l Lines) Append(dst, line []byte) ([]byte, error) {
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		return dst, fmt.Errorf("%w: LF at byte %d of a line", ErrTerminator, i)
	}
	if l.CRLF {
		return append(append(dst, line...), '\r', '\n'), nil
	}
	if len(dropCR(line)) < len(line) {
		return dst, fmt.Errorf("%w: CR at the end of a line", ErrTerminator)
	}
	return append(append(dst, line...), '\n'), nil
}

// A Delimiter is a Framing by messages that each end with this byte, which is
// not part of them. At the end of the stream, what follows the last delimiter
// is a message; see Reader.Tail.
type Delimiter byte

// Scan implements Framing.
func (d Delimiter) Scan(data []byte, seen, bound int) (n int, msg []byte, err error) {
	n, msg = upTo(byte(d), data, seen)
	return n, msg, within(uint64(len(msg)), bound)
}

// Split is a bufio.SplitFunc.
func (d Delimiter) Split(data []byte, atEOF bool) (advance int, msg []byte, err error) {
	return splitTerminated(d, data, atEOF)
}

// Append appends msg and the delimiter to dst. The error is ErrTerminator, and
// dst as it was, if msg contains the delimiter.
func (d Delimiter) Append(dst, msg []byte) ([]byte, error) {
	if i := bytes.IndexByte(msg, byte(d)); i >= 0 {
		return dst, fmt.Errorf("%w: %#02x at byte %d", ErrTerminator, byte(d), i)
	}
	return append(append(dst, msg...), byte(d)), nil
}

// upTo returns the bytes before the first delim, and how many they are with it.
// Without one these are all bytes, and one more than all. The message has no
// spare capacity, so that who appends to it cannot overwrite unread bytes.
func upTo(delim byte, data []byte, seen int) (n int, msg []byte) {
	end := len(data)
	if i := bytes.IndexByte(data[seen:], delim); i >= 0 {
		end = seen + i
	}
	return end + 1, data[:end:end]
}

func dropCR(line []byte) []byte {
	if last := len(line) - 1; last >= 0 && line[last] == '\r' {
		return line[:last:last]
	}
	return line
}

// splitTerminated is the Split of a framing by terminators: the end of the
// stream is one as well.
func splitTerminated(f Framing, data []byte, atEOF bool) (int, []byte, error) {
	n, msg, incomplete, err := first(f, data)
	if incomplete && !atEOF {
		return 0, nil, nil
	}
	return min(n, len(data)), msg, err
}
