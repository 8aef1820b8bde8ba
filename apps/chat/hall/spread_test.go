package hall

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// TestItemForAnotherNode is read there as it was written here: all forms of its line are the
// same.
func TestItemForAnotherNode(t *testing.T) {
	line, err := ircmsg.NewLine(ircmsg.FromServer,
		[]ircmsg.Tag{{Key: "time", Value: "now \"<;\\", Need: CapServerTime}, {Key: "msgid"}},
		ircmsg.Body{Message: ircmsg.Message{Source: "ann!a@host", Command: "JOIN", Params: []string{"#a", "ann é"}, Text: true}, Need: CapExtendedJoin},
		ircmsg.Body{Message: ircmsg.Message{Command: "JOIN"}})
	if err != nil {
		t.Fatal(err)
	}
	written := &farItem{
		stamp{1 << 60, 2}, []farReach{{"#a", Op}}, []farSession{{"a", 3}}, []farSession{{"b", 4}}, CapMultiline, CapBatch,
		[]ircmsg.Carried{line.Carry()}, true, []named{{ref{"c", 7}, 1, 2}},
	}
	data, err := json.Marshal(written)
	if err != nil {
		t.Fatal(err)
	}
	h := New(Config{}, nil)
	h.Join(nil)
	far, item, err := h.decodeItem(data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(far, written) || item.Need != CapMultiline || item.Unless != CapBatch || len(item.Lines) != 1 {
		t.Fatalf("%s is read as %+v with %+v", data, far, item)
	}
	for _, caps := range []Caps{0, CapServerTime, CapExtendedJoin, CapServerTime | CapExtendedJoin} {
		if got, want := string(item.Lines[0].Form(caps).Line()), string(line.Form(caps).Line()); got != want {
			t.Errorf("with %b the line is %q, should be %q", caps, got, want)
		}
	}
}

// TestItemThatCannotBe is refused as a whole.
func TestItemThatCannotBe(t *testing.T) {
	h := New(Config{}, nil)
	h.Join(nil)
	for _, text := range []string{
		`{"r":1,"l":[{"b":[]}]}`, `{"l":[null]}`, `{"l":[{"b":[{"c":"A B"}]}]}`, `{"r":"one"}`, `{}`, `{"c":[{"r":256}]}`, `{`, ``, `[]`,
	} {
		if _, _, err := h.decodeItem([]byte(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}
