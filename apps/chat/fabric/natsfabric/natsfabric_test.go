package natsfabric

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/internal/epitest"
	"github.com/epinet/epi/internal/freeport"
)

// patience is how long tests wait for what must happen. It bounds the damage alone.
const patience = 2 * epitest.Patience // JetStream elects leaders meanwhile, again and again where nodes get no time

func TestMain(m *testing.M) {
	var ofNATS []goleak.Option // it leaves a stream open that is made while the server shuts down
	for _, function := range []string{
		".(*fileStore).flushStreamStateLoop", ".(*msgBlock).flushLoop", ".(*consumerFileStore).flushLoop",
		".(*stream).internalLoop", ".(*stream).signalConsumersLoop", "/ats.Register.func1",
	} {
		ofNATS = append(ofNATS, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server"+function))
	}
	goleak.VerifyTestMain(m, ofNATS...)
}

// A witness keeps what a node's handler was called for.
type witness struct {
	*Fabric

	mu      sync.Mutex
	changed sync.Cond
	up      map[fabric.Node]fabric.Member
	got     []string
	gaps    int
	fenced  int
}

func (w *witness) note(fn func()) {
	w.mu.Lock()
	fn()
	w.changed.Broadcast()
	w.mu.Unlock()
}

func (w *witness) Up(m fabric.Member)   { w.note(func() { w.up[m.Node] = m }) }
func (w *witness) Down(m fabric.Member) { w.note(func() { delete(w.up, m.Node) }) }
func (w *witness) Gap(fabric.Member)    { w.note(func() { w.gaps++ }) }
func (w *witness) Fenced()              { w.note(func() { w.fenced++; clear(w.up) }) }
func (w *witness) Received(m fabric.Member, data []byte) {
	w.note(func() { w.got = append(w.got, fmt.Sprintf("%s:%s", m.Node, data)) })
}

// until waits for a condition, which is looked at whenever something was noted.
func (w *witness) until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	late := time.AfterFunc(patience, func() { w.note(func() {}) })
	defer late.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !condition() {
		if time.Now().After(end) {
			t.Fatalf("%s: not so after %v: %s; up %v, status %+v", w.config.Node, patience, what, w.up, w.Status())
		}
		w.changed.Wait()
	}
}

func (w *witness) claim(key fabric.Key) (c fabric.Claim, err error) {
	done := make(chan struct{})
	w.Claim(key, func(got fabric.Claim, e error) {
		c, err = got, e
		close(done)
	})
	<-done
	return c, err
}

func open(t testing.TB, config Config) *witness {
	t.Helper()
	config.Version, config.Network = "v1", "test"
	if os.Getenv("EPI_TEST_LOG") != "" {
		config.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", config.Node)
	}
	f, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{Fabric: f, up: map[fabric.Node]fabric.Member{}}
	w.changed.L = &w.mu
	if err := w.Start(w); err != nil {
		t.Fatal(err)
	}
	return w
}

// addresses are free ones of this machine.
func addresses(t testing.TB, n int) (addresses []string) {
	t.Helper()
	for range n {
		address, err := freeport.Next()
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, address)
	}
	return addresses
}

// patient is a context for what NATS is asked: without a deadline it gives up after a few seconds.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// configs are those of a cluster of three nodes.
func configs(t testing.TB) (all []Config) {
	t.Helper()
	at := addresses(t, 3)
	for i, node := range []fabric.Node{"a", "b", "c"} {
		all = append(all, Config{
			Node:      node,
			Listen:    at[i],
			Peers:     []string{at[(i+1)%3], at[(i+2)%3]},
			Directory: t.TempDir(),
		})
	}
	return all
}

// lease is short, so that what ends with it is not waited for long. A node that was not
// run for so long loses it, on a machine that is busy: tests must bear that.
const lease = 2 * time.Second

// cluster starts three nodes, and closes those that are left at the end.
func cluster(t testing.TB, lease time.Duration, configs []Config) (all []*witness) {
	t.Helper()
	for _, c := range configs {
		c.Lease = lease
		w := open(t, c)
		all = append(all, w)
	}
	t.Cleanup(func() {
		var closing sync.WaitGroup
		for _, w := range all {
			closing.Go(func() { w.Close() })
		}
		closing.Wait()
	})
	untilAllKnowAll(t, all)
	return all
}

