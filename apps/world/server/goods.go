package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/proto/table"
	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/apps/world/store"
)

// The kinds of items (docs/world-protocol.md). One that lies is an entity of its kind
// and sim.Chest.
const (
	Potion uint8 = iota + 1
	Bread
	Pelt
	Pearl
)

// heals is what using an item of a kind gives back, in per cent of health.
var heals = map[uint8]uint8{Potion: 50, Bread: 20}

// A Loot is what a monster leaves.
type Loot struct {
	Gold  int64 // for who felled it: 1 to so much; 0: none
	Items []Drop
}

// A Drop is an item that a monster may leave on the ground.
type Drop struct {
	Kind   uint8
	Chance int // per cent
}

// DefaultLoot is by kind of monster.
var DefaultLoot = map[uint8]Loot{
	sim.Slime: {Gold: 3, Items: []Drop{{Bread, 30}, {Potion, 10}}},
	sim.Wolf:  {Gold: 6, Items: []Drop{{Pelt, 50}, {Potion, 15}}},
	sim.Ghost: {Gold: 12, Items: []Drop{{Pearl, 40}, {Potion, 30}}},
}

const (
	// maxBag is how many items a player may have, and a chest.
	maxBag = table.MaxBag
	// maxPurse is the gold that a player may have: a message has no more.
	maxPurse = math.MaxUint32
	// maxPending is how many changes of a player may wait for the store, so that the
	// queue is there for all.
	maxPending = 16
	// reach is how far a player reaches for things, in units.
	reach = 2 * sim.Tile
	// decayPerTick bounds how many old things are taken away in a tick.
	decayPerTick = 4
)

// A piece is an item as the store has it.
type piece struct {
	store.Item
	busy bool // a write about it is under way
}

// changed is what an item is after a move.
func changed(i store.Item, to store.Owner) *piece {
	i.Owner = to
	i.Version++
	return &piece{Item: i}
}

// A goods is who has what. It shows what the store has committed and nothing else: a
// change is asked for by a write, and is made here when that lasts. It belongs to the
// loop.
type goods struct {
	server *Server
	store  store.Store
	writer *store.Writer // for anybody

	items   int64 // the highest number of an item that was used
	people  int64 // so, too, of a character
	lies    map[sim.ID]*piece
	old     []litter // what lies, the oldest in front
	chests  map[sim.ID]*chest
	changed []*trade // their Deal goes out with the next tick
	waiting stored   // until the first tick
}

// A litter is taken away when it still lies in a tick.
type litter struct {
	id  sim.ID
	due uint64
}

// stored is what the store had at the start.
type stored struct {
	ground []store.Item
	chests []store.Chest
}

func newGoods(s *Server, kept store.Store, failed func(store.Save, error)) (*goods, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	g := &goods{server: s, store: kept, lies: map[sim.ID]*piece{}, chests: map[sim.ID]*chest{}}
	if err := g.claim(ctx); err != nil {
		return nil, err
	}
	if err := g.read(ctx); err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	g.writer = store.NewWriter(kept, failed)
	return g, nil
}

// claimTimeout is how long another server's end is waited for.
const claimTimeout = 3 * time.Second

// claim makes this the only server of its store.
func (g *goods) claim(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	return g.store.Claim(ctx)
}

func (g *goods) read(ctx context.Context) (err error) {
	if g.people, g.items, err = g.store.Last(ctx); err != nil {
		return err
	}
	if g.waiting.ground, err = g.store.Ground(ctx); err != nil {
		return err
	}
	g.waiting.chests, err = g.store.Chests(ctx)
	return err
}

// begin lays down what the store had. It is part of the loop's first task, so that the
// log of inputs has it.
func (g *goods) begin() {
	unknown := 0
	for _, item := range g.waiting.ground {
		if item.Kind > table.MaxKind || item.ID > math.MaxUint32 || g.lay(item) != nil {
			unknown++
		}
	}
	if unknown > 0 {
		g.server.config.Log.Warn("stored items that cannot lie in this world stay in the store", "items", unknown)
	}
	for _, c := range g.waiting.chests {
		g.place(c)
	}
	if len(g.waiting.chests) == 0 && g.server.config.Game == nil {
		g.addChests()
	}
	g.waiting = stored{}
}

// lay shows an item that the ground has.
func (g *goods) lay(item store.Item) error {
	x, y := item.Owner.Place()
	id, err := g.server.world.Put(sim.Chest+uint8(item.Kind), int32(x), int32(y))
	if err != nil {
		return err
	}
	g.lies[id] = &piece{Item: item}
	if ticks := g.server.ticks(g.server.config.Litter); ticks > 0 {
		g.old = append(g.old, litter{id, g.server.world.Tick() + ticks})
	}
	return nil
}

