package cli

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi/apps/world/bots"
	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/apps/world/store"
	"github.com/epinet/epi/internal/epitest"
)

var worldKills = flag.Int("world-kills", 2, "how often TestWorldKilledIsWhole kills a world under load")

// things is how many items the world of TestWorldKilledIsWhole has, and looters how many
// players want them.
const things, looters = 60, 20

// A keptWorld is one in a file, with what its players know of it.
type keptWorld struct {
	t      *testing.T
	file   string
	tokens map[string][]byte
	done   bots.Result // counts of all rounds
	oldest int         // ticks: the age of the oldest place that was kept
}

// TestWorldKilledIsWhole kills a world again and again while players come, walk, pick up,
// put down and trade: what they were told that they have they have, a trade was done or
// not, no item is lost or doubled, the audit is clean, and it starts again. At last it
// drains, and a copy of it is whole, too.
func TestWorldKilledIsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := &keptWorld{t: t, file: filepath.Join(dir, "world.db"), tokens: map[string][]byte{}}
	k.scatter()
	for range *worldKills {
		k.round()
	}
	t.Logf("%d picked up, %d put down, %d trades; places were at most %d ticks old", k.done.Picked, k.done.Dropped, k.done.Trades/2, k.oldest)

	p := k.begin()
	await[startEvent](p, "start")
	copied := filepath.Join(dir, "copy.db")
	if code, _, stderr := call("world", "backup", k.file, copied); code != 0 {
		t.Errorf("backup of a world that serves: exit code %d, %s", code, stderr)
	}
	if code, _, stderr := call("world", "--listen", "ws://127.0.0.1:0", "--set", "store.address="+k.file); code != exitFailed || !strings.Contains(stderr, "store.address: another server has this store") {
		t.Errorf("a second server: exit code %d, %s", code, stderr)
	}
	p.signal(syscall.SIGTERM)
	p.end(0)
	k.audit(k.file)
	k.audit(copied)
	for _, args := range [][]string{
		{"world", "audit", filepath.Join(dir, "none.db")},
		{"world", "audit", "/dev/null"},
		{"world", "backup", k.file, copied},
	} {
		if code, _, stderr := call(args...); code != exitFailed || stderr == "" {
			t.Errorf("%q: exit code %d, %q", args, code, stderr)
		}
	}
}

// scatter makes items in the town.
func (k *keptWorld) scatter() {
	k.t.Helper()
	s, err := store.Open(context.Background(), k.file)
	if err != nil {
		k.t.Fatal(err)
	}
	town := sim.NewMap(1, 8, 8).Towns()[0]
	var writes []store.Write
	for n := range int64(things) {
		tile := func() int32 { return rand.Int32N(sim.TownSide-4) - sim.TownSide/2 + 2 }
		at := store.On(uint16(town.X+tile()*sim.Tile), uint16(town.Y+tile()*sim.Tile))
		writes = append(writes, store.Make{Item: store.Item{ID: n + 1, Kind: 1 + n%4, Owner: at}})
	}
	results, err := s.Apply(context.Background(), writes)
	for _, refused := range results {
		if refused != nil {
			k.t.Fatal(refused)
		}
	}
	if err != nil || s.Close() != nil {
		k.t.Fatal(err)
	}
}

func (k *keptWorld) begin() *process {
	return start(k.t, "world", "--listen", "ws://127.0.0.1:0", "--set", "store.address="+k.file,
		"--set", "world.width=8", "--set", "world.height=8", "--set", "world.monsters=50", "--json")
}

func (k *keptWorld) audit(file string) {
	k.t.Helper()
	if code, stdout, stderr := call("world", "audit", file); code != 0 || !strings.Contains(stdout, "one owner") {
		k.t.Errorf("audit of %s: exit code %d, %s%s", file, code, stdout, stderr)
	}
}

// round serves the world until it is killed, and looks at what is left.
func (k *keptWorld) round() {
	k.t.Helper()
	p := k.begin()
	target := await[startEvent](p, "start").Listen[0] + worldPath
	ctx, cancel := context.WithTimeout(context.Background(), 2*epitest.Patience)
	defer cancel()
	entered := make(chan struct{})
	played := make(chan *bots.Result, 1)
	go func() {
		r, err := bots.Run(ctx, bots.Config{
			Target: target, Players: looters, Moving: 60, Looting: 100, Tokens: k.tokens, Seed: rand.Uint64(),
			Entered: func() { close(entered) }, Warmup: time.Hour, Duration: time.Hour,
		})
		if err != nil {
			k.t.Error(err)
		}
		played <- r
	}()
	epitest.Receive(k.t, entered)
	time.Sleep(200*time.Millisecond + rand.N(400*time.Millisecond)) // somewhere in their play; nothing depends on where
	p.signal(syscall.SIGKILL)
	p.end(-1)
	r := epitest.Receive(k.t, played)
	if r == nil {
		return
	}
	if r.Wrong > 0 {
		k.t.Errorf("%d things were wrong: %v", r.Wrong, r.Faults)
	}
	k.done.Picked += r.Picked
	k.done.Dropped += r.Dropped
	k.done.Trades += r.Trades
	k.audit(k.file)
	k.compare(r.Hoards)
}

