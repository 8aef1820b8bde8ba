package hall

import (
	"slices"
	"strconv"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// listModes are the channel modes that are lists (group A of CHANMODES).
const listModes = "beI"

// tokens returns what 005 says. All of it is enforced as it is said.
func (h *Hall) tokens() []string {
	c := &h.config
	number := strconv.Itoa
	targets := number(c.Targets)
	tokens := []string{
		"ACCOUNTEXTBAN=" + string(rune(extAccount)),
		"AWAYLEN=" + number(c.Away),
		"BOT=B",
		"CALLERID=g",
		"CASEMAPPING=ascii",
		"CHANLIMIT=#:" + number(c.Channels),
		"CHANMODES=" + listModes + ",k,fl," + h.flags(),
		"CHANNELLEN=" + number(c.ChannelName),
		"CHANTYPES=#",
		"ELIST=CMNTU",
		"EXCEPTS",
		"EXTBAN=," + extTypes,
		"INVEX",
		"KEYLEN=" + number(c.Key),
		"KICKLEN=" + number(c.Kick),
		"MAXLIST=" + listModes + ":" + number(c.List),
		"MODES=" + number(c.Modes),
		"MONITOR=" + number(c.Monitor),
		"NAMELEN=" + number(c.RealName),
		"NETWORK=" + c.Network,
		"NICKLEN=" + number(c.Nick),
		"PREFIX=(qaohv)~&@%+",
		"STATUSMSG=~&@%+",
		"TARGMAX=INVITE:1,JOIN:,KICK:,LIST:,MONITOR:,NAMES:,NOTICE:" + targets + ",PART:,PRIVMSG:" + targets + ",TAGMSG:" + targets + ",WHOIS:1,WHOWAS:1",
		"TOPICLEN=" + number(c.Topic),
		"USERLEN=" + number(c.User),
		"UTF8ONLY",
		"WHOX",
	}
	if c.History.Enabled {
		tokens = append(tokens, "CHATHISTORY="+number(c.History.Page), "MSGREFTYPES=msgid,timestamp")
	}
	if c.Icon != "" {
		tokens = append(tokens, "draft/ICON="+c.Icon)
	}
	if c.FileHost != "" {
		tokens = append(tokens, "soju.im/FILEHOST="+c.FileHost)
	}
	if c.VAPID != "" {
		tokens = append(tokens, "VAPID="+c.VAPID)
	}
	if c.RequireAccount {
		tokens = append(tokens, "draft/ACCOUNTREQUIRED")
	}
	return tokens
}

// flags returns the letters of the modes without parameter that channels can have.
func (h *Hall) flags() string {
	return strings.Map(func(letter rune) rune {
		if letter == 'E' && !h.config.Roleplay || letter == 'H' && !h.config.History.Enabled {
			return -1
		}
		return letter
	}, channelModeLetters)
}

// maxTokens is the most tokens of one 005: a line has 15 parameters, and the nick and
// the text are two of them.
const maxTokens = 13

// tokenLine is how much of the tokens goes into one line.
const tokenLine = 380

// sendTokens sends 005, as a batch where the client wants one (extended-isupport).
func (h *Hall) sendTokens(s *session, tokens []string) {
	if s.has(CapExtendedISupport | CapBatch) {
		h.batch(s, []string{"draft/isupport"}, func(tag string) { h.writeTokens(s, tag, tokens) })
		return
	}
	h.writeTokens(s, "", tokens)
}

func (h *Hall) writeTokens(s *session, tag string, tokens []string) {
	for len(tokens) > 0 {
		n, size := 0, 0
		for n < len(tokens) && n < maxTokens && (n == 0 || size+len(tokens[n]) <= tokenLine) {
			size += len(tokens[n]) + 1
			n++
		}
		params := append([]string{s.name()}, tokens[:n]...)
		h.write(s, tag, &ircmsg.Message{
			Source: h.config.Name, Command: nISupport, Params: append(params, "are supported by this server"), Text: true,
		})
		tokens = tokens[n:]
	}
}

func (h *Hall) isupport(s *session, _ []string, _ *ircmsg.Message) {
	if s.user == nil && !s.has(CapExtendedISupport) {
		h.reply(s, nNotRegistered, "You have not registered")
		return
	}
	h.sendTokens(s, h.isup)
}

// announceTokens sends what has changed in 005.
func (h *Hall) announceTokens(before []string) {
	var changed []string
	for _, token := range before {
		name, _, _ := strings.Cut(token, "=")
		if !slices.ContainsFunc(h.isup, func(t string) bool { return t == name || strings.HasPrefix(t, name+"=") }) {
			changed = append(changed, "-"+name)
		}
	}
	for _, token := range h.isup {
		if !slices.Contains(before, token) {
			changed = append(changed, token)
		}
	}
	if len(changed) == 0 {
		return
	}
	for _, s := range h.sortedSessions() {
		if s.user != nil {
			h.sendTokens(s, changed)
		}
	}
}
