// Package hall is the chat itself: users, channels, modes, permissions and the
// IRC protocol, without a socket.
//
// A Hall is a state machine. Events go in, one at a time, and what is to be done
// about them comes out as calls of a Gate before Apply returns:
//
//	sessions ──► Event ──► Hall.Apply ──► Gate.Send      lines for one session
//	                                      Gate.Deliver   one Item for many sessions
//	                                      Gate.Member    who is in which channel
//	                                      Gate.Caps      what a session's lines look like
//	                                      Gate.Begin     slow work, whose Result is an Event
//	                                      Gate.Close     the end of a session
//
// # Determinism
//
// A Hall has no clock, no goroutine, no lock and no source of randomness but the
// seed in its Config; time is what the events say it is. The same events give
// the same calls with the same bytes. One goroutine at a time may use a Hall, and
// a Gate must not call it from within its own methods: what happens meanwhile (a
// send queue that is full, say) is an event for later.
//
// # The hall decides, loops deliver
//
// Sessions are spread over loops, and each loop keeps, for every channel, the list
// of its own sessions in it, as Gate.Member says. A message to a channel leaves the
// hall as one Item. Each loop walks its own lists, so that a large channel is
// served by all loops at once and every member sees the same order: all calls of
// one Gate have an order, and a loop must keep it for what concerns its sessions.
//
// What an Item's lines look like depends on the receiver's capabilities: an
// [ircmsg.Line] builds each form once, and all sessions with the same share it.
//
// # Users and sessions
//
// A session is one connection. A user is what others see, and may have several
// sessions (of one account) or, when it is kept while its owner is away, none.
// Channels have users as members; the gate's lists have their sessions.
//
// # Several halls
//
// With [Hall.Join], a hall is one of several that make one network. Each has the sessions of
// its own machine, and a copy of all users and channels. Every channel has one hall that owns
// it and carries out all commands for it, with a copy of the session that has sent them;
// the others forward. What the others are to show and to know goes out as calls of a
// [Wire], what they say comes in as [News]: a hall in a network is as deterministic
// as one alone. The files network.go, copies.go (users), sequence.go (channels), owning.go,
// places.go and runs.go (commands), spread.go, share.go (the history), nickclaims.go,
// split.go and handover.go have a subject each. A hall alone does none of this.
package hall
