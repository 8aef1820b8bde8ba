package store_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/apps/internal/sqlitefile"
	"github.com/epinet/epi/apps/world/store"
	"github.com/epinet/epi/apps/world/store/storetest"
	"github.com/epinet/epi/internal/epitest"
)

var ctx = context.Background()

func openMemory(*testing.T) store.Store { return store.NewMemory() }

func openSQLite(t *testing.T) store.Store { return open(t, filepath.Join(t.TempDir(), "a b%?#.db")) }

func open(t *testing.T, address string) *store.SQL {
	t.Helper()
	s, err := store.Open(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestMemoryConforms(t *testing.T) { storetest.Conform(t, openMemory) }
func TestSQLiteConforms(t *testing.T) { storetest.Conform(t, openSQLite) }

func TestStoresAgree(t *testing.T) {
	for seed := range uint64(4) {
		a, b := openSQLite(t), openMemory(t)
		storetest.Agree(t, seed, a, b, 20)
		closeStore(t, a)
		closeStore(t, b)
	}
}

// execute does statements where an address leads.
func execute(t *testing.T, driver, address string, statements ...string) {
	t.Helper()
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// Of two servers of one store the second is refused while the first has it; and one whose
// claim was lost and taken by another writes nothing any more.
func claims(t *testing.T, address string) {
	t.Helper()
	first, second := open(t, address), open(t, address)
	claim := func(s store.Store, timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return s.Claim(ctx)
	}
	if err := claim(first, epitest.Patience); err != nil {
		t.Fatal(err)
	}
	storetest.Apply(t, first, storetest.Person(1))
	timeout := 100 * time.Millisecond
	err := claim(second, timeout)
	for ; errors.Is(err, context.DeadlineExceeded) && timeout < epitest.Patience; err = claim(second, timeout) {
		timeout *= 2 // it was too short to ask even once
	}
	if !errors.Is(err, store.ErrTaken) {
		t.Errorf("a second server: %v", err)
	}
	storetest.Clean(t, second) // tools may read
	first.LoseClaim(t)
	if err := claim(second, epitest.Patience); err != nil {
		t.Fatal(err)
	}
	storetest.Apply(t, second, storetest.Person(2))
	if _, err := first.Apply(ctx, []store.Write{storetest.Person(3)}); !errors.Is(err, store.ErrTaken) {
		t.Errorf("a write of the first: %v", err)
	}
	closeStore(t, second)
	closeStore(t, first)
	third := open(t, address)
	if err := claim(third, epitest.Patience); err != nil {
		t.Fatal(err)
	}
	if _, _, err := third.Account(ctx, "player3"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what the first wrote: %v", err)
	}
	closeStore(t, third)
}

func TestOneServerOfAFile(t *testing.T) { claims(t, filepath.Join(t.TempDir(), "world.db")) }

// A link to the file of a store leads to the same claim.
func TestOneServerOfALink(t *testing.T) {
	file := filepath.Join(t.TempDir(), "world.db")
	first := open(t, file)
	if err := first.Claim(ctx); err != nil {
		t.Fatal(err)
	}
	link := file + "-link"
	if err := os.Symlink(file, link); err != nil {
		t.Skip(err) // Windows wants a right for that
	}
	if _, err := sqlitefile.Claim(ctx, link, 0); !errors.Is(err, sqlitefile.ErrClaimed) {
		t.Errorf("a second server has the store: %v", err)
	}
	closeStore(t, first)
}

// What a world knows of its players is for its user alone, also in the files beside the store's.
func TestFilesAreTheUsersAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes are not what protects files there")
	}
	file := filepath.Join(t.TempDir(), "world.db")
	s := open(t, file)
	storetest.Apply(t, s, storetest.Person(1))
	for _, name := range []string{file, file + "-wal", file + "-shm"} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	closeStore(t, s)
}

// A URL of something else is no name of a file.
func TestAddressOfSomethingElse(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, address := range []string{"http://localhost/world", "mysql://anna:secret@localhost/world"} {
		_, err := store.Open(ctx, address)
		if !errors.Is(err, store.ErrScheme) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if files, err := os.ReadDir("."); err != nil || len(files) != 0 {
		t.Errorf("%v, %v", files, err)
	}
}

// A server of a newer program that cannot get a store leaves the schema to the one that has
// it, and gets it with its own when that has ended.
func TestOlderDatabaseOfAnotherServerStaysSo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "world.db")
	first := open(t, file)
	if err := first.Claim(ctx); err != nil {
		t.Fatal(err)
	}
	execute(t, "sqlite", "file:"+file, "ALTER TABLE marks DROP COLUMN played", "UPDATE epi_world SET version = 1")
	if _, err := store.Open(ctx, file); !errors.Is(err, store.ErrTaken) {
		t.Fatalf("a second server: %v", err)
	}
	if _, err := store.OpenAsIs(ctx, file); !errors.Is(err, store.ErrOlder) {
		t.Errorf("the schema is no longer the first's: %v", err)
	}
	execute(t, "sqlite", "file:"+file, "ALTER TABLE marks DROP COLUMN holder")
	closeStore(t, first)
	second, third := open(t, file), open(t, file)
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := third.Claim(short); err == nil {
		t.Error("a third server has the store that the second is to serve")
	}
	if err := second.Claim(ctx); err != nil {
		t.Error(err)
	}
	closeStore(t, second)
	closeStore(t, third)
}
