package fabric

import (
	"fmt"
	"testing"
)

func TestHomeMovesAsFewNamesAsPossible(t *testing.T) {
	all := []Member{{Node: "a"}, {Node: "b"}, {Node: "c"}}
	of := map[Node]int{}
	for i := range 3000 {
		name := fmt.Sprintf("#channel%d", i)
		home, ok := Home(name, all)
		if !ok {
			t.Fatal("no home among three members")
		}
		of[home.Node]++
		if turned, _ := Home(name, []Member{all[2], all[0], all[1]}); turned != home {
			t.Fatalf("%s: home %v, in another order %v", name, home, turned)
		}
		if without, _ := Home(name, all[:2]); home.Node != "c" && without != home {
			t.Fatalf("%s has moved from %v to %v though its home is there still", name, home, without)
		}
	}
	for node, names := range of {
		if names < 850 || names > 1150 {
			t.Errorf("node %s has %d names of 3000", node, names)
		}
	}
}

func TestHomeIsNoDrainingMember(t *testing.T) {
	members := []Member{{Node: "a", Draining: true}, {Node: "b"}, {Node: "c", Draining: true}}
	for i := range 100 {
		if home, _ := Home(fmt.Sprint(i), members); home.Node != "b" {
			t.Fatalf("%d lives on %v", i, home)
		}
	}
	if home, ok := Home("#x", members[:1]); !ok || home.Node != "a" {
		t.Errorf("home %v, %v where all are draining", home, ok)
	}
	if _, ok := Home("#x", nil); ok {
		t.Error("a home without members")
	}
}
