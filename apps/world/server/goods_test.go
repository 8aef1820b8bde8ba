package server_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/replica"
	"github.com/epinet/epi/apps/world/server"
	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/apps/world/store"
	"github.com/epinet/epi/apps/world/store/storetest"
	"github.com/epinet/epi/internal/epitest"
)

// givers are settings of a world in which "secret" makes a moderator.
func givers(s store.Store) server.Config {
	config := keeping(s)
	config.Moderators = map[[sha256.Size]byte]string{sha256.Sum256([]byte("secret")): "chief"}
	return config
}

// give has a player get items, or gold of kind 0, by a moderator.
func (c *client) give(name string, kind uint8, amount uint32) {
	c.t.Helper()
	c.send(&proto.Moderate{Key: []byte("secret")}, &proto.Give{Name: name, Kind: kind, Amount: amount})
	c.noticed(7)
}

// bring puts a player at a place.
func (c *client) bring(name string, x, y uint16) {
	c.t.Helper()
	c.send(&proto.Moderate{Key: []byte("secret")}, &proto.Order{Kind: 5, Name: name, X: x, Y: y})
	c.noticed(7)
}

func (c *client) owns(n int) *client {
	c.t.Helper()
	c.until("the bag", func() bool { return len(c.bag.Items) == n })
	return c
}

// lies waits for a thing that a player sees, of a kind of items.
func (c *client) lies(kind uint8) (id uint32) {
	c.t.Helper()
	c.until("a thing", func() bool {
		for n, e := range c.replica.Entities {
			if e.Kind == sim.Chest+kind {
				id = n
			}
		}
		return id != 0
	})
	return id
}

// answered waits until the server has done all that was sent before, and three ticks.
func (c *client) answered() {
	c.t.Helper()
	before := c.pongs
	c.send(&proto.Ping{})
	c.until("a pong", func() bool { return c.pongs > before })
	c.ticks(3)
}

func kinds(items []proto.Item) (all []uint8) {
	for _, i := range items {
		all = append(all, i.Kind)
	}
	slices.Sort(all)
	return all
}

// monster finds one, somewhere.
func (c *client) monster(name string) (found *replica.Entity) {
	c.t.Helper()
	for n := 0; found == nil; n++ {
		c.bring(name, uint16(n%8*sim.Cell+sim.Cell/2), uint16(n/8%8*sim.Cell+sim.Cell/2))
		c.ticks(8)
		for _, e := range c.replica.Entities {
			if e.Kind >= sim.Slime && e.Kind <= sim.Ghost && e.Health > 0 {
				found = e
			}
		}
	}
	return found
}

// A monster that is felled leaves gold for who felled it, and something to pick up, which
// can be used; what is left is there after the next start.
func TestLoot(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "world.db")
	s := openStore(t, file)
	secret := slices.Repeat([]byte{7}, 16)
	hash := sha256.Sum256(secret)
	storetest.Apply(t, s, store.AddAccount{
		Account:   store.Account{Key: "anna", Name: "Anna", Secret: hash[:]},
		Character: store.Character{ID: 1, Soft: store.Soft{Experience: 1 << 31, Health: 30}},
	})
	config := givers(s)
	config.World.Monsters = 200
	loot := server.Loot{Gold: 1, Items: []server.Drop{{Kind: server.Potion, Chance: 100}, {Kind: server.Pelt, Chance: 100}}}
	config.Loot = map[uint8]server.Loot{sim.Slime: loot, sim.Wolf: loot, sim.Ghost: loot}
	w := start(t, config)
	a := w.connect()
	a.hello("anna", secret)
	for a.bag.Gold == 0 {
		e := a.monster("anna")
		x, y := a.replica.At(e)
		a.bring("anna", uint16(x), uint16(y))
		a.ticks(2)
		a.send(&proto.Attack{Target: e.ID, Seen: a.replica.Tick})
		a.answered()
	}
	for n, kind := range []uint8{server.Potion, server.Pelt} {
		thing := a.lies(kind)
		x, y := a.replica.At(a.replica.Entities[thing])
		a.bring("anna", uint16(x), uint16(y))
		a.send(&proto.PickUp{Thing: thing})
		a.owns(n + 1)
	}
	a.send(&proto.Use{Item: a.bag.Items[1].Number})
	a.noticed(14)
	a.send(&proto.Use{Item: a.bag.Items[0].Number})
	a.owns(1).until("health", func() bool { return a.replica.Own.Health >= 70 })
	bag := a.bag
	w.keep(s)

	s = openStore(t, file)
	storetest.Clean(t, s)
	w = start(t, givers(s))
	a = w.connect()
	a.hello("anna", secret)
	a.until("the same", func() bool { return a.bag.Gold == bag.Gold && slices.Equal(a.bag.Items, bag.Items) })
	w.keep(s)
}

