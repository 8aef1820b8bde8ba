package load

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"syscall"
	"time"

	"github.com/epinet/epi/apps/internal/plaintext"
	"github.com/epinet/epi/apps/lab/proc"
)

// A tally is what was counted: on one loop, in one process, in total.
type tally struct {
	Opened   int           `json:"opened"`
	Failed   int           `json:"failed"`
	Dialled  int64         `json:"dialled"` // wall clock of the first Dial, nanoseconds
	Settled  int64         `json:"settled"` // and of the last connection established
	Setup    *Histogram    `json:"setup"`
	Latency  *Histogram    `json:"latency"`
	Late     *Histogram    `json:"late"` // open loop: from due to sent
	Requests uint64        `json:"requests"`
	Bytes    uint64        `json:"bytes"`
	Seconds  float64       `json:"seconds"` // measured
	CPU      time.Duration `json:"cpu"`     // of the process within the measured time
	Driver   string        `json:"driver"`
	Server   proc.Usage    `json:"server"` // by the server within the measured time

	Before proc.Usage `json:"before"` // what the server used, and has, for the connections before the load
	Joins  uint64     `json:"joins"`  // lines that announced to members who came, before the load

	// Of messages to channels: the done ones within the measured time, and all
	// of the run, the warm-up included.
	Messages  uint64 `json:"messages"`
	Awaited   uint64 `json:"awaited"`   // lines that were to come
	Delivered uint64 `json:"delivered"` // lines that came

	Lost  uint64 `json:"lost"`  // datagrams without an answer in time
	Stray uint64 `json:"stray"` // answers that came late or twice

	Errors   map[string]uint64 `json:"errors"`
	Mismatch string            `json:"mismatch,omitempty"` // the first that was seen
	Partial  string            `json:"partial,omitempty"`
}

func newTally() *tally {
	return &tally{Setup: NewHistogram(), Latency: NewHistogram(), Late: NewHistogram(), Errors: map[string]uint64{}}
}

const (
	// maxCauses bounds the kinds of errors that are told apart, and longestCause
	// the text of one: a server may give each connection another reason.
	maxCauses    = 50
	longestCause = 300
	otherCauses  = "of other kinds, too many to tell apart"
)

// fail counts n errors of a kind. A peer may have written a part of its name.
func (t *tally) fail(cause string, n uint64) {
	cause = plaintext.Line(plaintext.Clip(cause, longestCause))
	if _, known := t.Errors[cause]; !known && len(t.Errors) >= maxCauses {
		cause = otherCauses
	}
	t.Errors[cause] += n
}

// merge adds what other has.
func (t *tally) merge(other *tally) {
	t.Opened += other.Opened
	t.Failed += other.Failed
	if t.Dialled == 0 || other.Dialled != 0 && other.Dialled < t.Dialled {
		t.Dialled = other.Dialled
	}
	t.Settled = max(t.Settled, other.Settled)
	t.Setup.Merge(other.Setup)
	t.Latency.Merge(other.Latency)
	t.Late.Merge(other.Late)
	t.Requests += other.Requests
	t.Bytes += other.Bytes
	t.Seconds = max(t.Seconds, other.Seconds)
	t.CPU += other.CPU
	t.Before = t.Before.Add(other.Before)
	t.Joins += other.Joins
	t.Messages += other.Messages
	t.Awaited += other.Awaited
	t.Delivered += other.Delivered
	t.Lost += other.Lost
	t.Stray += other.Stray
	t.Server = t.Server.Add(other.Server)
	for cause, n := range other.Errors {
		t.fail(cause, n)
	}
	if t.Driver == "" {
		t.Driver = other.Driver
	}
	if t.Mismatch == "" {
		t.Mismatch = other.Mismatch
	}
	if t.Partial == "" {
		t.Partial = other.Partial
	}
}

var (
	errMismatch = errors.New("wrong bytes came back")
	errUnasked  = errors.New("bytes came that were not sent")
	errTooLong  = errors.New("timed out")
)

// noAnswer is the cause of messages that were due and not answered.
const noAnswer = "no answer (messages)"

// outOfOrder and lostLines are what can be wrong with messages to channels.
const (
	outOfOrder = "not the sender's next line (lines)"
	lostLines  = "lost (lines)"
)

// noDatagram is the cause where every datagram was lost.
const noDatagram = "no datagram was answered: is the server there, and does it speak this protocol? (datagrams)"

// causeOf names an error's cause without what differs between connections.
func causeOf(err error) string {
	var errno syscall.Errno
	var refused *tls.CertificateVerificationError
	switch {
	case errors.As(err, &refused):
		return refusal(refused.Err)
	case errors.Is(err, errFingerprint):
		return errFingerprint.Error()
	case err == nil, errors.Is(err, io.EOF):
		return "closed by the server"
	case errors.Is(err, errMismatch):
		return errMismatch.Error()
	case errors.Is(err, errUnasked):
		return errUnasked.Error()
	case errors.Is(err, errTooLong), errors.Is(err, context.DeadlineExceeded):
		return errTooLong.Error()
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such socket: start the server, or name where it listens"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused: start the server, or name where it listens"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}
