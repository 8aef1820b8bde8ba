package server_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/sim"
)

// next reads frames until there is a message of a type that is right.
func next[M proto.Message](c *client, what string, right func(M) bool) (found M) {
	c.t.Helper()
	ok := false
	c.watch = func(m proto.Message) {
		if m, is := m.(M); is && !ok && right(m) {
			found, ok = m, true
		}
	}
	c.until(what, func() bool { return ok })
	c.watch = nil
	return found
}

func (c *client) noticed(code uint8) {
	c.t.Helper()
	next(c, fmt.Sprint("notice ", code), func(m *proto.Notice) bool { return m.Code == code })
}

// TestWhisper is read by two alone, also under a name that looks like the right one.
func TestWhisper(t *testing.T) {
	w := start(t, settings())
	a, b, c := w.join("Anna"), w.join("Bert"), w.join("Carl")
	a.send(&proto.Whisper{To: "BERT", Text: "nobody"}, &proto.Whisper{To: "Bert", Text: "psst"})
	for _, p := range []*client{a, b} {
		m := next(p, "the whisper", func(m *proto.Whispered) bool { return m.Text == "psst" })
		if m.From != "Anna" || m.To != "Bert" {
			t.Errorf("%+v", m)
		}
	}
	a.send(&proto.Whisper{To: "Nobody", Text: "psst"})
	a.noticed(4)
	c.watch = func(m proto.Message) {
		if m, is := m.(*proto.Whispered); is {
			t.Errorf("Carl has %+v", m)
		}
	}
	c.ticks(3)
	a.send(&proto.Whisper{To: "Bert", Text: "\u202e"})
	a.ends()
	if a.refused == nil || a.refused.Reason != 6 {
		t.Errorf("%+v", a.refused)
	}
}

// TestWhoIsOnline, by name, with levels.
func TestWhoIsOnline(t *testing.T) {
	w := start(t, settings())
	b, a := w.join("Bert"), w.join("Anna")
	a.send(&proto.Who{})
	next(a, "who is there", func(m *proto.Online) bool {
		return m.Count == 2 && len(m.People) == 2 && m.People[0] == proto.Person{Name: "Anna", Level: 1} && m.People[1].Name == "Bert"
	})
	b.ticks(1)
}

// TestModerators: who has no key can do nothing; who has one mutes, moves, sends away
// and bans.
func TestModerators(t *testing.T) {
	config := settings()
	config.Moderators = map[[sha256.Size]byte]string{sha256.Sum256([]byte("secret")): "chief"}
	config.Banned = []string{"Banned"}
	w := start(t, config)
	a, b := w.join("Anna"), w.join("Bert")
	a.send(&proto.Order{Kind: 3, Name: "Bert"})
	a.noticed(5)
	a.send(&proto.Moderate{Key: []byte("secrets")})
	a.noticed(5)
	a.send(&proto.Moderate{Key: []byte("secret")})
	a.noticed(8)

	a.send(&proto.Order{Kind: 1, Name: "Bert"})
	a.noticed(7)
	b.send(&proto.Say{Text: "hello"}, &proto.Whisper{To: "Anna", Text: "hello"})
	b.noticed(6)
	if n := w.Stats().Said; n != 0 {
		t.Errorf("%d lines were said", n)
	}
	a.send(&proto.Order{Kind: 2, Name: "Bert"})
	a.noticed(7)
	b.send(&proto.Whisper{To: "Anna", Text: "hello"})
	next(a, "what Bert says", func(m *proto.Whispered) bool { return m.From == "Bert" })

	a.send(&proto.Order{Kind: 5, Name: "Bert", X: 4000, Y: 4000})
	b.until("the place", func() bool { return b.replica.Own.Epoch != b.welcome.Epoch })
	if dx, dy := int(b.replica.Own.X)-4000, int(b.replica.Own.Y)-4000; max(dx, -dx, dy, -dy) > 10*sim.Tile {
		t.Errorf("it is at %d, %d", b.replica.Own.X, b.replica.Own.Y)
	}

	for _, step := range []struct {
		order, reason uint8
		again         uint8
	}{{3, 12, 0}, {4, 13, 13}} {
		a.send(&proto.Order{Kind: step.order, Name: "bert"}) // it looks like Bert
		b.ends()
		if b.refused == nil || b.refused.Reason != step.reason {
			t.Fatalf("order %d: %+v", step.order, b.refused)
		}
		b = w.connect()
		b.hello("Bert", b.welcome.Token)
		if reason := b.reason(); reason != step.again {
			t.Errorf("after order %d: refused with %d", step.order, reason)
		}
	}
	c := w.connect()
	c.hello("Banned", nil)
	if c.reason() != 13 {
		t.Errorf("one that is banned by the configuration: %d", c.reason())
	}
	b = w.join("Guess")
	b.send(&proto.Moderate{Key: []byte("a")}, &proto.Moderate{Key: []byte("b")}, &proto.Moderate{Key: []byte("c")})
	b.ends()
	if b.reason() != 6 {
		t.Errorf("after three wrong keys: %d", b.reason())
	}
}

// reason is with which a client was refused, 0 when it was not.
func (c *client) reason() uint8 {
	if c.refused == nil {
		return 0
	}
	return c.refused.Reason
}

// TestAttackByTheWire: two players on a meadow strike each other, and see it.
func TestAttackByTheWire(t *testing.T) {
	config := settings()
	config.World.Monsters = 0
	config.Moderators = map[[sha256.Size]byte]string{sha256.Sum256([]byte("secret")): "chief"}
	w := start(t, config)
	a, b := w.join("Anna"), w.join("Bert")
	x, y := meadow(t, config.World)
	a.send(&proto.Moderate{Key: []byte("secret")}, &proto.Order{Kind: 5, Name: "Bert", X: x, Y: y}, &proto.Order{Kind: 5, Name: "Anna", X: x, Y: y})
	a.until("each other", func() bool { return a.replica.Own.X == x && a.replica.Entities[b.welcome.Self] != nil })
	a.send(&proto.Attack{Target: b.welcome.Self, Seen: a.replica.Tick})
	for _, c := range []*client{a, b} {
		next(c, "the blow", func(m *proto.Hit) bool {
			return m.By == a.welcome.Self && m.Target == b.welcome.Self && m.Health == 100-m.Damage
		})
	}
	b.until("its health", func() bool { return b.replica.Own.Health < 100 })
	if s := w.Stats(); s.Struck != 1 {
		t.Errorf("%d blows", s.Struck)
	}
}

// meadow is the middle of a square of grass.
func meadow(t *testing.T, c sim.Config) (x, y uint16) {
	t.Helper()
	m := sim.NewMap(c.Seed, c.Width, c.Height)
	for tx := 1; tx < c.Width*sim.CellSide; tx++ {
		for ty := 1; ty < c.Height*sim.CellSide; ty++ {
			grass := true
			for i := range 9 {
				grass = grass && m.At(tx+i%3-1, ty+i/3-1) == sim.Grass
			}
			if grass {
				return uint16(tx*sim.Tile + sim.Tile/2), uint16(ty*sim.Tile + sim.Tile/2)
			}
		}
	}
	t.Fatal("there is no meadow")
	return 0, 0
}
