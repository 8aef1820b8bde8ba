package web_test

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/internal/browsertest"
	"github.com/epinet/epi/apps/world/server"
	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/apps/world/store"
	"github.com/epinet/epi/apps/world/web"
	"github.com/epinet/epi/internal/epitest"
)

var (
	shots   = flag.String("shots", "", "directory for pictures of the page")
	sprites = flag.Int("sprites", 0, "how many players TestSprites puts into view; 0: it is skipped")
)

// serve serves a small world, and returns its address.
func serve(t *testing.T, monsters int) string {
	t.Helper()
	e := &epi.Engine{Loops: 1, Logger: epitest.NoLog()}
	s, err := server.New(e, server.Config{
		World: sim.Config{Seed: 1, Width: 8, Height: 8, Hz: 20, Monsters: monsters, MaxPlayers: 100},
		Grace: time.Hour, HelloTimeout: time.Minute, FrameBudget: server.DefaultFrameBudget,
		Conflate: server.DefaultConflate, MaxQueue: server.DefaultMaxQueue, TalkRate: 5, TalkBurst: 20,
		Moderators: map[[sha256.Size]byte]string{sha256.Sum256([]byte("secret")): "chief"},
		Store:      store.NewMemory(), // names last
		Origins:    []string{"*"}, Log: epitest.NoLog(),
	})
	if err != nil {
		t.Fatal(err)
	}
	sockets := s.WebSocket("/world", web.Page())
	ln, err := e.Listen("tcp://127.0.0.1:0", sockets.Serve)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := epitest.Receive(t, ran); err != nil {
			t.Error(err)
		}
		if err := sockets.Close(); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// A wire forwards connections, and can be cut.
type wire struct {
	net.Listener
	mu    sync.Mutex // guards conns
	conns []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: ln}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			a, err := ln.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				_ = a.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, a, b)
			w.mu.Unlock()
			forward := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				_, _ = to.Close(), from.Close()
			}
			all.Go(func() { forward(a, b) })
			all.Go(func() { forward(b, a) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); w.cut(); all.Wait() })
	return w
}

// cut ends all connections as they are.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

func enter(p *browsertest.Page, name string) {
	p.Until("the form", "document.activeElement?.id === 'name'")
	p.Type(name)
	p.Until("the world", "window.world && world.replica && world.replica.entities.has(world.replica.self)")
}

