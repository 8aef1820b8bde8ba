package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/internal/epitest"
)

// The study of the test is a child with children of its own: the environment
// that makes it the program does so for them, too.
func TestLabStudyAndClaims(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	stdout, stderr := start(t, "lab", "study", "--toy", "--only", "rearm,conn", "--out", dir).end(exitDone)
	for _, want := range []string{"Time from connect to accepted\n", filepath.Join(dir, "index.html"), "duration "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("stdout does not say %q:\n%s", want, stdout)
		}
	}
	if want := regexp.MustCompile(`^\d/\d conn .*\n\d/\d rearm .*\n$`); !want.MatchString(stderr) {
		t.Errorf("the progress is %q", stderr)
	}
	for _, name := range []string{"result.json", "index.html"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, err := lab.Read(filepath.Join(dir, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Command != "epi lab study --toy --only rearm,conn" || r.Partial != "" || len(r.Claims) == 0 {
		t.Errorf("the result is %+v", r)
	}

	code, stdout, errText := call("lab", "claims", "--from", dir)
	if code != exitDone || errText != "" {
		t.Fatalf("exit code %d, %q", code, errText)
	}
	for _, want := range []string{
		"VERDICT", "select < poll < epoll", "not measured; run epi lab study --only performance,idle",
		"depends    closing removes the registration by itself",
		"confirmed  level + ONESHOT behaves as edge",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the claims do not say %q:\n%s", want, stdout)
		}
	}
	_, stdout, _ = call("lab", "claims", "--json", "--from", filepath.Join(dir, "result.json"))
	var claims []lab.Claim
	if err := json.Unmarshal([]byte(stdout), &claims); err != nil || len(claims) != len(r.Claims) {
		t.Errorf("%d claims in JSON (%v), want %d", len(claims), err, len(r.Claims))
	}
}

func TestLabClaimsMeasuresByItself(t *testing.T) {
	stdout, _ := start(t, "lab", "claims", "--toy").end(exitDone)
	if strings.Contains(stdout, "not measured") || strings.Count(stdout, "  threshold  ") != 9 {
		t.Errorf("the claims are\n%s", stdout)
	}
}

func TestLabStudyInterrupted(t *testing.T) {
	dir := t.TempDir()
	cmd := epitest.Command("epi", "lab", "study", "--quick", "--only", "threads", "--out", dir)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(epitest.Patience, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	stderr := bufio.NewReader(pipe)
	first, firstErr := stderr.ReadString('\n') // the study has begun
	signalErr := cmd.Process.Signal(syscall.SIGINT)
	rest, restErr := io.ReadAll(stderr)
	err = cmd.Wait()
	if err := errors.Join(firstErr, signalErr, restErr); err != nil {
		t.Fatal(err)
	}
	if cmd.ProcessState.ExitCode() != exitFailed {
		t.Errorf("the study ends with %v", err)
	}
	_, text, _ := strings.Cut(first+string(rest), "epi: ")
	expectOneLine(t, "epi: "+text, "interrupted during threads")
}

func TestLabWrongCalls(t *testing.T) {
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{[]string{"lab", "bogus"}, []string{"bogus", "epi lab --help"}},
		{[]string{"lab", "study", "bogus"}, []string{"bogus", "flags only"}},
		{[]string{"lab", "study", "--only", "conn,bogus"}, []string{"--only", "bogus", "performance_2"}},
		{[]string{"lab", "study", "--max", "-1"}, []string{"--max", "-1", "whole number"}},
		{[]string{"lab", "study", "--quick", "--full"}, []string{"quick", "full"}},
		{[]string{"lab", "child"}, []string{"one role"}},
		{[]string{"lab", "sim", "--only", "bogus"}, []string{"--only", "bogus", "completion"}},
		{[]string{"lab", "sim", "--for", "-1s"}, []string{"--for", "-1s", "1m"}},
		{[]string{"lab", "sim", "--for", "1s", "--seeds", "3"}, []string{"for", "seeds"}},
	} {
		t.Run(describe(c.args), func(t *testing.T) {
			code, stdout, stderr := call(c.args...)
			if code != exitUsage || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			expectOneLine(t, stderr, c.words...)
		})
	}
}

func TestLabFailures(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{[]string{"lab", "study", "--toy", "--out", file + "/out"}, []string{"--out", file, "choose a directory"}},
		{[]string{"lab", "claims", "--from", file + ".json"}, []string{"--from", file, "no such file", "epi lab study"}},
		{[]string{"lab", "claims", "--from", file}, []string{"--from", file, "not a result"}},
		{[]string{"lab", "child", "bogus"}, []string{"bogus", "server and client"}},
		{[]string{"lab", "sim", "--out", file + "/out"}, []string{"--out", file, "choose a directory"}},
		{[]string{"lab", "sim", "--planted", file, "--out", dir}, []string{"--planted", file, "./internal/plant -o"}},
		{[]string{"lab", "peers", "--sources", dir, "--out", dir}, []string{"--sources", dir, "apps/lab/peers"}},
		{[]string{"lab", "sim", "--sources", dir, "--out", dir}, []string{dir, "git clone", "--sources"}},
	} {
		t.Run(describe(c.args), func(t *testing.T) {
			code, stdout, stderr := call(c.args...)
			if code != exitFailed || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			expectOneLine(t, stderr, c.words...)
		})
	}
}

// The simulation's tests are built from this source tree.
func TestLabSim(t *testing.T) {
	dir := t.TempDir()
	code, stdout, stderr := call("lab", "sim", "--only", "readiness", "--seeds", "2", "--out", dir)
	if code != exitDone || !strings.Contains(stderr, "1/1 building readiness\n") {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	for _, want := range []string{"level 3      ", "statements of internal/driver\n", filepath.Join(dir, "index.html")} {
		if !strings.Contains(stdout, want) {
			t.Errorf("stdout does not say %q:\n%s", want, stdout)
		}
	}
	r, err := lab.Read(filepath.Join(dir, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	var tables []string
	for _, table := range r.Tables {
		tables = append(tables, table.Name)
		if len(table.Rows) == 0 {
			t.Errorf("the table %s is empty", table.Name)
		}
	}
	if want := "schedules faults checks coverage files events"; strings.Join(tables, " ") != want || r.Command != "epi lab sim --seeds 2 --only readiness" {
		t.Errorf("%s has the tables %v, want %s", r.Command, tables, want)
	}
}

func TestLabSim_WithoutGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	code, stdout, stderr := call("lab", "sim", "--out", t.TempDir())
	if code != exitFailed || stdout != "" {
		t.Errorf("exit code %d, stdout %q", code, stdout)
	}
	expectOneLine(t, stderr, "go command is not found", "go.dev")
}

func TestLabHelp(t *testing.T) {
	code, stdout, stderr := call("lab")
	if code != exitDone || stderr != "" || !strings.Contains(stdout, "study") || strings.Contains(stdout, "child") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}
