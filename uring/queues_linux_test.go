package uring_test

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

func TestManyMoreOperationsThanEntriesCompleteInOrder(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		const operations = 20_000
		r := newRing(t, uring.Config{Entries: 8, CQEntries: 16, Setup: setup})
		submitted, completed := uint64(0), uint64(0)
		for completed < operations {
			for n := completed % 9; n > 0 && submitted < operations; n-- {
				r.prepare(submitted).Nop()
				submitted++
			}
			if submitted == completed {
				r.prepare(submitted).Nop()
				submitted++
			}
			for completed < submitted {
				r.of(completed)
				completed++
			}
		}
		r.silent()
	})
}

func TestFullQueueIsNilUntilSubmitted(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		for _, entries := range []int{1, 2, 64} {
			r := newRing(t, uring.Config{Entries: entries, CQEntries: 4 * entries, Setup: setup})
			next := uint64(0)
			for range 3 {
				for sqe := r.SQE(); sqe != nil; sqe = r.SQE() {
					sqe.Nop()
					sqe.UserData = next
					next++
				}
				if r.Prepared() != entries || next%uint64(entries) != 0 {
					t.Fatalf("%d entries are prepared, %d fit", r.Prepared(), entries)
				}
				if r.SQE() != nil {
					t.Fatal("there is room in a full queue")
				}
				r.submit()
				if r.Prepared() != 0 {
					t.Fatalf("%d entries stay", r.Prepared())
				}
			}
			for i := range next {
				r.of(i)
			}
			r.silent()
		}
	})
}

// An entry that was used before, and filled with rubbish, comes back zero.
func TestEntriesAreZero(t *testing.T) {
	const entries = 4
	r := newRing(t, uring.Config{Entries: entries, Setup: deferred})
	for range 3 {
		for range entries {
			sqe := r.SQE()
			bytes := (*[unsafe.Sizeof(*sqe)]byte)(unsafe.Pointer(sqe))
			if *bytes != ([unsafe.Sizeof(*sqe)]byte{}) {
				t.Fatalf("% x", *bytes)
			}
			for i := range bytes {
				bytes[i] = 0xff
			}
			sqe.Flags = 0 // a chain without end would not complete
		}
		for range entries {
			r.failed(1<<64-1, unix.EINVAL)
		}
	}
}

// Without SubmitAll the kernel stops behind the entry that it refuses.
//
//	nop  nop  (no such operation)  nop  nop
//	────── one call ───────────▶   ─ next ─▶
func TestRefusedEntryHoldsNothingUp(t *testing.T) {
	const noOperation = 255
	for _, row := range []struct {
		name  string
		enter func(r ring) error
	}{
		{"Submit", func(r ring) error { return r.Submit() }},
		{"SubmitLong", func(r ring) error { return r.SubmitLong() }},
		{"Wait", func(r ring) error { return r.Wait(5, patience) }},
		{"WaitBatch", func(r ring) error {
			need(r.t, features(r.t).MinWait, "WaitBatch (Linux 6.12)")
			return r.WaitBatch(5, patience, patience)
		}},
	} {
		for _, setup := range []uring.Setup{0, uring.SubmitAll} {
			t.Run(row.name, func(t *testing.T) {
				r := newRing(t, uring.Config{Entries: 8, Setup: setup})
				for i := range uint64(5) {
					sqe := r.prepare(i)
					sqe.Nop()
					if i == 2 {
						sqe.Op = noOperation
					}
				}
				must(t, row.enter(r))
				if r.Prepared() != 0 || r.Ready() != 5 {
					t.Fatalf("%d entries stay, %d completions of 5 came", r.Prepared(), r.Ready())
				}
				for i := range uint64(5) {
					if i == 2 {
						r.failed(i, unix.EINVAL)
					} else {
						r.of(i)
					}
				}
			})
		}
	}
}
