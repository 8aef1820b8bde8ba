package frame

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

// A stream is a Source that is fed by hand.
type stream struct {
	unread  []byte
	unreads int // calls of Unread
}

func (s *stream) Unread() []byte { s.unreads++; return s.unread }

func (s *stream) Discard(n int) int {
	n = min(n, len(s.unread))
	s.unread = s.unread[n:]
	return n
}

func (s *stream) feed(piece []byte) { s.unread = append(s.unread, piece...) }

// cut feeds the pieces to r, one after the other, and returns all messages, and
// the error that ended the stream before its end, or at its end unless io.EOF.
func cut(r Reader, pieces ...[]byte) (msgs []string, err error) {
	src := new(stream)
	for _, piece := range pieces {
		src.feed(piece)
		for msg, err := range r.Messages(src) {
			if err != nil {
				return msgs, err
			}
			msgs = append(msgs, string(msg))
		}
	}
	for {
		msg, err := r.Tail(src)
		if err == io.EOF {
			return msgs, nil
		}
		if err != nil {
			return msgs, err
		}
		msgs = append(msgs, string(msg))
	}
}

// ways are those of case W11.
var ways = map[string]func([]byte) [][]byte{
	"whole":        func(b []byte) [][]byte { return [][]byte{b} },
	"by halves":    halves,
	"byte by byte": func(b []byte) [][]byte { return slices.Collect(slices.Chunk(b, 1)) },
}

// halves cuts b in two, the second half again, and so on.
func halves(b []byte) (pieces [][]byte) {
	for len(b) > 1 {
		pieces = append(pieces, b[:len(b)/2])
		b = b[len(b)/2:]
	}
	return append(pieces, b)
}

// finalAtStop is a bufio.SplitFunc of lines; "stop" is the last.
func finalAtStop(data []byte, atEOF bool) (int, []byte, error) {
	n, line, err := bufio.ScanLines(data, atEOF)
	if string(line) == "stop" {
		err = bufio.ErrFinalToken
	}
	return n, line, err
}

// The frames of protocols whose lengths lie inside their headers.
var (
	mqtt  = LengthPrefix{Offset: 1, Whole: true}
	http2 = LengthPrefix{Size: 3, Adjust: 6, Whole: true}
	amqp  = LengthPrefix{Offset: 3, Size: 4, Adjust: 1, Whole: true}
)

