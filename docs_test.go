package epi_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
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

// TestPagesAreWellMade: on every page, the rows of tables follow a header and have its number
// of cells, and links lead to files and headings that are there.
func TestPagesAreWellMade(t *testing.T) {
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name == ".git" {
			return fs.SkipDir
		}
		if filepath.Ext(name) != ".md" {
			return nil
		}
		lines := prose(t, name)
		for i, line := range lines {
			if !strings.HasPrefix(line, "|") {
				continue
			}
			switch begins := i == 0 || !strings.HasPrefix(lines[i-1], "|"); {
			case begins && (i+1 == len(lines) || !tableRule.MatchString(lines[i+1])):
				t.Errorf("%s: the row %q belongs to no table: it has no header", name, line)
			case !begins && cells(line) != cells(lines[i-1]):
				t.Errorf("%s: the row %q has another number of cells than the one above it", name, line)
			}
		}
		for _, link := range pageLink.FindAllStringSubmatch(strings.Join(lines, "\n"), -1) {
			if why := wrongLink(t, name, link[1]); why != "" {
				t.Errorf("%s: the link %s: %s", name, link[1], why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var (
	tableRule  = regexp.MustCompile(`^\|[-:| ]+\|$`)
	inlineCode = regexp.MustCompile("`[^`]*`")
	pageLink   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	notInID    = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// prose returns the lines of a page; those of its blocks of code are empty.
func prose(t *testing.T, name string) []string {
	t.Helper()
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(page), "\n")
	code := false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence || code {
			lines[i] = ""
		}
		code = code != fence
	}
	return lines
}

func cells(row string) int {
	row = inlineCode.ReplaceAllString(row, "")
	return strings.Count(row, "|") - strings.Count(row, `\|`)
}

// wrongLink returns why a page's link leads nowhere; "" if it leads somewhere, or out of the
// repository.
func wrongLink(t *testing.T, page, link string) string {
	t.Helper()
	if strings.Contains(link, "://") {
		return ""
	}
	file, heading, _ := strings.Cut(link, "#")
	if file == "" {
		file = page
	} else {
		file = filepath.Join(filepath.Dir(page), file)
	}
	if _, err := os.Stat(file); err != nil {
		return "there is no such file"
	}
	if heading == "" {
		return ""
	}
	for _, line := range prose(t, file) {
		title := strings.TrimLeft(line, "#")
		id := strings.ReplaceAll(notInID.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")
		if title != line && id == heading {
			return ""
		}
	}
	return "that page has no such heading"
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

const module = "github.com/epinet/epi"

// layers are the packages from the bottom to the top, as docs/architecture.md
// draws them. A package may import those of lower layers only.
var layers = [][]string{
	{
		"poll",
		"uring",
		"internal/slab",
		"internal/schedule",
		"internal/arrows",
		"internal/plant",
		"internal/wheel",
		"internal/buffer",
		"internal/sock",
		"internal/address",
		"internal/proxyheader",
		"internal/freeport",
		"internal/tlsrecord",
		"frame",
		"docs/course",
		"docs/course/draw",
		"examples/course",
		"apps/lab/proc",
		"apps/internal/publicnet",
		"apps/internal/webguard",
		"apps/internal/plaintext",
		"apps/internal/sqlitefile",
		"apps/internal/groupcommit",
		"apps/internal/secretfile",
		"apps/internal/lookalike",
		"apps/chat/fabric",
		"apps/internal/settings",
		"apps/world/proto/table",
		"apps/world/proto",
	},
	{"apps/chat/ircmsg"},
	{
		"internal/ringpoll",
		"examples/course/tcp",
		"apps/world/proto/gen",
		"apps/world/sim",
		"apps/world/replica",
		"apps/world/config",
		"apps/chat/config",
		"apps/world/store",
		"apps/chat/hall",
		"apps/chat/store",
		"apps/chat/fabric/member",
	},
	{
		"internal/driver",
		"apps/chat/vault",
		"apps/chat/keep",
		"apps/chat/weblogin",
		"apps/course/exam",
		"apps/course/site",
		"apps/lab/show",
		"apps/chat/files",
		"apps/chat/api",
		"apps/chat/push",
		"apps/chat/ledger",
		"apps/chat/fabric/fabrictest",
		"apps/chat/fabric/natsfabric",
		"apps/chat/store/storetest",
		"apps/world/inputs",
		"apps/world/store/storetest",
	},
	{"internal/seam", "internal/tlspipe", "apps/chat/archive"},
	{"internal/simulation"},
	{""},
	{"ws", "apps/chat/webhook"},
	{
		"metrics",
		"internal/epitest",
		"internal/polltest",
		"apps/lab",
		"apps/lab/load",
		"apps/chat/gate",
		"apps/chat/web",
		"apps/chat/invite",
		"apps/world/server",
		"apps/world/web",
		"test",
		"test/packet",
		"test/socket",
		"test/stream",
		"test/times",
	},
	{
		"apps/internal/browsertest",
		"apps/internal/live",
		"apps/lab/compare",
		"apps/lab/cluster",
		"apps/lab/study",
		"apps/lab/sim",
		"apps/lab/bench",
		"apps/world/bots",
	},
	{"apps/lab/report", "apps/world/bots/botstest"},
	{"apps/internal/cli"},
	{
		"apps/epi",
		"apps/examples/arena",
		"examples",
	},
}

// TestImportsPointOneWay compares the imports of every package, those of its
// tests left out, with the layers.
func TestImportsPointOneWay(t *testing.T) {
	for name, imports := range packages(t) {
		layer := layerOf(name)
		if layer < 0 {
			t.Errorf("package %q is in no layer: add it here and in docs/architecture.md", name)
			continue
		}
		for _, imported := range imports {
			if layerOf(imported) >= layer {
				t.Errorf("%q (layer %d) imports %q (layer %d): imports must point down", name, layer, imported, layerOf(imported))
			}
		}
	}
}

// TestLibraryStandsWithoutApps holds the library apart from the programs made
// with it: whoever imports epi gets nothing of apps, tests included.
func TestLibraryStandsWithoutApps(t *testing.T) {
	out, err := exec.Command("go", "list", "-test", "-deps", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for imported := range strings.Lines(string(out)) {
		if name, ok := local(strings.TrimSpace(imported)); ok && strings.HasPrefix(name, "apps/") {
			t.Errorf("the library depends on %s", name)
		}
	}
}

// TestStateMachinesKnowNoSocket holds them apart from all that has a time or an
// order of its own. What they import themselves must not have a clock; encoding
// packages have one by their own imports.
func TestStateMachinesKnowNoSocket(t *testing.T) {
	for _, machine := range []string{"apps/chat/hall", "apps/world/sim", "apps/world/proto"} {
		out, err := exec.Command("go", "list", "-deps", module+"/"+machine).Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		for dependency := range strings.Lines(string(out)) {
			switch dependency = strings.TrimSpace(dependency); dependency {
			case "net", module:
				t.Errorf("%s depends on %s", machine, dependency)
			}
		}
	}
	out, err := exec.Command("go", "list", "-f", `{{join .Imports " "}}`, module+"/apps/world/sim", module+"/apps/world/proto").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, imported := range strings.Fields(string(out)) {
		if slices.Contains([]string{"time", "sync", "sync/atomic", "os", "math/rand", "math/rand/v2"}, imported) {
			t.Errorf("a world imports %s", imported)
		}
	}
}

func TestPackagesAreNamedForWhatTheyHold(t *testing.T) {
	for name := range packages(t) {
		if slices.Contains([]string{"util", "utils", "common", "base", "helpers", "misc"}, path.Base(name)) {
			t.Errorf("package %q has a name that says nothing", name)
		}
	}
}

func TestArchitectureNamesEveryPackage(t *testing.T) {
	page, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range packages(t) {
		if strings.HasPrefix(name, "examples/") {
			continue // the page names their folder
		}
		if !strings.Contains(string(page), "`"+name+"`") && name != "" {
			t.Errorf("docs/architecture.md does not name `%s`", name)
		}
	}
}

// packages returns the packages of the workspace's modules with those of ours
// that they import.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "work").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	imports := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		var ours []string
		for _, imported := range fields[1:] {
			if name, ok := local(imported); ok {
				ours = append(ours, name)
			}
		}
		name, _ := local(fields[0])
		imports[name] = ours
	}
	return imports
}

// local returns the path of a package below the library's.
func local(importPath string) (string, bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// layerOf finds a package's layer; each example that has none of its own is a
// package as examples is.
func layerOf(name string) int {
	layer := slices.IndexFunc(layers, func(layer []string) bool { return slices.Contains(layer, name) })
	if layer < 0 && strings.HasPrefix(name, "examples/") {
		return layerOf("examples")
	}
	return layer
}

// mostModules is how many modules a program has that imports epi and ws: itself,
// this one, and what those need, tests included.
const mostModules = 8

// TestProgramsGetFewModules counts what a program requires that imports the library.
func TestProgramsGetFewModules(t *testing.T) {
	library, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module program\n\ngo 1.26.0\n\nrequire " + module + " v0.0.0\n\nreplace " + module + " => " + strconv.Quote(library) + "\n",
		"go.sum":  string(sums),
		"main.go": "package main\n\nimport (\n\t_ \"" + module + "\"\n\t_ \"" + module + "/ws\"\n)\n\nfunc main() {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list := exec.Command("go", "list", "-mod=mod", "-m", "all")
	list.Dir = dir
	list.Env = append(os.Environ(), "GOWORK=off")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if modules := strings.Split(strings.TrimSpace(string(out)), "\n"); len(modules) > mostModules {
		t.Errorf("a program has %d modules, more than %d:\n%s", len(modules), mostModules, out)
	}
}
