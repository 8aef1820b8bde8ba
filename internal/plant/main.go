// Plant puts faults into the source, one at a time, and looks whether the tests
// notice. It prints of each by what it was caught, or that it survives, or that the
// tests took too long, which says nothing: the fault hangs them, or the machine is slow.
//
//	go run ./internal/plant                     # all of them
//	go run ./internal/plant -only 'edge|level'  # those whose names match
//	go run ./internal/plant -seeds 30000        # with more seeds than by default
//
// The source stays as it is: the go command is given an overlay. The faults are in
// testdata, each a change of one place; see the format there. They are the measure of
// the simulation: a kind of fault that survives is a check that is missing.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	only := flag.String("only", "", "the faults whose names match this regular expression")
	seeds := flag.Int("seeds", 30_000, "seeds of each test")
	timeout := flag.Duration("timeout", 5*time.Minute, "how long a test may take; whether one that takes longer would catch its fault is not known")
	flag.Parse()
	if err := run(*only, *seeds, *timeout); err != nil {
		fmt.Fprintln(os.Stderr, "plant:", err)
		os.Exit(1)
	}
}

func run(only string, seeds int, timeout time.Duration) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	faults, err := readAll(root)
	if err != nil {
		return err
	}
	var counts [outcomes]int
	planted := 0
	for _, f := range faults {
		if !wanted.MatchString(f.name) {
			continue
		}
		began := time.Now()
		how, by, err := f.plant(root, seeds, timeout)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		planted++
		counts[how]++
		fmt.Printf("%-64s %6.1f s  %s\n", f.name, time.Since(began).Seconds(), by)
	}
	fmt.Printf("%d of %d caught, %d survive, %d took too long\n", counts[caught], planted, counts[survives], counts[tookTooLong])
	return nil
}

// An outcome is what comes of a fault.
type outcome int

const (
	survives outcome = iota
	caught
	tookTooLong
	outcomes
)

// moduleRoot returns the directory of the module that is worked in.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/epinet/epi").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// readAll reads the faults of all files in testdata.
func readAll(root string) (all []fault, err error) {
	files, err := filepath.Glob(filepath.Join(root, "internal/plant/testdata/*.txt"))
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		faults, err := parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
		all = append(all, faults...)
	}
	return all, nil
}

// plant runs the fault's tests on source that has it, and returns what came of it, and
// by what it was caught.
func (f fault) plant(root string, seeds int, timeout time.Duration) (how outcome, by string, err error) {
	changed, err := f.apply(root)
	if err != nil {
		return 0, "", err
	}
	dir, err := os.MkdirTemp("", "plant")
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	overlay, err := writeOverlay(dir, filepath.Join(root, f.file), changed)
	if err != nil {
		return 0, "", err
	}
	args := []string{"test", "-vet=off", "-overlay", overlay, "-timeout", timeout.String(), "-run", f.tests, f.pkg}
	if f.seeded {
		args = append(args, "-seeds", fmt.Sprint(seeds))
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err == nil {
		return survives, "SURVIVES", nil
	}
	if strings.Contains(string(out), "[build failed]") {
		return 0, "", fmt.Errorf("it does not compile:\n%s", out)
	}
	how, by = judge(string(out))
	return how, by, nil
}

// writeOverlay writes what the go command is to take for a file.
func writeOverlay(dir, file, text string) (name string, err error) {
	instead := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(instead, []byte(text), 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: instead}})
	if err != nil {
		return "", err
	}
	name = filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, overlay, 0o600)
}

var (
	bySeed  = regexp.MustCompile(`(seed \d+) fails: (.*)\n\s*(\d+) of (\d+) steps`)
	byTest  = regexp.MustCompile(`_test\.go:\d+: (.*)`)
	byPanic = regexp.MustCompile(`(?m)^(panic: .*|fatal error: .*)`)
)

// judge says what a test that has failed shows of its fault. One that timed out has
// found nothing.
func judge(out string) (how outcome, by string) {
	if strings.Contains(out, "panic: test timed out") {
		return tookTooLong, "TOOK TOO LONG"
	}
	return caught, summary(out)
}

// summary says in one line what failed.
func summary(out string) string {
	if m := bySeed.FindStringSubmatch(out); m != nil {
		return fmt.Sprintf("%s, %s of %s steps: %s", m[1], m[3], m[4], m[2])
	}
	if m := byPanic.FindStringSubmatch(out); m != nil {
		return m[1]
	}
	if m := byTest.FindStringSubmatch(out); m != nil {
		return m[1]
	}
	return "the test fails"
}
