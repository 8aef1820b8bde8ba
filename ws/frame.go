package ws

import (
	"bytes"
	"crypto/rand"
	"math"
	"sync"

	"github.com/gobwas/ws"
)

// An Opcode tells text from binary messages.
type Opcode = ws.OpCode

// The opcodes of messages.
const (
	Text   = ws.OpText
	Binary = ws.OpBinary
)

const (
	maxControl = ws.MaxControlFramePayloadSize
	// The bits of a header's second byte, and the lengths that mean that the
	// length follows (RFC 6455, section 5.2).
	maskBit    = 0x80
	lengthBits = 0x7f
	length16   = 126
	length64   = 127
	max16      = 1<<16 - 1
	maskSize   = 4
	rsv1       = 4 // of ws.Header.Rsv: the message is compressed
)

// headerReader is what decoding a header needs.
type headerReader struct {
	bytes.Reader
	buf [ws.MaxHeaderSize]byte
}

var headerReaders = sync.Pool{New: func() any { return new(headerReader) }}

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

// parseHeader decodes the header at the start of p, whose length was checked,
// and returns its size, 0 when p does not have all of it.
func parseHeader(p []byte) (h ws.Header, size int, err error) {
	size = headerSize(p)
	if size > len(p) {
		return h, 0, nil
	}
	r := headerReaders.Get().(*headerReader)
	r.Reset(p[:size])
	h, err = ws.ReadHeaderBuffer(&r.Reader, r.buf[:])
	r.Reset(nil)
	headerReaders.Put(r)
	return h, size, err
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

// appendFrame encodes a whole message, masked for servers.
func appendFrame(b *bytes.Buffer, op Opcode, rsv byte, masked bool, p []byte) {
	h := ws.Header{Fin: true, OpCode: op, Rsv: rsv, Length: int64(len(p)), Masked: masked}
	if masked {
		h.Mask = newMask()
	}
	b.Grow(ws.MaxHeaderSize + len(p))
	_ = ws.WriteHeaderBuffer(b, h, b.AvailableBuffer()) // a Buffer takes everything
	start := b.Len()
	b.Write(p)
	if masked {
		ws.Cipher(b.Bytes()[start:], h.Mask, 0)
	}
}
