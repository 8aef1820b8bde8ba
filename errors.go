package epi

import (
	"errors"
	"fmt"
)

// Errors, to be tested with errors.Is. Those of the operating system
// (syscall.ECONNRESET, syscall.EMFILE, …) come through wrapped.
var (
	// ErrClosed: the connection is closed, or its writing half is, or it is
	// about to be: Close or CloseWrite was called.
	ErrClosed = errors.New("connection is closed")
	// ErrQueueFull: the peer reads too slowly and Engine.MaxQueued bytes wait
	// for it already, or Engine.PacketQueue bytes for a packet socket's peers.
	// Nothing of the refused write was taken.
	ErrQueueFull = errors.New("write queue is full")
	// ErrPacketTooLong: the datagram is longer than Engine.MaxDatagram, or than
	// its protocol can carry.
	ErrPacketTooLong = errors.New("datagram is too long")
	// ErrBadPeer: the socket for datagrams cannot send to that address, or nobody in
	// particular has it.
	ErrBadPeer = errors.New("bad peer address")
	// ErrUnreadFull: the handler left more than Engine.MaxUnread bytes unread.
	ErrUnreadFull = errors.New("too many unread bytes")
	// ErrNoData: Read found nothing to read; OnData is called when there is.
	ErrNoData = errors.New("no unread bytes")
	// ErrIdle: no bytes moved for Engine.IdleTimeout, or what SetIdleTimeout says.
	ErrIdle = errors.New("connection was idle for too long")
	// ErrReadTimeout: nothing arrived for Engine.ReadTimeout, or what
	// SetReadTimeout says.
	ErrReadTimeout = errors.New("peer was silent for too long")
	// ErrUnfinished: the peer has begun a message and not finished it within
	// Engine.MessageTimeout.
	ErrUnfinished = errors.New("peer did not finish a message in time")
	// ErrWriteStalled: the peer took no bytes for Engine.WriteTimeout.
	ErrWriteStalled = errors.New("peer stopped reading")
	// ErrLinger: after Close the peer took nothing of what was queued for
	// Engine.Linger, or less than Engine.LeastRate.
	ErrLinger = errors.New("peer did not take the queued bytes in time")
	// ErrMemory: the connections held more than Engine.MaxMemory together, and this
	// was one of the largest.
	ErrMemory = errors.New("connection held too much memory")
	// ErrAborted: Abort was called.
	ErrAborted = errors.New("connection was aborted")
	// ErrTruncated: the peer ended a TLS connection without close_notify, so that
	// what it sent may have been cut off by somebody else (RFC 8446, section 6.1).
	ErrTruncated = errors.New("connection ended without close_notify: it may have been truncated")
	// ErrHandshake: the TLS handshake failed, for the reason that it wraps.
	ErrHandshake = errors.New("tls handshake")
	// ErrHandshakeTimeout: the PROXY header and the TLS handshake took longer than
	// Engine.HandshakeTimeout, or the client was silent while others waited for
	// its place (Engine.MaxHandshakes).
	ErrHandshakeTimeout = errors.New("handshake took too long")
	// ErrTooManyHandshakes: the client's address has Engine.MaxHandshakesPerIP
	// TLS handshakes under way.
	ErrTooManyHandshakes = errors.New("too many TLS handshakes of one address")
	// ErrProxyHeader: a peer that ListenOptions.ProxyFrom or ProxyUsers name sent no
	// PROXY header, or a bad one.
	ErrProxyHeader = errors.New("bad PROXY header")
	// ErrProxyUntrusted: a peer sent a PROXY header that ListenOptions.ProxyFrom and
	// ProxyUsers do not name.
	ErrProxyUntrusted = errors.New("PROXY header from an address that is not trusted")
	// ErrDetached: Detach was called, and the connection goes on elsewhere.
	ErrDetached = errors.New("connection was detached")
	// ErrNoHandler: the function given to Listen returned nil.
	ErrNoHandler = errors.New("no handler")
	// ErrTooManyConns: Engine.MaxConns connections are open.
	ErrTooManyConns = errors.New("too many connections")
	// ErrTooManyPerIP: the client, by its PROXY header, has Engine.MaxConnsPerIP
	// connections already.
	ErrTooManyPerIP = errors.New("too many connections of one client")
	// ErrTooManyTasks: Engine.MaxTasks tasks wait for the loop already.
	ErrTooManyTasks = errors.New("too many tasks wait for the loop")
	// ErrShutdown: the engine is draining or has ended.
	ErrShutdown = errors.New("engine is shut down")
	// ErrGoexit: a callback ended its goroutine by runtime.Goexit, as the Fatal
	// methods of package testing do. It is the Value of a PanicError.
	ErrGoexit = errors.New("callback ended its goroutine (runtime.Goexit)")
	// ErrRunning: Run was called twice.
	ErrRunning = errors.New("engine is running already")
	// ErrTapped: the engine has a Tap already.
	ErrTapped = errors.New("engine has a tap already")
	// ErrDrainTimeout: Run ended before every connection was drained.
	ErrDrainTimeout = errors.New("drain timed out")
)

// A PanicError is the cause with which a connection is closed whose callback
// panicked, or ended its goroutine.
type PanicError struct {
	Value any    // what was given to panic; ErrGoexit where nothing was
	Stack []byte // of the goroutine, as text
}

func (e *PanicError) Error() string { return fmt.Sprintf("callback panicked: %v", e.Value) }

// Unwrap returns the panic's value where that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// must panics where the engine's own state is not what it can be: nothing that goes on
// from there could be relied on.
func must(holds bool, otherwise string) {
	if !holds {
		panic("epi: a fault of the engine: " + otherwise)
	}
}
