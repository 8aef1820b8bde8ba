package server

import (
	"encoding/hex"
	"errors"
	"slices"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/apps/world/store"
)

// tradeRange is how far from each other two may be who trade, in units.
const tradeRange = 8 * sim.Tile

// The results of Dealt (docs/world-protocol.md).
const (
	dealtDone      = 0
	dealtCancelled = 1
	dealtLeft      = 2
	dealtFar       = 3
	dealtGone      = 4
	dealtRoom      = 5
	dealtBusy      = 6
)

// A trade is between two players. Each agrees to a version of what both give; when both
// have agreed to the same one, one write does it all.
type trade struct {
	version  uint32 // one more with each change of what is given
	sides    [2]side
	settling bool // the write is under way: nothing changes any more
	changed  bool // it is on goods.changed
}

// A side is what one of the two gives.
type side struct {
	player *player
	pieces []*piece
	gold   int64
	agreed bool
}

func (t *trade) of(p *player) (own, other *side) {
	if t.sides[0].player == p {
		return &t.sides[0], &t.sides[1]
	}
	return &t.sides[1], &t.sides[0]
}

// ask is what a player says who wants to trade. When the other has said so before, the
// trade begins.
func (g *goods) ask(p *player, with sim.ID) {
	other := g.server.players[with]
	switch {
	case other == nil || other.session == nil:
		p.notice(noticeNobody, "nobody of that number is here")
		return
	case other == p:
		p.notice(noticeTrade, "you cannot trade with yourself")
		return
	case p.trade != nil || other.trade != nil:
		p.notice(noticeTrade, "one of you trades already")
		return
	case !g.server.near(p, other, tradeRange):
		p.notice(noticeFar, "that is too far away")
		return
	}
	if other.asks == p {
		g.beginTrade(other, p)
		return
	}
	if p.asks == other || !p.session.mayTalk("trade") {
		return
	}
	p.asks, other.askedBy = other, p
	m := proto.Asked{By: uint32(p.id)}
	other.session.send(m.Append(nil))
}

// near says whether two players are at most so many units from each other.
func (s *Server) near(a, b *player, length int64) bool {
	ax, ay, _ := s.world.At(a.id)
	bx, by, _ := s.world.At(b.id)
	dx, dy := int64(ax-bx), int64(ay-by)
	return dx*dx+dy*dy <= length*length
}

func (g *goods) beginTrade(a, b *player) {
	t := &trade{version: 1, sides: [2]side{{player: a}, {player: b}}}
	for _, p := range []*player{a, b} {
		p.trade, p.asks, p.askedBy = t, nil, nil
	}
	g.noteDeal(t)
}

// under returns the trade of a player that may still be changed.
func (g *goods) under(p *player) *trade {
	switch {
	case p.trade == nil:
		p.notice(noticeTrade, "nobody trades with you")
	case p.trade.settling:
		p.notice(noticeBusy, "the trade is being done")
	default:
		return p.trade
	}
	return nil
}

// offer is all that a player gives. One that it cannot give changes nothing.
func (g *goods) offer(p *player, m *proto.Offer) {
	t := g.under(p)
	if t == nil {
		return
	}
	if int64(m.Gold) > p.gold {
		p.notice(noticeAmount, "you have not so much gold")
		return
	}
	var pieces []*piece
	for _, o := range m.Items {
		item := find(p.bag, o.Number)
		switch {
		case item == nil:
			p.notice(noticeNothing, "you do not have that")
			return
		case item.busy || slices.Contains(pieces, item):
			p.notice(noticeTrade, "that cannot be offered")
			return
		}
		pieces = append(pieces, item)
	}
	own, _ := t.of(p)
	own.pieces, own.gold = pieces, int64(m.Gold)
	g.anew(t)
}

// anew begins another version, to which nobody has agreed.
func (g *goods) anew(t *trade) {
	t.version++
	t.sides[0].agreed, t.sides[1].agreed = false, false
	g.noteDeal(t)
}

// withdraw takes an item out of what its player offers, because something else happens
// to it.
func (g *goods) withdraw(p *player, item *piece) {
	t := p.trade
	if t == nil || t.settling {
		return
	}
	own, _ := t.of(p)
	if slices.Contains(own.pieces, item) {
		own.pieces = without(own.pieces, item)
		g.anew(t)
	}
}

// confirm agrees to a version, and settles when both have.
func (g *goods) confirm(p *player, version uint32) {
	t := g.under(p)
	if t == nil || t.version != version {
		return
	}
	own, other := t.of(p)
	if len(own.pieces)+len(other.pieces) == 0 && own.gold+other.gold == 0 {
		p.notice(noticeTrade, "nothing is offered")
		return
	}
	own.agreed = true
	if other.agreed {
		g.settle(t)
		return
	}
	g.noteDeal(t)
}

