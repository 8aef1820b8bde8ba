// Package storetest has what every store.Store of a world must do, as tests.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi/apps/world/store"
)

// Conform tests stores that open makes, each empty.
func Conform(t *testing.T, open func(t *testing.T) store.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s store.Store)
	}{
		{"Accounts", accounts},
		{"SnapshotsOfOlderSessionsChangeNothing", snapshots},
		{"AnItemIsMovedOnce", moves},
		{"OneOfManyGetsAnItem", race},
		{"NumbersOfItemsAreUsedOnce", numbers},
		{"GoldIsConstant", gold},
		{"ATradeIsAllOrNothing", trades},
		{"ChestsAndDeeds", chests},
		{"RefusedWritesHinderNoOthers", refusals},
		{"ClosedStore", closed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { _ = s.Close() }) // a test may have done it
			c.test(t, s)
		})
	}
}

var ctx = context.Background()

// Apply does writes that must all succeed.
func Apply(t *testing.T, s store.Store, writes ...store.Write) {
	t.Helper()
	results, err := s.Apply(ctx, writes)
	if err = errors.Join(append(results, err)...); err != nil {
		t.Fatal(err)
	}
}

// Refuse does a write that must be refused.
func Refuse(t *testing.T, s store.Store, w store.Write, want error) {
	t.Helper()
	results, err := s.Apply(ctx, []store.Write{w})
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(results[0], want) {
		t.Errorf("%#v: %v, want %v", w, results[0], want)
	}
}

// Clean is an audit that must find nothing.
func Clean(t *testing.T, s store.Store) {
	t.Helper()
	if problems, err := s.Audit(ctx); err != nil || len(problems) != 0 {
		t.Errorf("audit: %q, %v", problems, err)
	}
}

// Person is the write that makes an account with a character of a number.
func Person(id int64) store.AddAccount {
	return store.AddAccount{
		Account:   store.Account{Key: fmt.Sprint("player", id), Name: fmt.Sprint("Player", id), Secret: []byte{byte(id), 0, 255}, Role: "player", Created: time.UnixMilli(id)},
		Character: store.Character{ID: id, Soft: store.Soft{X: 10 * id, Y: 20, Health: 100}},
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\ngot  %+v\nwant %+v", what, got, want)
	}
}

func character(t *testing.T, s store.Store, id int64) store.Character {
	t.Helper()
	_, c, err := s.Account(ctx, fmt.Sprint("player", id))
	return must[store.Character](t)(c, err)
}

func accounts(t *testing.T, s store.Store) {
	if _, _, err := s.Account(ctx, "player1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
	Apply(t, s, Person(1), Person(7))
	Refuse(t, s, Person(1), store.ErrExists)
	twin := Person(2)
	twin.Character.ID = 7
	Refuse(t, s, twin, store.ErrExists)
	if _, _, err := s.Account(ctx, "player2"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an account whose character was refused: %v", err)
	}
	want := Person(1).Account
	want.Muted, want.Banned = time.UnixMilli(5), time.UnixMilli(6)
	Apply(t, s, store.Mute{Key: want.Key, Until: want.Muted}, store.Ban{Key: want.Key, Until: want.Banned})
	want.Muted, want.Banned, want.Created = want.Muted.UTC(), want.Banned.UTC(), want.Created.UTC()
	got, c, err := s.Account(ctx, "player1")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "account", got, want)
	same(t, "character", c, Person(1).Character)
	last, _, err := s.Last(ctx)
	same(t, "last character", must[int64](t)(last, err), int64(7))
	forgotten(t, s)
	Refuse(t, s, store.Mute{Key: "player3"}, store.ErrNotFound)
	Refuse(t, s, store.Ban{Key: "player3"}, store.ErrNotFound)
	Refuse(t, s, store.AddAccount{}, store.ErrInvalid)
	Clean(t, s)
}

