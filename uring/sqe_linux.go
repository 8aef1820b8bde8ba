package uring

import (
	"encoding/binary"
	"math"
	"math/bits"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Each of these methods makes the entry one operation. The descriptor fd is a
// direct one when FixedFile is set in Flags afterwards. UserData is the
// caller's to set.

// Nop does nothing, and completes.
func (s *SQE) Nop() { s.Op = OpNop }

// PollAdd completes when one of the events (unix.POLLIN and so on) holds; the
// result are the events.
func (s *SQE) PollAdd(fd int, events uint32) {
	if bigEndian {
		events = bits.RotateLeft32(events, 16) // the kernel has them in this order
	}
	s.Op, s.FD, s.OpFlags = OpPollAdd, int32(fd), events
}

var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// PollMultishot completes each time that something has happened to fd, with
// the events that hold then: edge triggered.
func (s *SQE) PollMultishot(fd int, events uint32) {
	s.PollAdd(fd, events)
	s.Len = pollMulti
}

// Accept accepts one connection; the result is its descriptor. flags are those
// of accept4(2).
func (s *SQE) Accept(fd int, flags uint32) {
	s.Op, s.FD, s.OpFlags = OpAccept, int32(fd), flags
}

// AcceptMultishot accepts connections, each with a completion (5.19).
func (s *SQE) AcceptMultishot(fd int, flags uint32) {
	s.Accept(fd, flags)
	s.IOPrio = acceptMultishot
}

// AcceptDirect is Accept into a free slot of the direct descriptors, which is
// the result (5.19), or ENFILE when there is none. It knows no SOCK_CLOEXEC.
func (s *SQE) AcceptDirect(fd int, flags uint32) {
	s.Accept(fd, flags)
	s.File = fileIndexAlloc
}

// AcceptDirectMultishot is AcceptMultishot into free slots.
func (s *SQE) AcceptDirectMultishot(fd int, flags uint32) {
	s.AcceptMultishot(fd, flags)
	s.File = fileIndexAlloc
}

// Connect connects fd to the address, a raw socket address such as
// unix.RawSockaddrInet4 of the given size.
func (s *SQE) Connect(fd int, addr unsafe.Pointer, size int) {
	s.Op, s.FD, s.Addr, s.Off = OpConnect, int32(fd), address(addr), uint64(size)
}

// Recv receives into p, up to 2 GiB, as all transfers.
func (s *SQE) Recv(fd int, p []byte, flags uint32) {
	s.transfer(OpRecv, fd, p, flags)
}

// RecvMultishot receives into buffers of the group, one for each completion,
// until the end of the stream (result 0) or an error, such as ENOBUFS when no
// buffer is left. Like all multishot operations it may end for another reason,
// with a completion that brings bytes but has not HasMore: then it is to be
// submitted again. One reason is a full completion queue.
//
// A limit above 0 (6.17, Features.RecvLimit) ends it once so many bytes have
// come. One receive brings at most limit bytes, and the one that reaches the
// limit is the last: it may pass it.
func (s *SQE) RecvMultishot(fd int, group uint16, limit int) {
	s.Op, s.FD, s.IOPrio = OpRecv, int32(fd), recvMultishot
	s.Flags |= BufferSelect
	s.BufGroup = group
	s.Len, s.File = uint32(limit), uint32(limit) // of one receive, and of all
}

// Send sends p.
func (s *SQE) Send(fd int, p []byte, flags uint32) {
	s.transfer(OpSend, fd, p, flags)
}

// SendZC sends p without copying it (6.0). When the result's completion has
// HasMore, another with Notification follows, from which on p may be changed.
func (s *SQE) SendZC(fd int, p []byte, flags uint32) {
	s.transfer(OpSendZC, fd, p, flags)
}

// SendBundle sends the buffers that were Put into the group (6.10,
// Features.Bundle), or ends with ENOBUFS when there are none. The result is the
// number of bytes; the buffers are those from BufferID on, in the order of Put.
// What is Put meanwhile may be sent too, with further completions.
func (s *SQE) SendBundle(fd int, group uint16, flags uint32) {
	s.Op, s.FD, s.IOPrio, s.OpFlags = OpSend, int32(fd), sendBundle, flags
	s.Flags |= BufferSelect
	s.BufGroup = group
}

// SendMsg is sendmsg(2).
func (s *SQE) SendMsg(fd int, m *unix.Msghdr, flags uint32) {
	s.Op, s.FD, s.Addr, s.Len, s.OpFlags = OpSendMsg, int32(fd), address(unsafe.Pointer(m)), 1, flags
}

// SendMsgZC is SendMsg without copying; see SendZC (6.1).
func (s *SQE) SendMsgZC(fd int, m *unix.Msghdr, flags uint32) {
	s.SendMsg(fd, m, flags)
	s.Op = OpSendMsgZC
}

// Read reads from the file offset, or from where the file stands if that is -1.
func (s *SQE) Read(fd int, p []byte, offset int64) {
	s.transfer(OpRead, fd, p, 0)
	s.Off = uint64(offset)
}

// Write writes at the file offset, or where the file stands if that is -1.
func (s *SQE) Write(fd int, p []byte, offset int64) {
	s.transfer(OpWrite, fd, p, 0)
	s.Off = uint64(offset)
}

func (s *SQE) transfer(op Op, fd int, p []byte, flags uint32) {
	s.Op, s.FD, s.OpFlags = op, int32(fd), flags
	s.Addr, s.Len = address(unsafe.Pointer(unsafe.SliceData(p))), uint32(min(len(p), math.MaxInt32))
}

// Shutdown is shutdown(2); how is unix.SHUT_WR and so on.
func (s *SQE) Shutdown(fd int, how int) {
	s.Op, s.FD, s.Len = OpShutdown, int32(fd), uint32(how)
}

// Close closes the descriptor fd.
func (s *SQE) Close(fd int) { s.Op, s.FD = OpClose, int32(fd) }

// CloseDirect closes the direct descriptor in a slot (5.15).
func (s *SQE) CloseDirect(slot int) { s.Op, s.File = OpClose, uint32(slot)+1 }

// Cancel cancels the operation with that UserData. The result is 0, ENOENT
// when there is none, or EALREADY when it can no longer be stopped.
func (s *SQE) Cancel(userData uint64) { s.Op, s.FD, s.Addr = OpCancel, -1, userData }

// CancelFD cancels all operations on fd; the result is their number (5.19), 0
// when there are none. The
// kernel looks at every operation under way to find them.
func (s *SQE) CancelFD(fd int) {
	s.Op, s.FD, s.OpFlags = OpCancel, int32(fd), cancelFD|cancelAll
}

// CancelAny cancels every operation of the ring; the result is their number
// (5.19).
func (s *SQE) CancelAny() { s.Op, s.FD, s.OpFlags = OpCancel, -1, cancelAny|cancelAll }

// MsgRing posts a completion with that UserData and result on another ring
// (5.18).
func (s *SQE) MsgRing(ring int, userData uint64, result uint32) {
	s.Op, s.FD, s.Off, s.Len = OpMsgRing, int32(ring), userData, result
}