func untilAllKnowAll(t testing.TB, all []*witness) {
	t.Helper()
	for _, w := range all {
		w.until(t, "it knows all", func() bool { return len(w.up) == len(all) })
	}
}

// own claims a key until that works, or another node has it.
func (w *witness) own(t *testing.T, key fabric.Key) (c fabric.Claim, mine bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		c, err := w.claim(key)
		if err == nil {
			return c, true
		}
		if errors.Is(err, fabric.ErrTaken) {
			return c, false
		}
		t.Logf("%s: %v: %v", w.config.Node, key, err)
		w.until(t, "it has a lease", func() bool { return len(w.up) > 0 })
	}
	t.Fatalf("%s: %v cannot be claimed", w.config.Node, key)
	return c, false
}

// holds says whether the node has the lease of a claim still, and with it what was claimed.
func (w *witness) holds(c fabric.Claim) bool { return w.Valid() && w.Self().Epoch == c.Epoch } // in this order: epochs grow

// take claims a key until it is this node's: another's lease has to end first.
func (w *witness) take(t *testing.T, key fabric.Key) fabric.Claim {
	t.Helper()
	c, mine := w.own(t, key)
	for end := time.Now().Add(patience); !mine; c, mine = w.own(t, key) {
		if time.Now().After(end) {
			t.Fatalf("%s: %v cannot be taken", w.config.Node, key)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return c
}

// undisturbed reports whether no node has been fenced or has missed anything. What is
// promised only to nodes that keep their leases is looked at then.
func undisturbed(all ...*witness) bool {
	for _, w := range all {
		disturbed := false
		w.note(func() { disturbed = w.fenced > 0 || w.gaps > 0 })
		if disturbed {
			return false
		}
	}
	return true
}

func nick(name string) fabric.Key { return fabric.Key{Kind: fabric.Nick, Name: name} }

// crash ends a node as kill -9 does: the others get nothing.
func (w *witness) crash() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn.Close()
	w.server.Shutdown()
}

// questions asks nodes that answer, that do not, and that there are not.
func (w *witness) questions(t *testing.T, other *witness) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if got, err := w.Ask(ctx, other.config.Node, []byte("x")); !errors.Is(err, fabric.ErrUnavailable) && !errors.Is(err, fabric.ErrDown) {
		t.Errorf("who answers nothing says %q, %v", got, err)
	}
	other.Answer(func(_ context.Context, question []byte) []byte { return append(question, '!') })
	got, err := w.Ask(ctx, other.config.Node, []byte("x"))
	for ; err != nil && ctx.Err() == nil; got, err = w.Ask(ctx, other.config.Node, []byte("x")) {
		time.Sleep(time.Millisecond) // the servers do not know each other's yet
	}
	if string(got) != "x!" || err != nil {
		t.Errorf("asked: %q, %v", got, err)
	}
	if _, err := w.Ask(ctx, "nobody", []byte("x")); !errors.Is(err, fabric.ErrDown) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := w.Ask(ctx, other.config.Node, make([]byte, fabric.MaxMessage+1)); !errors.Is(err, fabric.ErrTooLarge) {
		t.Errorf("asked what is too large: %v", err)
	}
}

