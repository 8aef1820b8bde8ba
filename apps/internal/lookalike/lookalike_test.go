package lookalike_test

import (
	"testing"

	"github.com/epinet/epi/apps/internal/lookalike"
)

func TestSkeleton(t *testing.T) {
	for _, c := range []struct {
		a, b  string
		alike bool
	}{
		{"Anna", "anna", true}, {"асе", "ace", true}, {"ΑΝΝΑ", "ΑΝΝΑ", true}, {"рор", "pop", true}, {"ıvan", "ivan", true},
		{"ᴀɴɴᴀ", "anna", true}, {"민지", "민지", true}, {"anna", "annb", false}, {"민지", "민자", false}, {"Жук", "Zuk", false},
	} {
		if got := lookalike.Skeleton(c.a) == lookalike.Skeleton(c.b); got != c.alike {
			t.Errorf("%q and %q: alike %v", c.a, c.b, got)
		}
	}
}
