package server_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/server"
	"github.com/epinet/epi/apps/world/store"
	"github.com/epinet/epi/apps/world/store/storetest"
	"github.com/epinet/epi/internal/epitest"
)

// trade has two players who are near begin to trade.
func (c *client) trade(with *client) {
	c.t.Helper()
	c.ticks(1)
	c.bring(name(with), c.replica.Own.X, c.replica.Own.Y)
	c.deal, with.deal = proto.Deal{}, proto.Deal{}
	c.send(&proto.Trade{With: with.welcome.Self})
	next(with, "the question", func(m *proto.Asked) bool { return m.By == c.welcome.Self })
	with.send(&proto.Trade{With: c.welcome.Self})
	c.until("the trade", func() bool { return c.deal.With == with.welcome.Self })
	with.until("the trade", func() bool { return with.deal.With == c.welcome.Self })
}

// name is that of a client's player.
func name(c *client) string {
	c.t.Helper()
	c.until("itself", func() bool { return c.replica.Entities[c.welcome.Self] != nil })
	return c.replica.Entities[c.welcome.Self].Name
}

// offers offers all that is in the bag, and gold, and waits until both know it.
func (c *client) offers(with *client, gold uint32) {
	c.t.Helper()
	m := proto.Offer{Gold: gold}
	for _, item := range c.bag.Items {
		m.Items = append(m.Items, proto.Offered{Number: item.Number})
	}
	version := c.deal.Version + 1
	c.send(&m)
	for _, p := range []*client{c, with} {
		p.until("the offer", func() bool { return p.deal.Version == version })
	}
}

func (c *client) confirm() { c.send(&proto.Confirm{Version: c.deal.Version}) }

// dealtWith waits for the end of the trade.
func (c *client) dealtWith(result uint8) {
	c.t.Helper()
	c.until("the end of the trade", func() bool { return len(c.dealt) > 0 })
	if c.dealt[0] != result || len(c.dealt) != 1 {
		c.t.Errorf("the trade has ended with %v, want %d", c.dealt, result)
	}
	c.dealt = nil
}

// agrees has both agree, and waits for the end.
func (c *client) agrees(with *client, result uint8) {
	c.t.Helper()
	c.confirm()
	with.confirm()
	c.dealtWith(result)
	with.dealtWith(result)
}

// trades is a whole trade of all that is in both bags, and gold.
func (c *client) trades(with *client, gives, gets uint32, result uint8) {
	c.t.Helper()
	c.trade(with)
	c.offers(with, gives)
	with.offers(c, gets)
	c.agrees(with, result)
}

// traders are two players with two pelts, and a pearl and 50 pieces of gold.
func traders(w *world) (a, b *client) {
	w.t.Helper()
	a, b = w.join("anna"), w.join("bert")
	a.give("anna", server.Pelt, 2)
	a.give("bert", server.Pearl, 1)
	a.give("bert", 0, 50)
	a.owns(2)
	b.owns(1).until("gold", func() bool { return b.bag.Gold == 50 })
	return a, b
}

// halfAgreed are two traders who trade all that is in their bags for 50 pieces of gold; the first
// has agreed.
func halfAgreed(w *world) (a, b *client) {
	w.t.Helper()
	a, b = traders(w)
	a.trade(b)
	a.offers(b, 0)
	b.offers(a, 50)
	a.confirm()
	return a, b
}

// traded says whether the two have what the other had; otherwise they have what they had.
func traded(t *testing.T, s store.Store) bool {
	t.Helper()
	storetest.Clean(t, s)
	var have [2][]int64
	var gold [2]int64
	for n, key := range []string{"anna", "bert"} {
		_, c, err := s.Account(context.Background(), key)
		if err != nil {
			t.Fatal(err)
		}
		items, err := s.Items(context.Background(), store.Of(c.ID))
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			have[n] = append(have[n], item.Kind)
		}
		gold[n] = c.Gold
	}
	pelts, pearl := []int64{int64(server.Pelt), int64(server.Pelt)}, []int64{int64(server.Pearl)}
	switch {
	case slices.Equal(have[0], pelts) && slices.Equal(have[1], pearl) && gold == [2]int64{0, 50}:
		return false
	case slices.Equal(have[0], pearl) && slices.Equal(have[1], pelts) && gold == [2]int64{50, 0}:
		return true
	}
	t.Errorf("anna has %v, and bert %v, gold %v: half a trade", have[0], have[1], gold)
	return true
}

