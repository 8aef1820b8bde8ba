package hall

import "strings"

// The types of extended masks (EXTBAN): a letter and a colon before what it matches.
const (
	extAccount  = 'a' // a:mask of an account
	extMute     = 'm' // m:mask, which may be extended itself: may join and not speak
	extRealname = 'r' // r:mask of the real name
	extChannel  = 'j' // j:#channel that the user is in
	extTypes    = "ajmr"
)

// extended splits an extended mask. The type is 0 for any other mask.
func extended(mask string) (kind byte, rest string) {
	if len(mask) > 2 && mask[1] == ':' && strings.IndexByte(extTypes, mask[0]) >= 0 {
		return mask[0], mask[2:]
	}
	return 0, mask
}

// fullMask returns a mask in the form nick!user@host, or with the type of an extended
// one. What is missing matches all.
func fullMask(mask string) string {
	switch kind, rest := extended(mask); kind {
	case 0:
		return fullSource(mask)
	case extMute:
		return "m:" + fullMask(rest)
	}
	return mask
}

func fullSource(mask string) string {
	nick, userHost, hasUser := strings.Cut(mask, "!")
	if !hasUser {
		if user, host, ok := strings.Cut(mask, "@"); ok {
			return "*!" + orStar(user) + "@" + orStar(host)
		}
		return mask + "!*@*"
	}
	user, host, _ := strings.Cut(userHost, "@")
	return orStar(nick) + "!" + orStar(user) + "@" + orStar(host)
}

func orStar(s string) string {
	if s == "" {
		return "*"
	}
	return s
}

// covers says whether a mask that is not a mute matches a user.
func (h *Hall) covers(mask string, u *user) bool {
	switch kind, rest := extended(mask); kind {
	case extMute:
		return false
	case extAccount:
		return u.account != "" && matches(rest, u.account)
	case extRealname:
		return matches(rest, u.realname)
	case extChannel:
		c := h.findChannel(rest)
		return c != nil && u.in(c) != nil
	}
	if matches(mask, u.source) {
		return true
	}
	origin := u.home
	return origin.Address != "" && origin.Address != u.host() && matches(mask, u.nick()+"!"+u.name()+"@"+origin.Address)
}

// coversSpeech is covers for who wants to speak: mutes count.
func (h *Hall) coversSpeech(mask string, u *user) bool {
	if kind, rest := extended(mask); kind == extMute {
		return h.covers(rest, u)
	}
	return h.covers(mask, u)
}

// bannedFrom says whether a user is kept out of a channel.
func (h *Hall) bannedFrom(c *channel, u *user) bool {
	return h.listedIn(c.bans, u, h.covers) && !h.listedIn(c.excepts, u, h.covers)
}

// muted says whether the lists keep a member from speaking. What was found is kept
// until the lists or the user change.
func (h *Hall) muted(m *member) bool {
	if len(m.channel.bans) == 0 {
		return false
	}
	if m.judged != m.channel.judgement {
		m.judged = m.channel.judgement
		m.muted = h.listedIn(m.channel.bans, m.user, h.coversSpeech) && !h.listedIn(m.channel.excepts, m.user, h.coversSpeech)
	}
	return m.muted
}

func (h *Hall) listedIn(list []listed, u *user, covers func(string, *user) bool) bool {
	for i := range list {
		if covers(list[i].mask, u) {
			return true
		}
	}
	return false
}
