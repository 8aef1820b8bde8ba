package uring_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

func TestOneAcceptBringsManyConnections(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		const rounds, burst = 10, 20
		r := newRing(t, uring.Config{Entries: 8, CQEntries: 64, Setup: setup})
		listener, addr := listenTCP(t)
		r.prepare(1).AcceptMultishot(listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		r.submit()
		for range rounds {
			var peers []int // by their port
			for range burst {
				peers = append(peers, port(t, dial(t, addr), unix.Getsockname))
			}
			for range burst {
				c := r.of(1)
				fd := owned(t, int(c.Res), nil)
				peer := port(t, fd, unix.Getpeername)
				if i := slices.Index(peers, peer); i >= 0 {
					peers = slices.Delete(peers, i, i+1)
				} else {
					t.Fatalf("port %d never connected, or came twice", peer)
				}
				flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
				must(t, err)
				if !c.More() || flags&unix.O_NONBLOCK == 0 {
					t.Fatalf("flags of the descriptor %#x: %s", flags, show(c))
				}
			}
		}
		r.silent()
	})
}

func port(t *testing.T, fd int, name func(int) (unix.Sockaddr, error)) int {
	t.Helper()
	addr, err := name(fd)
	must(t, err)
	return addr.(*unix.SockaddrInet4).Port
}

// A listener may block or not: the operation waits.
func TestAcceptBringsOneConnection(t *testing.T) {
	for _, nonblock := range []bool{false, true} {
		r := newRing(t, uring.Config{Entries: 8, Setup: deferred})
		listener, addr := listenTCP(t)
		must(t, unix.SetNonblock(listener, nonblock))
		r.prepare(1).Accept(listener, unix.SOCK_CLOEXEC)
		r.silent()
		peer := dial(t, addr)
		c := r.of(1)
		here := owned(t, int(c.Res), nil)
		dial(t, addr)
		r.silent()
		write(t, peer, []byte("hello"))
		if got := read(t, here, 5); string(got) != "hello" || c.More() {
			t.Fatalf("%q came: %s", got, show(c))
		}
	}
}

// Direct descriptors are slots of the ring: no descriptor of the process is used.
func TestAcceptIntoSlots(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		const slots = 3
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		must(t, r.RegisterFiles(slots))
		b, err := r.NewBuffers(1, 4, 64, false)
		must(t, err)
		listener, addr := listenTCP(t)

		r.prepare(1).AcceptDirectMultishot(listener, 0)
		r.submit()
		var peers, taken []int
		for range slots {
			peers = append(peers, dial(t, addr))
			c := r.of(1)
			taken = append(taken, int(c.Res))
		}
		if sorted := slices.Sorted(slices.Values(taken)); !slices.Equal(sorted, []int{0, 1, 2}) {
			t.Fatalf("connections came into the slots %d", taken)
		}
		for i, slot := range taken {
			sqe := r.prepare(2)
			sqe.Send(slot, []byte{byte(i)}, 0)
			sqe.Flags |= uring.FixedFile
			r.of(2)
			if got := read(t, peers[i], 1); !bytes.Equal(got, []byte{byte(i)}) {
				t.Fatalf("% x came from slot %d", got, slot)
			}
			sqe = r.prepare(3)
			sqe.RecvMultishot(slot, 1, 0)
			sqe.Flags |= uring.FixedFile
			write(t, peers[i], []byte("hello"))
			c := r.of(3)
			if string(b.Bytes(c)) != "hello" {
				t.Fatalf("%q came: %s", b.Bytes(c), show(c))
			}
			b.Recycle(c)
			sqe = r.prepare(4)
			sqe.CancelFD(slot)
			sqe.Flags |= uring.FixedFile
			r.cancelled(3, 4, 1)
		}

		dial(t, addr)
		r.failed(1, unix.ENFILE) // no slot is free
		r.prepare(5).CloseDirect(taken[1])
		r.of(5)
		if got := read(t, peers[1], 1); len(got) != 0 {
			t.Fatalf("% x came instead of the end", got)
		}
		dial(t, addr)
		r.prepare(6).AcceptDirect(listener, 0)
		if c := r.of(6); int(c.Res) != taken[1] || c.More() {
			t.Fatalf("a connection should have come into slot %d: %s", taken[1], show(c))
		}

		must(t, r.UnregisterFiles())
		for _, i := range []int{0, 2} {
			if got := read(t, peers[i], 1); len(got) != 0 {
				t.Fatalf("% x came instead of the end", got)
			}
		}
	})
}

