package ledger_test

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/fabric/fabrictest"
	"github.com/epinet/epi/apps/chat/ledger"
	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/internal/epitest"
)

func TestMain(m *testing.M) { epitest.Main(m, nil) }

// A node has a store, and what it has in common with others.
type node struct {
	*fabrictest.View
	store  store.Store
	writer *store.Writer
	ledger *ledger.Ledger

	mu      sync.Mutex
	written []store.Write // guarded by mu
}

// join makes a node with a store that may have something already.
func join(t *testing.T, r *fabrictest.Registry, s store.Store) *node {
	t.Helper()
	n := &node{View: r.View(), store: s, writer: store.NewWriter(s)}
	n.ledger = ledger.Open(ledger.Config{
		Registry: n.View, Store: s, Writer: n.writer, Log: slog.New(slog.DiscardHandler),
		Written: func(w store.Write) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.written = append(n.written, w)
		},
	})
	n.writer.Share(n.ledger)
	t.Cleanup(n.leave)
	return n
}

// leave ends a node; its store is kept.
func (n *node) leave() { n.ledger.Close() }

func (n *node) do(t *testing.T, w store.Write) {
	t.Helper()
	if err := n.writer.Do(t.Context(), w); err != nil {
		t.Fatalf("%T: %v", w, err)
	}
}

