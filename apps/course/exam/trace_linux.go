package exam

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"time"
)

// waitCalls are the system calls in which a server waits.
const waitCalls = "trace=epoll_wait,epoll_pwait,epoll_pwait2,poll,ppoll,select,pselect6"

// timedOut is a wait that ended by time, and not one that was a glance: epoll's, with
// or without a set of signals, epoll_pwait2's, and those of poll and select.
var timedOut = regexp.MustCompile(`(?m)(\[\], \d+, [1-9]\d*(, NULL, \d+)?\)\s+= 0|\[\], \d+, \{tv_sec=.*\s+= 0|= 0 \(Timeout\))$`)

// mostWakes is how many waits may end by time while a client says nothing, in a
// second: room for a program that does some work of its own every now and then.
const mostWakes = 4

// underStrace starts the command under strace.
func underStrace(command []string) ([]string, error) {
	if _, err := exec.LookPath("strace"); err != nil {
		return nil, fmt.Errorf("%w: there is no strace (apt-get install strace)", errSkip)
	}
	if out, err := exec.Command("strace", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: strace may not trace here: %s", errSkip, bytes.TrimSpace(out))
	}
	file, err := os.CreateTemp("", "epi-course-*.strace")
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	return append([]string{"strace", "-f", "-qq", "-e", waitCalls, "-o", file.Name(), "--"}, command...), nil
}

// traceArgument is the place of strace's file in a command that underStrace made, or 0.
func traceArgument(command []string) int {
	if command[0] != "strace" {
		return 0
	}
	return slices.Index(command, "-o") + 1
}

// staysAsleep: while nothing happens no wait ends by itself.
func staysAsleep(s *subject) error {
	if err := greet(s); err != nil {
		return err
	}
	before, err := s.timeouts()
	if err != nil {
		return err
	}
	time.Sleep(time.Second)
	after, err := s.timeouts()
	if err != nil {
		return err
	}
	if woken := after - before; woken > mostWakes {
		return fmt.Errorf("it wakes up %d times in a second in which nothing happens: wait without a limit, and wake it by a descriptor", woken)
	}
	return nil
}

// timeouts counts the waits that have ended by time.
func (s *subject) timeouts() (int, error) {
	trace, err := os.ReadFile(s.trace)
	return len(timedOut.FindAll(trace, -1)), err
}
