package tlsrecord

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// record returns a TLS record with size bytes behind its header.
func record(size int) []byte {
	p := make([]byte, headerSize+size)
	p[0] = 23 // application data
	binary.BigEndian.PutUint16(p[headerSize-2:], uint16(size))
	return p
}

// TestRecords_AreFollowedInAnyPieces compares with the places where records end.
func TestRecords_AreFollowedInAnyPieces(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var stream []byte
	ends := map[int]bool{0: true}
	for _, size := range []int{0, 1, 4, 5, 6, 500, 0, 0, 1 << 14, 1<<16 - 1, 17} {
		stream = append(stream, record(size)...)
		ends[len(stream)] = true
	}
	for _, most := range []int{1, 2, 6, 600, len(stream)} {
		var r Stream
		for at := 0; at < len(stream); {
			n := min(1+rng.IntN(most), len(stream)-at)
			r.Follow(stream[at : at+n])
			at += n
			if r.Between() != ends[at] {
				t.Fatalf("pieces of at most %d: after %d bytes between is %v", most, at, r.Between())
			}
		}
	}
}

// TestHello_IsFollowedInAnyPieces: its end is found where it is, however it is
// spread over records and arrivals.
func TestHello_IsFollowedInAnyPieces(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, size := range []int{0, 1, 300, 20_000, maxHello} {
		for _, most := range []int{1, 3, 100, maxRecord} {
			message := make([]byte, messageHeader+size)
			message[0] = messageHello
			message[1], message[2], message[3] = byte(size>>16), byte(size>>8), byte(size)
			var stream []byte
			for left := message; len(left) > 0; {
				n := min(1+rng.IntN(most), len(left))
				stream = append(stream, typeHandshake, majorVersion, 1, byte(n>>8), byte(n))
				stream = append(stream, left[:n]...)
				left = left[n:]
			}
			for _, piece := range []int{1, 7, 2000, len(stream)} {
				var h Hello
				for at := 0; at < len(stream); {
					at = min(at+piece, len(stream))
					want := HelloAwaited
					if at == len(stream) {
						want = HelloWhole
					}
					if got := h.Look(stream[:at]); got != want {
						t.Fatalf("%d bytes in records of at most %d and pieces of %d: at %d of %d the verdict is %d, want %d", size, most, piece, at, len(stream), got, want)
					}
				}
			}
		}
	}
}

func TestRecords_OneIsToldFromMoreAndLess(t *testing.T) {
	one := record(100)
	rows := []struct {
		name string
		p    []byte
		want bool
	}{
		{"nothing", nil, false},
		{"a part of a header", one[:headerSize-1], false},
		{"a header", one[:headerSize], false},
		{"all but the last byte", one[:len(one)-1], false},
		{"one", one, true},
		{"an empty one", record(0), true},
		{"one and a byte", append(record(100), 23), false},
		{"two", append(record(100), record(100)...), false},
	}
	for _, row := range rows {
		if got := IsOne(row.p); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}
