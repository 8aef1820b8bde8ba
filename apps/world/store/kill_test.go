package store_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epinet/epi/apps/world/store"
	"github.com/epinet/epi/apps/world/store/storetest"
	"github.com/epinet/epi/internal/epitest"
)

var kills = flag.Int("kills", 4, "how often TestKilledWorldKeepsWhatItAcknowledged kills a program that writes")

func TestMain(m *testing.M) {
	epitest.Main(m, map[string]func([]string) error{"trader": trade})
}

// pairs is how many pairs of players trade in the child.
const pairs = 8

// trade is a role: pairs trade at an address until the process is killed, and it prints
// what was acknowledged.
func trade(args []string) error {
	s, err := store.Open(ctx, args[0])
	if err != nil {
		return err
	}
	_, last, err := s.Last(ctx)
	if err != nil {
		return err
	}
	c := &child{store: s, writer: store.NewWriter(s, nil)}
	c.last.Store(last)
	var all sync.WaitGroup
	for n := range int64(pairs) {
		all.Go(func() { c.play(2*n+1, 2*n+2) })
	}
	all.Wait()
	return nil
}

type child struct {
	store  *store.SQL
	writer *store.Writer
	last   atomic.Int64 // item
	number sync.Mutex   // items are made in the order of their numbers
}

// A pair is two players, and all that they have or have dropped.
type pair struct {
	*child
	random  *rand.Rand
	a, b    int64
	items   []store.Item
	version int64
	epoch   int64
}

func (c *child) play(a, b int64) {
	p := &pair{child: c, random: rand.New(rand.NewPCG(uint64(a), uint64(time.Now().UnixNano()))), a: a, b: b}
	for _, id := range []int64{a, b} {
		_ = c.writer.Do(ctx, storetest.Person(id)) // it may be there
	}
	_, known, err := c.store.Account(ctx, fmt.Sprint("player", a))
	p.must(err)
	p.epoch = known.Epoch + 1
	p.must(c.writer.Do(ctx, store.Enter{Character: a, Epoch: p.epoch}))
	for _, owner := range []store.Owner{store.Of(a), store.Of(b), p.place()} {
		items, err := c.store.Items(ctx, owner)
		p.must(err)
		p.items = append(p.items, items...)
	}
	for {
		p.step()
	}
}

func (p *pair) place() store.Owner { return store.On(uint16(p.a), 1) }

func (p *pair) must(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func (p *pair) step() {
	p.version++
	p.writer.Save(store.Save{Character: p.a, Epoch: p.epoch, Soft: store.Soft{Version: p.version, X: p.version}})
	switch what := p.random.IntN(10); {
	case len(p.items) < 3 || what == 0 && len(p.items) < 10:
		p.make()
	case what == 1:
		p.destroy(p.random.IntN(len(p.items)))
	case what < 6:
		p.move(p.random.IntN(len(p.items)))
	default:
		p.trade()
	}
}

func (p *pair) make() {
	p.number.Lock()
	item := store.Item{ID: p.last.Add(1), Kind: 1 + p.random.Int64N(4), Version: 1, Owner: store.Of(p.a)}
	done := make(chan error, 1)
	p.writer.Write(store.Make{Item: item}, func(err error) { done <- err })
	p.number.Unlock()
	p.must(<-done)
	p.items = append(p.items, item)
	say(item)
}

func say(i store.Item) {
	_, _ = os.Stdout.WriteString(fmt.Sprintln("item", i.ID, i.Kind, i.Version, i.Owner.Kind, i.Owner.ID))
}

func (p *pair) destroy(n int) {
	item := p.items[n]
	_, _ = os.Stdout.WriteString(fmt.Sprintln("destroying", item.ID))
	p.must(p.writer.Do(ctx, store.Destroy{Item: item}))
	_, _ = os.Stdout.WriteString(fmt.Sprintln("destroyed", item.ID))
	p.items = append(p.items[:n], p.items[n+1:]...)
}

func (p *pair) move(n int) {
	to := []store.Owner{store.Of(p.a), store.Of(p.b), p.place()}[p.random.IntN(3)]
	p.must(p.writer.Do(ctx, store.Move{Item: p.items[n], To: to}))
	p.moved(n, to)
}

func (p *pair) moved(n int, to store.Owner) {
	p.items[n].Owner = to
	p.items[n].Version++
	say(p.items[n])
}

func (p *pair) trade() {
	p.must(p.writer.Do(ctx, store.MakeGold{Character: p.a, Amount: 3}))
	t := store.Trade{ID: fmt.Sprint(p.a, p.epoch, p.version), A: store.Offer{Character: p.a, Gold: 3}, B: store.Offer{Character: p.b}}
	for _, item := range p.items {
		switch item.Owner {
		case store.Of(p.a):
			t.A.Items = append(t.A.Items, item)
		case store.Of(p.b):
			t.B.Items = append(t.B.Items, item)
		}
	}
	offer := fmt.Sprint("offer ", p.a)
	for _, item := range slices.Concat(t.A.Items, t.B.Items) {
		offer += fmt.Sprint(" ", item.ID, " ", item.Version)
	}
	_, _ = os.Stdout.WriteString(offer + "\n")
	p.must(p.writer.Do(ctx, t))
	for n, item := range p.items {
		switch item.Owner {
		case store.Of(p.a):
			p.moved(n, store.Of(p.b))
		case store.Of(p.b):
			p.moved(n, store.Of(p.a))
		}
	}
}

// What a child has acknowledged, by item.
type acknowledged struct {
	items      map[int64]store.Item
	destroying map[int64]bool
	destroyed  map[int64]bool
	offers     map[int64][]int64 // by player, the last: item, version, item, ...
}

func (a *acknowledged) note(t *testing.T, line string) {
	t.Helper()
	var i store.Item
	var id int64
	switch {
	case scan(line, "item %d %d %d %d %d", &i.ID, &i.Kind, &i.Version, &i.Owner.Kind, &i.Owner.ID):
		a.items[i.ID] = i
	case scan(line, "destroying %d", &id):
		a.destroying[id] = true
	case scan(line, "destroyed %d", &id):
		a.destroyed[id] = true
	case strings.HasPrefix(line, "offer "):
		a.offer(t, strings.Fields(line)[1:])
	default:
		t.Fatalf("the child said %q", line)
	}
}

func (a *acknowledged) offer(t *testing.T, fields []string) {
	t.Helper()
	var numbers []int64
	for _, field := range fields {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, n)
	}
	a.offers[numbers[0]] = numbers[1:]
}