// knows returns the account that a node has after it has caught up, with its credentials.
func (n *node) knows(t *testing.T, name string) (store.Account, []store.Credential) {
	t.Helper()
	if err := n.ledger.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, err := n.store.Account(t.Context(), name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	credentials, err := n.store.Credentials(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return a, credentials
}

func add(name, password string) store.AddAccount {
	return store.AddAccount{
		Account:     store.Account{Name: name, Created: time.Now()},
		Credentials: []store.Credential{{Account: name, Kind: store.Password, Secret: password, Created: time.Now()}},
	}
}

// disk opens a database.
func disk(t *testing.T) store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "chat.db"), store.Relaxed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestEachChangeIsAtAllNodes makes every change of an account at one node and looks for it at
// another one.
func TestEachChangeIsAtAllNodes(t *testing.T) {
	r := fabrictest.NewRegistry()
	a, b := join(t, r, disk(t)), join(t, r, store.NewMemory())
	a.do(t, add("Ann", "one"))
	certificate := store.Credential{Account: "ann", Kind: store.Certificate, Label: "c", Secret: "c"}
	for _, step := range []struct {
		write store.Write
		holds func(store.Account, []store.Credential) bool
	}{
		{store.SetRole{Account: "ANN", Role: "admin"}, func(a store.Account, _ []store.Credential) bool { return a.Role == "admin" }},
		{store.SetSuspended{Account: "ann", Reason: "spam"}, func(a store.Account, _ []store.Credential) bool { return a.Suspended == "spam" }},
		{store.SetSuspended{Account: "ann"}, func(a store.Account, _ []store.Credential) bool { return a.Suspended == "" && a.Role == "admin" }},
		{store.SetVerified{Account: "ann"}, func(a store.Account, _ []store.Credential) bool { return a.Verified }},
		{store.PutCredential{Credential: store.Credential{Account: "ann", Kind: store.Password, Secret: "two"}}, func(_ store.Account, c []store.Credential) bool { return len(c) == 1 && c[0].Secret == "two" }},
		{store.PutCredential{Credential: certificate}, func(_ store.Account, c []store.Credential) bool { return len(c) == 2 && c[0].Secret == "c" }},
		{store.RemoveCredential{Account: "ann", Kind: store.Certificate, Label: "c"}, func(_ store.Account, c []store.Credential) bool { return len(c) == 1 }},
		{store.RemoveAccount{Name: "ann"}, func(a store.Account, c []store.Credential) bool { return a.Name == "" && len(c) == 0 }},
	} {
		a.do(t, step.write)
		if account, credentials := b.knows(t, "ann"); !step.holds(account, credentials) {
			t.Errorf("after %+v the other node has %+v, %+v", step.write, account, credentials)
		}
		a, b = b, a
	}
	b.do(t, add("ANN", "three"))
	if account, _ := a.knows(t, "ann"); account.Name != "ANN" {
		t.Errorf("an account that was made again is %+v", account)
	}
}

// TestOneOfAllGetsAName has all nodes register the same names at once: each belongs to one
// of them, and that one's password counts at all.
func TestOneOfAllGetsAName(t *testing.T) {
	r := fabrictest.NewRegistry()
	nodes := []*node{join(t, r, store.NewMemory()), join(t, r, store.NewMemory()), join(t, r, store.NewMemory())}
	const names = 20
	var (
		wait    sync.WaitGroup
		results [names][3]error
	)
	for i, n := range nodes {
		for name := range names {
			wait.Go(func() {
				results[name][i] = n.writer.Do(t.Context(), add(fmt.Sprintf("name%d", name), fmt.Sprint(i)))
			})
		}
	}
	wait.Wait()
	for name := range names {
		winner := slices.Index(results[name][:], nil)
		if winner < 0 {
			t.Errorf("name%d: nobody has it: %v", name, results[name])
			continue
		}
		for i, err := range results[name] {
			if i != winner && !errors.Is(err, store.ErrExists) {
				t.Errorf("name%d: node %d has it, and node %d got %v", name, winner, i, err)
			}
		}
		for i, n := range nodes {
			if _, c := n.knows(t, fmt.Sprintf("name%d", name)); len(c) != 1 || c[0].Secret != fmt.Sprint(winner) {
				t.Errorf("name%d: node %d has %+v, not what node %d wrote", name, i, c, winner)
			}
		}
	}
}

// TestChangesOfOneAccountDoNotUndoEachOther has two nodes add devices to one account at once.
func TestChangesOfOneAccountDoNotUndoEachOther(t *testing.T) {
	r := fabrictest.NewRegistry()
	nodes := []*node{join(t, r, store.NewMemory()), join(t, r, store.NewMemory())}
	nodes[0].do(t, add("ann", "one"))
	const each = 10
	var wait sync.WaitGroup
	for i, n := range nodes {
		for device := range each {
			wait.Go(func() {
				err := n.writer.Do(t.Context(), store.PutCredential{Credential: store.Credential{
					Account: "ann", Kind: store.AppPassword, Label: fmt.Sprint(i, device), Secret: "x",
				}})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	wait.Wait()
	for _, n := range nodes {
		if _, c := n.knows(t, "ann"); len(c) != 1+2*each {
			t.Errorf("%d credentials, want %d", len(c), 1+2*each)
		}
	}
}

// TestWhoWasAwayHasWhatItMissed lets a node leave, and come back with its old store.
func TestWhoWasAwayHasWhatItMissed(t *testing.T) {
	r := fabrictest.NewRegistry()
	a, kept := join(t, r, store.NewMemory()), disk(t)
	away := join(t, r, kept)
	for _, name := range []string{"removed", "changed", "same"} {
		a.do(t, add(name, "old"))
	}
	away.knows(t, "same")
	away.leave()
	a.do(t, store.RemoveAccount{Name: "removed"})
	a.do(t, store.PutCredential{Credential: store.Credential{Account: "changed", Kind: store.Password, Secret: "new"}})
	a.do(t, add("made", "new"))
	back := join(t, r, kept)
	for name, want := range map[string]string{"removed": "", "changed": "new", "same": "old", "made": "new"} {
		secret := ""
		if _, c := back.knows(t, name); len(c) == 1 {
			secret = c[0].Secret
		}
		if secret != want {
			t.Errorf("%s: the password is %q, want %q", name, secret, want)
		}
	}
	if a, _ := a.knows(t, "removed"); a.Name != "" {
		t.Error("who came back has brought back an account that was removed")
	}
	back.leave()
	if len(back.written) != 3 {
		t.Errorf("%d entries were written where 3 were new: %+v", len(back.written), back.written)
	}
}

// TestOneMachineBecomesSeveral joins stores that have accounts already.
func TestOneMachineBecomesSeveral(t *testing.T) {
	first, second := store.NewMemory(), store.NewMemory()
	for _, s := range []*store.Memory{first, second} {
		if err := store.NewWriter(s).Do(t.Context(), add("both", fmt.Sprint(s == first))); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.NewWriter(first).Do(t.Context(), add("old", "first")); err != nil {
		t.Fatal(err)
	}
	r := fabrictest.NewRegistry()
	a := join(t, r, first)
	b := join(t, r, second)
	for account := (store.Account{}); account.Name != "old"; account, _ = b.knows(t, "old") {
		time.Sleep(time.Millisecond) // what a has is written by nobody who could be waited for
	}
	b.do(t, store.PutCredential{Credential: store.Credential{Account: "both", Kind: store.Certificate, Label: "mark", Secret: "mark"}})
	_, ofA := a.knows(t, "both")
	_, ofB := b.knows(t, "both")
	if len(ofA) != 2 || len(ofB) != 2 || ofA[1].Secret != ofB[1].Secret {
		t.Errorf("an account of both is %+v and %+v", ofA, ofB)
	}
}

// TestCutOffNodeRefuses asks a node that reaches no majority.
func TestCutOffNodeRefuses(t *testing.T) {
	r := fabrictest.NewRegistry()
	a, b := join(t, r, store.NewMemory()), join(t, r, store.NewMemory())
	a.do(t, add("ann", "one"))
	b.knows(t, "ann")
	b.Cut(true)
	if err := b.writer.Do(t.Context(), add("bob", "x")); !errors.Is(err, fabric.ErrUnavailable) {
		t.Errorf("an account was made: %v", err)
	}
	if err := b.ledger.CatchUp(t.Context()); !errors.Is(err, fabric.ErrUnavailable) {
		t.Errorf("it believes to have caught up: %v", err)
	}
	a.do(t, store.SetSuspended{Account: "ann", Reason: "spam"})
	b.Cut(false)
	for err := fabric.ErrUnavailable; err != nil; err = b.ledger.CatchUp(t.Context()) {
		if !errors.Is(err, fabric.ErrUnavailable) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // it does not ask again for a moment
	}
	if account, _ := b.knows(t, "ann"); account.Suspended == "" {
		t.Error("what was written meanwhile did not come")
	}
}

// TestInvitationsAreGoodAtAllNodes uses one up from two nodes.
func TestInvitationsAreGoodAtAllNodes(t *testing.T) {
	r := fabrictest.NewRegistry()
	a, b := join(t, r, store.NewMemory()), join(t, r, store.NewMemory())
	a.do(t, add("taken", "x"))
	a.do(t, store.PutInvitation{Invitation: store.Invitation{Hash: "h", Expires: time.Now().Add(time.Hour), Left: 1}})
	b.knows(t, "taken")
	by := func(name string) store.AddAccount {
		w := add(name, "x")
		w.Invitation = "h"
		return w
	}
	if err := b.writer.Do(t.Context(), by("taken")); !errors.Is(err, store.ErrExists) {
		t.Errorf("a name that is taken: %v", err)
	}
	b.do(t, by("one"))
	if err := a.writer.Do(t.Context(), by("two")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an invitation that was used: %v", err)
	}
	b.do(t, store.RemoveInvitation{Hash: "h"})
	if err := a.ledger.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.store.Invitation(t.Context(), "h"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an invitation that was removed: %v", err)
	}
}

// TestInvitedAccountIsMadeOrNot loses each of the writes by which an invitation makes an account, or
// their answers, once or with the node: then there is the account and the use, or neither.
func TestInvitedAccountIsMadeOrNot(t *testing.T) {
	for write, prefix := range []string{"invitation ", "account ", "invitation "} {
		for _, loss := range []fabrictest.Loss{fabrictest.Request, fabrictest.Answer} {
			for _, lost := range []bool{false, true} {
				t.Run(fmt.Sprintf("write %d, loss %d, node lost %v", write, loss, lost), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { loseInvited(t, write, prefix, loss, lost) })
				})
			}
		}
	}
}

func loseInvited(t *testing.T, write int, prefix string, loss fabrictest.Loss, lost bool) {
	r := fabrictest.NewRegistry()
	a, b := join(t, r, store.NewMemory()), join(t, r, store.NewMemory())
	b.do(t, store.PutInvitation{Invitation: store.Invitation{Hash: "h", Expires: time.Now().Add(time.Hour), Left: 1}})
	if err := a.ledger.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	var (
		writes int // guarded by the registry
		end    sync.WaitGroup
	)
	a.Lose(func(key string) fabrictest.Loss {
		at := writes
		writes++
		switch {
		case at < write:
			return fabrictest.Nothing
		case at > write && lost:
			return fabrictest.Request
		case at > write:
			return fabrictest.Nothing
		}
		if !strings.HasPrefix(key, prefix) {
			t.Errorf("write %d is of %q", at, key)
		}
		if lost {
			end.Go(a.leave)
		}
		return loss
	})
	w := add("new", "x")
	w.Invitation = "h"
	err := a.writer.Do(t.Context(), w)
	end.Wait()
	made, left := b.invited(t)
	for end := time.Now().Add(5 * time.Minute); made != (left == 0) && time.Now().Before(end); made, left = b.invited(t) {
		time.Sleep(time.Millisecond)
	}
	switch {
	case made != (left == 0):
		t.Fatalf("after %v: made %v, and the invitation is good for %d", err, made, left)
	case err == nil && !made:
		t.Error("the account was said to be made")
	}
	if b.do(t, add("other", "x")); !made {
		b.do(t, w)
		made, left = b.invited(t)
	}
	if !made || left != 0 {
		t.Errorf("in the end: made %v, and the invitation is good for %d", made, left)
	}
}

// invited says whether a node has the account "new", and how many the invitation "h" is good for.
func (n *node) invited(t *testing.T) (made bool, left int) {
	t.Helper()
	a, _ := n.knows(t, "new")
	i, err := n.store.Invitation(t.Context(), "h")
	if err != nil {
		t.Fatal(err)
	}
	return a.Name != "", i.Left
}

// TestInvitedAccountOfATakenName: the use is given back by another node when the name was taken after
// it was written, and the node of it lost.
func TestInvitedAccountOfATakenName(t *testing.T) {
	r := fabrictest.NewRegistry()
	a, b := join(t, r, store.NewMemory()), join(t, r, store.NewMemory())
	a.do(t, store.PutInvitation{Invitation: store.Invitation{Hash: "h", Expires: time.Now().Add(time.Hour), Left: 1}})
	used := make(chan struct{})
	var once sync.Once
	a.Lose(func(key string) fabrictest.Loss {
		if strings.HasPrefix(key, "account ") {
			once.Do(func() { close(used) })
			return fabrictest.Request
		}
		return fabrictest.Nothing
	})
	var end sync.WaitGroup
	end.Go(func() {
		w := add("new", "x")
		w.Invitation = "h"
		if err := a.writer.Do(t.Context(), w); err == nil {
			t.Error("an account was made of a taken name")
		}
	})
	<-used
	if err := b.writer.Do(t.Context(), add("new", "of another")); err != nil && !errors.Is(err, store.ErrExists) {
		t.Fatal(err) // the use may be finished before
	}
	a.leave()
	end.Wait()
	w := add("second", "x")
	w.Invitation = "h"
	_, credentials := b.knows(t, "new")
	err := b.writer.Do(t.Context(), w)
	if wasFirst := credentials[0].Secret == "of another"; wasFirst != (err == nil) {
		t.Errorf("the name was taken by another: %v; and the invitation then: %v", wasFirst, err)
	}
}

// TestBansAndMetadataAreAtAllNodes: each node has the last of what one has written quickly.
func TestBansAndMetadataAreAtAllNodes(t *testing.T) {
	r := fabrictest.NewRegistry()
	a, b := join(t, r, disk(t)), join(t, r, store.NewMemory())
	a.do(t, add("ann", "x"))
	ban := func(reason string, until time.Time) store.PutBan {
		return store.PutBan{Ban: store.Ban{Mask: "evil!*@*", Reason: reason, At: time.UnixMilli(5000).UTC(), Until: until}}
	}
	datum := func(owner, value string) store.PutDatum {
		return store.PutDatum{Datum: store.Datum{Owner: owner, Key: "color", Value: value}}
	}
	for i := range 10 {
		a.writer.Write(ban("old", time.Time{}), nil)
		a.writer.Write(store.RemoveBan{Mask: "evil!*@*"}, nil)
		a.writer.Write(datum("ann", fmt.Sprint(i)), nil)
	}
	a.do(t, ban("new", time.Time{}))
	a.do(t, datum("ann", "red"))
	a.do(t, datum("#x", "blue"))
	if err := b.ledger.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	bans, err := b.store.Bans(t.Context())
	if err != nil || len(bans) != 1 || bans[0] != ban("new", time.Time{}).Ban {
		t.Errorf("the bans are %+v, %v", bans, err)
	}
	data, err := b.store.Metadata(t.Context(), "")
	if err != nil || len(data) != 2 || data[0] != datum("#x", "blue").Datum || data[1] != datum("ann", "red").Datum {
		t.Errorf("the metadata is %+v, %v", data, err)
	}
	b.do(t, store.RemoveBan{Mask: "evil!*@*"})
	b.do(t, store.RemoveAccount{Name: "Ann"})
	b.do(t, datum("#x", ""))
	a.do(t, ban("over", time.Now().Add(-time.Hour)))
	late := join(t, r, store.NewMemory())
	late.do(t, add("ann", "another"))
	if data, err := late.store.Metadata(t.Context(), ""); err != nil || len(data) != 0 {
		t.Errorf("who has the name of an account that was removed has its metadata: %+v, %v", data, err)
	}
	if bans, err := late.store.Bans(t.Context()); err != nil || len(bans) != 0 {
		t.Errorf("bans that are over: %+v, %v", bans, err)
	}
}

// TestChannelsAreAtAllNodes: what comes last in a channel's order is kept, whoever writes it
// when; and who writes what is kept already has it kept.
func TestChannelsAreAtAllNodes(t *testing.T) {
	r := fabrictest.NewRegistry()
	old := disk(t)
	if _, err := old.Apply(t.Context(), []store.Write{store.PutChannel{Channel: store.Channel{Name: "#Old", Founder: "ann"}}}); err != nil {
		t.Fatal(err)
	}
	a, b := join(t, r, old), join(t, r, store.NewMemory())
	put := func(topic string, reign int64, number uint64) store.PutChannel {
		return store.PutChannel{
			Channel: store.Channel{Name: "#X", Founder: "ann", Topic: topic, Created: time.Unix(7, 0), Lists: map[string][]store.Entry{"b": {{Mask: "evil!*@*", At: time.Unix(8, 0)}}}},
			Order:   store.Order{Reign: reign, Number: number},
		}
	}
	remove := func(reign int64, number uint64) store.RemoveChannel {
		return store.RemoveChannel{Name: "#x", Order: store.Order{Reign: reign, Number: number}}
	}
	const none = "there is none"
	for i, step := range []struct {
		at    *node
		write store.Write
		topic string
	}{
		{a, put("one", 1, 1), "one"},
		{b, put("one", 1, 1), "one"},
		{b, put("one", 1, 3), "one"},
		{a, put("two", 1, 4), "two"},
		{b, put("late", 1, 2), "two"},
		{b, put("three", 2, 1), "three"},
		{a, put("late", 1, 9), "three"},
		{a, remove(1, 10), "three"},
		{b, remove(2, 2), none},
		{a, put("late", 2, 1), none},
		{a, put("again", 3, 1), "again"},
	} {
		step.at.do(t, step.write)
		for _, n := range []*node{a, b} {
			if err := n.ledger.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			c, err := n.store.Channel(t.Context(), "#x")
			if errors.Is(err, store.ErrNotFound) {
				c.Topic, err = none, nil
			}
			if err != nil || c.Topic != step.topic {
				t.Errorf("after step %d, %+v, a node has %q, %v; not %q", i, step.write, c.Topic, err, step.topic)
			}
		}
	}
	epitest.WaitUntil(t, "the channel of a node that was alone is at the other", func() bool {
		c, err := b.store.Channel(t.Context(), "#old")
		return err == nil && c.Founder == "ann"
	})
	if err := b.writer.Do(t.Context(), remove(9, 1)); err != nil {
		t.Fatal(err)
	}
	if err := b.writer.Do(t.Context(), remove(9, 2)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a channel that was removed: %v", err)
	}
	away := disk(t)
	if _, err := away.Apply(t.Context(), []store.Write{put("before it went away", 0, 0)}); err != nil {
		t.Fatal(err)
	}
	late := join(t, r, away)
	if err := late.ledger.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, err := late.store.Channel(t.Context(), "#x"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a node that was away still has %+v, %v", c, err)
	}
}

// TestRepeatedChannelsCostNothing: a change that another node has written already, and one of
// what is not kept, is no new entry.
func TestRepeatedChannelsCostNothing(t *testing.T) {
	r := fabrictest.NewRegistry()
	a, b := join(t, r, store.NewMemory()), join(t, r, store.NewMemory())
	put := func(number uint64) store.PutChannel {
		return store.PutChannel{Channel: store.Channel{Name: "#x", Created: time.Unix(7, 0)}, Order: store.Order{Reign: 1, Number: number}}
	}
	a.do(t, put(1))
	before, err := a.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for number := range uint64(5) {
		b.do(t, put(number))
		a.do(t, put(number))
	}
	if now, err := a.Last(t.Context()); err != nil || now != before {
		t.Errorf("the last entry was %d and is %d, %v", before, now, err)
	}
}

// TestOneOfAllIsTheFirst has each node invite the first administrator, and all links be used at once:
// one makes an account, and those that are left or come later make none.
func TestOneOfAllIsTheFirst(t *testing.T) {
	r := fabrictest.NewRegistry()
	const role = "admin"
	first := func(i int) store.Invitation {
		return store.Invitation{Hash: fmt.Sprint("link", i), Role: role, Expires: time.Now().Add(time.Hour), Left: 1}
	}
	invited := func(i int) store.Write {
		w := add(fmt.Sprint("admin", i), "x")
		w.Account.Role, w.Invitation = role, first(i).Hash
		return w
	}
	var nodes []*node
	for i := range 3 {
		s := store.NewMemory() // the link is made before the others are known
		if _, err := s.Apply(t.Context(), []store.Write{store.PutInvitation{Invitation: first(i)}}); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, join(t, r, s))
	}
	var (
		wait    sync.WaitGroup
		results [3]error
	)
	for i, n := range nodes {
		wait.Go(func() { results[i] = n.writer.Do(t.Context(), invited(i)) })
	}
	wait.Wait()
	admins := 0
	for i, err := range results {
		switch {
		case err == nil:
			admins++
		case !errors.Is(err, store.ErrNotFound):
			t.Errorf("node %d: %v", i, err)
		}
	}
	if admins != 1 {
		t.Fatalf("%d administrators were made: %v", admins, results)
	}
	late := store.NewMemory()
	if _, err := late.Apply(t.Context(), []store.Write{store.PutInvitation{Invitation: first(3)}}); err != nil {
		t.Fatal(err)
	}
	if err := join(t, r, late).writer.Do(t.Context(), invited(3)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a node that comes later: %v", err)
	}
	by := first(4)
	by.By = "admin0"
	nodes[0].do(t, store.PutInvitation{Invitation: by})
	nodes[0].do(t, invited(4)) // whoever an administrator invites is one
}

// TestFirstOfATakenName: who is to be the first, and wants a name that there is, tries another one.
func TestFirstOfATakenName(t *testing.T) {
	a := join(t, fabrictest.NewRegistry(), store.NewMemory())
	a.do(t, add("taken", "x"))
	a.do(t, store.PutInvitation{Invitation: store.Invitation{Hash: "h", Role: "admin", Expires: time.Now().Add(time.Hour), Left: 1}})
	w := add("taken", "x")
	w.Account.Role, w.Invitation = "admin", "h"
	if err := a.writer.Do(t.Context(), w); !errors.Is(err, store.ErrExists) {
		t.Fatalf("a name that is taken: %v", err)
	}
	w = add("free", "x")
	w.Account.Role, w.Invitation = "admin", "h"
	a.do(t, w)
}

// TestOneOfAllRegistersAChannel has all nodes register the same channels at once: each has one
// founder, and whoever owned it before and comes late is refused.
func TestOneOfAllRegistersAChannel(t *testing.T) {
	r := fabrictest.NewRegistry()
	nodes := []*node{join(t, r, store.NewMemory()), join(t, r, store.NewMemory()), join(t, r, store.NewMemory())}
	const channels = 10
	var (
		wait    sync.WaitGroup
		results [channels][3]error
	)
	claim := func(channel, by int, reign int64) store.AddChannel {
		return store.AddChannel{Channel: store.Channel{Name: fmt.Sprint("#c", channel), Founder: fmt.Sprint("f", by)}, Order: store.Order{Reign: reign, Number: 1}}
	}
	for i, n := range nodes {
		for c := range channels {
			wait.Go(func() { results[c][i] = n.writer.Do(t.Context(), claim(c, i, int64(1+i))) })
		}
	}
	wait.Wait()
	for c := range channels {
		winner := slices.Index(results[c][:], nil)
		if winner < 0 {
			t.Fatalf("channel %d: nobody has registered it: %v", c, results[c])
		}
		for i, n := range nodes {
			if err := results[c][i]; i != winner && !errors.Is(err, store.ErrExists) {
				t.Errorf("channel %d: node %d has it, and node %d got %v", c, winner, i, err)
			}
			if err := n.ledger.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			if has, err := n.store.Channel(t.Context(), fmt.Sprint("#C", c)); err != nil || has.Founder != fmt.Sprint("f", winner) {
				t.Errorf("channel %d: node %d has %+v, %v", c, i, has, err)
			}
		}
	}
	nodes[0].do(t, store.RemoveChannel{Name: "#c0", Order: store.Order{Reign: 9, Number: 1}})
	if err := nodes[1].writer.Do(t.Context(), claim(0, 1, 8)); !errors.Is(err, fabric.ErrStale) {
		t.Errorf("an owner of before: %v", err)
	}
	nodes[2].do(t, claim(0, 2, 10))
}
