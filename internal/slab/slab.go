// Package slab hands out tokens for values, and finds the value of a token
// with one index and one comparison.
package slab

import (
	"iter"
	"math"
)

// A Token names one value in a Slab, and never another that comes after it in
// the same slot:
//
//	63              32 31  28 27        0
//	|   generation    | free |   slot   |
//
// The generation of a slot begins at 1 and rises when its value is removed. No
// token is 0, as no generation is, and none is ^Token(0), which pollers keep
// for themselves, as there is no slot of that number.
type Token uint64

// FreeBits are 0 in every token: users may mark tokens with them. So is the highest bit.
const FreeBits Token = 0xF << freeShift

// freeShift is the lowest of FreeBits. There are more slots below it than a
// process can have descriptors (2^30 in theory, memory for far fewer).
const freeShift = 28

func token(slot, gen uint32) Token { return Token(gen)<<32 | Token(slot) }

func (t Token) slot() uint32 { return uint32(t) }
func (t Token) gen() uint32  { return uint32(t >> 32) }

const (
	// inUse is the next of an entry that holds a value.
	inUse = math.MaxUint32
	// maxEntries leaves the highest bits of the slot 0: see FreeBits.
	maxEntries = 1<<freeShift - 1
	// lastGen leaves the highest bit of a token 0.
	lastGen = math.MaxInt32
)

// An entry is 16 bytes when T is a pointer.
type entry[T any] struct {
	value T
	gen   uint32 // of the value, or of the next one when free; 0 once used up
	next  uint32 // inUse, or the next free slot plus 1, or 0
}

// A Slab holds values of T. The zero Slab is empty. It belongs to one
// goroutine.
//
// The slot freed last is used first: its entry is still in the cache, and the
// values stay close together. Stale tokens do not call for a longer rest, since
// the generation distinguishes them. A slot whose generations are used up, after
// 2^31-1 values, is never used again, so that not even then a token is given
// out twice.
//
// A Slab grows as a slice does and never shrinks: it must remember the
// generation of every slot it ever used.
type Slab[T any] struct {
	entries []entry[T]
	free    uint32 // the first free slot plus 1, or 0
	count   int
}

// Len returns the number of values.
func (s *Slab[T]) Len() int { return s.count }

// Insert adds v and returns its token. It panics at 2^28-1 slots.
func (s *Slab[T]) Insert(v T) Token {
	if s.free == 0 {
		return s.grow(v)
	}
	slot := s.free - 1
	e := &s.entries[slot]
	s.free = e.next
	e.value, e.next = v, inUse
	s.count++
	return token(slot, e.gen)
}

func (s *Slab[T]) grow(v T) Token {
	slot := uint32(len(s.entries))
	if slot == maxEntries {
		panic("slab: no slot left")
	}
	s.entries = append(s.entries, entry[T]{value: v, gen: 1, next: inUse})
	s.count++
	return token(slot, 1)
}

// Get returns the value of tok, and false if it was removed or never inserted.
func (s *Slab[T]) Get(tok Token) (T, bool) {
	e := s.find(tok)
	if e == nil {
		var none T
		return none, false
	}
	return e.value, true
}

// Remove takes the value of tok out and reports whether it was there.
func (s *Slab[T]) Remove(tok Token) bool {
	e := s.find(tok)
	if e == nil {
		return false
	}
	s.count--
	var none T
	e.value, e.next = none, 0
	e.gen = (e.gen + 1) & lastGen // to 0 after the last generation
	if e.gen != 0 {
		e.next = s.free
		s.free = tok.slot() + 1
	}
	return true
}

func (s *Slab[T]) find(tok Token) *entry[T] {
	slot := uint64(tok.slot())
	if slot >= uint64(len(s.entries)) {
		return nil
	}
	e := &s.entries[slot]
	if e.gen != tok.gen() || e.next != inUse {
		return nil
	}
	return e
}

// All iterates over the tokens and values in the order of their slots. Any
// value may be removed on the way; one that is inserted on the way may be
// visited or not.
func (s *Slab[T]) All() iter.Seq2[Token, T] {
	return func(yield func(Token, T) bool) {
		for slot := 0; slot < len(s.entries); slot++ {
			e := &s.entries[slot]
			if e.next == inUse && !yield(token(uint32(slot), e.gen), e.value) {
				return
			}
		}
	}
}
