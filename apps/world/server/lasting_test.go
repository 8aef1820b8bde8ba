package server_test

import (
	"context"
	"crypto/sha256"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/server"
	"github.com/epinet/epi/apps/world/store"
	"github.com/epinet/epi/internal/epitest"
)

// keeping are settings of a world whose players last.
func keeping(s store.Store) server.Config {
	config := settings()
	config.World.Monsters = 0
	config.Store = s
	return config
}

func openStore(t testing.TB, file string) *store.SQL {
	t.Helper()
	s, err := store.Open(context.Background(), file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// keep ends a world and its store.
func (w *world) keep(s store.Store) {
	w.t.Helper()
	w.keepOpen()
	if err := s.Close(); err != nil {
		w.t.Error(err)
	}
}

// A player is after the drain and another start where it was, with the same token; and
// with no other.
func TestPlayersLast(t *testing.T) {
	file := filepath.Join(t.TempDir(), "world.db")
	s := openStore(t, file)
	w := start(t, keeping(s))
	a := w.join("anna")
	a.walks()
	x, y := a.replica.Own.X, a.replica.Own.Y
	w.keep(s)

	s = openStore(t, file)
	w = start(t, keeping(s))
	thief := w.join("Anna")
	if thief.refused == nil || thief.refused.Reason != 3 {
		t.Errorf("who has no token: %+v", thief.refused)
	}
	again := w.connect()
	again.hello("anna", a.welcome.Token)
	if again.refused != nil || again.welcome.X != x || again.welcome.Y != y {
		t.Errorf("it was at %d, %d, and is at %d, %d (%+v)", x, y, again.welcome.X, again.welcome.Y, again.refused)
	}
	w.keep(s)
}

// Who goes and comes at once is where it was: the last snapshot is written before the
// account is read.
func TestWhoComesBackAtOnceIsWhereItWas(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "world.db"))
	config := keeping(s)
	config.Grace = 0
	w := start(t, config)
	a := w.join("anna")
	token := a.welcome.Token
	for range 5 {
		a.walks()
		x, y := a.replica.Own.X, a.replica.Own.Y
		epitest.Reset(t, a.conn)
		epitest.WaitUntil(t, "the end of the player", func() bool { return w.Stats().Players == 0 })
		a = w.connect()
		a.hello("anna", token)
		if a.refused != nil || a.welcome.Resumed != 0 || a.welcome.X != x || a.welcome.Y != y {
			t.Fatalf("it was at %d, %d, and is at %d, %d (%+v)", x, y, a.welcome.X, a.welcome.Y, a.refused)
		}
	}
	w.keep(s)
}

// Who leaves while the store fails is saved when it works again, and cannot come in before: it
// would be where it was long ago.
func TestWhoLeavesWhileTheStoreFailsIsSavedLater(t *testing.T) {
	t.Parallel()
	s := &breaking{Store: store.NewMemory(), let: make(chan struct{})}
	close(s.let)
	config := keeping(s)
	config.Grace = 0
	w := start(t, config)
	a := w.join("anna")
	a.walks()
	s.broken.Store(true)
	a.walks()
	x, y := a.replica.Own.X, a.replica.Own.Y
	a.send(&proto.Bye{})
	a.ends()
	epitest.WaitUntil(t, "the end of the player", func() bool { return w.Stats().Players == 0 })
	failed := w.Stats().Store.Failed
	epitest.WaitUntil(t, "a failure behind its end", func() bool { return w.Stats().Store.Failed > failed })
	early := w.connect()
	early.hello("anna", a.welcome.Token)
	if early.refused == nil {
		t.Errorf("it comes in at %d, %d while the store fails", early.welcome.X, early.welcome.Y)
	}
	s.broken.Store(false)
	epitest.WaitUntil(t, "the snapshot", func() bool {
		_, c, err := s.Account(t.Context(), "anna")
		return err == nil && c.X == int64(x) && c.Y == int64(y)
	})
	again := w.connect()
	again.hello("anna", a.welcome.Token)
	if again.refused != nil || again.welcome.X != x || again.welcome.Y != y {
		t.Errorf("it was at %d, %d, and is at %d, %d (%+v)", x, y, again.welcome.X, again.welcome.Y, again.refused)
	}
	w.keep(s)
}

// TestCase07_PlacesThatMakeNoSense: somebody whose stored place is outside, or whose
// health is absurd, comes in, at a place where one can be.
func TestCase07_PlacesThatMakeNoSense(t *testing.T) {
	s := store.NewMemory()
	w := start(t, keeping(s))
	a := w.join("anna")
	token := a.welcome.Token
	w.keepOpen()
	for _, soft := range []store.Soft{
		{X: -1 << 62, Y: 1 << 62, Health: 1 << 40, Experience: -5},
		{X: 1 << 40, Y: -1, Health: -3, Experience: 1 << 62},
		{Health: 1},
	} {
		_, c, err := s.Account(context.Background(), "anna")
		if err != nil {
			t.Fatal(err)
		}
		soft.Version = c.Version + 1
		if results, err := s.Apply(context.Background(), []store.Write{store.Save{Character: c.ID, Epoch: c.Epoch, Soft: soft}}); err != nil || results[0] != nil {
			t.Fatal(results, err)
		}
		w := start(t, keeping(s))
		again := w.connect()
		again.hello("anna", token)
		if again.refused != nil {
			t.Fatalf("%+v: %+v", soft, again.refused)
		}
		again.walks()
		w.keepOpen()
	}
}

