package hall

import (
	"slices"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// stays says whether a user outlives its sessions.
func (u *user) stays() bool { return u.more != nil && u.more.stays }

// setStays says whether a user outlives its sessions. The caller sees to it that
// somebody without sessions does not stay on.
func (h *Hall) setStays(u *user, stays bool) {
	if u.stays() == stays {
		return
	}
	u.extra().stays = stays
	h.noteUser(u)
	if stays {
		h.staying[fold(u.account)] = u
		h.touchUser(u)
		return
	}
	delete(h.staying, fold(u.account))
	h.gate.Keep(DropUser{u.account})
}

// left is what becomes of a user that has lost its last session: who stays is away.
func (h *Hall) left(u *user, reason string) {
	h.noteSeen(u)
	if !u.stays() {
		h.quit(u, reason)
		return
	}
	u.modes &^= modeSecure
	if u.away() == "" {
		h.setAway(u, "*")
	}
}

// remove ends a user with all sessions, also one that stays.
func (h *Hall) removeUser(u *user, reason string, end func(*session)) {
	h.setStays(u, false)
	if len(u.sessions) == 0 {
		h.quit(u, reason)
		return
	}
	for _, own := range slices.Clone(u.sessions) {
		end(own)
	}
}

// AlwaysOn says whose users outlive their sessions: of accounts, never of others.
type AlwaysOn string

// The policies.
const (
	OptIn     AlwaysOn = "opt-in"    // of those that want it; the zero value is the same
	OptOut    AlwaysOn = "opt-out"   // of all but those that do not want it
	Mandatory AlwaysOn = "mandatory" // of all
)

// staysByDefault says whether the user of an account that has not chosen stays.
func (h *Hall) staysByDefault() bool {
	return h.config.AlwaysOn == OptOut || h.config.AlwaysOn == Mandatory
}

// stayIfWanted lets a user stay that has an account now, if that has not chosen to leave.
func (h *Hall) stayIfWanted(u *user) {
	leaves := h.leaving[fold(u.account)] && h.config.AlwaysOn != Mandatory
	if u.account != "" && h.staysByDefault() && !leaves && !h.staysElsewhere(u) {
		h.setStays(u, true)
	}
}

// wish is what an account has chosen.
type wish uint8

const (
	byDefault wish = iota
	toStay
	toLeave
)

// choose does what an account wants of its user. It returns why that cannot be.
func (h *Hall) choose(u *user, w wish) (refusal string) {
	stays := w == toStay || w == byDefault && h.staysByDefault()
	switch {
	case !stays && h.config.AlwaysOn == Mandatory:
		return "Accounts are always on here"
	case stays && h.staysElsewhere(u):
		return "Another user of your account is always on" + atNode(h.elsewhere(u.account))
	}
	account := fold(u.account)
	h.setStays(u, stays)
	switch {
	case w == toLeave && h.staysByDefault():
		h.leaving[account] = true
		h.gate.Keep(KeepUser{KeptUser{Account: u.account, Leaves: true}})
	case h.leaving[account]:
		delete(h.leaving, account)
		if !stays {
			h.gate.Keep(DropUser{u.account})
		}
	}
	return ""
}

// nsAlwaysOn is the setting of NickServ that lets a user outlive its sessions.
func nsAlwaysOn(h *Hall, s *session, value string, answer func(string)) {
	on, ok := onOff(value)
	w := toLeave
	switch {
	case strings.EqualFold(value, "DEFAULT"):
		w = byDefault
	case !ok:
		answer("Syntax: SET ALWAYS-ON TRUE|FALSE|DEFAULT")
		return
	case on:
		w = toStay
	}
	if s.account() == "" {
		answer("You must be logged in")
		return
	}
	if refusal := h.choose(s.user, w); refusal != "" {
		answer(refusal)
		return
	}
	if s.user.stays() {
		answer("You stay here when your connections end")
		return
	}
	answer("You leave when your last connection ends")
}

// persistence is the same setting for clients (draft/persistence).
func (h *Hall) persistence(s *session, params []string, _ *ircmsg.Message) {
	if s.account() == "" {
		h.fail(s, "PERSISTENCE", "ACCOUNT_REQUIRED", "You must be logged in")
		return
	}
	switch strings.ToUpper(params[0]) {
	case "GET":
		h.sendPersistence(s)
	case "SET":
		w, ok := map[string]wish{"ON": toStay, "OFF": toLeave, "DEFAULT": byDefault}[strings.ToUpper(param(params, 1))]
		if !ok {
			h.fail(s, "PERSISTENCE", "INVALID_PARAMETERS", "The settings are ON, OFF and DEFAULT")
			return
		}
		h.setPersistence(s, w)
	default:
		h.fail(s, "PERSISTENCE", "INVALID_PARAMETERS", "The subcommands are GET and SET")
	}
}

func (h *Hall) setPersistence(s *session, w wish) {
	if refusal := h.choose(s.user, w); refusal != "" {
		h.fail(s, "PERSISTENCE", "INVALID_PARAMETERS", refusal)
		return
	}
	for _, own := range s.user.sessions {
		if own == s || own.has(CapPersistence) {
			h.sendPersistence(own)
		}
	}
}

// staysElsewhere says whether another user of the same account stays, at any node.
func (h *Hall) staysElsewhere(u *user) bool {
	if u.stays() {
		return false
	}
	other := h.elsewhere(u.account)
	return h.staying[fold(u.account)] != nil || other != nil && other.net.stays
}

// sendPersistence says what the account wants, and what is so. Who stays as all do has
// not chosen, as far as is known.
func (h *Hall) sendPersistence(s *session) {
	wanted, effective := "DEFAULT", "OFF"
	switch {
	case s.user.stays():
		effective = "ON"
		if !h.staysByDefault() {
			wanted = "ON"
		}
	case h.leaving[fold(s.user.account)]:
		wanted = "OFF"
	}
	h.say(s, "PERSISTENCE", "STATUS", wanted, effective)
}

// onOff reads a setting.
func onOff(value string) (on, ok bool) {
	switch strings.ToUpper(value) {
	case "ON", "TRUE", "YES", "1":
		return true, true
	case "OFF", "FALSE", "NO", "0":
		return false, true
	}
	return false, false
}