// Both must agree to the same version of what both give.
func TestTrade(t *testing.T) {
	t.Parallel()
	s := store.NewMemory()
	w := start(t, givers(s))
	a, b := halfAgreed(w)
	b.until("that the other agrees", func() bool { return b.deal.Theirs.Agreed == 1 })
	old := b.deal.Version
	b.send(&proto.Offer{Gold: 49}) // less than what Anna has agreed to
	b.until("another version", func() bool { return b.deal.Version == old+1 })
	b.confirm()
	a.send(&proto.Confirm{Version: old})
	a.answered()
	b.answered()
	if len(b.dealt) != 0 || b.deal.Theirs.Agreed != 0 || b.deal.Yours.Agreed != 1 {
		t.Fatalf("Anna has agreed to the old version only: %+v, %v", b.deal, b.dealt)
	}
	b.offers(a, 50)
	a.agrees(b, 0)
	if len(a.bag.Items) != 1 || a.bag.Gold != 50 || !slices.Equal(kinds(b.bag.Items), []uint8{server.Pelt, server.Pelt}) || b.bag.Gold != 0 {
		t.Errorf("%+v, %+v", a.bag, b.bag)
	}
	if n := w.Stats().Trades; n != 1 {
		t.Errorf("%d trades", n)
	}
	w.keepOpen()
	if !traded(t, s) {
		t.Error("the store has no trade")
	}
}

