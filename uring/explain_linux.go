package uring

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// allowCalls is the remedy for filters.
const allowCalls = "as those of containers do: allow io_uring_setup, io_uring_enter and io_uring_register in its profile"

// explainSetup says why there can be no ring of size bytes, and the remedy.
func explainSetup(errno unix.Errno, size int) error {
	var why string
	switch errno {
	case unix.ENOSYS:
		why = "the kernel has no io_uring, or a seccomp filter hides it, " + allowCalls
	case unix.EPERM, unix.EACCES:
		text, _ := os.ReadFile("/proc/sys/kernel/io_uring_disabled") // since Linux 6.6
		why = explainForbidden(string(text))
	case unix.EINVAL:
		why = "the kernel is too old: Linux 6.1 has all that is needed"
	case unix.ENOMEM:
		why = explainMemory("the ring", size)
	case unix.EMFILE, unix.ENFILE:
		why = "no descriptor is left: raise the limit of open files (ulimit -n)"
	default:
		return fmt.Errorf("uring: %w", os.NewSyscallError("io_uring_setup", errno))
	}
	return fmt.Errorf("uring: %w: %s", os.NewSyscallError("io_uring_setup", errno), why)
}

// explainMemory says that there is no memory for what, of size bytes. Rings count
// for what the user may lock, unless it may lock all (CAP_IPC_LOCK).
func explainMemory(what string, size int) string {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil || limit.Cur == unix.RLIM_INFINITY {
		return fmt.Sprintf("there is no memory for %s, which needs %d KiB", what, kib(size))
	}
	return fmt.Sprintf("%s needs %d KiB of locked memory, and all programs of this user may lock %d KiB together (RLIMIT_MEMLOCK): "+
		"raise the limit (ulimit -l, LimitMEMLOCK= of systemd), or ask for fewer or smaller rings", what, kib(size), limit.Cur>>10)
}

// kib rounds up.
func kib(n int) int { return (n + 1<<10 - 1) >> 10 }

// explainForbidden distinguishes the administrator's switch, whose text it gets
// (kernel.io_uring_disabled), from a filter.
func explainForbidden(disabled string) string {
	switch strings.TrimSpace(disabled) {
	case "2":
		return "io_uring is disabled: sysctl kernel.io_uring_disabled=0 allows it"
	case "1":
		return "io_uring is allowed for the group kernel.io_uring_group and CAP_SYS_ADMIN only: sysctl kernel.io_uring_disabled=0 allows it to all"
	}
	return "a seccomp filter or security module forbids it, " + allowCalls
}
