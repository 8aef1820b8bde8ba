package hall

import (
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// markers say up to when somebody has read what (draft/read-marker): times in
// milliseconds since 1970, by target in small letters. They never go back.
type markers map[string]int64

// maxMarkers bounds the targets of one account.
const maxMarkers = 2000

// A Marker is up to when an account has read a target.
type Marker struct {
	Target string
	At     int64 // milliseconds since 1970
}

// markersOf returns the markers of a user: of all who are logged in to an account the
// same, and nil before they are loaded.
func (h *Hall) markersOf(u *user) markers {
	if u.account != "" {
		return h.markers[fold(u.account)]
	}
	more := u.extra()
	if more.markers == nil {
		more.markers = markers{}
	}
	return more.markers
}

// loaded takes what was kept of the markers of an account.
func (h *Hall) loaded(account string, r *Result) {
	known := h.markers[fold(account)]
	if known == nil {
		known = markers{}
		h.markers[fold(account)] = known
	}
	for _, m := range r.Markers {
		known[m.Target] = max(known[m.Target], m.At)
	}
}

// withMarkers calls then when the markers of a session's user are loaded.
func (h *Hall) withMarkers(s *session, then func()) {
	if h.markersOf(s.user) != nil {
		then()
		return
	}
	account := s.user.account
	h.begin(s, Work{Kind: ReadMarkers, Account: account}, func(r *Result) {
		h.loaded(account, r)
		then()
	})
}

// forgetMarkers gives the memory back when nobody is logged in to an account any more;
// they are loaded again when somebody is.
func (h *Hall) forgetMarkers(u *user) {
	if u.account != "" {
		delete(h.markers, fold(u.account))
	}
}

// markRead answers MARKREAD.
func (h *Hall) markRead(s *session, params []string, _ *ircmsg.Message) {
	if param(params, 0) == "" {
		h.fail(s, "MARKREAD", "NEED_MORE_PARAMS", "Missing parameters")
		return
	}
	target := printable(strings.Clone(params[0]))
	if len(params) == 1 {
		h.withMarkers(s, func() { h.sendMarker(s, target) })
		return
	}
	value, ok := strings.CutPrefix(params[1], "timestamp=")
	at, valid := ircmsg.ParseTime(value)
	if !ok || !valid {
		h.fail(s, "MARKREAD", "INVALID_PARAMS", target, printable(params[1]), "Invalid timestamp")
		return
	}
	h.withMarkers(s, func() { h.setMarker(s, target, min(at, h.now)) })
}

// setMarker moves a marker forward, and sends it to all sessions of the user.
func (h *Hall) setMarker(s *session, target string, at int64) {
	own, key := h.markersOf(s.user), fold(target)
	old, known := own[key]
	switch {
	case !known && len(own) >= maxMarkers:
		h.fail(s, "MARKREAD", "INTERNAL_ERROR", target, "There are too many read markers")
		return
	case known && at <= old:
		h.sendMarker(s, target)
		return
	}
	own[key] = at
	if s.user.account != "" {
		h.keepMarker(KeepMarker{Account: s.user.account, Marker: Marker{Target: key, At: at}})
	}
	for _, one := range s.user.sessions {
		if one == s || one.has(CapReadMarker) {
			h.sendMarker(one, target)
		}
	}
}

// keepMarker keeps a marker, here and at all other nodes.
func (h *Hall) keepMarker(k KeepMarker) {
	if h.net == nil {
		h.gate.Keep(k)
		return
	}
	o := h.outgoing(fold(k.Account), "m", "marker", k)
	h.gate.Keep(ShareMarker{k, o})
	h.shareChange("marker", o)
}

// gotMarker keeps a marker that another node has moved. It may be an old one.
func (h *Hall) gotMarker(_ *node, k *KeepMarker) {
	h.gate.Keep(CopyMarker{*k})
	known := h.markers[fold(k.Account)]
	if known == nil || k.Marker.At <= known[k.Marker.Target] {
		return
	}
	known[k.Marker.Target] = k.Marker.At
	if k.Marker.Target == seenMarker {
		return
	}
	for _, u := range h.usersOf(k.Account) {
		for _, s := range u.sessions {
			if s.far == nil && s.has(CapReadMarker) {
				h.sendMarker(s, k.Marker.Target)
			}
		}
	}
}

// sendMarker says up to when a target was read.
func (h *Hall) sendMarker(s *session, target string) {
	value := "*"
	if at, ok := h.markersOf(s.user)[fold(target)]; ok {
		value = "timestamp=" + ircmsg.FormatTime(at)
	}
	h.write(s, "", &ircmsg.Message{Source: h.config.Name, Command: "MARKREAD", Params: []string{target, value}})
}

// markOnJoin sends the marker of a channel that a session is in now.
func (h *Hall) markOnJoin(s *session, c *channel) {
	switch {
	case !s.has(CapReadMarker):
	case h.markersOf(s.user) != nil:
		h.sendMarker(s, c.name)
	default: // a session that comes back to its channels: it waits for nothing
		account := s.user.account
		h.background(s, Work{Kind: ReadMarkers, Account: account}, func(r *Result) {
			h.loaded(account, r)
			if s.user.account == account && s.user.in(c) != nil {
				h.sendMarker(s, c.name)
			}
		})
	}
}