// vanish shows it no more.
func (g *goods) vanish(id sim.ID) {
	_ = g.server.world.Take(id) // it is there
	delete(g.lies, id)
}

// tick is called before each step of the world.
func (g *goods) tick() {
	for _, f := range g.server.world.Felled() {
		g.drop(f)
	}
	g.sendDeals()
	now := g.server.world.Tick()
	for n := 0; n < decayPerTick && len(g.old) > 0 && g.old[0].due <= now; n++ {
		g.decay(g.old[0])
		g.old = g.old[1:]
	}
	if len(g.old) == 0 {
		g.old = nil
	}
}

// decay takes away what has lain for too long.
func (g *goods) decay(l litter) {
	lies := g.lies[l.id]
	if lies == nil {
		return
	}
	again := litter{l.id, g.server.world.Tick() + g.server.ticks(g.server.config.Litter)}
	if lies.busy {
		g.old = append(g.old, again)
		return
	}
	lies.busy = true
	g.write(store.Destroy{Item: lies.Item}, func(err error) {
		lies.busy = false
		if err == nil || errors.Is(err, store.ErrStale) {
			g.vanish(l.id)
			return
		}
		g.old = append(g.old, again)
	})
}

// drop is what a monster leaves.
func (g *goods) drop(f sim.Felled) {
	loot := g.server.config.Loot[f.Kind]
	if p := g.server.players[f.By]; p != nil && loot.Gold > 0 {
		g.earn(p, 1+rand.Int64N(loot.Gold), func(err error) {
			if err != nil {
				g.server.config.Log.Warn("a player did not get the gold of what it felled", "player", p.name, "error", err)
			}
		})
	}
	for _, d := range loot.Items {
		if rand.IntN(100) < d.Chance && g.server.world.Room(f.At.X, f.At.Y) {
			g.make(d.Kind, store.On(uint16(f.At.X), uint16(f.At.Y)), func(item store.Item, err error) {
				if err == nil {
					err = g.lay(item)
				}
				if err != nil {
					g.server.config.Log.Warn("what a monster has left is not there", "kind", d.Kind, "error", err)
				}
			})
		}
	}
}

// make makes an item; done is called on the loop.
func (g *goods) make(kind uint8, owner store.Owner, done func(store.Item, error)) {
	if g.items >= math.MaxUint32 {
		done(store.Item{}, errNumbers)
		return
	}
	g.items++
	item := store.Item{ID: g.items, Kind: int64(kind), Version: 1, Owner: owner}
	g.write(store.Make{Item: item}, func(err error) { done(item, err) })
}

var errNumbers = errors.New("a world makes at most 2^32 - 1 items: there are no numbers left for more")

// earn gives gold to a player; what has no room in the purse is not made. done is called
// on the loop.
func (g *goods) earn(p *player, amount int64, done func(error)) {
	if amount = min(amount, maxPurse-p.gold-p.earning); amount <= 0 {
		done(nil)
		return
	}
	p.earning += amount
	g.write(store.MakeGold{Character: p.character, Amount: amount}, func(err error) {
		p.earning -= amount
		if err == nil {
			p.gold += amount
			g.sendBag(p)
		}
		done(err)
	})
}

// give makes gold, of kind 0, or items for a player, when the deed of a moderator lasts.
// done is called on the loop, once.
func (g *goods) give(p *player, kind uint8, amount int64, moderator string, done func(error)) {
	deed := store.Deed{At: time.Now(), Actor: moderator, Action: "give", Subject: p.account, Text: fmt.Sprintf("%d of kind %d", amount, kind)}
	if kind != 0 {
		p.coming += int(amount)
	}
	g.write(store.Note{Deed: deed}, func(err error) {
		switch {
		case kind == 0 && err == nil:
			g.earn(p, amount, done)
		case kind == 0:
			done(err)
		case err == nil:
			g.makeAll(p, kind, amount, done)
		default:
			p.coming -= int(amount)
			done(err)
		}
	})
}

// makeAll makes items for a bag, in which there is room for them.
func (g *goods) makeAll(p *player, kind uint8, amount int64, done func(error)) {
	var failed error
	for range amount {
		g.make(kind, store.Of(p.character), func(item store.Item, err error) {
			p.coming--
			if err == nil {
				p.bag = append(p.bag, &piece{Item: item})
			}
			failed = errors.Join(failed, err)
			if amount--; amount == 0 {
				g.sendBag(p)
				done(failed)
			}
		})
	}
}

