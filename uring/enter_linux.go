package uring

import (
	"math"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Submit hands the prepared entries to the kernel, which tries each operation
// at once, and posts completions that are due. It does not wait. Without an
// error it has handed over all entries; an invalid one completes with an error. The error is EAGAIN or EBUSY when the kernel
// cannot take them all now; those that it took not stay prepared. EBADR says
// once that completions were lost.
//
// With DeferTaskrun the kernel posts only so many completions in one call (20
// since Linux 6.12): WorkWaits reports that more are due.
//
// The call bypasses the Go scheduler: it must not take long, so what is
// submitted should be bounded. SubmitLong is for more.
func (r *Ring) Submit() error {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.enterFD), r.publish(), 0, enterGetEvents|r.enterBit, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if done, err := r.handedOver(n, errno); done {
			return err
		}
	}
}

// SubmitLong is Submit for entries that take the kernel long, such as many
// bytes to copy: the Go scheduler may run something else meanwhile.
func (r *Ring) SubmitLong() error {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.enterFD), r.publish(), 0, enterGetEvents|r.enterBit, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if done, err := r.handedOver(n, errno); done {
			return err
		}
	}
}

// Wait submits and waits until count completions are there, or until timeout
// has passed, unless it is negative. It returns at once when there are so many
// already, and may return early after a signal; that is no error. Errors are
// those of Submit.
func (r *Ring) Wait(count int, timeout time.Duration) error {
	r.arg = getEventsArg{}
	return r.wait(count, timeout)
}

// WaitBatch is Wait that is content with fewer than count completions when
// spell, in whole microseconds, has passed: with those that have come by then,
// or else with the first (6.12, Features.MinWait).
func (r *Ring) WaitBatch(count int, spell, timeout time.Duration) error {
	r.arg = getEventsArg{minWait: uint32(max(1, min(spell, longestSpell)/time.Microsecond))}
	return r.wait(count, timeout)
}

const (
	longestWait  = math.MaxInt32 * time.Second // what fits everywhere
	longestSpell = math.MaxUint32 * time.Microsecond
)

func (r *Ring) wait(count int, timeout time.Duration) error {
	if timeout >= 0 {
		timeout = min(timeout, longestWait)
		r.timeout = kernelTime{int64(timeout / time.Second), int64(timeout % time.Second)}
		r.arg.timeout = address(unsafe.Pointer(&r.timeout))
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.enterFD), r.publish(), uintptr(count),
			r.waitBits|r.enterBit, uintptr(unsafe.Pointer(&r.arg)), unsafe.Sizeof(r.arg))
		if errno == unix.EINTR || errno == unix.ETIME {
			return nil
		}
		if done, err := r.handedOver(n, errno); done {
			return err
		}
	}
}

// post makes the kernel post the completions that are due, and submits nothing.
// On the wrong thread it fails.
func (r *Ring) post() {
	r.arg, r.timeout = getEventsArg{timeout: address(unsafe.Pointer(&r.timeout))}, kernelTime{}
	_, _, _ = unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 0, uintptr(len(r.cqes)),
		enterGetEvents|enterExtArg, uintptr(unsafe.Pointer(&r.arg)), unsafe.Sizeof(r.arg))
}

// handedOver reports whether a call that submitted n entries is to be the last.
// The kernel stops behind an entry that it refuses, unless the ring has
// SubmitAll, and then has not waited either.
func (r *Ring) handedOver(n uintptr, errno unix.Errno) (done bool, err error) {
	if errno == 0 && r.Prepared() > 0 {
		if n > 0 {
			return false, nil
		}
		errno = unix.EAGAIN
	}
	if errno != 0 {
		return true, os.NewSyscallError("io_uring_enter", errno)
	}
	return true, nil
}

// publish shows the kernel what was prepared and which buffers are free, and
// returns the number of entries.
func (r *Ring) publish() uintptr {
	for _, b := range r.buffers {
		b.publish()
	}
	atomic.StoreUint32(r.sqTail, r.tail)
	return uintptr(r.Prepared())
}