func TestThreeNodesShareNamesMessagesAndHistory(t *testing.T) {
	t.Parallel()
	secured := configs(t)
	for i := range secured {
		secured[i].TLS = security(t)
	}
	all := cluster(t, lease, secured)

	first := all[0].take(t, nick("ann"))
	for _, w := range all[1:] {
		if _, mine := w.own(t, nick("ann")); mine && all[0].holds(first) {
			t.Errorf("%s and a own one name", w.config.Node)
		}
	}

	const messages = 500
	sent, sender := 0, all[0].Self().Epoch
	for i := range messages {
		if err := all[0].Broadcast(fmt.Append(nil, i)); err == nil {
			sent++
		}
	}
	for _, w := range all[1:] {
		w.until(t, "all messages have come", func() bool { return len(w.got) >= sent || w.gaps > 0 || w.fenced > 0 || w.up["a"].Epoch != sender })
		if sent < messages || !undisturbed(all...) {
			continue
		}
		w.note(func() {
			for i, got := range w.got {
				if want := fmt.Sprintf("a:%d", i); got != want {
					t.Errorf("%s got %q instead of %q", w.config.Node, got, want)
					break
				}
			}
		})
	}
	all[0].questions(t, all[1])
	if err := all[0].Send("nobody", nil); !errors.Is(err, fabric.ErrDown) && !errors.Is(err, fabric.ErrFenced) {
		t.Errorf("sent to nobody: %v", err)
	}
	if err := all[0].Broadcast(make([]byte, fabric.MaxMessage+1)); !errors.Is(err, fabric.ErrTooLarge) {
		t.Errorf("sent what is too large: %v", err)
	}

	for i := range 20 {
		all[i%3].append(t, 5, fmt.Sprint(i/2), fmt.Sprint("record ", i/2))
	}
	for _, w := range all {
		got, behind := w.replay(t, 5, fabric.Position{})
		if len(got) != 10 || got[0] != "1:record 0" || got[9] != "10:record 9" {
			t.Fatalf("%s replays %q", w.config.Node, got)
		}
		if got, _ := all[0].replay(t, 5, behind[1]); len(got) != 8 || got[0] != "3:record 2" || got[7] != "10:record 9" {
			t.Errorf("behind a position of %s, a replays %q", w.config.Node, got)
		}
		if got, _ := w.replay(t, 6, fabric.Position{}); len(got) != 0 {
			t.Errorf("%s replays %q of an empty shard", w.config.Node, got)
		}
	}

	shareEntries(t, all)

	all[2].Drain()
	for _, w := range all {
		w.until(t, "c is draining", func() bool { return w.up["c"].Draining })
	}
	all[2].Close()
	for _, w := range all[:2] {
		w.until(t, "c is down", func() bool { _, up := w.up["c"]; return !up && len(w.up) == 2 })
	}
}

// shareEntries has all nodes write the same key: each write but one is of an old revision, and
// all see the latest.
func shareEntries(t *testing.T, all []*witness) {
	t.Helper()
	const key = "account änn / 한국"
	revision := uint64(0)
	for round := range 3 {
		winner, written, unsure := -1, uint64(0), false
		for i, w := range all {
			got, doubt, err := w.put(t, key, fmt.Sprint(round, i), revision)
			unsure = unsure || doubt
			switch {
			case err == nil && winner < 0:
				winner, written = i, got
			case err == nil:
				t.Errorf("round %d: nodes %d and %d have both replaced revision %d", round, winner, i, revision)
			}
		}
		if winner < 0 && unsure {
			written = all[0].last(t) // whoever it was does not know
		}
		if written <= revision {
			t.Fatalf("round %d: revision %d comes after %d", round, written, revision)
		}
		revision = written
	}
	for _, w := range all {
		if last := w.last(t); last < revision {
			t.Errorf("%s: the last revision is %d, and %d was written", w.config.Node, last, revision)
		}
		w.watch(t, key, revision)
	}
	if _, err := all[0].Registry().Put(t.Context(), key, make([]byte, fabric.MaxMessage+1), revision); !errors.Is(err, fabric.ErrTooLarge) {
		t.Errorf("wrote what is too large: %v", err)
	}
}

// put writes until there is an answer. With a doubt, a try without one may have written it.
func (w *witness) put(t *testing.T, key, value string, revision uint64) (got uint64, doubt bool, err error) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		got, err = w.Registry().Put(t.Context(), key, []byte(value), revision)
		if !errors.Is(err, fabric.ErrUnavailable) {
			return got, doubt, err
		}
		doubt = true
		t.Logf("%s: put: %v", w.config.Node, err)
	}
	t.Fatalf("%s: nothing can be written", w.config.Node)
	return 0, false, nil
}