func TestW11_MessagesInAnyPieces(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		name    string
		framing Framing
		stream  string
		want    []string
		err     error
	}{
		{"lines", Lines{}, "a\nbc\r\n\n\r\nd\re\r\r\n", []string{"a", "bc", "", "", "d\re\r"}, nil},
		{"lines, unterminated", Lines{}, "a\nbc", []string{"a", "bc"}, nil},
		{"lines, CR at the end", Lines{}, "a\nbc\r", []string{"a", "bc"}, nil},
		{"lines, only a CR", Lines{}, "\r", []string{""}, nil},
		{"nothing", Lines{}, "", nil, nil},
		{"delimiter", Delimiter(0), "a\x00\x00b\n\x00", []string{"a", "", "b\n"}, nil},
		{"delimiter, unterminated", Delimiter('|'), "a|b\r", []string{"a", "b\r"}, nil},
		{"1 byte", LengthPrefix{Size: 1}, "\x01a\x00\x03bcd", []string{"a", "", "bcd"}, nil},
		{"2 bytes", LengthPrefix{Size: 2}, "\x00\x01a\x01\x2c" + long, []string{"a", long}, nil},
		{"3 bytes, little-endian", LengthPrefix{Size: 3, LittleEndian: true}, "\x2c\x01\x00" + long, []string{long}, nil},
		{"4 bytes", LengthPrefix{Size: 4}, "\x00\x00\x00\x02ab", []string{"ab"}, nil},
		{"8 bytes", LengthPrefix{Size: 8}, "\x00\x00\x00\x00\x00\x00\x00\x02ab", []string{"ab"}, nil},
		{"inclusive", LengthPrefix{Size: 2, Inclusive: true}, "\x00\x04ab\x00\x02", []string{"ab", ""}, nil},
		{"varint", LengthPrefix{}, "\x01a\xac\x02" + long + "\x00", []string{"a", long, ""}, nil},
		{"varint, inclusive", LengthPrefix{Inclusive: true}, "\x02a\x01", []string{"a", ""}, nil},
		{"MQTT", mqtt, "\x10\x02ab\xc0\x00\x30\xac\x02" + long, []string{"\x10\x02ab", "\xc0\x00", "\x30\xac\x02" + long}, nil},
		{"HTTP/2", http2, "\x00\x00\x02TFSSSSab\x00\x00\x00tfssss", []string{"\x00\x00\x02TFSSSSab", "\x00\x00\x00tfssss"}, nil},
		{"AMQP", amqp, "\x01\x00\x07\x00\x00\x00\x02ab\xce", []string{"\x01\x00\x07\x00\x00\x00\x02ab\xce"}, nil},
		{"bytes before are left out", LengthPrefix{Offset: 2, Size: 1}, "xy\x02abzz\x00", []string{"ab", ""}, nil},
		{"a length of everything", LengthPrefix{Offset: 2, Size: 2, Adjust: -4}, "xy\x00\x06abxy\x00\x04", []string{"ab", ""}, nil},
		{"a length of everything, inclusive", LengthPrefix{Offset: 2, Size: 2, Adjust: -2, Inclusive: true}, "xy\x00\x06ab", []string{"ab"}, nil},
		{"less than nothing", LengthPrefix{Size: 1, Adjust: -4}, "\x03abc", nil, ErrBadLength},
		{"adjusted above every int", LengthPrefix{Size: 8, Adjust: 9}, "\xff\xff\xff\xff\xff\xff\xff\xff", nil, ErrTooLong},
		{"whole above every int", LengthPrefix{Size: 8, Whole: true}, "\xff\xff\xff\xff\xff\xff\xff\xff", nil, ErrTooLong},
		{"cut before the length", mqtt, "\x10", nil, io.ErrUnexpectedEOF},
		{"cut behind the length", amqp, "\x01\x00\x07\x00\x00\x00\x02ab", nil, io.ErrUnexpectedEOF},
		{"no such offset", LengthPrefix{Offset: -1}, "a", nil, ErrBadLength},
		{"cut in the length", LengthPrefix{Size: 2}, "\x00\x01a\x00", []string{"a"}, io.ErrUnexpectedEOF},
		{"cut in the message", LengthPrefix{}, "\x02a", nil, io.ErrUnexpectedEOF},
		{"inclusive of less than itself", LengthPrefix{Size: 4, Inclusive: true}, "\x00\x00\x00\x03abc", nil, ErrBadLength},
		{"inclusive varint of zero", LengthPrefix{Inclusive: true}, "\x00", nil, ErrBadLength},
		{"varint without end", LengthPrefix{}, strings.Repeat("\xff", 11), nil, ErrBadLength},
		{"length above every int", LengthPrefix{Size: 8}, "\xff\xff\xff\xff\xff\xff\xff\xff", nil, ErrTooLong},
		{"varint above every int", LengthPrefix{}, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", nil, ErrTooLong},
		{"length with the sign bit", LengthPrefix{Size: 4}, "\x80\x00\x00\x00", nil, ErrTooLong},
		{"no such size", LengthPrefix{Size: 9}, "a", nil, ErrBadLength},
		{"words", SplitFunc(bufio.ScanWords), "  a bc\n d", []string{"a", "bc", "d"}, nil},
		{"runes", SplitFunc(bufio.ScanRunes), "aé\xff", []string{"a", "é", "\uFFFD"}, nil},
		{"final token", SplitFunc(finalAtStop), "a\nstop\nb\n", []string{"a", "stop"}, nil},
	} {
		for way, pieces := range ways {
			t.Run(c.name+"/"+way, func(t *testing.T) {
				got, err := cut(Reader{Framing: c.framing}, pieces([]byte(c.stream))...)
				if !slices.Equal(got, c.want) || !errors.Is(err, c.err) {
					t.Fatalf("got %q, %v; want %q, %v", got, err, c.want, c.err)
				}
			})
		}
	}
}

