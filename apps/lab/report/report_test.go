package report

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"image/color"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/apps/lab/compare"
)

// written writes a report and returns its directory and page. To look at it:
// go test ./lab/report -artifacts -outputdir DIR
func written(t *testing.T, write func(dir string) error) (dir, page string) {
	t.Helper()
	dir = filepath.Join(t.ArtifactDir(), "made", "by", "write")
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, PageFile))
	if err != nil {
		t.Fatal(err)
	}
	return dir, string(text)
}

func TestReportOfEverything(t *testing.T) {
	r := sample(1, 1)
	dir, page := written(t, func(dir string) error { return Write(dir, r) })

	back, err := lab.Read(filepath.Join(dir, ResultFile))
	if err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("the result that was kept differs (%v)", err)
	}
	checkPage(t, page)
	checkPictures(t, dir, "conn.png", "performance-10000x1024.png", "idle.png", "bytes.png", "alone.png")
	for _, words := range []string{
		"<title>select, poll and epoll</title>", "epi lab study --quick", "Partial result.", "interrupted in experiment threads",
		"Linux 6.18.2", "AMD EPYC", "20,000 for a process", "28,232 for one source address", "8 GiB", "4 March 2025, 15:06 UTC", "1 min 37 s",
		"All figures, thresholds and reasons", "the time per event of epoll edge, at 18,000 idle connections</h2>", "The deck found", "This run shows", "poll rises gently", "<details>",
		"up to 7 neighbours are drawn as one", "The spread reaches up to", "beyond the chart",
		"Nothing was measured", "io_uring (no points)",
		"apt-get install libuv1-dev", "strace is not installed", ">reference<", ">best<", "1.00×", "more is better", "less is better",
		"✓", "✗", "≈", "confirmed", "refuted", "depends", `<a href="#idle">idle</a>, <a href="#performance-10000x1024">performance</a>, <a href="#table-table-64x100">table</a>`,
		"50 of 2,000 rows", "epi lab compare",
	} {
		if !strings.Contains(page, words) {
			t.Errorf("the page does not say %q", words)
		}
	}
	if n := strings.Count(page, "<svg"); n != 2*5 {
		t.Errorf("%d drawings, want a wide and a narrow one of 5 experiments", n)
	}
	if len(page) > 1<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
}

// TestHeadlines: the title of a chart is what it shows.
func TestHeadlines(t *testing.T) {
	series := func(name string, points ...lab.Point) lab.Series { return lab.Series{Name: name, Points: points} }
	point := func(x float64, samples ...float64) lab.Point { return lab.NewPoint(x, samples) }
	many := func(name string, y, last float64) lab.Series {
		s := lab.Series{Name: name}
		for x := range 1000 {
			s.Points = append(s.Points, point(float64(x), y))
		}
		s.Points[999] = point(999, last)
		return s
	}
	for _, test := range []struct {
		series []lab.Series
		want   string
	}{
		{nil, ""},
		{[]lab.Series{series("poll", lab.Point{X: 1, Absent: "no"})}, ""},
		{[]lab.Series{series("poll", point(0, 1), point(10, 3))}, "poll: cost is 3, at 10 idle"},
		{[]lab.Series{series("poll", point(10, 29, 30, 31)), series("epoll", point(10, 2, 3, 4))}, "poll: 10.0× the cost of epoll, at 10 idle"},
		{[]lab.Series{series("poll", point(10, 1, 2, 3)), series("epoll", point(10, 2, 3, 4))}, "No difference beyond the spread: cost, at 10 idle"},
		{[]lab.Series{series("level", point(10, 2)), series("edge", point(10, 0))}, "cost: 0 with edge, 2 with level, at 10 idle"},
		{[]lab.Series{series("select", point(5, 9)), series("poll", point(5, 4), point(10, 8)), series("epoll", point(5, 2), point(10, 2))}, "select: 4.50× the cost of epoll, at 5 idle"},
		{[]lab.Series{many("poll", 8, 800), many("epoll", 2, 2)}, "poll: 4.00× the cost of epoll, at 999 idle"}, // somebody else had the CPU at the end
	} {
		e := &lab.Experiment{X: lab.Axis{Label: "idle"}, Y: lab.Axis{Label: "cost"}, Series: test.series}
		if got := headline(e); got != test.want {
			t.Errorf("the headline is %q, want %q", got, test.want)
		}
	}
}

// TestBrokenResult has everything that must not end a report: what is not a
// number, names that are paths or markup, rows that are too short.
func TestBrokenResult(t *testing.T) {
	dir, page := written(t, func(dir string) error { return Write(dir, broken()) })
	checkPage(t, page)
	checkPictures(t, dir, "x.png")
	for _, markup := range []string{"<script", "<img", "<b>bold", "<i>", "<u>", "NaN", "+Inf", `onload="`} {
		if strings.Contains(page, markup) {
			t.Errorf("the page has %q", markup)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, ResultFile))
	if err != nil || !json.Valid(text) {
		t.Errorf("the result is not JSON (%v)", err)
	}
	if !strings.Contains(page, "3 of 6 points are left out") || !strings.Contains(page, "absent: not a number") {
		t.Error("the page does not say what was left out")
	}
	if err := Text(io.Discard, broken()); err != nil {
		t.Error(err)
	}
}

