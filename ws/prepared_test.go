package ws

import (
	"strings"
	"sync"
	"testing"
)

// However many connections send a message at once, it is compressed once for each
// window that one of them has, and for no other.
func TestPreparedIsCompressedOncePerWindow(t *testing.T) {
	m := Prepare(Text, []byte(strings.Repeat("all the same ", 50)))
	used := []uint8{9, 15}
	frames := make(chan [2]*byte, 100)
	var all sync.WaitGroup
	for range cap(frames) {
		all.Go(func() {
			var first [2]*byte
			for i, window := range used {
				first[i] = &m.compressedFrame(window)[0]
			}
			frames <- first
		})
	}
	all.Wait()
	want := <-frames
	for range cap(frames) - 1 {
		if got := <-frames; got != want {
			t.Fatal("a message was compressed twice for one window")
		}
	}
	for i := range m.compressed {
		window := uint8(i + minWindow)
		if inUse := window == used[0] || window == used[1]; inUse != (m.compressed[i].bytes != nil) {
			t.Errorf("compressed for a window of %d bits: %t", window, !inUse)
		}
	}
	if m.plain.bytes != nil {
		t.Error("it was framed for connections without compression, and there is none")
	}
}

// Masks come out of a buffer of random bytes, each once.
func TestMasksDiffer(t *testing.T) {
	seen := map[[maskSize]byte]bool{}
	const count = 3000 // several buffers
	for range count {
		seen[newMask()] = true
	}
	if len(seen) < count-10 { // 3,000 of 2^32 collide once in a thousand runs
		t.Errorf("%d masks are %d different ones", count, len(seen))
	}
}
