package slab

import (
	"maps"
	"math/rand/v2"
	"testing"
	"unsafe"
)

func TestEntryOfAPointerTakes16Bytes(t *testing.T) {
	if size := unsafe.Sizeof(entry[*int]{}); size != 16 {
		t.Fatalf("an entry takes %d bytes", size)
	}
}

func TestStaleTokenMisses(t *testing.T) {
	var s Slab[string]
	old := s.Insert("old")
	if !s.Remove(old) || s.Remove(old) {
		t.Fatal("want the first Remove to succeed and the second to fail")
	}
	if v, ok := s.Get(old); ok || v != "" {
		t.Fatalf("Get of a removed token: %q, %v", v, ok)
	}
	fresh := s.Insert("fresh")
	if fresh.slot() != old.slot() {
		t.Fatalf("slot %d, want %d used again", fresh.slot(), old.slot())
	}
	if v, ok := s.Get(old); ok {
		t.Fatalf("a stale token found %q", v)
	}
	if s.Remove(old) {
		t.Fatal("a stale token removed its successor")
	}
	if v, ok := s.Get(fresh); !ok || v != "fresh" {
		t.Fatalf("Get = %q, %v", v, ok)
	}
}

func TestTokensNeverGivenOutMiss(t *testing.T) {
	var s Slab[int]
	s.Remove(s.Insert(1)) // slot 0 is free, its next generation is 2
	s.Insert(2)
	s.Insert(3)
	for _, tok := range []Token{0, ^Token(0), token(0, 0), token(0, 3), token(2, 1), token(1, 0), token(inUse, 1)} {
		if v, ok := s.Get(tok); ok || s.Remove(tok) {
			t.Errorf("token %#x found %d", uint64(tok), v)
		}
	}
	var empty Slab[int]
	if _, ok := empty.Get(token(0, 1)); ok {
		t.Error("an empty slab found a value")
	}
}

func TestFreeSlotsNextGenerationMisses(t *testing.T) {
	var s Slab[int]
	tok := s.Insert(1)
	s.Remove(tok)
	next := token(tok.slot(), tok.gen()+1)
	if _, ok := s.Get(next); ok || s.Remove(next) {
		t.Fatal("a token that is yet to be given out was found")
	}
	if got := s.Insert(2); got != next {
		t.Fatalf("Insert = %#x, want %#x", uint64(got), uint64(next))
	}
}

func TestUsedUpSlotIsRetired(t *testing.T) {
	var s Slab[int]
	s.Remove(s.Insert(1))
	s.entries[0].gen = lastGen // as after 2^31-2 values
	last := s.Insert(2)
	if last != token(0, lastGen) {
		t.Fatalf("Insert = %#x", uint64(last))
	}
	if !s.Remove(last) {
		t.Fatal("the last generation was not found")
	}
	after := s.Insert(3)
	if after != token(1, 1) {
		t.Fatalf("Insert = %#x after the last generation, want slot 1", uint64(after))
	}
	for _, stale := range []Token{last, token(0, 0), token(0, 1)} {
		if _, ok := s.Get(stale); ok {
			t.Errorf("token %#x of a retired slot was found", uint64(stale))
		}
	}
	for tok := range s.All() {
		if tok != after {
			t.Errorf("All visits %#x", uint64(tok))
		}
	}
}

func TestSlotFreedLastIsUsedFirst(t *testing.T) {
	var s Slab[int]
	var toks []Token
	for i := range 4 {
		toks = append(toks, s.Insert(i))
	}
	s.Remove(toks[1])
	s.Remove(toks[3])
	for _, want := range []uint32{3, 1, 4} {
		if got := s.Insert(0).slot(); got != want {
			t.Fatalf("slot %d, want %d", got, want)
		}
	}
}

func TestRemovedValueIsLetGo(t *testing.T) {
	var s Slab[*int]
	tok := s.Insert(new(int))
	s.Remove(tok)
	if s.entries[0].value != nil {
		t.Fatal("a removed pointer is still held")
	}
}