// write asks the store for a change. done is called on the loop when it lasts, or with
// the reason why it does not.
func (g *goods) write(w store.Write, done func(error)) {
	g.writer.Write(w, func(err error) {
		g.server.watch(err)
		_ = g.server.loop.Do(func() { done(err) }) // an ended loop shows nothing
	})
}

// change is write for what a player wants. It refuses when too much waits already.
func (g *goods) change(p *player, w store.Write, done func(error)) bool {
	if p.pending >= maxPending || p.loading {
		p.notice(noticeBusy, "the store is busy: try again")
		return false
	}
	p.pending++
	g.write(w, func(err error) {
		p.pending--
		done(err)
	})
	return true
}

// take does what a player wants to do with things.
func (g *goods) take(p *player, m proto.Message) {
	switch m := m.(type) {
	case *proto.PickUp:
		g.pickUp(p, sim.ID(m.Thing))
	case *proto.PutDown:
		g.putDown(p, m.Item)
	case *proto.Use:
		g.use(p, m.Item)
	case *proto.Trade:
		g.ask(p, sim.ID(m.With))
	case *proto.Offer:
		g.offer(p, m)
	case *proto.Confirm:
		g.confirm(p, m.Version)
	case *proto.Cancel:
		g.cancel(p)
	case *proto.Open:
		g.open(p, sim.ID(m.Chest))
	case *proto.PutIn:
		g.putIn(p, sim.ID(m.Chest), m.Item)
	case *proto.TakeOut:
		g.takeOut(p, sim.ID(m.Chest), m.Item)
	}
}

// pickUp moves what lies near into a player's bag.
func (g *goods) pickUp(p *player, id sim.ID) {
	lies := g.lies[id]
	switch {
	case lies == nil:
		p.notice(noticeNothing, "that does not lie there any more")
		return
	case !g.server.world.Near(p.id, id, reach):
		p.notice(noticeFar, "that is too far away")
		return
	case p.full():
		p.notice(noticeRoom, "the bag is full")
		return
	case lies.busy:
		p.notice(noticeBusy, "somebody reaches for it just now")
		return
	}
	g.gain(p, lies, func(err error) {
		if err == nil || errors.Is(err, store.ErrStale) {
			g.vanish(id)
		}
	})
}

// gain moves an item into a player's bag. Until that lasts, the player does not have it.
func (g *goods) gain(p *player, item *piece, then func(error)) {
	to := store.Of(p.character)
	if !g.change(p, store.Move{Item: item.Item, To: to}, func(err error) {
		p.coming--
		item.busy = false
		then(err)
		if err != nil {
			g.failed(p, err)
			return
		}
		p.bag = append(p.bag, changed(item.Item, to))
		g.sendBag(p)
	}) {
		return
	}
	item.busy = true
	p.coming++
}

// putDown moves an item of a player's bag to where the player is.
func (g *goods) putDown(p *player, number uint32) {
	item := g.hold(p, number)
	if item == nil {
		return
	}
	x, y, _ := g.server.world.At(p.id)
	if !g.server.world.Room(x, y) {
		p.notice(noticeRoom, "there is no room for it here")
		return
	}
	to := store.On(uint16(x), uint16(y))
	g.lose(p, item, store.Move{Item: item.Item, To: to}, func(err error) {
		if err != nil {
			return
		}
		if err := g.lay(changed(item.Item, to).Item); err != nil {
			g.server.config.Log.Warn("what a player has laid down is seen after the next start only", "item", item.ID, "error", err)
		}
	})
}

// use uses an item of a player's bag up.
func (g *goods) use(p *player, number uint32) {
	item := g.hold(p, number)
	if item == nil {
		return
	}
	health, _ := g.server.world.Life(p.id)
	heal := heals[uint8(item.Kind)]
	if heal == 0 || health >= sim.MaxHealth {
		p.notice(noticeNot, "that cannot be used now")
		return
	}
	g.lose(p, item, store.Destroy{Item: item.Item}, func(err error) {
		if err == nil {
			_ = g.server.world.Heal(p.id, heal) // who is gone needs none
		}
	})
}

// hold returns the item of a number, when a living player has it and nothing else
// happens to it.
func (g *goods) hold(p *player, number uint32) *piece {
	health, _ := g.server.world.Life(p.id)
	item := find(p.bag, number)
	switch {
	case item == nil:
		p.notice(noticeNothing, "you do not have that")
	case health == 0:
		p.notice(noticeNot, "you cannot do that while you lie")
	case item.busy:
		p.notice(noticeBusy, "something happens to it already")
	default:
		return item
	}
	return nil
}

