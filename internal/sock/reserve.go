package sock

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// A Reserve is a descriptor kept for the moment when there are no others: it
// is given up to accept one connection more, which is then closed at once, so
// that its client notices instead of waiting in the backlog.
type Reserve struct {
	mu    sync.Mutex
	file  *os.File    // guarded by mu; nil when the reserve is spent
	spent atomic.Bool // file is nil; set under mu
}

// NewReserve opens the descriptor.
func NewReserve() *Reserve {
	r := &Reserve{}
	r.refill()
	return r
}

// refill opens the descriptor again if it is spent. The caller holds mu.
func (r *Reserve) refill() {
	if r.file != nil {
		return
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		file = nil
	}
	r.file = file
	r.spent.Store(file == nil)
}

// Shed gives the descriptor up for accept, which accepts one connection without
// waiting and closes it. It returns accept's error, or EMFILE when the reserve is
// spent and cannot be had back yet.
func (r *Reserve) Shed(accept func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refill()
	if r.file == nil {
		return syscall.EMFILE
	}
	r.spent.Store(true) // before anybody can take the descriptor
	_ = r.file.Close()
	r.file = nil
	err := accept()
	r.refill()
	return err
}

// Reclaim lets drop close an accepted connection if the reserve is spent, to
// have it back, and reports whether it did. Another loop's accept can take the
// descriptor that Shed gives up; without a reserve nobody could be shed until
// some connection ends.
func (r *Reserve) Reclaim(drop func()) bool {
	if !r.spent.Load() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		return false
	}
	drop()
	r.refill()
	return true
}

// Close gives the descriptor back.
func (r *Reserve) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}
