package fabrictest

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
)

// rounds is how much is done in a random run.
const rounds = 500

var seeds = flag.Int("seeds", 60, "how many random runs of a network")

// A witness is a handler that keeps what it is called for, and checks what a Fabric
// promises about messages.
type witness struct {
	node   *Node
	fault  func(format string, args ...any)
	self   fabric.Member
	up     map[fabric.Node]fabric.Member
	owned  map[string]fabric.Claim
	next   map[fabric.Member]uint64 // number of the next message of a member
	lossy  map[fabric.Member]bool   // a gap was announced
	sent   uint64
	got    int
	gaps   int
	fenced int
	downs  []fabric.Member
}

func watch(node *Node, fault func(string, ...any)) *witness {
	w := &witness{node: node, fault: fault, up: map[fabric.Node]fabric.Member{}, owned: map[string]fabric.Claim{}}
	w.forget()
	return w
}

func (w *witness) forget() {
	w.next, w.lossy = map[fabric.Member]uint64{}, map[fabric.Member]bool{}
	clear(w.up)
	clear(w.owned)
}

func (w *witness) Up(m fabric.Member) {
	if m.Node == w.node.name {
		w.self = m
	} else if w.self.Epoch == 0 {
		w.fault("%s: %v is up before the own lease", w.node.name, m)
	}
	if known, ok := w.up[m.Node]; ok && known.Epoch != m.Epoch {
		w.fault("%s: %v is up, but %v was not down", w.node.name, m, known)
	}
	w.up[m.Node] = m
}

func (w *witness) Down(m fabric.Member) {
	if w.up[m.Node].Epoch != m.Epoch {
		w.fault("%s: %v is down, but up was %v", w.node.name, m, w.up[m.Node])
	}
	delete(w.up, m.Node)
	w.downs = append(w.downs, m)
}

func (w *witness) Fenced() {
	w.self = fabric.Member{}
	w.fenced++
	w.forget()
}

func (w *witness) Gap(from fabric.Member) {
	w.gaps++
	w.lossy[from] = true
}

func (w *witness) Received(from fabric.Member, data []byte) {
	if w.up[from.Node].Epoch != from.Epoch {
		w.fault("%s: a message of %v, which is not up", w.node.name, from)
	}
	number := binary.BigEndian.Uint64(data)
	switch next := w.next[from]; {
	case number < next:
		w.fault("%s: message %d of %v after %d", w.node.name, number, from, next-1)
	case number > next && next > 0 && !w.lossy[from]:
		w.fault("%s: message %d of %v instead of %d, without a gap", w.node.name, number, from, next)
	}
	w.next[from], w.lossy[from] = number+1, false
	w.got++
}

// owns says whether a node acts as the owner of a name now.
func (w *witness) owns(name string) bool {
	c, ok := w.owned[name]
	return ok && !w.node.killed && !w.node.paused && w.node.Valid() && c.Epoch == w.self.Epoch
}

func (w *witness) claim(name string) {
	w.node.Claim(fabric.Key{Kind: fabric.Nick, Name: name}, func(c fabric.Claim, err error) {
		if err != nil {
			return
		}
		w.owned[name] = c
	})
}

func (w *witness) release(name string) {
	if c, ok := w.owned[name]; ok {
		delete(w.owned, name)
		w.node.Release(c)
	}
}

// three starts a network of three nodes and waits until all know each other.
func three(t *testing.T, seed uint64, options Options) (*Network, []*witness) {
	t.Helper()
	n := New(seed, 3, options)
	var all []*witness
	for _, name := range []fabric.Node{"a", "b", "c"} {
		w := watch(n.Join(name, "v1"), t.Errorf)
		all = append(all, w)
		if err := w.node.Start(w); err != nil {
			t.Fatal(err)
		}
	}
	if !n.RunUntil(time.Minute, func() bool { return complete(all) }) {
		for _, w := range all {
			t.Logf("%s: members %v; waits for %s", w.node.name, w.node.Members(), w.node.member.Waits())
		}
		t.Fatalf("seed %d: the nodes do not find each other", seed)
	}
	return n, all
}

func complete(all []*witness) bool {
	return !slices.ContainsFunc(all, func(w *witness) bool { return len(w.up) != len(all) })
}

