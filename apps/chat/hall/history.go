package hall

import (
	"slices"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// History says what is kept of what is said, and who may read it.
type History struct {
	// Enabled: what is said goes to Gate.Record before it is shown.
	Enabled bool
	// Page is the most messages of one answer to CHATHISTORY: 1,000.
	Page int
	// Replay is how many messages a client that cannot ask for them gets when it joins
	// a channel.
	Replay int
	// Unregistered: channels that nobody has registered keep their history when they
	// are empty, for whoever makes them again.
	Unregistered bool
	// SinceJoin: members read what was said since they joined, and nothing before, in all
	// channels; otherwise in those with the mode H.
	SinceJoin bool
}

// A Record is what history keeps of one message. It does not change after Gate.Record.
type Record struct {
	// ID is the number of the message: its time in milliseconds since 1970 above
	// IDBits bits that count.
	ID int64
	// Target names the history: a channel in small letters, or what Conversation
	// returns.
	Target  string
	Command string
	// Params are the parameters of an event; of what is said they are empty, or have
	// the target as others saw it where that is not the name of the channel.
	Params  []string
	Source  string
	Account string // of the sender; "" without one
	Bot     bool
	Rank    Rank   // that a member must have to read it
	Tags    string // client-only, as on the wire
	// Text is what is said. The lines of a multiline message have line feeds between
	// them, and Joined has the numbers of those that go on the line before.
	Text   string
	Joined []int
	// Reply is the message that this one answers or reacts to; 0 for none.
	Reply int64
	// Reaction: it has no text, and is read with the message that it replies to.
	Reaction bool
	// Edited is the number of the latest change; 0 never.
	Edited int64
	// As is the number under which an event was shown that happened in several channels
	// at once; 0: ID.
	As int64

	// Shown is the target as others read it. Notify are the accounts of those to whom
	// it was said, or who were named in it: see Config.VAPID.
	Shown  string
	Notify []string

	// Session is who said it, and Label that of its answer: for Unkept.
	Session SessionID `json:"-"`
	Label   string    `json:"-"`
	// Run is the command of another node that it belongs to.
	Run uint64 `json:"-"`

	// Copy: another node keeps it, too, and has notified those who are to know.
	Copy bool `json:"-"`
}

// A Page selects records of one history: those with After < ID < Before that a member
// with Rank may read, at most Limit of them, in the order of their numbers.
type Page struct {
	// Targets are names under which the history may be; the first that has something
	// counts.
	Targets []string
	After   int64
	Before  int64 // 0: to the end
	Limit   int
	// Latest takes the last of those, otherwise the first.
	Latest bool
	// Whole, if it is not 0, is the most records of a page that ends where a millisecond
	// does: a client that goes on from a moment would leave out the rest of it.
	Whole int
	// Around, if it is not 0, is a number in the middle of the page.
	Around int64
	Rank   Rank
	// Events: what has happened, too, not only what was said.
	Events bool
	// Reactions: each record is followed by its reactions, which are not counted.
	Reactions bool
}

// A Scope is a history that somebody may read: what members with Rank see, after a
// number.
type Scope struct {
	Target string
	Rank   Rank
	After  int64
}

// A Latest is a history with the number of what was said in it last.
type Latest struct {
	Target string
	ID     int64
}

// IDBits is how far the milliseconds of a message's number are shifted.
const IDBits = ircmsg.IDBits

// IsEvent says whether a record is of something that happened, such as a JOIN, and not
// of something said.
func (r *Record) IsEvent() bool {
	return r.Command != "PRIVMSG" && r.Command != "NOTICE" && !r.Reaction
}

// Conversation names the history of two users: each an account in small letters, or a
// stranger.
func Conversation(a, b string) string {
	if b < a {
		a, b = b, a
	}
	return a + " " + b
}

// stranger marks in the name of a conversation a nick that was logged in to no account.
// Whoever makes an account of that name later is somebody else.
const stranger = "*"

// side returns a user's part of the name of a conversation.
func (u *user) side() string {
	if u.account == "" {
		return stranger + fold(u.nick())
	}
	return fold(u.account)
}

// recordSpeech keeps what a user says, and names it in the items that show it. from is
// the session whose turn it is, if there is one; shown is the target as others read it.
func (h *Hall) recordSpeech(u *user, from SessionID, target, shown string, rank Rank, sp *speech, items []*Item) {
	if !h.config.History.Enabled {
		return
	}
	r := &Record{
		ID: sp.id, Target: target, Command: sp.command, Source: u.source, Account: u.account, Bot: u.is(modeBot),
		Rank: rank, Text: sp.text, Session: from, Label: h.turn.label,
	}
	if fold(shown) != target {
		r.Params = []string{shown}
	}
	if sp.source != "" {
		r.Source, r.Account, r.Bot = sp.source, "", false
	}
	if h.turn.run != nil {
		r.Run = h.turn.run.number
	}
	r.addTags(sp.tags)
	if sp.command == "TAGMSG" && sp.isPassing() {
		return
	}
	r.addParts(sp.parts)
	r.Shown, r.Notify = shown, h.notified(u, target, shown, rank, r.Text)
	h.record(r)
	if h.turn.run != nil {
		h.turn.run.said = append(h.turn.run.said, r.ID)
	}
	for _, item := range items {
		item.Record = r.ID
	}
}

// isPassing says whether tags say nothing that lasts, such as that somebody types.
func (sp *speech) isPassing() bool {
	return !slices.ContainsFunc(sp.tags, func(t ircmsg.Tag) bool { return !passing[t.Key] })
}

var passing = map[string]bool{"+typing": true, "+draft/typing": true, "+draft/reply": true, "+reply": true, "+draft/channel-context": true}

// addTags sets what the tags of a message say of it.
func (r *Record) addTags(tags []ircmsg.Tag) {
	var kept []byte
	for _, t := range tags {
		if t.Key == "bot" {
			r.Bot = true
			continue
		}
		kept = ircmsg.AppendTag(kept, t.Key, t.Value)
		switch t.Key {
		case "+draft/reply", "+reply":
			r.Reply, _ = ircmsg.ParseID(t.Value)
		case "+draft/react", "+draft/unreact":
			r.Reaction = r.Command == "TAGMSG"
		}
	}
	r.Tags = string(kept)
	r.Reaction = r.Reaction && r.Reply != 0
}

func (r *Record) addParts(parts []part) {
	if parts == nil {
		return
	}
	var text strings.Builder
	for i, p := range parts {
		if i > 0 {
			text.WriteByte('\n')
		}
		text.WriteString(p.text)
		if i > 0 && p.concat {
			r.Joined = append(r.Joined, i)
		}
	}
	r.Text = text.String()
}

// parts returns the lines of what was said.
func (r *Record) parts() []part {
	var parts []part
	for text := range strings.SplitSeq(r.Text, "\n") {
		parts = append(parts, part{text: text, concat: slices.Contains(r.Joined, len(parts))})
	}
	return parts
}

// recordEvent keeps what has happened in a channel; rank is that of those who see it.
// It has the number of the line that was made last.
func (h *Hall) recordEvent(c *channel, rank Rank, u *user, command string, params ...string) {
	h.recordOneOf(h.lastID, c, rank, u, command, params...)
}

// recordOneOf keeps what was shown under a number, which another record may have.
func (h *Hall) recordOneOf(shown int64, c *channel, rank Rank, u *user, command string, params ...string) {
	if !h.config.History.Enabled {
		return
	}
	r := &Record{
		ID: h.lastID, Target: fold(c.name), Command: command, Params: params,
		Source: u.source, Account: u.account, Bot: u.is(modeBot), Rank: rank,
	}
	if shown != r.ID {
		r.As = shown
	}
	h.record(r)
}

// record keeps a record, here and at all other nodes.
func (h *Hall) record(r *Record) {
	h.gate.Record(r)
	if h.net != nil {
		h.shareRecord(r)
	}
}

// recordModes keeps a change of a channel's modes.
func (h *Hall) recordModes(x *changing, m *ircmsg.Message) {
	by := x.session.user
	if m.Source != by.source {
		by = &user{source: m.Source} // the server
	}
	h.recordEvent(x.channel, 0, by, m.Command, m.Params...)
}

// moveHistory gives a channel's history its new name. What was said under that name
// before was in another channel.
func (h *Hall) moveHistory(from, to string) {
	if !h.config.History.Enabled {
		return
	}
	h.moveRecords(fold(from), fold(to), h.nextID())
}

func (h *Hall) moveRecords(from, to string, before int64) {
	h.gate.Keep(DropHistory{Target: to, Before: before})
	h.gate.Keep(MoveHistory{From: from, To: to})
}

// recordEverywhere keeps what has happened to a user in all their channels. A record is
// of one channel: that of the first has the number of the line that was made last, and
// the others have numbers of their own, and are shown under that of the first.
func (h *Hall) recordEverywhere(u *user, command string, params ...string) {
	if !h.config.History.Enabled {
		return
	}
	shown := h.lastID
	for i, m := range u.channels {
		if i > 0 {
			h.nextID()
		}
		h.recordOneOf(shown, m.channel, m.seenBy().Rank, u, command, params...)
	}
}

// unkept answers a message that nobody has seen and that could not be kept, or is in doubt.
func (h *Hall) unkept(s *session, r *Record, doubt bool) {
	h.beginTurn(s, r.Label)
	if s.far != nil {
		defer h.net.post(s.far.node, "done", doneOp{Run: r.Run, Answered: true}, nil)
	}
	code, text := "MESSAGE_NOT_KEPT", "The message could not be kept, and nobody got it; try again later"
	if doubt {
		code, text = "NO_ANSWER", "Most of the network does not answer: the message may be in the history later; look before you try again"
	}
	h.fail(s, r.Command, code, printable(h.shownTarget(r)), text)
	h.endTurn()
}

// shownTarget returns the target of a record as clients read it.
func (h *Hall) shownTarget(r *Record) string {
	if len(r.Params) > 0 {
		return r.Params[0]
	}
	if c := h.channels[r.Target]; c != nil {
		return c.name
	}
	return r.Target
}
