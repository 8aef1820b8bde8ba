// Package tlsrecord follows TLS records in a stream of bytes, and a client's first
// message in them. It decrypts nothing and knows no socket.
package tlsrecord

import "encoding/binary"

// Of records (RFC 8446, section 5.1) and of the messages of the handshake in them
// (section 4).
const (
	headerSize    = 5       // type, version and length
	typeHandshake = 22      // the type
	majorVersion  = 3       // the first byte of all versions from SSL 3.0 to TLS 1.3
	maxRecord     = 1 << 14 // bytes behind the header, as long as nothing is encrypted

	messageHeader = 4        // type and length
	messageHello  = 1        // the type
	maxHello      = 64 << 10 // bytes of a ClientHello: crypto/tls takes no more
)

// sizeOf returns the size of the TLS record that begins with header.
func sizeOf(header []byte) int {
	return headerSize + int(binary.BigEndian.Uint16(header[headerSize-2:]))
}

// IsOne reports whether p is one record, from its header to its end.
func IsOne(p []byte) bool { return len(p) >= headerSize && len(p) == sizeOf(p) }

// A Hello follows a client's first bytes to the end of its ClientHello, which may
// be spread over several records.
type Hello struct {
	seen    int                 // bytes
	left    int                 // bytes of the record under way that were not seen
	message [messageHeader]byte // the header
	have    int                 // bytes of the message, its header among them
}

// A Verdict is what a client's first bytes are.
type Verdict uint8

const (
	HelloAwaited Verdict = iota // the beginning of a ClientHello
	HelloWhole                  // a whole one, perhaps with more behind it
	HelloBroken                 // of TLS, but no ClientHello will come of it
	NotTLS
)

// Look looks at what has come behind what was seen before; p is all of it.
func (h *Hello) Look(p []byte) Verdict {
	if !beginsRecord(p) {
		return NotTLS
	}
	for h.seen < len(p) {
		if h.left > 0 {
			if v := h.take(p[h.seen:]); v != HelloAwaited {
				return v
			}
			continue
		}
		header := p[h.seen:]
		if !beginsRecord(header) {
			return HelloBroken
		}
		if len(header) < headerSize {
			break
		}
		h.seen += headerSize
		h.left = sizeOf(header) - headerSize
		if h.left == 0 || h.left > maxRecord {
			return HelloBroken
		}
	}
	return HelloAwaited
}

// take goes on in a record.
func (h *Hello) take(p []byte) Verdict {
	p = p[:min(len(p), h.left)]
	if h.have < messageHeader {
		copy(h.message[h.have:], p)
	}
	h.seen += len(p)
	h.left -= len(p)
	h.have += len(p)
	if h.message[0] != messageHello {
		return HelloBroken
	}
	if h.have < messageHeader {
		return HelloAwaited
	}
	size := int(binary.BigEndian.Uint32(h.message[:]) & 0xffffff)
	switch {
	case size > maxHello:
		return HelloBroken
	case h.have >= messageHeader+size:
		return HelloWhole
	}
	return HelloAwaited
}

// beginsRecord reports whether p can be the beginning of a handshake's record.
func beginsRecord(p []byte) bool {
	return (len(p) < 1 || p[0] == typeHandshake) && (len(p) < 2 || p[1] == majorVersion)
}

// A Stream follows a stream of bytes through the records that it consists of.
type Stream struct {
	header [headerSize]byte
	have   uint8  // bytes of the header, until it is whole
	left   int32  // bytes of the record behind it
	ended  uint32 // records so far
}

// Follow goes on by p.
func (s *Stream) Follow(p []byte) {
	for len(p) > 0 {
		n := min(int(s.left), len(p))
		s.left -= int32(n)
		p = p[n:]
		if n > 0 && s.left == 0 {
			s.ended++
		}
		n = copy(s.header[s.have:], p)
		s.have += uint8(n)
		p = p[n:]
		if s.have == headerSize {
			s.left, s.have = int32(sizeOf(s.header[:])-headerSize), 0
		}
	}
}

// Ended returns how many records have ended; after 2³² the number comes again.
func (s *Stream) Ended() uint32 { return s.ended }

// Between reports whether a record has ended and the next one has not begun.
func (s *Stream) Between() bool { return s.left == 0 && s.have == 0 }