// hold lets no commit through until what it returns is called, which comes back when the
// first is held.
func (s *held) hold(t *testing.T, act func()) (release func()) {
	t.Helper()
	s.commits.Lock()
	act()
	epitest.WaitUntil(t, "a commit that is held", func() bool { return s.waiting.Load() > 0 })
	return s.commits.Unlock
}

// A player has what it picks up, and does not have what it puts down, when the store has
// committed that, and not before.
func TestHavingIsAfterTheCommit(t *testing.T) {
	t.Parallel()
	s := &held{Store: store.NewMemory()}
	w := start(t, givers(s))
	a := w.join("anna")
	a.give("anna", server.Potion, 1)
	number := a.owns(1).bag.Items[0].Number

	release := s.hold(t, func() { a.send(&proto.PutDown{Item: number}) })
	a.answered()
	if len(a.bag.Items) != 1 || w.Stats().Things != 1 {
		t.Errorf("before the commit: %+v, %d things", a.bag, w.Stats().Things)
	}
	release()
	a.owns(0)
	thing := a.lies(server.Potion)

	release = s.hold(t, func() { a.send(&proto.PickUp{Thing: thing}) })
	a.answered()
	if len(a.bag.Items) != 0 || a.replica.Entities[thing] == nil {
		t.Errorf("before the commit: %+v", a.bag)
	}
	release()
	if a.owns(1).bag.Items[0].Number != number {
		t.Errorf("%+v, it was %d", a.bag, number)
	}
	a.until("the end of the thing", func() bool { return a.replica.Entities[thing] == nil })

	release = s.hold(t, func() { a.send(&proto.Give{Name: "anna", Amount: 7}) })
	a.answered()
	if a.bag.Gold != 0 {
		t.Errorf("before the commit: %+v", a.bag)
	}
	release()
	a.until("gold", func() bool { return a.bag.Gold == 7 })
	w.keep(s)
}

// TestCase02_TakeOverWhileDropping: somebody comes from elsewhere while its first
// connection drops an item: there is one item, on the ground.
func TestCase02_TakeOverWhileDropping(t *testing.T) {
	t.Parallel()
	s := &held{Store: store.NewMemory()}
	w := start(t, givers(s))
	a := w.join("anna")
	a.give("anna", server.Pearl, 1)
	release := s.hold(t, func() { a.send(&proto.PutDown{Item: a.owns(1).bag.Items[0].Number}) })
	again := w.connect()
	again.hello("anna", a.welcome.Token)
	again.owns(1)
	again.send(&proto.PutDown{Item: again.bag.Items[0].Number}) // once more, while the first is under way
	again.noticed(10)
	a.ends()
	release()
	again.owns(0)
	again.send(&proto.PickUp{Thing: again.lies(server.Pearl)})
	again.owns(1)
	again.answered()
	for _, e := range again.replica.Entities {
		if e.Kind == sim.Chest+server.Pearl {
			t.Error("there is one in the bag and one on the ground")
		}
	}
	w.keep(s)
	storetest.Clean(t, s)
}

