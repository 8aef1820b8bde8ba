package server_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to make many rows at once

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/world/server"
	"github.com/epinet/epi/internal/epitest"
)

// BenchmarkStart is from the file of a world with 100,000 things to its first tick.
func BenchmarkStart(b *testing.B) {
	const things = 100_000
	file := filepath.Join(b.TempDir(), "world.db")
	crowd(b, file, things)
	for b.Loop() {
		s := openStore(b, file)
		config := keeping(s)
		config.World.Width, config.World.Height = 64, 64
		e := &epi.Engine{Loops: 1, Logger: epitest.NoLog()}
		w, err := server.New(e, config)
		if err != nil {
			b.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- e.Run(ctx) }()
		for w.Stats().Ticks == 0 {
			time.Sleep(time.Millisecond)
		}
		if n := w.Stats().Things; n < things {
			b.Fatalf("%d things", n)
		}
		b.StopTimer()
		stop()
		if err := <-ran; err != nil {
			b.Error(err)
		}
		if err := s.Close(); err != nil {
			b.Error(err)
		}
		b.StartTimer()
	}
}

// crowd makes a world's file with so many things anywhere.
func crowd(b *testing.B, file string, things int) {
	if err := openStore(b, file).Close(); err != nil {
		b.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{
		"INSERT INTO items WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i, 1 + i % 4, 1, NULL, i * 2654435761 % 4294967296, NULL FROM n",
		"INSERT INTO counts SELECT kind, count(*), 0 FROM items WHERE 0 < ? GROUP BY kind",
		"UPDATE marks SET item = ?",
	} {
		if _, err := db.Exec(statement, things); err != nil {
			b.Fatal(err)
		}
	}
}
