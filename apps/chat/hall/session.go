package hall

import (
	"fmt"
	"slices"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A session is one connection.
type session struct {
	id     SessionID
	caps   Caps
	gone   bool // the gate is to close it
	v302   bool // CAP LS 302 or later
	origin *Origin
	user   *user     // nil until it is registered
	rare   *rare     // what few sessions have
	far    *distance // of a session of another node
}

// rare is the state of a session that most never have, or only at the beginning.
type rare struct {
	registration *registration
	login        *login  // SASL going on
	batch        *batch  // a client's batch that is open
	work         *work   // that the session waits for
	replays      int     // of channels just joined, which it waits for, too
	held         []*held // lines that came meanwhile
	monitored    []string
	subs         []string // keys of metadata
}

// work is what a session waits for.
type work struct {
	number   uint64
	label    string
	command  string
	then     func(*Result)
	run      *farRun
	mentions []mention
	// out and begins are what the turn has written so far, for a label.
	out     []byte
	begins  []int
	refused bool
}

// held is what came while a session was waiting: a message, or a problem with it.
type held struct {
	message  *ircmsg.Message
	mentions []mention // by message
	problem  Problem
	broken   bool
	run      *runOp // of another node, instead of message
}

func (s *session) extra() *rare {
	if s.rare == nil {
		s.rare = &rare{}
	}
	return s.rare
}

// name returns what numerics call the session.
func (s *session) name() string {
	if s.user == nil {
		return "*"
	}
	return s.user.nick()
}

// account returns what the session is logged in as, "" for nothing.
func (s *session) account() string {
	if r := s.registering(); r != nil {
		return r.account
	}
	return s.user.account
}

func (s *session) has(caps Caps) bool { return s.caps&caps == caps }

// registering returns the state of the registration, or nil when it is complete.
func (s *session) registering() *registration {
	if s.user != nil || s.rare == nil {
		return nil
	}
	return s.rare.registration
}

func (h *Hall) open(id SessionID, origin *Origin) {
	if h.sessions[id] != nil {
		h.gate.Fault(fmt.Errorf("session %d was opened twice", id))
		return
	}
	h.strange++
	h.sessions[id] = &session{id: id, origin: origin, rare: &rare{registration: &registration{}}}
}

// received handles a line, now or when the work is done that the session waits for.
func (h *Hall) received(s *session, m *ircmsg.Message) {
	if s.waits() {
		h.hold(s, &held{message: m, mentions: h.mentionsIn(m, nil)})
		return
	}
	h.answer(s, m, nil)
}

// malformed answers a line that is no message. The message has its parts where they
// could be parsed.
func (h *Hall) malformed(s *session, problem Problem, m *ircmsg.Message) {
	if m == nil {
		m = &ircmsg.Message{}
	}
	if s.waits() {
		h.hold(s, &held{message: m, problem: problem, broken: true})
		return
	}
	h.refuse(s, problem, m)
}

func (h *Hall) answer(s *session, m *ircmsg.Message, mentions []mention) {
	h.beginTurn(s, s.labelOf(m))
	h.turn.mentions = mentions
	h.perform(s, m)
	h.endTurn()
}

func (h *Hall) refuse(s *session, problem Problem, m *ircmsg.Message) {
	h.beginTurn(s, s.labelOf(m))
	defer h.endTurn()
	if problem == NotUTF8 {
		h.fail(s, commandOf(m), "INVALID_UTF8", "Message rejected: it must be UTF-8")
		return
	}
	h.reply(s, nInputTooLong, "Input line was too long")
}

// commandOf returns the command of a message in capital letters, or "*" if it is none that
// there is.
func commandOf(m *ircmsg.Message) string {
	if name := strings.ToUpper(m.Command); commands[name].name != "" {
		return name
	}
	return "*"
}

// labelOf returns the label that the answer to m is to have.
func (s *session) labelOf(m *ircmsg.Message) string {
	if m.Tags == "" || !s.has(CapLabeledResponse|CapBatch) {
		return ""
	}
	label, _ := m.Tags.Get("label")
	if len(label) > maxLabel {
		return ""
	}
	return label
}

// waits reports whether the session's next lines have to wait.
func (s *session) waits() bool {
	return s.rare != nil && (s.rare.work != nil || s.rare.replays > 0)
}

// hold keeps a line of a session that waits for something.
func (h *Hall) hold(s *session, line *held) {
	if len(s.rare.held) == maxHeld {
		h.end(s, "Excess Flood", "")
		return
	}
	if line.message != nil {
		kept := *line.message
		kept.Params = slices.Clone(kept.Params)
		line.message = &kept
	}
	s.rare.held = append(s.rare.held, line)
}

// begin has work done for the session whose turn it is. Its lines wait until then is
// called, in a turn with the same label.
func (h *Hall) begin(s *session, w Work, then func(*Result)) {
	h.lastWork++
	w.Session, w.Number = s.id, h.lastWork
	w.Address = s.origin.Address
	h.turn.deferred = true
	s.extra().work = &work{number: w.Number, label: h.turn.label, command: h.turn.command, then: then, run: h.turn.run, mentions: h.turn.mentions}
	h.flush()
	h.gate.Begin(&w)
}

// asked is a session that has asked for something and goes on meanwhile; nil is the hall.
type asked struct {
	session *session
	then    func(*Result)
}

// background has work done for a session that does not wait for it. then is called in a turn of
// its own, if the session is still there.
func (h *Hall) background(s *session, w Work, then func(*Result)) {
	h.lastWork++
	w.Session, w.Number = s.id, h.lastWork
	h.asked[w.Number] = asked{s, then}
	h.gate.Begin(&w)
}

// answered goes on with what a session has asked for, and says whether it was that.
func (h *Hall) answered(r *Result) bool {
	a, ok := h.asked[r.Number]
	if !ok {
		return false
	}
	delete(h.asked, r.Number)
	switch {
	case a.session == nil:
		a.then(r)
	case !a.session.gone:
		h.beginTurn(a.session, "")
		a.then(r)
		h.endTurn()
		h.release(a.session)
	}
	return true
}

// worked goes on with a session whose work is done.
func (h *Hall) worked(r *Result) {
	h.altered(r)
	if h.answered(r) {
		return
	}
	s := h.sessions[r.Session]
	if s == nil || s.rare == nil || s.rare.work == nil || s.rare.work.number != r.Number {
		return
	}
	h.resume(s, r)
}

// resume goes on with what a session has waited for.
func (h *Hall) resume(s *session, r *Result) {
	w := s.rare.work
	s.rare.work = nil
	h.beginTurn(s, w.label)
	h.turn.command, h.turn.run, h.turn.mentions = w.command, w.run, w.mentions
	h.turn.out, h.turn.begins, h.turn.refused = append(h.turn.out, w.out...), append(h.turn.begins, w.begins...), w.refused
	w.then(r)
	h.endTurn()
	h.release(s)
}

// release handles the lines that were held, until the session waits again.
func (h *Hall) release(s *session) {
	for !s.gone && !s.waits() && s.rare != nil && len(s.rare.held) > 0 {
		line := s.rare.held[0]
		s.rare.held = s.rare.held[1:]
		if line.broken {
			h.refuse(s, line.problem, line.message)
			continue
		}
		if line.run != nil {
			h.runFor(s, line.run)
			continue
		}
		h.answer(s, line.message, line.mentions)
	}
	s.trim()
}

// trim gives the rare state back when there is none left.
func (s *session) trim() {
	r := s.rare
	if s.user == nil || r == nil {
		return
	}
	r.registration = nil
	if r.login == nil && r.batch == nil && r.work == nil && r.replays == 0 && len(r.held) == 0 && len(r.monitored) == 0 && len(r.subs) == 0 {
		s.rare = nil
	}
}

// end closes a session. The others read reason if it was the user's last one; the
// client reads it, too, or else last.
func (h *Hall) end(s *session, reason, last string) {
	if s.gone {
		return
	}
	if last == "" {
		last = reason
	}
	if s.far != nil {
		h.net.post(s.far.node, "end", endedSession{s.far.id, reason, last}, nil)
		return
	}
	h.write(s, "", &ircmsg.Message{Command: "ERROR", Params: []string{"Closing Link: " + s.origin.Host + " (" + last + ")"}, Text: true})
	var farewell []byte
	if h.turn.session == s {
		if h.turn.label != "" {
			h.writeLabel()
		}
		farewell = h.turn.out
	}
	s.gone = true
	h.gate.Close(s.id, farewell)
	h.forget(s, reason)
}

// lost takes a session off that the gate has closed.
func (h *Hall) lost(s *session, reason string) {
	s.gone = true
	h.forget(s, reason)
}

// forget takes a session that is gone off everything. With its last session, a user
// quits.
func (h *Hall) forget(s *session, reason string) {
	delete(h.sessions, s.id)
	h.unwatchAll(s)
	u := s.user
	if u == nil {
		h.strange--
		return
	}
	u.sessions = without(u.sessions, s)
	h.noteUser(u)
	if len(u.sessions) == 0 {
		h.left(u, reason)
		return
	}
	h.setSecure(u, !slices.ContainsFunc(u.sessions, func(s *session) bool { return !s.origin.Secure }))
}

// without returns list without v, in the same order.
func without[T comparable](list []T, v T) []T {
	i := slices.Index(list, v)
	if i < 0 {
		return list
	}
	return slices.Delete(list, i, i+1)
}

// perform does what a command asks for.
func (h *Hall) perform(s *session, m *ircmsg.Message) {
	c, ok := commands[m.Command]
	if !ok {
		c, ok = commands[strings.ToUpper(m.Command)]
	}
	if s.user == nil && isHTTP(m.Command) {
		h.end(s, "This is not a web server", "")
		return
	}
	if h.proxied(s, m) || h.inBatch(s, m, c) {
		return
	}
	h.turn.command = c.name
	if !ok {
		h.turn.command = Unknown
	}
	switch {
	case s.user == nil && (!ok || !c.early):
		h.reply(s, nNotRegistered, "You have not registered")
	case !ok:
		h.reply(s, nUnknownCommand, printable(m.Command), "Unknown command")
	case len(m.Params) < c.params:
		h.reply(s, nNeedMoreParams, c.name, "Not enough parameters")
	case c.right != "" && !s.user.may(h, c.right):
		h.reply(s, nNoPrivileges, "Permission Denied - You're not an IRC operator")
	default:
		h.used[c.name]++
		if h.net != nil {
			if pieces := h.pieces(s, c, m); pieces != nil {
				h.carryOut(s, pieces)
				return
			}
		}
		c.run(h, s, m.Params, m)
		if c.right != "" && !h.turn.refused {
			h.logDeed(s.user, c.name, m.Params)
		}
	}
}

// isHTTP says whether a command is that of a web browser that was led to this port.
func isHTTP(command string) bool {
	switch command {
	case "GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "CONNECT":
		return true
	}
	return false
}

// maxPrintable is how much of a parameter an answer repeats, in bytes, so that there is
// room for the rest of it.
const maxPrintable = 150

// printable returns what a client has sent in a form that can be one parameter.
func printable(param string) string {
	if param == "" || param[0] == ':' || strings.Contains(param, " ") {
		return "*"
	}
	return ircmsg.Truncate(param, maxPrintable)
}

// param returns the parameter i, or "" if there are fewer.
func param(params []string, i int) string {
	if i >= len(params) {
		return ""
	}
	return params[i]
}
