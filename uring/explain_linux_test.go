package uring

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSetupErrorsNameTheRemedy(t *testing.T) {
	for _, row := range []struct {
		errno  unix.Errno
		remedy string
	}{
		{unix.ENOSYS, "seccomp"},
		{unix.EPERM, "allow"},
		{unix.EACCES, "allow"},
		{unix.EINVAL, "Linux 6.1"},
		{unix.ENOMEM, "needs 84 KiB"},
		{unix.EMFILE, "ulimit -n"},
		{unix.ENFILE, "ulimit -n"},
		{unix.EFAULT, "io_uring_setup"}, // nothing is known about it
	} {
		err := explainSetup(row.errno, 84<<10)
		if !errors.Is(err, row.errno) {
			t.Errorf("%v is not %v", err, row.errno)
		}
		if text := err.Error(); !strings.HasPrefix(text, "uring: io_uring_setup: ") || !strings.Contains(text, row.remedy) {
			t.Errorf("%v: it should name io_uring_setup and %q", err, row.remedy)
		}
	}
}

func TestForbiddenIsTheAdministratorsSwitchOrAFilter(t *testing.T) {
	for _, row := range []struct {
		name, disabled, want string
	}{
		{"for all", "2\n", "io_uring_disabled=0"},
		{"but for a group", "1\n", "io_uring_group"},
		{"not by the switch", "0\n", "seccomp"},
		{"without a switch, before Linux 6.6", "", "seccomp"},
	} {
		if got := explainForbidden(row.disabled); !strings.Contains(got, row.want) {
			t.Errorf("%s: %q does not name %q", row.name, got, row.want)
		}
	}
}
