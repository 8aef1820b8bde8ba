package hall

import "github.com/epinet/epi/apps/chat/ircmsg"

// A ChannelID names a channel in the gate's lists. Numbers are small and are used
// again after a channel is gone, so that they can be indices.
type ChannelID uint32

// A Rank is what a member may do in a channel: a set of the bits below. Of two
// ranks the one with the higher number can do more.
type Rank uint8

// The bits of a Rank, each a mode of channels.
const (
	Voice   Rank = 1 << iota // v, +
	HalfOp                   // h, %
	Op                       // o, @
	Admin                    // a, &
	Founder                  // q, ~
)

// A Gate does what the hall decides. Its methods are called during Hall.Apply, by
// the goroutine that called it, must not block, and must not call the hall. What is
// said of one session must have its effect in the order of the calls.
//
// A session that the gate no longer has is no error: the gate ignores the call.
type Gate interface {
	// Send gives lines to one session, each ended by CR LF. The gate may not keep
	// the slice after it has returned.
	Send(to SessionID, lines []byte)

	// Deliver gives an item to the sessions that it names. The item does not
	// change any more; the gate may keep it.
	Deliver(item *Item)

	// Echo is Send for lines that show the sender what Record was given: if one of
	// these records could not be kept, the lines are dropped.
	Echo(to SessionID, lines []byte, records []int64)

	// Record keeps a message. With History.Enabled, all calls that come after it have
	// no effect before that is durable. When it failed, the items and echoes that name
	// the record are dropped, and the hall is given Unkept, unless it is an event. A Copy is kept
	// once, as the latest EditRecord leaves it, and not at all after a RemoveRecord, also if that
	// came first.
	Record(r *Record)

	// Member puts a session on the list of a channel, or changes its rank there.
	Member(s SessionID, c ChannelID, rank Rank)

	// Leave takes a session off the list of a channel. A session that is closed is
	// taken off all lists without it; see Close.
	Leave(s SessionID, c ChannelID)

	// Caps sets the capabilities of a session. It has none before.
	Caps(s SessionID, caps Caps)

	// Registered says that a session has finished its registration: the gate ends
	// its deadline for that and begins to ask for signs of life.
	Registered(s SessionID)

	// Close ends a session in order after the last lines, which may be empty. The
	// hall has forgotten the session; the gate takes it off all lists.
	Close(s SessionID, last []byte)

	// Commanded says that a client's command was carried out, or refused with an
	// error. The name is one of Commands.
	Commanded(name string, ok bool)

	// Fault says what went wrong that must not, such as a line that cannot be
	// written: a fault of the hall, for the log.
	Fault(err error)

	// Keep keeps a change for the next start. The gate does so in the order of the
	// calls.
	Keep(c Change)

	// Begin starts work that may take long, apart from all loops. When it has ended,
	// the gate gives the hall a Result with the same Session and Number, but not for a Copy.
	Begin(w *Work)
}

// An Item is lines for many sessions: those on the list of a channel of Channels, if
// their rank is high enough, and those of Sessions, but none of Except; each of them
// once. It does not change after Gate.Deliver.
type Item struct {
	Channels []Reach
	Sessions []SessionID
	Except   []SessionID

	// Need are capabilities without which a session gets nothing.
	Need Caps
	// Unless are capabilities with which, if it has all of them, a session gets
	// nothing; none here excludes nobody.
	Unless Caps

	// Record is the message that the item shows, or 0: see Gate.Record.
	Record int64

	// Lines are sent one after the other, in the form for the session's
	// capabilities.
	Lines []*ircmsg.Line

	// private: it shows what a user has changed of itself, which is in the order of no channel.
	private bool

	// Room for what most items have one of.
	line   [1]*ircmsg.Line
	reach  [1]Reach
	except [1]SessionID
}

// newItem returns an item of one line, or of none if it could not be written.
func newItem(line *ircmsg.Line) *Item {
	i := &Item{}
	if line != nil {
		i.line[0] = line
		i.Lines = i.line[:]
	}
	return i
}

// to lets the item go to the members of a channel.
func (i *Item) to(r Reach) {
	i.reach[0] = r
	i.Channels = i.reach[:]
}

// but keeps the item from one session.
func (i *Item) but(s SessionID) {
	i.except[0] = s
	i.Except = i.except[:]
}

// A Reach is the members of a channel with at least a rank.
type Reach struct {
	Channel ChannelID
	Rank    Rank
}

// Wants says whether a session with these capabilities gets the item's lines.
func (i *Item) Wants(caps Caps) bool {
	return caps&i.Need == i.Need && (i.Unless == 0 || caps&i.Unless != i.Unless)
}
