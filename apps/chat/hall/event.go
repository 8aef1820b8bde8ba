package hall

import "github.com/epinet/epi/apps/chat/ircmsg"

// SessionID names one session. The gate chooses it, and may encode in it where it
// keeps the session; the hall only compares it. It may be used again once the gate
// has given the hall Closed for it.
type SessionID uint64

// An EventKind says what has happened.
type EventKind uint8

const (
	// Tick is nothing but time that has passed.
	Tick EventKind = iota
	// Opened is a new session. Event.Origin says from where.
	Opened
	// Line is a line received, in Event.Message.
	Line
	// Malformed is a line received that is no message: Event.Problem says why.
	Malformed
	// Closed is the end of a session, for the reason in Event.Text. It comes once
	// for each Opened, also after the hall itself has asked for the end.
	Closed
	// Worked is the end of work begun by Gate.Begin, in Event.Result.
	Worked
	// Unkept is a message that Gate.Record could not keep, in Event.Record, or that most nodes
	// have not acknowledged: Event.Doubt. Its items and echoes were dropped.
	Unkept
	// Networked is what has happened in the network, in Event.News: see Hall.Join.
	Networked
)

// A Problem is what is wrong with a line that is no message.
type Problem uint8

const (
	// LineTooLong is more than 512 bytes without the tags.
	LineTooLong Problem = iota
	// TagsTooLong is more than 4,094 bytes of client tags.
	TagsTooLong
	// NotUTF8 is a line that is not UTF-8.
	NotUTF8
)

// An Event is an input of the hall.
type Event struct {
	Kind    EventKind
	Problem Problem
	Doubt   bool // of Unkept: it may be kept all the same, and will be then at all nodes
	Session SessionID
	// At is the time in milliseconds since 1970 (UTC). It never goes back for
	// the hall: an earlier time than that of the event before counts as the same.
	At int64
	// Message is the hall's during Apply only. Its strings are kept where that
	// is of use, so they must not be parts of a buffer that changes.
	Message *ircmsg.Message
	Origin  *Origin
	Result  *Result
	Record  *Record
	News    *News
	// Text is the reason of Closed, as other users read it.
	Text string
}

// An Origin is where a session comes from. The hall keeps it and does not change it.
type Origin struct {
	// Host is what others see behind the @: a name or an address. It has no
	// space, and an IPv6 address that begins with a colon has a 0 before it.
	Host string
	// Address is the real IP address, for operators and bans.
	Address string
	// Secure: the way from the client is encrypted, or it does not leave the machine.
	Secure bool
	// Fingerprint is the SHA-256 of the client's certificate in lower case hex,
	// or empty.
	Fingerprint string
	// Gateway is set when a trusted gateway may still give another host by WEBIRC.
	Gateway bool
	// Proxy is set when a trusted proxy may name its client by PROXY as the first line.
	Proxy bool
}
