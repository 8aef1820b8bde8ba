package ws

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// The seeds are in testdata/fuzz, and named for what they show.

// FuzzText compares textCheck, fed in pieces, with the definition: a text is
// refused as soon as no continuation of it can be valid.
func FuzzText(f *testing.F) {
	f.Fuzz(func(t *testing.T, p []byte, size uint8) {
		var pieces, single textCheck
		accepted := true
		for piece := range slices.Chunk(p, int(size)+1) {
			accepted = accepted && pieces.accepts(piece)
		}
		byOne := true
		for i := range p {
			byOne = byOne && single.accepts(p[i:i+1])
		}
		if accepted != byOne {
			t.Fatalf("%q is accepted: %t in pieces of %d, %t byte by byte", p, accepted, int(size)+1, byOne)
		}
		valid := strings.ToValidUTF8(string(p), "") == string(p)
		if whole := accepted && pieces.complete(); whole != valid {
			t.Fatalf("%q: accepted and complete %t, valid %t", p, whole, valid)
		}
	})
}

// FuzzHeader decodes any bytes that pass the check of the length; what is decoded
// is encoded as it was.
func FuzzHeader(f *testing.F) {
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < ws.MinHeaderSize || checkLengthBytes(p) != nil {
			return
		}
		h := startOf(p[0], p[1])
		size := parseHeader(&h, p)
		if size == 0 {
			return
		}
		var b bytes.Buffer
		if err := ws.WriteHeader(&b, h); err != nil || !bytes.Equal(b.Bytes(), p[:size]) {
			t.Fatalf("% x is decoded as %+v, which is % x, %v", p[:size], h, b.Bytes(), err)
		}
	})
}

// FuzzRequest decides about any bytes, whole and cut, without a panic.
func FuzzRequest(f *testing.F) {
	f.Fuzz(func(t *testing.T, p []byte) {
		var whole, pieces headerEnd
		size, err := whole.find(p)
		cut, cutErr := 0, error(nil)
		for i := 1; i <= len(p) && cut == 0 && cutErr == nil; i++ {
			cut, cutErr = pieces.find(p[:i])
		}
		if size != cut || fmt.Sprint(err) != fmt.Sprint(cutErr) {
			t.Fatalf("%q: %d, %v whole and %d, %v byte by byte", p, size, err, cut, cutErr)
		}
		if size == 0 {
			return
		}
		r, err := parseRequest(p[:size])
		if err != nil {
			return
		}
		if checkUpgrade(r) == nil && (r.Method != http.MethodGet || r.Host == "" || len(values(p[:size], "Sec-WebSocket-Key")) != 1) {
			t.Fatalf("%q is accepted", p[:size])
		}
	})
}

// FuzzExtensions parses any header; what is accepted is answered by the rules.
func FuzzExtensions(f *testing.F) {
	f.Fuzz(func(t *testing.T, line string) {
		offers, err := parseExtensions([]string{line})
		if err != nil {
			return
		}
		answer, window := acceptDeflate(offers)
		if answer == "" {
			return
		}
		parsed, err := parseExtensions([]string{answer})
		if err != nil || window < minWindow || window > maxWindow {
			t.Fatalf("%q is answered with %q, %d bits, %v", line, answer, window, err)
		}
		if _, ok := readDeflate(parsed[0].params); !ok {
			t.Fatalf("%q is answered with %q", line, answer)
		}
	})
}

// FuzzInflate inflates any bytes within the bound; what deflate makes comes back.
func FuzzInflate(f *testing.F) {
	f.Fuzz(func(t *testing.T, p []byte, bits uint8) {
		const limit = 1 << 16
		var out bytes.Buffer
		if err := inflate(&out, append(slices.Clone(p), inflateTail...), limit); err == nil && out.Len() > limit {
			t.Fatalf("%d bytes came out", out.Len())
		}
		if len(p) == 0 || len(p) > limit {
			return
		}
		z := deflate(p, minWindow+bits%(maxWindow-minWindow+1))
		defer buffers.put(z)
		out.Reset()
		if err := inflate(&out, append(slices.Clone(z.Bytes()), inflateTail...), limit); err != nil || !bytes.Equal(out.Bytes(), p) {
			t.Fatalf("%q came back as %q, %v", p, out.Bytes(), err)
		}
	})
}
