package ws

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// A Code is the status code of a close frame.
type Code = ws.StatusCode

// The codes of RFC 6455, section 7.4.1, that may be sent, and NoStatus.
const (
	Normal          Code = 1000
	GoingAway       Code = 1001
	ProtocolError   Code = 1002
	UnsupportedData Code = 1003
	NoStatus        Code = 1005 // the close frame had no code; never on the wire
	InvalidPayload  Code = 1007
	PolicyViolation Code = 1008
	MessageTooBig   Code = 1009
	InternalError   Code = 1011
)

const (
	lastDefined  Code = 1014 // of the registry that RFC 6455, section 11.7, opens
	firstPrivate Code = 3000 // section 7.4.2: libraries, frameworks and applications
	lastPrivate  Code = 4999
	reserved     Code = 1004
	abnormal     Code = 1006

	maxReason = maxControl - 2 // the code comes first
)

// Errors, to be tested with errors.Is.
var (
	// ErrClosed: a close frame was sent, or the connection is closed.
	ErrClosed = errors.New("websocket is closed")
	// ErrPingTimeout: the peer sent nothing, and took nothing of what was queued, for
	// a whole PingInterval after a ping.
	ErrPingTimeout = errors.New("peer does not answer pings")
	// ErrCloseTimeout: the peer did not answer a close frame in time.
	ErrCloseTimeout = errors.New("peer did not answer the close frame in time")
	// ErrRequestTimeout: the upgrade took longer than allowed.
	ErrRequestTimeout = errors.New("upgrade took too long")
	// ErrWithinMessage: WritePart has begun a message and not ended it.
	ErrWithinMessage = errors.New("another message is being written in parts")
	// ErrControlTooLong: a ping's payload or a close reason does not fit into a
	// control frame.
	ErrControlTooLong = errors.New("payload of a control frame is longer than 125 bytes")
)

// A CloseError is a close frame: the one that the peer sent, or, where the
// peer broke a rule, the one that it was sent. A handler that returns one
// chooses the code and the reason that the peer gets: as much of the reason as a
// close frame has room for (123 bytes), and InternalError for a code that may not be
// sent.
type CloseError struct {
	Code   Code
	Reason string
	Remote bool // the peer sent it
}

// Error quotes the reason: it may be the peer's, and contain anything.
func (e *CloseError) Error() string {
	who := "closed"
	if e.Remote {
		who = "closed by the peer"
	}
	if e.Reason == "" {
		return fmt.Sprintf("websocket %s: code %d", who, e.Code)
	}
	return fmt.Sprintf("websocket %s: code %d: %q", who, e.Code, e.Reason)
}

// violation is the error for a peer that broke a rule.
func violation(code Code, reason string) error { return &CloseError{Code: code, Reason: reason} }

// sendable reports whether a close frame may carry this code.
func sendable(code Code) bool {
	switch {
	case code >= firstPrivate && code <= lastPrivate:
		return true
	case code < Normal || code > lastDefined:
		return false
	}
	return code != reserved && code != NoStatus && code != abnormal
}

// closePayload encodes a close frame's payload; NoStatus and 0 have none.
func closePayload(code Code, reason string) ([]byte, error) {
	if code == 0 || code == NoStatus {
		return nil, nil
	}
	if !sendable(code) {
		return nil, fmt.Errorf("close code %d may not be sent: choose 1000 to 1003, 1007 to 1014 or 3000 to 4999", code)
	}
	if !utf8.ValidString(reason) {
		return nil, errors.New("close reason is not UTF-8")
	}
	if len(reason) > maxReason {
		return nil, ErrControlTooLong
	}
	return ws.NewCloseFrameBody(code, reason), nil
}

// fitReason returns as much of a reason as a close frame has room for, as UTF-8.
func fitReason(reason string) string {
	reason = strings.ToValidUTF8(reason, string(utf8.RuneError))
	if len(reason) <= maxReason {
		return reason
	}
	return strings.ToValidUTF8(reason[:maxReason], "") // without the beginning of a character
}

// parseClose checks a close frame's payload.
func parseClose(p []byte) (*CloseError, error) {
	if len(p) == 0 {
		return &CloseError{Code: NoStatus, Remote: true}, nil
	}
	if len(p) == 1 {
		return nil, violation(ProtocolError, "close frame with half a code")
	}
	code, reason := ws.ParseCloseFrameData(p)
	if !sendable(code) {
		return nil, violation(ProtocolError, "close code that may not be sent")
	}
	if !utf8.ValidString(reason) {
		return nil, violation(InvalidPayload, "close reason is not UTF-8")
	}
	return &CloseError{Code: code, Reason: reason, Remote: true}, nil
}
