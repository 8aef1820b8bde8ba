package hall

import "github.com/epinet/epi/apps/chat/ircmsg"

// A Hall is the state of a chat server. One goroutine at a time may use it.
type Hall struct {
	config Config
	gate   Gate
	now    int64 // milliseconds since 1970, from the latest event

	sessions map[SessionID]*session
}

// New returns an empty hall that tells gate what to do.
func New(config Config, gate Gate) *Hall {
	h := &Hall{gate: gate, sessions: map[SessionID]*session{}}
	h.Configure(config)
	return h
}

// Configure replaces the configuration. Limits hold for what comes from now on; what is
// advertised and has changed is said to those who can know it.
func (h *Hall) Configure(config Config) { h.config = config }

// Apply does what follows from one event. It keeps the event's Origin, Result and the
// strings of its Message, and nothing else of it.
func (h *Hall) Apply(e *Event) {}

// Cost says how much more a command costs than the cheapest, for limits on the rate
// of commands. Command is in capital letters.
func Cost(m *ircmsg.Message) int {
	return 1
}

// A session is one connection.
type session struct{}
