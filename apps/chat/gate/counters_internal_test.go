package gate

import (
	"fmt"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

func TestStats_MissNoCounter(t *testing.T) {
	s := &Server{counts: counters{commands: newOutcomes()}}
	shown := func() string { return fmt.Sprint(s.Stats()) }
	nothing := shown()
	missing := func(path string, set func(int64)) {
		if set(1e9); shown() == nothing {
			t.Errorf("Stats miss %s", path)
		}
		set(0)
	}
	epitest.EachNumber(&s.counts, missing)
	for name, o := range s.counts.commands {
		epitest.EachNumber(o, func(path string, set func(int64)) { missing(name+path, set) })
	}
}
