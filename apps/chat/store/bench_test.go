package store_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/apps/chat/store/storetest"
)

var vocabulary = func() (words []string) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 5000 {
		word := make([]byte, 3+r.IntN(8))
		for i := range word {
			word[i] = 'a' + byte(r.IntN(26))
		}
		words = append(words, string(word))
	}
	return words
}()

func sentence(r *rand.Rand) (text string) {
	for range 8 {
		text += vocabulary[r.IntN(len(vocabulary))] + " "
	}
	return text
}

// BenchmarkWriter commits messages as a busy server does: many wait at once.
func BenchmarkWriter(b *testing.B) {
	s, err := store.Open(b.Context(), filepath.Join(b.TempDir(), "chat.db"), store.Commit)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	r := rand.New(rand.NewPCG(1, 2))
	w := store.NewWriter(s)
	gate := make(chan struct{}, 500)
	id := store.IDAt(time.Now())
	b.ResetTimer()
	for i := range b.N {
		gate <- struct{}{}
		w.Write(storetest.Said(id+store.ID(i), fmt.Sprintf("#c%d", i%100), sentence(r)), func(err error) {
			if err != nil {
				b.Error(err)
			}
			<-gate
		})
	}
	if err := w.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// large is a history of a million messages in 100 channels, made once.
func large(b *testing.B) *store.SQLite {
	s, err := store.Open(b.Context(), filepath.Join(b.TempDir(), "chat.db"), store.Relaxed)
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 3))
	var writes []store.Write
	for i := range 1_000_000 {
		text := sentence(r)
		if i%100_000 == 50_000 {
			text += "needle"
		}
		writes = append(writes, storetest.Said(store.ID(i+1), fmt.Sprintf("#c%d", i%100), text))
		if len(writes) == 1000 {
			if _, err := s.Apply(b.Context(), writes); err != nil {
				b.Fatal(err)
			}
			writes = writes[:0]
		}
	}
	if err := s.WaitIndexed(b.Context()); err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkMillion reads from a history of 1,000,000 messages.
func BenchmarkMillion(b *testing.B) {
	s := large(b)
	defer s.Close()
	var scopes []store.Scope
	for i := range 100 {
		scopes = append(scopes, store.Scope{Target: fmt.Sprintf("#c%d", i)})
	}
	b.Run("page", func(b *testing.B) {
		for i := range b.N {
			page, err := s.Messages(b.Context(), store.Query{Target: fmt.Sprintf("#c%d", i%100), Before: store.ID(1 + (i*7919)%1_000_000), Limit: 100, Latest: true})
			if err != nil || i > 100 && len(page) == 0 && (i*7919)%1_000_000 > 20_000 {
				b.Fatal(len(page), err)
			}
		}
	})
	b.Run("rare word", func(b *testing.B) {
		for range b.N {
			found, err := s.Search(b.Context(), store.Search{Targets: scopes, Text: []string{"needle"}, Limit: 50})
			if err != nil || len(found) != 10 {
				b.Fatal(len(found), err)
			}
		}
	})
}
