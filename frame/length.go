package frame

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// LengthPrefix is a Framing by a length before each message. The zero value
// has an unsigned varint, as protocol buffers use it, that counts the message.
//
//	           ┌──────── Whole ────────┐
//	bytes      │ Offset │ length │ ... │
//	                             └─────┘ the message else, of length + Adjust bytes
//
// A header can lie around the length, and be part of the message:
//
//	MQTT     LengthPrefix{Offset: 1, Whole: true}
//	HTTP/2   LengthPrefix{Size: 3, Adjust: 6, Whole: true}
//	AMQP     LengthPrefix{Offset: 3, Size: 4, Adjust: 1, Whole: true}
//
// A length above Reader.Max is ErrTooLong as soon as it has arrived, also when
// no int could hold it. ErrBadLength is a varint of more than 64 bits, an
// Inclusive length that is less than that of its own field, or one that is less
// than nothing with Adjust.
type LengthPrefix struct {
	// Size is the number of bytes in the length field, at most 8. Zero stands
	// for a varint, which takes as many as it needs.
	Size int
	// LittleEndian is the byte order of a field of fixed size. The default is
	// network byte order, big-endian.
	LittleEndian bool
	// Inclusive lengths count the length field itself, too.
	Inclusive bool
	// Offset is how many bytes come before the length field.
	Offset int
	// Adjust is how many bytes more than the length says follow its field; it is
	// negative where the length counts what comes before, too.
	Adjust int
	// Whole messages are all there is: the bytes before the length and the field
	// itself, too, which count for Reader.Max. Else they are what follows it.
	Whole bool
}

const (
	// fieldMax is the largest Size: that of a uint64.
	fieldMax = 8
	// maxHeader bounds Offset and Adjust, far above any protocol's.
	maxHeader = 1 << 20
)

// Scan implements Framing. What was seen before is of no use to it: it reads
// the length alone, and once that is there asks for the whole message.
func (p LengthPrefix) Scan(data []byte, _, bound int) (n int, msg []byte, err error) {
	body, header, err := p.header(data)
	if err != nil || header > len(data) {
		return header, nil, err
	}
	begin := header
	if p.Whole {
		begin = 0
	}
	size := body + uint64(header-begin)
	if size < body {
		size = math.MaxUint64
	}
	if err := cmp.Or(within(size, bound), within(body, math.MaxInt-header)); err != nil {
		return 0, nil, err
	}
	n = header + int(body)
	if n > len(data) {
		return n, nil, nil
	}
	return n, data[begin:n:n], nil
}

// header returns how many bytes a message has behind its length, and how many it
// has up to there. While that is more than there are, the first is not known.
func (p LengthPrefix) header(data []byte) (body uint64, header int, err error) {
	if err := p.valid(); err != nil {
		return 0, 0, err
	}
	length, field, err := p.read(data[min(p.Offset, len(data)):])
	header = p.Offset + field
	if err != nil || header > len(data) {
		return 0, header, err
	}
	if p.Inclusive {
		if length < uint64(field) {
			return 0, 0, fmt.Errorf("%w: %d, in a field of %d bytes that it includes", ErrBadLength, length, field)
		}
		length -= uint64(field)
	}
	switch {
	case p.Adjust < 0 && length < uint64(-p.Adjust):
		return 0, 0, fmt.Errorf("%w: %d, and Adjust takes %d away", ErrBadLength, length, -p.Adjust)
	case p.Adjust > 0 && length > math.MaxUint64-uint64(p.Adjust):
		return math.MaxUint64, header, nil
	}
	return length + uint64(p.Adjust), header, nil
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

// Append appends msg to dst, with its length where that belongs: behind the first
// Offset bytes of msg. The error is ErrTooLong if the field cannot hold the length,
// and ErrBadLength if msg has fewer bytes than Offset and Adjust ask for; then dst
// is as it was.
func (p LengthPrefix) Append(dst, msg []byte) ([]byte, error) {
	if err := p.valid(); err != nil {
		return dst, err
	}
	if least := p.Offset + max(p.Adjust, 0); len(msg) < least {
		return dst, fmt.Errorf("%w: a message of %d bytes, where Offset and Adjust ask for %d", ErrBadLength, len(msg), least)
	}
	length := uint64(len(msg) - p.Offset - p.Adjust)
	if p.Inclusive {
		length += p.field(length)
	}
	if p.Size > 0 && p.Size < fieldMax && length>>(8*p.Size) > 0 {
		return dst, fmt.Errorf("%w: %d does not fit a length field of %d bytes", ErrTooLong, length, p.Size)
	}
	dst = p.write(append(dst, msg[:p.Offset]...), length)
	return append(dst, msg[p.Offset:]...), nil
}

// read returns the length at the beginning of data, and how many bytes its
// field takes. While that is more than there are, the length is not known.
func (p LengthPrefix) read(data []byte) (length uint64, field int, err error) {
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
	if p.Size == 0 {
		return binary.AppendUvarint(dst, length)
	}
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
	switch {
	case p.Size < 0 || p.Size > fieldMax:
		return fmt.Errorf("%w: a field of %d bytes, where 0 (varint) to %d are possible", ErrBadLength, p.Size, fieldMax)
	case p.Offset < 0 || p.Offset > maxHeader || p.Adjust < -maxHeader || p.Adjust > maxHeader:
		return fmt.Errorf("%w: Offset is %d, from 0 to %d, and Adjust %d, from -%[3]d to %[3]d", ErrBadLength, p.Offset, maxHeader, p.Adjust)
	}
	return nil
}
