package ws

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

const (
	// maxWindow and minWindow are the bits of windows in RFC 7692.
	maxWindow = 15
	minWindow = 8
	// deflateOverhead: stored blocks add 5 bytes to 64 KiB; this is far more.
	deflateOverhead = 1 << 10
	// maxStreams bounds the DEFLATE streams in one message. Each end costs a
	// reset, and nobody but a test needs more than two.
	maxStreams = 16
	// inflateWindow is how far DEFLATE refers back.
	inflateWindow = 32 << 10
	// inflateStep bounds how far the output grows before it is checked.
	inflateStep = 32 << 10
	// flushTail is the length of what every flush ends with: 00 00 ff ff.
	flushTail = 4
)

// inflateTail is appended to a message: what its sender left out, and an empty
// last block, so that the end can be told from a lack of bytes.
var inflateTail = []byte{0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff}

// bufferPool is a pool of buffers, which keeps none that have grown large.
type bufferPool struct{ *sync.Pool }

func (p bufferPool) get() *bytes.Buffer { return p.Get().(*bytes.Buffer) }

func (p bufferPool) put(b *bytes.Buffer) {
	if b.Cap() <= maxScratch {
		b.Reset()
		p.Put(b)
	}
}

var buffers = bufferPool{&sync.Pool{New: func() any { return new(bytes.Buffer) }}}

// inflater is a decompressor with its source.
type inflater struct {
	src bytes.Reader
	z   io.ReadCloser
}

// What is in the pools belongs to no connection: without context takeover a
// message needs nothing of the one before.
var (
	inflaters = sync.Pool{New: func() any {
		f := new(inflater)
		f.z = flate.NewReader(&f.src)
		return f
	}}
	deflaters [maxWindow + 1]sync.Pool
)

var errNotDeflate = violation(InvalidPayload, "compressed message is damaged")

// inflate decompresses p, which ends with inflateTail, and stops above limit.
func inflate(out *bytes.Buffer, p []byte, limit int) error {
	f := inflaters.Get().(*inflater)
	defer inflaters.Put(f)
	f.src.Reset(p)
	defer f.src.Reset(nil)
	for range maxStreams {
		so := out.Bytes()
		dict := so[max(0, len(so)-inflateWindow):]
		if err := f.z.(flate.Resetter).Reset(&f.src, dict); err != nil {
			return errNotDeflate
		}
		if err := drain(out, f.z, limit); err != nil {
			return err
		}
		if left := f.src.Len(); left == 0 || left == len(inflateTail) {
			return nil
		}
		// The sender marked a block as the last one and went on (RFC 7692, section 7.2.3.4).
	}
	return errNotDeflate
}

func drain(out *bytes.Buffer, z io.Reader, limit int) error {
	for {
		room := min(inflateStep, limit+1-out.Len())
		_, err := io.CopyN(out, z, int64(room))
		switch {
		case out.Len() > limit:
			return errTooBig
		case err == io.EOF:
			return nil
		case err != nil:
			return errNotDeflate
		}
	}
}

// deflate compresses p so that a window of the given bits is enough for it.
func deflate(p []byte, window uint8) *bytes.Buffer {
	out := buffers.get()
	w, _ := deflaters[window].Get().(*flate.Writer)
	if w == nil {
		w = newDeflater(window)
	}
	w.Reset(out)
	_, _ = w.Write(p) // a Buffer takes everything
	_ = w.Flush()
	w.Reset(io.Discard)
	deflaters[window].Put(w)
	out.Truncate(out.Len() - flushTail)
	return out
}

func newDeflater(window uint8) *flate.Writer {
	var w *flate.Writer
	var err error
	if window == maxWindow {
		w, err = flate.NewWriter(nil, flate.BestSpeed)
	} else {
		w, err = flate.NewWriterWindow(nil, 1<<window)
	}
	if err != nil {
		panic(err) // the level and the window are constants that flate has
	}
	return w
}
