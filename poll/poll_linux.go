package poll

import (
	"time"

	"golang.org/x/sys/unix"
)

var pollCall = scanKind{
	backend: BackendPoll,
	newCall: func() scanCall { return new(pollSet) },
	refuse:  func(int, Mask) error { return nil },
}

// A pollSet is the argument of poll(2). A position is an index of fds.
type pollSet struct {
	fds []unix.PollFd
}

func (set *pollSet) clear() { set.fds = set.fds[:0] }

func (set *pollSet) add(fd int, interest Mask) {
	set.fds = append(set.fds, unix.PollFd{Fd: int32(fd), Events: int16(interest.Bits())})
}

// do lets Go's scheduler know of the call even if it cannot block: the kernel's work
// grows with the set and has no bound.
func (set *pollSet) do(timeout time.Duration) (int, error) {
	if timeout < 0 {
		return unix.Ppoll(set.fds, nil, nil)
	}
	ts := unix.NsecToTimespec(int64(min(timeout, longestSleep)))
	return unix.Ppoll(set.fds, &ts, nil)
}

func (set *pollSet) size() int { return len(set.fds) }

func (set *pollSet) next(lo, hi int) (pos, fd int, ready Mask) {
	for i := lo; i < hi; i++ {
		if found := set.fds[i].Revents; found != 0 {
			return i, int(set.fds[i].Fd), maskOfPoll(found)
		}
	}
	return hi, -1, 0
}

// maskOfPoll shows a descriptor that was closed without Remove as Error: its
// owner finds out, and the others are not disturbed.
func maskOfPoll(found int16) Mask {
	ready := MaskOf(uint32(uint16(found)))
	if found&unix.POLLNVAL != 0 {
		ready |= Error
	}
	return ready
}
