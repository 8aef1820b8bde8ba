package sock

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

func TestHunt19_ClientLost(t *testing.T) {
	for err, lost := range map[error]bool{
		syscall.ENETUNREACH:  true,
		syscall.ECONNABORTED: true,
		os.NewSyscallError("accept", syscall.EHOSTUNREACH): true,
		syscall.EMFILE:       false,
		syscall.ENFILE:       false,
		syscall.ENOMEM:       false,
		syscall.EINVAL:       false,
		errors.New("closed"): false,
	} {
		if ClientLost(err) != lost {
			t.Errorf("%v: lost is %v", err, !lost)
		}
	}
	if ClientLost(nil) {
		t.Error("no error is one")
	}
}
