package ircmsg

import "testing"

func TestIDs(t *testing.T) {
	for _, id := range []int64{1, 31, 32, 1_700_000_000_000 << IDBits, 1<<63 - 1} {
		if got, ok := ParseID(FormatID(id)); !ok || got != id {
			t.Errorf("%d became %s and then %d, %v", id, FormatID(id), got, ok)
		}
	}
	for _, text := range []string{"", "0", "000000000000z", "8000000000000", "00000000000000", "0000000000000", "-000000000001", "000000000000A"} {
		if id, ok := ParseID(text); ok {
			t.Errorf("%q is taken for %d", text, id)
		}
	}
}

func TestTimes(t *testing.T) {
	for text, want := range map[string]int64{
		"1970-01-01T00:00:00.001Z": 1, "2023-11-14T22:13:20.000Z": 1_700_000_000_000, "2023-11-14T23:13:20+01:00": 1_700_000_000_000,
		"1969-01-01T00:00:00Z": 0, "9999-01-01T00:00:00Z": MaxMoment,
	} {
		if got, ok := ParseTime(text); !ok || got != want {
			t.Errorf("%s is %d, %v, want %d", text, got, ok, want)
		}
	}
	if text := FormatTime(1_700_000_000_001); text != "2023-11-14T22:13:20.001Z" {
		t.Error(text)
	}
	for _, text := range []string{"", "now", "2023-11-14", "2023-11-14 22:13:20"} {
		if got, ok := ParseTime(text); ok {
			t.Errorf("%q is taken for %d", text, got)
		}
	}
	if at, _ := ParseTime("9999-01-01T00:00:00Z"); at<<IDBits>>IDBits != at {
		t.Error("the last moment does not fit into the number of a message")
	}
}

func TestAction(t *testing.T) {
	for text, want := range map[string]string{"\x01ACTION waves\x01": "waves", "\x01ACTION waves": "waves"} {
		if got, is := Action(text); !is || got != want {
			t.Errorf("%q is %q, %v", text, got, is)
		}
	}
	for _, text := range []string{"ACTION waves", "\x01VERSION\x01", "\x01ACTION\x01", "x\x01"} {
		if got, is := Action(text); is || got != text {
			t.Errorf("%q is %q, %v", text, got, is)
		}
	}
}
