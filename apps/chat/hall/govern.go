package hall

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// What administrators do in the page, which is no client. Times are in milliseconds
// since 1970, as in an Event.

// ErrGovern is wrapped by what a hall has against what an administrator wants.
var ErrGovern = errors.New("not done")

// Why an administrator cannot do something.
var (
	errMask         = fmt.Errorf("%w: that is no mask, and no range of addresses", ErrGovern)
	errEverybody    = fmt.Errorf("%w: that would ban everybody", ErrGovern)
	errNoBan        = fmt.Errorf("%w: there is no such ban", ErrGovern)
	errUnregistered = fmt.Errorf("%w: no such channel is registered", ErrGovern)
	errDays         = fmt.Errorf("%w: messages are kept for 0 to %d days", ErrGovern, maxKeepDays)
)

// Bans returns the server's bans that hold now.
func (h *Hall) Bans(at int64) []KeptBan {
	h.now = max(h.now, at)
	h.dropOldBans()
	bans := make([]KeptBan, 0, len(h.bans))
	for i := range h.bans {
		bans = append(bans, h.bans[i].kept())
	}
	return bans
}

// Ban keeps from the server whom a mask of nick!user@host, or a range of addresses,
// covers, for so many seconds, 0 for good, and ends their sessions. It returns the ban
// as it holds.
func (h *Hall) Ban(at int64, by, mask, reason string, seconds int64) (KeptBan, error) {
	h.now = max(h.now, at)
	ban := serverBan{mask: strings.Clone(fullSource(mask)), reason: orWord(reason, noReason), by: by, set: h.seconds()}
	if prefix, ok := addresses(mask); ok {
		ban.mask, ban.prefix = prefix.String(), prefix
	}
	if seconds > 0 {
		ban.ends = h.seconds() + seconds
	}
	switch {
	case !validMask(ban.mask) || strings.ContainsAny(reason, "\r\n\x00"):
		return KeptBan{}, errMask
	case ban.coversEverybody():
		return KeptBan{}, errEverybody
	}
	h.setBan(ban)
	h.enforce(&ban, func(*user) bool { return true })
	h.conclude()
	return ban.kept(), nil
}

// Unban ends a ban.
func (h *Hall) Unban(mask string) error {
	if !h.dropBan(mask) {
		return errNoBan
	}
	h.conclude()
	return nil
}

// Expel ends all users of an account.
func (h *Hall) Expel(at int64, account, reason string) {
	h.now = max(h.now, at)
	h.expelAccount(account, reason)
	h.conclude()
}

// Note says something to all users of an account: a standard reply NOTE with a code, or
// a NOTICE to clients that do not know these.
func (h *Hall) Note(at int64, account, code, text string) {
	h.now = max(h.now, at)
	for _, u := range h.usersOf(account) {
		for _, own := range u.sessions {
			h.noteTo(own, code, text)
		}
	}
}

func (h *Hall) noteTo(s *session, code, text string) {
	if s.has(CapStandardReplies) {
		h.say(s, "NOTE", "*", code, text)
		return
	}
	h.notice(s, text)
}

// KeepFor sets for how many days a registered channel keeps messages; 0 is as the
// server does.
func (h *Hall) KeepFor(channel string, days int) error {
	c := h.findChannel(channel)
	switch {
	case c == nil || c.registered == nil:
		return errUnregistered
	case days < 0 || days > maxKeepDays:
		return errDays
	}
	c.registered.days = days
	h.touchChannel(c)
	h.conclude()
	return nil
}

// setBan replaces what there is of the same mask.
func (h *Hall) setBan(ban serverBan) {
	h.dropOldBans()
	h.addBan(ban)
	h.gate.Keep(KeepBan{ban.kept()})
	if h.net != nil {
		h.net.postAll("ban", ban.kept(), nil)
	}
}

func (h *Hall) addBan(ban serverBan) {
	h.bans = slices.DeleteFunc(h.bans, func(b serverBan) bool { return b.mask == ban.mask })
	h.bans = append(h.bans, ban)
}

// dropBan ends the bans of a mask, and reports whether there was one.
func (h *Hall) dropBan(mask string) bool {
	if h.net != nil {
		h.net.postAll("unban", endedBan{mask}, nil)
	}
	removed := h.removeBan(mask)
	for _, b := range removed {
		h.gate.Keep(DropBan{b.mask})
	}
	return len(removed) > 0
}

func (h *Hall) removeBan(mask string) (removed []serverBan) {
	h.bans = slices.DeleteFunc(h.bans, func(b serverBan) bool {
		is := sameName(b.mask, mask)
		if is {
			removed = append(removed, b)
		}
		return is
	})
	return removed
}
