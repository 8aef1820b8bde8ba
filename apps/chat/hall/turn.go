package hall

import (
	"bytes"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A turn is the answer to what one session has sent. Its lines are gathered and leave
// before anything else that could reach the session, or at the end.
//
// With a label nothing leaves before the end: how the label is written depends on how
// many messages there are (labeled-response).
type turn struct {
	session *session
	label   string
	out     []byte
	// begins says where in out each message begins; a batch is one message. Kept
	// with a label only.
	begins []int
	// inBatch: what is written belongs to the message that has begun.
	inBatch bool
	// deferred: the answer comes later, with the same label.
	deferred bool
	// cut: the answer was too long, and 416 was sent.
	cut bool
	// command is what the client wants, "" for what is no command; refused says that it
	// was answered by an error.
	command string
	refused bool
	// records are those that what was written shows: see Gate.Echo.
	records []int64
	// run is the command of another node that is carried out here; nil for the others.
	run *farRun
	// mentions are the nicks of the command that were resolved before they are looked up.
	mentions []mention
}

// beginTurn begins the answer to a line of s.
func (h *Hall) beginTurn(s *session, label string) {
	h.turn = turn{session: s, label: label, out: h.turn.out[:0], begins: h.turn.begins[:0]}
}

// endTurn sends what the turn has gathered.
func (h *Hall) endTurn() {
	t := &h.turn
	s := t.session
	if s == nil {
		return
	}
	if t.run != nil {
		h.endRun()
		t.session, t.out = nil, t.out[:0]
		return
	}
	if t.label != "" && !t.deferred && !s.gone {
		h.writeLabel()
	}
	if t.command != "" && !t.deferred {
		h.gate.Commanded(t.command, !t.refused)
	}
	h.flush()
	t.session, t.out = nil, t.out[:0]
}

// flush sends what was written so far.
func (h *Hall) flush() {
	t := &h.turn
	if len(t.out) == 0 || t.session.gone {
		return
	}
	h.transmit(t.session, t.out, t.records)
	t.out, t.records = t.out[:0], nil
}

// transmit sends lines to a session, which show some records.
func (h *Hall) transmit(s *session, lines []byte, records []int64) {
	switch {
	case s.far != nil:
		h.net.post(s.far.node, "send", sentLines{s.far.id, string(lines)}, records)
	case len(records) > 0:
		h.gate.Echo(s.id, lines, records)
	default:
		h.gate.Send(s.id, lines)
	}
}

// writeLabel makes the messages of the turn one labeled answer.
func (h *Hall) writeLabel() {
	t := &h.turn
	label := string(ircmsg.AppendTag(nil, "label", t.label))
	switch len(t.begins) {
	case 0:
		t.label = ""
		h.write(t.session, label, &ircmsg.Message{Source: h.config.Name, Command: "ACK"})
	case 1:
		t.out = withTag(nil, t.out, label)
	default:
		t.out = h.batched(t.out, label)
	}
}

// batched returns lines as a batch of the type labeled-response.
func (h *Hall) batched(lines []byte, label string) []byte {
	id := MsgID(h.nextID())
	batch := "batch=" + id
	head := ":" + h.config.Name + " BATCH "
	out := withTag(nil, []byte(head+"+"+id+" labeled-response\r\n"), label)
	for len(lines) > 0 {
		end := bytes.IndexByte(lines, '\n') + 1
		line := lines[:end]
		lines = lines[end:]
		if hasTag(line, "batch=") {
			out = append(out, line...)
			continue
		}
		out = withTag(out, line, batch)
	}
	return append(out, head+"-"+id+"\r\n"...)
}

// maxAnswer is the most bytes of one answer that grows with what there is: a client's
// queue would not hold much more.
const maxAnswer = 512 << 10

// full says whether an answer has become so long that the rest of it is left out, and
// says so once.
func (h *Hall) full(s *session, command string) bool {
	t := &h.turn
	if len(t.out) < maxAnswer {
		return false
	}
	if !t.cut {
		t.cut = true
		h.reply(s, nTooManyMatches, command, "Output too long, the rest is left out")
	}
	return true
}

// withTag appends lines to dst, with one more tag on the first.
func withTag(dst, lines []byte, tag string) []byte {
	dst = append(dst, '@')
	dst = append(dst, tag...)
	if lines[0] == '@' {
		dst = append(dst, ';')
		return append(dst, lines[1:]...)
	}
	dst = append(dst, ' ')
	return append(dst, lines...)
}

// hasTag says whether the tags of a line have one that begins with start.
func hasTag(line []byte, start string) bool {
	if line[0] != '@' {
		return false
	}
	tags, _, _ := bytes.Cut(line[1:], []byte{' '})
	for tag := range bytes.SplitSeq(tags, []byte{';'}) {
		if bytes.HasPrefix(tag, []byte(start)) {
			return true
		}
	}
	return false
}

// message begins a message of the turn, which may be several lines if it is a batch.
func (h *Hall) message() {
	t := &h.turn
	if t.label != "" && !t.inBatch {
		t.begins = append(t.begins, len(t.out))
	}
}

// write sends a line to one session, with tags before those that the session gets
// anyway. Text is cut where the line would be too long.
func (h *Hall) write(s *session, tags string, m *ircmsg.Message) {
	if s.gone {
		return
	}
	if s.caps&CapServerTime != 0 {
		tags = joinTags(tags, "time="+h.time())
	}
	m.Tags = ircmsg.Tags(tags)
	if h.turn.session != s {
		h.sendNow(s, m)
		return
	}
	h.turn.refused = h.turn.refused || isError(m.Command)
	if out := h.append(h.turn.out, m); len(out) > len(h.turn.out) {
		h.message()
		h.turn.out = out
	}
}

// isError says whether a command is an error: FAIL, ERROR, or a numeric from 400 to 599
// or from 902 to 907, but 903 (https://modern.ircdocs.horse/#numerics).
func isError(command string) bool {
	switch {
	case command == "FAIL", command == "ERROR":
		return true
	case len(command) != 3:
		return false
	case command[0] == '9':
		return command != nSASLSuccess && command != nLoggedIn && command != nLoggedOut
	}
	return command[0] == '4' || command[0] == '5'
}

func (h *Hall) sendNow(s *session, m *ircmsg.Message) {
	if line := h.append(nil, m); len(line) > 0 {
		h.transmit(s, line, nil)
	}
}

func (h *Hall) append(dst []byte, m *ircmsg.Message) []byte {
	out, err := m.Append(dst, ircmsg.FromServer)
	if err != nil {
		h.gate.Fault(err)
	}
	return out
}

func joinTags(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ";" + b
}

// reply sends a numeric. The last parameter is text.
func (h *Hall) reply(s *session, numeric string, params ...string) {
	all := append(make([]string, 0, 1+len(params)), s.name())
	h.write(s, "", &ircmsg.Message{Source: h.config.Name, Command: numeric, Params: append(all, params...), Text: true})
}

// say sends a command from the server. The last parameter is text.
func (h *Hall) say(s *session, command string, params ...string) {
	h.write(s, "", &ircmsg.Message{Source: h.config.Name, Command: command, Params: params, Text: true})
}

// fail sends a standard reply FAIL: the command, the code, what it is about, and text.
func (h *Hall) fail(s *session, command, code string, about ...string) {
	h.say(s, "FAIL", append([]string{command, code}, about...)...)
}

// notice sends a NOTICE from the server.
func (h *Hall) notice(s *session, text string) { h.say(s, "NOTICE", s.name(), text) }

// batch sends lines as a batch with a type and its parameters to a session that has
// CapBatch: lines is called with the tag for those inside.
func (h *Hall) batch(s *session, kind []string, lines func(tag string)) {
	id := MsgID(h.nextID())
	if h.turn.session == s {
		h.message()
		h.turn.inBatch = true
		defer func() { h.turn.inBatch = false }()
	}
	h.write(s, "", &ircmsg.Message{Source: h.config.Name, Command: "BATCH", Params: append([]string{"+" + id}, kind...)})
	lines("batch=" + id)
	h.write(s, "", &ircmsg.Message{Source: h.config.Name, Command: "BATCH", Params: []string{"-" + id}})
}

// turnOf says whether it is the turn of a session of a user.
func (h *Hall) turnOf(u *user) bool { return h.turn.session != nil && h.turn.session.user == u }

// turnIn says whether the user whose turn it is belongs to those that a channel's item
// reaches.
func (h *Hall) turnIn(r Reach, c *channel) bool {
	if h.turn.session == nil {
		return false
	}
	m := h.turn.session.user.in(c)
	return m != nil && m.rank >= r.Rank
}

// deliver gives items to the gate. With self, the session whose turn it is belongs to
// those that get them: a labeled answer has them inside.
func (h *Hall) deliver(self bool, items ...*Item) {
	t := &h.turn
	if self && t.label != "" {
		h.deliverLabeled(items)
		return
	}
	if t.label == "" {
		h.flush()
	}
	for _, item := range items {
		h.give(item)
	}
}

func (h *Hall) give(item *Item) {
	if len(item.Lines) == 0 || len(item.Channels)+len(item.Sessions) == 0 {
		return
	}
	if h.net != nil {
		h.spread(item)
		return
	}
	h.gate.Deliver(item)
}

func (h *Hall) deliverLabeled(items []*Item) {
	t := &h.turn
	for _, item := range items {
		item.Except = append(item.Except, t.session.id)
		h.give(item)
		if !item.Wants(t.session.caps) {
			continue
		}
		h.echo(item)
	}
}

// echo writes an item to the session whose turn it is.
func (h *Hall) echo(item *Item) {
	t := &h.turn
	if item.Record != 0 {
		if t.label == "" {
			h.flush() // what was written before does not depend on the record
			defer h.flush()
		}
		t.records = append(t.records, item.Record)
	}
	h.message()
	t.inBatch = len(item.Lines) > 1 && item.Need&CapMultiline != 0
	for i, line := range item.Lines {
		if i > 0 && !t.inBatch {
			h.message()
		}
		t.out = line.Append(t.out, t.session.caps)
	}
	t.inBatch = false
}