func TestNodesFindEachOther(t *testing.T) {
	for seed := range uint64(20) {
		n, all := three(t, seed, Options{})
		for _, w := range all {
			if w.node.Self().Epoch == 0 || !w.node.Valid() {
				t.Errorf("seed %d: %s has no lease", seed, w.node.name)
			}
		}
		if n.Now() > 5*time.Second {
			t.Errorf("seed %d: it took %v", seed, n.Now())
		}
		n.Run(2 * time.Minute)
		for _, w := range all {
			if w.fenced != 0 || len(w.downs) != 0 || w.gaps != 0 {
				t.Errorf("seed %d: %s without a fault: fenced %d times, down %v, %d gaps", seed, w.node.name, w.fenced, w.downs, w.gaps)
			}
		}
	}
}

func TestNameHasOneOwner(t *testing.T) {
	for seed := range uint64(20) {
		n, all := three(t, seed, Options{})
		owners, taken := 0, 0
		for _, w := range all {
			w.node.Claim(fabric.Key{Kind: fabric.Nick, Name: "ann"}, func(c fabric.Claim, err error) {
				var held *fabric.TakenError
				switch {
				case err == nil:
					owners++
					w.owned["ann"] = c
				case errors.As(err, &held) && errors.Is(err, fabric.ErrTaken):
					taken++
				default:
					t.Errorf("seed %d: %v", seed, err)
				}
			})
		}
		n.Run(10 * time.Second)
		if owners != 1 || taken != 2 {
			t.Fatalf("seed %d: %d owners, %d times taken", seed, owners, taken)
		}
		for _, w := range all {
			w.release("ann")
		}
		n.Run(5 * time.Second)
		all[0].claim("ann")
		n.Run(10 * time.Second)
		if !all[0].owns("ann") {
			t.Fatalf("seed %d: a name that was released is not free", seed)
		}
	}
}

func TestDeadOwnerIsTakenOver(t *testing.T) {
	for seed := range uint64(20) {
		n, all := three(t, seed, Options{})
		a, b := all[0], all[1]
		a.claim("ann")
		n.Run(5 * time.Second)
		a.node.Kill()
		killed := n.Now()
		if !n.RunUntil(time.Minute, func() bool { return len(b.downs) > 0 && len(all[2].downs) > 0 }) {
			t.Fatalf("seed %d: a killed node is not down", seed)
		}
		if took := n.Now() - killed; took > 35*time.Second {
			t.Errorf("seed %d: it was down after %v", seed, took)
		}
		b.claim("ann")
		n.Run(10 * time.Second)
		if !b.owns("ann") {
			t.Errorf("seed %d: the name of a dead node cannot be taken", seed)
		}
		again := watch(n.Join("a", "v2"), t.Errorf)
		_ = again.node.Start(again)
		if !n.RunUntil(time.Minute, func() bool { return len(again.up) == 3 && len(b.up) == 3 }) {
			t.Fatalf("seed %d: the node does not come back", seed)
		}
		if m := b.up["a"]; m.Version != "v2" {
			t.Errorf("seed %d: it has come back as %v", seed, m)
		}
		again.claim("ann")
		n.Run(10 * time.Second)
		if again.owns("ann") {
			t.Errorf("seed %d: a name has two owners", seed)
		}
	}
}

func TestPausedOwnerIsFenced(t *testing.T) {
	for seed := range uint64(20) {
		n, all := three(t, seed, Options{})
		a, b := all[0], all[1]
		a.claim("ann")
		n.Run(5 * time.Second)
		a.node.Pause()
		n.Run(20 * time.Second)
		b.claim("ann")
		n.Run(10 * time.Second)
		if !b.owns("ann") {
			t.Fatalf("seed %d: the name of a stopped node cannot be taken", seed)
		}
		a.node.Resume()
		if a.node.Valid() || a.owns("ann") {
			t.Errorf("seed %d: a node goes on after its lease", seed)
		}
		if err := a.node.Broadcast(nil); !errors.Is(err, fabric.ErrFenced) {
			t.Errorf("seed %d: it still sends: %v", seed, err)
		}
		if !n.RunUntil(time.Minute, func() bool { return complete(all) }) || a.fenced != 1 {
			t.Errorf("seed %d: it does not come back; fenced %d times", seed, a.fenced)
		}
	}
}

