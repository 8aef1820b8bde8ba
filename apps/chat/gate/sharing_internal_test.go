package gate

import "testing"

// The mark is before the first record that was not appended, wherever that waits.
func TestMarkIsBeforeWhatWaits(t *testing.T) {
	n := &networked{sharing: sharing{given: 90}}
	expect := func(what string, want int64) {
		t.Helper()
		if got := n.mark(); got != want {
			t.Errorf("%s: the mark is %d, want %d", what, got, want)
		}
	}
	expect("nothing waits", 90)
	n.journals[2].queue = []entries{{record: 0}, {record: 80}}
	expect("a change and a record", 79)
	n.journals[5].queue = []entries{{record: 70}, {record: 75}}
	expect("another shard, too", 69)
	n.sharing.singles = []int64{85, 60}
	expect("one that is appended by itself", 59)
	n.journals[5].queue, n.sharing.singles = n.journals[5].queue[1:], nil
	expect("the first of the shard is appended", 74)
	n.sharing.fallBehind(50)
	expect("one that no journal has", 49)
}