// last asks for the last revision until that is known.
func (w *witness) last(t *testing.T) uint64 {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		last, err := w.Registry().Last(t.Context())
		if err == nil {
			return last
		}
		t.Logf("%s: last: %v", w.config.Node, err)
	}
	t.Fatalf("%s: nobody knows the last revision", w.config.Node)
	return 0
}

// watch waits for a revision of a key.
func (w *witness) watch(t *testing.T, key string, revision uint64) {
	t.Helper()
	found := errors.New("found")
	for end := time.Now().Add(patience); time.Now().Before(end); {
		err := w.Registry().Watch(t.Context(), func(entries []fabric.Entry) error {
			for _, e := range entries {
				if e.Key == key && e.Revision >= revision {
					return found
				}
			}
			return nil
		})
		if errors.Is(err, found) {
			return
		}
		t.Logf("%s: watch: %v", w.config.Node, err)
	}
	t.Fatalf("%s: revision %d does not come", w.config.Node, revision)
}

func (w *witness) append(t *testing.T, shard uint32, id, data string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		result := make(chan error)
		w.Append(shard, id, []byte(data), func(err error) { result <- err })
		err := <-result
		if err == nil {
			return
		}
		w.until(t, "it has a lease", func() bool { return len(w.up) > 0 })
	}
	t.Fatalf("%s: nothing can be appended", w.config.Node)
}

// replay returns the records behind a position, and the positions behind them; places that are nothing
// else are left out.
func (w *witness) replay(t *testing.T, shard uint32, after fabric.Position) (records []string, behind []fabric.Position) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		records, behind = nil, nil
		result := make(chan error)
		w.Replay(shard, after, func(at fabric.Position, data []byte) bool {
			if len(data) > 0 {
				records, behind = append(records, fmt.Sprintf("%d:%s", at.Number, data)), append(behind, at)
			}
			return true
		}, func(err error) { result <- err })
		err := <-result
		if err == nil {
			return records, behind
		}
		t.Logf("%s: replay: %v", w.config.Node, err) // on a busy machine a leader may be lost
	}
	t.Fatalf("%s: the history cannot be replayed", w.config.Node)
	return nil, nil
}

// TestStoppedNodeIsFenced stops a node for longer than its lease, as SIGSTOP does: all
// that it does needs the lock.
func TestStoppedNodeIsFenced(t *testing.T) {
	t.Parallel()
	all := cluster(t, lease, configs(t))
	b, c := all[1], all[2]
	before := c.take(t, nick("cat"))

	taken := func() fabric.Claim {
		c.Fabric.mu.Lock()
		defer c.Fabric.mu.Unlock()
		taken := b.take(t, nick("cat"))
		if c.Valid() && c.member.Self().Epoch == before.Epoch {
			t.Error("the stopped node takes its lease for valid though its name was taken")
		}
		return taken
	}()
	c.until(t, "it was fenced", func() bool { return c.fenced > 0 })
	c.until(t, "it has come back", func() bool { return c.up["c"].Epoch > before.Epoch })
	untilAllKnowAll(t, all)
	if _, mine := c.own(t, nick("cat")); mine && b.holds(taken) {
		t.Error("a name has two owners")
	}
}

// nowhere is what nodes say of their addresses to one another, so that they reach each
// other by those in their configurations alone.
const nowhere = "127.0.0.1:1"

func TestNodeThatIsCutOffAndKilled(t *testing.T) {
	t.Parallel()
	configs := configs(t)
	// What comes to c and what c has begun goes through doors that can be shut.
	door := doorTo(t, configs[2].Listen)
	for i := range configs {
		configs[i].Advertise = nowhere
	}
	doors := []*proxy{door}
	for i := range configs[2].Peers {
		p := doorTo(t, configs[2].Peers[i])
		configs[2].Peers[i] = p.address()
		doors = append(doors, p)
	}
	configs[0].Peers[1], configs[1].Peers[0] = door.address(), door.address()

	all := cluster(t, lease, configs)
	a, c := all[0], all[2]
	before := c.take(t, nick("cat")).Epoch
	for _, p := range doors {
		p.shut()
	}
	epitest.WaitUntil(t, "the lease of the node that is cut off has ended", func() bool { return !c.Valid() })
	c.until(t, "it is fenced", func() bool { return c.fenced > 0 })
	if _, err := c.claim(nick("dog")); !errors.Is(err, fabric.ErrFenced) {
		t.Errorf("the node that is cut off claims a name: %v", err)
	}
	a.take(t, nick("cat"))
	a.until(t, "c is down", func() bool { return a.up["c"].Epoch != before })
	for _, p := range doors {
		p.reopen()
	}
	untilAllKnowAll(t, all)

	// Another one must have the bucket's leader, so that no election is waited for.
	c.own(t, nick("cow"))
	c.crash()
	a.until(t, "the killed node is down", func() bool { _, up := a.up["c"]; return !up && len(a.up) == 2 })
	a.take(t, nick("cow"))
}

