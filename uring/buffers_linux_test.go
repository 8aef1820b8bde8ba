package uring_test

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

func TestReceiveWithoutBuffersEndsAndGoesOnWithThem(t *testing.T) {
	for _, incremental := range []bool{false, true} {
		t.Run(fmt.Sprintf("incremental %t", incremental), func(t *testing.T) {
			need(t, !incremental || features(t).Incremental, "incremental buffers (Linux 6.12)")
			r := newRing(t, uring.Config{Entries: 8, Setup: deferred})
			b, err := r.NewBuffers(1, 2, 4, incremental)
			must(t, err)
			here, there := pair(t)
			write(t, there, []byte("0123456789"))

			r.prepare(1).RecvMultishot(here, 1, 0)
			first, second := r.of(1), r.of(1)
			if got := string(b.Bytes(first)) + string(b.Bytes(second)); got != "01234567" || !second.More() {
				t.Fatalf("%q came: %s", got, show(second))
			}
			r.failed(1, unix.ENOBUFS)
			r.prepare(1).RecvMultishot(here, 1, 0)
			r.failed(1, unix.ENOBUFS)

			b.Recycle(first)
			r.prepare(1).RecvMultishot(here, 1, 0)
			if c := r.of(1); string(b.Bytes(c)) != "89" {
				t.Fatalf("%q came", b.Bytes(c))
			}
			if got := string(b.Bytes(second)); got != "4567" {
				t.Fatalf("%q is in a buffer that was not recycled", got)
			}
		})
	}
}

// Small messages lie behind each other until a buffer is full.
func TestIncrementalBufferIsFilledUpByManyReceives(t *testing.T) {
	need(t, features(t).Incremental, "incremental buffers (Linux 6.12)")
	r := newRing(t, uring.Config{Entries: 8, Setup: deferred})
	b, err := r.NewBuffers(1, 2, 10, true)
	must(t, err)
	here, there := pair(t)
	r.prepare(1).RecvMultishot(here, 1, 0)
	for round := range 5 {
		for _, step := range []struct {
			message string
			buffer  int
			more    bool
		}{{"abc", 0, true}, {"defg", 0, true}, {"hij", 0, false}, {"0123456789", 1, false}} {
			write(t, there, []byte(step.message))
			c := r.of(1)
			if string(b.Bytes(c)) != step.message || c.BufferID() != step.buffer || c.Flags&uring.BufferMore != 0 != step.more {
				t.Fatalf("round %d: %q instead of %q: %s", round, b.Bytes(c), step.message, show(c))
			}
			b.Recycle(c)
		}
	}
}

