package fabrictest_test

import (
	"errors"
	"testing"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/fabric/fabrictest"
)

func TestLocalOwnsAll(t *testing.T) {
	l := fabrictest.NewLocal("one", "v1")
	var up []fabric.Member
	if err := l.Start(upper{&up}); err != nil || len(up) != 1 || up[0] != l.Self() {
		t.Fatalf("start: %v, up %v", err, up)
	}
	allocs := testing.AllocsPerRun(100, func() {
		l.Claim(fabric.Key{Kind: fabric.Nick, Name: "ann"}, func(c fabric.Claim, err error) {
			if err != nil || c.Epoch != 1 {
				t.Errorf("claim %v, %v", c, err)
			}
		})
		if !l.Valid() || l.Broadcast(nil) != nil {
			t.Error("a local node is not valid, or alone")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if err := l.Send("two", nil); !errors.Is(err, fabric.ErrDown) {
		t.Errorf("sent to nobody: %v", err)
	}
}

type upper struct{ up *[]fabric.Member }

func (u upper) Up(m fabric.Member)           { *u.up = append(*u.up, m) }
func (upper) Down(fabric.Member)             {}
func (upper) Received(fabric.Member, []byte) {}
func (upper) Gap(fabric.Member)              {}
func (upper) Fenced()                        {}