func find(list []*piece, number uint32) *piece {
	for _, item := range list {
		if item.ID == int64(number) {
			return item
		}
	}
	return nil
}

// lose does a write after which the player has an item no more. Until that lasts, the
// player has it. It is no part of an offer from now on.
func (g *goods) lose(p *player, item *piece, w store.Write, then func(error)) bool {
	if !g.change(p, w, func(err error) {
		item.busy = false
		if err == nil {
			p.bag = without(p.bag, item)
		}
		then(err)
		if err != nil {
			g.failed(p, err)
			return
		}
		g.sendBag(p)
	}) {
		return false
	}
	item.busy = true
	g.withdraw(p, item)
	return true
}

func without(list []*piece, item *piece) []*piece {
	return slices.DeleteFunc(list, func(other *piece) bool { return other == item })
}

func (p *player) full() bool { return len(p.bag)+p.coming >= maxBag }

// has makes the bag of a player who comes in.
func (p *player) has(gold int64, items []store.Item) {
	p.gold, p.bag = gold, nil
	for _, item := range items {
		p.bag = append(p.bag, &piece{Item: item})
	}
}

// sendBag sends a player what it has.
func (g *goods) sendBag(p *player) {
	if p.session != nil {
		p.session.send(p.appendBag(nil))
	}
}

func (p *player) appendBag(to []byte) []byte {
	m := proto.Bag{Gold: uint32(min(p.gold, maxPurse)), Items: itemsOf(p.bag)}
	return m.Append(to)
}

// maxShown is how many items one message has.
const maxShown = 4096

// itemsOf leaves out what this program does not know.
func itemsOf(list []*piece) (items []proto.Item) {
	for _, p := range list {
		if p.Kind <= table.MaxKind && p.ID <= math.MaxUint32 && len(items) < maxShown {
			items = append(items, proto.Item{Number: uint32(p.ID), Kind: uint8(p.Kind)})
		}
	}
	return items
}

// failed says why a player does not have what it wanted. When that is not because too
// much waits, the store is asked what the player has: it may be otherwise than it was
// thought here, as after a commit that may or may not have come to pass.
func (g *goods) failed(p *player, err error) {
	if errors.Is(err, store.ErrBusy) || errors.Is(err, store.ErrClosed) {
		p.notice(noticeBusy, "the store is busy: try again")
		return
	}
	g.server.config.Log.Error("what a player wanted is not in the store; it was asked to try again", "player", p.name, "error", err)
	p.notice(noticeBusy, "the store is busy: try again")
	g.reload(p)
}

// A record is what the store has of somebody.
type record struct {
	account   store.Account
	character store.Character
	items     []store.Item
}

// look reads what there is of an account, when everything is written that was asked for
// before. Any goroutine but the loop's may call it.
func (g *goods) look(ctx context.Context, key string) (r record, err error) {
	if err = g.writer.Flush(ctx); err != nil {
		return r, err
	}
	if r.account, r.character, err = g.store.Account(ctx, key); err != nil {
		return r, err
	}
	r.items, err = g.store.Items(ctx, store.Of(r.character.ID))
	return r, err
}

// reload reads what a player has. Until then it can do nothing with it.
func (g *goods) reload(p *player) {
	if p.loading || g.server.players[p.id] != p {
		return
	}
	p.loading = true
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
		defer cancel()
		r, err := g.look(ctx, p.account)
		_ = g.server.loop.Do(func() { g.reloaded(p, r, err) }) // an ended loop shows nothing
	}()
}

func (g *goods) reloaded(p *player, r record, err error) {
	p.loading = false
	if err != nil {
		g.server.config.Log.Error("the store does not say what a player has; the player sees what it had", "player", p.name, "error", err)
		return
	}
	g.endTrade(p, dealtGone)
	p.has(r.character.Gold, r.items)
	g.sendBag(p)
}

// stranger gives a player that does not last a character, which is forgotten when the
// player goes.
func (g *goods) stranger(p *player) {
	g.people++
	p.character, p.account = g.people, fmt.Sprint("#", g.people)
	g.writer.Write(store.AddAccount{Account: store.Account{Key: p.account}, Character: store.Character{ID: p.character}}, nil)
}

// lost is the end of a player's connection.
func (g *goods) lost(p *player) {
	g.endTrade(p, dealtLeft)
	p.asks, p.askedBy = nil, nil
	g.shut(p)
}

// leave is the end of a player in the world. What was asked for before still comes to
// pass.
func (g *goods) leave(p *player) {
	g.lost(p)
	if g.server.keeper == nil {
		g.writer.Write(store.Forget{Key: p.account}, nil)
	}
}
