package load

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// A message says where it belongs, so that one that is lost, doubled, moved or
// given to the wrong connection shows:
//
//	0          8            16
//	| sequence | connection | a part of the pattern, chosen by both ...
//
// Both numbers are little-endian, so that a message too short for them carries
// the digits that change.
type message struct {
	conn     uint64
	sequence uint64
}

const headerSize = 16

// patternSize is a power of two.
const patternSize = 64 << 10

// pattern is random bytes, twice, so that each part of patternSize bytes that
// begins in the first half is one piece. It never changes.
var pattern = func() []byte {
	r := rand.NewChaCha8([32]byte{'e', 'p', 'i'})
	b := make([]byte, patternSize, 2*patternSize)
	_, _ = r.Read(b) // it never fails
	return append(b, b...)
}()

func (m message) header() (h [headerSize]byte) {
	binary.LittleEndian.PutUint64(h[:], m.sequence)
	binary.LittleEndian.PutUint64(h[8:], m.conn)
	return h
}

// part returns the bytes of the message from offset on, which is behind the
// header, at most n and at most patternSize.
func (m message) part(offset, n int) []byte {
	// Two odd constants spread neighbours over the pattern (Fibonacci hashing).
	start := (m.conn*0x9E3779B97F4A7C15 + m.sequence*0xBF58476D1CE4E5B9) >> 48
	from := (int(start) + offset) % patternSize
	return pattern[from:][:min(n, patternSize)]
}

// appendTo appends the message, of the given size, to b.
func (m message) appendTo(b []byte, size int) []byte {
	h := m.header()
	b = append(b, h[:min(size, headerSize)]...)
	for offset := headerSize; offset < size; {
		part := m.part(offset, size-offset)
		b = append(b, part...)
		offset += len(part)
	}
	return b
}

// differs compares got with the bytes of the message from offset on, and
// returns the index of the first wrong one, or -1.
func (m message) differs(got []byte, offset int) int {
	done := 0
	if offset < headerSize {
		h := m.header()
		want := h[offset:]
		want = want[:min(len(want), len(got))]
		if !bytes.Equal(got[:len(want)], want) {
			return firstDifference(got, want)
		}
		done = len(want)
	}
	for done < len(got) {
		want := m.part(offset+done, len(got)-done)
		if !bytes.Equal(got[done:][:len(want)], want) {
			return done + firstDifference(got[done:], want)
		}
		done += len(want)
	}
	return -1
}

func firstDifference(got, want []byte) int {
	for i := range want {
		if got[i] != want[i] {
			return i
		}
	}
	return -1
}

// at returns the byte of the message at offset.
func (m message) at(offset int) byte {
	if offset < headerSize {
		return m.header()[offset]
	}
	return m.part(offset, 1)[0]
}

// describe says what is wrong with got, whose byte at wrong is the first that
// differs.
func (m message) describe(got []byte, offset, wrong int) string {
	text := fmt.Sprintf("connection %d, message %d, byte %d: got 0x%02x, want 0x%02x",
		m.conn, m.sequence, offset+wrong, got[wrong], m.at(offset+wrong))
	if offset > 0 || len(got) < headerSize {
		return text
	}
	other := message{sequence: binary.LittleEndian.Uint64(got), conn: binary.LittleEndian.Uint64(got[8:])}
	if other == m || other.differs(got[:min(len(got), 2*headerSize)], 0) >= 0 {
		return text
	}
	return fmt.Sprintf("connection %d: message %d of connection %d came where message %d was due", m.conn, other.sequence, other.conn, m.sequence)
}
