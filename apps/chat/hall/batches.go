package hall

import (
	"strconv"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A batch is one that a client has opened (draft/multiline is the only kind).
type batch struct {
	tag    string
	target string
	label  string
	tags   []ircmsg.Tag
	speech *speech
	size   int
	failed bool // FAIL was sent; what follows is ignored
}

const concatTag = "draft/multiline-concat"

// batchCommand opens or closes a client's batch.
func (h *Hall) batchCommand(s *session, params []string, m *ircmsg.Message) {
	reference := params[0]
	if reference == "" || reference[0] != '+' && reference[0] != '-' || !isReference(reference[1:]) {
		h.fail(s, "BATCH", "INVALID_REFTAG", printable(reference), "Invalid reference tag")
		return
	}
	if reference[0] == '-' {
		h.closeBatch(s, reference[1:])
		return
	}
	kind, target := param(params, 1), param(params, 2)
	if kind != "draft/multiline" || !s.has(CapMultiline|CapBatch) {
		h.fail(s, "BATCH", "UNKNOWN_TYPE", reference[1:], printable(kind), "Unknown batch type")
		return
	}
	if s.rare != nil && s.rare.batch != nil || target == "" || strings.Contains(target, ",") {
		h.fail(s, "BATCH", "MULTILINE_INVALID", "Invalid multiline batch")
		return
	}
	h.turn.deferred = true
	s.extra().batch = &batch{
		tag: strings.Clone(reference[1:]), target: strings.Clone(target), label: h.turn.label,
		tags: m.Tags.ClientOnly(CapMessageTags), speech: &speech{},
	}
}

func isReference(tag string) bool {
	for i := range len(tag) {
		b := tag[i]
		if !('a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || isDigit(b) || b == '-') {
			return false
		}
	}
	return tag != ""
}

// inBatch takes a line that belongs to an open batch, or that must not come while one
// is open, and says whether it did.
func (h *Hall) inBatch(s *session, m *ircmsg.Message, c command) bool {
	if s.rare == nil || s.rare.batch == nil {
		return false
	}
	b := s.rare.batch
	tag, tagged := m.Tags.Get("batch")
	speaks := c.name == "PRIVMSG" || c.name == "NOTICE"
	if !tagged && !speaks {
		return false
	}
	if b.failed {
		return true
	}
	if tag != b.tag || !speaks {
		h.failBatch(s, b, "MULTILINE_INVALID", "Invalid multiline batch")
		return true
	}
	h.addPart(s, b, c.name, m)
	return true
}

func (h *Hall) addPart(s *session, b *batch, command string, m *ircmsg.Message) {
	sp := b.speech
	if m.Param(0) != b.target {
		h.failBatch(s, b, "MULTILINE_INVALID_TARGET", b.target, printable(m.Param(0)), "Invalid multiline target")
		return
	}
	_, concat := m.Tags.Get(concatTag)
	text := m.Param(1)
	b.size += len(text)
	if len(sp.parts) > 0 && !concat {
		b.size++ // the line feed between
	}
	switch {
	case sp.command != "" && sp.command != command:
		h.failBatch(s, b, "MULTILINE_INVALID", "Invalid multiline batch with two commands")
	case concat && text == "":
		h.failBatch(s, b, "MULTILINE_INVALID", "Invalid multiline batch with concatenated blank line")
	case len(sp.parts) == h.config.Multiline:
		h.failBatch(s, b, "MULTILINE_MAX_LINES", strconv.Itoa(h.config.Multiline), "Multiline batch max-lines exceeded")
	case b.size > h.config.MultilineSize:
		h.failBatch(s, b, "MULTILINE_MAX_BYTES", strconv.Itoa(h.config.MultilineSize), "Multiline batch max-bytes exceeded")
	default:
		sp.command = command
		sp.parts = append(sp.parts, part{text: text, concat: concat})
	}
}

// failBatch refuses a batch; the answer has the label of its beginning.
func (h *Hall) failBatch(s *session, b *batch, code string, about ...string) {
	b.failed = true
	b.speech = &speech{}
	h.turn.label, h.turn.deferred = b.label, false
	b.label = ""
	h.fail(s, "BATCH", code, about...)
}

func (h *Hall) closeBatch(s *session, tag string) {
	if s.rare == nil || s.rare.batch == nil || s.rare.batch.tag != tag {
		h.fail(s, "BATCH", "INVALID_REFTAG", tag, "There is no such batch")
		return
	}
	b := s.rare.batch
	s.rare.batch = nil
	defer s.trim()
	if b.failed {
		return
	}
	if h.turn.label == "" {
		h.turn.label = b.label
	}
	sp := b.speech
	if sp.blank() {
		h.fail(s, "BATCH", "MULTILINE_INVALID", "Invalid multiline batch with blank lines only")
		return
	}
	sp.tags = b.tags
	sp.text = sp.parts[0].text
	s.user.active = uint32(h.seconds())
	if h.net != nil {
		h.carryOut(s, []piece{h.speechPiece(s, b.target, sp)})
		return
	}
	h.sayLines(s, b.target, sp)
}

// sayLines says a batch of lines to one target, or has it replace what was said there.
func (h *Hall) sayLines(s *session, target string, sp *speech) {
	if reference, ok := h.edits(s, sp); ok {
		h.edit(s, target, reference, sp)
		return
	}
	h.sayTo(s, target, sp)
}

// blank says whether no part has any text.
func (sp *speech) blank() bool {
	for _, p := range sp.parts {
		if p.text != "" {
			return false
		}
	}
	return true
}

// multilineItems returns a batch for those who know them, and its lines for the others.
func (h *Hall) multilineItems(u *user, target string, sp *speech, tags []ircmsg.Tag) []*Item {
	id := MsgID(h.nextID())
	opening := sp.message(u, target, "")
	opening.Command, opening.Params, opening.Text = "BATCH", []string{"+" + id, "draft/multiline", target}, false
	whole := &Item{Need: CapMultiline | CapBatch, Lines: []*ircmsg.Line{h.line(tags, ircmsg.Body{Message: opening})}}
	single := &Item{Unless: CapMultiline | CapBatch}
	inside := ircmsg.Tag{Key: "batch", Value: id}
	rest := withoutTag(withoutTag(tags, "msgid"), editTag)
	for i, p := range sp.parts {
		body := ircmsg.Body{Message: sp.message(u, target, p.text)}
		within := []ircmsg.Tag{inside}
		if p.concat && i > 0 {
			within = append(within, ircmsg.Tag{Key: concatTag})
		}
		whole.Lines = append(whole.Lines, h.line(within, body))
		if p.text != "" {
			single.Lines = append(single.Lines, h.line(tags, body))
			tags = rest
		}
	}
	closing := ircmsg.Message{Source: h.config.Name, Command: "BATCH", Params: []string{"-" + id}}
	whole.Lines = append(whole.Lines, h.line(nil, ircmsg.Body{Message: closing}))
	whole.Lines, single.Lines = lines(whole.Lines...), lines(single.Lines...)
	h.said = [2]*Item{whole, single}
	return h.said[:]
}

func withoutTag(tags []ircmsg.Tag, key string) []ircmsg.Tag {
	rest := make([]ircmsg.Tag, 0, len(tags))
	for _, t := range tags {
		if t.Key != key {
			rest = append(rest, t)
		}
	}
	return rest
}
