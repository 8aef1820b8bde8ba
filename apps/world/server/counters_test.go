package server

import (
	"fmt"
	"testing"

	"github.com/epinet/epi/apps/world/store"
	"github.com/epinet/epi/internal/epitest"
)

func TestStats_MissNoCounter(t *testing.T) {
	s := &Server{goods: &goods{writer: store.NewWriter(store.NewMemory(), nil)}}
	shown := func() string { return fmt.Sprint(s.Stats()) }
	nothing := shown()
	epitest.EachNumber(&s.counts, func(path string, set func(int64)) {
		if set(1e9); shown() == nothing {
			t.Errorf("Stats miss %s", path)
		}
		set(0)
	})
}
