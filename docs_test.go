package epi_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestGoInDocsIsCompiled compares every piece of Go in the README and the guide
// with the Go files of this module and of apps, which compile: it must be in one of them,
// word by word, though not as deep in it.
func TestGoInDocsIsCompiled(t *testing.T) {
	guide, err := filepath.Glob("docs/guide/*.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := goFiles(t)
	for _, name := range append(guide, "README.md") {
		for i, piece := range piecesOfGo(t, name) {
			if !isIn(sources, flat(piece)) {
				t.Errorf("%s: piece %d of Go is in no Go file of this module or of apps:\n%s", name, i+1, piece)
			}
		}
	}
}

// piecesOfGo returns the blocks of a page that are marked as Go.
func piecesOfGo(t *testing.T, name string) (pieces []string) {
	t.Helper()
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, rest := range strings.Split(string(page), "```go\n")[1:] {
		piece, _, closed := strings.Cut(rest, "```")
		if !closed || strings.TrimSpace(piece) == "" {
			t.Fatalf("%s: a block of Go is empty or has no end", name)
		}
		pieces = append(pieces, piece)
	}
	return pieces
}

// goFiles returns the text of this module's Go files and of those of apps, made flat.
func goFiles(t *testing.T) (sources []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (isOtherModule(path) && path != "apps" || strings.HasPrefix(path, ".git")) {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		sources = append(sources, flat(string(text)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

func isOtherModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil && dir != "."
}

// flat takes the indentation off each line.
func flat(text string) string {
	var b strings.Builder
	b.WriteByte('\n') // so that a piece begins where a line does
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}

func isIn(sources []string, piece string) bool {
	for _, source := range sources {
		if strings.Contains(source, piece) {
			return true
		}
	}
	return false
}

// TestCasesAreCatalogued looks for the case of each test's name in docs/cases.md.
func TestCasesAreCatalogued(t *testing.T) {
	page, err := os.ReadFile("docs/cases.md")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`func Test([PLWHRTFD]|Hunt|Hostile|Program)(\d+)_`)
	for _, source := range goFiles(t) {
		for _, match := range name.FindAllStringSubmatch(source, -1) {
			number, err := strconv.Atoi(match[2])
			if err != nil {
				t.Fatal(err)
			}
			if !regexp.MustCompile(fmt.Sprintf(`\b%s%d\b`, match[1], number)).Match(page) {
				t.Errorf("docs/cases.md has no case %s%d", match[1], number)
			}
		}
	}
}

// TestSecurityNamesTests: each test that SECURITY.md shows a promise with is there.
func TestSecurityNamesTests(t *testing.T) {
	page, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		tests.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`(Test[A-Za-z0-9_]+)`").FindAllSubmatch(page, -1)
	if len(names) == 0 {
		t.Error("SECURITY.md names no tests")
	}
	for _, name := range names {
		if !strings.Contains(tests.String(), "func "+string(name[1])+"(t *testing.T)") {
			t.Errorf("there is no %s", name[1])
		}
	}
}
