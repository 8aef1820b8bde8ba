package hall

import "slices"

// seenMarker is the marker of when the last session of an account ended. No target of
// a client has a space in it.
const seenMarker = "* seen"

// maxMissed bounds the conversations whose messages a client is sent that came while
// nobody was there; those with the latest messages are.
const maxMissed = 20

// replays says whether a session is sent what it could not ask for itself.
func (h *Hall) replays(s *session) bool {
	return h.config.History.Enabled && h.config.History.Replay > 0 && s.caps&(CapChatHistory|CapPlayback) == 0
}

// noteSeen keeps that the last session of a user has ended now.
func (h *Hall) noteSeen(u *user) {
	if u.account == "" || !h.config.History.Enabled || h.config.History.Replay == 0 {
		return
	}
	if known := h.markersOf(u); known != nil {
		known[seenMarker] = h.now
	}
	h.keepMarker(KeepMarker{Account: u.account, Marker: Marker{Target: seenMarker, At: h.now}})
}

// replayMissed sends a client that cannot ask for history what others have said to its
// account since that had no session.
func (h *Hall) replayMissed(s *session) {
	if !h.replays(s) || s.account() == "" {
		return
	}
	h.withMarkers(s, func() {
		page := Page{Limit: h.config.History.Replay, Latest: true, After: h.markersOf(s.user)[seenMarker] << IDBits}
		h.begin(s, Work{Kind: ListHistories, Account: s.user.account, After: page.After}, func(r *Result) {
			targets := r.Targets[max(0, len(r.Targets)-maxMissed):]
			h.playEach(s, page, targets, func(string) {}) // a client that has asked for nothing needs no errors
		})
	})
}

// withoutOwn leaves out what a user has said, for a client that shows it itself.
func (h *Hall) withoutOwn(s *session, records []Record) []Record {
	if s.has(CapEchoMessage) {
		return records
	}
	return slices.DeleteFunc(records, func(r Record) bool { return h.channels[r.Target] == nil && s.user.wrote(&r) })
}