// forgotten has an account end with all that it has, and its number not come again.
func forgotten(t *testing.T, s store.Store) {
	ring := store.Item{ID: 1, Kind: 3, Version: 1, Owner: store.Of(9)}
	Apply(t, s, Person(9), store.MakeGold{Character: 9, Amount: 5}, store.Make{Item: ring},
		store.Trade{ID: "past", A: store.Offer{Character: 9, Gold: 1}, B: store.Offer{Character: 1}}, store.DestroyGold{Character: 1, Amount: 1})
	Apply(t, s, store.Forget{Key: "player9"})
	Refuse(t, s, store.Forget{Key: "player9"}, store.ErrNotFound)
	Refuse(t, s, store.Move{Item: ring, To: store.On(1, 1)}, store.ErrStale)
	if _, _, err := s.Account(ctx, "player9"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a forgotten account: %v", err)
	}
	last, _, err := s.Last(ctx)
	same(t, "last character", must[int64](t)(last, err), int64(9))
	Clean(t, s)
}

func snapshots(t *testing.T, s store.Store) {
	Apply(t, s, Person(1), store.Enter{Character: 1, Epoch: 1})
	save := func(epoch, version, x int64) store.Save {
		return store.Save{Character: 1, Epoch: epoch, Soft: store.Soft{Version: version, X: x, Y: -3, Health: 9, Experience: 1 << 40}}
	}
	Apply(t, s, save(1, 5, 111))
	Refuse(t, s, save(1, 5, 222), store.ErrStale)
	Refuse(t, s, save(1, 4, 333), store.ErrStale)
	Refuse(t, s, save(2, 9, 444), store.ErrStale)
	Refuse(t, s, store.Enter{Character: 1, Epoch: 1}, store.ErrStale)
	Refuse(t, s, store.Enter{Character: 9, Epoch: 1}, store.ErrStale)
	same(t, "kept", character(t, s, 1), store.Character{ID: 1, Epoch: 1, Soft: save(1, 5, 111).Soft})

	Apply(t, s, store.Enter{Character: 1, Epoch: 2})
	Refuse(t, s, save(1, 100, 555), store.ErrStale)
	Apply(t, s, save(2, 1, 666))
	same(t, "after a new session", character(t, s, 1).X, int64(666))
}

func item(id int64, owner store.Owner) store.Item {
	return store.Item{ID: id, Kind: 1 + id%3, Version: 1, Owner: owner}
}

func moves(t *testing.T, s store.Store) {
	Apply(t, s, Person(1), Person(2))
	place := store.On(65535, 65534)
	sword := item(1, place)
	Apply(t, s, store.Make{Item: sword})
	same(t, "on the ground", must[[]store.Item](t)(s.Ground(ctx)), []store.Item{sword})
	same(t, "in its place", must[[]store.Item](t)(s.Items(ctx, place)), []store.Item{sword})
	if x, y := place.Place(); x != 65535 || y != 65534 {
		t.Errorf("the place is %d, %d", x, y)
	}
	Apply(t, s, store.Move{Item: sword, To: store.Of(1)})
	Refuse(t, s, store.Move{Item: sword, To: store.Of(2)}, store.ErrStale)

	// The owner is as expected again, but the item has been elsewhere meanwhile.
	held := sword
	held.Version, held.Owner = 2, store.Of(1)
	Apply(t, s, store.Move{Item: held, To: place})
	Refuse(t, s, store.Move{Item: sword, To: store.Of(2)}, store.ErrStale)
	Refuse(t, s, store.Destroy{Item: sword}, store.ErrStale)

	lies := sword
	lies.Version = 3
	wrong := lies
	wrong.Owner = store.Of(2)
	Refuse(t, s, store.Move{Item: wrong, To: store.Of(1)}, store.ErrStale)
	wrong = lies
	wrong.Kind++
	Refuse(t, s, store.Destroy{Item: wrong}, store.ErrStale)
	Refuse(t, s, store.Move{Item: lies, To: store.Of(99)}, store.ErrNotFound)
	Refuse(t, s, store.Move{Item: lies, To: store.In(99)}, store.ErrNotFound)
	for _, nobody := range []store.Owner{{}, {Kind: 9, ID: 1}, {Kind: store.Player}, {Kind: store.Ground, ID: -1}, {Kind: store.Ground, ID: 1 << 32}} {
		Refuse(t, s, store.Move{Item: lies, To: nobody}, store.ErrInvalid)
		Refuse(t, s, store.Make{Item: store.Item{ID: 50, Kind: 1, Owner: nobody}}, store.ErrInvalid)
	}
	same(t, "at last", must[[]store.Item](t)(s.Ground(ctx)), []store.Item{lies})
	Clean(t, s)
	Apply(t, s, store.Destroy{Item: lies})
	Refuse(t, s, store.Destroy{Item: lies}, store.ErrStale)
	same(t, "destroyed", len(must[[]store.Item](t)(s.Ground(ctx))), 0)
	Clean(t, s)
}