// keepOpen ends a world, and lets its store be.
func (w *world) keepOpen() {
	w.t.Helper()
	w.end()
	epitest.WaitUntil(w.t, "the end of the sessions", func() bool { return w.Stats().Sessions == 0 })
	ctx, cancel := context.WithTimeout(context.Background(), epitest.Patience)
	defer cancel()
	if err := w.Keep(ctx); err != nil {
		w.t.Error(err)
	}
}

// A stopped store commits and answers nothing until it is let.
type stopped struct {
	store.Store
	goOn chan struct{} // closed: all goes on
}

func (s *stopped) Apply(ctx context.Context, writes []store.Write) ([]error, error) {
	<-s.goOn
	return s.Store.Apply(ctx, writes)
}

// While the store is stopped the world goes on, for those who are in it; who comes in
// meanwhile comes in afterwards.
func TestTheWorldGoesOnWithoutItsStore(t *testing.T) {
	s := &stopped{Store: store.NewMemory(), goOn: make(chan struct{})}
	w := start(t, keeping(s))
	a := w.connect()
	hello := make(chan struct{})
	go func() {
		defer close(hello)
		a.hello("anna", nil)
	}()
	before := w.Stats().Ticks
	epitest.WaitUntil(t, "ticks", func() bool { st := w.Stats(); return st.Ticks > before+10 && st.Sessions == 1 })
	if n := w.Stats().Players; n != 0 {
		t.Errorf("%d players are in the world, and in no store", n)
	}
	close(s.goOn)
	<-hello
	a.walks()
	w.keep(s)
}

// A held store commits while its lock is free.
type held struct {
	store.Store
	commits sync.Mutex
	waiting atomic.Int32 // commits for the lock
}

func (s *held) Apply(ctx context.Context, writes []store.Write) ([]error, error) {
	s.waiting.Add(1)
	s.commits.Lock()
	s.waiting.Add(-1)
	defer s.commits.Unlock()
	return s.Store.Apply(ctx, writes)
}

// Of two decisions about one player, made while the store is slow, neither takes the
// other back; and both last when the world has ended.
func TestDecisionsOfModeratorsLast(t *testing.T) {
	s := &held{Store: store.NewMemory()}
	config := keeping(s)
	config.Moderators = map[[sha256.Size]byte]string{sha256.Sum256([]byte("secret")): "chief"}
	w := start(t, config)
	a, _ := w.join("anna"), w.join("bert")
	a.send(&proto.Moderate{Key: []byte("secret")})
	a.noticed(8)
	s.commits.Lock()
	a.send(&proto.Order{Kind: 2, Name: "nobody"})
	epitest.WaitUntil(t, "a commit that is held", func() bool { return s.waiting.Load() > 0 })
	a.send(&proto.Order{Kind: 1, Name: "bert"}, &proto.Order{Kind: 4, Name: "bert"})
	epitest.WaitUntil(t, "two decisions and their notes", func() bool { return w.Stats().Store.Waiting >= 4 })
	if len(a.notices) != 1 {
		t.Errorf("the moderator reads %+v before the store has anything", a.notices)
	}
	s.commits.Unlock()
	for range 3 {
		a.noticed(7)
	}
	w.keepOpen()

	b, _, err := s.Account(context.Background(), "bert")
	if err != nil || b.Muted.IsZero() || b.Banned.IsZero() {
		t.Errorf("muted until %v, banned until %v, %v", b.Muted, b.Banned, err)
	}
	if deeds, err := s.Deeds(context.Background(), 10); err != nil || len(deeds) != 3 {
		t.Errorf("deeds: %v, %v", deeds, err)
	}
}

// A ban in a store outlasts the world, and a moderator of a later one ends it for good. The
// moderator reads of a ban that ends with the world, and of one that only the configuration
// takes back.
func TestUnban(t *testing.T) {
	t.Parallel()
	s := store.NewMemory()
	config := givers(s)
	config.Banned = []string{"carl"}
	w := start(t, config)
	a, b := w.join("anna"), w.join("bert")
	a.send(&proto.Moderate{Key: []byte("secret")}, &proto.Order{Kind: 4, Name: "bert"}, &proto.Order{Kind: 4, Name: "nobody"})
	a.noticed(7)
	a.noticed(17)
	w.keepOpen()

	again := func(want uint8) {
		t.Helper()
		c := w.connect()
		c.hello("bert", b.welcome.Token)
		if got := c.reason(); got != want {
			t.Errorf("refused with %d, want %d", got, want)
		}
	}
	w = start(t, config)
	again(13)
	m := w.connect()
	m.hello("anna", a.welcome.Token)
	m.send(&proto.Moderate{Key: []byte("secret")}, &proto.Order{Kind: 6, Name: "carl"})
	m.noticed(18)
	for _, order := range []uint8{6, 4, 6} {
		m.send(&proto.Order{Kind: order, Name: "bert"})
		m.noticed(7)
		again(map[uint8]uint8{4: 13}[order])
	}
	w.keepOpen()
	w = start(t, config)
	again(0)
	w.keepOpen()
}

// One address makes as many accounts as it may; who has one comes in all the same.
func TestAccountsOfOneAddress(t *testing.T) {
	t.Parallel()
	config := keeping(store.NewMemory())
	config.NewAccounts = 2
	w := start(t, config)
	a := w.join("anna")
	w.join("bert")
	for _, name := range []string{"carl", "dora"} {
		if c := w.join(name); c.reason() != 14 {
			t.Errorf("%s: refused with %d", name, c.reason())
		}
	}
	a.send(&proto.Bye{})
	a.ends()
	again := w.connect()
	again.hello("anna", a.welcome.Token)
	if again.refused != nil {
		t.Errorf("who has an account: %+v", again.refused)
	}
	w.keepOpen()
}
