// Package proc reports what this process uses and, from /proc, what others do: CPU
// time to the nanosecond, context switches and memory.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Usage is what the threads that a process has now have used since it started.
type Usage struct {
	CPU         time.Duration // on a CPU, user and system (schedstat)
	Voluntary   uint64        // context switches because a thread waited
	Involuntary uint64        // context switches because its time was up
	Resident    uint64        // bytes of memory now
}

// Sub returns what was used between two moments. Resident is the difference,
// or 0 when it shrank.
func (u Usage) Sub(before Usage) Usage {
	return Usage{
		CPU:         u.CPU - before.CPU,
		Voluntary:   u.Voluntary - before.Voluntary,
		Involuntary: u.Involuntary - before.Involuntary,
		Resident:    u.Resident - min(u.Resident, before.Resident),
	}
}

// Add returns what two processes used together.
func (u Usage) Add(other Usage) Usage {
	return Usage{
		CPU:         u.CPU + other.CPU,
		Voluntary:   u.Voluntary + other.Voluntary,
		Involuntary: u.Involuntary + other.Involuntary,
		Resident:    u.Resident + other.Resident,
	}
}

// Of returns the usage of a process. Threads that end between two calls take
// their share with them: measure processes whose threads stay.
func Of(pid int) (Usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	tasks, err := os.ReadDir(filepath.Join(dir, "task"))
	if err != nil {
		return Usage{}, fmt.Errorf("process %d: %w", pid, err)
	}
	var u Usage
	for _, task := range tasks {
		err := u.addTask(filepath.Join(dir, "task", task.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Usage{}, fmt.Errorf("process %d: %w", pid, err)
		}
	}
	u.Resident, err = resident(dir)
	if err != nil {
		return Usage{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return u, nil
}

// addTask adds one thread.
func (u *Usage) addTask(dir string) error {
	stat, err := os.ReadFile(filepath.Join(dir, "schedstat"))
	if err != nil {
		return err
	}
	onCPU, _, _ := strings.Cut(string(stat), " ")
	ns, err := strconv.ParseInt(onCPU, 10, 64)
	if err != nil {
		return fmt.Errorf("%s/schedstat: %w", dir, err)
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return err
	}
	u.CPU += time.Duration(ns)
	u.Voluntary += field(status, "voluntary_ctxt_switches:")
	u.Involuntary += field(status, "nonvoluntary_ctxt_switches:")
	return nil
}

// field returns the number behind a name at the beginning of a line, or 0.
func field(status []byte, name string) uint64 {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			n, _ := strconv.ParseUint(string(bytes.TrimSpace(rest)), 10, 64)
			return n
		}
	}
	return 0
}

// resident returns the resident set size in bytes: the second field of statm,
// in pages.
func resident(dir string) (uint64, error) {
	statm, err := os.ReadFile(filepath.Join(dir, "statm"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0, fmt.Errorf("%s/statm has no resident set size", dir)
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize()), err
}
