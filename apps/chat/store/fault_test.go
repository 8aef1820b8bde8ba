package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/apps/chat/store/storetest"
	"github.com/epinet/epi/internal/epitest"
)

var ctx = context.Background()

func open(t *testing.T, file string, d store.Durability) *store.SQLite {
	t.Helper()
	s, err := store.Open(ctx, file, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFilesThatAreNotOurs: a foreign, a truncated and a newer database are refused,
// each with its reason, and stay as they are.
func TestFilesThatAreNotOurs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	execute := func(name, statement string) string {
		file := filepath.Join(dir, name)
		db, err := sql.Open("sqlite", "file:"+file)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
		return file
	}
	newer := filepath.Join(dir, "newer.db")
	closeStore(t, open(t, newer, store.Commit))
	execute("newer.db", "PRAGMA user_version = 999")

	for _, c := range []struct {
		file string
		want error
	}{
		{write("text.db", strings.Repeat("this is no database\n", 100)), store.ErrForeign},
		{execute("other.db", "CREATE TABLE t (a)"), store.ErrForeign},
		{newer, store.ErrNewer},
		{write("short.db", "SQLite format 3\x00 and nothing more"), store.ErrForeign},
	} {
		before, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.Open(ctx, c.file, store.Commit)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.file) {
			t.Errorf("%s: %v, want %v", c.file, err, c.want)
		}
		if after, err := os.ReadFile(c.file); err != nil || string(after) != string(before) {
			t.Errorf("%s was changed", c.file)
		}
	}
}

// TestOlderDatabaseStaysSo: who only reads a database, or copies it, leaves it to the program that serves it.
func TestOlderDatabaseStaysSo(t *testing.T) {
	dir := t.TempDir()
	file, copied := filepath.Join(dir, "chat.db"), filepath.Join(dir, "copy.db")
	closeStore(t, open(t, file, store.Commit))
	s, err := store.OpenAsIs(ctx, file, store.Commit)
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA user_version = 1"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := store.Backup(ctx, file, copied); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{file, copied} {
		if _, err := store.OpenAsIs(ctx, file, store.Commit); !errors.Is(err, store.ErrOlder) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestReopenedStoreHasEverything(t *testing.T) {
	file := filepath.Join(t.TempDir(), "chat.db")
	s := open(t, file, store.Commit)
	storetest.Apply(t, s, storetest.Said(1, "#c", "to be kept"))
	closeStore(t, s)
	s = open(t, file, store.Commit)
	defer closeStore(t, s)
	storetest.Apply(t, s, storetest.Said(2, "#c", "and more"))
	page, err := s.Messages(ctx, store.Query{Target: "#c", Limit: 9})
	if err != nil || len(page) != 2 {
		t.Errorf("%v, %v", page, err)
	}
	if problems, err := s.Check(ctx); err != nil || problems != nil {
		t.Errorf("%q, %v", problems, err)
	}
}

// TestIndexAgreesAfterEverything: what was edited and removed before, during and
// after it was indexed is in the index as it is in the table.
func TestIndexAgreesAfterEverything(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "chat.db"), store.Relaxed)
	defer closeStore(t, s)
	for i := range store.ID(500) {
		storetest.Apply(t, s, storetest.Said(2*i+1, "#c", fmt.Sprintf("word%d here", i)))
		if i%3 == 0 {
			edit := store.EditMessage{ID: 2*(i/2) + 1, Text: fmt.Sprintf("changed%d here", i)}
			if _, err := s.Apply(ctx, []store.Write{edit}); err != nil { // that it was removed before is no error
				t.Fatal(err)
			}
		}
		if i%7 == 6 {
			storetest.Apply(t, s, store.RemoveMessage{ID: 2*i + 1})
		}
	}
	if err := s.WaitIndexed(ctx); err != nil {
		t.Fatal(err)
	}
	if problems, err := s.Check(ctx); err != nil || problems != nil {
		t.Errorf("%q, %v", problems, err)
	}
	found, err := s.Search(ctx, store.Search{Targets: []store.Scope{{Target: "#c"}}, Text: []string{"changed498"}, Limit: 9})
	if err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
}

