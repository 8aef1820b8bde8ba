package uring_test

import (
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

// Variables whose address was given to an entry do not move with the stack.
func TestLocalVariablesStayInPlace(t *testing.T) {
	for _, row := range []struct {
		name string
		test func(r ring, here, there int)
	}{
		{"Recv", func(r ring, here, there int) {
			var room [5]byte
			place := uintptr(unsafe.Pointer(&room))
			r.prepare(1).Recv(here, room[:], 0)
			r.submit()
			moveStack(r.t)
			write(r.t, there, []byte("hello"))
			r.of(1)
			stays(r.t, place, unsafe.Pointer(&room))
			if string(room[:]) != "hello" {
				r.t.Fatalf("%q came", room)
			}
		}},
		{"Send", func(r ring, here, there int) {
			text := [5]byte{'h', 'e', 'l', 'l', 'o'}
			place := uintptr(unsafe.Pointer(&text))
			r.prepare(1).Send(here, text[:], 0)
			moveStack(r.t)
			r.of(1)
			stays(r.t, place, unsafe.Pointer(&text))
			if got := read(r.t, there, 5); string(got) != "hello" {
				r.t.Fatalf("%q came", got)
			}
		}},
		{"SendMsg", func(r ring, here, there int) {
			text := [5]byte{'h', 'e', 'l', 'l', 'o'}
			vectors := [1]unix.Iovec{{Base: &text[0]}}
			vectors[0].SetLen(len(text))
			var m unix.Msghdr
			m.Iov = &vectors[0]
			m.SetIovlen(1)
			place := uintptr(unsafe.Pointer(&m))
			r.prepare(1).SendMsg(here, &m, 0)
			moveStack(r.t)
			r.of(1)
			stays(r.t, place, unsafe.Pointer(&m))
			if got := read(r.t, there, 5); string(got) != "hello" {
				r.t.Fatalf("%q came", got)
			}
		}},
		{"Connect", func(r ring, _, _ int) {
			listener, name := listenTCP(r.t)
			addr := *raw(name)
			place := uintptr(unsafe.Pointer(&addr))
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			owned(r.t, fd, err)
			r.prepare(1).Connect(fd, unsafe.Pointer(&addr), unix.SizeofSockaddrInet4)
			moveStack(r.t)
			r.of(1)
			stays(r.t, place, unsafe.Pointer(&addr))
			accept(r.t, listener)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRing(t, uring.Config{Entries: 8, Setup: deferred})
			here, there := pair(t)
			row.test(r, here, there)
		})
	}
}

// moveStack makes the goroutine's stack grow, and proves that it has moved.
func moveStack(t testing.TB) {
	t.Helper()
	var here byte
	before := uintptr(unsafe.Pointer(&here))
	for deep := 1 << 10; uintptr(unsafe.Pointer(&here)) == before; deep *= 2 {
		if deep > 1<<20 {
			t.Fatal("the stack does not move")
		}
		descend(deep)
	}
	runtime.GC()
}

//go:noinline
func descend(deep int) int {
	var room [128]byte
	room[deep%len(room)] = byte(deep)
	if deep == 0 {
		return int(room[0])
	}
	return descend(deep-1) + int(room[deep%len(room)])
}

func stays(t testing.TB, place uintptr, now unsafe.Pointer) {
	t.Helper()
	if uintptr(now) != place {
		t.Fatal("the variable has moved")
	}
}
