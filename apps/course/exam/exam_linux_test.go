package exam

import (
	"context"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// child is the first argument of the test's own program as a wrong server.
const child = "serve-wrongly"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == child {
		serveWronglyAsChild()
		return
	}
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// TestFaults has one wrong program for each fault that the systems of chapter 11 have,
// and the check that must find it.
func TestFaults(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for _, row := range []struct {
		fault   string
		chapter int
		check   string
	}{
		{"one accept per edge", 7, "backlog"},
		{"a short send loses data", 7, "slow reader"},
		{"EINTR ends the server", 7, "signals"},
		{"a reply to a reused descriptor", 7, "reused descriptor"},
		{"RDHUP closes before the tail", 7, "tail"},
		{"the worker spins", 7, "idle"},
		{"an incomplete frame spins", 11, "half a frame"},
		{"a thread per event", 7, "order"},
		{"EAGAIN drops the message", 7, "slow reader"},
		{"reading starves writing", 7, "reads and writes"},
		{"the wait is clamped", 7, "wakes"},
		{"the peer's close loops", 7, "closing"},
		{"a broadcast visits everybody", 8, "rooms"},
		{"descriptors have a highest number", 1, "beyond select"},
		{"each wait hands over all", 2, "what a wait hands over"},
		{"the record is searched", 9, "cost"},
	} {
		all.Go(func() {
			command := []string{os.Args[0], child, row.fault, "{port}"}
			got := one(t, row.chapter, row.check, command)
			for tries := 1; tries < 6 && got.Verdict == Passed; tries++ {
				got = one(t, row.chapter, row.check, command) // some faults need the kernel to take less than it might
			}
			if got.Verdict != Failed && got.Verdict != Skipped {
				t.Errorf("%s: %s %s %s; want it to fail", row.fault, row.check, got.Verdict, got.Text)
			}
			t.Logf("%s: %s: %s", row.fault, row.check, got.Text)
		})
	}
	all.Wait()
}

// mostAtOnce is how many programs are examined at the same time: they wait for most
// of it.
const mostAtOnce = 12

// one makes one check of an exercise.
func one(t *testing.T, chapter int, name string, command []string) Result {
	for _, c := range exercises[chapter].checks {
		if c.name == name {
			return c.hold(t.Context(), exercises[chapter].dialect, command)
		}
	}
	return Result{Text: "there is no such check"}
}

// TestRightPrograms holds the course's own servers against every check.
func TestRightPrograms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", dir+"/")
	servers := map[int]string{1: "echo", 2: "echo", 9: "echo", 7: "echo", 8: "chat", 10: "boss", 11: "frames"}
	for _, name := range slices.Compact(slices.Sorted(maps.Values(servers))) {
		build.Args = append(build.Args, "github.com/epinet/epi/examples/course/"+name)
	}
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	atOnce := make(chan bool, mostAtOnce)
	var all sync.WaitGroup
	for chapter, name := range servers {
		for _, c := range exercises[chapter].checks {
			all.Go(func() {
				atOnce <- true
				defer func() { <-atOnce }()
				command := []string{filepath.Join(dir, name), "{port}"}
				got := c.hold(t.Context(), exercises[chapter].dialect, command)
				for tries := 1; tries < 4 && got.Verdict == Failed && c.name == "cost"; tries++ {
					got = c.hold(t.Context(), exercises[chapter].dialect, command) // it measures, and the machine is shared
				}
				if got.Verdict == Failed {
					t.Errorf("%s: %s: %s", name, c.name, got.Text)
				}
			})
		}
	}
	all.Wait()
}

// TestSmallerExercisesArePartOfTheLarge: chapters 3 to 6 ask for nothing that chapter 7
// does not.
func TestSmallerExercisesArePartOfTheLarge(t *testing.T) {
	all := map[string]bool{}
	for _, c := range exercises[7].checks {
		all[c.name] = true
	}
	for chapter := 3; chapter <= 6; chapter++ {
		for _, c := range exercises[chapter].checks {
			if !all[c.name] {
				t.Errorf("chapter %d has a check %q of its own", chapter, c.name)
			}
		}
	}
}

// TestWhatIsNoServer: programs that end, or are not there, fail with what they said.
func TestWhatIsNoServer(t *testing.T) {
	for _, row := range []struct {
		command []string
		want    string
	}{
		{[]string{"sh", "-c", "echo no such luck >&2; exit 3"}, "no such luck"},
		{[]string{"/does/not/exist"}, "no such file"},
	} {
		got := one(t, 7, "greets", row.command)
		if got.Verdict != Failed || !strings.Contains(got.Text, row.want) {
			t.Errorf("%q: %+v", row.command, got)
		}
	}
	if err := Run(context.Background(), 12, nil, nil); err == nil || !strings.Contains(err.Error(), "1 2 3 4 5 6 7 8 9 10 11") {
		t.Errorf("chapter 12: %v", err)
	}
}
