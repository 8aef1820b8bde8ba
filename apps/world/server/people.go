package server

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/store"
)

// The kinds of Order (docs/world-protocol.md).
const (
	orderMute     = 1
	orderUnmute   = 2
	orderSendAway = 3
	orderBan      = 4
	orderBring    = 5
	orderUnban    = 6
)

const (
	// maxWrongKeys is after how many a session ends.
	maxWrongKeys = 3
	// maxPeople is how many names one answer has.
	maxPeople = 1000
)

// named returns the player of a name, or of one that looks like it.
func (s *Server) named(name string) *player { return s.names[keyOf(name)] }

// whisper lets one player read a text.
func (se *session) whisper(m *proto.Whisper) {
	if !se.mayTalk(m.Text) {
		return
	}
	to := se.server.named(m.To)
	if to == nil || to.session == nil {
		se.notice(noticeNobody, "nobody of that name is here")
		return
	}
	said := proto.Whispered{From: se.player.name, To: to.name, Text: m.Text}
	p := said.Append(nil)
	se.send(p)
	if to.session != se {
		to.session.send(p)
	}
	se.server.counts.whispers.Add(1)
}

// who answers with those who are in the world. An answer is as long as many lines, and
// is asked for as often as one may talk.
func (se *session) who() {
	if !se.mayTalk("who") {
		return
	}
	s := se.server
	m := proto.Online{Count: uint32(len(s.players))}
	for _, p := range s.players {
		if len(m.People) == maxPeople {
			break
		}
		m.People = append(m.People, proto.Person{Name: p.name, Level: s.world.Level(p.id)})
	}
	slices.SortFunc(m.People, func(a, b proto.Person) int { return cmp.Compare(a.Name, b.Name) })
	se.send(m.Append(nil))
}

// moderate gives the rights of a moderator to who knows a key. Keys are compared by
// their hashes, so that the time it takes says nothing of them.
func (se *session) moderate(key []byte) {
	name, ok := se.server.config.Moderators[sha256.Sum256(key)]
	if ok {
		se.rights = name
		se.server.config.Log.Info("moderator", "moderator", name, "player", se.player.name, "from", se.conn.RemoteAddr())
		se.notice(noticeModerator, "you are a moderator now")
		return
	}
	se.server.config.Log.Warn("wrong key of a moderator", "player", se.player.name, "from", se.conn.RemoteAddr())
	if se.wrong++; se.wrong >= maxWrongKeys {
		se.refuse(refusedMessage, "no moderator has that key")
		return
	}
	se.notice(noticeNoRight, "no moderator has that key")
}

// order does what a moderator wants, and logs who it was.
func (se *session) order(m *proto.Order) {
	s := se.server
	if se.rights == "" {
		se.notice(noticeNoRight, "that is for moderators")
		return
	}
	key := keyOf(m.Name)
	p := s.names[key]
	switch {
	case p == nil && (m.Kind == orderMute || m.Kind == orderSendAway || m.Kind == orderBring):
		se.notice(noticeNobody, "nobody of that name is here")
		return
	case m.Kind == orderUnban && s.barred[key]:
		se.notice(noticeBarred, "the configuration bans that name: take it out of people.banned")
		return
	}
	s.counts.orders.Add(1)
	s.config.Log.Info("order", "moderator", se.rights, "kind", m.Kind, "player", m.Name, "x", m.X, "y", m.Y)
	switch m.Kind {
	case orderMute:
		s.muted[key] = true
		se.judge("mute", key, store.Mute{Key: key, Until: forever})
	case orderUnmute:
		delete(s.muted, key)
		se.judge("unmute", key, store.Mute{Key: key})
	case orderBan:
		s.banned[key] = true
		se.judge("ban", key, store.Ban{Key: key, Until: forever})
		s.sendAway(p, refusedBanned, "a moderator has banned you")
	case orderUnban:
		delete(s.banned, key)
		se.judge("unban", key, store.Ban{Key: key})
	case orderSendAway:
		s.sendAway(p, refusedSentAway, "a moderator has sent you away")
		se.notice(noticeDone, "done")
	case orderBring:
		_ = s.world.Place(p.id, int32(m.X), int32(m.Y)) // it is there
		se.notice(noticeDone, "done")
	}
}

// judge lets an order last, where something does, and says then whether it does.
func (se *session) judge(action, key string, verdict store.Write) {
	k := se.server.keeper
	if k == nil {
		se.notice(noticeDone, "done")
		return
	}
	k.judge(se.rights, action, key, verdict, func(err error) {
		switch {
		case errors.Is(err, store.ErrNotFound) && action == "ban":
			se.notice(noticeBrief, "the ban holds until the world ends: nobody of that name has an account; people.banned is for longer")
		case err != nil && !errors.Is(err, store.ErrNotFound):
			se.notice(noticeBusy, "it holds until the world ends: the store has not taken it; try again")
		default:
			se.notice(noticeDone, "done")
		}
	})
}

// sendAway takes a player out of the world, and ends its session.
func (s *Server) sendAway(p *player, reason uint8, text string) {
	if p == nil {
		return
	}
	se := p.session
	if se != nil {
		se.player, p.session = nil, nil
	}
	s.leave(p)
	if se != nil {
		se.refuse(reason, text)
	}
}

// give makes gold or items for a player. That it was done, and by whom, lasts before.
func (se *session) give(m *proto.Give) {
	s := se.server
	if se.rights == "" {
		se.notice(noticeNoRight, "that is for moderators")
		return
	}
	p := s.named(m.Name)
	switch {
	case p == nil:
		se.notice(noticeNobody, "nobody of that name is here")
		return
	case m.Amount < 1:
		se.notice(noticeAmount, "an amount is at least 1")
		return
	case m.Kind == 0 && p.gold+p.earning+int64(m.Amount) > maxPurse, m.Kind != 0 && int64(m.Amount) > int64(maxBag-len(p.bag)-p.coming):
		se.notice(noticeRoom, "there is no room for so much")
		return
	}
	s.counts.orders.Add(1)
	s.config.Log.Info("order", "moderator", se.rights, "kind", "give", "player", p.name, "item", m.Kind, "amount", m.Amount)
	s.goods.give(p, m.Kind, int64(m.Amount), se.rights, func(err error) {
		if err != nil {
			se.notice(noticeBusy, "the store is busy: try again")
			return
		}
		se.notice(noticeDone, "done")
	})
}
