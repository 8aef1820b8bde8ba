package files

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	_ "image/gif" // the formats that are decoded
	"image/jpeg"
	_ "image/png"
	"io"
	"net/http"
	"os"

	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp"

	"github.com/epinet/epi/apps/chat/store"
)

const (
	// thumbSize is the longer side of a small picture, in pixels.
	thumbSize = 400
	// maxPixels bounds what is decoded: pictures of at most so many pixels, one at a
	// time, take at most 256 MiB for a moment.
	maxPixels = 16 << 20
	// maxPaintings is how many requests may wait for theirs.
	maxPaintings = 16
)

var errNoPicture = &refusal{http.StatusUnsupportedMediaType, "there is no small picture of this file"}

// thumb serves a small picture, which is made when it is asked for first.
func (h *Host) thumb(w http.ResponseWriter, r *http.Request, u *store.Upload) {
	small, err := h.small(r.Context(), u)
	if err != nil {
		fail(w, err)
		return
	}
	h.serve(w, r, u, thumbType, thumbSuffix, bytes.NewReader(small))
}

const thumbType = "image/jpeg"

// small returns the small picture of a file of this machine.
func (h *Host) small(ctx context.Context, u *store.Upload) ([]byte, error) {
	small, err := os.ReadFile(h.file(u.ID, thumbSuffix))
	if errors.Is(err, os.ErrNotExist) {
		return h.paint(ctx, u)
	}
	return small, err
}

// paint makes the small picture of a file, one at a time.
func (h *Host) paint(ctx context.Context, u *store.Upload) ([]byte, error) {
	select {
	case h.waiting <- struct{}{}:
		defer func() { <-h.waiting }()
	default:
		return nil, &refusal{http.StatusServiceUnavailable, "too many pictures are being made: try again"}
	}
	select {
	case h.painting <- struct{}{}:
		defer func() { <-h.painting }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f, err := os.Open(h.file(u.ID, ""))
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	small, err := shrink(f)
	if err != nil {
		return nil, err
	}
	temporary := h.file(u.ID, thumbSuffix+partSuffix)
	if os.WriteFile(temporary, small, 0o600) == nil { // otherwise it is made again next time
		_ = os.Rename(temporary, h.file(u.ID, thumbSuffix))
	}
	return small, nil
}

// shrink makes a small JPEG of a picture. How large it says that it is counts before
// anything of it is decoded.
func shrink(f io.ReadSeeker) ([]byte, error) {
	size, format, err := image.DecodeConfig(f)
	if err != nil || size.Width <= 0 || size.Height <= 0 || size.Width > maxPixels/size.Height {
		return nil, errNoPicture
	}
	turn := upright
	if format == "jpeg" {
		turn = orientation(f)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	whole, _, err := image.Decode(f)
	if err != nil {
		return nil, errNoPicture
	}
	small := turned(scaled(whole), turn)
	var out bytes.Buffer
	err = jpeg.Encode(&out, small, &jpeg.Options{Quality: 80})
	return out.Bytes(), err
}

// scaled returns a picture that fits into thumbSize, on white.
func scaled(whole image.Image) *image.RGBA {
	w, h := whole.Bounds().Dx(), whole.Bounds().Dy()
	if long := max(w, h); long > thumbSize {
		w, h = max(1, w*thumbSize/long), max(1, h*thumbSize/long)
	}
	small := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(small, small.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.ApproxBiLinear.Scale(small, small.Bounds(), whole, whole.Bounds(), draw.Over, nil)
	return small
}

// The values of Exif's Orientation, by what a picture needs to stand upright.
const (
	upright     = 1
	upsideDown  = 3
	turnRight   = 6
	turnLeft    = 8
	orientedTag = 0x0112
)

// turned returns a picture as it is meant to be looked at. Mirrored ones, which no
// camera makes, stay as they are.
func turned(p *image.RGBA, orientation int) *image.RGBA {
	w, h := p.Bounds().Dx(), p.Bounds().Dy()
	var place func(x, y int) (int, int)
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	switch orientation {
	case upsideDown:
		place = func(x, y int) (int, int) { return w - 1 - x, h - 1 - y }
	case turnRight:
		out = image.NewRGBA(image.Rect(0, 0, h, w))
		place = func(x, y int) (int, int) { return h - 1 - y, x }
	case turnLeft:
		out = image.NewRGBA(image.Rect(0, 0, h, w))
		place = func(x, y int) (int, int) { return y, w - 1 - x }
	default:
		return p
	}
	for y := range h {
		for x := range w {
			tx, ty := place(x, y)
			out.SetRGBA(tx, ty, p.RGBAAt(x, y))
		}
	}
	return out
}

// maxExif is how much of a file is looked through for its orientation.
const maxExif = 64 << 10

// orientation returns Exif's Orientation of a JPEG, or upright.
func orientation(f io.ReadSeeker) int {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return upright
	}
	p, err := io.ReadAll(io.LimitReader(f, maxExif))
	if err != nil {
		return upright
	}
	_, tiff, ok := bytes.Cut(p, []byte("Exif\x00\x00"))
	if !ok || len(tiff) < 8 {
		return upright
	}
	var order binary.ByteOrder = binary.LittleEndian
	if tiff[0] == 'M' {
		order = binary.BigEndian
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return upright
	}
	const entry = 12 // bytes of one field of the directory
	fields := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(fields) < entry {
			break
		}
		if order.Uint16(fields) == orientedTag {
			return int(order.Uint16(fields[8:]))
		}
		fields = fields[entry:]
	}
	return upright
}
