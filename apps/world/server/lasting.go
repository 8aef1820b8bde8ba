package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/apps/world/store"
)

const (
	// lookTimeout bounds how long somebody at the door waits for the store.
	lookTimeout = 10 * time.Second
	// maxVisitors bounds those who wait at once.
	maxVisitors = 1000
	// savePart is the part of a second after which those who have changed are saved,
	// so that what a crash forgets, with the commit, is below a second.
	savePart = 2
)

// A keeper lets players last. But where it says otherwise it belongs to the loop.
type keeper struct {
	server   *Server
	visitors map[string]*visitor  // by the name's skeleton
	retries  map[int64]store.Save // snapshots that could not be saved and are tried again, by character
	unsaved  atomic.Int64         // snapshots that failed since the drain began
	draining atomic.Bool

	newcomers newcomers
}

// A visitor is somebody whose account is looked up.
type visitor struct {
	se    *session
	name  string
	key   string
	token token
}

func newKeeper(s *Server) *keeper {
	return &keeper{server: s, visitors: map[string]*visitor{}, retries: map[int64]store.Save{}, newcomers: newNewcomers(s.config.NewAccounts)}
}

// errUnsaved: the store has not what somebody was when it left.
var errUnsaved = errors.New("the player's last snapshot could not be saved yet: make room on the store's disk, or start its database")

// look asks the store for somebody's account. Nothing of the world waits for it.
func (k *keeper) look(v *visitor) {
	s := k.server
	if first := k.visitors[v.key]; first != nil {
		k.again(first, v)
		return
	}
	if len(k.visitors) >= maxVisitors {
		v.se.refuse(refusedFull, "too many come in at once: try again in a moment")
		return
	}
	k.visitors[v.key], v.se.visiting = v, true
	k.saveGone()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
		defer cancel()
		r, err := s.goods.look(ctx, v.key)           // it may have been here a moment ago
		_ = s.loop.Do(func() { k.found(v, r, err) }) // an ended loop has no visitors
	}()
}

// again is another visit with a name that is looked up already. With the same token it is
// the same client, whose first connection has ended: it goes on with this one.
func (k *keeper) again(first, v *visitor) {
	if v.token == (token{}) || v.token != first.token {
		v.se.refuse(refusedTaken, "somebody comes in with that name just now: choose another")
		return
	}
	old := first.se
	first.se, v.se.visiting, old.visiting = v.se, true, false
	old.refuse(refusedTakenOver, takenOver)
}

// found goes on with an account, or makes one. Who comes in gets a new epoch, so that
// what an older session still wants to save is refused.
func (k *keeper) found(v *visitor, r record, err error) {
	a, c := r.account, r.character
	switch {
	case errors.Is(err, store.ErrNotFound):
		if v.se.ended {
			delete(k.visitors, v.key)
			return
		}
		if !k.newcomers.admit(v.se.conn.RemoteAddr(), time.Now()) {
			k.end(v, refusedNew, "too many new names come from your address: take one that you have, or try again in an hour")
			return
		}
		v.token = v.token.chosen()
		k.server.goods.people++
		c.ID = k.server.goods.people
		hash := sha256.Sum256(v.token[:])
		a = store.Account{Key: v.key, Name: v.name, Secret: hash[:], Created: time.Now()}
		k.server.goods.writer.Write(store.AddAccount{Account: a, Character: c}, nil) // when it fails, so does Enter
	case err != nil:
		k.refuse(v, err)
		return
	case k.isUnsaved(c):
		k.refuse(v, errUnsaved)
		return
	case !owns(v.token, a):
		k.end(v, refusedTaken, "that name belongs to somebody, or one that looks like it: choose another")
		return
	case a.Banned.After(time.Now()):
		k.end(v, refusedBanned, "that name may not come in")
		return
	}
	v.name = a.Name
	c.Epoch++
	k.server.goods.write(store.Enter{Character: c.ID, Epoch: c.Epoch}, func(err error) { k.entered(v, record{a, c, r.items}, err) })
}

// owns says whether a token is the account's. Tokens are compared by their hashes, so
// that the time it takes says nothing of them.
func owns(t token, a store.Account) bool {
	hash := sha256.Sum256(t[:])
	return t != (token{}) && bytes.Equal(hash[:], a.Secret)
}

// entered lets somebody in whose epoch lasts.
func (k *keeper) entered(v *visitor, r record, err error) {
	s := k.server
	switch {
	case err != nil:
		k.refuse(v, err)
		return
	case v.se.ended:
		delete(k.visitors, v.key)
		return
	case s.draining:
		k.end(v, refusedShutdown, "the world ends here for now")
		return
	case s.tokens[v.token] != nil: // of another name, which came in meanwhile
		k.end(v, refusedToken, "another player has that token: choose one for each name")
		return
	}
	delete(k.visitors, v.key)
	v.se.visiting = false
	if r.account.Muted.After(time.Now()) {
		s.muted[v.key] = true
	}
	s.admit(v.se, v.name, v.key, v.token, r.character, r.items)
}

func (k *keeper) refuse(v *visitor, err error) {
	if !errors.Is(err, store.ErrBusy) {
		k.server.config.Log.Error("a player is turned away: the store does not say what it has; it may come again", "player", v.name, "error", err)
	}
	k.end(v, refusedFull, "the world cannot look you up just now: try again in a moment")
}

func (k *keeper) end(v *visitor, reason uint8, text string) {
	delete(k.visitors, v.key)
	v.se.visiting = false
	v.se.refuse(reason, text)
}

