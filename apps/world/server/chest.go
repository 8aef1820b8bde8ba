package server

import (
	"context"
	"errors"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/apps/world/store"
)

// A chest is for everybody. What is in it is read when somebody looks into it for the
// first time.
type chest struct {
	id      int64 // in the store
	entity  sim.ID
	pieces  []*piece
	coming  int // items under way into it
	known   bool
	loading bool
	lookers map[*player]struct{} // who has opened it last, and may have gone away since
}

// addChests gives each town a chest, in a store that has none.
func (g *goods) addChests() {
	for n, town := range g.server.world.Ground().Towns() {
		c := store.Chest{ID: int64(n) + 1, X: int64(town.X), Y: int64(town.Y)}
		g.write(store.AddChest{Chest: c}, func(err error) {
			if err != nil {
				g.server.config.Log.Warn("a town has no chest until the next start", "chest", c.ID, "error", err)
				return
			}
			g.place(c)
		})
	}
}

// place shows a chest.
func (g *goods) place(c store.Chest) {
	entity, err := g.server.world.Put(sim.Chest, clamp(c.X), clamp(c.Y))
	if err != nil {
		g.server.config.Log.Warn("a chest has no place in this world", "chest", c.ID, "error", err)
		return
	}
	g.chests[entity] = &chest{id: c.ID, entity: entity, lookers: map[*player]struct{}{}}
}

// reachable returns a chest that is near a player.
func (g *goods) reachable(p *player, entity sim.ID) *chest {
	c := g.chests[entity]
	switch {
	case c == nil:
		p.notice(noticeNothing, "there is no such chest")
	case !g.server.world.Near(p.id, entity, reach):
		p.notice(noticeFar, "that is too far away")
	default:
		return c
	}
	return nil
}

// open shows a player what is in a chest, now and with each change.
func (g *goods) open(p *player, entity sim.ID) {
	c := g.reachable(p, entity)
	if c == nil {
		return
	}
	g.shut(p)
	p.opened = c
	c.lookers[p] = struct{}{}
	if c.known && !c.loading {
		g.showChest(c, p)
		return
	}
	g.loadChest(c)
}

// shut ends what open began.
func (g *goods) shut(p *player) {
	if p.opened != nil {
		delete(p.opened.lookers, p)
		p.opened = nil
	}
}

// loadChest reads what is in a chest. Until then nobody can do anything with it.
func (g *goods) loadChest(c *chest) {
	if c.loading {
		return
	}
	c.loading = true
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
		defer cancel()
		err := g.writer.Flush(ctx)
		var items []store.Item
		if err == nil {
			items, err = g.store.Items(ctx, store.In(c.id))
		}
		_ = g.server.loop.Do(func() { g.loadedChest(c, items, err) }) // an ended loop shows nothing
	}()
}

func (g *goods) loadedChest(c *chest, items []store.Item, err error) {
	c.loading = false
	if err != nil {
		g.server.config.Log.Error("the store does not say what is in a chest; who looks into it was asked to try again", "chest", c.id, "error", err)
		for p := range c.lookers {
			p.notice(noticeBusy, "the store is busy: try again")
		}
		return
	}
	c.known, c.pieces = true, nil
	for _, item := range items {
		c.pieces = append(c.pieces, &piece{Item: item})
	}
	g.showAll(c)
}

// showAll shows a chest to those who look into it and are still near.
func (g *goods) showAll(c *chest) {
	for p := range c.lookers {
		if !g.server.world.Near(p.id, c.entity, reach) {
			g.shut(p)
			continue
		}
		g.showChest(c, p)
	}
}

func (g *goods) showChest(c *chest, p *player) {
	if p.session != nil {
		m := proto.Contents{Chest: uint32(c.entity), Items: itemsOf(c.pieces)}
		p.session.send(m.Append(nil))
	}
}

// usable is reachable for what moves items.
func (g *goods) usable(p *player, entity sim.ID) *chest {
	c := g.reachable(p, entity)
	if c != nil && (!c.known || c.loading) {
		p.notice(noticeBusy, "the chest must be opened first")
		return nil
	}
	return c
}

// putIn moves an item of a player's bag into a chest.
func (g *goods) putIn(p *player, entity sim.ID, number uint32) {
	c := g.usable(p, entity)
	if c == nil {
		return
	}
	item := g.hold(p, number)
	if item == nil {
		return
	}
	if len(c.pieces)+c.coming >= maxBag {
		p.notice(noticeRoom, "the chest is full")
		return
	}
	to := store.In(c.id)
	if g.lose(p, item, store.Move{Item: item.Item, To: to}, func(err error) {
		c.coming--
		if err == nil {
			c.pieces = append(c.pieces, changed(item.Item, to))
			g.showAll(c)
		}
	}) {
		c.coming++
	}
}

// takeOut moves an item of a chest into a player's bag.
func (g *goods) takeOut(p *player, entity sim.ID, number uint32) {
	c := g.usable(p, entity)
	if c == nil {
		return
	}
	item := find(c.pieces, number)
	switch {
	case item == nil:
		p.notice(noticeNothing, "that is not in the chest any more")
		return
	case item.busy:
		p.notice(noticeBusy, "somebody reaches for it just now")
		return
	case p.full():
		p.notice(noticeRoom, "the bag is full")
		return
	}
	g.gain(p, item, func(err error) {
		switch {
		case err == nil:
			c.pieces = without(c.pieces, item)
			g.showAll(c)
		case errors.Is(err, store.ErrStale):
			g.loadChest(c)
		}
	})
}
