package epi

import (
	"testing"

	"github.com/epinet/epi/internal/driver"
)

// countingSplicer counts the pipes that are open.
type countingSplicer struct {
	driver.Splicer
	open int
}

func (s *countingSplicer) NewPipe() *driver.Pipe {
	s.open++
	return new(driver.Pipe)
}

func (s *countingSplicer) ClosePipe(*driver.Pipe) { s.open-- }

// TestProgram10_PipesAreBounded: a loop has one pipe to spare, and mostPipes that
// are in use.
func TestProgram10_PipesAreBounded(t *testing.T) {
	splicer := &countingSplicer{}
	p := pipes{splicer: splicer}
	var used []*driver.Pipe
	for p.offer() != nil {
		if first, second := p.offer(), p.offer(); first != second {
			t.Fatal("an offer that was not taken is not made again")
		}
		used = append(used, p.take())
	}
	if len(used) != mostPipes || splicer.open != mostPipes {
		t.Errorf("%d pipes are used and %d open, want %d", len(used), splicer.open, mostPipes)
	}
	for _, pipe := range used {
		p.put(pipe)
	}
	if splicer.open != 1 || p.offer() == nil {
		t.Errorf("%d pipes are open while none is used, want one to spare", splicer.open)
	}
	p.release()
	if splicer.open != 0 {
		t.Errorf("%d pipes are open after the end", splicer.open)
	}
}
