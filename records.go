package epi

import "encoding/binary"

// Of records (RFC 8446, section 5.1) and of the messages of the handshake in them
// (section 4).
const (
	recordHeader    = 5       // type, version and length
	recordHandshake = 22      // the type
	recordVersion   = 3       // the first byte of all versions from SSL 3.0 to TLS 1.3
	maxRecord       = 1 << 14 // bytes behind the header, as long as nothing is encrypted

	messageHeader = 4        // type and length
	messageHello  = 1        // the type
	maxHello      = 64 << 10 // bytes of a ClientHello: crypto/tls takes no more
)

// recordSize returns the size of the TLS record that begins with header.
func recordSize(header []byte) int {
	return recordHeader + int(binary.BigEndian.Uint16(header[recordHeader-2:]))
}

// isRecord reports whether p is one record, from its header to its end.
func isRecord(p []byte) bool { return len(p) >= recordHeader && len(p) == recordSize(p) }

// A hello follows a client's first bytes to the end of its ClientHello, which may
// be spread over several records.
type hello struct {
	seen    int                 // bytes
	left    int                 // bytes of the record under way that were not seen
	message [messageHeader]byte // the header
	have    int                 // bytes of the message, its header among them
}

// A verdict is what a client's first bytes are.
type verdict uint8

const (
	helloAwaited verdict = iota // the beginning of a ClientHello
	helloWhole                  // a whole one, perhaps with more behind it
	helloBroken                 // of TLS, but no ClientHello will come of it
	notTLS
)

// look looks at what has come behind what was seen before; p is all of it.
func (h *hello) look(p []byte) verdict {
	if !beginsRecord(p) {
		return notTLS
	}
	for h.seen < len(p) {
		if h.left > 0 {
			if v := h.take(p[h.seen:]); v != helloAwaited {
				return v
			}
			continue
		}
		header := p[h.seen:]
		if !beginsRecord(header) {
			return helloBroken
		}
		if len(header) < recordHeader {
			break
		}
		h.seen += recordHeader
		h.left = recordSize(header) - recordHeader
		if h.left == 0 || h.left > maxRecord {
			return helloBroken
		}
	}
	return helloAwaited
}

// take goes on in a record.
func (h *hello) take(p []byte) verdict {
	p = p[:min(len(p), h.left)]
	if h.have < messageHeader {
		copy(h.message[h.have:], p)
	}
	h.seen += len(p)
	h.left -= len(p)
	h.have += len(p)
	if h.message[0] != messageHello {
		return helloBroken
	}
	if h.have < messageHeader {
		return helloAwaited
	}
	size := int(binary.BigEndian.Uint32(h.message[:]) & 0xffffff)
	switch {
	case size > maxHello:
		return helloBroken
	case h.have >= messageHeader+size:
		return helloWhole
	}
	return helloAwaited
}

// beginsRecord reports whether p can be the beginning of a handshake's record.
func beginsRecord(p []byte) bool {
	return (len(p) < 1 || p[0] == recordHandshake) && (len(p) < 2 || p[1] == recordVersion)
}

// records follows a stream of bytes through the records that it consists of.
type records struct {
	header [recordHeader]byte
	have   uint8  // bytes of the header, until it is whole
	left   int    // bytes of the record behind it
	ended  uint32 // records so far; the number may come again
}

// follow goes on by p.
func (r *records) follow(p []byte) {
	for len(p) > 0 {
		n := min(r.left, len(p))
		r.left -= n
		p = p[n:]
		if n > 0 && r.left == 0 {
			r.ended++
		}
		n = copy(r.header[r.have:], p)
		r.have += uint8(n)
		p = p[n:]
		if r.have == recordHeader {
			r.left, r.have = recordSize(r.header[:])-recordHeader, 0
		}
	}
}

// between reports whether a record has ended and the next one has not begun.
func (r *records) between() bool { return r.left == 0 && r.have == 0 }
