package ws

import (
	"bytes"
	"crypto/rand"
	wire "encoding/binary"
	"math"
	"sync"

	"github.com/gobwas/ws"
)

// An Opcode distinguishes text from binary messages.
type Opcode = ws.OpCode

// The opcodes of messages.
const (
	Text   = ws.OpText
	Binary = ws.OpBinary
)

const (
	maxControl = ws.MaxControlFramePayloadSize
	// The bits of a header's first and second byte, and the lengths that mean that
	// the length follows (RFC 6455, section 5.2).
	finBit     = 0x80
	opcodeBits = 0xf
	maskBit    = 0x80
	lengthBits = 0x7f
	length16   = 126
	length64   = 127
	max16      = 1<<16 - 1
	maskSize   = 4
	rsv1       = 4 // of ws.Header.Rsv: the message is compressed
)

// checkLengthBytes checks the length that follows the first two bytes, as soon
// as it is there.
func checkLengthBytes(p []byte) error {
	size, least := 0, uint64(0)
	switch p[1] & lengthBits {
	case length16:
		size, least = 2, length16
	case length64:
		size, least = 8, max16+1
	}
	if len(p) < ws.MinHeaderSize+size {
		return nil
	}
	var length uint64
	for _, b := range p[ws.MinHeaderSize:][:size] {
		length = length<<8 | uint64(b)
	}
	switch {
	case length > math.MaxInt64:
		return violation(ProtocolError, "frame length with its top bit set")
	case length < least:
		return violation(ProtocolError, "frame length in more bytes than it needs")
	}
	return nil
}

// parseHeader decodes the header at the start of p, whose length was checked; h is
// what startOf has decoded of it. It returns its size, 0 when p does not have
// all of it.
func parseHeader(h *ws.Header, p []byte) (size int) {
	size = headerSize(p)
	if size > len(p) {
		return 0
	}
	rest := p[ws.MinHeaderSize:size]
	switch h.Length {
	case length16:
		h.Length = int64(wire.BigEndian.Uint16(rest))
	case length64:
		h.Length = int64(wire.BigEndian.Uint64(rest))
	}
	if h.Masked {
		h.Mask = [maskSize]byte(rest[len(rest)-maskSize:])
	}
	return size
}

// startOf decodes the first two bytes of a header; the length may still be one that
// says that it follows.
func startOf(first, second byte) ws.Header {
	return ws.Header{
		Fin:    first&finBit != 0,
		Rsv:    first >> 4 & 7,
		OpCode: Opcode(first & opcodeBits),
		Masked: second&maskBit != 0,
		Length: int64(second & lengthBits),
	}
}

// headerSize returns the size of the header that begins p: at least 2.
func headerSize(p []byte) int {
	size := ws.MinHeaderSize
	if len(p) < size {
		return size
	}
	if p[1]&maskBit != 0 {
		size += maskSize
	}
	switch p[1] & lengthBits {
	case length16:
		size += 2
	case length64:
		size += 8
	}
	return size
}

// masks are random bytes from which masks are taken: they must be such that nobody
// can foresee them (RFC 6455, section 5.3).
type masks struct {
	random [256 * maskSize]byte
	used   int // of random
}

var maskPool = sync.Pool{New: func() any { return &masks{used: len(masks{}.random)} }}

func newMask() (mask [maskSize]byte) {
	m := maskPool.Get().(*masks)
	defer maskPool.Put(m)
	if m.used == len(m.random) {
		_, _ = rand.Read(m.random[:]) // it never fails
		m.used = 0
	}
	m.used += copy(mask[:], m.random[m.used:])
	return mask
}

// maxScratch bounds the buffers that are kept, and the frames that are copied
// twice instead of allocated.
const maxScratch = 64 << 10

// appendHeader encodes the header of a frame, which follows unmasked.
func appendHeader(b []byte, op Opcode, rsv byte, fin bool, length int) []byte {
	first := byte(op) | rsv<<4
	if fin {
		first |= finBit
	}
	switch {
	case length < length16:
		return append(b, first, byte(length))
	case length <= max16:
		return wire.BigEndian.AppendUint16(append(b, first, length16), uint16(length))
	}
	return wire.BigEndian.AppendUint64(append(b, first, length64), uint64(length))
}

// appendMasked encodes a whole frame for a server.
func appendMasked(b *bytes.Buffer, op Opcode, rsv byte, fin bool, p []byte) {
	b.Grow(ws.MaxHeaderSize + len(p))
	head := appendHeader(b.AvailableBuffer(), op, rsv, fin, len(p))
	head[1] |= maskBit
	mask := newMask()
	b.Write(append(head, mask[:]...))
	start := b.Len()
	b.Write(p)
	ws.Cipher(b.Bytes()[start:], mask, 0)
}
