package frame

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
)

// framings are those whose messages must not depend on the pieces.
var framings = []Framing{
	Lines{},
	Delimiter(0),
	LengthPrefix{},
	LengthPrefix{Size: 1},
	LengthPrefix{Size: 2},
	LengthPrefix{Size: 4, LittleEndian: true},
	LengthPrefix{Size: 2, Inclusive: true},
	LengthPrefix{Size: 8},
	LengthPrefix{Inclusive: true},
	mqtt,
	http2,
	amqp,
	LengthPrefix{Offset: 2, Size: 1, Adjust: -1},
	SplitFunc(bufio.ScanLines),
	SplitFunc(bufio.ScanWords),
	SplitFunc(bufio.ScanRunes),
	SplitFunc(finalAtStop),
}

// pieces cuts b as the bytes of cuts say, over and over.
func pieces(b, cuts []byte) (out [][]byte) {
	for i := 0; len(b) > 0; i++ {
		n := len(b)
		if len(cuts) > 0 {
			n = min(n, int(cuts[i%len(cuts)])+1)
		}
		out = append(out, b[:n])
		b = b[n:]
	}
	return out
}

// kind makes errors comparable, whose texts say how much had arrived.
func kind(err error) error {
	for _, k := range []error{ErrTooLong, ErrBadLength, io.ErrUnexpectedEOF} {
		if errors.Is(err, k) {
			return k
		}
	}
	return err
}

func FuzzPieces(f *testing.F) {
	f.Fuzz(func(t *testing.T, stream, cuts []byte, which, bound uint8) {
		r := Reader{Framing: framings[int(which)%len(framings)], Max: int(bound)}
		if _, foreign := r.Framing.(SplitFunc); foreign {
			r.Max = 0 // the bound is on what the function looks at, which depends on the pieces
		}
		want, wantErr := cut(r, stream)
		got, err := cut(r, pieces(stream, cuts)...)
		if !slices.Equal(got, want) || kind(err) != kind(wantErr) {
			t.Fatalf("%#v: in pieces %q, %v; whole %q, %v", r.Framing, got, err, want, wantErr)
		}
	})
}

func FuzzLinesAreThoseOfBufio(f *testing.F) {
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		var want []string
		s := bufio.NewScanner(bytes.NewReader(stream))
		s.Buffer(nil, len(stream)+2)
		for s.Scan() {
			want = append(want, s.Text())
		}
		got, err := cut(Reader{Framing: Lines{}, Max: len(stream)}, pieces(stream, cuts)...)
		if err != nil || s.Err() != nil || !slices.Equal(got, want) {
			t.Fatalf("got %q, %v; want %q, %v", got, err, want, s.Err())
		}
	})
}

func FuzzAppendIsReadBack(f *testing.F) {
	f.Fuzz(func(t *testing.T, a, b, cuts []byte, size uint8, little, inclusive bool) {
		p := LengthPrefix{Size: int(size % 9), LittleEndian: little, Inclusive: inclusive}
		stream, errA := p.Append(nil, a)
		stream, errB := p.Append(stream, b)
		var want []string
		for _, m := range []struct {
			msg []byte
			err error
		}{{a, errA}, {b, errB}} {
			if m.err == nil {
				want = append(want, string(m.msg))
			} else if p.Size != 1 && p.Size != 2 || len(m.msg) < 250 {
				t.Fatalf("%+v: %d bytes: %v", p, len(m.msg), m.err)
			}
		}
		got, err := cut(Reader{Framing: p, Max: 1 << 20}, pieces(stream, cuts)...)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%+v: got %q, %v; want %q", p, got, err, want)
		}
	})
}
