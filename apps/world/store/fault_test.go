package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	_ "modernc.org/sqlite" // for what other programs do to a file

	"github.com/epinet/epi/apps/world/store"
	"github.com/epinet/epi/apps/world/store/storetest"
)

// A gated store commits when it is let.
type gated struct {
	store.Store
	enter, leave chan struct{}
}

func (g *gated) Apply(ctx context.Context, writes []store.Write) ([]error, error) {
	g.enter <- struct{}{}
	<-g.leave
	return g.Store.Apply(ctx, writes)
}

// let lets commits through until the writer is closed.
func (g *gated) let(t *testing.T, w *store.Writer) {
	t.Helper()
	closed := make(chan error, 1)
	go func() { closed <- w.Close(ctx) }()
	for {
		select {
		case <-g.enter:
			g.leave <- struct{}{}
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
			return
		}
	}
}

// A full queue answers at once, and snapshots take no room in it: of each character
// only the newest is kept.
func TestFullQueueIsBusy(t *testing.T) {
	s := &gated{Store: store.NewMemory(), enter: make(chan struct{}), leave: make(chan struct{})}
	storetest.Apply(t, s.Store, storetest.Person(1))
	w := store.NewWriter(s, func(_ store.Save, err error) { t.Error(err) })
	w.Write(store.MakeGold{Character: 1, Amount: 1}, nil)
	<-s.enter
	for range store.MaxWaiting {
		w.Write(store.MakeGold{Character: 1, Amount: 1}, nil)
	}
	busy := make(chan error)
	w.Write(store.MakeGold{Character: 1, Amount: 1}, func(err error) { busy <- err })
	if err := <-busy; !errors.Is(err, store.ErrBusy) {
		t.Errorf("a write into a full queue: %v", err)
	}
	for version := range int64(1000) {
		w.Save(store.Save{Character: 1, Soft: store.Soft{Version: version + 1, X: version}})
	}
	if got := w.Stats(); got.Busy != 1 || got.Saves != 1 || got.Waiting != store.MaxWaiting {
		t.Errorf("%+v", got)
	}
	s.leave <- struct{}{}
	s.let(t, w)
	_, c, err := s.Account(ctx, "player1")
	if err != nil || c.Gold != store.MaxWaiting+1 || c.X != 999 {
		t.Errorf("%+v, %v", c, err)
	}
	after := make(chan error)
	w.Write(store.MakeGold{Character: 1, Amount: 1}, func(err error) { after <- err })
	if err := <-after; !errors.Is(err, store.ErrClosed) {
		t.Errorf("a write after Close: %v", err)
	}
}

// Files that are not ours are refused, each with its reason, and stay as they are.
func TestFilesThatAreNotOurs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	change := func(name, statement string) string {
		file := filepath.Join(dir, name)
		execute(t, "sqlite", "file:"+file, statement)
		return file
	}
	closeStore(t, open(t, filepath.Join(dir, "newer.db")))
	for _, c := range []struct {
		file string
		want error
	}{
		{write("text.db", strings.Repeat("this is no database\n", 100)), store.ErrForeign},
		{change("other.db", "CREATE TABLE t (a)"), store.ErrForeign},
		{change("newer.db", "UPDATE epi_world SET version = 999"), store.ErrNewer},
	} {
		before, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.Open(ctx, c.file)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.file) {
			t.Errorf("%s: %v, want %v", c.file, err, c.want)
		}
		if after, err := os.ReadFile(c.file); err != nil || string(after) != string(before) {
			t.Errorf("%s was changed: %v", c.file, err)
		}
	}
}

