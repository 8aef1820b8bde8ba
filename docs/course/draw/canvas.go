package main

import (
	"fmt"
	"html"
	"strings"
)

// A canvas is a picture that is being drawn. Its width is 640; places and sizes are
// in the same unit. Colours are classes, for a light and a dark page.
type canvas struct {
	height int
	title  string // read out to who does not see the picture
	body   strings.Builder
}

const style = `text{font:15px ui-sans-serif,system-ui,sans-serif;fill:#1f2933;text-anchor:middle}
.box{fill:#eef2f6;stroke:#52606d}.hot{fill:#ffd9a8;stroke:#b44d12}.calm{fill:#c9e7d5;stroke:#1c6b43}
.line{stroke:#52606d;fill:none;stroke-width:1.6}.mark{stroke:#b44d12;fill:none;stroke-width:2.4}
#head path{fill:#52606d}.left{text-anchor:start}
@media (prefers-color-scheme:dark){text{fill:#e4e7eb}.box{fill:#27313b;stroke:#9aa5b1}
.hot{fill:#6b3410;stroke:#ffb066}.calm{fill:#174a30;stroke:#7fd0a3}
.line{stroke:#9aa5b1}.mark{stroke:#ffb066}#head path{fill:#9aa5b1}}`

func (c *canvas) svg() string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 %d" role="img" aria-label="%s">
<title>%[2]s</title>
<style>%s</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path d="M0,0L8,4L0,8z"/></marker></defs>
%s</svg>
`, c.height, html.EscapeString(c.title), style, c.body.String())
}

func (c *canvas) add(format string, args ...any) { fmt.Fprintf(&c.body, format+"\n", args...) }

// box draws a box with words in its middle, of the class box, hot or calm.
func (c *canvas) box(class string, x, y, w, h int, words string) {
	c.add(`<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="4"/>`, class, x, y, w, h)
	if words != "" {
		c.text(x+w/2, y+h/2+5, words)
	}
}

func (c *canvas) text(x, y int, words string) {
	c.add(`<text x="%d" y="%d">%s</text>`, x, y, html.EscapeString(words))
}

// left is text that begins at x.
func (c *canvas) left(x, y int, words string) {
	c.add(`<text class="left" x="%d" y="%d">%s</text>`, x, y, html.EscapeString(words))
}

func (c *canvas) arrow(x1, y1, x2, y2 int) {
	c.add(`<path class="line" marker-end="url(#head)" d="M%d,%dL%d,%d"/>`, x1, y1, x2, y2)
}

// path draws a line of the class line or mark through points, as SVG writes them.
func (c *canvas) path(class, points string) { c.add(`<path class="%s" d="%s"/>`, class, points) }
