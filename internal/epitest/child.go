package epitest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// childVariable names the environment variable that makes a test binary play a
// role instead of running tests.
const childVariable = "EPI_TEST_CHILD"

// Main is the TestMain of a package: it checks for leaked goroutines, and runs
// the role when the process is a Child. A role gets the arguments, reads
// commands from standard input and writes answers to standard output.
func Main(m *testing.M, roles map[string]func(args []string) error) {
	name := os.Getenv(childVariable)
	if name == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := roles[name](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

// A Child is another process of the test binary that plays a role. The test
// talks to it by lines.
type Child struct {
	Process *os.Process

	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

// StartChild starts a role. It is ended with the test, when its input ends.
func StartChild(t *testing.T, role string, args ...string) *Child {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childVariable+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("child %s: %v", role, err)
		}
	})
	return &Child{Process: cmd.Process, t: t, in: in, out: bufio.NewReader(out)}
}

// Say sends a line.
func (c *Child) Say(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.in, format+"\n", args...); err != nil {
		c.t.Fatal(err)
	}
}

// Hear waits for a line.
func (c *Child) Hear() string {
	c.t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("the child says nothing more: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}
