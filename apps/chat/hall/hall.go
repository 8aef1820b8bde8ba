package hall

import (
	"math/rand/v2"
	"slices"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A Hall is the state of a chat server. One goroutine at a time may use it.
type Hall struct {
	config Config
	gate   Gate
	random *rand.ChaCha8

	now      int64  // milliseconds since 1970, from the latest event
	started  int64  // the time of the first event
	stamp    string // now as the tag time has it
	stampOf  int64  // the time in stamp
	lastID   int64  // of a message
	lastWork uint64
	net      *network            // nil: this hall is alone
	asked    map[uint64]asked    // by Work.Number
	markers  map[string]markers  // by account, of those who are there
	metadata map[string]metadata // by account in small letters

	turn turn
	said [2]*Item // what items has returned

	sessions map[SessionID]*session
	users    map[string]*user   // those registered, by nickKey
	everyone []*user            // the same, in an order that the events make
	named    map[string][]*user // those with an account, by that in small letters, the first to have it first
	channels map[string]*channel
	slots    []*channel // by ChannelID; nil is free
	free     []ChannelID
	watchers map[string][]*session // of MONITOR, by nickKey
	staying  map[string]*user      // those that outlive their sessions, by account, folded
	leaving  map[string]bool       // accounts that chose not to stay, where others do; small letters
	owned    map[string]bool       // nicks of accounts, by nickKey
	changed  changed

	whowas  []*formerUser // the latest last
	bans    []serverBan
	isup    []string       // the tokens of 005
	used    map[string]int // commands, for STATS m
	strange int            // sessions that are not registered
	opers   int
	hidden  int // users with the mode i
	most    int // users at once
}

// New returns an empty hall that calls gate to carry out what it decides.
func New(config Config, gate Gate) *Hall {
	h := &Hall{
		gate:     gate,
		random:   rand.NewChaCha8(config.Seed),
		sessions: map[SessionID]*session{},
		users:    map[string]*user{},
		named:    map[string][]*user{},
		channels: map[string]*channel{},
		watchers: map[string][]*session{},
		used:     map[string]int{},
		asked:    map[uint64]asked{},
		markers:  map[string]markers{},
		metadata: map[string]metadata{},
		leaving:  map[string]bool{},
		staying:  map[string]*user{},
		owned:    map[string]bool{},
	}
	h.config = config.withDefaults()
	h.isup = h.tokens()
	h.ownConfigured()
	return h
}

// Configure replaces the configuration. Limits hold for what comes from now on; what is
// advertised and has changed is said to those who can know it. Which nicks are equal
// stays as it was.
func (h *Hall) Configure(config Config) {
	before := h.offers()
	tokens := h.isup
	config.UnicodeNicks = h.config.UnicodeNicks
	h.config = config.withDefaults()
	h.isup = h.tokens()
	h.ownConfigured()
	h.announceCapabilities(before)
	h.announceTokens(tokens)
}

// Apply does what follows from one event. It keeps the event's Origin, Result and the
// strings of its Message, and nothing else of it.
func (h *Hall) Apply(e *Event) {
	h.apply(e)
	h.conclude()
}

// conclude has kept, and carried to other nodes, what has changed.
func (h *Hall) conclude() {
	if h.net != nil {
		h.sendChanged()
		h.net.markVacancies()
	}
	h.keepChanged()
	if h.net != nil {
		h.carryAll()
	}
}

func (h *Hall) apply(e *Event) {
	h.now = max(h.now, e.At)
	if h.started == 0 {
		h.started = h.now
	}
	switch e.Kind {
	case Opened:
		h.open(e.Session, e.Origin)
		return
	case Worked:
		h.worked(e.Result)
		return
	case Networked:
		h.applyNews(e.News)
		return
	case Tick:
		if h.net != nil {
			h.remindNetwork()
		}
		return
	}
	s := h.sessions[e.Session]
	if s == nil {
		return
	}
	switch e.Kind {
	case Line:
		h.received(s, e.Message)
	case Malformed:
		h.malformed(s, e.Problem, e.Message)
	case Closed:
		h.lost(s, e.Text)
	case Unkept:
		h.unkept(s, e.Record, e.Doubt)
	}
}

// Users returns how many users there are.
func (h *Hall) Users() int { return len(h.users) }

// Sessions returns how many sessions there are, registered or not.
func (h *Hall) Sessions() int {
	if h.net != nil {
		return len(h.sessions) - h.net.guests
	}
	return len(h.sessions)
}

// Channels returns how many channels there are.
func (h *Hall) Channels() int { return len(h.channels) }

// nextID returns a number for a message: time in milliseconds above IDBits bits that
// count. Each is greater than the one before.
func (h *Hall) nextID() int64 {
	if h.net != nil {
		h.lastID = h.net.after(max(h.lastID, h.now<<IDBits))
		return h.lastID
	}
	h.lastID = max(h.lastID+1, h.now<<IDBits)
	return h.lastID
}

// MsgID writes a message's number as the tag msgid has it.
func MsgID(id int64) string { return ircmsg.FormatID(id) }

// time returns now as the tag time has it.
func (h *Hall) time() string {
	if h.stampOf != h.now || h.stamp == "" {
		h.stamp = ircmsg.FormatTime(h.now)
		h.stampOf = h.now
	}
	return h.stamp
}

// seconds returns now in seconds since 1970, as numerics have it.
func (h *Hall) seconds() int64 { return h.now / 1000 }

// sortedSessions returns all sessions of this gate, in the order of their numbers.
func (h *Hall) sortedSessions() []*session {
	all := make([]*session, 0, len(h.sessions))
	for _, s := range h.sessions {
		if s.far == nil {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *session) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return all
}

func fold(name string) string { return ircmsg.ASCII.Fold(name) }

func sameName(a, b string) bool { return ircmsg.ASCII.Equal(a, b) }

func matches(mask, s string) bool { return ircmsg.ASCII.Match(mask, s) }
