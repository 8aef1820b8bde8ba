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
	// maxStepInput and maxStepOutput bound one step of decompressing. The longest
	// codes stand for 32 KiB of output with less than 64 KiB: what takes more is no
	// compressor's work but blocks without content, which cost 95 ns a byte.
	maxStepInput  = 96 << 10
	maxStepOutput = 32 << 10
	// inflationSize is what a decompressor holds: a window and tables.
	inflationSize = 44 << 10
	// What a byte costs at worst, in nanoseconds as measured here.
	inputCost  = 96
	outputCost = 8
	// flushTail is the length of what every flush ends with: 00 00 ff ff.
	flushTail = 4
)

// inflateTail is appended to a message: what its sender left out, and an empty
// last block, which marks the end: a lack of bytes is no end.
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

// An inflation decompresses one message, step by step.
type inflation struct {
	src     bytes.Reader
	z       io.ReadCloser
	out     []byte // pooled; what came out, in parts only the end of it
	done    int    // bytes of out that were delivered and stay for what refers back to them
	total   int    // bytes that came out
	streams int    // DEFLATE streams that have begun
	ended   bool   // the last of them has said that it ends
}

// What is in the pools belongs to no connection: without context takeover a
// message needs nothing of the one before.
var (
	inflations = sync.Pool{New: func() any {
		f := new(inflation)
		f.z = flate.NewReader(&f.src)
		return f
	}}
	deflaters [maxWindow + 1]sync.Pool
)

var errNotDeflate = violation(InvalidPayload, "compressed message is damaged")

var errEmptyBlocks = violation(PolicyViolation, "compressed message with too little in it")

func newInflation() *inflation {
	f := inflations.Get().(*inflation)
	f.restart()
	return f
}

// free gives back what an inflation holds.
func (f *inflation) free() {
	parts.Put(f.out)
	f.src.Reset(nil)
	*f = inflation{src: f.src, z: f.z}
	inflations.Put(f)
}

// restart begins a stream, which may refer to what came out before.
func (f *inflation) restart() {
	f.streams++
	f.ended = false
	_ = f.z.(flate.Resetter).Reset(&f.src, f.out[max(0, len(f.out)-inflateWindow):]) // it never fails
}

// step decompresses the next of in, and stops when more than limit bytes have come
// out. Unless in is the whole rest of the message it has at least maxStepInput
// bytes. It returns how many of them were used, and whether that was all.
func (f *inflation) step(in []byte, whole bool, limit int) (used int, over bool, err error) {
	if f.ended && whole && isTail(len(in)) {
		return len(in), true, nil
	}
	if f.ended { // the sender marked a block as the last one and went on (RFC 7692, section 7.2.3.4)
		if f.streams == maxStreams {
			return 0, false, errNotDeflate
		}
		f.restart()
	}
	chunk := in[:min(len(in), maxStepInput)]
	f.src.Reset(chunk)
	room := maxStepOutput
	if left := limit - f.total; left < room {
		room = left + 1
	}
	f.out = grow(f.out, room)
	n, err := f.z.Read(f.out[len(f.out):][:room])
	f.out = f.out[:len(f.out)+n]
	f.total += n
	used = len(chunk) - f.src.Len()
	switch {
	case f.total > limit:
		return used, false, errTooBig
	case err == io.EOF:
		f.ended = true
		return used, whole && isTail(len(in)-used), nil
	case err == io.ErrUnexpectedEOF && len(chunk) == maxStepInput:
		return used, false, errEmptyBlocks
	case err != nil:
		return used, false, errNotDeflate
	}
	return used, false, nil
}

// isTail reports whether the rest of a message is nothing but inflateTail: after a
// last block it may be left, or used up.
func isTail(rest int) bool { return rest == 0 || rest == len(inflateTail) }

// fresh is what came out and was not delivered.
func (f *inflation) fresh() []byte { return f.out[f.done:] }

// delivered keeps of what was delivered no more than a stream can refer to.
func (f *inflation) delivered() {
	window := f.out[max(0, len(f.out)-inflateWindow):]
	f.out = f.out[:copy(f.out, window)]
	f.done = len(f.out)
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