// TestCheckSeesADamagedIndex: an index that has too much or too little is seen.
func TestCheckSeesADamagedIndex(t *testing.T) {
	for _, damage := range []string{"DELETE FROM messages WHERE id = 7", "DELETE FROM words WHERE rowid = 7", "INSERT INTO words (rowid, text) VALUES (99, 'what nobody said')"} {
		file := filepath.Join(t.TempDir(), "chat.db")
		s := open(t, file, store.Relaxed)
		for i := range store.ID(9) {
			storetest.Apply(t, s, storetest.Said(i+1, "#c", fmt.Sprintf("word%d here", i)))
		}
		if err := s.WaitIndexed(ctx); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(60000)") // the index may be looked after
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(damage); err != nil {
			t.Fatal(err)
		}
		if problems, err := s.Check(ctx); err != nil || len(problems) == 0 {
			t.Errorf("after %s: %q, %v", damage, problems, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		closeStore(t, s)
	}
}

func TestBackupWhileWriting(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "chat.db"), store.Relaxed)
	defer closeStore(t, s)
	w := store.NewWriter(s)
	for i := range store.ID(2000) {
		w.Write(storetest.Said(i+1, "#c", "text"), nil)
	}
	copied := filepath.Join(dir, "backup.db")
	if err := store.Backup(ctx, filepath.Join(dir, "chat.db"), copied); err != nil {
		t.Fatal(err)
	}
	if err := store.Backup(ctx, filepath.Join(dir, "chat.db"), copied); err == nil {
		t.Error("a backup went over another")
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	b := open(t, copied, store.Commit)
	defer closeStore(t, b)
	page, err := b.Messages(ctx, store.Query{Target: "#c", Limit: 5000})
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range page {
		if m.ID != store.ID(i+1) {
			t.Fatalf("the copy has a gap at %d", i)
		}
	}
}

// TestWriterKeepsTheOrder: callbacks come in the order of the calls, each after its
// commit.
func TestWriterKeepsTheOrder(t *testing.T) {
	s := store.NewMemory()
	w := store.NewWriter(s)
	var mu sync.Mutex
	var order []store.ID
	for i := range store.ID(5000) {
		w.Write(storetest.Said(i+1, "#c", ""), func(err error) {
			if _, missing := s.Message(ctx, i+1); err != nil || missing != nil {
				t.Errorf("message %d: %v, %v", i+1, err, missing)
			}
			mu.Lock()
			order = append(order, i+1)
			mu.Unlock()
		})
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	for i, id := range order {
		if id != store.ID(i+1) {
			t.Fatalf("callback %d was for message %d", i, id)
		}
	}
	if len(order) != 5000 {
		t.Errorf("%d callbacks", len(order))
	}
	refused := make(chan error)
	w.Write(storetest.Said(9999, "#c", ""), func(err error) { refused <- err })
	if err := <-refused; !errors.Is(err, store.ErrClosed) {
		t.Errorf("a write after Close: %v", err)
	}
}

// writeMessages is a role: it writes into a file until the process is killed, and prints
// the number of each message that is committed.
func writeMessages(args []string) error {
	s, err := store.Open(ctx, args[0], store.Commit)
	if err != nil {
		return err
	}
	first := store.ID(1)
	if page, err := s.Messages(ctx, store.Query{Target: "#c", Limit: 1, Latest: true}); err == nil && len(page) == 1 {
		first = page[0].ID + 1
	}
	w := store.NewWriter(s)
	gate := make(chan struct{}, 200) // as many wait at once
	for next := first; ; next++ {
		gate <- struct{}{}
		w.Write(storetest.Said(next, "#c", fmt.Sprintf("message %d", next)), func(err error) {
			if err == nil {
				_, _ = os.Stdout.WriteString(strconv.Itoa(int(next)) + "\n")
			}
			<-gate
		})
	}
}

// TestKilledWriterLosesNothingAcknowledged kills a writer again and again, at any
// moment: what it has acknowledged is there, once.
func TestKilledWriterLosesNothingAcknowledged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "chat.db")
	acknowledged := map[store.ID]bool{}
	for round := range 8 {
		epitest.StartChild(t, "writer", file).KillAfter(2+round*211, func(line string) {
			id, err := strconv.Atoi(line)
			if err != nil {
				t.Fatalf("the writer said %q", line)
			}
			acknowledged[store.ID(id)] = true
		})
	}
	s := open(t, file, store.Commit)
	defer closeStore(t, s)
	for id := range acknowledged {
		if m, err := s.Message(ctx, id); err != nil || m.Text != fmt.Sprintf("message %d", id) {
			t.Errorf("message %d: %v", id, err)
		}
	}
	if err := s.WaitIndexed(ctx); err != nil {
		t.Fatal(err)
	}
	if problems, err := s.Check(ctx); err != nil || problems != nil {
		t.Errorf("%q, %v", problems, err)
	}
}
