package epi

import (
	"errors"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
)

// A Cause is a kind of reason why a connection was closed, for counting:
// OnClose gets the error itself.
type Cause uint8

// The causes.
const (
	CauseClose      Cause = iota // Close, or both halves had ended in order
	CauseEOF                     // the peer ended the connection in order
	CauseReset                   // the peer, or its host, broke it
	CauseTimeout                 // the system gave up the peer
	CauseIdle                    // ErrIdle
	CauseStalled                 // ErrWriteStalled
	CauseSilent                  // ErrReadTimeout, ErrUnfinished
	CauseLinger                  // ErrLinger
	CauseQueueFull               // ErrQueueFull
	CauseUnreadFull              // ErrUnreadFull
	CauseMemory                  // ErrMemory
	CauseAbort                   // Abort
	CauseRefused                 // ErrNoHandler
	CauseHandshake               // ErrHandshake, ErrHandshakeTimeout, ErrTooManyHandshakes
	CauseProxy                   // ErrProxyHeader, ErrProxyUntrusted
	CausePerIP                   // ErrTooManyPerIP
	CauseTruncated               // ErrTruncated
	CauseDetached                // ErrDetached
	CauseDial                    // Dial did not succeed
	CausePanic                   // a callback panicked
	CauseShutdown                // ErrShutdown
	CauseOther                   // all else, such as the error of a callback

	causeCount
)

var causeNames = [causeCount]string{
	CauseClose:      "close",
	CauseEOF:        "eof",
	CauseReset:      "reset",
	CauseTimeout:    "timeout",
	CauseIdle:       "idle",
	CauseStalled:    "stalled",
	CauseSilent:     "silent",
	CauseLinger:     "linger",
	CauseQueueFull:  "queue_full",
	CauseUnreadFull: "unread_full",
	CauseMemory:     "memory",
	CauseAbort:      "abort",
	CauseRefused:    "refused",
	CauseHandshake:  "handshake",
	CauseProxy:      "proxy",
	CausePerIP:      "per_ip",
	CauseTruncated:  "truncated",
	CauseDetached:   "detached",
	CauseDial:       "dial",
	CausePanic:      "panic",
	CauseShutdown:   "shutdown",
	CauseOther:      "other",
}

// String returns the cause's name, such as queue_full.
func (c Cause) String() string { return nameOf(causeNames[:], int(c), "Cause") }

// nameOf returns the name of a value, or its type and number if it is none of those
// that there are.
func nameOf(names []string, value int, kind string) string {
	if value < 0 || value >= len(names) {
		return kind + "(" + strconv.Itoa(value) + ")"
	}
	return names[value]
}

// causesOf are the errors that stand for a cause, the frequent ones first.
var causesOf = []struct {
	err   error
	cause Cause
}{
	{io.EOF, CauseEOF},
	{ErrHandshake, CauseHandshake}, // before the reasons that it may wrap
	{ErrHandshakeTimeout, CauseHandshake},
	{ErrTooManyHandshakes, CauseHandshake},
	{ErrProxyHeader, CauseProxy},
	{ErrProxyUntrusted, CauseProxy},
	{ErrTooManyPerIP, CausePerIP},
	{ErrTruncated, CauseTruncated},
	{ErrDetached, CauseDetached},
	{syscall.ECONNRESET, CauseReset},
	{syscall.EPIPE, CauseReset},
	{syscall.ECONNABORTED, CauseReset},
	{ErrIdle, CauseIdle},
	{ErrReadTimeout, CauseSilent},
	{ErrUnfinished, CauseSilent},
	{ErrAborted, CauseAbort},
	{ErrWriteStalled, CauseStalled},
	{ErrLinger, CauseLinger},
	{ErrQueueFull, CauseQueueFull},
	{ErrUnreadFull, CauseUnreadFull},
	{ErrMemory, CauseMemory},
	{ErrNoHandler, CauseRefused},
	{ErrShutdown, CauseShutdown},
	{syscall.ETIMEDOUT, CauseTimeout},
	{os.ErrDeadlineExceeded, CauseTimeout},
}

// causeOf returns the cause that an error given to OnClose stands for.
func causeOf(err error) Cause {
	if err == nil {
		return CauseClose
	}
	var panicked *PanicError
	if errors.As(err, &panicked) {
		return CausePanic // whatever was given to panic
	}
	for _, known := range causesOf {
		if errors.Is(err, known.err) {
			return known.cause
		}
	}
	return CauseOther
}

// Causes counts connections by the cause of their end: index it with a Cause.
type Causes [causeCount]uint64

func (c *Causes) add(o Causes) {
	for i, n := range o {
		c[i] += n
	}
}

// causeCounters are Causes while they are counted.
type causeCounters [causeCount]atomic.Uint64

func (c *causeCounters) causes() (counts Causes) {
	for i := range c {
		counts[i] = c[i].Load()
	}
	return counts
}
