package hall

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

func (h *Hall) motd(s *session, params []string, _ *ircmsg.Message) {
	if !h.isHere(s, param(params, 0)) {
		return
	}
	if len(h.config.MOTD) == 0 {
		h.reply(s, nNoMOTD, "MOTD File is missing")
		return
	}
	h.reply(s, nMOTDStart, "- "+h.config.Name+" Message of the day - ")
	for _, line := range h.config.MOTD {
		h.reply(s, nMOTD, "- "+line)
	}
	h.reply(s, nEndOfMOTD, "End of /MOTD command.")
}

// isHere says whether a command for a server is for this one, and replies if not. A user
// stands for the server that they are on.
func (h *Hall) isHere(s *session, server string) bool {
	if server == "" || h.isServer(server) || h.find(server) != nil {
		return true
	}
	h.reply(s, nNoSuchServer, printable(server), "No such server")
	return false
}

func (h *Hall) version(s *session, params []string, _ *ircmsg.Message) {
	if !h.isHere(s, param(params, 0)) {
		return
	}
	h.reply(s, nVersion, strings.ReplaceAll(h.config.Version, " ", "-"), h.config.Name, "https://github.com/epinet/epi")
	h.sendTokens(s, h.isup)
}

func (h *Hall) admin(s *session, params []string, _ *ircmsg.Message) {
	if !h.isHere(s, param(params, 0)) {
		return
	}
	a := h.config.Admin
	h.reply(s, nAdminMe, h.config.Name, "Administrative info")
	h.reply(s, nAdminLoc1, a[0])
	h.reply(s, nAdminLoc2, a[1])
	h.reply(s, nAdminEmail, a[2])
}

func (h *Hall) info(s *session, params []string, _ *ircmsg.Message) {
	if !h.isHere(s, param(params, 0)) {
		return
	}
	h.reply(s, nInfo, "epi chat, a server for IRC on the event-driven network engine epi")
	h.reply(s, nInfo, "Version "+h.config.Version)
	h.reply(s, nInfo, "On-line since "+rfcTime(h.started/1000))
	h.reply(s, nEndOfInfo, "End of INFO list")
}

func (h *Hall) timeCommand(s *session, params []string, _ *ircmsg.Message) {
	if h.isHere(s, param(params, 0)) {
		h.reply(s, nTime, h.config.Name, rfcTime(h.seconds()))
	}
}

// rfcTime writes a time for people.
func rfcTime(seconds int64) string {
	return time.Unix(seconds, 0).UTC().Format("Mon Jan 02 2006 15:04:05 UTC")
}

func (h *Hall) lusers(s *session, _ []string, _ *ircmsg.Message) {
	all, number := len(h.everyone), strconv.Itoa
	h.reply(s, nLUserClient, "There are "+number(all-h.hidden)+" users and "+number(h.hidden)+" invisible on 1 servers")
	h.reply(s, nLUserOp, number(h.opers), "IRC Operators online")
	h.reply(s, nLUserUnknown, number(h.strange), "unregistered connections")
	h.reply(s, nLUserChannels, number(len(h.channels)), "channels formed")
	h.reply(s, nLUserMe, "I have "+number(all)+" clients and 0 servers")
	h.reply(s, nLocalUsers, number(all), number(h.most), "Current local users "+number(all)+", max "+number(h.most))
	h.reply(s, nGlobalUsers, number(all), number(h.most), "Current global users "+number(all)+", max "+number(h.most))
}

// links names the servers: this one, for operators. Others learn nothing of how the
// network is made.
func (h *Hall) links(s *session, _ []string, _ *ircmsg.Message) {
	if s.user.may(h, RightSee) {
		h.reply(s, nLinks, h.config.Name, h.config.Name, "0 "+h.config.Description)
	}
	h.reply(s, nEndOfLinks, "*", "End of /LINKS list")
}

func (h *Hall) stats(s *session, params []string, _ *ircmsg.Message) {
	letter := param(params, 0)
	if letter == "" {
		h.reply(s, nNeedMoreParams, "STATS", "Not enough parameters")
		return
	}
	letter = string([]rune(letter)[:1])
	switch letter {
	case "u":
		h.statsUptime(s)
	case "m", "k", "d", "o":
		if !s.user.may(h, RightSee) {
			h.reply(s, nNoPrivileges, "Permission Denied - You're not an IRC operator")
			break
		}
		h.statsSecret(s, letter)
	}
	h.reply(s, nEndOfStats, printable(letter), "End of /STATS report")
}

func (h *Hall) statsUptime(s *session) {
	up := (h.now - h.started) / 1000
	text := "Server Up " + strconv.FormatInt(up/86400, 10) + " days " + time.Unix(up%86400, 0).UTC().Format("15:04:05")
	h.reply(s, nStatsUptime, text)
}

func (h *Hall) statsSecret(s *session, letter string) {
	switch letter {
	case "m":
		names := make([]string, 0, len(h.used))
		for name := range h.used {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			h.reply(s, nStatsCommands, name, strconv.Itoa(h.used[name]))
		}
	case "o":
		names := make([]string, 0, len(h.config.Operators))
		for name := range h.config.Operators {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			h.reply(s, nStatsOLine, "O", "*@*", "*", name)
		}
	default:
		h.listBans(s, letter == "d")
	}
}

func (h *Hall) help(s *session, params []string, _ *ircmsg.Message) {
	subject := param(params, 0)
	if subject == "" {
		h.helpIndex(s)
		return
	}
	c, ok := commands[strings.ToUpper(subject)]
	if !ok || c.help == "" {
		h.reply(s, nHelpNotFound, printable(subject), "There is no help on that; HELP lists the subjects")
		return
	}
	usage, text, _ := strings.Cut(c.help, "\n")
	h.reply(s, nHelpStart, c.name, strings.TrimSpace(c.name+" "+usage))
	for line := range strings.SplitSeq(text, "\n") {
		h.reply(s, nHelpTxt, c.name, line)
	}
	h.reply(s, nEndOfHelp, c.name, "End of /HELP")
}

// helpLine is how many subjects stand in one line of the index.
const helpLine = 10

func (h *Hall) helpIndex(s *session) {
	var names []string
	for name, c := range commands {
		if c.help != "" && (c.right == "" || s.user.may(h, c.right)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	h.reply(s, nHelpStart, "*", "Subjects, for HELP <subject>:")
	for some := range slices.Chunk(names, helpLine) {
		h.reply(s, nHelpTxt, "*", strings.Join(some, " "))
	}
	h.reply(s, nEndOfHelp, "*", "End of /HELP")
}
