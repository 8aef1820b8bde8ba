package hall

import (
	"strconv"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// Caps is a set of the capabilities that a client has asked for.
type Caps = ircmsg.Caps

// The capabilities. The comment says which lines they change.
const (
	CapAccountNotify    Caps = 1 << iota // ACCOUNT
	CapAccountTag                        // the tag account
	CapAwayNotify                        // AWAY
	CapBatch                             // BATCH
	CapCapNotify                         // CAP NEW, CAP DEL
	CapChannelRename                     // RENAME instead of PART and JOIN
	CapChghost                           // CHGHOST instead of QUIT and JOIN
	CapEchoMessage                       // own messages
	CapExtendedISupport                  // 005 before registration, and in a batch
	CapExtendedJoin                      // JOIN with account and real name
	CapExtendedMonitor                   // AWAY, ACCOUNT, CHGHOST, SETNAME of monitored users
	CapInviteNotify                      // INVITE of others
	CapLabeledResponse                   // the tag label
	CapMessageTags                       // the tags msgid and bot, client-only tags, TAGMSG
	CapMultiPrefix                       // all prefixes in 353 and 352
	CapMultiline                         // multiline batches as such
	CapNoImplicitNames                   // no 353 after JOIN
	CapOperTag                           // the tag draft/oper
	CapPersistence                       // PERSISTENCE
	CapPreAway                           // AWAY before registration
	CapRelayMsg                          // the tag draft/relaymsg
	CapSASL
	CapServerTime // the tag time
	CapSetname    // SETNAME
	CapStandardReplies
	CapSTS
	CapUserhostInNames     // nick!user@host in 353
	CapAccountRegistration // REGISTER
	CapWhoAmI              // SETNAME at the end of the registration
	CapChatHistory         // no history without being asked
	CapRedaction           // REDACT
	CapReadMarker          // MARKREAD
	CapSearch              // SEARCH
	CapEditing             // +draft/edit
	CapEventPlayback       // JOIN and the like in history, and reactions
	CapWebPush
	CapSojuWebPush // the older name of the same
	CapMetadata    // METADATA
	CapPlayback    // no history without being asked: a bouncer's client asks *playback
	CapMetadata3   // the same, which announces by numerics
)

// A capability is what CAP says of one.
type capability struct {
	name string
	bit  Caps
	// value is what CAP LS 302 says behind "=", or nil.
	value func(*Hall, *session) string
	// offered says whether it is advertised; nil is always.
	offered func(*Hall, *session) bool
}

// capabilities are in the order in which CAP LS has them.
var capabilities = []capability{
	{name: "account-notify", bit: CapAccountNotify},
	{name: "account-tag", bit: CapAccountTag},
	{name: "away-notify", bit: CapAwayNotify},
	{name: "batch", bit: CapBatch},
	{name: "cap-notify", bit: CapCapNotify},
	{name: "chghost", bit: CapChghost},
	{name: "echo-message", bit: CapEchoMessage},
	{name: "extended-join", bit: CapExtendedJoin},
	{name: "extended-monitor", bit: CapExtendedMonitor},
	{name: "invite-notify", bit: CapInviteNotify},
	{name: "labeled-response", bit: CapLabeledResponse},
	{name: "message-tags", bit: CapMessageTags},
	{name: "multi-prefix", bit: CapMultiPrefix},
	{name: "no-implicit-names", bit: CapNoImplicitNames},
	{name: "sasl", bit: CapSASL, value: mechanisms, offered: hasMechanisms},
	{name: "server-time", bit: CapServerTime},
	{name: "setname", bit: CapSetname},
	{name: "standard-replies", bit: CapStandardReplies},
	{name: "sts", bit: CapSTS, value: stsPolicy, offered: hasSTS},
	{name: "userhost-in-names", bit: CapUserhostInNames},
	{name: "draft/account-registration", bit: CapAccountRegistration, value: registrationKeys, offered: canRegister},
	{name: "draft/chathistory", bit: CapChatHistory, offered: remembers},
	{name: "draft/event-playback", bit: CapEventPlayback, offered: remembers},
	{name: "draft/message-editing", bit: CapEditing, offered: remembers},
	{name: "draft/read-marker", bit: CapReadMarker, offered: remembers},
	{name: "soju.im/search", bit: CapSearch, offered: remembers},
	{name: "draft/message-redaction", bit: CapRedaction, offered: remembers},
	{name: "draft/channel-rename", bit: CapChannelRename},
	{name: "draft/extended-isupport", bit: CapExtendedISupport},
	{name: "draft/metadata-2", bit: CapMetadata, value: metadata2Limits},
	{name: "draft/metadata-3", bit: CapMetadata3, value: metadata3Limits},
	{name: "draft/multiline", bit: CapMultiline, value: multilineLimits},
	{name: "draft/oper-tag", bit: CapOperTag},
	{name: "draft/persistence", bit: CapPersistence, offered: hasMechanisms},
	{name: "draft/pre-away", bit: CapPreAway},
	{name: "draft/relaymsg", bit: CapRelayMsg, value: relayMsgSeparators, offered: canRelay},
	{name: "draft/webpush", bit: CapWebPush, offered: canPush},
	{name: "draft/whoami", bit: CapWhoAmI},
	{name: "soju.im/webpush", bit: CapSojuWebPush, offered: canPush},
	{name: "znc.in/playback", bit: CapPlayback, offered: remembers},
}

func mechanisms(h *Hall, s *session) string { return strings.Join(h.mechanismsFor(s), ",") }

func hasMechanisms(h *Hall, _ *session) bool { return len(h.config.Mechanisms) > 0 }

func stsPolicy(h *Hall, _ *session) string { return h.config.STS }

func hasSTS(h *Hall, _ *session) bool { return h.config.STS != "" }

func canRegister(h *Hall, _ *session) bool { return h.config.Registration.Enabled }

func registrationKeys(h *Hall, _ *session) string {
	var keys []string
	if h.config.Registration.BeforeConnect {
		keys = append(keys, "before-connect")
	}
	if h.config.Registration.Email {
		keys = append(keys, "email-required")
	}
	return strings.Join(keys, ",")
}

func canPush(h *Hall, _ *session) bool { return h.config.VAPID != "" }

func multilineLimits(h *Hall, _ *session) string {
	return "max-bytes=" + strconv.Itoa(h.config.MultilineSize) + ",max-lines=" + strconv.Itoa(h.config.Multiline)
}

func remembers(h *Hall, _ *session) bool { return h.config.History.Enabled }

func canRelay(h *Hall, _ *session) bool { return h.config.RelayMsg }

// relaySeparator is in the nick of every message of RELAYMSG, and in no other.
const relaySeparator = "/"

func relayMsgSeparators(*Hall, *session) string { return relaySeparator }

func (c *capability) isOffered(h *Hall, s *session) bool { return c.offered == nil || c.offered(h, s) }

// text returns the capability as CAP LS has it.
func (c *capability) text(h *Hall, s *session, values bool) string {
	if !values || c.value == nil {
		return c.name
	}
	value := c.value(h, s)
	if value == "" {
		return c.name
	}
	return c.name + "=" + value
}

func capabilityNamed(name string) *capability {
	for i := range capabilities {
		if capabilities[i].name == name {
			return &capabilities[i]
		}
	}
	return nil
}

// offers returns what CAP LS would say, for a comparison.
func (h *Hall) offers() map[string]string {
	offers := map[string]string{}
	for i := range capabilities {
		if c := &capabilities[i]; c.isOffered(h, nil) {
			offers[c.name] = c.text(h, nil, true)
		}
	}
	return offers
}

// announceCapabilities sends CAP NEW and CAP DEL for what has changed since before.
func (h *Hall) announceCapabilities(before map[string]string) {
	var gained, lost []string
	var dropped Caps
	for i := range capabilities {
		c := &capabilities[i]
		old, had := before[c.name]
		has := c.isOffered(h, nil)
		switch {
		case had && !has:
			lost = append(lost, c.name)
			dropped |= c.bit
		case has && old != c.text(h, nil, true):
			gained = append(gained, c.text(h, nil, true))
		}
	}
	if len(gained)+len(lost) == 0 {
		return
	}
	for _, s := range h.sortedSessions() {
		if s.caps&dropped != 0 {
			h.setCaps(s, s.caps&^dropped)
		}
		if !s.v302 && !s.has(CapCapNotify) {
			continue
		}
		if len(lost) > 0 {
			h.say(s, "CAP", s.name(), "DEL", strings.Join(lost, " "))
		}
		if len(gained) > 0 {
			h.say(s, "CAP", s.name(), "NEW", strings.Join(gained, " "))
		}
	}
}

func (h *Hall) setCaps(s *session, caps Caps) {
	if caps == s.caps {
		return
	}
	if h.turn.session == s && h.turn.label == "" {
		h.flush()
	}
	s.caps = caps
	h.gate.Caps(s.id, caps)
	if s.user != nil {
		h.noteUser(s.user)
	}
}

// capLine is how much of a list of capabilities goes into one line.
const capLine = 400

func (h *Hall) cap(s *session, params []string, _ *ircmsg.Message) {
	switch strings.ToUpper(params[0]) {
	case "LS":
		h.capLS(s, param(params, 1))
	case "LIST":
		h.capList(s, s.caps)
	case "REQ":
		h.capReq(s, param(params, 1))
	case "END":
		if r := s.registering(); r != nil {
			r.negotiating = false
			h.register(s)
		}
	default:
		h.reply(s, nInvalidCapCmd, printable(params[0]), "Invalid CAP command")
	}
}

func (h *Hall) capLS(s *session, version string) {
	if r := s.registering(); r != nil {
		r.negotiating = true
	}
	number, _ := strconv.Atoi(version)
	values := number >= 302
	if values {
		s.v302 = true
		h.setCaps(s, s.caps|CapCapNotify)
	}
	var words []string
	for i := range capabilities {
		if c := &capabilities[i]; c.isOffered(h, s) {
			words = append(words, c.text(h, s, values))
		}
	}
	h.capReply(s, "LS", words, values)
}

func (h *Hall) capList(s *session, caps Caps) {
	var words []string
	for i := range capabilities {
		if c := &capabilities[i]; caps&c.bit != 0 {
			words = append(words, c.name)
		}
	}
	h.capReply(s, "LIST", words, s.v302)
}

// capReply sends words in as many lines as it takes. A client before version 302 gets
// one line, with as many words as it has room for.
func (h *Hall) capReply(s *session, command string, words []string, several bool) {
	room := capLine
	if !several {
		room = 510 - len(":"+h.config.Name+" CAP "+s.name()+" "+command+" :")
	}
	for {
		n, size := 0, 0
		for n < len(words) && size+len(words[n]) <= room {
			size += len(words[n]) + 1
			n++
		}
		text := strings.Join(words[:n], " ")
		if n == len(words) || !several {
			h.say(s, "CAP", s.name(), command, text)
			return
		}
		h.say(s, "CAP", s.name(), command, "*", text)
		words = words[n:]
	}
}

func (h *Hall) capReq(s *session, list string) {
	if r := s.registering(); r != nil {
		r.negotiating = true
	}
	caps := s.caps
	for word := range strings.FieldsSeq(list) {
		name, remove := strings.CutPrefix(word, "-")
		c := capabilityNamed(name)
		if c == nil || !c.isOffered(h, s) || c.bit == CapSTS || remove && c.bit == CapCapNotify && s.v302 {
			h.say(s, "CAP", s.name(), "NAK", list)
			return
		}
		if remove {
			caps &^= c.bit
			continue
		}
		caps |= c.bit
	}
	h.say(s, "CAP", s.name(), "ACK", list)
	h.setCaps(s, caps)
}
