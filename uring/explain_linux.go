package uring

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// allowCalls is the remedy for filters.
const allowCalls = "as those of containers do: allow io_uring_setup, io_uring_enter and io_uring_register in its profile"

// explainSetup says why there can be no ring, and the remedy.
func explainSetup(errno unix.Errno) error {
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
		why = "too little memory, or too little that may be locked: raise the limit (ulimit -l)"
	case unix.EMFILE, unix.ENFILE:
		why = "no descriptor is left: raise the limit of open files (ulimit -n)"
	default:
		return fmt.Errorf("uring: %w", os.NewSyscallError("io_uring_setup", errno))
	}
	return fmt.Errorf("uring: %w: %s", os.NewSyscallError("io_uring_setup", errno), why)
}

// explainForbidden tells the administrator's switch, whose text it gets
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
