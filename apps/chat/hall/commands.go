package hall

import (
	"maps"
	"slices"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A command is what a client can ask for.
type command struct {
	name   string
	run    func(h *Hall, s *session, params []string, m *ircmsg.Message)
	params int    // the least
	early  bool   // also before the registration is complete
	right  string // of an operator
	cost   int    // how much more than the cheapest, of what Cost counts
	// help is how it is used, and below that what it does; "" is no subject of HELP.
	help string
}

// commands has them by name, in capital letters. It is filled by init, since HELP reads
// it.
var commands = map[string]command{}

func init() {
	for _, c := range []command{
		{name: "ACCEPT", run: (*Hall).accept, params: 1, help: "<nick>,-<nick>,*\nLet somebody's messages through the modes R and g, no more, or show who may."},
		{name: "ADMIN", run: (*Hall).admin, help: "[server]\nShow who runs the server."},
		{name: "AUTHENTICATE", run: (*Hall).authenticate, params: 1, early: true, cost: 4},
		{name: "AWAY", run: (*Hall).awayCommand, early: true, cost: 2, help: "[text]\nSay that you are not there, or there again."},
		{name: "BATCH", run: (*Hall).batchCommand, params: 1},
		{name: "CAP", run: (*Hall).cap, params: 1, early: true},
		{name: "CHANSERV", run: (*Hall).cs},
		{name: "CHATHISTORY", run: (*Hall).chatHistory, params: 1, cost: 5, help: "<LATEST|BEFORE|AFTER|AROUND|BETWEEN> <target> <* or msgid=... or timestamp=...> [...] <limit>\nRead what was said; TARGETS <timestamp=...> <timestamp=...> <limit> shows where."},
		{name: "CHGHOST", run: (*Hall).chghost, params: 3, right: RightSA, help: "<nick> <user> <host>\nChange what others see behind a nick."},
		{name: "CS", run: (*Hall).cs, help: "<command>\nThe same as a message to ChanServ."},
		{name: "DIE", run: (*Hall).die, right: RightDie, help: "\nEnd the server."},
		{name: "DLINE", run: (*Hall).dline, params: 1, right: RightBan, help: "[duration] <address or range> [reason]\nBan an address, for ever or for some time (90, in minutes, or 1d12h)."},
		{name: "HELP", run: (*Hall).help, help: "[subject]\nShow how a command is used, or which there are."},
		{name: "HELPOP", run: (*Hall).help},
		{name: "INFO", run: (*Hall).info, help: "[server]\nShow what the server is."},
		{name: "INVITE", run: (*Hall).invite, help: "[<nick> <#channel>]\nInvite somebody, or show where you are invited."},
		{name: "ISON", run: (*Hall).ison, params: 1, help: "<nick> ...\nShow who of them is there."},
		{name: "ISUPPORT", run: (*Hall).isupport, early: true},
		{name: "JOIN", run: (*Hall).joinCommand, params: 1, cost: 2, help: "<#channel>,... [key,...] or 0\nJoin channels, or leave all."},
		{name: "KICK", run: (*Hall).kick, params: 2, help: "<#channel> <nick>,... [reason]\nPut somebody out of a channel."},
		{name: "KILL", run: (*Hall).kill, params: 1, right: RightKill, help: "<nick> [reason]\nEnd somebody's connections."},
		{name: "KLINE", run: (*Hall).kline, params: 1, right: RightBan, help: "[duration] <nick!user@host> [reason]\nBan a mask, for ever or for some time (90, in minutes, or 1d12h)."},
		{name: "LINKS", run: (*Hall).links, help: "\nShow the servers."},
		{name: "LIST", run: (*Hall).list, cost: 10, help: "[<#channel>,<mask>,!<mask>,<N,>N,C<N,C>N,T<N,T>N]\nShow channels: by name, users, or minutes since creation or topic."},
		{name: "LUSERS", run: (*Hall).lusers, help: "\nShow how many there are."},
		{name: "MARKREAD", run: (*Hall).markRead, help: "<target> [timestamp=...]\nShow or say up to when you have read."},
		{name: "METADATA", run: (*Hall).metadataCommand, early: true, cost: 2, help: "<target or *> <GET|LIST|SET|CLEAR|SUB|UNSUB|SUBS|SYNC> [key] [value]\nShow or change what users and channels say of themselves."},
		{name: "MODE", run: (*Hall).mode, params: 1, help: "<#channel or nick> [modes] [parameters]\nShow or change modes."},
		{name: "MONITOR", run: (*Hall).monitor, params: 1, cost: 2, help: "+ <nick>,... | - <nick>,... | C | L | S\nBe told when somebody comes and goes."},
		{name: "MOTD", run: (*Hall).motd, cost: 2, help: "[server]\nShow the message of the day."},
		{name: "NAMES", run: (*Hall).names, cost: 5, help: "[<#channel>,...]\nShow who is in channels."},
		{name: "NICK", run: (*Hall).nick, early: true, cost: 2, help: "<nick>\nChange your nick."},
		{name: "NICKSERV", run: (*Hall).ns},
		{name: "NOTICE", run: (*Hall).noticeCommand, help: "<target>,... <text>\nSend a message that nobody answers by itself."},
		{name: "NPC", run: (*Hall).npc, params: 3, help: "<#channel> <name> <text>\nLet a character speak in a channel with the mode E."},
		{name: "NS", run: (*Hall).ns, help: "<command>\nThe same as a message to NickServ."},
		{name: "OPER", run: (*Hall).oper, params: 2, cost: 10, help: "<name> <password>\nBecome an operator of the server."},
		{name: "PART", run: (*Hall).partCommand, params: 1, help: "<#channel>,... [reason]\nLeave channels."},
		{name: "PASS", run: (*Hall).pass, params: 1, early: true},
		{name: "PERSISTENCE", run: (*Hall).persistence, params: 1, help: "GET | SET <ON, OFF or DEFAULT>\nShow or say whether you stay here when your connections end."},
		{name: "PING", run: (*Hall).ping, early: true, help: "<token>\nAsk for a sign of life."},
		{name: "PONG", run: (*Hall).pong, early: true},
		{name: "PRIVMSG", run: (*Hall).privmsg, help: "<target>,... <text>\nSend a message to users and channels; @#channel is its operators."},
		{name: "QUIT", run: (*Hall).quitCommand, early: true, help: "[reason]\nGo."},
		{name: "REDACT", run: (*Hall).redact, params: 2, cost: 4, help: "<target> <msgid> [reason]\nDelete a message."},
		{name: "REGISTER", run: (*Hall).registerCommand, params: 3, early: true, cost: 10, help: "<account or *> <email or *> <password>\nMake an account."},
		{name: "REHASH", run: (*Hall).rehash, right: RightRehash, help: "\nRead the configuration again."},
		{name: "RELAYMSG", run: (*Hall).relaymsg, params: 3, help: "<#channel> <nick/network> <text>\nPass on a message from another network."},
		{name: "RENAME", run: (*Hall).rename, params: 2, cost: 10, help: "<#channel> <#name> [reason]\nGive a channel another name."},
		{name: "RESTART", run: (*Hall).restart, right: RightDie, help: "\nEnd the server and begin it again."},
		{name: "SAJOIN", run: (*Hall).sajoin, params: 1, right: RightSA, help: "[nick] <#channel>\nJoin, or let somebody join, whatever the modes say."},
		{name: "SAMODE", run: (*Hall).samode, params: 2, right: RightSA, help: "<#channel> <modes> [parameters]\nChange modes as the founder could."},
		{name: "SCENE", run: (*Hall).scene, params: 2, help: "<#channel> <text>\nDescribe what happens, in a channel with the mode E."},
		{name: "SEARCH", run: (*Hall).search, params: 1, cost: 10, help: "text=...;in=...;from=...;before=...;after=...;limit=...\nFind what was said, by any of these."},
		{name: "SETNAME", run: (*Hall).setname, params: 1, cost: 2, help: "<real name>\nChange your real name."},
		{name: "STATS", run: (*Hall).stats, help: "<letter>\nShow u: uptime; for operators m: commands, k and d: bans, o: operators."},
		{name: "TAGMSG", run: (*Hall).tagmsg, params: 1},
		{name: "TIME", run: (*Hall).timeCommand, help: "[server]\nShow the server's time."},
		{name: "TOPIC", run: (*Hall).topic, params: 1, help: "<#channel> [text]\nShow or change the topic."},
		{name: "UNDLINE", run: (*Hall).unban, params: 1, right: RightBan, help: "<address or range>\nTake a DLINE back."},
		{name: "UNKLINE", run: (*Hall).unban, params: 1, right: RightBan, help: "<nick!user@host>\nTake a KLINE back."},
		{name: "USER", run: (*Hall).user, params: 4, early: true},
		{name: "USERHOST", run: (*Hall).userhost, params: 1, help: "<nick> ...\nShow user names and hosts."},
		{name: "VERIFY", run: (*Hall).verify, params: 2, early: true, cost: 10, help: "<account> <code>\nFinish the registration of an account."},
		{name: "VERSION", run: (*Hall).version, help: "[server]\nShow the server's version."},
		{name: "WALLOPS", run: (*Hall).wallops, params: 1, right: RightWallops, help: "<text>\nWrite to all who have the mode w."},
		{name: "WEBIRC", run: (*Hall).webirc, params: 4, early: true, cost: 4},
		{name: "WHO", run: (*Hall).who, cost: 5, help: "<#channel or mask> [o] [%fields,token]\nShow users."},
		{name: "WEBPUSH", run: (*Hall).webpush, params: 2, cost: 4},
		{name: "WHOIS", run: (*Hall).whois, cost: 2, help: "[server] <nick>\nShow a user."},
		{name: "WHOWAS", run: (*Hall).whowasCommand, cost: 5, help: "<nick> [count]\nShow who had a nick."},
	} {
		commands[c.name] = c
	}
}

// Unknown is what Gate.Commanded calls a command that is none.
const Unknown = "unknown"

// Commands returns the names of all commands, and Unknown, in order.
func Commands() []string {
	return append(slices.Sorted(maps.Keys(commands)), Unknown)
}

// Cost says how much more a command costs than the cheapest, for limits on the rate of
// commands: 1 for most.
func Cost(m *ircmsg.Message) int {
	c, ok := commands[m.Command]
	if !ok {
		c = commands[strings.ToUpper(m.Command)]
	}
	return max(1, c.cost)
}