// race has many writers want one thing at once.
func race(t *testing.T, s store.Store) {
	const players = 20
	for id := range int64(players) {
		Apply(t, s, Person(id+1))
	}
	apple := item(1, store.On(3, 4))
	Apply(t, s, store.Make{Item: apple})
	w := store.NewWriter(s, nil)
	var all sync.WaitGroup
	got := make([]error, players)
	for id := range got {
		all.Go(func() { got[id] = w.Do(ctx, store.Move{Item: apple, To: store.Of(int64(id) + 1)}) })
	}
	all.Wait()
	winners := 0
	for _, err := range got {
		switch {
		case err == nil:
			winners++
		case !errors.Is(err, store.ErrStale):
			t.Error(err)
		}
	}
	if winners != 1 {
		t.Errorf("%d players have the apple", winners)
	}
	if err := w.Close(ctx); err != nil {
		t.Error(err)
	}
	Clean(t, s)
}

func numbers(t *testing.T, s store.Store) {
	first := item(5, store.On(1, 1))
	Apply(t, s, store.Make{Item: first})
	Refuse(t, s, store.Make{Item: first}, store.ErrExists)
	Apply(t, s, store.Destroy{Item: first})
	Refuse(t, s, store.Make{Item: first}, store.ErrExists)
	Refuse(t, s, store.Make{Item: item(4, store.On(1, 1))}, store.ErrExists)
	Refuse(t, s, store.Make{Item: item(8, store.Of(1))}, store.ErrNotFound)
	Refuse(t, s, store.Make{Item: store.Item{ID: 6, Owner: store.On(1, 1)}}, store.ErrInvalid)
	_, last, err := s.Last(ctx)
	same(t, "last item", must[int64](t)(last, err), int64(5))
	Clean(t, s)
}

// wrongAmounts are those of WORLD.md's kind: nothing may come of them.
var wrongAmounts = []int64{-1 << 63, -1 << 31, -1, 0, store.MaxGold + 1, 1<<63 - 1}

func gold(t *testing.T, s store.Store) {
	Apply(t, s, Person(1), Person(2), store.MakeGold{Character: 1, Amount: 100}, store.DestroyGold{Character: 1, Amount: 30})
	for _, n := range wrongAmounts {
		Refuse(t, s, store.MakeGold{Character: 1, Amount: n}, store.ErrAmount)
		Refuse(t, s, store.DestroyGold{Character: 1, Amount: n}, store.ErrAmount)
		if n != 0 {
			Refuse(t, s, store.Trade{ID: "x", A: store.Offer{Character: 1, Gold: n}, B: store.Offer{Character: 2}}, store.ErrAmount)
		}
	}
	Refuse(t, s, store.DestroyGold{Character: 1, Amount: 71}, store.ErrGold)
	Refuse(t, s, store.MakeGold{Character: 1, Amount: store.MaxGold}, store.ErrGold)
	Refuse(t, s, store.MakeGold{Character: 9, Amount: 1}, store.ErrGold)
	Apply(t, s, store.Trade{ID: "gift", A: store.Offer{Character: 1, Gold: 20}, B: store.Offer{Character: 2}})
	same(t, "the purses", []int64{character(t, s, 1).Gold, character(t, s, 2).Gold}, []int64{50, 20})
	Apply(t, s, store.MakeGold{Character: 2, Amount: store.MaxGold - 20})
	Refuse(t, s, store.Trade{ID: "too much", A: store.Offer{Character: 1, Gold: 1}, B: store.Offer{Character: 2}}, store.ErrGold)
	// Nobody pays with what the trade brings.
	Refuse(t, s, store.Trade{ID: "credit", A: store.Offer{Character: 1, Gold: 60}, B: store.Offer{Character: 2, Gold: 60}}, store.ErrGold)
	same(t, "the purses", []int64{character(t, s, 1).Gold, character(t, s, 2).Gold}, []int64{50, store.MaxGold})
	Clean(t, s)
}