// TestCase04_Amounts: none, too many, more than one has, and what is no number: nothing
// comes of them, and gold is as it was.
func TestCase04_Amounts(t *testing.T) {
	t.Parallel()
	s := store.NewMemory()
	w := start(t, givers(s))
	a, b := w.join("anna"), w.join("bert")
	a.give("anna", 0, 100)
	a.give("anna", server.Potion, 3)
	a.send(&proto.Give{Name: "nobody", Amount: 1})
	a.noticed(4)
	b.send(&proto.Give{Name: "bert", Amount: 1})
	b.noticed(5)
	for _, c := range []struct {
		give proto.Give
		code uint8
	}{
		{proto.Give{Kind: 0, Amount: 0}, 15}, {proto.Give{Kind: 1, Amount: 0}, 15}, {proto.Give{Kind: 0, Amount: 1<<32 - 1}, 13},
		{proto.Give{Kind: 1, Amount: 30}, 13}, {proto.Give{Kind: 1, Amount: 1 << 31}, 13}, {proto.Give{Kind: 1, Amount: 1<<32 - 1}, 13},
	} {
		c.give.Name = "anna"
		a.send(&c.give)
		a.noticed(c.code)
	}
	a.trade(b)
	for _, gold := range []uint32{101, 1 << 31, 1<<32 - 1} {
		a.send(&proto.Offer{Gold: gold})
		a.noticed(15)
	}
	number := a.bag.Items[0].Number
	a.send(&proto.Offer{Items: []proto.Offered{{Number: number}, {Number: number}}})
	a.noticed(16)
	a.send(&proto.Offer{Items: []proto.Offered{{Number: 1<<32 - 1}}})
	a.noticed(12)
	b.send(&proto.Offer{Items: []proto.Offered{{Number: number}}}) // another's
	b.noticed(12)
	if a.deal.Version != 1 || a.deal.Yours.Gold != 0 || len(a.deal.Yours.Items) != 0 {
		t.Errorf("an offer was taken: %+v", a.deal)
	}
	a.give("anna", 0, 1<<32-1-100)
	a.until("a full purse", func() bool { return a.bag.Gold == 1<<32-1 })
	a.send(&proto.Give{Name: "anna", Amount: 1})
	a.noticed(13)
	for i, amount := range []int64{-1, -1 << 31, -1 << 63, 1<<63 - 1, 1 << 32} {
		c := w.join(fmt.Sprintf("carl%d", i))
		c.raw(binary.AppendUvarint([]byte{16}, uint64(amount)))
		c.ends()
		if c.reason() != 6 {
			t.Errorf("an offer of %d: refused with %d", amount, c.reason())
		}
	}
	w.keepOpen()
	_, anna, err := s.Account(context.Background(), "anna")
	_, bert, err2 := s.Account(context.Background(), "bert")
	if err != nil || err2 != nil || anna.Gold != 1<<32-1 || bert.Gold != 0 {
		t.Errorf("%+v, %+v, %v, %v", anna, bert, err, err2)
	}
	deeds, err := s.Deeds(context.Background(), 10)
	if err != nil || len(deeds) != 3 || deeds[2].Actor != "chief" || deeds[2].Action != "give" || deeds[2].Subject != "anna" || deeds[2].Text != "100 of kind 0" {
		t.Errorf("%+v, %v", deeds, err)
	}
}

// TestCase10_PickUpAcrossTheMap, and by who lies, and what is no thing.
func TestCase10_PickUpAcrossTheMap(t *testing.T) {
	t.Parallel()
	w := start(t, givers(store.NewMemory()))
	a := w.join("anna")
	a.give("anna", server.Bread, 1)
	a.send(&proto.PutDown{Item: a.owns(1).bag.Items[0].Number})
	a.owns(0)
	thing := a.lies(server.Bread)
	x, y := a.replica.Own.X, a.replica.Own.Y
	for _, far := range []uint16{3 * sim.Tile, 40 * sim.Tile} {
		a.bring("anna", x+far, y)
		a.send(&proto.PickUp{Thing: thing})
		a.noticed(11)
	}
	a.send(&proto.PickUp{Thing: a.welcome.Self}, &proto.Use{Item: 77})
	a.noticed(12)
	a.noticed(12)
	a.bring("anna", x, y)
	a.send(&proto.PickUp{Thing: thing})
	a.owns(1)
}

