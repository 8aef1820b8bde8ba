package load

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestEveryWrongByteIsFound(t *testing.T) {
	m := message{conn: 300, sequence: 70_000}
	for _, size := range []int{1, 7, headerSize - 1, headerSize, headerSize + 1, 64, 1000} {
		whole := m.appendTo(nil, size)
		if len(whole) != size {
			t.Fatalf("a message of %d bytes has %d", size, len(whole))
		}
		for i := range whole {
			got := bytes.Clone(whole)
			got[i] ^= 0x10
			if wrong := m.differs(got, 0); wrong != i {
				t.Errorf("%d bytes, byte %d wrong: found %d", size, i, wrong)
			}
			text := m.describe(got, 0, i)
			if !strings.Contains(text, "connection 300") || !strings.Contains(text, "70000") {
				t.Errorf("described as %q", text)
			}
		}
	}
}

func TestMessageComparedInPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		m := message{conn: r.Uint64N(1 << 20), sequence: r.Uint64N(1 << 40)}
		size := 1 + r.IntN(3*patternSize)
		whole := m.appendTo([]byte("before"), size)[len("before"):]
		for offset := 0; offset < size; {
			n := 1 + r.IntN(size-offset)
			if wrong := m.differs(whole[offset:offset+n], offset); wrong >= 0 {
				t.Fatalf("%+v, %d bytes: the piece of %d at %d differs at %d", m, size, n, offset, wrong)
			}
			offset += n
		}
		i := r.IntN(size)
		if whole[i] != m.at(i) {
			t.Fatalf("byte %d is 0x%02x, at says 0x%02x", i, whole[i], m.at(i))
		}
		whole[i]++
		if wrong := m.differs(whole, 0); wrong != i {
			t.Fatalf("byte %d of %d is wrong: found %d", i, size, wrong)
		}
	}
}

func TestMessagesDiffer(t *testing.T) {
	m := message{conn: 1, sequence: 1}
	for _, other := range []message{{1, 2}, {2, 1}, {2, 2}, {1, 257}} {
		got := other.appendTo(nil, 64)
		wrong := m.differs(got, 0)
		if wrong < 0 {
			t.Fatalf("%+v looks like %+v", other, m)
		}
		if text := m.describe(got, 0, wrong); !strings.Contains(text, "came where") {
			t.Errorf("%+v in the place of %+v is described as %q", other, m, text)
		}
	}
}

func TestRingKeepsOrder(t *testing.T) {
	var r ring[int]
	var model []int
	random := rand.New(rand.NewPCG(3, 3))
	for i := range 10_000 {
		if len(model) == 0 || random.IntN(100) < 52 {
			r.push(i)
			model = append(model, i)
			continue
		}
		if got := r.pop(); got != model[0] {
			t.Fatalf("popped %d, want %d", got, model[0])
		}
		model = model[1:]
	}
	var left []int
	for i := range r.n {
		left = append(left, *r.at(i))
	}
	if !slices.Equal(left, model) {
		t.Errorf("left are %v, want %v", left, model)
	}
}