// A row is where an item is: its owner by name, empty for the ground.
type row struct {
	kind  uint8
	owner string
}

// rows reads the items, and where players are, past the program.
func (k *keptWorld) rows() (items map[uint32]row, places map[string]bots.Spot) {
	k.t.Helper()
	db, err := sql.Open("sqlite", "file:"+k.file)
	if err != nil {
		k.t.Fatal(err)
	}
	defer db.Close()
	items, places = map[uint32]row{}, map[string]bots.Spot{}
	k.each(db, `SELECT i.id, i.kind, coalesce(a.name, '') FROM items i LEFT JOIN characters c ON c.id = i.player
		LEFT JOIN accounts a ON a.key = c.account`, func(scan func(...any) error) error {
		var id uint32
		var r row
		err := scan(&id, &r.kind, &r.owner)
		items[id] = r
		return err
	})
	k.each(db, "SELECT a.name, c.x, c.y FROM characters c JOIN accounts a ON a.key = c.account", func(scan func(...any) error) error {
		var name string
		var at bots.Spot
		err := scan(&name, &at.X, &at.Y)
		places[name] = at
		return err
	})
	return items, places
}

func (k *keptWorld) each(db *sql.DB, query string, take func(scan func(...any) error) error) {
	k.t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		k.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := take(rows.Scan); err != nil {
			k.t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		k.t.Fatal(err)
	}
}

// compare looks whether what is left is what the players were told, or what they have
// asked for since.
func (k *keptWorld) compare(hoards []bots.Hoard) {
	k.t.Helper()
	items, places := k.rows()
	if len(items) != things || len(hoards) != looters {
		k.t.Errorf("%d items are left of %d, and %d players of %d", len(items), things, len(hoards), looters)
	}
	for _, h := range hoards {
		k.tokens[h.Name] = h.Token
		for number, kind := range h.Items {
			switch r := items[number]; {
			case r == row{kind, h.Name}, r == row{kind, ""} && number == h.Dropping:
			case r == row{kind, h.With} && slices.Contains(h.Gives, number):
			default:
				k.t.Errorf("%s was told that it has %d of kind %d, and %q has it, of kind %d: %s", h.Name, number, kind, r.owner, r.kind, about(h))
			}
		}
		k.compareTrade(h, items)
		k.compareRest(h, items)
		if at, known := places[h.Name]; known {
			k.oldest = max(k.oldest, age(h.Trail, at))
		}
	}
}

func about(h bots.Hoard) string {
	h.Trail, h.Token = nil, nil
	return fmt.Sprintf("%+v", h)
}

// compareTrade looks whether a trade under way was done whole, or not at all.
func (k *keptWorld) compareTrade(h bots.Hoard, items map[uint32]row) {
	k.t.Helper()
	if h.With == "" {
		return
	}
	there, here := 0, 0
	for _, number := range h.Gives {
		if items[number].owner == h.With {
			there++
		}
	}
	for _, number := range h.Gets {
		if items[number].owner == h.Name {
			here++
		}
	}
	if done := there + here; done != 0 && done != len(h.Gives)+len(h.Gets) {
		k.t.Errorf("half a trade: %s, %+v", about(h), items)
	}
}

// compareRest looks whether a player has more than it knows.
func (k *keptWorld) compareRest(h bots.Hoard, items map[uint32]row) {
	k.t.Helper()
	more := 0
	for number, r := range items {
		if _, known := h.Items[number]; r.owner == h.Name && !known && !slices.Contains(h.Gets, number) {
			more++
		}
	}
	if more > 1 || more == 1 && !h.Picking {
		k.t.Errorf("%s has %d items more than it was told: %s", h.Name, more, about(h))
	}
}

// age is how many ticks ago a player was at a place; those that have not moved since are
// none.
func age(trail []bots.Spot, at bots.Spot) int {
	for n := range trail {
		if s := trail[len(trail)-1-n]; s.X == at.X && s.Y == at.Y {
			return n
		}
	}
	return len(trail)
}