func TestMinorityIsFenced(t *testing.T) {
	for seed := range uint64(20) {
		n, all := three(t, seed, Options{})
		n.Isolate("c")
		n.Run(40 * time.Second)
		if c := all[2]; c.fenced != 1 || c.node.Self().Epoch != 0 {
			t.Fatalf("seed %d: a node that is cut off is not fenced", seed)
		}
		var result error
		all[2].node.Claim(fabric.Key{Kind: fabric.Channel, Name: "#x"}, func(_ fabric.Claim, err error) { result = err })
		n.Run(time.Second)
		if !errors.Is(result, fabric.ErrFenced) {
			t.Errorf("seed %d: it claims: %v", seed, result)
		}
		if all[0].fenced != 0 || all[1].fenced != 0 || len(all[0].up) != 2 {
			t.Errorf("seed %d: the others are not as they were", seed)
		}
		n.Heal()
		if !n.RunUntil(time.Minute, func() bool { return complete(all) }) {
			t.Errorf("seed %d: it does not come back", seed)
		}
	}
}

// TestDeafPairIsResolved: two nodes that reach the store and not each other.
func TestDeafPairIsResolved(t *testing.T) {
	for seed := range uint64(20) {
		n, all := three(t, seed, Options{})
		n.Cut("a", "b", true)
		both := func() bool { return len(all[0].up) == 3 || len(all[1].up) == 3 }
		if !n.RunUntil(2*time.Minute, func() bool { return all[0].self.Epoch == 0 || all[1].self.Epoch == 0 }) {
			t.Fatalf("seed %d: both stay members", seed)
		}
		n.RunUntil(time.Minute, func() bool { return !both() })
		older := all[0]
		if all[0].self.Epoch == 0 {
			older = all[1]
		}
		n.Run(3 * time.Minute)
		if older.fenced != 0 || all[2].fenced != 0 || len(older.up) != 2 || len(all[2].up) != 2 {
			t.Errorf("seed %d: the older has %v, c %v", seed, older.up, all[2].up)
		}
		n.Heal()
		if !n.RunUntil(time.Minute, func() bool { return complete(all) }) {
			t.Errorf("seed %d: they do not come together", seed)
		}
	}
}

func TestStoreWithoutLeader(t *testing.T) {
	for seed := range uint64(20) {
		n, all := three(t, seed, Options{})
		n.Stall(9 * time.Second)
		all[0].claim("ann")
		sent := 0
		for range 8 {
			n.Run(time.Second)
			if all[0].node.Broadcast(binary.BigEndian.AppendUint64(nil, uint64(sent))) == nil {
				sent++
			}
		}
		n.Run(2 * time.Minute)
		for _, w := range all {
			if w.fenced != 0 || len(w.downs) != 0 {
				t.Errorf("seed %d: %s was fenced %d times, has lost %v", seed, w.node.name, w.fenced, w.downs)
			}
		}
		if all[1].got != 8 || all[2].got != 8 {
			t.Errorf("seed %d: %d and %d messages of 8 while the store had no leader", seed, all[1].got, all[2].got)
		}
		all[1].claim("ann") // that of a was given up: nobody has the name
		n.Run(10 * time.Second)
		if all[0].owns("ann") == all[1].owns("ann") {
			t.Errorf("seed %d: a claim that was given up is not released", seed)
		}
	}
}

func TestDrainAndClose(t *testing.T) {
	n, all := three(t, 1, Options{})
	all[0].node.Drain()
	n.Run(time.Second)
	for _, w := range all {
		if !w.up["a"].Draining {
			t.Errorf("%s: a is %v", w.node.name, w.up["a"])
		}
	}
	if err := all[0].node.Close(); err != nil {
		t.Fatal(err)
	}
	n.Run(time.Second)
	if len(all[1].downs) != 1 || len(all[2].downs) != 1 {
		t.Errorf("a closed node is not down at once")
	}
}

func TestHistoryIsReplayed(t *testing.T) {
	n, all := three(t, 1, Options{})
	appended := 0
	for i := range 10 {
		id := fmt.Sprint(i / 2) // each twice
		all[i%3].node.Append(3, id, []byte(id), func(err error) {
			if err == nil {
				appended++
			}
		})
		n.Run(time.Second)
	}
	var replayed []string
	done := 0
	replay := func(after fabric.Position, most int) {
		replayed = nil
		all[0].node.Replay(3, after, func(behind fabric.Position, data []byte) bool {
			replayed = append(replayed, fmt.Sprint(behind.Number, ":", string(data)))
			return len(replayed) < most
		}, func(err error) {
			if err == nil {
				done++
			}
		})
		n.Run(time.Second)
	}
	replay(fabric.Position{Stream: 1, Number: 1, At: 1}, 9)
	if appended != 10 || done != 1 || !slices.Equal(replayed, []string{"2:1", "3:2", "4:3", "5:4"}) {
		t.Errorf("%d appended, replayed %v, %d", appended, replayed, done)
	}
	replay(fabric.Position{Stream: 1, Number: 1, At: 1}, 2)
	if done != 2 || !slices.Equal(replayed, []string{"2:1", "3:2"}) {
		t.Errorf("two were enough, replayed %v, %d", replayed, done)
	}
	replay(fabric.Position{Stream: 2, Number: 1, At: 1}, 9)
	if done != 3 || len(replayed) != 5 {
		t.Errorf("behind a position of another history: %v, %d", replayed, done)
	}
}

