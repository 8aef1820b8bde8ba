package uring_test

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

// probeChild marks the process that has no descriptor left.
const probeChild = "EPI_TEST_PROBE_CHILD"

// A lack of descriptors, which may be over soon, is not what Probe says for ever.
func TestProbe_TriesAgainAfterNo(t *testing.T) {
	if os.Getenv(probeChild) != "" {
		probeWithoutDescriptors(t)
		return
	}
	features(t)
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), probeChild+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func probeWithoutDescriptors(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	if _, err := uring.Probe(); !errors.Is(err, unix.EMFILE) {
		t.Errorf("without descriptors Probe says %v", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if _, err := uring.Probe(); err != nil {
		t.Errorf("with descriptors again Probe says %v", err)
	}
}
