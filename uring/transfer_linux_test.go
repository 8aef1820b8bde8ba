package uring_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

func TestSendAndReceive(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		here, there := pair(t)
		r.prepare(1).Send(here, []byte("hello"), unix.MSG_NOSIGNAL)
		if c := r.of(1); c.Res != 5 {
			t.Fatal(show(c))
		}
		p := make([]byte, 8)
		r.prepare(2).Recv(there, p, unix.MSG_PEEK)
		if c := r.of(2); string(p[:c.Res]) != "hello" {
			t.Fatalf("%q came", p)
		}
		r.prepare(3).Recv(there, p, unix.MSG_WAITALL)
		r.silent()
		r.prepare(4).Send(here, []byte("world"), 0)
		for range 2 {
			switch c := r.next(); c.UserData {
			case 3:
				if c.Res != 8 || string(p) != "hellowor" {
					t.Fatalf("%q came: %s", p, show(c))
				}
			case 4:
				must(t, c.Err())
			}
		}
	})
}

func TestTransfersOfNothing(t *testing.T) {
	r := newRing(t, uring.Config{Entries: 8, Setup: deferred})
	here, there := pair(t)
	for _, p := range [][]byte{nil, {}} {
		r.prepare(1).Send(here, p, 0)
		if c := r.of(1); c.Res != 0 {
			t.Fatal(show(c))
		}
	}
	must(t, unix.Close(there))
	r.prepare(2).Recv(here, make([]byte, 1), 0)
	if c := r.of(2); c.Res != 0 {
		t.Fatal(show(c))
	}
	r.prepare(3).Send(here, []byte{1}, unix.MSG_NOSIGNAL)
	r.failed(3, unix.EPIPE)
}

// More than fits waits, and goes on when there is room.
func TestSendOfMuchWaitsForRoom(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		const size = 3 << 20
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		here, there := tcpPair(t)
		data := pattern(0, size)
		got := make(chan []byte, 1)
		background(t, func() error {
			p := make([]byte, size)
			_, err := readFull(there, p)
			got <- p
			return err
		})
		for sent := 0; sent < size; {
			r.prepare(1).Send(here, data[sent:], unix.MSG_NOSIGNAL)
			must(t, r.SubmitLong())
			sent += int(r.of(1).Res)
		}
		if !bytes.Equal(<-got, data) {
			t.Fatal("other bytes came")
		}
	})
}

func readFull(fd int, p []byte) (n int, err error) {
	for n < len(p) {
		m, err := unix.Read(fd, p[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || m == 0 {
			return n, os.NewSyscallError("read", err)
		}
		n += m
	}
	return n, nil
}

func TestSendMsgSendsItsVectors(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		here, there := pair(t)
		vectors := vectorsOf([]byte("one "), []byte("two "), []byte("three"))
		m := &unix.Msghdr{Iov: &vectors[0]}
		m.SetIovlen(len(vectors))
		r.prepare(1).SendMsg(here, m, unix.MSG_NOSIGNAL)
		r.submit()
		*m, vectors[1].Base = unix.Msghdr{}, nil // they were copied
		if c := r.of(1); c.Res != 13 {
			t.Fatal(show(c))
		}
		if got := read(t, there, 13); string(got) != "one two three" {
			t.Fatalf("%q came", got)
		}
	})
}

func vectorsOf(parts ...[]byte) []unix.Iovec {
	vectors := make([]unix.Iovec, len(parts))
	for i, p := range parts {
		vectors[i].Base = &p[0]
		vectors[i].SetLen(len(p))
	}
	return vectors
}

// Zero copy: the result comes with HasMore, then the notification.
func TestZeroCopySendsNotifyWhenTheMemoryIsFree(t *testing.T) {
	need(t, features(t).SendZC, "SendZC (Linux 6.1)")
	data := pattern(0, 100_000)
	vectors := vectorsOf(data[:1000], data[1000:])
	m := &unix.Msghdr{Iov: &vectors[0]}
	m.SetIovlen(len(vectors))
	for _, row := range []struct {
		name string
		send func(sqe *uring.SQE, fd int)
	}{
		{"SendZC", func(sqe *uring.SQE, fd int) { sqe.SendZC(fd, data, unix.MSG_WAITALL) }},
		{"SendMsgZC", func(sqe *uring.SQE, fd int) { sqe.SendMsgZC(fd, m, unix.MSG_WAITALL) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, setup uring.Setup) {
				r := newRing(t, uring.Config{Entries: 8, Setup: setup})
				here, there := tcpPair(t)
				got := make(chan []byte, 1)
				background(t, func() error {
					p := make([]byte, len(data))
					_, err := readFull(there, p)
					got <- p
					return err
				})
				row.send(r.prepare(1), here)
				if c := r.of(1); int(c.Res) != len(data) || !c.More() || c.Flags&uring.Notification != 0 {
					t.Fatal(show(c))
				}
				if c := r.of(1); c.More() || c.Flags&uring.Notification == 0 {
					t.Fatal(show(c))
				}
				if !bytes.Equal(<-got, data) {
					t.Fatal("other bytes came")
				}
			})
		})
	}
}

func TestShutdownAndClose(t *testing.T) {
	r := newRing(t, uring.Config{Entries: 8, Setup: deferred})
	here, there := pair(t)
	r.prepare(1).Shutdown(here, unix.SHUT_WR)
	r.of(1)
	if got := read(t, there, 1); len(got) != 0 {
		t.Fatalf("% x came instead of the end", got)
	}
	write(t, there, []byte("hello"))
	if got := read(t, here, 5); string(got) != "hello" {
		t.Fatalf("%q came", got)
	}
	r.prepare(2).Close(here)
	r.of(2)
	if _, err := unix.FcntlInt(uintptr(here), unix.F_GETFD, 0); err != unix.EBADF {
		t.Fatalf("the descriptor is open: %v", err)
	}
	r.prepare(3).Close(here)
	r.failed(3, unix.EBADF)
}

func TestFilesAreReadAndWrittenAtOffsets(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		path := filepath.Join(t.TempDir(), "f")
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
		owned(t, fd, err)
		const far = 5 << 30 // beyond 32 bits
		for _, step := range []struct {
			offset int64
			text   string
		}{{0, "0123456789"}, {3, "abc"}, {-1, "begin"}, {-1, "!"}, {far, "far"}} {
			r.prepare(1).Write(fd, []byte(step.text), step.offset)
			if c := r.of(1); int(c.Res) != len(step.text) {
				t.Fatal(show(c))
			}
		}
		p := make([]byte, 10)
		for _, step := range []struct {
			offset int64
			text   string
		}{{0, "begin!6789"}, {5, "!6789"}, {-1, "6789"}, {far, "far"}, {far + 3, ""}} {
			r.prepare(2).Read(fd, p[:max(1, len(step.text))], step.offset)
			if c := r.of(2); string(p[:c.Res]) != step.text {
				t.Fatalf("%q is at %d instead of %q", p[:c.Res], step.offset, step.text)
			}
		}
	})
}
