package uring_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

// A chain of three: its first is a receive that succeeds, or is refused.
func TestLinkedEntriesStartOneAfterTheOther(t *testing.T) {
	const (
		canceled = -int32(unix.ECANCELED)
		badFD    = -int32(unix.EBADF)
	)
	for _, row := range []struct {
		name  string
		link  uring.SQEFlags
		fails bool
		want  [3]int32
	}{
		{"Link, success", uring.Link, false, [3]int32{1, 0, 0}},
		{"Link, failure", uring.Link, true, [3]int32{badFD, canceled, canceled}},
		{"HardLink, failure", uring.HardLink, true, [3]int32{badFD, 0, 0}},
	} {
		t.Run(row.name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, setup uring.Setup) {
				r := newRing(t, uring.Config{Entries: 8, Setup: setup})
				here, there := pair(t)
				fd := here
				if row.fails {
					fd = -1
				}
				first := r.prepare(0)
				first.Recv(fd, make([]byte, 1), 0)
				first.Flags |= row.link
				second := r.prepare(1)
				second.Nop()
				second.Flags |= row.link
				r.prepare(2).Nop()
				if !row.fails {
					r.silent() // nothing starts before the first has ended
					write(t, there, []byte{1})
				}
				for i, want := range row.want {
					if c := r.next(); c.UserData != uint64(i) || c.Res != want {
						t.Fatalf("instead of result %d of operation %d: %s", want, i, show(c))
					}
				}
			})
		})
	}
}

func TestSkipSuccessIsSilentUnlessItFails(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		here, there := pair(t)
		sqe := r.prepare(1)
		sqe.Send(here, []byte("hello"), 0)
		sqe.Flags |= uring.SkipSuccess
		r.silent()
		if got := read(t, there, 5); string(got) != "hello" {
			t.Fatalf("%q came", got)
		}
		sqe = r.prepare(2)
		sqe.Send(-1, []byte("hello"), 0)
		sqe.Flags |= uring.SkipSuccess
		r.failed(2, unix.EBADF)
	})
}

func TestDrainWaitsForWhatIsBefore(t *testing.T) {
	r := newRing(t, uring.Config{Entries: 8, Setup: deferred})
	here, there := pair(t)
	r.prepare(1).PollAdd(here, unix.POLLIN)
	sqe := r.prepare(2)
	sqe.Nop()
	sqe.Flags |= uring.Drain
	r.submit()
	if r.Ready() != 0 {
		t.Fatalf("%d completions are there", r.Ready())
	}
	write(t, there, []byte{1})
	r.of(1)
	r.of(2)
}
