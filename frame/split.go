package frame

import (
	"bufio"
	"io"
)

// A SplitFunc is a Framing by a function made for bufio.Scanner. The function
// keeps no state, and so begins anew with every piece that arrives: a message
// in very many pieces costs the square of their number. As it is not known
// which bytes the function strips, Reader.Max bounds all those that a message
// takes from the stream.
type SplitFunc bufio.SplitFunc

// Split calls f. What bufio.Scanner does not allow is an error here, too:
// bufio.ErrNegativeAdvance, bufio.ErrAdvanceTooFar, and io.ErrNoProgress for a
// message that takes no bytes from the stream.
func (f SplitFunc) Split(data []byte, atEOF bool) (advance int, msg []byte, err error) {
	advance, msg, err = f(data, atEOF)
	switch {
	case advance < 0:
		return 0, nil, bufio.ErrNegativeAdvance
	case advance > len(data):
		return 0, nil, bufio.ErrAdvanceTooFar
	case advance == 0 && msg != nil && err == nil:
		return 0, nil, io.ErrNoProgress
	}
	return advance, msg, err
}

// Scan implements Framing.
func (f SplitFunc) Scan(data []byte, _, bound int) (n int, msg []byte, err error) {
	n, msg, err = f.Split(data, false)
	switch {
	case err != nil:
		return n, msg, err
	case n == 0:
		return len(data) + 1, nil, within(uint64(len(data)), bound)
	case msg == nil:
		return n, nil, nil
	}
	return n, msg, within(uint64(n), bound)
}