func trades(t *testing.T, s store.Store) {
	Apply(t, s, Person(1), Person(2), store.MakeGold{Character: 1, Amount: 10})
	axe, bow, cup := item(1, store.Of(1)), item(2, store.Of(2)), item(3, store.Of(2))
	Apply(t, s, store.Make{Item: axe}, store.Make{Item: bow}, store.Make{Item: cup})
	trade := store.Trade{ID: "one", A: store.Offer{Character: 1, Items: []store.Item{axe}, Gold: 10}, B: store.Offer{Character: 2, Items: []store.Item{bow, cup}}}

	// The last of what is offered has been dropped meanwhile, and picked up again.
	dropped := cup
	dropped.Version, dropped.Owner = 2, store.On(1, 2)
	Apply(t, s, store.Move{Item: cup, To: dropped.Owner}, store.Move{Item: dropped, To: store.Of(2)})
	Refuse(t, s, trade, store.ErrStale)
	same(t, "after a refused trade", must[[]store.Item](t)(s.Items(ctx, store.Of(1))), []store.Item{axe})
	same(t, "gold after it", character(t, s, 1).Gold, int64(10))

	trade.B.Items[1].Version = 3
	Apply(t, s, trade)
	Refuse(t, s, trade, store.ErrExists)
	axe.Version, bow.Version, cup.Version = 2, 2, 4
	axe.Owner, bow.Owner, cup.Owner = store.Of(2), store.Of(1), store.Of(1)
	same(t, "one has", must[[]store.Item](t)(s.Items(ctx, store.Of(1))), []store.Item{bow, cup})
	same(t, "the other has", must[[]store.Item](t)(s.Items(ctx, store.Of(2))), []store.Item{axe})
	same(t, "the purses", []int64{character(t, s, 1).Gold, character(t, s, 2).Gold}, []int64{0, 10})

	for _, bad := range []store.Trade{
		{ID: "self", A: store.Offer{Character: 1, Items: []store.Item{bow}}, B: store.Offer{Character: 1}},
		{ID: "nothing", A: store.Offer{Character: 1}, B: store.Offer{Character: 2}},
		{ID: "", A: store.Offer{Character: 1, Items: []store.Item{bow}}, B: store.Offer{Character: 2}},
		{ID: "twice", A: store.Offer{Character: 1, Items: []store.Item{bow, bow}}, B: store.Offer{Character: 2}},
		{ID: "another's", A: store.Offer{Character: 1, Items: []store.Item{axe}}, B: store.Offer{Character: 2}},
	} {
		Refuse(t, s, bad, store.ErrInvalid)
	}
	Clean(t, s)
}

func chests(t *testing.T, s store.Store) {
	chest := store.Chest{ID: 4, X: 7, Y: 9}
	Apply(t, s, store.AddChest{Chest: chest}, store.AddChest{Chest: store.Chest{ID: 2}})
	Refuse(t, s, store.AddChest{Chest: chest}, store.ErrExists)
	Refuse(t, s, store.AddChest{}, store.ErrInvalid)
	same(t, "chests", must[[]store.Chest](t)(s.Chests(ctx)), []store.Chest{{ID: 2}, chest})
	ring := item(1, store.In(4))
	Apply(t, s, store.Make{Item: ring})
	same(t, "in the chest", must[[]store.Item](t)(s.Items(ctx, store.In(4))), []store.Item{ring})
	Clean(t, s)

	deed := store.Deed{At: time.UnixMilli(1234).UTC(), Actor: "a", Action: "give", Subject: "b", Text: "a sword"}
	second := deed
	second.Action = "kick"
	Apply(t, s, store.Note{Deed: deed}, store.Note{Deed: second})
	same(t, "deeds", must[[]store.Deed](t)(s.Deeds(ctx, 9)), []store.Deed{second, deed})
	same(t, "the last deed", must[[]store.Deed](t)(s.Deeds(ctx, 1)), []store.Deed{second})
}

