package store_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/epinet/epi/apps/world/store"
	"github.com/epinet/epi/apps/world/store/storetest"
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
