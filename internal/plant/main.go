// Plant puts faults into the source, one at a time, and looks whether the tests
// notice. It prints of each by what it was caught, or that it survives, or that the
// tests took too long, which says nothing: the fault hangs them, or the machine is slow.
//
//	go run ./internal/plant                     # all of them
//	go run ./internal/plant -only 'edge|level'  # those whose names match
//	go run ./internal/plant -list connections   # those of one list
//	go run ./internal/plant -seeds 30000        # so many seeds of each test
//	go run ./internal/plant -o plant.json       # the results as JSON, too, for epi lab sim
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
	list := flag.String("list", "", "the lists in testdata whose names match this regular expression")
	out := flag.String("o", "", "the file that gets the results as JSON, after each fault")
	seeds := flag.Int("seeds", 30_000, "seeds of each test")
	timeout := flag.Duration("timeout", 5*time.Minute, "how long a test may take; whether one that takes longer would catch its fault is not known")
	flag.Parse()
	if err := run(*list, *only, *out, *seeds, *timeout); err != nil {
		fmt.Fprintln(os.Stderr, "plant:", err)
		os.Exit(1)
	}
}

func run(list, only, out string, seeds int, timeout time.Duration) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	faults, err := readAll(root)
	if err != nil {
		return err
	}
	faults, err = choose(faults, list, only)
	if err != nil {
		return err
	}
	results := results{Seeds: seeds}
	for _, f := range faults {
		began := time.Now()
		r, err := f.plant(root, seeds, timeout)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		r.Seconds = time.Since(began).Seconds()
		fmt.Printf("%-64s %6.1f s  %s\n", r.Fault, r.Seconds, r.describe())
		results.Faults = append(results.Faults, r)
		if err := results.write(out); err != nil {
			return err
		}
	}
	fmt.Print(results.summary())
	return results.err()
}

// choose returns the faults of the lists, and with the names, that match.
func choose(faults []fault, list, only string) (chosen []fault, err error) {
	lists, err := regexp.Compile(list)
	if err != nil {
		return nil, fmt.Errorf("-list: %w", err)
	}
	names, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	for _, f := range faults {
		if lists.MatchString(f.list) && names.MatchString(f.name) {
			chosen = append(chosen, f)
		}
	}
	return chosen, nil
}

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
		for _, f := range faults {
			f.list = strings.TrimSuffix(filepath.Base(name), ".txt")
			all = append(all, f)
		}
	}
	return all, nil
}

// plant runs the fault's tests on source that has it, and returns what came of it.
func (f fault) plant(root string, seeds int, timeout time.Duration) (result, error) {
	changed, err := f.apply(root)
	if err != nil {
		return result{}, err
	}
	dir, err := os.MkdirTemp("", "plant")
	if err != nil {
		return result{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	overlay, err := writeOverlay(dir, filepath.Join(root, f.file), changed)
	if err != nil {
		return result{}, err
	}
	args := []string{"test", "-vet=off", "-overlay", overlay, "-timeout", timeout.String(), "-run", f.tests, f.pkg}
	if f.seeded {
		args = append(args, "-seeds", fmt.Sprint(seeds))
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	r := result{List: f.list, Fault: f.name, Outcome: survives}
	if err == nil {
		return r, nil
	}
	if strings.Contains(string(out), "[build failed]") {
		r.Outcome, r.By = unbuilt, string(out)
		return r, nil
	}
	r.judge(string(out))
	return r, nil
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