func refusals(t *testing.T, s store.Store) {
	pen := item(1, store.On(1, 1))
	results, err := s.Apply(ctx, []store.Write{
		Person(1), Person(1), store.Make{Item: pen}, store.Make{Item: item(2, store.Of(77))},
		store.Move{Item: pen, To: store.Of(1)}, store.Trade{}, store.MakeGold{Character: 1, Amount: 5},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, store.ErrExists, nil, store.ErrNotFound, nil, store.ErrInvalid, nil} {
		if !errors.Is(results[i], want) {
			t.Errorf("write %d: %v, want %v", i, results[i], want)
		}
	}
	same(t, "gold", character(t, s, 1).Gold, int64(5))
	Clean(t, s)
}

func closed(t *testing.T, s store.Store) {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(ctx, []store.Write{Person(1)}); err == nil {
		t.Error("a closed store took a write")
	}
}

// Agree does the same random writes in two stores, which must answer the same.
func Agree(t *testing.T, seed uint64, a, b store.Store, rounds int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 18))
	for round := range rounds {
		var writes []store.Write
		for range 20 {
			writes = append(writes, anyWrite(random))
		}
		ra, err := a.Apply(ctx, writes)
		rb, err2 := b.Apply(ctx, writes)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		for i, w := range writes {
			if ra[i] != rb[i] && !(errors.Is(ra[i], rb[i]) || errors.Is(rb[i], ra[i])) {
				t.Fatalf("seed %d, round %d, %#v: %v and %v", seed, round, w, ra[i], rb[i])
			}
		}
	}
	for id := range int64(people) {
		_, ca, _ := a.Account(ctx, fmt.Sprint("player", id+1))
		_, cb, _ := b.Account(ctx, fmt.Sprint("player", id+1))
		same(t, "character", ca, cb)
		same(t, "its items", must[[]store.Item](t)(a.Items(ctx, store.Of(id+1))), must[[]store.Item](t)(b.Items(ctx, store.Of(id+1))))
	}
	same(t, "on the ground", must[[]store.Item](t)(a.Ground(ctx)), must[[]store.Item](t)(b.Ground(ctx)))
	Clean(t, a)
	Clean(t, b)
}

// people is how many characters anyWrite knows.
const people = 4

func anyWrite(r *rand.Rand) store.Write {
	who := func() int64 { return 1 + r.Int64N(people+1) }
	owner := func() store.Owner {
		return []store.Owner{store.Of(who()), store.On(uint16(r.IntN(2)), 1), store.In(1 + r.Int64N(2))}[r.IntN(3)]
	}
	thing := func(o store.Owner) store.Item {
		return store.Item{ID: 1 + r.Int64N(6), Kind: 1, Version: 1 + r.Int64N(4), Owner: o}
	}
	switch r.IntN(11) {
	case 10:
		if r.IntN(8) == 0 {
			return store.Forget{Key: fmt.Sprint("player", who())}
		}
	case 0:
		return Person(1 + r.Int64N(people))
	case 1:
		return store.AddChest{Chest: store.Chest{ID: 1}}
	case 2:
		return store.Make{Item: thing(owner())}
	case 3:
		return store.Enter{Character: who(), Epoch: 1 + r.Int64N(5)}
	case 4:
		return store.Save{Character: who(), Epoch: r.Int64N(5), Soft: store.Soft{Version: r.Int64N(9), X: r.Int64N(100)}}
	case 5:
		return store.MakeGold{Character: who(), Amount: r.Int64N(50)}
	case 6:
		return store.DestroyGold{Character: who(), Amount: r.Int64N(50)}
	case 7:
		a, b := who(), who()
		return store.Trade{
			ID: fmt.Sprint(r.IntN(100)),
			A:  store.Offer{Character: a, Gold: r.Int64N(20), Items: []store.Item{thing(store.Of(a))}[:r.IntN(2)]},
			B:  store.Offer{Character: b, Gold: r.Int64N(20)},
		}
	case 8:
		if r.IntN(8) == 0 {
			return store.Destroy{Item: thing(owner())}
		}
	}
	return store.Move{Item: thing(owner()), To: owner()}
}
