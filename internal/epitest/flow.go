package epitest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi"
)

const (
	// narrowBuffer is the receive buffer of a narrow client. The kernel doubles
	// it and rounds it up where it is less than its minimum, socket(7).
	narrowBuffer = 4 << 10
	// quietWindow is the time over which TurnsPerSecond looks. A loop that spins
	// makes a hundred thousand turns in it.
	quietWindow = time.Second
	// looks is how often Settled must find the same value in a row.
	looks = 20
)

// DialNarrow is Dial for a client with a small receive buffer: when it does
// not read, its server's socket is soon full.
func (s *Server) DialNarrow() net.Conn {
	s.t.Helper()
	narrow := func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, narrowBuffer)
		}), err)
	}
	return DialListener(s.t, s.Engine, s.Listener, net.Dialer{Control: narrow})
}

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
	if !errors.Is(err, syscall.ECONNRESET) {
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
