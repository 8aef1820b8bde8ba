package epitest

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

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
		boundParallel()
		goleak.VerifyTestMain(m)
		return
	}
	role, ok := roles[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "there is no role %q\n", name)
		os.Exit(1)
	}
	if err := role(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

// mostParallel is how many tests run at once at most. Those of a hundred clients
// take 200 descriptors each, and select watches none above 1023.
const mostParallel = 4

// boundParallel lowers -parallel, whose default is the number of processors.
func boundParallel() {
	flag.Parse()
	parallel := flag.Lookup("test.parallel")
	if n, err := strconv.Atoi(parallel.Value.String()); err != nil || n <= mostParallel {
		return // m.Run says what is wrong with it
	}
	if err := parallel.Value.Set(strconv.Itoa(mostParallel)); err != nil {
		panic(err)
	}
}

// Command is another process of the test binary that plays a role, not yet started.
func Command(role string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childVariable+"="+role,
		"GORACE=atexit_sleep_ms=0") // the race detector waits for a second before exit code 0
	return cmd
}

// A Child is another process of the test binary that plays a role. The test
// talks to it by lines.
type Child struct {
	Process *os.Process

	t      testing.TB
	in     io.WriteCloser
	out    *bufio.Reader
	end    func() error // once
	killed bool
}

// StartChild starts a role. It is ended with the test, when its input ends.
func StartChild(t testing.TB, role string, args ...string) *Child {
	t.Helper()
	return StartChildUnder(t, nil, role, args...)
}

// StartChildUnder is StartChild by means of another command, such as strace
// with its flags. Process is then that command's.
func StartChildUnder(t testing.TB, command []string, role string, args ...string) *Child {
	t.Helper()
	cmd := Command(role, args...)
	if len(command) > 0 {
		under := exec.Command(command[0], slices.Concat(command[1:], cmd.Args)...)
		under.Env = cmd.Env
		cmd = under
	}
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
	c := &Child{Process: cmd.Process, t: t, in: in, out: bufio.NewReader(out)}
	c.end = sync.OnceValue(func() error {
		_ = in.Close()
		return cmd.Wait()
	})
	t.Cleanup(func() {
		if err := c.end(); err != nil && !c.killed {
			t.Errorf("child %s: %v", role, err)
		}
	})
	return c
}

// End ends the child before the test's end, and waits until it has ended.
func (c *Child) End() {
	c.t.Helper()
	if err := c.end(); err != nil {
		c.t.Fatalf("the child: %v", err)
	}
}

// Kill ends the child by SIGKILL, and waits until it has ended.
func (c *Child) Kill() {
	c.t.Helper()
	c.killed = true
	if err := c.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	_ = c.end()
}

// mostToSay is how long a child may take for the lines of KillAfter.
const mostToSay = 5 * time.Minute

// KillAfter calls got with each line of the child, and kills it after so many of
// them; those that it had written by then follow.
func (c *Child) KillAfter(lines int, got func(line string)) {
	c.t.Helper()
	tooLong := time.AfterFunc(mostToSay, func() { _ = c.Process.Kill() })
	defer tooLong.Stop()
	n := 0
	for said := bufio.NewScanner(c.out); said.Scan(); {
		got(said.Text())
		if n++; n == lines {
			c.killed = true
			_ = c.Process.Kill()
		}
	}
	if n < lines {
		c.t.Fatalf("the child ended after %d lines", n)
	}
	_ = c.end()
}

// Say sends a line.
func (c *Child) Say(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.in, format+"\n", args...); err != nil {
		c.t.Fatal(err)
	}
}

// ReadLine waits for a line.
func (c *Child) ReadLine() string {
	c.t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("the child says nothing more: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}