func TestAllWhileRemoving(t *testing.T) {
	var s Slab[int]
	for i := range 100 {
		s.Insert(i)
	}
	sum := 0
	for tok, v := range s.All() {
		sum += v
		s.Remove(tok)
		if v%10 == 0 {
			s.Remove(token(tok.slot()+1, 1)) // not yet visited
		}
	}
	if want := 99*100/2 - (1 + 11 + 21 + 31 + 41 + 51 + 61 + 71 + 81 + 91); sum != want || s.Len() != 0 {
		t.Fatalf("sum %d, want %d; %d left", sum, want, s.Len())
	}
	s.Insert(1)
	s.Insert(2)
	for range s.All() {
		break
	}
}

func TestAllWhileGrowing(t *testing.T) {
	var s Slab[int]
	s.Insert(0)
	for _, v := range s.All() {
		if v < 1000 {
			s.Insert(v + 1)
		}
	}
	if s.Len() != 1001 {
		t.Fatalf("Len() = %d", s.Len())
	}
}

func TestNothingAllocatesOnceGrown(t *testing.T) {
	var s Slab[int]
	toks := make([]Token, 1000)
	allocs := testing.AllocsPerRun(10, func() {
		for i := range toks {
			toks[i] = s.Insert(i)
		}
		for _, tok := range toks {
			s.Remove(tok)
		}
	})
	if allocs != 0 {
		t.Fatalf("%v allocations", allocs)
	}
}

// A model is a slab together with the map that it must agree with.
type model struct {
	testing.TB
	slab  Slab[int]
	alive map[Token]int
	given []Token // every token ever given out
}

func (m *model) insert(v int) {
	tok := m.slab.Insert(v)
	if _, ok := m.alive[tok]; ok || tok == 0 || tok == ^Token(0) {
		m.Fatalf("Insert = %#x", uint64(tok))
	}
	m.alive[tok] = v
	m.given = append(m.given, tok)
}

func (m *model) look(tok Token) {
	want, alive := m.alive[tok]
	if got, ok := m.slab.Get(tok); ok != alive || got != want {
		m.Fatalf("Get(%#x) = %d, %v; want %d, %v", uint64(tok), got, ok, want, alive)
	}
}

func (m *model) remove(tok Token) {
	_, alive := m.alive[tok]
	if m.slab.Remove(tok) != alive {
		m.Fatalf("Remove(%#x) of a token alive: %v", uint64(tok), alive)
	}
	delete(m.alive, tok)
}

func (m *model) check() {
	if got := maps.Collect(m.slab.All()); !maps.Equal(got, m.alive) || m.slab.Len() != len(m.alive) {
		m.Fatalf("%d values %v, want %v", m.slab.Len(), got, m.alive)
	}
}

// step does one operation, chosen and aimed by n.
func (m *model) step(n int) {
	if len(m.given) == 0 || n%3 == 0 {
		m.insert(n)
		return
	}
	tok := m.given[n/3%len(m.given)]
	m.look(tok)
	if n%3 == 1 {
		m.remove(tok)
	}
	m.look(tok)
}

func TestModel(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	m := &model{TB: t, alive: map[Token]int{}}
	for i := range 100_000 {
		m.step(r.IntN(1 << 30))
		if i%5000 == 0 {
			m.check()
		}
	}
	m.check()
}

func FuzzSlab(f *testing.F) {
	f.Fuzz(func(t *testing.T, steps []byte) {
		m := &model{TB: t, alive: map[Token]int{}}
		for _, n := range steps {
			m.step(int(n))
		}
		m.check()
	})
}

func BenchmarkInsertRemove(b *testing.B) {
	var s Slab[*int]
	b.ReportAllocs()
	for b.Loop() {
		s.Remove(s.Insert(nil))
	}
}

func BenchmarkGet(b *testing.B) {
	var s Slab[*int]
	toks := make([]Token, 10_000)
	for i := range toks {
		toks[i] = s.Insert(new(int))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, ok := s.Get(toks[i%len(toks)]); !ok {
			b.Fatal("missed")
		}
	}
}
