// Package quickjson reads JSON of a known shape, as encoding/json writes it: without
// white space, with exact names. It reads each byte once, where encoding/json reads it several times and
// finds fields by reflection.
//
// It is for what this program has written, and never the only way: what a [Reader] does
// not take, encoding/json may. What it takes, it reads as encoding/json does, but that it
// does not look into [Reader.Raw], and takes the last of two fields with one name without
// merging them.
package quickjson

import (
	"encoding/json"
	"iter"
	"math"
	"unicode/utf8"
)

// A Reader takes values off the front of a text. After something that it does not take,
// all values are zero, and Ended is false.
type Reader struct {
	data   []byte
	at     int
	failed bool
}

// NewReader returns a reader of a text, which must not change while it reads, nor after
// it if Raw was called.
func NewReader(data []byte) *Reader { return &Reader{data: data} }

// Ended says whether all was read, and taken.
func (r *Reader) Ended() bool { return !r.failed && r.at == len(r.data) }

// Fail refuses the text.
func (r *Reader) Fail() { r.failed = true }

// Fields are the names of an object's fields. The loop must read the value of each, or
// fail.
func (r *Reader) Fields() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if !r.take('{') || r.skip('}') {
			return
		}
		for {
			name := r.plain()
			if !r.take(':') || !yield(name) || r.failed {
				return
			}
			if r.skip('}') || !r.take(',') {
				return
			}
		}
	}
}

// Elements counts an array's elements. The loop must read each, or fail. Null has none.
func (r *Reader) Elements() iter.Seq[int] {
	return func(yield func(int) bool) {
		if r.null() || !r.take('[') || r.skip(']') {
			return
		}
		for i := 0; yield(i) && !r.failed; i++ {
			if r.skip(']') || !r.take(',') {
				return
			}
		}
	}
}

// Slice reads an array by a function that reads an element. It is nil for null.
func Slice[T any](r *Reader, element func(*Reader) T) []T {
	if r.null() {
		return nil
	}
	all := []T{}
	for range r.Elements() {
		all = append(all, element(r))
	}
	return all
}

// Strings reads an array of strings, or null.
func (r *Reader) Strings() []string { return Slice(r, (*Reader).String) }

// Ints reads an array of integers, or null.
func (r *Reader) Ints() []int {
	return Slice(r, func(r *Reader) int {
		n := r.Int()
		if int64(int(n)) != n {
			r.Fail()
		}
		return int(n)
	})
}

// Bool reads true or false.
func (r *Reader) Bool() bool {
	if r.word("true") {
		return true
	}
	if !r.word("false") {
		r.Fail()
	}
	return false
}

// Int reads an integer.
func (r *Reader) Int() int64 {
	if !r.skip('-') {
		n := r.Uint()
		if n > math.MaxInt64 {
			r.Fail()
			return 0
		}
		return int64(n)
	}
	n := r.Uint()
	if n > 1<<63 {
		r.Fail()
		return 0
	}
	return -int64(n)
}

// Uint reads an integer that is not negative.
func (r *Reader) Uint() (n uint64) {
	begin := r.at
	for ; !r.failed && r.at < len(r.data); r.at++ {
		digit := uint64(r.data[r.at] - '0')
		if digit > 9 {
			break
		}
		if n > (math.MaxUint64-digit)/10 {
			r.Fail()
		}
		n = n*10 + digit
	}
	if r.at == begin || r.data[begin] == '0' && r.at > begin+1 {
		r.Fail()
	}
	if r.failed {
		return 0
	}
	return n
}

// String reads a string.
func (r *Reader) String() string {
	begin := r.at
	text, plain := r.quoted()
	if plain {
		return string(text)
	}
	if r.failed {
		return ""
	}
	var s string
	if json.Unmarshal(r.data[begin:r.at], &s) != nil {
		r.Fail()
	}
	return s
}

// Raw returns a value as it is written, but for spaces around it. It is only looked at
// as far as it takes to find its end.
func (r *Reader) Raw() []byte {
	begin, depth := r.at, 0
	for !r.failed && r.at < len(r.data) {
		switch c := r.data[r.at]; c {
		case '"':
			r.quoted()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return r.raw(begin)
			}
		case ',':
			if depth == 0 {
				return r.raw(begin)
			}
		}
		r.at++
	}
	if depth != 0 {
		r.Fail()
	}
	return r.raw(begin)
}

func (r *Reader) raw(begin int) []byte {
	if r.failed || r.at == begin {
		r.Fail()
		return nil
	}
	return r.data[begin:r.at:r.at]
}

// plain reads the name of a field, which has nothing in it that must be escaped.
func (r *Reader) plain() []byte {
	text, plain := r.quoted()
	if !plain {
		r.Fail()
	}
	return text
}

// quoted goes over a string. Plain is one that means what is written.
func (r *Reader) quoted() (text []byte, plain bool) {
	if !r.take('"') {
		return nil, false
	}
	begin, plain, ascii := r.at, true, true
	for ; r.at < len(r.data); r.at++ {
		switch c := r.data[r.at]; {
		case c == '"':
			text = r.data[begin:r.at]
			r.at++
			return text, plain && (ascii || utf8.Valid(text))
		case c == '\\':
			plain = false
			r.at++
		case c < ' ':
			r.Fail()
			return nil, false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	r.Fail()
	return nil, false
}

func (r *Reader) null() bool { return r.word("null") }

// word takes a word if it is the next.
func (r *Reader) word(w string) bool {
	if r.failed || len(r.data)-r.at < len(w) || string(r.data[r.at:r.at+len(w)]) != w {
		return false
	}
	r.at += len(w)
	return true
}

// take takes a byte, which must be the next.
func (r *Reader) take(c byte) bool {
	if !r.skip(c) {
		r.Fail()
	}
	return !r.failed
}

// skip takes a byte if it is the next.
func (r *Reader) skip(c byte) bool {
	if r.failed || r.at >= len(r.data) || r.data[r.at] != c {
		return false
	}
	r.at++
	return true
}