// restore gives a player back what it had. What makes no sense is made to: a place
// outside or in a wall becomes the nearest free one. Who never was here, or has fallen,
// begins in a town.
func (s *Server) restore(p *player, c store.Character) {
	p.character, p.epoch = c.ID, c.Epoch
	_ = s.world.Learn(p.id, uint32(min(max(c.Experience, 0), math.MaxUint32))) // it is there
	if c.Health <= 0 {
		return
	}
	x, y := clamp(c.X), clamp(c.Y)
	if err := s.world.Place(p.id, x, y); err != nil {
		s.config.Log.Warn("a player begins in a town", "player", p.name, "x", c.X, "y", c.Y, "error", err)
	}
	if x, y, _ := s.world.At(p.id); int64(x) != c.X || int64(y) != c.Y {
		s.config.Log.Warn("a stored place is none where one can be", "player", p.name, "x", c.X, "y", c.Y, "now x", x, "now y", y)
	}
	_ = s.world.SetHealth(p.id, uint8(min(c.Health, sim.MaxHealth))) // it is there
}

func clamp(v int64) int32 { return int32(min(max(v, math.MinInt32), math.MaxInt32)) }

// snapshot returns how a player is, and whether that is other than what was saved.
func (k *keeper) snapshot(p *player) (save store.Save, changed bool) {
	w := k.server.world
	x, y, _ := w.At(p.id)
	health, experience := w.Life(p.id)
	soft := store.Soft{X: int64(x), Y: int64(y), Health: int64(health), Experience: int64(experience)}
	changed = soft != p.kept
	p.kept = soft
	p.version++ // also when nothing has changed: it only has to rise
	soft.Version = p.version
	return store.Save{Character: p.character, Epoch: p.epoch, Soft: soft}, changed
}

// leave saves a player that goes.
func (k *keeper) leave(p *player) {
	save, _ := k.snapshot(p)
	delete(k.retries, p.character)
	k.server.goods.writer.SaveLast(save)
}

// tick saves those who have changed, when it is time.
func (k *keeper) tick() {
	s := k.server
	if s.world.Tick()%uint64(max(1, s.config.World.Hz/savePart)) == 0 {
		k.saveAll()
	}
}

func (k *keeper) saveAll() {
	for _, p := range k.server.players {
		save, changed := k.snapshot(p)
		if _, failed := k.retries[p.character]; changed || failed {
			delete(k.retries, p.character)
			k.server.goods.writer.Save(save)
		}
	}
	k.saveGone()
}

// saveGone saves those who have left and could not be saved then, before what is read of the
// store from now on.
func (k *keeper) saveGone() {
	for character, save := range k.retries {
		delete(k.retries, character)
		k.server.goods.writer.SaveLast(save)
	}
}

func (k *keeper) isUnsaved(c store.Character) bool {
	_, unsaved := k.retries[c.ID]
	return unsaved
}

// drain saves all. What fails from now on is not made up for.
func (k *keeper) drain() {
	k.draining.Store(true)
	k.saveAll()
}

// failed is called by the writer's goroutine.
func (k *keeper) failed(save store.Save, err error) {
	if errors.Is(err, store.ErrStale) {
		return // the store has a newer one
	}
	k.server.watch(err)
	if k.draining.Load() || k.server.loop.Do(func() { k.saveAgain(save) }) != nil {
		k.unsaved.Add(1)
		k.server.config.Log.Error("a player could not be saved before the end", "character", save.Character, "error", err)
		return
	}
	k.server.config.Log.Error("a player could not be saved; it is tried again", "character", save.Character, "error", err)
}

// saveAgain has a snapshot saved with the next ones. When the drain has begun since the
// failure, nobody else does it.
func (k *keeper) saveAgain(save store.Save) {
	k.retries[save.Character] = save
	if k.draining.Load() {
		k.saveAll()
	}
}

// forever is until when moderators mute and ban.
var forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// judge lets last what a moderator has decided about an account, if there is such a
// one, and who it was. Both are queued at once, in the order of the decisions, so that
// Keep waits for them. answer is called on the loop with what the store says of the verdict.
func (k *keeper) judge(moderator, action, key string, verdict store.Write, answer func(error)) {
	k.server.goods.writer.Write(store.Note{Deed: store.Deed{At: time.Now(), Actor: moderator, Action: action, Subject: key}}, k.judged)
	k.server.goods.writer.Write(verdict, func(err error) {
		k.judged(err)
		_ = k.server.loop.Do(func() { answer(err) }) // an ended loop has no moderators
	})
}

func (k *keeper) judged(err error) {
	k.server.watch(err)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		k.server.config.Log.Error("what a moderator has decided holds until the world ends: the store has not taken it; decide it again", "error", err)
	}
}

// Keep waits, after Drain and the end of the engine, until all that was to be saved is,
// and fails when something could not be, and always after Config.Failed. It does not close
// the store.
func (s *Server) Keep(ctx context.Context) error {
	err := s.save(ctx)
	if failure := s.failure.Load(); failure != nil {
		err = errors.Join(*failure, err)
	}
	return err
}

func (s *Server) save(ctx context.Context) error {
	if s.keeper == nil {
		return nil
	}
	if err := s.goods.writer.Close(ctx); err != nil {
		return fmt.Errorf("save the world: %d writes and %d players are not saved: %w",
			s.goods.writer.Stats().Waiting, s.goods.writer.Stats().Saves, err)
	}
	if n := s.keeper.unsaved.Load(); n > 0 {
		return fmt.Errorf("save the world: %d snapshots of players could not be saved: see the log", n)
	}
	return nil
}