// settle does the trade, by one write.
func (g *goods) settle(t *trade) {
	a, b := &t.sides[0], &t.sides[1]
	switch {
	case !g.server.near(a.player, b.player, tradeRange):
		g.close(t, dealtFar)
		return
	case !a.fits(b) || !b.fits(a):
		g.close(t, dealtRoom)
		return
	case a.player.loading || b.player.loading || a.player.pending >= maxPending || b.player.pending >= maxPending:
		g.close(t, dealtBusy)
		return
	}
	id := newToken()
	t.settling = true
	for _, s := range []*side{a, b} {
		s.player.pending++
		s.hold(true)
	}
	a.player.coming += len(b.pieces)
	b.player.coming += len(a.pieces)
	g.write(store.Trade{ID: hex.EncodeToString(id[:]), A: a.given(), B: b.given()}, func(err error) { g.settled(t, err) })
}

// fits says whether a side has what it gives, and room for what it gets.
func (s *side) fits(other *side) bool {
	p := s.player
	return p.gold >= s.gold && p.gold-s.gold+other.gold+p.earning <= maxPurse &&
		len(p.bag)+p.coming-len(s.pieces)+len(other.pieces) <= maxBag
}

// hold marks what is given.
func (s *side) hold(busy bool) {
	for _, item := range s.pieces {
		item.busy = busy
	}
}

func (s *side) given() store.Offer {
	o := store.Offer{Character: s.player.character, Gold: s.gold}
	for _, item := range s.pieces {
		o.Items = append(o.Items, item.Item)
	}
	return o
}

// settled is the answer of the store.
func (g *goods) settled(t *trade, err error) {
	a, b := &t.sides[0], &t.sides[1]
	for _, s := range []*side{a, b} {
		s.player.pending--
		s.hold(false)
	}
	a.player.coming -= len(b.pieces)
	b.player.coming -= len(a.pieces)
	if err != nil {
		g.unsettled(t, err)
		return
	}
	g.server.counts.trades.Add(1)
	for _, s := range [][2]*side{{a, b}, {b, a}} {
		from, to := s[0].player, s[1].player
		from.gold -= s[0].gold
		to.gold += s[0].gold
		for _, item := range s[0].pieces {
			from.bag = without(from.bag, item)
			to.bag = append(to.bag, changed(item.Item, store.Of(to.character)))
		}
	}
	g.sendBag(a.player)
	g.sendBag(b.player)
	g.close(t, dealtDone)
}

// unsettled ends a trade that has not come to pass, as far as is known.
func (g *goods) unsettled(t *trade, err error) {
	if errors.Is(err, store.ErrBusy) || errors.Is(err, store.ErrClosed) {
		g.close(t, dealtBusy)
		return
	}
	result := uint8(dealtBusy)
	switch {
	case errors.Is(err, store.ErrStale):
		result = dealtGone
	case errors.Is(err, store.ErrGold):
		result = dealtRoom
	}
	g.server.config.Log.Error("a trade failed, or its result is not known; both players are shown what the store has", "player", t.sides[0].player.name, "with", t.sides[1].player.name, "error", err)
	g.close(t, result)
	g.reload(t.sides[0].player)
	g.reload(t.sides[1].player)
}

// cancel says that a player does not want to trade.
func (g *goods) cancel(p *player) {
	if p.trade != nil {
		if g.under(p) != nil {
			g.close(p.trade, dealtCancelled)
		}
		return
	}
	p.asks = nil
	if other := p.askedBy; other != nil && other.asks == p {
		other.asks = nil
		other.notice(noticeTrade, "the other does not want to trade")
	}
	p.askedBy = nil
}

// endTrade ends the trade of a player, unless it is being done: then it is done.
func (g *goods) endTrade(p *player, result uint8) {
	if p.trade != nil && !p.trade.settling {
		g.close(p.trade, result)
	}
}

func (g *goods) close(t *trade, result uint8) {
	m := proto.Dealt{Result: result}
	for i := range t.sides {
		p := t.sides[i].player
		p.trade = nil
		if p.session != nil {
			p.session.send(m.Append(nil))
		}
	}
}

// noteDeal has the state sent to both with the next tick: changes between two ticks go
// out as one.
func (g *goods) noteDeal(t *trade) {
	if !t.changed {
		t.changed = true
		g.changed = append(g.changed, t)
	}
}

func (g *goods) sendDeals() {
	for i, t := range g.changed {
		t.changed, g.changed[i] = false, nil
		for i := range t.sides {
			own, other := &t.sides[i], &t.sides[1-i]
			if own.player.trade != t || own.player.session == nil {
				continue
			}
			m := proto.Deal{Version: t.version, With: uint32(other.player.id), Yours: own.shown(), Theirs: other.shown()}
			own.player.session.send(m.Append(nil))
		}
	}
	g.changed = g.changed[:0]
}

func (s *side) shown() proto.Side {
	m := proto.Side{Gold: uint32(s.gold), Items: itemsOf(s.pieces)}
	if s.agreed {
		m.Agreed = 1
	}
	return m
}