// authority signs certificates for 127.0.0.1, each for both ends of a connection.
var authority = sync.OnceValues(func() (tls.Certificate, error) { return certificate(nil) })

func certificate(issuer *tls.Certificate) (c tls.Certificate, err error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return c, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: issuer == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, key := template, private
	if issuer != nil {
		parent, key = issuer.Leaf, issuer.PrivateKey.(ed25519.PrivateKey)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return c, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}, err
}

// security is that of a node between others.
func security(t *testing.T) *tls.Config {
	t.Helper()
	ca, err := authority()
	if err != nil {
		t.Fatal(err)
	}
	own, err := certificate(&ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	return &tls.Config{
		Certificates: []tls.Certificate{own}, RootCAs: pool, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}
}

// TestNodesAtAServerThatIsThere joins nodes by NATS that is nobody's own.
func TestNodesAtAServerThatIsThere(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { stopServer(s) })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	var both []Config
	for _, node := range []fabric.Node{"a", "b"} {
		both = append(both, Config{Node: node, URL: s.ClientURL(), Replicas: 1})
	}
	all := cluster(t, lease, both)
	first := all[0].take(t, nick("ann"))
	if _, mine := all[1].own(t, nick("ann")); mine && all[0].holds(first) {
		t.Error("a name has two owners")
	}
	all[0].append(t, 1, "id", "record")
	if got, _ := all[1].replay(t, 1, fabric.Position{}); len(got) != 1 || got[0] != "1:record" {
		t.Errorf("b replays %q", got)
	}
	all[0].positions(t)
	all[0].manyRecords(t)
}

