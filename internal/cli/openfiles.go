package cli

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi"
)

// A room is how many connections the process can have.
type room struct {
	limit int    // descriptors
	open  int    // of them in use for something else
	of    string // what limits: the open files or select
}

const (
	ofOpenFiles = "open files"
	ofSelect    = "FD_SETSIZE"
)

// conns returns the number of connections that fit.
func (r room) conns() int { return max(r.limit-r.open, 0) }

// check refuses a promise that cannot be kept.
func (r room) check(maxConns int) error {
	if maxConns <= r.conns() {
		return nil
	}
	remedy := fmt.Sprintf("raise the limit with ulimit -n %d or choose fewer", maxConns+r.open)
	if r.of == ofSelect {
		remedy = "choose fewer or --driver epoll"
	}
	return fmt.Errorf("--max-conns %d: there is room for %d connections (%s: limit %d, %d in use); %s",
		maxConns, r.conns(), r.of, r.limit, r.open, remedy)
}

// measureRoom looks at the limit of the driver and at the descriptors that are
// open now, which cannot be connections.
func measureRoom(driver string) (room, error) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return room{}, fmt.Errorf("ask for the limit of open files: %w", err)
	}
	r := room{limit: int(min(files.Cur, math.MaxInt32)), of: ofOpenFiles}
	if driver == string(epi.DriverSelect) && r.limit > unix.FD_SETSIZE {
		r.limit, r.of = unix.FD_SETSIZE, ofSelect
	}
	open, err := openBelow(r.limit)
	r.open = open
	return r, err
}

// openBelow counts the descriptors of this process whose numbers are below
// limit; inherited ones above it leave the room as it is. Where /proc is
// missing it is 0: the room is then told a little too large.
func openBelow(limit int) (int, error) {
	dir, err := os.Open("/proc/self/fd")
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("count the open files: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, fmt.Errorf("count the open files: %w", err)
	}
	n := 0
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err == nil && fd < limit && fd != int(dir.Fd()) {
			n++
		}
	}
	return n, nil
}

// fewestOpenFiles is what a server needs for itself, with some to spare: the
// standard streams, two descriptors for each loop, the listeners, the reserve,
// and those of the Go runtime, which ends the program when it cannot have them.
const fewestOpenFiles = 32

// raiseOpenFiles raises the soft limit of open files to the hard one. The Go
// runtime does so too, but only in a process that was not told otherwise.
func raiseOpenFiles() error {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("ask for the limit of open files: %w", err)
	}
	if files.Max < fewestOpenFiles {
		return fmt.Errorf("the limit of open files is %d, too low for a server; raise it with ulimit -n, to %d or more", files.Max, fewestOpenFiles)
	}
	if files.Cur >= files.Max {
		return nil
	}
	files.Cur = files.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("raise the limit of open files to %d: %w", files.Max, err)
	}
	return nil
}
