package proc

import (
	"os"
	"testing"
)

func TestOfThisProcess(t *testing.T) {
	before, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if before.CPU <= 0 || before.Resident == 0 {
		t.Errorf("a running process uses nothing: %+v", before)
	}
	for sum := 0; sum < 1<<28; {
		sum++
	}
	after, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if used := after.Sub(before); used.CPU <= 0 {
		t.Errorf("counting used %v of CPU", used.CPU)
	}
}

func TestOfNoProcess(t *testing.T) {
	if _, err := Of(1 << 30); err == nil {
		t.Error("a process that does not exist uses something")
	}
}

func TestSubDoesNotWrap(t *testing.T) {
	if got := (Usage{Resident: 1}).Sub(Usage{Resident: 2}).Resident; got != 0 {
		t.Errorf("memory shrank by %d", got)
	}
}
