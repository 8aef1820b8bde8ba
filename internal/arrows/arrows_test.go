package main

import (
	"runtime"
	"testing"
)

// The bounds are what the root has, with some room. Raise them only for what is worth a
// house that is harder to find one's way in.
const (
	mostArrows   = 170
	mostBackward = 16
)

func TestTheRootIsNoKnot(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the files are counted as they are built for Linux")
	}
	arrows, err := find("../..", false)
	if err != nil {
		t.Fatal(err)
	}
	if len(arrows) == 0 {
		t.Fatal("no file uses another")
	}
	back := backward(arrows)
	if len(arrows) > mostArrows || len(back) > mostBackward {
		t.Errorf("%d arrows, and %d run back up, want at most %d and %d: go run ./internal/arrows says which", len(arrows), len(back), mostArrows, mostBackward)
	}
	for _, a := range back {
		t.Logf("%s → %s", a.from, a.to)
	}
}

// Three files in a circle, and one below them: one arrow has to run back up.
func TestBackward(t *testing.T) {
	some := names{"x": true}
	arrows := map[arrow]names{{"a", "b"}: some, {"b", "c"}: some, {"c", "a"}: some, {"a", "d"}: some, {"c", "d"}: some}
	if back := backward(arrows); len(back) != 1 || back[0].to == "d" {
		t.Errorf("%v run back up, want one of the circle", back)
	}
}
