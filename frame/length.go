package frame

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// LengthPrefix is a Framing by a length before each message. The zero value
// has an unsigned varint, as protocol buffers use it, that counts the message.
//
// A length above Reader.Max is ErrTooLong as soon as it has arrived, also when
// no int could hold it. ErrBadLength is a varint of more than 64 bits, or an
// Inclusive length that is less than that of its own field.
type LengthPrefix struct {
	// Size is the number of bytes in the length field, at most 8. Zero stands
	// for a varint, which takes as many as it needs.
	Size int
	// LittleEndian is the byte order of a field of fixed size. The default is
	// network byte order, big-endian.
	LittleEndian bool
	// Inclusive lengths count the length field itself, too.
	Inclusive bool
}

// fieldMax is the largest Size: that of a uint64.
const fieldMax = 8

// Scan implements Framing. What was seen before is of no use to it: it reads
// the length alone, and once that is there asks for the whole message.
func (p LengthPrefix) Scan(data []byte, _, bound int) (n int, msg []byte, err error) {
	length, field, err := p.read(data)
	if err != nil || field > len(data) {
		return field, nil, err
	}
	if p.Inclusive {
		if length < uint64(field) {
			return 0, nil, fmt.Errorf("%w: %d, in a field of %d bytes that it includes", ErrBadLength, length, field)
		}
		length -= uint64(field)
	}
	if err := within(length, min(bound, math.MaxInt-field)); err != nil {
		return 0, nil, err
	}
	n = field + int(length)
	if n > len(data) {
		return n, nil, nil
	}
	return n, data[field:n:n], nil
}

// Split is a bufio.SplitFunc. At the end of the stream, an incomplete message
// is io.ErrUnexpectedEOF.
func (p LengthPrefix) Split(data []byte, atEOF bool) (advance int, msg []byte, err error) {
	n, msg, incomplete, err := first(p, data)
	switch {
	case incomplete && atEOF:
		return 0, nil, io.ErrUnexpectedEOF
	case incomplete:
		return 0, nil, nil
	}
	return n, msg, err
}

// Append appends the length of msg, then msg, to dst. The error is ErrTooLong,
// and dst as it was, if the field cannot hold the length.
func (p LengthPrefix) Append(dst, msg []byte) ([]byte, error) {
	if err := p.valid(); err != nil {
		return dst, err
	}
	length := uint64(len(msg))
	if p.Inclusive {
		length += p.field(length)
	}
	if p.Size == 0 {
		return append(binary.AppendUvarint(dst, length), msg...), nil
	}
	if p.Size < fieldMax && length>>(8*p.Size) > 0 {
		return dst, fmt.Errorf("%w: %d does not fit a length field of %d bytes", ErrTooLong, length, p.Size)
	}
	return append(p.write(dst, length), msg...), nil
}

// read returns the length at the beginning of data, and how many bytes its
// field takes. While that is more than there are, the length is not known.
func (p LengthPrefix) read(data []byte) (length uint64, field int, err error) {
	if err := p.valid(); err != nil {
		return 0, 0, err
	}
	if p.Size == 0 {
		return readVarint(data)
	}
	if len(data) < p.Size {
		return 0, p.Size, nil
	}
	var b [fieldMax]byte
	if p.LittleEndian {
		copy(b[:], data[:p.Size])
		return binary.LittleEndian.Uint64(b[:]), p.Size, nil
	}
	copy(b[fieldMax-p.Size:], data)
	return binary.BigEndian.Uint64(b[:]), p.Size, nil
}

func readVarint(data []byte) (v uint64, size int, err error) {
	v, size = binary.Uvarint(data)
	switch {
	case size < 0:
		return 0, 0, fmt.Errorf("%w: varint of more than 64 bits", ErrBadLength)
	case size == 0:
		return 0, len(data) + 1, nil
	}
	return v, size, nil
}

func (p LengthPrefix) write(dst []byte, length uint64) []byte {
	var b [fieldMax]byte
	if p.LittleEndian {
		binary.LittleEndian.PutUint64(b[:], length)
		return append(dst, b[:p.Size]...)
	}
	binary.BigEndian.PutUint64(b[:], length)
	return append(dst, b[fieldMax-p.Size:]...)
}

// field returns the size of the field for an Inclusive length, which for a
// varint depends on the sum of both.
func (p LengthPrefix) field(length uint64) uint64 {
	if p.Size > 0 {
		return uint64(p.Size)
	}
	size := uint64(1)
	for (length+size)>>(7*size) > 0 {
		size++
	}
	return size
}

func (p LengthPrefix) valid() error {
	if p.Size < 0 || p.Size > fieldMax {
		return fmt.Errorf("%w: a field of %d bytes, where 0 (varint) to %d are possible", ErrBadLength, p.Size, fieldMax)
	}
	return nil
}
