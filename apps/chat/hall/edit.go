package hall

import (
	"slices"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// editTag has on a PRIVMSG the msgid of the message whose text it replaces, and editedTag
// marks a message of history that has another text than it had at first
// (draft/message-editing: see docs/chat-protocol.md).
const (
	editTag   = "+draft/edit"
	editedTag = "draft/edited"
)

// edits says whether something is to replace the text of an earlier message, and takes
// the tag off that says so: no other server has looked whether its sender may.
func (h *Hall) edits(s *session, sp *speech) (reference string, ok bool) {
	at := slices.IndexFunc(sp.tags, func(t ircmsg.Tag) bool { return t.Key == editTag })
	if at < 0 {
		return "", false
	}
	reference = sp.tags[at].Value
	sp.tags = slices.Delete(slices.Clone(sp.tags), at, at+1)
	return reference, s.has(CapEditing) && h.config.History.Enabled && sp.command == "PRIVMSG"
}

// edit replaces the text of a message that the same user has said, in the history and for
// those who have seen it: they get a message with the new text that names the old one.
func (h *Hall) edit(s *session, target, reference string, sp *speech) {
	target = strings.Clone(target)
	h.change(s, "EDIT", target, reference, sp, func(r *Record) {
		c := h.channels[r.Target]
		if r.IsEvent() || r.Reaction || !s.user.wrote(r) || c != nil && h.silenced(c, s.user, sp) != "" {
			h.fail(s, "EDIT", "EDIT_FORBIDDEN", printable(target), reference, "You are not authorised to edit this message")
			return
		}
		edited := *r
		edited.Text, edited.Joined, edited.Edited = sp.text, nil, h.nextID()
		edited.addParts(sp.parts)
		h.alter(s, r.Target, Work{Kind: EditRecord, Record: &edited}, func(result *Result) {
			if !result.OK {
				h.fail(s, "EDIT", "EDIT_FAILED", printable(target), reference, "The message could not be edited; try again later")
				return
			}
			sp.id, sp.command = edited.Edited, r.Command
			sp.tags = append(sp.tags, ircmsg.Tag{Key: editTag, Value: reference, Need: CapMessageTags})
			h.notifyReaders(s, r, target, true, h.numbered(s.user, h.shownTarget(r), sp)...)
		})
	})
}