// TestFaultsAtRandom lets nodes claim, release and send while they are killed, stopped
// and cut off, and looks after each step whether a name has two owners.
func TestFaultsAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(*seeds) {
		if faults := torture(seed, Options{}); len(faults) > 0 {
			t.Fatalf("seed %d: %s", seed, faults[0])
		}
	}
}

// TestBrokenRulesAreSeen breaks what keeps names apart, and expects to see it.
func TestBrokenRulesAreSeen(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]Options{
		"decides by a read":                 {ReadDecides: true},
		"the owner goes on after its lease": {Margin: -20 * time.Second},
	} {
		seed := uint64(0)
		for seed < 1000 && len(torture(seed, options)) == 0 {
			seed++
		}
		if seed == 1000 {
			t.Errorf("%s: not seen in any run", name)
		}
		t.Logf("%s: seen in run %d", name, seed)
	}
}

// torture returns what went wrong in one random run.
func torture(seed uint64, options Options) (faults []string) {
	n := New(seed, 3, options)
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%v: ", n.Now())+fmt.Sprintf(format, args...))
	}
	names := []fabric.Node{"a", "b", "c"}
	all := map[fabric.Node]*witness{}
	join := func(name fabric.Node) {
		w := watch(n.Join(name, "v1"), fault)
		all[name] = w
		if err := w.node.Start(w); err != nil {
			fault("start: %v", err)
		}
		w.node.SetRate(0.999 + 0.002*n.random.Float64())
	}
	for _, name := range names {
		join(name)
	}
	nicks := []string{"ann", "bob", "cat"}
	for range rounds {
		w := all[names[n.random.IntN(3)]]
		nick := nicks[n.random.IntN(3)]
		switch action := n.random.IntN(200); {
		case action == 0 && !w.node.killed:
			w.node.Kill()
		case action < 10 && w.node.killed:
			join(w.node.name)
		case action < 3:
			n.Isolate(w.node.name)
		case action < 5:
			n.Cut(w.node.name, names[n.random.IntN(3)], n.random.IntN(2) == 0)
		case action < 9:
			n.Heal()
		case action < 11:
			w.node.Pause()
		case action < 18 && w.node.paused:
			w.node.Resume()
		case action < 19:
			n.Stall(time.Duration(n.random.IntN(10)) * time.Second)
		case action < 20:
			n.Lose(0.1)
		case w.node.paused, w.node.killed:
		case action < 60:
			w.claim(nick)
		case action < 90:
			w.release(nick)
		case action < 130:
			if w.node.Broadcast(binary.BigEndian.AppendUint64(nil, w.sent)) == nil {
				w.sent++
			}
		}
		until := n.Now() + time.Duration(n.random.IntN(500))*time.Millisecond
		for n.Now() < until && n.Step() {
			for _, nick := range nicks {
				if owners := owners(all, nick); len(owners) > 1 {
					fault("%s is owned by %v", nick, owners)
				}
			}
			if len(faults) > 0 {
				return faults
			}
		}
	}
	n.Heal()
	n.Run(time.Second)
	for _, name := range names {
		if w := all[name]; w.node.killed {
			join(name)
		} else if w.node.paused {
			w.node.Resume()
		}
	}
	if !n.RunUntil(3*time.Minute, func() bool { return complete(slices.Collect(maps.Values(all))) }) {
		for _, name := range names {
			fault("%s does not recover: knows %v, waits for %s", name, all[name].node.Members(), all[name].node.member.Waits())
		}
	}
	return faults
}

func owners(all map[fabric.Node]*witness, nick string) (owners []fabric.Node) {
	for name, w := range all {
		if w.owns(nick) {
			owners = append(owners, name)
		}
	}
	return owners
}