func TestW11_BoundOfAMessage(t *testing.T) {
	for _, c := range []struct {
		name    string
		framing Framing
		largest string // of 5 bytes
		above   string
		after   int // bytes of above which suffice for the verdict
	}{
		{"lines", Lines{}, "abcde\r\n", "abcdef\r\n", 6},
		{"lines, of CRs", Lines{}, "abcd\r\r\n", "abcde\r\r\n", 7},
		{"delimiter", Delimiter(';'), "abcde;", "abcdef;", 6},
		{"2 bytes", LengthPrefix{Size: 2}, "\x00\x05abcde", "\x00\x06abcdef", 2},
		{"whole", LengthPrefix{Size: 2, Whole: true}, "\x00\x03abc", "\x00\x04abcd", 2},
		{"MQTT", mqtt, "\x10\x03abc", "\x10\x04abcd", 2},
		{"inclusive", LengthPrefix{Size: 2, Inclusive: true}, "\x00\x07abcde", "\x00\x08abcdef", 2},
		{"varint", LengthPrefix{}, "\x05abcde", "\x06abcdef", 1},
		{"words", SplitFunc(bufio.ScanWords), "abcd ", "abcde ", 6},
	} {
		for way, pieces := range ways {
			t.Run(c.name+"/"+way, func(t *testing.T) {
				r := Reader{Framing: c.framing, Max: 5}
				if got, err := cut(r, pieces([]byte(c.largest))...); err != nil || len(got) != 1 {
					t.Fatalf("the largest: %q, %v", got, err)
				}
				got, err := cut(r, pieces([]byte(c.above))...)
				if !errors.Is(err, ErrTooLong) || got != nil {
					t.Fatalf("above: %q, %v", got, err)
				}
				if !strings.Contains(err.Error(), "6 bytes") || !strings.Contains(err.Error(), "allows 5") {
					t.Fatalf("%q names neither size nor bound", err)
				}
			})
		}
		t.Run(c.name+"/verdict", func(t *testing.T) {
			for n := range len(c.above) {
				r := Reader{Framing: c.framing, Max: 5}
				_, err := r.Next(&stream{unread: []byte(c.above[:n])})
				if errors.Is(err, ErrTooLong) != (n >= c.after) {
					t.Errorf("after %d bytes: %v, want the verdict at %d", n, err, c.after)
				}
			}
		})
	}
}

func TestBoundByDefault(t *testing.T) {
	r := Reader{Framing: Lines{}}
	if _, err := r.Next(&stream{unread: make([]byte, DefaultMax)}); err != ErrIncomplete {
		t.Fatalf("at the bound: %v", err)
	}
	r = Reader{Framing: Lines{}}
	if _, err := r.Next(&stream{unread: make([]byte, DefaultMax+1)}); !errors.Is(err, ErrTooLong) {
		t.Fatalf("above the bound: %v", err)
	}
}

func TestNoBoundOverflows(t *testing.T) {
	p := LengthPrefix{Size: 8}
	r := Reader{Framing: p, Max: math.MaxInt}
	if _, err := r.Next(&stream{unread: p.write(nil, math.MaxInt)}); !errors.Is(err, ErrTooLong) {
		t.Fatalf("a length that overflows with its header: %v", err)
	}
}

func TestTailIsBounded(t *testing.T) {
	r := Reader{Framing: Lines{}, Max: 2}
	if msg, err := r.Tail(&stream{unread: []byte("abc")}); !errors.Is(err, ErrTooLong) {
		t.Fatalf("Tail = %q, %v", msg, err)
	}
}

// A counter is a Framing that counts what it is asked to look at.
type counter struct {
	Framing
	scans, bytes int
}

func (c *counter) Scan(data []byte, seen, bound int) (int, []byte, error) {
	c.scans++
	c.bytes += len(data) - seen
	return c.Framing.Scan(data, seen, bound)
}

