package hall

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/quickjson"
)

// TestQuickBodiesAreReadAsByJSON writes each op that has a reader of its own as other nodes do,
// with all of its fields and with none, and reads it by both: with a field that the reader
// does not know, it would be read by encoding/json alone.
func TestQuickBodiesAreReadAsByJSON(t *testing.T) {
	line, err := ircmsg.NewLine(ircmsg.FromServer,
		[]ircmsg.Tag{{Key: "time", Value: "now \"<;\\", Need: CapServerTime}, {Key: "msgid"}},
		ircmsg.Body{Message: ircmsg.Message{Source: "ann!a@host", Command: "JOIN", Params: []string{"#a", "ann"}, Text: true}, Need: CapExtendedJoin},
		ircmsg.Body{Message: ircmsg.Message{Command: "JOIN"}})
	if err != nil {
		t.Fatal(err)
	}
	record := &Record{}
	fill(reflect.ValueOf(record).Elem())
	run := &runOp{Run: 1, Session: 2, Label: "l", Command: "PRIVMSG", Params: []string{"#a", "\x02text é\x02"}, Tags: "+a=b"}
	done := &doneOp{}
	fill(reflect.ValueOf(done).Elem())
	done.Owner, done.Failed, done.Answered = "", false, false // rare, and left to encoding/json
	compareReaders(t, &farItem{}, &farItem{
		stamp{1 << 60, 2}, []farReach{{"#a", Op}}, []farSession{{"a", 3}}, []farSession{{"b", 4}}, CapMultiline, CapBatch,
		[]*ircmsg.Line{line, line}, true,
	})
	compareReaders(t, &Record{}, record)
	compareReaders(t, &runOp{}, run)
	compareReaders(t, &doneOp{}, done)
	compareReaders(t, &parcel{}, &parcel{1, 2, []op{{"item", json.RawMessage(`{"a":[1]}`)}, {"x", json.RawMessage(`"y"`)}}})
}

// fill sets all exported fields that are written.
func fill(v reflect.Value) {
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case !f.CanSet(), v.Type().Field(i).Tag.Get("json") == "-":
		case f.CanInt():
			f.SetInt(-1 << 40)
		case f.CanUint():
			f.SetUint(200)
		case f.Kind() == reflect.Bool:
			f.SetBool(true)
		case f.Kind() == reflect.String:
			f.SetString("text <é>\r\n")
		case f.Type() == reflect.TypeFor[[]string]():
			f.Set(reflect.ValueOf([]string{"a", ""}))
		case f.Type() == reflect.TypeFor[[]int]():
			f.Set(reflect.ValueOf([]int{0, 7}))
		}
	}
}

func compareReaders[T any](t *testing.T, bodies ...*T) {
	t.Helper()
	for _, body := range bodies {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		quickly, slowly := new(T), new(T)
		r := quickjson.NewReader(text)
		any(quickly).(quick).read(r)
		if !r.Ended() {
			t.Errorf("%s is not read quickly", text)
		}
		if err := json.Unmarshal(text, slowly); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(quickly, slowly) {
			t.Errorf("%s is read as %+v, should be %+v", text, quickly, slowly)
		}
		other := append([]byte(`{"later":[1,{}],`), text[1:]...)
		if string(text) == "{}" {
			other = []byte(`{"later":[1,{}]}`)
		}
		if got, err := decode[T](other); err != nil || !reflect.DeepEqual(got, slowly) {
			t.Errorf("%s of a later version is read as %+v, %v, should be %+v", other, got, err, slowly)
		}
	}
}

// TestQuickBodyThatIsWrong is refused as before, and leaves nothing behind of what was read.
func TestQuickBodyThatIsWrong(t *testing.T) {
	for _, text := range []string{`{"r":1,"l":[{"b":[]}]}`, `{"r":"one"}`, `{"c":[{"r":256}]}`, `{`, ``, `[]`} {
		if _, err := decode[farItem]([]byte(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
	got, err := decode[runOp]([]byte(`{"r":1, "c":"X"}`))
	if want := (&runOp{Run: 1, Command: "X"}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("with a space: %+v, %v", got, err)
	}
}
