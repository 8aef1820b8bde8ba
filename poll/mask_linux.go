package poll

import "golang.org/x/sys/unix"

// Bits and MaskOf serve poll, epoll and io_uring alike: the kernel gives
// EPOLLIN and the others the values of POLLIN and the others. select has no
// bits.

// Bits returns the interest as the kernel takes it: POLLIN and so on of
// poll(2). Error and HangUp cannot be asked for and have none. Linux only.
func (m Mask) Bits() uint32 {
	var b uint32
	if m&Readable != 0 {
		b |= unix.EPOLLIN
	}
	if m&Writable != 0 {
		b |= unix.EPOLLOUT
	}
	if m&Priority != 0 {
		b |= unix.EPOLLPRI
	}
	if m&ReadHangUp != 0 {
		b |= unix.EPOLLRDHUP
	}
	return b
}

// MaskOf returns the readiness that the kernel reports in bits. Linux only.
func MaskOf(bits uint32) Mask {
	var m Mask
	if bits&unix.EPOLLIN != 0 {
		m |= Readable
	}
	if bits&unix.EPOLLOUT != 0 {
		m |= Writable
	}
	if bits&unix.EPOLLPRI != 0 {
		m |= Priority
	}
	if bits&unix.EPOLLRDHUP != 0 {
		m |= ReadHangUp
	}
	if bits&unix.EPOLLERR != 0 {
		m |= Error
	}
	if bits&unix.EPOLLHUP != 0 {
		m |= HangUp
	}
	return m
}
