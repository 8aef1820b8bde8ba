package course

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/uring"
)

var update = flag.Bool("update", false, "write programs and outputs into the chapters")

const (
	pages    = "../../docs/course"
	longest  = 59              // lines of a program: under 60
	patience = 3 * time.Minute // for what comes at once
)

var (
	// block is a piece of a page that comes from a program.
	block = regexp.MustCompile("(?s)<!-- (program|output|session) (\\w+) -->\n```(?:go|text)\n(.*?)```\n")
	// measured is what differs from run to run.
	measured = regexp.MustCompile(`[\d.]+ µs|fd \d+`)
	prose    = regexp.MustCompile("(?s)```.*?```")
)

// TestChapters holds what the chapters show against the programs: the source, the
// output, and what clients of the servers see.
func TestChapters(t *testing.T) {
	dir := build(t)
	for _, chapter := range chapters(t, "en") {
		t.Run(chapter, func(t *testing.T) {
			t.Parallel()
			for _, language := range []string{"en", "ko"} {
				holdPage(t, dir, filepath.Join(pages, language, chapter))
			}
		})
	}
}

func holdPage(t *testing.T, dir, name string) {
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	now := block.ReplaceAllFunc(page, func(whole []byte) []byte {
		found := block.FindSubmatch(whole)
		kind, program, shown := string(found[1]), string(found[2]), string(found[3])
		got := shown
		switch kind {
		case "program":
			got = source(t, program)
		case "output":
			got = output(t, filepath.Join(dir, program), shown)
		case "session":
			play(t, filepath.Join(dir, program), shown)
		}
		if measured.ReplaceAllString(got, "#") == measured.ReplaceAllString(shown, "#") {
			return whole
		}
		if !*update {
			t.Errorf("%s: %s of %s is not\n%s\nbut (go test ./examples/course -update)\n%s", name, kind, program, shown, got)
		}
		return bytes.Replace(whole, []byte("\n"+shown+"```\n"), []byte("\n"+got+"```\n"), 1)
	})
	if !bytes.Equal(now, page) {
		if err := os.WriteFile(name, now, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLanguagesSayTheSame compares what can be compared of the two languages: the
// chapters, their parts, blocks and pictures, and the figures in the text.
func TestLanguagesSayTheSame(t *testing.T) {
	english := chapters(t, "en")
	if korean := chapters(t, "ko"); !slices.Equal(english, korean) {
		t.Fatalf("the chapters are %v and %v", english, korean)
	}
	for _, chapter := range english {
		en, ko := shape(t, "en", chapter), shape(t, "ko", chapter)
		if !slices.Equal(en, ko) {
			t.Errorf("%s differs:\nen %q\nko %q", chapter, en, ko)
		}
		for _, language := range []string{"README.md", "ko/README.md"} {
			if contents, err := os.ReadFile(filepath.Join(pages, language)); err != nil || !bytes.Contains(contents, []byte(chapter)) {
				t.Errorf("%s does not name %s: %v", language, chapter, err)
			}
		}
	}
}

func shape(t *testing.T, language, chapter string) (shape []string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(pages, language, chapter))
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile("(?m)^#+ |^```.*$|^<!-- .* -->$|^- |\\]\\(\\.\\./.*\\)$").FindAll(page, -1) {
		shape = append(shape, string(found))
	}
	figures := regexp.MustCompile(`\d[\d,.]*\d( µs| ms)`).FindAllString(string(prose.ReplaceAll(page, nil)), -1)
	slices.Sort(figures)
	return append(shape, slices.Compact(figures)...)
}

func chapters(t *testing.T, language string) (names []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(pages, language, "[0-9]*.md"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no chapters: %v", err)
	}
	for _, name := range found {
		names = append(names, filepath.Base(name))
	}
	return names
}

// build builds every program of the course and returns where they are.
func build(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", dir+"/", "./...").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// source is the program's main file, which must be short.
func source(t *testing.T, program string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(program, "main_linux.go"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(text, []byte("\n")); lines > longest {
		t.Errorf("%s has %d lines, more than %d", program, lines, longest)
	}
	return string(text)
}

// output runs a program that ends by itself. What needs io_uring is taken as shown
// where that is missing.
func output(t *testing.T, program, shown string) string {
	t.Helper()
	if _, err := uring.Probe(); err != nil && filepath.Base(program) == "completion" {
		t.Logf("not run: %v", err)
		return shown
	}
	out, err := exec.CommandContext(t.Context(), program).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return string(out)
}

// play has clients say and hear what a session shows: "a> words" is sent by client
// a, "a< words" is what it gets. Words are a line, or quoted bytes.
func play(t *testing.T, program, session string) {
	t.Helper()
	server := exec.CommandContext(t.Context(), program, "0")
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	first, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(first), "listening on ")
	if err != nil || !ok {
		t.Fatalf("%s begins with %q, %v", program, first, err)
	}
	clients := map[string]net.Conn{}
	for line := range strings.Lines(session) {
		if err := step(clients, address, strings.TrimSuffix(line, "\n")); err != nil {
			t.Errorf("%s, %s: %v", program, line, err)
			break
		}
	}
	for _, client := range clients {
		_ = client.Close()
	}
}

func step(clients map[string]net.Conn, address, line string) error {
	if len(line) < 3 {
		return fmt.Errorf("%q is no step", line)
	}
	name, words := line[:1], line[3:]+"\n"
	if line[3] == '"' {
		quoted, err := strconv.Unquote(line[3:])
		if err != nil {
			return err
		}
		words = quoted
	}
	if clients[name] == nil {
		client, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		clients[name] = client
		_ = client.SetDeadline(time.Now().Add(patience))
	}
	if line[1] == '>' {
		_, err := io.WriteString(clients[name], words)
		return err
	}
	got := make([]byte, len(words))
	if n, err := io.ReadFull(clients[name], got); err != nil || string(got) != words {
		return fmt.Errorf("it gets %q, %v", got[:n], err)
	}
	return nil
}
