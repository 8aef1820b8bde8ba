// Package proto is the wire of a world: messages as bytes and back. It knows no
// socket and no rule of the game.
//
// The types and their methods are in codec.go, which is generated, as the codec of
// the web client and docs/world-protocol.md are, from the package table.
package proto

//go:generate go run ./gen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// A Type is that of a message, its first byte.
type Type uint8

// A Message is one of the types of codec.go.
type Message interface {
	Type() Type
	Check() error
	Append(p []byte) []byte
}

// What can be wrong with bytes that are to be a message. Errors that say more wrap
// these.
var (
	ErrShort   = errors.New("the message is cut off")
	ErrRange   = errors.New("a value is outside its range")
	ErrText    = errors.New("a text is not UTF-8")
	ErrUnknown = errors.New("the type of the message is unknown")
)

func outside(name string, v uint32) error { return fmt.Errorf("%w: %s is %d", ErrRange, name, v) }

func unknown(t byte) error { return fmt.Errorf("%w: %d", ErrUnknown, t) }

func within(n, least, most int) bool { return least <= n && n <= most }

// A reader takes values from p. After an error there is nothing left in it, and all
// values are 0.
type reader struct {
	p   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.p = nil
}

// take returns the next n bytes, nil where there are fewer.
func (r *reader) take(n int) []byte {
	if len(r.p) < n {
		r.fail(ErrShort)
		return nil
	}
	v := r.p[:n:n]
	r.p = r.p[n:]
	return v
}

func (r *reader) u8() uint32 {
	if v := r.take(1); v != nil {
		return uint32(v[0])
	}
	return 0
}

func (r *reader) u16() uint32 {
	if v := r.take(2); v != nil {
		return uint32(binary.LittleEndian.Uint16(v))
	}
	return 0
}

func (r *reader) u32() uint32 {
	if v := r.take(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

// uvarint reads a number of at most 32 bits in its shortest form.
func (r *reader) uvarint() uint32 {
	v, n := binary.Uvarint(r.p)
	switch {
	case n == 0:
		r.fail(ErrShort)
	case n < 0 || v > 1<<32-1 || n > 1 && r.p[n-1] == 0:
		r.fail(fmt.Errorf("%w: a number is longer than need be, or than 32 bits", ErrRange))
	default:
		r.p = r.p[n:]
		return uint32(v)
	}
	return 0
}

// number checks the range of a number.
func (r *reader) number(name string, v, least, most uint32) uint32 {
	if r.err == nil && (v < least || v > most) {
		r.fail(outside(name, v))
	}
	if r.err != nil {
		return 0
	}
	return v
}

func (r *reader) bytes(name string, least, most uint32) []byte {
	return r.take(int(r.number(name, r.uvarint(), least, most)))
}

func (r *reader) text(name string, least, most uint32) string {
	p := r.bytes(name, least, most)
	if !utf8.Valid(p) {
		r.fail(fmt.Errorf("%w: %s", ErrText, name))
		return ""
	}
	return string(p)
}

// count reads how many elements a list has; each has at least size bytes.
func (r *reader) count(name string, least, most uint32, size int) int {
	n := int(r.number(name, r.uvarint(), least, most))
	if n*size > len(r.p) {
		r.fail(ErrShort)
		return 0
	}
	return n
}

// more makes a list longer by one element, with what lists in it had before.
func more[T any](list []T) []T {
	if len(list) < cap(list) {
		return list[:len(list)+1]
	}
	var none T
	return append(list, none)
}
