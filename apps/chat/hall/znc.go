package hall

import (
	"math"
	"strconv"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// playback is what bouncers' clients know for history (znc.in/playback): messages to
// *playback, answered by what was said, without events. Times are seconds since 1970,
// with decimals; the first is included, the second is not.
func playback() *service {
	return &service{
		name: "*playback",
		help: []string{"PLAY <target or *> [from [to]]: what was said there, or everywhere, between two times in seconds since 1970"},
		commands: map[string]func(*Hall, *session, []string, func(string)){
			"PLAY": (*Hall).playBack,
		},
	}
}

func (h *Hall) playBack(s *session, params []string, answer func(string)) {
	if !h.config.History.Enabled {
		answer("Nothing is kept here")
		return
	}
	if len(params) == 0 || len(params) > 3 {
		answer("Syntax: PLAY <target or *> [from [to]]")
		return
	}
	page := Page{Limit: h.config.History.Page, Latest: true}
	for i, text := range params[1:] {
		at, ok := parseSeconds(text)
		switch {
		case !ok:
			answer(printable(text) + " is no time: it must be seconds since 1970")
			return
		case i == 0:
			page.After = max(0, at<<IDBits-1)
		default:
			page.Before = max(1, at<<IDBits)
		}
	}
	if params[0] == "*" {
		h.playAll(s, page, answer)
		return
	}
	scope, others, shown := h.readable(s, params[0])
	if scope == nil {
		answer("You cannot read the history of " + printable(params[0]))
		return
	}
	h.playOne(s, page, scope, others, strings.Clone(shown), answer, func() {})
}

// playOne sends a page of one history, then does what is next.
func (h *Hall) playOne(s *session, page Page, scope *Scope, others []string, shown string, answer func(string), next func()) {
	page.Targets = append([]string{scope.Target}, others...)
	page.Rank, page.After = scope.Rank, max(page.After, scope.After)
	h.begin(s, Work{Kind: ReadHistory, Page: &page}, func(r *Result) {
		if !r.OK {
			answer("The history of " + shown + " cannot be read now")
			return
		}
		if records := h.withoutOwn(s, r.Records); len(records) > 0 {
			h.play(s, shown, fitting(h.withClock(s, records), true))
		}
		next()
	})
}

// playAll sends a page of each history of a user that has something.
func (h *Hall) playAll(s *session, page Page, answer func(string)) {
	w := Work{Kind: ListHistories, Account: s.user.account, After: page.After, Before: page.Before}
	for _, m := range s.user.channels {
		w.Scopes = append(w.Scopes, *h.scopeOf(m))
	}
	h.begin(s, w, func(r *Result) {
		if !r.OK {
			answer("The histories cannot be read now")
			return
		}
		h.playEach(s, page, r.Targets, answer)
	})
}

func (h *Hall) playEach(s *session, page Page, targets []Latest, answer func(string)) {
	for len(targets) > 0 {
		shown := h.targetFor(s, targets[0].Target)
		targets = targets[1:]
		if scope, others, _ := h.readable(s, shown); scope != nil {
			h.playOne(s, page, scope, others, shown, answer, func() { h.playEach(s, page, targets, answer) })
			return
		}
	}
}

// parseSeconds reads a time in seconds and returns milliseconds.
func parseSeconds(text string) (int64, bool) {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(seconds) {
		return 0, false
	}
	return int64(min(max(0, math.Round(seconds*1000)), ircmsg.MaxMoment)), true
}
