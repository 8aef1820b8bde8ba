package hall

import (
	"cmp"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// contextTag marks what is sent with a message of history and not counted.
const contextTag = "draft/chathistory-context"

// play sends records as the history of a target.
func (h *Hall) play(s *session, target string, records []Record) {
	h.inBatchOf(s, []string{"chathistory", target}, func(tag string) {
		for i := range records {
			h.replay(s, tag, &records[i])
		}
	})
}

// inBatchOf sends lines as a batch where the session knows such.
func (h *Hall) inBatchOf(s *session, kind []string, lines func(tag string)) {
	if s.has(CapBatch) {
		h.batch(s, kind, lines)
		return
	}
	lines("")
}

// replay sends one record, with tags before its own.
func (h *Hall) replay(s *session, tags string, r *Record) {
	if r.Reaction && !s.has(CapMessageTags) {
		return
	}
	own := h.tagsOf(s, r)
	parts := r.parts()
	if r.IsEvent() || r.Reaction || len(parts) == 1 {
		h.put(s, joinTags(tags, own), h.messageOf(s, r, r.Text))
		return
	}
	if s.has(CapMultiline | CapBatch) {
		h.replayBatch(s, joinTags(tags, own), r, parts)
		return
	}
	for _, p := range parts {
		if p.text != "" {
			h.put(s, joinTags(tags, own), h.messageOf(s, r, p.text))
			own = dropTag(own, "msgid=")
		}
	}
}

// replayBatch sends a multiline message as a batch within the one of the history.
func (h *Hall) replayBatch(s *session, tags string, r *Record, parts []part) {
	id := MsgID(h.nextID())
	m := h.messageOf(s, r, "")
	h.put(s, tags, &ircmsg.Message{Source: m.Source, Command: "BATCH", Params: []string{"+" + id, "draft/multiline", m.Params[0]}})
	for _, p := range parts {
		tag := "batch=" + id
		if p.concat {
			tag += ";" + concatTag
		}
		h.put(s, tag, h.messageOf(s, r, p.text))
	}
	h.put(s, "", &ircmsg.Message{Source: h.config.Name, Command: "BATCH", Params: []string{"-" + id}})
}

// put writes a line with just these tags.
func (h *Hall) put(s *session, tags string, m *ircmsg.Message) {
	if s.gone {
		return
	}
	m.Tags = ircmsg.Tags(tags)
	if h.turn.session != s {
		h.sendNow(s, m)
		return
	}
	h.message()
	h.turn.out = h.append(h.turn.out, m)
}

// messageOf returns a record as a message with a text.
func (h *Hall) messageOf(s *session, r *Record, text string) *ircmsg.Message {
	m := &ircmsg.Message{Source: r.Source, Command: r.Command}
	switch {
	case r.Reaction || r.Command == "TAGMSG":
		m.Params = []string{h.shownTarget(r)}
	case !r.IsEvent():
		m.Params, m.Text = []string{h.shownTarget(r), text}, true
	case r.Command == "JOIN" && !s.has(CapExtendedJoin):
		m.Params = r.Params[:min(1, len(r.Params))]
	default:
		m.Params, m.Text = r.Params, r.Command != "MODE" && r.Command != "NICK" && len(r.Params) > 1
	}
	return m
}

// tagsOf returns the tags that a record has for a session.
func (h *Hall) tagsOf(s *session, r *Record) string {
	var tags []byte
	add := func(key, value string, need Caps) {
		if s.caps&need == need {
			tags = ircmsg.AppendTag(tags, key, value)
		}
	}
	add("time", stampOf(r.ID), CapServerTime)
	add("msgid", MsgID(cmp.Or(r.As, r.ID)), CapMessageTags)
	if r.Account != "" {
		add("account", r.Account, CapAccountTag)
	}
	if r.Bot {
		add("bot", "", CapMessageTags)
	}
	if r.Edited != 0 {
		add(editedTag, stampOf(r.Edited), CapMessageTags)
	}
	if r.Reaction {
		add(contextTag, "", CapMessageTags)
	}
	for key, value := range ircmsg.Tags(r.Tags).All() {
		need := CapMessageTags
		if key == "draft/relaymsg" {
			need = CapRelayMsg
		}
		add(key, value, need)
	}
	return string(tags)
}

// dropTag returns tags without the one that begins with start.
func dropTag(tags, start string) string {
	var kept []string
	for tag := range strings.SplitSeq(tags, ";") {
		if !strings.HasPrefix(tag, start) {
			kept = append(kept, tag)
		}
	}
	return strings.Join(kept, ";")
}

// replayOnJoin sends a client that cannot ask for history what was said last in a
// channel that it has joined, or that its user was in already. before is the number of
// what it has read itself, if that is not 0. What the client says next waits: its answers
// come after the replay.
func (h *Hall) replayOnJoin(s *session, m *member, before int64) {
	if !h.replays(s) {
		return
	}
	scope, c := h.scopeOf(m), m.channel
	page := &Page{Targets: []string{scope.Target}, After: scope.After, Before: before, Limit: h.config.History.Replay, Latest: true, Rank: scope.Rank}
	s.extra().replays++
	h.background(s, Work{Kind: ReadHistory, Page: page}, func(r *Result) {
		s.rare.replays--
		if m := s.user.in(c); m != nil && len(r.Records) > 0 {
			h.play(s, c.name, fitting(h.withClock(s, r.Records), true))
		}
	})
}

// withClock puts the time before what was said, for a client that knows no tag for it.
func (h *Hall) withClock(s *session, records []Record) []Record {
	if s.has(CapServerTime) {
		return records
	}
	for i := range records {
		r := &records[i]
		if !strings.HasPrefix(r.Text, "\x01") {
			r.Text = "[" + strings.Replace(stampOf(r.ID)[:len("2006-01-02T15:04")], "T", " ", 1) + "] " + r.Text
		}
	}
	return records
}