func TestEmptyResult(t *testing.T) {
	_, page := written(t, func(dir string) error { return Write(dir, &lab.Result{Command: "epi lab study"}) })
	checkPage(t, page)
	if !strings.Contains(page, "<h1>epi lab study</h1>") {
		t.Error("the page has no title")
	}
}

func TestWriteSaysWhereItCannot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := compare.Compare("a", sample(1, 1), "b", sample(2, 1))
	for _, err := range []error{Write(filepath.Join(file, "x"), sample(1, 1)), WriteComparison(filepath.Join(file, "x"), c)} {
		var path *fs.PathError
		if !errors.As(err, &path) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "choose a directory") {
			t.Errorf("error %v", err)
		}
	}
}

func TestComparisonPage(t *testing.T) {
	a, b := sample(1, 1), sample(2, 0.8)
	b.Machine.Kernel, b.Command = "6.12.1", "epi lab study --full"
	b.Tables[0].Rows = b.Tables[0].Rows[:3]
	a.Experiments = slices.Delete(a.Experiments, 1, 2)
	b.Experiments = b.Experiments[:3] // as drawing takes its time
	c := compare.Compare("old/result.json", a, "new", b)
	dir, page := written(t, func(dir string) error { return WriteComparison(dir, c) })
	checkPage(t, page)
	checkPictures(t, dir, "conn.png", "idle.png")
	for _, words := range []string{
		"A and B compared", "old/result.json", "different kernel", "6.12.1", "different command", "A is partial",
		"A: poll", "B: poll", "within the spread", "better", "Only in A", "Only in B", "experiment performance-10000x1024", "Go net", "60 of 6,000 rows", "one sample only",
	} {
		if !strings.Contains(page, words) {
			t.Errorf("the page does not say %q", words)
		}
	}
}

// checkPage expects a page that loads nothing, and drawings that are
// well-formed, described and coloured by variables alone.
func checkPage(t *testing.T, page string) {
	t.Helper()
	if found := regexp.MustCompile(`(?i)https?:|//[a-z]|<[^>]*\ssrc=|<link|<script|<iframe|@import|url\(`).FindString(page); found != "" {
		t.Errorf("the page may load something: %q", found)
	}
	if !strings.Contains(page, "Content-Security-Policy") || strings.Contains(page, "ZgotmplZ") {
		t.Error("the page has no policy, or a value that the template refused")
	}
	// Apart from the elements that have no end the page is XML, too.
	body := regexp.MustCompile(`<meta[^>]*>|<!DOCTYPE html>`).ReplaceAllString(page, "")
	var open []string
	ids := map[string]bool{}
	var targets []string
	for d := xml.NewDecoder(strings.NewReader(body)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			open = append(open, e.Name.Local)
			for _, a := range e.Attr {
				switch a.Name.Local {
				case "id":
					if ids[a.Value] {
						t.Errorf("id %q is there twice", a.Value)
					}
					ids[a.Value] = true
				case "href":
					targets = append(targets, a.Value)
				}
			}
			if e.Name.Local == "svg" {
				checkDrawing(t, e)
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Errorf("elements are left open: %v", open)
	}
	for _, target := range targets {
		if anchor, ok := strings.CutPrefix(target, "#"); ok && !ids[anchor] {
			t.Errorf("the link %q leads nowhere", target)
		}
	}
	for _, drawing := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1) {
		if found := regexp.MustCompile(`(fill|stroke):(#|black|white)[^;"]*|font-family`).FindString(drawing); found != "" {
			t.Errorf("a drawing has a colour or font of its own: %s", found)
		}
	}
}

func checkDrawing(t *testing.T, svg xml.StartElement) {
	t.Helper()
	attributes := map[string]string{}
	for _, a := range svg.Attr {
		attributes[a.Name.Local] = a.Value
	}
	if attributes["role"] != "img" || !strings.HasPrefix(attributes["aria-label"], "Line chart: ") {
		t.Errorf("a drawing is not described: %v", attributes)
	}
}

// checkPictures expects these pictures and no others, each with something on it.
func checkPictures(t *testing.T, dir string, names ...string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.png"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	slices.Sort(names)
	if !slices.Equal(found, names) {
		t.Errorf("pictures %v, want %v", found, names)
	}
	for _, name := range names {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		picture, err := png.Decode(f)
		_ = f.Close()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		colors := map[color.Color]bool{}
		for x := range picture.Bounds().Dx() {
			colors[picture.At(x, picture.Bounds().Dy()/2)] = true
		}
		if picture.Bounds().Dx() < 1400 || len(colors) < 3 || picture.At(0, 0) != (color.RGBA{255, 255, 255, 255}) {
			t.Errorf("%s: %v with %d colours", name, picture.Bounds(), len(colors))
		}
	}
}