// A player whom the store keeps waiting can want so much and no more; the others are
// served, and the world goes on.
func TestManyChangesAreBusy(t *testing.T) {
	t.Parallel()
	s := &held{Store: store.NewMemory()}
	w := start(t, givers(s))
	a := w.join("anna")
	a.give("anna", server.Potion, 20)
	a.owns(20)
	release := s.hold(t, func() {
		for _, item := range a.bag.Items {
			a.send(&proto.PutDown{Item: item.Number})
		}
	})
	for range 4 {
		a.noticed(10)
	}
	before := a.replica.Tick
	a.until("ticks", func() bool { return a.replica.Tick-before > 5 })
	release()
	a.owns(4)
	w.keep(s)
}

// What has lain for too long is gone, also from the store.
func TestOldThingsDecay(t *testing.T) {
	t.Parallel()
	s := store.NewMemory()
	config := givers(s)
	config.Litter = 200 * time.Millisecond
	w := start(t, config)
	a := w.join("anna")
	a.give("anna", server.Bread, 3)
	for _, item := range a.owns(3).bag.Items {
		a.send(&proto.PutDown{Item: item.Number})
	}
	a.owns(0)
	epitest.WaitUntil(t, "the end of what lies", func() bool { return w.Stats().Things == 1 }) // the chest
	epitest.WaitUntil(t, "its end in the store", func() bool {
		items, err := s.Ground(context.Background())
		return err == nil && len(items) == 0
	})
}

// Rows that make no sense hinder nobody: what lies in a wall is beside it, what is of no
// kind stays in the store.
func TestStoredThingsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	s := store.NewMemory()
	storetest.Apply(t, s, store.AddChest{Chest: store.Chest{ID: 9, X: -1 << 62, Y: 1 << 62}})
	for id, item := range []store.Item{
		{Kind: 1, Owner: store.On(0, 0)}, {Kind: 1, Owner: store.On(65535, 65535)}, {Kind: 99, Owner: store.On(5000, 5000)}, {Kind: 1 << 40, Owner: store.On(1, 1)},
	} {
		item.ID = int64(id) + 1
		storetest.Apply(t, s, store.Make{Item: item})
	}
	w := start(t, givers(s))
	a := w.join("anna")
	epitest.WaitUntil(t, "two items and a chest", func() bool { return w.Stats().Things == 3 })
	a.bring("anna", 0, 0)
	a.send(&proto.PickUp{Thing: a.lies(server.Potion)})
	a.owns(1)
	w.keepOpen()
	if items, err := s.Ground(context.Background()); err != nil || len(items) != 3 {
		t.Errorf("%+v, %v", items, err)
	}
}

// The world has another idea of an item than the store, as after a commit whose answer
// was lost for ever: who wants it is told, and has what the store says.
func TestTheStoreIsRight(t *testing.T) {
	t.Parallel()
	s := store.NewMemory()
	w := start(t, givers(s))
	a := w.join("anna")
	a.give("anna", server.Potion, 2)
	item := a.owns(2).bag.Items[0]
	storetest.Apply(t, s, store.Destroy{Item: store.Item{ID: int64(item.Number), Kind: int64(item.Kind), Version: 1, Owner: store.Of(1)}})
	a.send(&proto.PutDown{Item: item.Number})
	a.noticed(10)
	if number := a.owns(1).bag.Items[0].Number; number == item.Number {
		t.Errorf("it is there still: %+v", a.bag)
	}
	a.send(&proto.PutDown{Item: a.bag.Items[0].Number})
	a.owns(0)
	w.keepOpen()
	storetest.Clean(t, s)
}

