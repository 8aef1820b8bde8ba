package uring_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

// What arrives after Close stays in the socket: the kernel neither takes it nor
// touches the memory.
func TestCloseEndsReceives(t *testing.T) {
	const times = 30
	message := []byte("hello")
	for _, row := range []struct {
		name  string
		start func(r ring, sqe *uring.SQE, fd int, room []byte)
	}{
		{"Recv", func(r ring, sqe *uring.SQE, fd int, room []byte) { sqe.Recv(fd, room, 0) }},
		{"RecvMultishot", func(r ring, sqe *uring.SQE, fd int, _ []byte) {
			_, err := r.NewBuffers(1, 2, 8, false)
			must(r.t, err)
			sqe.RecvMultishot(fd, 1, 0)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, setup uring.Setup) {
				for range times {
					r := newRing(t, uring.Config{Entries: 8, Setup: setup})
					here, there := pair(t)
					room := make([]byte, len(message))
					row.start(r, r.prepare(1), here, room)
					r.submit()
					must(t, r.Close())
					write(t, there, message)
					if got := read(t, here, len(message)); !bytes.Equal(got, message) {
						t.Fatalf("%q is left", got)
					}
					if !bytes.Equal(room, make([]byte, len(message))) {
						t.Fatalf("%q was received", room)
					}
				}
			})
		})
	}
}

// The owner's thread may be gone.
func TestCloseOnAnotherThread(t *testing.T) {
	for _, setup := range []uring.Setup{0, deferred} {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		here, there := pair(t)
		room := make([]byte, 5)
		r.prepare(1).Recv(here, room, 0)
		r.submit()
		elsewhere(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
		write(t, there, []byte("hello"))
		if got := read(t, here, 5); string(got) != "hello" || !bytes.Equal(room, make([]byte, 5)) {
			t.Fatalf("%q is left, %q was received", got, room)
		}
	}
}

// A connection ends when its descriptor and the ring were closed, though
// operations were under way on it, or slots held it.
func TestCloseGivesUpFiles(t *testing.T) {
	for _, row := range []struct {
		name  string
		start func(r ring, fd int)
	}{
		{"a receive", func(r ring, fd int) { r.prepare(1).Recv(fd, make([]byte, 1), 0) }},
		{"a poll", func(r ring, fd int) { r.prepare(1).PollMultishot(fd, unix.POLLIN) }},
		{"a slot", func(r ring, fd int) {
			must(r.t, r.RegisterFiles(1))
			must(r.t, r.SetFile(0, fd))
		}},
		{"a registered ring", func(r ring, fd int) {
			must(r.t, r.RegisterRing())
			r.prepare(1).Recv(fd, make([]byte, 1), 0)
		}},
		{"a completion that was not taken", func(r ring, fd int) {
			r.prepare(1).Recv(fd, make([]byte, 1), 0)
			r.prepare(2).Nop()
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, setup uring.Setup) {
				r := newRing(t, uring.Config{Entries: 8, Setup: setup})
				here, there := pair(t)
				row.start(r, here)
				r.submit()
				must(t, unix.Close(here))
				must(t, r.Close())
				if got := read(t, there, 1); len(got) != 0 {
					t.Fatalf("% x came instead of the end", got)
				}
			})
		})
	}
}

func TestRingsLeaveNothingBehind(t *testing.T) {
	const rings, slack = 200, 100
	r := newRing(t, uring.Config{}) // what the first needs may stay
	must(t, r.Close())
	files, maps := descriptors(t), mappings(t)
	for range rings {
		r, err := uring.New(uring.Config{Entries: 8})
		must(t, err)
		_, err = r.NewBuffers(1, 4, 4096, false)
		must(t, err)
		must(t, r.Close())
		_, err = uring.New(uring.Config{Entries: 8, Setup: 1 << 31})
		if err == nil {
			t.Fatal("it has unknown flags")
		}
	}
	if now := descriptors(t); now > files {
		t.Errorf("%d descriptors became %d", files, now)
	}
	if now := mappings(t); now > maps+slack {
		t.Errorf("%d mappings became %d", maps, now)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

func mappings(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/maps")
	must(t, err)
	return bytes.Count(text, []byte("\n"))
}

func TestSecondCloseIsAnError(t *testing.T) {
	r := newRing(t, uring.Config{})
	must(t, r.Close())
	here, _ := pair(t) // one of them has the ring's number now
	if err := r.Close(); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("the second Close: %v", err)
	}
	if _, err := unix.FcntlInt(uintptr(here), unix.F_GETFD, 0); err != nil {
		t.Fatalf("the second Close has closed another descriptor: %v", err)
	}
}
