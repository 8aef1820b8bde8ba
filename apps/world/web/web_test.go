package web_test

import (
	"fmt"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/apps/world/web"
)

// TestMapIsTheSameInJavaScript sums the tiles of several maps in both languages.
func TestMapIsTheSameInJavaScript(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("it needs node: apt-get install nodejs")
	}
	const side = 10
	seeds := []uint32{0, 1, 7, 1<<32 - 1}
	var want strings.Builder
	for _, seed := range seeds {
		m, sum := sim.NewMap(seed, side, side), uint32(1)
		for y := range side * sim.CellSide {
			for x := range side * sim.CellSide {
				sum = sum*31 + uint32(m.At(x, y))
			}
		}
		fmt.Fprintln(&want, sum)
	}
	script := fmt.Sprintf(`import { WorldMap } from './map.js';
for (const seed of %s) {
  const m = new WorldMap(seed, %d, %d);
  let sum = 1;
  for (let y = 0; y < m.height; y++) for (let x = 0; x < m.width; x++) sum = (Math.imul(sum, 31) + m.at(x, y)) >>> 0;
  console.log(sum);
}`, strings.ReplaceAll(fmt.Sprint(seeds), " ", ","), side, side)
	cmd := exec.Command("node", "--input-type=module", "-e", script)
	got, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	if string(got) != want.String() {
		t.Errorf("JavaScript has\n%sand Go\n%s", got, want.String())
	}
}

// TestScriptsOfThePage runs what the client's pure parts have as tests.
func TestScriptsOfThePage(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("it needs node: apt-get install nodejs")
	}
	files, err := filepath.Glob("*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	if out, err := exec.Command("node", append([]string{"--test"}, files...)...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestPageRunsNothingOfOthers(t *testing.T) {
	for path, status := range map[string]int{"/": 200, "/main.js": 200, "/proto.js": 200, "/healthz": 200, "/web.go": 404, "/none": 404, "/a/b": 404} {
		answer := httptest.NewRecorder()
		web.Page().ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
		if answer.Code != status {
			t.Errorf("%s: %d", path, answer.Code)
		}
		policy := answer.Header().Get("Content-Security-Policy")
		if status == 200 && path != "/healthz" && (!strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe")) {
			t.Errorf("%s: the policy is %q", path, policy)
		}
	}
}