// TestChest: what is put in is there for all; of two who take one thing one gets it; it
// is there after the next start.
func TestChest(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "world.db")
	s := &held{Store: openStore(t, file)}
	config := givers(s)
	w := start(t, config)
	a, b := w.join("anna"), w.join("bert")
	town := sim.NewMap(config.World.Seed, config.World.Width, config.World.Height).Towns()[0]
	chest := a.lies(0)
	a.send(&proto.Open{Chest: chest})
	a.noticed(11)
	for _, name := range []string{"anna", "bert"} {
		a.bring(name, uint16(town.X), uint16(town.Y))
	}
	a.give("anna", server.Pelt, 2)
	items := a.owns(2).bag.Items
	a.send(&proto.PutIn{Chest: chest, Item: items[0].Number})
	a.noticed(10) // it was not opened
	for _, c := range []*client{a, b} {
		c.send(&proto.Open{Chest: chest})
		c.until("the chest", func() bool { return c.chest.Chest == chest })
	}
	a.send(&proto.PutIn{Chest: chest, Item: items[0].Number}, &proto.PutIn{Chest: chest, Item: items[1].Number})
	for _, c := range []*client{a, b} {
		c.until("both", func() bool { return len(c.chest.Items) == 2 })
	}
	a.owns(0)
	release := s.hold(t, func() { a.send(&proto.TakeOut{Chest: chest, Item: items[0].Number}) })
	b.send(&proto.TakeOut{Chest: chest, Item: items[0].Number})
	b.noticed(10)
	release()
	a.owns(1)
	b.until("the other", func() bool { return len(b.chest.Items) == 1 })
	b.send(&proto.TakeOut{Chest: chest, Item: items[0].Number})
	b.noticed(12)
	w.keep(s)

	s.Store = openStore(t, file)
	storetest.Clean(t, s)
	w = start(t, config)
	again := w.connect()
	again.hello("bert", b.welcome.Token)
	again.bring("bert", uint16(town.X), uint16(town.Y))
	again.send(&proto.Open{Chest: again.lies(0)})
	again.until("what was put in", func() bool { return slices.Equal(again.chest.Items, items[1:]) })
	w.keep(s)
}

var errLost = errors.New("the machine lost its power")

// A dying store commits each write by itself, and from some time on so many changes and
// no other.
type dying struct {
	store.Store
	left atomic.Int64
}

func newDying(s store.Store) *dying {
	d := &dying{Store: s}
	d.left.Store(math.MaxInt64)
	return d
}

func (d *dying) Apply(ctx context.Context, writes []store.Write) (results []error, err error) {
	for _, w := range writes {
		switch w.(type) {
		case store.Trade, store.Move, store.MakeGold, store.DestroyGold:
			if d.left.Add(-1) < 0 {
				return nil, errLost
			}
		}
		result, err := d.Store.Apply(ctx, []store.Write{w})
		if err != nil {
			return nil, err
		}
		results = append(results, result...)
	}
	return results, nil
}

// A fenced store is one that another server has taken, from some time on.
type fenced struct {
	store.Store
	taken atomic.Bool
}

func (f *fenced) Apply(ctx context.Context, writes []store.Write) ([]error, error) {
	if f.taken.Load() {
		return nil, store.ErrTaken
	}
	return f.Store.Apply(ctx, writes)
}

// When another server takes the store, a world ends for its players, and lets nobody in.
func TestAWorldWithoutItsStoreEnds(t *testing.T) {
	t.Parallel()
	s := &fenced{Store: store.NewMemory()}
	w := start(t, givers(s))
	a := w.join("anna")
	a.give("anna", server.Potion, 1)
	s.taken.Store(true)
	a.send(&proto.PutDown{Item: a.owns(1).bag.Items[0].Number})
	a.ends()
	b := w.join("bert")
	if a.reason() != 9 || b.reason() != 9 {
		t.Errorf("refused with %d and %d", a.reason(), b.reason())
	}
	w.mustNotKeep()
}

