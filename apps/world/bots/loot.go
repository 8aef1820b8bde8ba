package bots

import (
	"maps"
	"slices"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/replica"
)

// A Hoard is what a bot that loots has by the server's last word, and what it has asked for
// since: after a crash of the server the first lasts, and the second may have come to pass.
type Hoard struct {
	Name  string
	Token []byte // for Config.Tokens
	Gold  uint32
	Items map[uint32]uint8 // kinds by number

	Dropping uint32 // the item that it wanted to put down; 0: none
	Picking  bool   // it wanted to pick something up
	// With, Gives and Gets are of the trade to which it has agreed; With is empty when
	// there is none.
	With        string
	Gives, Gets []uint32

	// Trail has where it was, tick by tick, up to a few seconds ago.
	Trail []Spot
}

// A Spot is where a bot was in a tick, in units of the world.
type Spot struct {
	Tick uint32
	X, Y uint16
}

const (
	// maxTrail is how many ticks of a trail are kept.
	maxTrail = 200
	// reachUnits and tradeUnits are how far a player reaches, and trades.
	reachUnits, tradeUnits = 2 * 64, 8 * 64
	// firstItem and firstOwn bound the kinds of entities that are items.
	firstItem, firstOwn = 9, 16
	// patience is for how many seconds a bot waits for others to answer.
	patience = 2
)

// A looter is what a bot that loots remembers.
type looter struct {
	Hoard
	deal    *proto.Deal // the trade under way, as the server showed it last; nil: none
	offered bool
	waits   uint32 // the tick up to which it waits for somebody else
}

// answer takes what is said about things, and counts what has come to pass.
func (b *bot) answer(m proto.Message) {
	l, h := b.loots, b.herd
	switch m := m.(type) {
	case *proto.Bag:
		h.bag(l, m)
	case *proto.Notice:
		if m.Code >= 10 {
			l.Picking, l.Dropping = false, 0
		}
	case *proto.Asked:
		if l.deal == nil && !l.busy() {
			b.send(&proto.Trade{With: m.By})
			l.waits = b.replica.Tick + uint32(h.hz)*patience
		}
	case *proto.Deal:
		b.dealt(m)
	case *proto.Dealt:
		if m.Result == 0 {
			h.trades++
		}
		l.deal, l.offered, l.With, l.Gives, l.Gets, l.waits = nil, false, "", nil, nil, 0
	}
}

func (l *looter) busy() bool { return l.Picking || l.Dropping != 0 }

func (h *herd) bag(l *looter, m *proto.Bag) {
	items := map[uint32]uint8{}
	for _, item := range m.Items {
		if items[item.Number] != 0 {
			h.wrong++
			h.fault("%s: item %d is twice in the bag", l.Name, item.Number)
		}
		items[item.Number] = item.Kind
		if l.Items[item.Number] == 0 && l.Picking && l.With == "" {
			l.Picking = false
			h.picked++
		}
	}
	if l.Dropping != 0 && items[l.Dropping] == 0 {
		l.Dropping = 0
		h.dropped++
	}
	l.Items, l.Gold = items, m.Gold
}

// dealt offers something when a trade begins, and agrees when the other has offered, too.
func (b *bot) dealt(m *proto.Deal) {
	l := b.loots
	if l.deal == nil {
		l.waits = b.replica.Tick + uint32(b.herd.hz)*patience
	}
	d := *m
	d.Yours.Items, d.Theirs.Items = slices.Clone(m.Yours.Items), slices.Clone(m.Theirs.Items)
	l.deal = &d
	if !l.offered {
		l.offered = true
		o := &proto.Offer{}
		for number := range l.Items {
			if o.Items = append(o.Items, proto.Offered{Number: number}); len(o.Items) == 2 {
				break
			}
		}
		b.send(o)
		return
	}
	other := b.replica.Entities[m.With]
	if m.Yours.Agreed == 1 || m.Version < 3 || other == nil || len(m.Yours.Items)+len(m.Theirs.Items) == 0 {
		return
	}
	l.With, l.Gives, l.Gets = other.Name, numbers(m.Yours.Items), numbers(m.Theirs.Items)
	b.send(&proto.Confirm{Version: m.Version})
}

func numbers(items []proto.Item) (all []uint32) {
	for _, item := range items {
		all = append(all, item.Number)
	}
	return all
}

// loot is one tick of a bot that loots: it picks up, puts down, and asks for trades.
func (b *bot) loot() {
	l, own := b.loots, &b.replica.Own
	l.Trail = append(l.Trail, Spot{b.replica.Tick, own.X, own.Y})
	if len(l.Trail) > maxTrail {
		l.Trail = l.Trail[len(l.Trail)-maxTrail/2:]
	}
	if int32(b.replica.Tick-l.waits) < 0 || l.busy() || own.Health == 0 {
		return
	}
	if l.deal != nil {
		b.send(&proto.Cancel{})
		l.waits = b.replica.Tick + uint32(b.herd.hz)*patience
		return
	}
	switch r := b.herd.random; r.IntN(8) {
	case 0, 1:
		if thing := b.nearest(reachUnits, isItem); thing != 0 {
			l.Picking = true
			b.send(&proto.PickUp{Thing: thing})
		}
	case 2:
		for number := range l.Items {
			l.Dropping = number
			b.send(&proto.PutDown{Item: number})
			break
		}
	case 3:
		if other := b.nearest(tradeUnits, isPlayer); other != 0 {
			b.send(&proto.Trade{With: other})
			l.waits = b.replica.Tick + uint32(b.herd.hz)/2
		}
	}
}

func isItem(e *replica.Entity) bool   { return e.Kind >= firstItem && e.Kind < firstOwn }
func isPlayer(e *replica.Entity) bool { return e.Kind == 0 }
func isAlive(e *replica.Entity) bool  { return e.Health > 0 }

// nearest returns the nearest entity of a sort within a distance, 0 for none.
func (b *bot) nearest(within int64, sort func(*replica.Entity) bool) (found uint32) {
	own, least := &b.replica.Own, within*within
	for id, e := range b.replica.Entities {
		x, y := b.replica.At(e)
		dx, dy := int64(x)-int64(own.X), int64(y)-int64(own.Y)
		if d := dx*dx + dy*dy; id != b.replica.Self && sort(e) && d <= least {
			found, least = id, d
		}
	}
	return found
}

// hoards are what the bots that loot have.
func (h *herd) hoards() (all []Hoard) {
	for _, b := range h.bots {
		if b.loots == nil || !b.entered {
			continue
		}
		hoard := b.loots.Hoard
		hoard.Items, hoard.Trail = maps.Clone(hoard.Items), slices.Clone(hoard.Trail)
		all = append(all, hoard)
	}
	return all
}