func TestW11_IncompleteCostsNothing(t *testing.T) {
	const size = 1 << 20
	payload := bytes.Repeat([]byte("x"), size)
	line := append(slices.Clone(payload), "\r\n"...)
	prefixed, err := LengthPrefix{Size: 4}.Append(nil, payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		framing      Framing
		stream       []byte
		scans, bytes int
	}{
		{"lines: each byte once", Lines{}, line, len(line), len(line)},
		{"length: header, then message", LengthPrefix{Size: 4}, prefixed, 3, 1 + 4 + len(prefixed)},
	} {
		t.Run(c.name, func(t *testing.T) {
			counted := &counter{Framing: c.framing}
			r := Reader{Framing: counted, Max: size}
			src := &stream{unread: make([]byte, 0, len(c.stream))}
			for i := range c.stream {
				src.feed(c.stream[i : i+1])
				msg, err := r.Next(src)
				if last := i == len(c.stream)-1; last != (err == nil) || last && len(msg) != size {
					t.Fatalf("byte %d: %d bytes, %v", i, len(msg), err)
				}
			}
			if counted.scans > c.scans || counted.bytes > c.bytes || src.unreads > len(c.stream) {
				t.Fatalf("%d scans of %d bytes in all, %d calls of Unread; want at most %d of %d, %d",
					counted.scans, counted.bytes, src.unreads, c.scans, c.bytes, len(c.stream))
			}
		})
	}
}

