// Package report draws what the laboratory measured: a page that needs nothing
// but itself, pictures of the charts, and text for a terminal.
//
// Charts are in the deck's form. Every number is the median of its samples; the
// spread between the smallest and the largest of them is always shown with it.
package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/apps/lab/compare"
)

// The files of a report.
const (
	ResultFile = "result.json"
	PageFile   = "index.html"
)

//go:embed page.css *.gohtml
var files embed.FS

var pages = template.Must(template.ParseFS(files, "*.gohtml"))

// Write makes dir and writes into it the result, the page and one picture for
// each chart. The result is written first: it is there even if drawing fails.
// Files of these names are replaced.
func Write(dir string, r *lab.Result) error {
	r = clean(r)
	if err := makeDir(dir); err != nil {
		return err
	}
	if err := r.Write(filepath.Join(dir, ResultFile)); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	view, err := newPage(r)
	if err != nil {
		return err
	}
	return write(dir, "result.gohtml", view, view.figures)
}

// WriteComparison makes dir and writes into it a page of the comparison and one
// picture for each of its charts.
func WriteComparison(dir string, c *compare.Comparison) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	view, err := newComparisonPage(c)
	if err != nil {
		return err
	}
	return write(dir, "comparison.gohtml", view, view.figures)
}

func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write report: %w; choose a directory that can be made", err)
	}
	return nil
}

// write executes a page and draws its pictures.
func write(dir, name string, view any, figures []*figure) error {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, view); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, PageFile), b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	for _, f := range figures {
		var picture bytes.Buffer
		if err := f.chart.png(&picture); err != nil {
			return fmt.Errorf("write report: draw %s: %w", f.PNG, err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.PNG), picture.Bytes(), 0o644); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}

// style returns the style sheet, with the charts' colours in it.
func style() (template.CSS, error) {
	text, err := files.ReadFile("page.css")
	if err != nil {
		return "", err
	}
	return template.CSS(strings.NewReplacer("/*light*/", light.css(), "/*dark*/", dark.css()).Replace(string(text))), nil
}

// A figure is a chart on a page.
type figure struct {
	chart    *chart
	Drawings []template.HTML // one for each shape; the style sheet shows the one that fits
	PNG      string
	Notes    []string
}

// A sheet is what every page has.
type sheet struct {
	Title string
	CSS   template.CSS
	TOC   []link

	pictures namer
	figures  []*figure // all that are on the page
}

func newSheet(title string) (sheet, error) {
	css, err := style()
	return sheet{Title: title, CSS: css, pictures: namer{}}, err
}

// figure draws a chart for the page. There is no figure of none.
func (s *sheet) figure(c *chart, name string) (*figure, error) {
	png := s.pictures.name(name) + ".png"
	if c == nil {
		return nil, nil
	}
	f := &figure{chart: c, PNG: png, Notes: c.notes}
	for _, shape := range []shape{wide, narrow} {
		drawing, err := c.svg(shape)
		if err != nil {
			return nil, fmt.Errorf("write report: draw %s: %w", png, err)
		}
		f.Drawings = append(f.Drawings, template.HTML(drawing)) // the texts in it are escaped
	}
	s.figures = append(s.figures, f)
	return f, nil
}

// A namer makes names for anchors and files: short, safe and each only once.
type namer map[string]bool

func (n namer) name(text string) string {
	safe := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, text), "-")
	if safe == "" {
		safe = "part"
	}
	safe = safe[:min(len(safe), 60)] // far below what file systems allow
	unique := safe
	for i := 2; n[unique]; i++ {
		unique = fmt.Sprintf("%s-%d", safe, i)
	}
	n[unique] = true
	return unique
}
