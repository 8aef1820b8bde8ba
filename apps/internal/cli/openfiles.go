package cli

import (
	"errors"
	"fmt"
	"os"
	"strconv"
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

// openBelow counts the descriptors of this process whose numbers are below
// limit; inherited ones above it leave the room as it is. Where /proc is
// missing it is 0: the room is then reported a little too large.
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
