package store_test

import (
	"path/filepath"
	"testing"

	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/apps/chat/store/storetest"
	"github.com/epinet/epi/internal/epitest"
)

func TestMain(m *testing.M) {
	epitest.Main(m, map[string]func([]string) error{"writer": writeMessages})
}

func openSQLite(t *testing.T) store.Store {
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "a b%?#.db"), store.Relaxed)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openMemory(*testing.T) store.Store { return store.NewMemory() }

func TestSQLiteConforms(t *testing.T) { storetest.Conform(t, openSQLite) }
func TestMemoryConforms(t *testing.T) { storetest.Conform(t, openMemory) }

func TestStoresAgree(t *testing.T) {
	for seed := range uint64(4) {
		a, b := openSQLite(t), openMemory(t)
		storetest.Agree(t, seed, a, b, 15)
		for _, s := range []store.Store{a, b} {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