func scan(line, format string, into ...any) bool {
	n, err := fmt.Sscanf(line, format, into...)
	return err == nil && n == len(into)
}

// check compares what was acknowledged with what is kept.
func (a *acknowledged) check(t *testing.T, s store.Store) {
	t.Helper()
	storetest.Clean(t, s)
	kept := map[int64]store.Item{}
	for id := range int64(2 * pairs) {
		for _, owner := range []store.Owner{store.Of(id + 1), store.On(uint16(id+1), 1)} {
			items, err := s.Items(ctx, owner)
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range items {
				if _, twice := kept[item.ID]; twice {
					t.Errorf("item %d is there twice", item.ID)
				}
				kept[item.ID] = item
			}
		}
	}
	for player, offer := range a.offers {
		moved := 0
		for n := 0; n < len(offer); n += 2 {
			if item, there := kept[offer[n]]; !there || item.Version > offer[n+1] {
				moved++
			}
		}
		if moved != 0 && moved != len(offer)/2 {
			t.Errorf("of the %d items in the last trade of player %d %d have changed hands", len(offer)/2, player, moved)
		}
	}
	clear(a.offers) // the next child begins with what there is
	for id, want := range a.items {
		got, there := kept[id]
		switch {
		case a.destroyed[id] && there:
			t.Errorf("item %d was destroyed, and is there", id)
		case !there && !a.destroying[id]:
			t.Errorf("item %d is lost", id)
		case there && (got.Version < want.Version || got.Version == want.Version && got != want):
			t.Errorf("item %d is %+v, but %+v was acknowledged", id, got, want)
		}
	}
}

func newAcknowledged() *acknowledged {
	return &acknowledged{map[int64]store.Item{}, map[int64]bool{}, map[int64]bool{}, map[int64][]int64{}}
}

// TestKilledWorldKeepsWhatItAcknowledged kills a program under load again and again,
// at any moment: no item that it acknowledged is lost, doubled, or elsewhere.
func TestKilledWorldKeepsWhatItAcknowledged(t *testing.T) {
	killAgain(t, filepath.Join(t.TempDir(), "world.db"), *kills)
}

func killAgain(t *testing.T, address string, kills int) {
	a := newAcknowledged()
	for range kills {
		epitest.StartChild(t, "trader", address).KillAfter(1+rand.IntN(300), func(line string) { a.note(t, line) })
		s := open(t, address)
		a.check(t, s)
		closeStore(t, s)
	}
}

func TestAcknowledgedAfterTheCommit(t *testing.T) {
	s := &gated{Store: store.NewMemory(), enter: make(chan struct{}), leave: make(chan struct{})}
	w := store.NewWriter(s, nil)
	var acknowledged atomic.Int32
	w.Write(storetest.Person(1), func(err error) {
		acknowledged.Add(1)
		if err != nil {
			t.Error(err)
		}
	})
	<-s.enter // the commit is under way
	if n := acknowledged.Load(); n != 0 {
		t.Errorf("acknowledged %d times before the commit", n)
	}
	s.leave <- struct{}{}
	if err := w.Close(ctx); err != nil {
		t.Error(err)
	}
	if n := acknowledged.Load(); n != 1 {
		t.Errorf("acknowledged %d times, want once", n)
	}
}
