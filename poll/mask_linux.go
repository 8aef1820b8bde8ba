package poll

import "golang.org/x/sys/unix"

// kernelBits and maskOf serve epoll and poll alike: the kernel gives EPOLLIN
// and the others the values of POLLIN and the others. select has no bits.

func kernelBits(m Mask) uint32 {
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

func maskOf(b uint32) Mask {
	var m Mask
	if b&unix.EPOLLIN != 0 {
		m |= Readable
	}
	if b&unix.EPOLLOUT != 0 {
		m |= Writable
	}
	if b&unix.EPOLLPRI != 0 {
		m |= Priority
	}
	if b&unix.EPOLLRDHUP != 0 {
		m |= ReadHangUp
	}
	if b&unix.EPOLLERR != 0 {
		m |= Error
	}
	if b&unix.EPOLLHUP != 0 {
		m |= HangUp
	}
	return m
}
