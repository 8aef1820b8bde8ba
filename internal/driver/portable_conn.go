package driver

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/epinet/epi/internal/sock"
)

// past is a deadline that ends what waits.
var past = time.Unix(1, 0)

const (
	// discardTime is how long Close waits for input to throw away: for what has
	// arrived already.
	discardTime = time.Millisecond
	// discardReads bounds how much unread input Close throws away.
	discardReads = 4
)

// A link is a connection of package net, with what the goroutines have done for
// it and its holder has not fetched.
type link struct {
	conn    net.Conn           // of the one who dials while it is connecting; then set for good
	cancel  context.CancelFunc // ends dialling; nil for an accepted connection
	working sync.WaitGroup     // of those who read, write and dial
	bulk    bool               // of the reader: the last read filled its buffer

	inSend atomic.Int64 // bytes of the Send under way

	mu       sync.Mutex
	reading  bool    // guarded by mu; a goroutine reads
	input    *buffer // guarded by mu; what was read and not handed over, or nil
	readErr  error   // guarded by mu; how reading ended, or nil
	written  int     // guarded by mu; what the last Send has written
	writeErr error   // guarded by mu
}

// dial connects. It leaves the error of a Unix peer without room as ErrBusy.
func (l *link) dial(ctx context.Context, local netip.Addr, addr net.Addr, o sock.StreamOptions) error {
	defer l.cancel()
	dialer := net.Dialer{KeepAlive: -1, KeepAliveConfig: o.KeepAlive(), Control: o.PrepareDialing}
	dialer.SetMultipathTCP(false)
	if local.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	conn, err := dialer.DialContext(ctx, addr.Network(), addr.String())
	if errors.Is(err, syscall.EAGAIN) {
		return ErrBusy
	}
	if err != nil {
		return plain(err)
	}
	if addr.Network() == "tcp" && conn.LocalAddr().String() == conn.RemoteAddr().String() {
		_ = conn.(*net.TCPConn).SetLinger(0) // else the port is taken for some time
		_ = conn.Close()
		return sock.ErrSelfConnect
	}
	l.conn = conn
	return nil
}

// plain is the error of the system call: the engine names the addresses by
// itself.
func plain(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err
	}
	return sock.Errno(err)
}

// beginRead reports whether a read is due, which the caller makes.
func (l *link) beginRead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reading || l.input != nil || l.readErr != nil {
		return false
	}
	l.reading = true
	l.working.Add(1)
	return true
}

// read reads once, at most limit bytes.
func (l *link) read(limit int) {
	b := newBuffer(l.bulk)
	room := b.room(limit)
	n, err := l.conn.Read(room)
	l.bulk = n == len(room)
	b.length = n
	if n == 0 {
		b.free()
		b = nil
	}
	if n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil // in the first case the next read reports it again
	}
	if err != nil && err != io.EOF {
		err = plain(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reading, l.input, l.readErr = false, b, err
}

// takeRead fetches what was read, or how reading ended. The caller frees it.
func (l *link) takeRead() (*buffer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.input
	l.input = nil
	return b, l.readErr
}

// holds reports whether something was read and not fetched.
func (l *link) holds() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.input != nil || l.readErr != nil
}

// beginWrite returns the first bytes of bufs behind those that are written, at
// most readSize, for write.
func (l *link) beginWrite(bufs [][]byte, written int) net.Buffers {
	var out net.Buffers
	size := 0
	for _, b := range bufs {
		skipped := min(written, len(b))
		written -= skipped
		b = b[skipped:]
		b = b[:min(len(b), readSize-size)]
		if len(b) == 0 {
			continue
		}
		out = append(out, b)
		size += len(b)
	}
	l.inSend.Store(int64(size))
	return out
}

func (l *link) write(out net.Buffers) {
	n, err := out.WriteTo(l.conn)
	if err != nil {
		err = plain(err)
	}
	l.inSend.Store(0)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written, l.writeErr = int(n), err
}

// takeWritten fetches how the last Send ended.
func (l *link) takeWritten() (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written, l.writeErr
}

// delivered reports whether the peer's host has all that the kernel was given. For
// a Unix socket that is in the peer's queue already.
func (l *link) delivered() bool {
	_, local := l.conn.(*net.UnixConn)
	return local || sock.Acknowledged(l.conn.(*net.TCPConn))
}

// unacked counts what is on its way, in this process and in the kernel.
func (l *link) unacked() int {
	return int(l.inSend.Load()) + sock.UnackedOf(l.conn.(syscall.Conn))
}

func (l *link) closeWrite() error {
	err := l.conn.(interface{ CloseWrite() error }).CloseWrite()
	if errors.Is(err, syscall.ENOTCONN) {
		// The peer has reset the connection, and reading has met that error.
		return os.NewSyscallError("shutdown", syscall.ECONNRESET)
	}
	if err != nil {
		return plain(err)
	}
	return nil
}

// interrupt ends all that is under way and waits until it has ended.
func (l *link) interrupt(connecting bool) {
	if connecting {
		l.cancel()
		l.working.Wait()
	}
	if l.conn != nil {
		// It fails only for a connection that is closed.
		_ = l.conn.SetDeadline(past)
	}
	l.working.Wait()
}

// close ends the connection, in order or by RST.
func (l *link) close(connecting, reset bool) {
	l.interrupt(connecting)
	switch {
	case l.conn == nil:
	case reset:
		l.reset()
	default:
		l.discardInput()
		_ = l.conn.Close()
	}
	if b, _ := l.takeRead(); b != nil {
		b.free()
	}
}

// Close closes a connection for which no goroutine works.
func (l *link) Close() error { return l.conn.Close() }

// reset closes the connection by RST and throws away what is unsent.
func (l *link) reset() {
	if tcp, ok := l.conn.(*net.TCPConn); ok {
		// It fails only where there is nothing to reset.
		_ = tcp.SetLinger(0)
	}
	_ = l.conn.Close()
}

func (l *link) discardInput() {
	if _, err := l.takeRead(); err != nil {
		return // there is no more
	}
	_ = l.conn.SetReadDeadline(time.Now().Add(discardTime))
	b := newBuffer(true)
	defer b.free()
	for range discardReads {
		if _, err := l.conn.Read(b.room(readSize)); err != nil {
			return
		}
	}
}

// release ends reading, so that the connection can be given away.
func (l *link) release() {
	_ = l.conn.SetReadDeadline(past)
	l.working.Wait()
	_ = l.conn.SetReadDeadline(time.Time{})
}

// A buffer is room for one read. Connections that wait hold a small one.
type buffer struct {
	space  []byte
	length int
	pool   *sync.Pool
}

// smallRead is what a connection holds that waits for bytes: about as much as the
// stack of the goroutine that does the waiting.
const smallRead = 2 << 10

var (
	smallBuffers = newBuffers(smallRead)
	largeBuffers = newBuffers(readSize)
)

func newBuffers(size int) *sync.Pool {
	p := &sync.Pool{}
	p.New = func() any { return &buffer{space: make([]byte, size), pool: p} }
	return p
}

func newBuffer(large bool) *buffer {
	if large {
		return largeBuffers.Get().(*buffer)
	}
	return smallBuffers.Get().(*buffer)
}

func (b *buffer) room(limit int) []byte { return b.space[:min(len(b.space), limit)] }
func (b *buffer) bytes() []byte         { return b.space[:b.length] }
func (b *buffer) free()                 { b.pool.Put(b) }