// manyRecords tests that a replay goes on behind the records that it reads at once, and leaves
// nothing at the server: a node that is killed while it reads cannot end what it has there, and NATS
// refuses to make more consumers of a stream than a thousand.
func (w *witness) manyRecords(t *testing.T) {
	t.Helper()
	const shard, records = 3, 2*batch + 7
	var want []string
	for i := range records {
		if _, err := w.stream.PublishAsync(w.config.historySubject(shard), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("%d:%d", i+1, i))
	}
	<-w.stream.PublishAsyncComplete()
	consumers, done := 1, make(chan error)
	w.Replay(shard, fabric.Position{}, func(fabric.Position, []byte) bool {
		stream, err := w.stream.Stream(patient(t), w.config.historyName(shard))
		if err != nil {
			t.Error(err)
			return false
		}
		consumers = stream.CachedInfo().State.Consumers
		return false
	}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got, _ := w.replay(t, shard, fabric.Position{}); !slices.Equal(got, want) {
		t.Errorf("%d records are replayed as %d: %q", records, len(got), got)
	}
	if consumers != 0 {
		t.Errorf("a replay has %d consumers", consumers)
	}
}

// positions tests what a position is worth: it is one of the stream that it was got from, as long
// as that has the record, or has dropped it with those before.
func (w *witness) positions(t *testing.T) {
	t.Helper()
	const shard = 2
	for i := range 4 {
		w.append(t, shard, fmt.Sprint("p", i), fmt.Sprint(i))
	}
	expect := func(what string, after fabric.Position, want ...string) (behind []fabric.Position) {
		t.Helper()
		got, behind := w.replay(t, shard, after)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
		return behind
	}
	at := expect("all", fabric.Position{}, "1:0", "2:1", "3:2", "4:3")
	expect("behind the second", at[1], "3:2", "4:3")
	expect("behind the last", at[3])
	other := at[1]
	other.At++
	expect("another record of that number", other, "1:0", "2:1", "3:2", "4:3")
	beyond := at[3]
	beyond.Number += 1000
	expect("beyond the end", beyond, "1:0", "2:1", "3:2", "4:3")
	stream, err := w.stream.Stream(patient(t), w.config.historyName(shard))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(patient(t), jetstream.WithPurgeSequence(4)); err != nil {
		t.Fatal(err)
	}
	expect("behind one that is too old to be kept", at[1], "4:3")
	if err := w.stream.DeleteStream(patient(t), w.config.historyName(shard)); err != nil {
		t.Fatal(err)
	}
	epitest.WaitUntil(t, "the stream is made anew", func() bool { return w.openShard(shard) == nil }) // which takes too long where nobody runs it
	var place fabric.Position
	empty := make(chan error)
	w.Replay(shard, at[0], func(at fabric.Position, data []byte) bool {
		place = at
		return len(data) == 0
	}, func(err error) { empty <- err })
	if err := <-empty; err != nil || place.Stream == at[0].Stream || place.Stream == 0 {
		t.Errorf("a stream that was made anew and has nothing is at %+v, %v", place, err)
	}
	w.append(t, shard, "anew", "anew")
	w.append(t, shard, "more", "more")
	expect("a stream that was made anew", at[0], fmt.Sprintf("%d:anew", place.Number+1), fmt.Sprintf("%d:more", place.Number+2))
	var enough []string
	done := make(chan error)
	w.Replay(shard, place, func(_ fabric.Position, data []byte) bool {
		enough = append(enough, string(data))
		return false
	}, func(err error) { done <- err })
	if err := <-done; err != nil || !slices.Equal(enough, []string{"anew"}) {
		t.Errorf("one was enough: %q, %v", enough, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for want, c := range map[string]Config{
		"node name":         {Node: "a b", Network: "n", URL: "x"},
		"network name":      {Node: "a", URL: "x"},
		"replicas 2":        {Node: "a", Network: "n", URL: "x", Replicas: 2},
		"directory":         {Node: "a", Network: "n"},
		"listen":            {Node: "a", Network: "n", Directory: "d", Peers: []string{"x:1", "y:1"}},
		"3 replicas":        {Node: "a", Network: "n", Directory: "d", Listen: "x:1", Peers: []string{"x:1"}},
		"port must be a nu": {Node: "a", Network: "n", Directory: "d", Listen: "x:y", Peers: []string{"x:1", "y:1"}},
	} {
		if _, err := Open(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v does not say %q", c, err, want)
		}
	}
}

// A proxy is a door in front of an address.
type proxy struct {
	listener net.Listener
	to       string
	work     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
}

func doorTo(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, conns: map[net.Conn]bool{}}
	p.work.Go(p.serve)
	t.Cleanup(func() {
		l.Close()
		p.shut()
		p.work.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", p.to)
		if err != nil || !p.add(from, to) {
			from.Close()
			if err == nil {
				to.Close()
			}
			continue
		}
		p.work.Go(func() { pipe(from, to) })
		p.work.Go(func() { pipe(to, from) })
	}
}

func pipe(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	from.Close()
	to.Close()
}

func (p *proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	for _, c := range conns {
		p.conns[c] = true
	}
	return true
}

// shut cuts all connections, and new ones at once.
func (p *proxy) shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

func (p *proxy) reopen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = false
}

// TestStepDown: the streams get other leaders, and names are taken as before.
func TestStepDown(t *testing.T) {
	t.Parallel()
	all := cluster(t, lease, configs(t))
	a := all[0]
	before := a.take(t, nick("before"))
	epitest.WaitUntil(t, "all streams have been given other leaders", func() bool { // one may have none just now
		return a.StepDown(t.Context()) == nil
	})
	for i, w := range all {
		w.take(t, nick(fmt.Sprint("after", i)))
	}
	if _, mine := all[1].own(t, nick("before")); mine && a.holds(before) {
		t.Error("another node has taken a name that was taken before")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.StepDown(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("when nobody waits: %v", err)
	}
}