func keep(t *testing.T, p *browsertest.Page, name string) {
	t.Helper()
	if *shots == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), p.Screenshot(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestSprites measures the frames of a page with many players in view, each with its name:
// how long the script of one takes, and how many come more than 33 ms after the one before.
func TestSprites(t *testing.T) {
	if *sprites == 0 {
		t.Skip("it measures: choose a number with -sprites")
	}
	b := browsertest.Start(t)
	p := b.Open("http://"+serve(t, 0)+"/", 1000, 640)
	enter(p, "Anna")
	p.Eval(fmt.Sprintf(crowd, *sprites))
	p.Until("the frames", "spent.length >= 60")
	keep(t, p, "sprites")
	t.Logf("%d players in view: %v", *sprites, p.Eval(`(() => {
		const part = (list, p) => list.sort((a, b) => a - b)[Math.floor(list.length * p)].toFixed(1) + ' ms';
		return 'script p50 ' + part(spent, 0.5) + ', p95 ' + part(spent, 0.95) + '; between frames p50 ' + part(between, 0.5) +
			', above 33 ms: ' + between.filter((ms) => ms > 33.4).length + ' of ' + between.length;
	})()`))
}

// crowd puts players around the page's own, and notes the frames that follow.
const crowd = `(() => {
	const r = world.replica, cell = 1024;
	for (let n = 0; n < %d; n++) {
		const x = Math.max(0, Math.min(8 * cell - 1, Math.floor(r.me.x + (n %% 50 - 25) * 25)));
		const y = Math.max(0, Math.min(8 * cell - 1, Math.floor(r.me.y + (Math.floor(n / 50) - 20) * 20)));
		const c = Math.floor(y / cell) * r.width + Math.floor(x / cell);
		r.set(c, { id: 2 ** 31 + n, kind: 0, name: 'Player' + n, health: 100, level: 1, x: x %% cell, y: y %% cell, direction: 0, speed: 0 });
	}
	window.spent = [], window.between = [];
	let last = 0;
	const request = window.requestAnimationFrame;
	window.requestAnimationFrame = (fn) => request((now) => {
		const began = performance.now();
		fn(now);
		spent.push(performance.now() - began);
		if (last !== 0) between.push(now - last);
		last = now;
	});
})()`

// TestTwoBrowsers: two people see each other walk and talk; one loses the connection and
// comes back as the same, at the same place, and walks on.
func TestTwoBrowsers(t *testing.T) {
	b := browsertest.Start(t)
	address := serve(t, 0) // nobody else strikes
	cable := newWire(t, address)
	anna := b.Open("http://"+cable.Addr().String()+"/", 1000, 640)
	keep(t, anna, "enter")
	bert := b.Open("http://"+address+"/?canvas", 390, 844)
	keep(t, bert, "enter-narrow")
	enter(anna, "Anna")
	enter(bert, "Bert")
	bert.Until("Anna seen by Bert", "[...world.replica.entities.values()].some((e) => e.name === 'Anna')")
	anna.Until("Bert seen by Anna", "[...world.replica.entities.values()].some((e) => e.name === 'Bert')")

	const annaAt = "JSON.stringify((({ x, y }) => ({ x, y }))(world.replica.at([...world.replica.entities.values()].find((e) => e.name === 'Anna'), world.replica.tick)))"
	before := bert.Eval(annaAt).(string)
	walk(anna)
	bert.Until("Anna moved on Bert's screen", annaAt+" !== '"+before+"'")

	anna.Press("Enter", true)
	anna.Press("Enter", false)
	anna.Until("the line for talk", "document.activeElement?.id === 'text'")
	anna.Type("hello Bert, 안녕")
	for _, p := range []*browsertest.Page{anna, bert} {
		p.Until("the words", "document.getElementById('log').textContent.includes('Anna: hello Bert, 안녕')")
	}
	anna.Press("F3", true)
	keep(t, anna, "walk")
	keep(t, bert, "walk-narrow")

	trade(t, anna, bert)
	fight(t, anna, bert)

	self := anna.Eval("world.replica.self")
	anna.Eval("world.lost = world.replica")
	cable.cut()
	anna.Until("the world again", "world.lost !== world.replica && world.replica.entities.has(world.replica.self)")
	if again := anna.Eval("world.replica.self"); again != self {
		t.Errorf("it came back as %v, and was %v", again, self)
	}
	keep(t, anna, "back")
	walk(anna)
	keep(t, bert, "end-narrow")
	comeBack(t, bert, b.Open("http://"+address+"/?canvas", 390, 844))
	for _, e := range b.Errors() {
		if !strings.Contains(e, "WebSocket connection") { // the one that was cut
			t.Errorf("the page had an error: %s", e)
		}
	}
}

func says(p *browsertest.Page, line string) {
	p.Eval("document.getElementById('text').focus()")
	p.Type(line)
}

func reads(p *browsertest.Page, line string) {
	p.Until(line, "document.getElementById('log').textContent.includes('"+line+"')")
}

func press(p *browsertest.Page, code string) {
	p.Press(code, true)
	p.Press(code, false)
}

// click presses the button in a panel that has a word.
func click(p *browsertest.Page, panel, word string) {
	p.Until(word, fmt.Sprintf("[...document.querySelectorAll('#%s button')].some((b) => b.textContent === '%s')", panel, word))
	p.Eval(fmt.Sprintf("[...document.querySelectorAll('#%s button')].find((b) => b.textContent === '%s').click()", panel, word))
}

// trade has Anna, a moderator, make a pelt and gold, and trade one for the other; then
// Bert drops the pelt, and Anna picks it up.
func trade(t *testing.T, anna, bert *browsertest.Page) {
	t.Helper()
	says(anna, "/key secret")
	reads(anna, "You are a moderator now.")
	for _, line := range []string{"/bring Bert", "/give Anna pelt", "/give Bert gold 9", "/give Bert potion 2"} {
		says(anna, line)
	}
	reads(anna, "You have got: Pelt.")
	reads(bert, "You have got 9 gold.")
	// What somebody gets may show before where others are by now.
	anna.Until("Bert where he was brought to", `[...world.replica.entities.values()].some((e) => {
		const drawn = world.replica.at(e, world.replica.tick - 2);
		return e.name === 'Bert' && Math.hypot(drawn.x - world.replica.me.x, drawn.y - world.replica.me.y) < 256;
	})`)
	press(anna, "KeyT")
	reads(bert, "Anna wants to trade.")
	keep(t, bert, "question-narrow")
	press(bert, "KeyT")
	click(anna, "bag", "Offer")
	bert.Until("the pelt", "world.goods.deal !== null && world.goods.deal.theirs.items.length === 1")
	bert.Eval("const give = document.getElementById('give'); give.value = 9; give.dispatchEvent(new Event('change'))")
	anna.Until("the gold", "world.goods.deal.theirs.gold === 9")
	click(anna, "deal", "Agree")
	bert.Until("that Anna agrees", "world.goods.deal.theirs.agreed === 1")
	keep(t, anna, "trade")
	keep(t, bert, "trade-narrow")
	click(bert, "deal", "Agree")
	reads(anna, "The trade is done.")
	bert.Until("the pelt in the bag", "world.goods.items.some((i) => i.kind === 3) && world.goods.gold === 0")
	bert.Eval("[...document.querySelectorAll('#bag li')].find((li) => li.textContent.includes('Pelt')).querySelector('button').click()")
	bert.Until("a bag without it", "world.goods.items.length === 2")
	anna.Until("the pelt on the ground", "[...world.replica.entities.values()].some((e) => e.kind === 11)")
	keep(t, anna, "bag")
	keep(t, bert, "bag-narrow")
	press(anna, "KeyE")
	anna.Until("the pelt", "world.goods.items.length === 1 && world.goods.gold === 9")
	for _, p := range []*browsertest.Page{anna, bert} {
		press(p, "Escape")
		p.Until("a bag that is shut", "document.getElementById('bag').hidden")
	}
}

// comeBack opens the page once more: the name is there, and who comes in is the same, with
// all that it had.
func comeBack(t *testing.T, bert, again *browsertest.Page) {
	t.Helper()
	self := bert.Eval("world.replica.self")
	again.Until("the name", "document.getElementById('name')?.value === 'Bert'")
	enter(again, "Bert")
	if now := again.Eval("world.replica.self"); now != self {
		t.Errorf("it came back as %v, and was %v", now, self)
	}
	again.Until("what it had", "world.goods.items.length === 2")
}

// fight brings two players to a meadow, and lets one strike until the other falls.
func fight(t *testing.T, anna, bert *browsertest.Page) {
	t.Helper()
	says(anna, "/w Bert psst")
	reads(bert, "Anna whispers: psst")
	reads(anna, "to Bert: psst")
	says(bert, "/who")
	reads(bert, "2 here: Anna (1), Bert (1)")
	x, y := meadow(t)
	for name, p := range map[string]*browsertest.Page{"Anna": anna, "Bert": bert} {
		anna.Eval(fmt.Sprintf("world.link.send('order', { kind: 5, name: '%s', x: %d, y: %d })", name, x, y))
		p.Until(name+" on the meadow", fmt.Sprintf("Math.max(Math.abs(world.replica.me.x - %d), Math.abs(world.replica.me.y - %d)) < 64", x, y))
		x += 3 * sim.Tile / 2
	}
	anna.Until("Bert near", "[...world.replica.entities.values()].some((e) => e.name === 'Bert')")
	anna.Press("Space", true)
	bert.Until("a blow", "world.replica.health < 100 || document.getElementById('log').textContent.includes('You have fallen.')")
	keep(t, anna, "fight")
	keep(t, bert, "fight-narrow")
	reads(bert, "You have fallen.")
	anna.Press("Space", false)
	keep(t, anna, "fallen")
	anna.Until("what was learned", "document.getElementById('level').textContent.includes(' of ') && !document.getElementById('level').textContent.includes(', 0 of')")
	bert.Until("Bert on his feet", "world.replica.health === 100")
}

// meadow is the middle of a square of grass of the world that serve serves.
func meadow(t *testing.T) (x, y int) {
	t.Helper()
	m := sim.NewMap(1, 8, 8)
	for tx := 1; tx < 8*sim.CellSide; tx++ {
		for ty := 1; ty < 8*sim.CellSide; ty++ {
			grass := true
			for i := range 25 {
				grass = grass && m.At(tx+i%5-2, ty+i/5-2) == sim.Grass
			}
			if grass {
				return tx*sim.Tile + sim.Tile/2, ty*sim.Tile + sim.Tile/2
			}
		}
	}
	t.Fatal("there is no meadow")
	return 0, 0
}

// walk goes in each direction until the server says that the player is elsewhere.
func walk(p *browsertest.Page) {
	p.Eval("world.from = { ...world.replica.acknowledged }")
	for _, key := range []string{"ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"} {
		p.Press(key, true)
		p.Eval("world.until = world.replica.tick + 10")
		p.Until("ten ticks", "(world.replica.tick - world.until | 0) >= 0")
		p.Press(key, false)
		if p.Eval("world.replica.acknowledged.x !== world.from.x || world.replica.acknowledged.y !== world.from.y") == true {
			return
		}
	}
	p.Until("the player elsewhere", "world.replica.acknowledged.x !== world.from.x || world.replica.acknowledged.y !== world.from.y")
}

// TestManySprites draws 2,000 entities, and logs how long frames took, when it is asked
// for pictures: how fast a machine draws is no matter of right and wrong.
func TestManySprites(t *testing.T) {
	if *shots == "" {
		t.Skip("it needs -shots: what it finds is a figure")
	}
	b := browsertest.Start(t)
	p := b.Open("http://"+serve(t, 4000)+"/", 1000, 640)
	enter(p, "Painter")
	p.Until("2,000 entities", "world.replica.entities.size >= 2000")
	const frames = 200
	p.Eval(fmt.Sprintf(`world.took = [], world.last = 0, requestAnimationFrame(function next(now) {
		if (world.last > 0) world.took.push(now - world.last);
		world.last = now;
		if (world.took.length < %d) requestAnimationFrame(next);
	}), 0`, frames))
	p.Until("the frames", fmt.Sprintf("world.took.length >= %d", frames))
	t.Logf("%v entities: %v of %d frames took more than 33 ms, the median %v ms", p.Eval("world.replica.entities.size"),
		p.Eval("world.took.filter((ms) => ms > 33.4).length"), frames, p.Eval(fmt.Sprintf("world.took.sort((a, b) => a - b)[%d]", frames/2)))
	keep(t, p, "sprites")
}