// It is so, too, when it learns of that by somebody who wants to come in; and who runs it
// is told.
func TestALoginAtAStoreOfAnotherEndsTheWorld(t *testing.T) {
	t.Parallel()
	s := &fenced{Store: store.NewMemory()}
	config, failed := keeping(s), make(chan error, 1)
	config.Failed = func(err error) { failed <- err }
	w := start(t, config)
	s.taken.Store(true)
	if a := w.join("anna"); a.refused == nil {
		t.Error("somebody came in")
	}
	if err := epitest.Receive(t, failed); !errors.Is(err, store.ErrTaken) {
		t.Error(err)
	}
	if a := w.join("anna"); a.reason() != 9 {
		t.Errorf("refused with %d", a.reason())
	}
	w.mustNotKeep()
}

func (w *world) loop() *epi.Loop {
	w.t.Helper()
	l, err := w.engine.Loop(0)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// mustNotKeep ends a world, which must say that it could not save all.
func (w *world) mustNotKeep() {
	w.t.Helper()
	w.end()
	epitest.Receive(w.t, w.loop().Done())
	ctx, cancel := context.WithTimeout(context.Background(), epitest.Patience)
	defer cancel()
	if err := w.Keep(ctx); err == nil {
		w.t.Error("all was saved, to whom?")
	}
}

// A breaking store fails for good, from some time on, each commit when it is let.
type breaking struct {
	store.Store
	broken  atomic.Bool // before the next commit
	commits atomic.Bool // that one is under way
	let     chan struct{}
}

func (s *breaking) Apply(ctx context.Context, writes []store.Write) ([]error, error) {
	if !s.broken.Load() {
		return s.Store.Apply(ctx, writes)
	}
	s.commits.Store(true)
	<-s.let
	return nil, errLost
}

// A snapshot that fails while the order to drain is on its way is not taken for saved.
func TestASnapshotThatFailsJustBeforeTheDrain(t *testing.T) {
	t.Parallel()
	s := &breaking{Store: store.NewMemory(), let: make(chan struct{})}
	w := start(t, keeping(s))
	a := w.join("anna")
	s.broken.Store(true)
	a.walks()
	epitest.WaitUntil(t, "a commit that waits", s.commits.Load)
	begun, goOn := make(chan struct{}), make(chan struct{})
	if err := w.loop().Do(func() { close(begun); <-goOn }); err != nil {
		t.Fatal(err)
	}
	epitest.Receive(t, begun)
	w.Drain()
	close(s.let)
	epitest.WaitUntil(t, "the order to save again, behind that to drain", func() bool { return w.engine.Stats().Loops[0].TasksWaiting >= 2 })
	close(goOn)
	w.mustNotKeep()
}

// Where nothing lasts, players have things all the same; when one goes, all that it had
// goes, and its name is free.
func TestStrangersAreForgotten(t *testing.T) {
	t.Parallel()
	config := givers(nil)
	config.Store = nil
	w := start(t, config)
	for n := range 3 {
		a := w.join("anna")
		a.give("anna", server.Potion, 2)
		a.give("anna", 0, 5)
		a.owns(2).until("gold", func() bool { return a.bag.Gold == 5 })
		a.send(&proto.PutDown{Item: a.bag.Items[0].Number}, &proto.Bye{})
		a.ends()
		account := fmt.Sprint("#", n+1)
		epitest.WaitUntil(t, "the end of the account", func() bool {
			_, _, err := w.Goods().Account(context.Background(), account)
			return errors.Is(err, store.ErrNotFound)
		})
		items, err := w.Goods().Items(context.Background(), store.Of(int64(n)+1))
		lies, err2 := w.Goods().Ground(context.Background())
		if err != nil || err2 != nil || len(items) != 0 || len(lies) != n+1 {
			t.Errorf("%+v, %+v, %v, %v", items, lies, err, err2)
		}
	}
}
