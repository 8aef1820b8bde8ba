// Package frame cuts messages out of a byte stream, and knows no sockets. What
// a message is, a [Framing] says: [Lines], [Delimiter], [LengthPrefix], or any
// [bufio.SplitFunc] by way of [SplitFunc]. A [Reader] cuts; one is kept for
// each connection, as part of its handler:
//
//	type session struct {
//		in frame.Reader
//	}
//
//	func (s *session) OnData(c *epi.Conn) error {
//		for line, err := range s.in.Messages(c) {
//			if err != nil {
//				return err
//			}
//			c.Write(line)
//		}
//		return nil
//	}
//
// Messages are not copied. A message that has not arrived whole costs nothing
// while it waits: whatever the pieces it comes in, no byte is searched twice.
// The exception is SplitFunc, which cannot know where it left off.
package frame

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
)

// DefaultMax is the bound of a message where none is given. It is that of
// [bufio.Scanner].
const DefaultMax = bufio.MaxScanTokenSize

// Errors of this package, to be tested with errors.Is. Those of a Reader leave
// the stream where it was; nothing shows where the next message begins, so the
// connection is best closed.
var (
	// ErrIncomplete: no whole message is there yet. It is not a failure.
	ErrIncomplete = errors.New("message is incomplete")
	// ErrTooLong: a message is longer than the bound, or sure to become so.
	ErrTooLong = errors.New("message is too long")
	// ErrBadLength: a length field cannot be right, or the LengthPrefix itself.
	ErrBadLength = errors.New("bad length prefix")
	// ErrTerminator: a message to be sent contains what would end it.
	ErrTerminator = errors.New("message contains its terminator")
)

// A Source is what messages are cut from. *epi.Conn is one.
type Source interface {
	// Unread returns the bytes that were not yet discarded.
	Unread() []byte
	// Discard drops the first n unread bytes and returns the number dropped.
	// The bytes themselves must stay as they are until the callback that reads
	// them returns, since messages alias them.
	Discard(n int) int
}

// An Expecter is a Source that can wait for more bytes at once than the next few
// that arrive, as *epi.Conn can. A Reader says to it how many the message under
// way needs, where the Framing knows: they are collected in one buffer, and the
// Reader is not asked in between.
type Expecter interface {
	// Expect asks for n unread bytes. An error means that there cannot be as many.
	Expect(n int) error
}

// A Framing says where messages begin and end. It holds no state of any
// stream: one value serves all connections, at the same time.
type Framing interface {
	// Split is a bufio.SplitFunc. It knows no bound.
	Split(data []byte, atEOF bool) (advance int, msg []byte, err error)

	// Scan looks for the first message in data, which is not empty. The first
	// seen bytes were in the data of an earlier call that found no end in them.
	//
	// If n <= len(data), the message is msg and takes n bytes of data; a nil
	// msg means that these n bytes hold none and are to be skipped. If
	// n > len(data), the message is incomplete, msg has no meaning, and there is
	// no use in another Scan before n bytes are there.
	//
	// If the message has, or is sure to get, more than bound bytes, the error is
	// ErrTooLong.
	Scan(data []byte, seen, bound int) (n int, msg []byte, err error)
}

// A Reader cuts the messages out of one stream. Framing must be set, the rest
// may be zero. A Reader remembers how far it has searched: while a message is
// incomplete, nobody else may take bytes from the Source. It is used by one
// goroutine at a time.
type Reader struct {
	Framing Framing

	// Max is the largest number of bytes in a message, without its terminator
	// or header. If it is not positive, it is DefaultMax. A Source must be able
	// to hold that much and the terminator or header.
	Max int

	seen int  // unread bytes in which Framing found no end
	need int  // unread bytes below which it need not be asked again
	done bool // Framing has said that there are no more messages
}

// Next takes the next message out of src. The message aliases the buffer of
// src: it is valid until the callback in which Next was called returns, and
// must be copied to be kept; append does so. An empty message is not nil.
//
// The error is ErrIncomplete when src holds no whole message, ErrTooLong when
// the message is above the bound, io.EOF when the Framing has ended the stream
// by bufio.ErrFinalToken, or that of the Framing.
func (r *Reader) Next(src Source) (msg []byte, err error) {
	for {
		if r.done {
			return nil, io.EOF
		}
		data := src.Unread()
		if len(data) == 0 || len(data) < r.need {
			return nil, ErrIncomplete
		}
		n, msg, err := r.Framing.Scan(data, r.seen, r.max())
		if err != nil {
			return r.fail(src, n, msg, err)
		}
		if n > len(data) {
			r.seen, r.need = len(data), n
			return nil, r.expect(src, n)
		}
		r.take(src, n)
		if msg != nil {
			return slices.Clip(msg), nil
		}
	}
}

// expect returns ErrIncomplete, unless src says that n bytes cannot come. That
// one byte more is needed says nothing about the message.
func (r *Reader) expect(src Source, n int) error {
	if e, ok := src.(Expecter); ok && n > r.seen+1 {
		if err := e.Expect(n); err != nil {
			return err
		}
	}
	return ErrIncomplete
}

// Messages iterates over the whole messages in src and takes each out. It ends
// when what is left is incomplete. An error is the last thing that it yields.
// Next says for how long a message is valid, and which errors there are.
func (r *Reader) Messages(src Source) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			msg, err := r.Next(src)
			if err == ErrIncomplete || err == io.EOF {
				return
			}
			if !yield(msg, err) || err != nil {
				return
			}
		}
	}
}

// Tail is Next for a stream that has ended. It also returns what counts as a
// message only at the end, such as a last line without a terminator. When
// nothing is left, the error is io.EOF. When the stream ended inside a message,
// it is io.ErrUnexpectedEOF, and the bytes stay unread.
func (r *Reader) Tail(src Source) (msg []byte, err error) {
	for {
		data := src.Unread()
		if r.done || len(data) == 0 {
			return nil, io.EOF
		}
		n, msg, err := r.Framing.Split(data, true)
		if err != nil {
			return r.fail(src, n, msg, err)
		}
		if n == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		if err := within(uint64(len(msg)), r.max()); err != nil {
			return nil, err
		}
		r.take(src, n)
		if msg != nil {
			return slices.Clip(msg), nil
		}
	}
}

func (r *Reader) max() int {
	if r.Max <= 0 {
		return DefaultMax
	}
	return r.Max
}

func (r *Reader) take(src Source, n int) {
	r.seen, r.need = 0, 0
	src.Discard(n)
}

// fail ends the stream. A bufio.ErrFinalToken may bring a last message.
func (r *Reader) fail(src Source, n int, msg []byte, err error) ([]byte, error) {
	if err != bufio.ErrFinalToken {
		return nil, err
	}
	r.done = true
	r.take(src, n)
	if msg == nil {
		return nil, io.EOF
	}
	return slices.Clip(msg), nil
}

// within returns ErrTooLong unless a message of at least size bytes may be.
func within(size uint64, bound int) error {
	if size <= uint64(bound) {
		return nil
	}
	return fmt.Errorf("%w: at least %d bytes, where Reader.Max allows %d", ErrTooLong, size, bound)
}

// first is Split in terms of Scan, for data that may be empty. It says whether
// the message was incomplete, when msg is what Scan made of it.
func first(f Framing, data []byte) (n int, msg []byte, incomplete bool, err error) {
	if len(data) == 0 {
		return 0, nil, false, nil
	}
	n, msg, err = f.Scan(data, 0, math.MaxInt)
	if err != nil {
		return 0, nil, false, err
	}
	return n, msg, n > len(data), nil
}