// TestCase01_CrashInATrade: the store ends after the first write of a trade, and after
// none: each has what it had, or what the other had.
func TestCase01_CrashInATrade(t *testing.T) {
	t.Parallel()
	for more := range 3 {
		file := filepath.Join(t.TempDir(), "world.db")
		s := openStore(t, file)
		d := newDying(s)
		config := givers(d)
		w := start(t, config)
		a, b := traders(w)
		a.trade(b)
		a.offers(b, 0)
		b.offers(a, 50)
		epitest.WaitUntil(t, "a store at rest", func() bool { st := w.Stats().Store; return st.Waiting == 0 && st.Saves == 0 })
		d.left.Store(int64(more))
		a.confirm()
		b.confirm()
		for _, c := range []*client{a, b} {
			c.until("the end of the trade", func() bool { return len(c.dealt) > 0 })
		}
		done := a.dealt[0] == 0
		w.end()
		epitest.WaitUntil(t, "the end of the sessions", func() bool { return w.Stats().Sessions == 0 })
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		s = openStore(t, file)
		if kept := traded(t, s); done && !kept {
			t.Errorf("with %d writes more: done was said, and it is not", more)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestCase03_TradesThatAreNone: with oneself, with nobody, with who is far; confirmed
// without an offer. Afterwards both can trade.
func TestCase03_TradesThatAreNone(t *testing.T) {
	t.Parallel()
	s := store.NewMemory()
	w := start(t, givers(s))
	a, b := traders(w)
	for _, c := range []struct {
		m    proto.Message
		code uint8
	}{
		{&proto.Trade{With: a.welcome.Self}, 16}, {&proto.Trade{With: 1<<32 - 1}, 4},
		{&proto.Offer{Gold: 1}, 16}, {&proto.Confirm{Version: 1}, 16},
	} {
		a.send(c.m)
		a.noticed(c.code)
	}
	a.bring("bert", 0, 0)
	a.send(&proto.Trade{With: b.welcome.Self})
	a.noticed(11)
	a.trade(b)
	a.confirm()
	a.noticed(16)
	a.send(&proto.Cancel{})
	a.dealtWith(1)
	b.dealtWith(1)

	// One goes too far away before both have agreed.
	a.trade(b)
	a.offers(b, 0)
	a.confirm()
	x, y := a.replica.Own.X, a.replica.Own.Y
	a.bring("bert", 0, 0)
	b.until("that the other agrees", func() bool { return b.deal.Theirs.Agreed == 1 })
	b.confirm()
	a.dealtWith(3)
	b.dealtWith(3)
	a.bring("bert", x, y)

	// One does not want to.
	a.send(&proto.Trade{With: b.welcome.Self})
	next(b, "the question", func(m *proto.Asked) bool { return true })
	b.send(&proto.Cancel{})
	a.noticed(16)

	a.trades(b, 0, 50, 0)
	w.keepOpen()
	if !traded(t, s) {
		t.Error("the store has no trade")
	}
}

// TestCase03_DroppedMeanwhile: what is offered is dropped before the other agrees, and, in
// the store alone, moved elsewhere while both do.
func TestCase03_DroppedMeanwhile(t *testing.T) {
	t.Parallel()
	s := &held{Store: store.NewMemory()}
	w := start(t, givers(s))
	a, b := halfAgreed(w)
	old := a.deal.Version
	a.send(&proto.PutDown{Item: a.bag.Items[0].Number})
	b.until("an offer of less", func() bool {
		return b.deal.Version == old+1 && len(b.deal.Theirs.Items) == 1 && b.deal.Theirs.Agreed == 0
	})
	b.send(&proto.Confirm{Version: old})
	a.owns(1).send(&proto.PickUp{Thing: a.lies(server.Pelt)})
	a.owns(2)
	b.answered()
	if len(b.dealt) != 0 {
		t.Fatalf("it was done: %v", b.dealt)
	}

	a.offers(b, 0)
	release := s.hold(t, func() {
		a.confirm()
		b.confirm()
	})
	a.send(&proto.PutDown{Item: a.bag.Items[0].Number}, &proto.Cancel{}) // too late
	a.noticed(10)
	a.noticed(10)
	release()
	a.dealtWith(0)
	b.dealtWith(0)

	// The item is elsewhere than the world thinks.
	item := a.bag.Items[0]
	_, anna, err := s.Account(context.Background(), "anna")
	if err != nil {
		t.Fatal(err)
	}
	items, err := s.Items(context.Background(), store.Of(anna.ID))
	if err != nil || len(items) != 1 || items[0].ID != int64(item.Number) {
		t.Fatal(items, err)
	}
	there := items[0]
	there.Owner = store.On(1, 1)
	there.Version++
	storetest.Apply(t, s, store.Move{Item: items[0], To: there.Owner}, store.Move{Item: there, To: store.Of(anna.ID)})
	a.trades(b, 50, 0, 4)
	a.answered()
	a.trades(b, 50, 0, 0)
	w.keep(s)
	if traded(t, s) {
		t.Error("they do not have what they had at first")
	}
}

// TestCase03_PartnerLeaves: before both have agreed nothing comes of it; while the store
// commits, all of it.
func TestCase03_PartnerLeaves(t *testing.T) {
	t.Parallel()
	s := &held{Store: store.NewMemory()}
	w := start(t, givers(s))
	a, b := halfAgreed(w)
	epitest.Reset(t, b.conn)
	a.dealtWith(2)

	again := w.connect()
	again.hello("bert", b.welcome.Token)
	b = again
	b.owns(1)
	a.trade(b)
	a.offers(b, 0)
	b.offers(a, 50)
	a.confirm()
	b.until("that the other agrees", func() bool { return b.deal.Theirs.Agreed == 1 })
	release := s.hold(t, func() { b.confirm() })
	b.send(&proto.Bye{})
	b.ends()
	epitest.WaitUntil(t, "the end of the player", func() bool { return w.Stats().Players == 1 })
	release()
	a.dealtWith(0)
	a.owns(1)
	again = w.connect()
	again.hello("bert", b.welcome.Token)
	again.owns(2)
	a.trade(again)
	w.keep(s)
	if !traded(t, s) {
		t.Error("the store has no trade")
	}
}

// TestCase05_PurseAtItsLimit: what has no room is not paid.
func TestCase05_PurseAtItsLimit(t *testing.T) {
	t.Parallel()
	s := store.NewMemory()
	w := start(t, givers(s))
	a, b := traders(w)
	a.give("anna", 0, 1<<32-1)
	a.until("a full purse", func() bool { return a.bag.Gold == 1<<32-1 })
	a.trade(b)
	b.offers(a, 1)
	a.agrees(b, 5)
	a.trades(b, 1<<32-1-100, 0, 0)
	if a.bag.Gold != 100 || b.bag.Gold != 1<<32-1-50 {
		t.Errorf("%d and %d pieces of gold", a.bag.Gold, b.bag.Gold)
	}
	w.keepOpen()
	storetest.Clean(t, s)
}
