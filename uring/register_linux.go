package uring

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RegisterRing spares io_uring_enter the look-up of the ring's descriptor, for
// the calling thread, which must be the only one that submits from now on: to
// another the number means nothing, or another ring. UnregisterRing or Close on
// the same thread undoes it, or the ring lives as long as the thread (5.18).
func (r *Ring) RegisterRing() error {
	if r.enterBit != 0 {
		return errors.New("uring: RegisterRing: the ring is registered already")
	}
	arg := updateArg{offset: ^uint32(0), data: uint64(r.fd)}
	if _, err := r.register(registerRingFDs, unsafe.Pointer(&arg), 1); err != nil {
		return err
	}
	r.enterFD, r.enterBit, r.thread = int(arg.offset), enterRegisteredRing, unix.Gettid()
	return nil
}

// UnregisterRing undoes RegisterRing, on the same thread.
func (r *Ring) UnregisterRing() error {
	if r.enterBit == 0 {
		return nil
	}
	if r.thread != unix.Gettid() {
		return errors.New("uring: UnregisterRing on another thread than RegisterRing")
	}
	arg := updateArg{offset: uint32(r.enterFD)}
	if _, err := r.register(unregisterRingFDs, unsafe.Pointer(&arg), 1); err != nil {
		return err
	}
	r.enterFD, r.enterBit = r.fd, 0
	return nil
}

// RegisterFiles makes a table of count empty slots for direct descriptors:
// those of AcceptDirect and SetFile, which operations name with FixedFile
// (5.19). Direct descriptors belong to the ring and count as no open file of
// the process, but count is at most the limit of open files (ulimit -n).
func (r *Ring) RegisterFiles(count int) error {
	arg := filesArg{count: uint32(count), flags: rsrcSparse}
	_, err := r.register(registerFiles2, unsafe.Pointer(&arg), unsafe.Sizeof(arg))
	return err
}

// SetFile puts the file of descriptor fd into a slot, or empties it with -1.
func (r *Ring) SetFile(slot, fd int) error {
	number := int32(fd)
	arg := updateArg{offset: uint32(slot), data: address(unsafe.Pointer(&number))}
	_, err := r.register(registerFilesUpdate, unsafe.Pointer(&arg), 1)
	return err
}

// UnregisterFiles closes the direct descriptors and removes the table.
func (r *Ring) UnregisterFiles() error {
	_, err := r.register(unregisterFiles, nil, 0)
	return err
}
