package epi

import "encoding/binary"

const (
	recordHeader    = 5  // RFC 8446, section 5.1: type, version and length
	recordHandshake = 22 // the type of a ClientHello
)

// recordSize returns the size of the TLS record that begins with header.
func recordSize(header []byte) int {
	return recordHeader + int(binary.BigEndian.Uint16(header[recordHeader-2:]))
}

// wholeRecord reports whether p begins with a whole record of a handshake, or
// with something that can never be one.
func wholeRecord(p []byte) bool {
	if len(p) > 0 && p[0] != recordHandshake {
		return true
	}
	return len(p) >= recordHeader && len(p) >= recordSize(p)
}

// isRecord reports whether p is one record, from its header to its end.
func isRecord(p []byte) bool { return len(p) >= recordHeader && len(p) == recordSize(p) }

// records follows a stream of bytes through the records that it consists of.
type records struct {
	header [recordHeader]byte
	have   uint8 // bytes of the header, until it is whole
	left   int   // bytes of the record behind it
}

// follow goes on by p.
func (r *records) follow(p []byte) {
	for len(p) > 0 {
		n := min(r.left, len(p))
		r.left -= n
		p = p[n:]
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
