package poll

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"golang.org/x/sys/unix"
)

var selectCall = scanKind{
	backend: BackendSelect,
	newCall: func() scanCall { return new(selectSet) },
	refuse:  refuseSelect,
}

func refuseSelect(fd int, interest Mask) error {
	if fd >= unix.FD_SETSIZE {
		return fmt.Errorf("descriptor is not below FD_SETSIZE (%d); use poll or epoll: %w",
			unix.FD_SETSIZE, errors.ErrUnsupported)
	}
	if interest&ReadHangUp != 0 {
		return fmt.Errorf("the select backend has no ReadHangUp; use poll or epoll: %w", errors.ErrUnsupported)
	}
	return nil
}

// A selectSet is the argument of select(2). A position is a descriptor.
type selectSet struct {
	asked  fdSets
	found  fdSets
	closed unix.FdSet // descriptors that turned out to be closed
	limit  int        // highest descriptor in asked + 1
}

type fdSets struct{ read, write, except unix.FdSet }

func (set *selectSet) clear() { *set = selectSet{} }

// add ignores Error and HangUp: select shows them as Readable and Writable.
func (set *selectSet) add(fd int, interest Mask) {
	if interest&Readable != 0 {
		set.asked.read.Set(fd)
	}
	if interest&Writable != 0 {
		set.asked.write.Set(fd)
	}
	if interest&Priority != 0 {
		set.asked.except.Set(fd)
	}
	set.limit = max(set.limit, fd+1)
}

// do works on a copy, as select overwrites its sets. Where poll marks the one
// descriptor that is closed, select fails as a whole: it is then repeated, as a
// glance, without those that are closed.
func (set *selectSet) do(timeout time.Duration) (int, error) {
	set.closed.Zero()
	set.found = set.asked
	n, err := set.found.pselect(set.limit, timeout)
	closed := 0
	for err == unix.EBADF {
		closed = set.leaveOutClosed()
		n, err = set.found.pselect(set.limit, 0)
	}
	return n + closed, err
}

func (sets *fdSets) pselect(limit int, timeout time.Duration) (int, error) {
	if timeout < 0 {
		return unix.Pselect(limit, &sets.read, &sets.write, &sets.except, nil, nil)
	}
	ts := unix.NsecToTimespec(int64(min(timeout, longestSleep)))
	return unix.Pselect(limit, &sets.read, &sets.write, &sets.except, &ts, nil)
}

// leaveOutClosed takes the closed descriptors from found to closed and returns
// their number.
func (set *selectSet) leaveOutClosed() int {
	set.closed.Zero()
	set.found = set.asked
	n := 0
	for fd := range set.limit {
		if !set.found.has(fd) || checkOpen(fd) == nil {
			continue
		}
		set.found.remove(fd)
		set.closed.Set(fd)
		n++
	}
	return n
}

func (sets *fdSets) has(fd int) bool {
	return sets.read.IsSet(fd) || sets.write.IsSet(fd) || sets.except.IsSet(fd)
}

func (sets *fdSets) remove(fd int) {
	sets.read.Clear(fd)
	sets.write.Clear(fd)
	sets.except.Clear(fd)
}

func (set *selectSet) size() int { return set.limit }

// next looks at a word of descriptors at a time.
func (set *selectSet) next(lo, hi int) (pos, fd int, ready Mask) {
	skip := lo % unix.NFDBITS
	for base := lo - skip; base < hi; base += unix.NFDBITS {
		word := set.word(base/unix.NFDBITS) >> skip << skip
		skip = 0
		if word == 0 {
			continue
		}
		fd = base + bits.TrailingZeros(word)
		if fd >= hi {
			break
		}
		return fd, fd, set.mask(fd)
	}
	return hi, -1, 0
}

// word returns which of the descriptors of word i of the sets are ready.
func (set *selectSet) word(i int) uint {
	found := &set.found
	return uint(found.read.Bits[i] | found.write.Bits[i] | found.except.Bits[i] | set.closed.Bits[i])
}

func (set *selectSet) mask(fd int) Mask {
	var m Mask
	if set.found.read.IsSet(fd) {
		m |= Readable
	}
	if set.found.write.IsSet(fd) {
		m |= Writable
	}
	if set.found.except.IsSet(fd) {
		m |= Priority
	}
	if set.closed.IsSet(fd) {
		m |= Error
	}
	return m
}
