package hall

import (
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A piece is a command, or the part of one that concerns one target, with where it is
// carried out: by the owner of a channel, by the node of a user, or, if it has neither,
// here.
type piece struct {
	channel string
	makes   bool // the channel need not be there
	user    *user

	message  *ircmsg.Message
	mentions []mention // by message
	speech   *speech   // of a batch of lines, to the only parameter of message
	do       func(h *Hall, s *session)
}

// run does a piece here.
func (p *piece) run(h *Hall, s *session) {
	h.turn.mentions = p.mentions
	p.do(h, s)
}

// pieces returns what a command is in a network, or nil if all of it is done here.
func (h *Hall) pieces(s *session, c command, m *ircmsg.Message) []piece {
	split := splitters[c.name]
	if split == nil || s.user == nil {
		return nil
	}
	kept := *m
	kept.Command = c.name
	pieces := split(h, s, &kept)
	for i := range pieces {
		p := &pieces[i]
		p.mentions = h.mentionsIn(p.message, h.turn.mentions)
		if p.do == nil {
			own := p.message
			p.do = func(h *Hall, s *session) { c.run(h, s, own.Params, own) }
		}
	}
	return pieces
}

// with returns the message with other parameters, which are not used again by the gate.
func with(m *ircmsg.Message, params ...string) *ircmsg.Message {
	return &ircmsg.Message{Tags: m.Tags, Command: m.Command, Params: params}
}

func whole(m *ircmsg.Message) *ircmsg.Message { return with(m, append([]string(nil), m.Params...)...) }

// splitters say what the commands are in pieces; those that are not named are carried out
// here.
var splitters map[string]func(h *Hall, s *session, m *ircmsg.Message) []piece

func init() {
	splitters = map[string]func(h *Hall, s *session, m *ircmsg.Message) []piece{
		"JOIN":     joinPieces,
		"PART":     partPieces,
		"KICK":     kickPieces,
		"PRIVMSG":  speechPieces,
		"NOTICE":   speechPieces,
		"TAGMSG":   speechPieces,
		"MODE":     channelFirst(1),
		"TOPIC":    channelFirst(2),
		"RENAME":   channelFirst(2),
		"REDACT":   channelFirst(2),
		"RELAYMSG": channelFirst(1),
		"NPC":      channelFirst(1),
		"SCENE":    channelFirst(1),
		"SAMODE":   channelFirst(1),
		"METADATA": metadataPieces,
		"INVITE":   invitePieces,
		"SAJOIN":   sajoinPieces,
		"CHANSERV": servicePieces,
		"CS":       servicePieces,
		"KILL":     userFirst,
		"CHGHOST":  userFirst,
	}
}

// channelFirst is for commands whose first parameter is a channel, where they have at least
// so many.
func channelFirst(least int) func(*Hall, *session, *ircmsg.Message) []piece {
	return func(_ *Hall, _ *session, m *ircmsg.Message) []piece {
		if len(m.Params) < least || !isChannelName(m.Params[0]) {
			return nil
		}
		return []piece{{channel: m.Params[0], message: whole(m)}}
	}
}

func userFirst(h *Hall, _ *session, m *ircmsg.Message) []piece {
	u := h.mentioned(m.Params[0])
	if u == nil || u.net.node == nil {
		return nil
	}
	return []piece{{user: u, message: whole(m)}}
}

func joinPieces(h *Hall, s *session, m *ircmsg.Message) (pieces []piece) {
	if s.has(CapReadMarker) && h.markersOf(s.user) == nil {
		m := whole(m)
		return []piece{{message: m, do: func(h *Hall, s *session) {
			h.withMarkers(s, func() { h.carryOut(s, h.pieces(s, commands["JOIN"], m)) })
		}}}
	}
	if m.Params[0] == "0" {
		for i := len(s.user.channels) - 1; i >= 0; i-- {
			pieces = append(pieces, partPiece(s.user.channels[i].channel.name, m))
		}
		return append(pieces, piece{message: m, do: func(*Hall, *session) {}})
	}
	keys := strings.Split(param(m.Params, 1), ",")
	for i, name := range strings.Split(m.Params[0], ",") {
		if name != "" {
			pieces = append(pieces, piece{channel: name, makes: true, message: with(m, strings.Clone(name), strings.Clone(param(keys, i)))})
		}
	}
	return pieces
}

func partPiece(name string, m *ircmsg.Message, reason ...string) piece {
	own := &ircmsg.Message{Tags: m.Tags, Command: "PART", Params: append([]string{name}, reason...)}
	return piece{channel: name, message: own, do: func(h *Hall, s *session) { h.partCommand(s, own.Params, own) }}
}

func partPieces(_ *Hall, _ *session, m *ircmsg.Message) (pieces []piece) {
	for name := range strings.SplitSeq(m.Params[0], ",") {
		pieces = append(pieces, partPiece(name, m, m.Params[1:]...))
	}
	return pieces
}

func kickPieces(_ *Hall, _ *session, m *ircmsg.Message) (pieces []piece) {
	channels, nicks := strings.Split(m.Params[0], ","), strings.Split(m.Params[1], ",")
	if len(channels) == 1 {
		return []piece{{channel: channels[0], message: whole(m)}}
	}
	if len(channels) != len(nicks) {
		return nil
	}
	for i, nick := range nicks {
		pieces = append(pieces, piece{channel: channels[i], message: with(m, append([]string{channels[i], nick}, m.Params[2:]...)...)})
	}
	return pieces
}

func speechPieces(h *Hall, s *session, m *ircmsg.Message) (pieces []piece) {
	target := param(m.Params, 0)
	if target == "" || m.Command != "TAGMSG" && param(m.Params, 1) == "" {
		return nil
	}
	if m.Command != "TAGMSG" {
		s.user.active = uint32(h.seconds())
	}
	if !strings.Contains(target, ",") {
		return []piece{h.targetPiece(target, whole(m))}
	}
	left := h.config.Targets
	for one := range strings.SplitSeq(target, ",") {
		if left == 0 {
			return append(pieces, piece{message: m, do: func(h *Hall, s *session) {
				if m.Command != "NOTICE" {
					h.reply(s, nTooManyTargets, printable(one), "Too many targets")
				}
			}})
		}
		left--
		if one != "" {
			pieces = append(pieces, h.targetPiece(one, with(m, append([]string{one}, m.Params[1:]...)...)))
		}
	}
	return pieces
}

// targetPiece is something said to one target.
func (h *Hall) targetPiece(target string, m *ircmsg.Message) piece {
	p := piece{message: m}
	name := strings.TrimLeft(target, rankPrefixes)
	switch service := serviceNamed(target); {
	case isChannelName(name):
		p.channel = name
	case service == nil:
		p.user = h.mentioned(target)
	case m.Command == "PRIVMSG" && sameName(service.name, "ChanServ"):
		p.channel = channelIn(strings.Fields(param(m.Params, 1)))
	}
	return p
}

// speechPiece is a batch of lines said to one target.
func (h *Hall) speechPiece(s *session, target string, sp *speech) piece {
	m := &ircmsg.Message{Command: sp.command, Params: []string{target, sp.text}}
	p := h.targetPiece(target, m)
	p.speech, p.mentions = sp, h.mentionsIn(m, h.turn.mentions)
	p.do = func(h *Hall, s *session) { h.sayLines(s, target, sp) }
	return p
}

func metadataPieces(h *Hall, _ *session, m *ircmsg.Message) []piece {
	switch strings.ToUpper(param(m.Params, 1)) {
	case "SET", "CLEAR":
	default:
		return nil
	}
	if isChannelName(m.Params[0]) {
		return []piece{{channel: m.Params[0], message: whole(m)}}
	}
	return userFirst(h, nil, m)
}

func invitePieces(_ *Hall, _ *session, m *ircmsg.Message) []piece {
	if len(m.Params) < 2 {
		return nil
	}
	return []piece{{channel: m.Params[1], message: whole(m)}}
}

func sajoinPieces(h *Hall, _ *session, m *ircmsg.Message) []piece {
	if len(m.Params) > 1 && h.mentioned(m.Params[0]) == nil {
		return nil
	}
	return []piece{{channel: m.Params[len(m.Params)-1], makes: true, message: whole(m)}}
}

// servicePieces are for commands to ChanServ: the first channel that they name says where.
func servicePieces(_ *Hall, _ *session, m *ircmsg.Message) []piece {
	name := channelIn(strings.Fields(strings.Join(m.Params, " ")))
	if name == "" {
		return nil
	}
	return []piece{{channel: name, message: whole(m)}}
}

func channelIn(words []string) string {
	for _, word := range words {
		if isChannelName(word) {
			return word
		}
	}
	return ""
}