// cancelled waits for the completions of an operation and of its cancellation,
// in any order, with that result.
func (r ring) cancelled(operation, cancellation uint64, result int32) {
	r.t.Helper()
	for range 2 {
		switch c := r.next(); c.UserData {
		case operation:
			if c.Err() != unix.ECANCELED || c.More() {
				r.t.Fatalf("it should have been cancelled: %s", show(c))
			}
		case cancellation:
			if c.Res != result {
				r.t.Fatalf("it should have cancelled %d: %s", result, show(c))
			}
		default:
			r.t.Fatalf("an unexpected completion: %s", show(c))
		}
	}
}

func TestSlotsAreSetAndEmptied(t *testing.T) {
	r := newRing(t, uring.Config{Entries: 8, Setup: deferred})
	must(t, r.RegisterFiles(2))
	here, there := pair(t)
	must(t, r.SetFile(1, here))
	must(t, unix.Close(here))
	write(t, there, []byte("hello"))
	p := make([]byte, 5)
	sqe := r.prepare(1)
	sqe.Recv(1, p, 0)
	sqe.Flags |= uring.FixedFile
	if r.of(1); string(p) != "hello" {
		t.Fatalf("%q came", p)
	}
	must(t, r.SetFile(1, -1))
	if got := read(t, there, 1); len(got) != 0 {
		t.Fatalf("% x came instead of the end", got)
	}
	sqe = r.prepare(2)
	sqe.Recv(1, p, 0)
	sqe.Flags |= uring.FixedFile
	r.failed(2, unix.EBADF)
	for _, slot := range []int{2, -1} {
		if err := r.SetFile(slot, there); err == nil {
			t.Fatalf("slot %d was set", slot)
		}
	}
}

func TestConnectTCP(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		listener, addr := listenTCP(t)
		for _, nonblock := range []int{0, unix.SOCK_NONBLOCK} {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|nonblock, 0)
			owned(t, fd, err)
			sockaddr := raw(addr)
			r.prepare(1).Connect(fd, unsafe.Pointer(sockaddr), int(unsafe.Sizeof(*sockaddr)))
			r.submit()
			*sockaddr = unix.RawSockaddrInet4{} // it was copied
			r.of(1)
			peer := accept(t, listener)
			write(t, fd, []byte("hello"))
			if got := read(t, peer, 5); string(got) != "hello" {
				t.Fatalf("%q came", got)
			}
		}
		held, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) // a port that is free could be another's
		owned(t, held, err)
		must(t, unix.Bind(held, &unix.SockaddrInet4{Addr: addr.Addr}))
		nobody, err := unix.Getsockname(held)
		must(t, err)
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		owned(t, fd, err)
		r.prepare(2).Connect(fd, unsafe.Pointer(raw(nobody.(*unix.SockaddrInet4))), unix.SizeofSockaddrInet4)
		r.failed(2, unix.ECONNREFUSED)
	})
}

func TestConnectUnix(t *testing.T) {
	r := newRing(t, uring.Config{Entries: 8, Setup: deferred})
	path := filepath.Join(t.TempDir(), "s")
	listener, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	owned(t, listener, err)
	must(t, unix.Bind(listener, &unix.SockaddrUnix{Name: path}))
	must(t, unix.Listen(listener, 1))

	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	owned(t, fd, err)
	addr := unix.RawSockaddrUnix{Family: unix.AF_UNIX}
	for i, c := range []byte(path) {
		addr.Path[i] = int8(c)
	}
	r.prepare(1).Connect(fd, unsafe.Pointer(&addr), int(unsafe.Offsetof(addr.Path))+len(path)+1)
	r.of(1)
	peer := accept(t, listener)
	write(t, fd, []byte("hello"))
	if got := read(t, peer, 5); string(got) != "hello" {
		t.Fatalf("%q came", got)
	}
}
