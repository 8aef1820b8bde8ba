package interop

import (
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	_ "image/png"
	"math"
	"os"
	"path/filepath"
	"testing"
)

var updatePictures = flag.Bool("update-pictures", false, "make the pictures of the documentation anew")

// shownViews are those that the documentation has pictures of.
var shownViews = []string{"light", "dark", "phone", "thread", "search", "settings", "admin-people", "admin-phone"}

// pictureDir is where the documentation has them.
var pictureDir = filepath.Join("..", "..", "docs", "pictures")

const (
	// cells are how many parts of a picture are compared, along each side: so many
	// that a list or a dialog is several, and so few that a letter, the hour or the
	// system's font is none.
	cells = 24
	// near is how far the brightness of two cells may be apart, of 255, and ink how far
	// within a cell, where something is written or drawn.
	near = 40
	ink  = 60
	// unlike is how many of a hundred cells may be different: what another font, the
	// hour, or a message that fades changes.
	unlike = 12
)

// comparePictures compares what the browser has drawn with what the documentation has.
func comparePictures(t *testing.T, made string) {
	t.Helper()
	for _, view := range shownViews {
		name, shown := filepath.Join(made, view+".png"), filepath.Join(pictureDir, "chat-"+view+".png")
		if *updatePictures {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(shown, content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := compare(picture(t, name), picture(t, shown)); err != nil {
			t.Errorf("%s does not look as the documentation shows it (%v). If it is to look so, run the test with -update-pictures", view, err)
		}
	}
}

// compare returns what is wrong where two pictures do not show the same.
func compare(a, b image.Image) error {
	if a.Bounds().Size() != b.Bounds().Size() {
		return fmt.Errorf("it has %v points, not %v", a.Bounds().Size(), b.Bounds().Size())
	}
	different := 0
	x, y := look(a), look(b)
	for i := range x {
		if max(x[i].brightness-y[i].brightness, y[i].brightness-x[i].brightness) > near || x[i].written != y[i].written {
			different++
		}
	}
	if share := 100 * different / len(x); share > unlike {
		return fmt.Errorf("%d %% of it are different, at most %d %% may be", share, unlike)
	}
	return nil
}

// A cell is what is compared of one part of a picture.
type cell struct {
	brightness int
	written    bool
}

// look returns the cells of a picture, row by row.
func look(m image.Image) (list [cells * cells]cell) {
	size := m.Bounds().Size()
	gray := image.NewGray(image.Rect(0, 0, size.X, size.Y))
	draw.Draw(gray, gray.Rect, m, m.Bounds().Min, draw.Src)
	for i := range list {
		column, row := i%cells, i/cells
		part := image.Rect(column*size.X/cells, row*size.Y/cells, (column+1)*size.X/cells, (row+1)*size.Y/cells)
		sum, least, most := 0, uint8(math.MaxUint8), uint8(0)
		for y := part.Min.Y; y < part.Max.Y; y++ {
			for _, p := range gray.Pix[gray.PixOffset(part.Min.X, y) : gray.PixOffset(part.Max.X-1, y)+1] {
				sum, least, most = sum+int(p), min(least, p), max(most, p)
			}
		}
		list[i] = cell{sum / (part.Dx() * part.Dy()), int(most)-int(least) > ink}
	}
	return list
}

func picture(t *testing.T, name string) image.Image {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	m, _, err := image.Decode(file)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return m
}

// TestBrokenViewsAreSeen: a view that is empty, that has lost its style, or is another
// one, is not taken for the one that the documentation has.
func TestBrokenViewsAreSeen(t *testing.T) {
	light := picture(t, filepath.Join(pictureDir, "chat-light.png"))
	if err := compare(light, light); err != nil {
		t.Errorf("the same: %v", err)
	}
	blank := image.NewUniform(color.White)
	empty := image.NewRGBA(light.Bounds())
	draw.Draw(empty, empty.Rect, blank, image.Point{}, draw.Src)
	covered := image.NewRGBA(light.Bounds())
	draw.Draw(covered, covered.Rect, light, light.Bounds().Min, draw.Src)
	size := covered.Rect.Size()
	draw.Draw(covered, image.Rect(size.X/4, size.Y/4, 3*size.X/4, 3*size.Y/4), image.NewUniform(color.Black), image.Point{}, draw.Src)
	for name, broken := range map[string]image.Image{
		"empty": empty, "covered": covered,
		"the dark one": picture(t, filepath.Join(pictureDir, "chat-dark.png")), "the phone's": picture(t, filepath.Join(pictureDir, "chat-phone.png")),
	} {
		if compare(broken, light) == nil {
			t.Errorf("%s is taken for the light view", name)
		}
	}
}
