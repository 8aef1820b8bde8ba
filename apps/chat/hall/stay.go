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

// nsAlwaysOn is the setting of NickServ that lets a user outlive its sessions.
func nsAlwaysOn(h *Hall, s *session, value string, answer func(string)) {
	on, ok := onOff(value)
	switch {
	case !ok:
		answer("Syntax: SET ALWAYS-ON TRUE|FALSE")
		return
	case s.account() == "":
		answer("You must be logged in")
		return
	case on && h.staysElsewhere(s.user):
		answer("Another user of your account is always on")
		return
	}
	h.setStays(s.user, on)
	if on {
		answer("You stay here when your connections end")
		return
	}
	answer("You leave when your last connection ends")
}

// persistence is the same setting for clients (draft/persistence). The default is to leave.
func (h *Hall) persistence(s *session, params []string, _ *ircmsg.Message) {
	if s.account() == "" {
		h.fail(s, "PERSISTENCE", "ACCOUNT_REQUIRED", "You must be logged in")
		return
	}
	wanted := strings.ToUpper(param(params, 1))
	switch strings.ToUpper(params[0]) {
	case "GET":
		h.tellPersistence(s)
	case "SET":
		if wanted != "ON" && wanted != "OFF" && wanted != "DEFAULT" {
			h.fail(s, "PERSISTENCE", "INVALID_PARAMETERS", "The settings are ON, OFF and DEFAULT")
			return
		}
		h.setPersistence(s, wanted == "ON")
	default:
		h.fail(s, "PERSISTENCE", "INVALID_PARAMETERS", "The subcommands are GET and SET")
	}
}

func (h *Hall) setPersistence(s *session, on bool) {
	if on && h.staysElsewhere(s.user) {
		h.fail(s, "PERSISTENCE", "INVALID_PARAMETERS", "Another user of your account is always on")
		return
	}
	h.setStays(s.user, on)
	for _, own := range s.user.sessions {
		if own == s || own.has(CapPersistence) {
			h.tellPersistence(own)
		}
	}
}

// staysElsewhere says whether another user of the same account stays.
func (h *Hall) staysElsewhere(u *user) bool { return h.staying[fold(u.account)] != nil && !u.stays() }

// tellPersistence says what the user wants, and what is so.
func (h *Hall) tellPersistence(s *session) {
	if s.user.stays() {
		h.say(s, "PERSISTENCE", "STATUS", "ON", "ON")
		return
	}
	h.say(s, "PERSISTENCE", "STATUS", "DEFAULT", "OFF")
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