// What fails or ends leaves all buffers with the kernel, however often.
func TestNoBufferIsLostWithAReceiveThatFailsOrEnds(t *testing.T) {
	const count, rounds = 2, 50
	for _, row := range []struct {
		name string
		fd   func(t *testing.T) int
		want error
	}{
		{"end of stream", func(t *testing.T) int {
			here, there := pair(t)
			must(t, unix.Close(there))
			return here
		}, nil},
		{"reset", func(t *testing.T) int {
			here, there := tcpPair(t)
			must(t, unix.SetsockoptLinger(there, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
			must(t, unix.Close(there))
			return here
		}, unix.ECONNRESET},
		{"not connected", func(t *testing.T) int {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			return owned(t, fd, err)
		}, unix.ENOTCONN},
		{"no socket", func(t *testing.T) int {
			fd, err := unix.Eventfd(1, unix.EFD_CLOEXEC)
			return owned(t, fd, err)
		}, unix.ENOTSOCK},
	} {
		for _, incremental := range []bool{false, true} {
			for _, flags := range []uring.SQEFlags{0, uring.Async} {
				t.Run(fmt.Sprintf("%s incremental %t flags %d", row.name, incremental, flags), func(t *testing.T) {
					need(t, !incremental || features(t).Incremental, "incremental buffers (Linux 6.12)")
					r := newRing(t, uring.Config{Entries: 8, Setup: deferred})
					b, err := r.NewBuffers(1, count, 8, incremental)
					must(t, err)
					for range rounds {
						sqe := r.prepare(1)
						sqe.RecvMultishot(row.fd(t), 1, 0)
						sqe.Flags |= flags
						c := r.next()
						if c.More() || c.Err() != row.want || len(b.Bytes(c)) != 0 {
							t.Fatalf("%q came: %s", b.Bytes(c), show(c))
						}
						b.Recycle(c)
					}
					here, there := pair(t)
					write(t, there, pattern(0, 8*count+1))
					r.prepare(2).RecvMultishot(here, 1, 0)
					var got []byte
					for range count {
						got = append(got, b.Bytes(r.of(2))...)
					}
					if !bytes.Equal(got, pattern(0, 8*count)) {
						t.Errorf("% x came", got)
					}
					r.failed(2, unix.ENOBUFS)
				})
			}
		}
	}
}

// The receive that reaches the limit is the last. It brings at most as much as
// the buffer holds, and as the limit is.
func TestReceiveEndsWhenItReachesItsLimit(t *testing.T) {
	need(t, features(t).RecvLimit, "limit of receives (Linux 6.17)")
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		for _, size := range []int{1, 16, 4096} {
			for _, limit := range []int{1, 15, 16, 17, 500} {
				for _, incremental := range []bool{false, true} {
					r := newRing(t, uring.Config{Entries: 8, CQEntries: 1024, Setup: setup})
					b, err := r.NewBuffers(1, 512, size, incremental)
					must(t, err)
					here, there := pair(t)
					stream := pattern(0, 3*limit+size)
					write(t, there, stream)

					r.prepare(1).RecvMultishot(here, 1, limit)
					var got []byte
					for more := true; more; {
						c := r.of(1)
						more = c.More()
						got = append(got, b.Bytes(c)...)
						b.Recycle(c)
						if more != (len(got) < limit) || int(c.Res) > min(limit, size) {
							t.Fatalf("buffers of %d: %d bytes with a limit of %d: %s", size, len(got), limit, show(c))
						}
					}
					r.silent()
					if rest := read(t, here, len(stream)-len(got)); !bytes.Equal(append(got, rest...), stream) {
						t.Fatalf("buffers of %d: other bytes came with a limit of %d", size, limit)
					}
				}
			}
		}
	})
}

func TestBuffersOfADisabledRing(t *testing.T) {
	r := newRing(t, uring.Config{Entries: 8, Setup: deferred | uring.Disabled})
	b, err := r.NewBuffers(1, 1, 8, false)
	must(t, err)
	must(t, r.Enable())
	here, there := pair(t)
	write(t, there, []byte("hello"))
	r.prepare(1).RecvMultishot(here, b.Group(), 0)
	if c := r.of(1); string(b.Bytes(c)) != "hello" {
		t.Fatalf("%q came", b.Bytes(c))
	}
}

func TestGroupsAreApart(t *testing.T) {
	r := newRing(t, uring.Config{Entries: 8, Setup: deferred})
	here, there := pair(t)
	for _, group := range []uint16{0, 63, 64, 65535} {
		b, err := r.NewBuffers(group, 1, 8, false)
		must(t, err)
		write(t, there, []byte{byte(group)})
		r.prepare(1).RecvMultishot(here, group, 1)
		c := r.next()
		for c.More() { // without limits
			c = r.next()
		}
		if got := b.Bytes(c); !bytes.Equal(got, []byte{byte(group)}) {
			t.Fatalf("% x came into group %d: %s", got, group, show(c))
		}
	}
	if b, err := r.NewBuffers(63, 1, 8, false); err == nil {
		t.Fatalf("group %d was made twice", b.Group())
	}
	r.prepare(1).RecvMultishot(here, 1, 0)
	write(t, there, []byte{1})
	r.failed(1, unix.ENOBUFS) // there is no such group
}
