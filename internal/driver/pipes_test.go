package driver

import "testing"

// countingSplicer counts the pipes that are open.
type countingSplicer struct {
	Splicer
	open int
}

func (s *countingSplicer) NewPipe() *Pipe {
	s.open++
	return new(Pipe)
}

func (s *countingSplicer) ClosePipe(*Pipe) { s.open-- }

// TestProgram10_PipesAreBounded: a loop has one pipe to spare, and mostPipes that
// are in use.
func TestProgram10_PipesAreBounded(t *testing.T) {
	splicer := &countingSplicer{}
	p := Pipes{Splicer: splicer}
	var used []*Pipe
	for p.Offer() != nil {
		if first, second := p.Offer(), p.Offer(); first != second {
			t.Fatal("an offer that was not taken is not made again")
		}
		used = append(used, p.Take())
	}
	if len(used) != mostPipes || splicer.open != mostPipes {
		t.Errorf("%d pipes are used and %d open, want %d", len(used), splicer.open, mostPipes)
	}
	for _, pipe := range used {
		p.Put(pipe)
	}
	if splicer.open != 1 || p.Offer() == nil {
		t.Errorf("%d pipes are open while none is used, want one to spare", splicer.open)
	}
	p.Release()
	if splicer.open != 0 {
		t.Errorf("%d pipes are open after the end", splicer.open)
	}
}
