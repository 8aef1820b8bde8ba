package sim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// modulePath is that of the module whose tests the simulation is.
const modulePath = "github.com/epinet/epi"

// covered are the packages whose statements are counted.
var covered = []string{modulePath, modulePath + "/internal/driver"}

// A module is a source tree of epi.
type module struct {
	dir  string
	tool string // the command
}

// findModule returns the module epi that is meant in a directory.
func findModule(ctx context.Context, dir string) (module, error) {
	tool, err := exec.LookPath("go")
	if err != nil {
		return module{}, errors.New("the go command is not found, which builds the simulation from its sources: install Go (https://go.dev/doc/install), and put it on the PATH")
	}
	cmd := exec.CommandContext(ctx, tool, "list", "-m", "-f", "{{.Dir}}", modulePath)
	cmd.Dir = dir
	out, err := cmd.Output()
	found := strings.TrimSpace(string(out))
	if full, err := filepath.Abs(dir); err == nil {
		dir = full
	}
	if err != nil || found == "" {
		return module{}, fmt.Errorf("%s is not in the sources of epi, and the simulation is a part of them: get them with git clone https://%s, and name their directory with --sources", dir, modulePath)
	}
	return module{dir: found, tool: tool}, nil
}

// build builds the tests of a package, which count the statements that they reach.
// Binaries that are there already are used again.
func (m module) build(ctx context.Context, pkg, into string) (binary string, err error) {
	binary = filepath.Join(into, strings.ReplaceAll(path.Join("epi", pkg), "/", "-")+".test")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	cmd := exec.CommandContext(ctx, m.tool, "test", "-c", "-vet=off", "-cover", "-covermode=set",
		"-coverpkg="+strings.Join(covered, ","), "-o", binary, path.Join(modulePath, pkg))
	cmd.Dir = m.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the tests of %s: %w\n%s", path.Join(modulePath, pkg), err, out)
	}
	return binary, nil
}

// test runs tests where the go command does, in the directory of their package.
func (m module) test(ctx context.Context, binary, pkg string, args []string) (out string, err error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = filepath.Join(m.dir, filepath.FromSlash(pkg))
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// A played is a line of the file that the tests' flag -record names.
type played struct {
	Test    string         `json:"test"`
	Seeds   uint64         `json:"seeds"`
	Seconds float64        `json:"seconds"`
	Failed  string         `json:"failed"`
	Faults  map[string]int `json:"faults"`
	Checks  map[string]int `json:"checks"`
	Events  map[string]int `json:"events"`

	program program
}

// title names the test: of subtests, by the last part of its name.
func (p played) title() string {
	title := fmt.Sprintf("Level %d: %s", p.program.level, p.program.title)
	if _, part, ok := strings.Cut(p.Test, "/"); ok {
		title += ", " + part
	}
	return title
}

// readRecords reads what tests have recorded.
func readRecords(name string) (all []played, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("the tests have recorded nothing: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		var p played
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			return nil, fmt.Errorf("what the tests have recorded: %w", err)
		}
		all = append(all, p)
	}
	return all, lines.Err()
}

var orders = regexp.MustCompile(`_test\.go:\d+: (\d+) orders`)

// ordersOf adds up the orders that tests say to have gone through.
func ordersOf(out string) (n int) {
	for _, m := range orders.FindAllStringSubmatch(out, -1) {
		some, _ := strconv.Atoi(m[1]) // digits, by the expression
		n += some
	}
	return n
}
