package epitest

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/epinet/epi"
)

const (
	// quietWindow is the time over which TurnsPerSecond looks. A loop that spins
	// makes a hundred thousand turns in it.
	quietWindow = time.Second
	// looks is how often Settled must find the same value in a row.
	looks = 20
)

// ExpectBytes reads exactly want, at most step bytes at a time.
func ExpectBytes(t *testing.T, c net.Conn, want []byte, step int) {
	t.Helper()
	buf := make([]byte, step)
	for at := 0; at < len(want); {
		n, err := c.Read(buf[:min(step, len(want)-at)])
		if !bytes.Equal(buf[:n], want[at:at+n]) {
			t.Fatalf("the bytes from %d to %d are wrong", at, at+n)
		}
		at += n
		if err != nil && at < len(want) {
			t.Fatalf("read %d of %d bytes: %v", at, len(want), err)
		}
	}
}

// ExpectReset reads to the end, which must be a reset, and returns the number
// of bytes before it. A Unix socket knows no resets: there it is the end.
func ExpectReset(t *testing.T, c net.Conn) int {
	t.Helper()
	n, err := io.Copy(io.Discard, c)
	if _, ok := c.(*net.UnixConn); ok && err == nil {
		return int(n)
	}
	if !IsReset(err) {
		t.Fatalf("read %d bytes, then %v, want a reset", n, err)
	}
	return int(n)
}

// Settled waits until value has come to rest and returns it.
func Settled(t *testing.T, what string, value func() uint64) uint64 {
	t.Helper()
	last, same := value(), 0
	WaitUntil(t, what+" comes to rest", func() bool {
		if v := value(); v != last {
			last, same = v, 0
		}
		same++
		return same > looks
	})
	return last
}

// TurnsPerSecond counts the turns that the loops of e make while the test does
// nothing.
func TurnsPerSecond(e *epi.Engine) float64 {
	before, begun := e.Stats().Turns, time.Now()
	<-time.After(quietWindow)
	return float64(e.Stats().Turns-before) / time.Since(begun).Seconds()
}

// TurnsAtRest returns the turns of a second in which no bytes move. The kernel
// finds a little more room in full buffers now and then, which is work.
func TurnsAtRest(t *testing.T, e *epi.Engine) float64 {
	t.Helper()
	for range 20 {
		before := BytesMoved(e)
		if turns := TurnsPerSecond(e); BytesMoved(e) == before {
			return turns
		}
	}
	t.Fatal("bytes of clients that do not read keep moving")
	return 0
}

// BytesMoved returns how many bytes e has received and sent.
func BytesMoved(e *epi.Engine) uint64 {
	st := e.Stats()
	return st.BytesIn + st.BytesOut
}