func TestMessagesAreNotCopied(t *testing.T) {
	for _, c := range []struct {
		framing Framing
		stream  string
		at      int
	}{
		{Lines{}, "abc\r\nd", 0},
		{Delimiter(0), "abc\x00d", 0},
		{LengthPrefix{Size: 2}, "\x00\x03abcd", 2},
		{SplitFunc(bufio.ScanWords), " abc d", 1},
	} {
		buffer := []byte(c.stream)
		r := Reader{Framing: c.framing}
		msg, err := r.Next(&stream{unread: buffer})
		if err != nil || string(msg) != "abc" || &msg[0] != &buffer[c.at] {
			t.Errorf("%T: %q, %v: not the source's bytes", c.framing, msg, err)
		}
		if _, foreign := c.framing.(SplitFunc); !foreign && cap(msg) != len(msg) {
			t.Errorf("%T: append to a message would overwrite unread bytes", c.framing)
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	for _, framing := range []Framing{Lines{}, Delimiter('\n'), LengthPrefix{Size: 1}, SplitFunc(bufio.ScanLines)} {
		buffer := []byte("\x03ab\n\x03ab\n")
		src := new(stream)
		r := Reader{Framing: framing}
		allocs := testing.AllocsPerRun(100, func() {
			src.unread = buffer
			for _, err := range r.Messages(src) {
				if err != nil {
					t.Fatal(err)
				}
			}
		})
		if allocs != 0 {
			t.Errorf("%T: %v allocations", framing, allocs)
		}
	}
}

// What a handler leaves when it stops is there for the next reader.
func TestMessagesLeavesTheRest(t *testing.T) {
	src := &stream{unread: []byte("GET /\n\nbody")}
	r := Reader{Framing: Lines{}}
	for line := range r.Messages(src) {
		if len(line) == 0 {
			break
		}
	}
	if string(src.unread) != "body" {
		t.Fatalf("left %q", src.unread)
	}
}

func TestErrorsStay(t *testing.T) {
	src := &stream{unread: []byte("abc\nd\n")}
	r := Reader{Framing: Lines{}, Max: 2}
	for range 2 {
		if msg, err := r.Next(src); !errors.Is(err, ErrTooLong) {
			t.Fatalf("Next = %q, %v", msg, err)
		}
	}
	yields := 0
	for range r.Messages(src) {
		yields++
	}
	if yields != 1 || string(src.unread) != "abc\nd\n" {
		t.Fatalf("%d yields, left %q", yields, src.unread)
	}
}

func TestFinalTokenEndsTheStream(t *testing.T) {
	stop := func(data []byte, _ bool) (int, []byte, error) { return 1, nil, bufio.ErrFinalToken }
	for _, c := range []struct {
		split bufio.SplitFunc
		want  []error
	}{
		{finalAtStop, []error{nil, io.EOF, io.EOF}},
		{stop, []error{io.EOF, io.EOF}},
	} {
		src := &stream{unread: []byte("stop\nmore\n")}
		r := Reader{Framing: SplitFunc(c.split)}
		for _, want := range c.want {
			if msg, err := r.Next(src); err != want {
				t.Fatalf("Next = %q, %v; want %v", msg, err, want)
			}
		}
		if msg, err := r.Tail(src); err != io.EOF {
			t.Fatalf("Tail = %q, %v", msg, err)
		}
	}
}

func TestFaultySplitFuncs(t *testing.T) {
	mine := errors.New("mine")
	for _, c := range []struct {
		n    int
		msg  []byte
		err  error
		want error
	}{
		{-1, nil, nil, bufio.ErrNegativeAdvance},
		{-1, []byte("a"), nil, bufio.ErrNegativeAdvance},
		{3, nil, nil, bufio.ErrAdvanceTooFar},
		{3, []byte("a"), bufio.ErrFinalToken, bufio.ErrAdvanceTooFar},
		{0, []byte("a"), nil, io.ErrNoProgress},
		{1, []byte("a"), mine, mine},
	} {
		split := func([]byte, bool) (int, []byte, error) { return c.n, c.msg, c.err }
		r := Reader{Framing: SplitFunc(split)}
		src := &stream{unread: []byte("ab")}
		if msg, err := r.Next(src); msg != nil || err != c.want {
			t.Errorf("Next = %q, %v; want %v", msg, err, c.want)
		}
		if msg, err := r.Tail(src); msg != nil || err != c.want {
			t.Errorf("Tail = %q, %v; want %v", msg, err, c.want)
		}
	}
}

func TestTailOfASplitFuncWithRemains(t *testing.T) {
	never := func([]byte, bool) (int, []byte, error) { return 0, nil, nil }
	r := Reader{Framing: SplitFunc(never)}
	if msg, err := r.Tail(&stream{unread: []byte("a")}); err != io.ErrUnexpectedEOF {
		t.Fatalf("Tail = %q, %v", msg, err)
	}
}

func TestAppend(t *testing.T) {
	type appender interface {
		Append(dst, msg []byte) ([]byte, error)
	}
	for _, c := range []struct {
		framing appender
		msg     string
		want    string
		err     error
	}{
		{Lines{}, "ab", "ab\n", nil},
		{Lines{CRLF: true}, "ab", "ab\r\n", nil},
		{Lines{CRLF: true}, "ab\r", "ab\r\r\n", nil},
		{Lines{}, "ab\r", "", ErrTerminator},
		{Lines{}, "a\nb", "", ErrTerminator},
		{Lines{CRLF: true}, "a\r\nb", "", ErrTerminator},
		{Delimiter(0), "ab", "ab\x00", nil},
		{Delimiter('b'), "ab", "", ErrTerminator},
		{LengthPrefix{Size: 1}, "ab", "\x02ab", nil},
		{LengthPrefix{Size: 4}, "ab", "\x00\x00\x00\x02ab", nil},
		{LengthPrefix{Size: 4, LittleEndian: true}, "ab", "\x02\x00\x00\x00ab", nil},
		{LengthPrefix{Size: 2, Inclusive: true}, "ab", "\x00\x04ab", nil},
		{LengthPrefix{Size: 8}, "", "\x00\x00\x00\x00\x00\x00\x00\x00", nil},
		{LengthPrefix{}, "ab", "\x02ab", nil},
		{LengthPrefix{Inclusive: true}, strings.Repeat("x", 126), "\x7f" + strings.Repeat("x", 126), nil},
		{LengthPrefix{Inclusive: true}, strings.Repeat("x", 127), "\x81\x01" + strings.Repeat("x", 127), nil},
		{LengthPrefix{Size: 1}, strings.Repeat("x", 255), "\xff" + strings.Repeat("x", 255), nil},
		{LengthPrefix{Size: 1}, strings.Repeat("x", 256), "", ErrTooLong},
		{LengthPrefix{Size: 1, Inclusive: true}, strings.Repeat("x", 255), "", ErrTooLong},
		{LengthPrefix{Size: -1}, "ab", "", ErrBadLength},
		{mqtt, "\x10ab", "\x10\x02ab", nil},
		{mqtt, "", "", ErrBadLength},
		{http2, "TFSSSSab", "\x00\x00\x02TFSSSSab", nil},
		{http2, "TFSSS", "", ErrBadLength},
		{amqp, "\x01\x00\x07ab\xce", "\x01\x00\x07\x00\x00\x00\x02ab\xce", nil},
		{LengthPrefix{Offset: 2, Size: 2, Adjust: -4}, "xyab", "xy\x00\x06ab", nil},
	} {
		got, err := c.framing.Append([]byte("before "), []byte(c.msg))
		if string(got) != "before "+c.want || !errors.Is(err, c.err) {
			t.Errorf("%#v: %q, %v; want %q, %v", c.framing, got, err, c.want, c.err)
		}
	}
}

// Split of every framing serves a bufio.Scanner.
func TestSplitServesAScanner(t *testing.T) {
	for _, c := range []struct {
		framing Framing
		stream  string
		want    []string
		err     error
	}{
		{Lines{}, "a\r\nb", []string{"a", "b"}, nil},
		{Delimiter(';'), "a;;b", []string{"a", "", "b"}, nil},
		{LengthPrefix{Size: 1}, "\x01a\x02bc", []string{"a", "bc"}, nil},
		{LengthPrefix{Size: 1}, "\x01a\x02b", []string{"a"}, io.ErrUnexpectedEOF},
		{LengthPrefix{Size: 1, Inclusive: true}, "\x02a\x00", []string{"a"}, ErrBadLength},
	} {
		var got []string
		s := bufio.NewScanner(strings.NewReader(c.stream))
		s.Split(c.framing.Split)
		for s.Scan() {
			got = append(got, s.Text())
		}
		if !slices.Equal(got, c.want) || !errors.Is(s.Err(), c.err) {
			t.Errorf("%#v: %q, %v; want %q, %v", c.framing, got, s.Err(), c.want, c.err)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	for _, framing := range []Framing{Lines{}, SplitFunc(bufio.ScanLines), LengthPrefix{Size: 1}} {
		b.Run(fmt.Sprintf("%T", framing), func(b *testing.B) {
			buffer := bytes.Repeat(append([]byte{63}, strings.Repeat("x", 62)+"\n"...), 1000)
			src := new(stream)
			r := Reader{Framing: framing}
			b.ReportAllocs()
			for b.Loop() {
				if len(src.unread) == 0 {
					src.unread = buffer
				}
				if _, err := r.Next(src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestProgram07_FramesOfProtocols writes and reads back frames whose length lies
// inside their header.
func TestProgram07_FramesOfProtocols(t *testing.T) {
	for name, c := range map[string]struct {
		framing          LengthPrefix
		first, want      string
		second, wantNext string
	}{
		"MQTT":   {mqtt, "\x30hello", "\x30\x05hello", "\xe0", "\xe0\x00"},
		"HTTP/2": {http2, "\x06\x00\x00\x00\x00\x00pingping", "\x00\x00\x08\x06\x00\x00\x00\x00\x00pingping", "\x04\x01\x00\x00\x00\x00", "\x00\x00\x00\x04\x01\x00\x00\x00\x00"},
		"AMQP":   {amqp, "\x08\x00\x00\xce", "\x08\x00\x00\x00\x00\x00\x00\xce", "\x03\x00\x01ab\xce", "\x03\x00\x01\x00\x00\x00\x02ab\xce"},
	} {
		out, err := c.framing.Append(nil, []byte(c.first))
		if err != nil {
			t.Fatal(err)
		}
		if out, err = c.framing.Append(out, []byte(c.second)); err != nil {
			t.Fatal(err)
		}
		got, err := cut(Reader{Framing: c.framing, Max: 64}, out)
		if want := []string{c.want, c.wantNext}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, want)
		}
	}
}
