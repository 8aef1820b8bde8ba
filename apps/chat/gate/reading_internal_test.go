package gate

import (
	"errors"
	"testing"

	"github.com/epinet/epi/apps/chat/fabric"
)

// A ledger keeps positions when the test says so.
type ledger struct {
	History
	reached []fabric.Position
	done    func(error)
}

func (l *ledger) Reached(_ uint32, p fabric.Position, done func(error)) {
	l.reached, l.done = append(l.reached, p), done
}

func at(number uint64) fabric.Position { return fabric.Position{Stream: 1, Number: number} }

// taken begins to read, and takes batches with so many writes each.
func (r *reading) taken(t *testing.T, after fabric.Position, writes ...int) (batches []*batch) {
	t.Helper()
	if from, ok := r.begins(); !ok || from != after {
		t.Fatalf("it reads from %v, %t, want %v", from, ok, after)
	}
	for i, n := range writes {
		b := r.take(at(after.Number + uint64(i) + 1))
		for range n {
			b.begin()
		}
		b.end(nil) // it is applied
		batches = append(batches, b)
	}
	return batches
}

// goesOn ends the reading, after which it goes on or not.
func (r *reading) goesOn(t *testing.T, want bool) {
	t.Helper()
	if again, anew := r.ended(nil); again != want || anew {
		t.Fatalf("it goes on: %t, want %t; with another history: %t", again, want, anew)
	}
}

// TestPositionFollowsTheDisk: the position is behind what is durable, in order, and what was
// refused holds it back.
func TestPositionFollowsTheDisk(t *testing.T) {
	full := errors.New("no space left on device")
	l := &ledger{}
	r := &reading{store: l}
	keeps := func(numbers ...uint64) {
		t.Helper()
		if len(l.reached) != len(numbers) {
			t.Fatalf("positions were kept: %v, want %v", l.reached, numbers)
		}
		for i, n := range numbers {
			if l.reached[i] != at(n) {
				t.Fatalf("positions were kept: %v, want %v", l.reached, numbers)
			}
		}
	}
	b := r.taken(t, fabric.Position{}, 2, 1, 0, 1)
	b[1].end(nil)
	b[0].end(nil)
	keeps() // one of the first batch is not durable
	b[0].end(nil)
	keeps(3)
	r.goesOn(t, false)
	l.done(full)
	keeps(3)
	if known := b[3].end(full); known {
		t.Error("a refusal is not the first")
	}
	keeps(3, 3) // once more with the next
	l.done(nil)
	keeps(3, 3)

	more := r.taken(t, at(3), 1, 1)
	if b[3].end(full); r.refused {
		t.Error("what is read again already was refused before")
	}
	if known := more[1].end(full); known || r.take(at(6)) != nil {
		t.Error("it is read on though the disk refuses")
	}
	more[0].end(nil)
	keeps(3, 3, 4)
	l.done(nil)
	if r.goesOn(t, false); r.due != catchUpTicks {
		t.Errorf("it is read again in %d ticks", r.due)
	}
	last := r.taken(t, at(4), 1)
	last[0].end(nil)
	keeps(3, 3, 4, 5)
}

// TestReadingIsDue: what was said is read some time later, what is lacking soon, and while it is
// read, once more after that.
func TestReadingIsDue(t *testing.T) {
	r := &reading{}
	ticks := func() (n int) {
		for n = 1; !r.tick(); n++ {
			if n > 1000 {
				return 0
			}
		}
		return n
	}
	if n := ticks(); n > 0 {
		t.Errorf("it is due after %d ticks though nothing was said", n)
	}
	r.dueIn(readOnTicks)
	r.dueIn(readOnTicks)
	if n := ticks(); n != readOnTicks {
		t.Errorf("it is due after %d ticks", n)
	}
	r.dueIn(readOnTicks)
	r.dueIn(catchUpTicks)
	r.dueIn(readOnTicks)
	if n := ticks(); n != catchUpTicks {
		t.Errorf("it is due after %d ticks", n)
	}
	_, first := r.begins()
	_, second := r.begins()
	if !first || second {
		t.Error("it is read twice at once")
	}
	r.goesOn(t, true)
	if _, ok := r.begins(); !ok {
		t.Error("it is not read a second time")
	}
	r.goesOn(t, false)
}

// TestReadingThatIsDueIsDone: where one begins meanwhile, as the one at once does after something of a node
// was lost, that may be too early for what the node appends up to a tick later.
func TestReadingThatIsDueIsDone(t *testing.T) {
	r := new(reading)
	r.dueIn(catchUpTicks)
	if _, ok := r.begins(); !ok {
		t.Fatal("it is read already")
	}
	r.ended(nil)
	for range catchUpTicks - 1 {
		if r.tick() {
			t.Error("it is read too early")
		}
	}
	if !r.tick() {
		t.Error("what was due is not read")
	}
}

// TestReadingOfAnotherHistory: a record that is not behind the one before is of another history, and all of that is read.
func TestReadingOfAnotherHistory(t *testing.T) {
	for _, other := range []fabric.Position{at(2), at(1), {Stream: 2, Number: 9}} {
		r := &reading{store: &ledger{}}
		r.taken(t, fabric.Position{}, 0, 0)
		r.goesOn(t, false)
		r.taken(t, at(2))
		if r.take(other) != nil {
			t.Errorf("%v is read on from %v", other, at(2))
		}
		if _, anew := r.ended(nil); !anew {
			t.Errorf("%v is of the same history as %v", other, at(2))
		}
		if r.renew(); r.kept != (fabric.Position{}) {
			t.Errorf("of the other history all before %v is durable", r.kept)
		}
		r.taken(t, fabric.Position{})
	}
}

// TestRefusedIsDue: what the disk has refused is read again soon, whether that was while the history was read,
// and its moment came then, or later.
func TestRefusedIsDue(t *testing.T) {
	full := errors.New("no space left on device")
	for _, later := range []bool{false, true} {
		r := &reading{store: &ledger{}}
		b := r.taken(t, fabric.Position{}, 1)
		if later {
			r.goesOn(t, false)
		}
		b[0].end(full)
		if !later {
			for !r.tick() {
			}
			r.begins()
			r.goesOn(t, false)
		}
		if r.due != catchUpTicks {
			t.Errorf("later %t: it is due in %d ticks", later, r.due)
		}
	}
	d := &desk{}
	d.net.readings[0].due = 1
	if d.readSoon(); d.net.readings[0].due != catchUpTicks {
		t.Errorf("before what was said may be there: in %d ticks", d.net.readings[0].due)
	}
}