// TestOlderDatabaseStaysSo: who only reads a store, or copies it, leaves it to the program that serves it.
func TestOlderDatabaseStaysSo(t *testing.T) {
	dir := t.TempDir()
	file, copied := filepath.Join(dir, "world.db"), filepath.Join(dir, "copy.db")
	closeStore(t, open(t, file))
	s, err := store.OpenAsIs(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	execute(t, "sqlite", "file:"+file, "UPDATE epi_world SET version = 1")
	if err := store.Backup(ctx, file, copied); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{file, copied} {
		if _, err := store.OpenAsIs(ctx, file); !errors.Is(err, store.ErrOlder) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// When the disk is full nothing is acknowledged and nothing changes; with room again
// all goes on.
func TestFullDisk(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "world.db"))
	defer closeStore(t, s)
	storetest.Apply(t, s, storetest.Person(1), store.MakeGold{Character: 1, Amount: 7})
	s.LimitPages(t, 1) // fewer than there are: no more
	big := store.Note{Deed: store.Deed{Text: strings.Repeat("x", 1<<20)}}
	if _, err := s.Apply(ctx, []store.Write{store.MakeGold{Character: 1, Amount: 1}, big}); err == nil {
		t.Error("a full disk took a megabyte")
	}
	_, c, err := s.Account(ctx, "player1")
	if err != nil || c.Gold != 7 {
		t.Errorf("%+v, %v", c, err)
	}
	s.LimitPages(t, 1<<30)
	storetest.Apply(t, s, store.MakeGold{Character: 1, Amount: 1}, big)
	storetest.Clean(t, s)
}

// What somebody did to the file is found, each in its own words.
func TestAuditFindsWhatCannotBe(t *testing.T) {
	for _, c := range []struct{ statement, want string }{
		{"UPDATE items SET player = NULL", "has not one owner"},
		{"UPDATE items SET ground = 5", "has not one owner"},
		{"UPDATE items SET player = 77", "belongs to a character that is gone"},
		{"INSERT INTO items VALUES (2, 1, 1, 1, NULL, NULL)", "not as many as were made"},
		{"DELETE FROM items", "not as many as were made"},
		{"UPDATE items SET kind = 5", "were never made"},
		{"UPDATE characters SET gold = gold + 1", "pieces of gold"},
		{"UPDATE characters SET gold = -5", "owes gold"},
		{"DELETE FROM characters", "has no character"},
	} {
		file := filepath.Join(t.TempDir(), "world.db")
		s := open(t, file)
		storetest.Apply(t, s, storetest.Person(1), store.MakeGold{Character: 1, Amount: 7}, store.Make{Item: store.Item{ID: 1, Kind: 1, Owner: store.Of(1)}})
		storetest.Clean(t, s)
		closeStore(t, s)
		execute(t, "sqlite", "file:"+file+"?_pragma=ignore_check_constraints(1)&_pragma=foreign_keys(0)", c.statement)
		s = open(t, file)
		problems, err := s.Audit(ctx)
		if err != nil || !strings.Contains(strings.Join(problems, "\n"), c.want) {
			t.Errorf("%s: %q, %v", c.statement, problems, err)
		}
		closeStore(t, s)
	}
}

func TestBackupWhileWriting(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "world.db"))
	defer closeStore(t, s)
	storetest.Apply(t, s, storetest.Person(1))
	w := store.NewWriter(s, nil)
	for id := range int64(1000) {
		w.Write(store.Make{Item: store.Item{ID: id + 1, Kind: 1, Owner: store.Of(1)}}, nil)
	}
	copied := filepath.Join(dir, "backup.db")
	if err := store.Backup(ctx, filepath.Join(dir, "world.db"), copied); err != nil {
		t.Fatal(err)
	}
	if err := store.Backup(ctx, filepath.Join(dir, "world.db"), copied); err == nil {
		t.Error("a backup went over another")
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	b := open(t, copied)
	defer closeStore(t, b)
	storetest.Clean(t, b)
	_, last, err := b.Last(ctx)
	items, err2 := b.Items(ctx, store.Of(1))
	if err != nil || err2 != nil || len(items) != int(last) {
		t.Errorf("%d items, the last %d: %v, %v", len(items), last, err, err2)
	}
}

// A failing store refuses what it is told to.
type failing struct {
	store.Store
	mu   sync.Mutex
	fail error // guarded by mu
}

func (f *failing) Apply(ctx context.Context, writes []store.Write) ([]error, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	return f.Store.Apply(ctx, writes)
}

func TestWriterGoesOnAfterAFailure(t *testing.T) {
	full := errors.New("disk is full")
	s := &failing{Store: store.NewMemory(), fail: full}
	lost := make(chan error, 1)
	w := store.NewWriter(s, func(_ store.Save, err error) { lost <- err })
	if err := w.Do(ctx, storetest.Person(1)); !errors.Is(err, full) {
		t.Errorf("while the disk is full: %v", err)
	}
	w.Save(store.Save{Character: 1, Soft: store.Soft{Version: 1}})
	if err := <-lost; !errors.Is(err, full) {
		t.Errorf("a snapshot: %v", err)
	}
	s.mu.Lock()
	s.fail = nil
	s.mu.Unlock()
	if err := w.Do(ctx, storetest.Person(1)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// A database of an older version is brought up to date, with all that is in it.
func TestOlderDatabaseIsBroughtUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "world.db")
	s := open(t, file)
	storetest.Apply(t, s, storetest.Person(3), store.Make{Item: store.Item{ID: 8, Kind: 1, Owner: store.Of(3)}})
	closeStore(t, s)
	execute(t, "sqlite", "file:"+file, "ALTER TABLE marks DROP COLUMN played", "ALTER TABLE marks DROP COLUMN holder", "UPDATE epi_world SET version = 1")
	s = open(t, file)
	defer closeStore(t, s)
	if character, item, err := s.Last(ctx); character != 3 || item != 8 || err != nil {
		t.Errorf("the last are %d and %d, %v", character, item, err)
	}
	storetest.Clean(t, s)
}
