package hall

import (
	"slices"
	"strconv"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// monitorLine is how much of a list of nicks goes into one line.
const monitorLine = 350

func (h *Hall) monitor(s *session, params []string, _ *ircmsg.Message) {
	switch targets := param(params, 1); strings.ToUpper(params[0]) {
	case "+":
		h.watch(s, strings.Split(targets, ","))
	case "-":
		for nick := range strings.SplitSeq(targets, ",") {
			h.unwatch(s, nick)
		}
	case "C":
		h.unwatchAll(s)
		s.trim()
	case "L":
		h.nickLines(s, nMonList, s.monitored())
		h.reply(s, nEndOfMonList, "End of MONITOR list")
	case "S":
		h.sendPresence(s, s.monitored())
	default:
		h.reply(s, nNeedMoreParams, "MONITOR", "Not enough parameters")
	}
}

func (s *session) monitored() []string {
	if s.rare == nil {
		return nil
	}
	return s.rare.monitored
}

func (h *Hall) watch(s *session, nicks []string) {
	var added []string
	for i, nick := range nicks {
		if nick == "" || !h.validNick(nick) {
			if nick != "" {
				h.reply(s, nErroneusNickname, printable(nick), "Erroneous nickname")
			}
			continue
		}
		if h.isWatching(s, nick) {
			continue
		}
		if len(s.monitored()) >= h.config.Monitor {
			h.sendPresence(s, added)
			for _, some := range joined(nicks[i:]) {
				h.reply(s, nMonListFull, strconv.Itoa(h.config.Monitor), some, "Monitor list is full")
			}
			return
		}
		nick = strings.Clone(nick)
		s.extra().monitored = append(s.extra().monitored, nick)
		key := h.nickKey(nick)
		h.watchers[key] = append(h.watchers[key], s)
		added = append(added, nick)
	}
	h.sendPresence(s, added)
}

func (h *Hall) isWatching(s *session, nick string) bool {
	key := h.nickKey(nick)
	return slices.ContainsFunc(s.monitored(), func(m string) bool { return h.nickKey(m) == key })
}

func (h *Hall) unwatch(s *session, nick string) {
	key := h.nickKey(nick)
	at := slices.IndexFunc(s.monitored(), func(m string) bool { return h.nickKey(m) == key })
	if at < 0 {
		return
	}
	s.rare.monitored = slices.Delete(s.rare.monitored, at, at+1)
	h.dropWatcher(s, key)
	s.trim()
}

func (h *Hall) unwatchAll(s *session) {
	for _, nick := range s.monitored() {
		h.dropWatcher(s, h.nickKey(nick))
	}
	if s.rare != nil {
		s.rare.monitored = nil
	}
}

func (h *Hall) dropWatcher(s *session, key string) {
	left := without(h.watchers[key], s)
	if len(left) == 0 {
		delete(h.watchers, key)
		return
	}
	h.watchers[key] = left
}

// sendPresence says who of some nicks is there and who is not.
func (h *Hall) sendPresence(s *session, nicks []string) {
	var here, gone []string
	for _, nick := range nicks {
		if u := h.find(nick); u != nil {
			here = append(here, u.source)
			continue
		}
		gone = append(gone, nick)
	}
	h.nickLines(s, nMonOnline, here)
	h.nickLines(s, nMonOffline, gone)
}

// nickLines sends nicks with commas between them, in as many lines as it takes.
func (h *Hall) nickLines(s *session, numeric string, nicks []string) {
	for _, some := range joined(nicks) {
		h.reply(s, numeric, some)
	}
}

// joined returns nicks with commas between them, in parts that fit into a line.
func joined(nicks []string) (parts []string) {
	for len(nicks) > 0 {
		n, size := 0, 0
		for n < len(nicks) && (n == 0 || size+len(nicks[n]) < monitorLine) {
			size += len(nicks[n]) + 1
			n++
		}
		parts = append(parts, strings.Join(nicks[:n], ","))
		nicks = nicks[n:]
	}
	return parts
}

// notifyWatchers says to all who watch a nick that it is there, or is not.
func (h *Hall) notifyWatchers(key, numeric, who string) {
	for _, s := range h.watchers[key] {
		h.reply(s, numeric, who)
	}
}
