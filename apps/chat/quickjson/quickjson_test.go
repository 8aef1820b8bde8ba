package quickjson

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
)

// A sample has a field of each kind.
type sample struct {
	I int64
	U uint64
	B bool
	S string
	L []string
	N []int
	O []sample
	R json.RawMessage
}

func readSample(r *Reader) (s sample) {
	for name := range r.Fields() {
		switch string(name) {
		case "I":
			s.I = r.Int()
		case "U":
			s.U = r.Uint()
		case "B":
			s.B = r.Bool()
		case "S":
			s.S = r.String()
		case "L":
			s.L = r.Strings()
		case "N":
			s.N = r.Ints()
		case "O":
			s.O = Slice(r, readSample)
		case "R":
			s.R = r.Raw()
		default:
			r.Fail()
		}
	}
	return s
}

func samples() []sample {
	return []sample{
		{R: json.RawMessage("null")},
		{I: math.MinInt64, U: math.MaxUint64, B: true, S: "plain", R: json.RawMessage(`{"a":[1,"]}\"",{}]}`)},
		{I: math.MaxInt64, S: "\x00\x1f \"\\/<>& é \u2028 \xff 😀\r\n", L: []string{}, N: []int{}, O: []sample{}, R: json.RawMessage("-1.5e3")},
		{I: -1, U: 10, L: []string{"", "ä", "\t"}, N: []int{0, -5, 7}, R: json.RawMessage(`"x,y"`), O: []sample{{S: "in", R: json.RawMessage("[]")}, {R: json.RawMessage("true")}}},
	}
}

// TestWhatIsWrittenIsRead writes by encoding/json, and reads by both.
func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, s := range samples() {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(text)
		got := readSample(r)
		var want sample
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if !r.Ended() || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %+v, to its end: %v; should be %+v", text, got, r.Ended(), want)
		}
	}
}

func TestOtherTextIsRefused(t *testing.T) {
	for _, text := range []string{
		"", " ", "{", "}", "[", "{}}", "{} ", " {}", `{"I"}`, `{"I":}`, `{"I":1,}`, `{,"I":1}`, `{"I":1 }`, `{"I": 1}`,
		`{"I":01}`, `{"I":-}`, `{"I":--1}`, `{"I":1.5}`, `{"I":1e3}`, `{"I":9223372036854775808}`, `{"I":-9223372036854775809}`,
		`{"U":-1}`, `{"U":18446744073709551616}`, `{"U":99999999999999999999999}`, `{"I":null}`, `{"S":null}`, `{"S":1}`, `{"S":"a}`,
		`{"S":"a\"}`, "{\"S\":\"a\nb\"}", `{"S":"\x"}`, `{"S":"\u12"}`, `{"B":1}`, `{"B":tru}`, `{"L":["a",]}`, `{"L":["a"}`, `{"L":"a"}`,
		`{"L":[1]}`, `{"N":["a"]}`, `{"other":1}`, `{"i":1}`, `{"\u0049":1}`, `{"R":}`, `{"R":[}`, `{"R":{"a":1}`, `{"O":[{]}`, `{"I":1]`,
	} {
		r := NewReader([]byte(text))
		if got := readSample(r); r.Ended() {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}

// FuzzReader compares what is taken with what encoding/json reads, but for what the package's comment
// leaves out.
func FuzzReader(f *testing.F) {
	for _, s := range samples() {
		text, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := NewReader(text)
		got := readSample(r)
		if !r.Ended() || !json.Valid(text) || twice(text) {
			return
		}
		var want sample
		if err := json.Unmarshal(text, &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %+v; encoding/json says %+v, %v", text, got, want, err)
		}
	})
}

// twice says whether an object has a field more than once.
func twice(text []byte) bool {
	var generic map[string]json.RawMessage
	if json.Unmarshal(text, &generic) != nil {
		return false
	}
	fields := 0
	r := NewReader(text)
	for range r.Fields() {
		fields++
		r.Raw()
	}
	if fields != len(generic) {
		return true
	}
	var inside []json.RawMessage
	_ = json.Unmarshal(generic["O"], &inside)
	for _, o := range inside {
		if twice(o) {
			return true
		}
	}
	return false
}
