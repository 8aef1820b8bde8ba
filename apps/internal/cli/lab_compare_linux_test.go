package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/apps/lab/compare"
)

// keepResult writes a result with one series and returns its directory.
func keepResult(t *testing.T, kernel string, seconds float64) string {
	t.Helper()
	dir := t.TempDir()
	r := &lab.Result{
		Command: "epi lab study", Title: "Study", Machine: lab.Machine{Kernel: kernel},
		Experiments: []lab.Experiment{{
			Name: "idle", Title: "Idle", X: lab.Axis{Label: "idle connections"}, Y: lab.Axis{Label: "time", Unit: "s"},
			Series: []lab.Series{{Name: "epoll", Points: []lab.Point{
				lab.NewPoint(0, []float64{seconds, seconds * 1.1}),
				lab.NewPoint(10000, []float64{seconds, seconds * 1.1}),
			}}},
		}},
	}
	if err := r.Write(filepath.Join(dir, "result.json")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLabCompare(t *testing.T) {
	a, b := keepResult(t, "6.1", 2e-6), keepResult(t, "6.2", 1e-6)
	out := filepath.Join(t.TempDir(), "made", "out")
	code, stdout, stderr := call("lab", "compare", a, filepath.Join(b, "result.json"), "--out", out)
	if code != exitDone || stderr != "" {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	for _, words := range []string{"WARNING: different kernel: A has 6.1, B has 6.2", "10,000", "0.50×  better", "2 better", filepath.Join(out, "index.html")} {
		if !strings.Contains(stdout, words) {
			t.Errorf("stdout does not say %q:\n%s", words, stdout)
		}
	}
	for _, name := range []string{"index.html", "idle.png"} {
		if info, err := os.Stat(filepath.Join(out, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLabCompareAsJSON(t *testing.T) {
	code, stdout, stderr := call("lab", "compare", "--json", keepResult(t, "6.1", 1e-6), keepResult(t, "6.1", 1.05e-6))
	if code != exitDone || stderr != "" {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	var c compare.Comparison
	if err := json.Unmarshal([]byte(stdout), &c); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if len(c.Warnings) != 0 || c.Counts[compare.Within] != 2 || c.Groups[0].Cells[1].Row != "epoll" || *c.Groups[0].Cells[1].X != 10000 {
		t.Errorf("%+v", c)
	}
}

func TestLabCompareThatFails(t *testing.T) {
	good := keepResult(t, "6.1", 1e-6)
	other := filepath.Join(t.TempDir(), "other.json")
	if err := os.WriteFile(other, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args  []string
		code  int
		words []string
	}{
		{nil, exitUsage, []string{"0 results", "name two, A and B", "epi lab compare --help"}},
		{[]string{good}, exitUsage, []string{"1 result:"}},
		{[]string{good, good, good}, exitUsage, []string{"3 results"}},
		{[]string{good, good, "--jsn"}, exitUsage, []string{"--jsn"}},
		{[]string{good, "none"}, exitFailed, []string{"none", "no such file", "result.json"}},
		{[]string{other, good}, exitFailed, []string{other, "not a result of epi lab"}},
		{[]string{good, good, "--out", filepath.Join(other, "x")}, exitFailed, []string{other, "not a directory", "choose a directory"}},
	} {
		t.Run(describe(c.args), func(t *testing.T) {
			code, stdout, stderr := call(append([]string{"lab", "compare"}, c.args...)...)
			if code != c.code || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			expectOneLine(t, stderr, c.words...)
		})
	}
}
