package inputs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"github.com/epinet/epi/apps/world/inputs"
	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var config = sim.Config{Seed: 5, Width: 8, Height: 8, Hz: 20, Monsters: 200, MaxPlayers: 30, FirstTick: 1<<32 - 30}

// play makes every kind of call, in vain, too, and returns the log.
func play(t *testing.T) []byte {
	t.Helper()
	w, err := sim.New(config)
	if err != nil {
		t.Fatal(err)
	}
	var to bytes.Buffer
	l, err := inputs.NewLog(&to, config, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Record(l.Note)
	r := rand.New(rand.NewPCG(1, 1))
	var ids, things []sim.ID
	for tick := range 320 {
		if id, err := w.Join(fmt.Sprint("p", tick)); err == nil {
			ids = append(ids, id)
		}
		for _, id := range ids {
			_, _ = w.Move(id, proto.Move{Epoch: uint8(r.IntN(2)), Sequence: uint32(tick + 1), Direction: uint8(r.IntN(9)), Ticks: 1})
		}
		id := ids[r.IntN(len(ids))]
		switch r.IntN(10) {
		case 0:
			_ = w.Leave(id)
		case 1:
			_ = w.Place(id, int32(r.IntN(20_000)), int32(r.IntN(20_000))-1000)
		case 2:
			_ = w.Say(id, "hello 안녕")
		case 3:
			_ = w.Restart(id)
		case 4, 5:
			if id, err := w.Put(sim.Chest+uint8(r.IntN(9)), int32(r.IntN(9000)), int32(r.IntN(9000))-1000); err == nil {
				things = append(things, id)
			}
		case 6:
			if len(things) > 0 {
				_ = w.Take(things[r.IntN(len(things))])
			}
		case 7:
			_ = w.SetHealth(id, uint8(r.IntN(100)))
			_ = w.Heal(id, uint8(r.IntN(256)))
		}
		w.Step(sim.Alone)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}

func TestReplayFindsTheSameHashes(t *testing.T) {
	log := play(t)
	s, err := inputs.Replay(bytes.NewReader(log), sim.Alone)
	if err != nil || s.Ticks != 320 || s.Hashes != 4 || s.Cut || s.Config != config {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestReplayFindsWhatDiffers: one input is another one.
func TestReplayFindsWhatDiffers(t *testing.T) {
	w, err := sim.New(config)
	if err != nil {
		t.Fatal(err)
	}
	var to bytes.Buffer
	l, err := inputs.NewLog(&to, config, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Record(l.Note)
	if _, err := w.Join("p0"); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	log := to.Bytes()
	at := bytes.Index(log, []byte("\x02p0")) // with another name it begins elsewhere
	log[at+2] = '1'
	if _, err := inputs.Replay(bytes.NewReader(log), sim.Alone); !errors.Is(err, inputs.ErrDiffer) {
		t.Errorf("the error is %v", err)
	}
}

// TestReplayOfACutLog: what is there is compared; no cut panics.
func TestReplayOfACutLog(t *testing.T) {
	log := play(t)
	cuts := 0
	for n := len(log) - 30; n < len(log); n++ {
		s, err := inputs.Replay(bytes.NewReader(log[:n]), sim.Alone)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if s.Cut {
			cuts++
		}
	}
	if cuts == 0 {
		t.Error("no cut was noticed")
	}
	for _, other := range []string{"", "epi", "epi world inputs 1\n", "epi world inputs 1\n{}\n", "epi world inputs 1\n{\"Width\":4,\"Height\":4,\"Hz\":20}\n\x63\x01"} {
		if _, err := inputs.Replay(bytes.NewReader([]byte(other)), sim.Alone); !errors.Is(err, inputs.ErrForm) {
			t.Errorf("%q: the error is %v", other, err)
		}
	}
}

// A failing writer has a full disk.
type failing struct{}

var errFull = errors.New("no space left on device")

func (failing) Write([]byte) (int, error) { return 0, errFull }

// A stuck writer takes nothing until it is let.
type stuck chan struct{}

func (s stuck) Write(p []byte) (int, error) { <-s; return len(p), nil }

// TestTheWorldNeverWaitsForItsLog: what the log is written to fails, or takes nothing
// at all.
func TestTheWorldNeverWaitsForItsLog(t *testing.T) {
	w, err := sim.New(config)
	if err != nil {
		t.Fatal(err)
	}
	let := make(stuck)
	for _, c := range []struct {
		to    io.Writer
		lines int // of 1,000 bytes
		want  error
	}{
		{failing{}, 1000, errFull},
		{let, 30_000, inputs.ErrSlow},
	} {
		var told error
		l, err := inputs.NewLog(c.to, config, w, func(err error) { told = err })
		if err != nil {
			t.Fatal(err)
		}
		text := string(make([]byte, 1000))
		for range c.lines {
			l.Note(sim.Call{Kind: sim.CallSay, ID: 1, Text: text})
		}
		if c.want == inputs.ErrSlow {
			close(let)
		}
		if err := l.Close(); !errors.Is(err, c.want) || told != err {
			t.Errorf("the error is %v, and %v was told before, want %v", err, told, c.want)
		}
	}
}

// A counting writer has what was written to it counted by its test.
type counting chan int

func (c counting) Write(p []byte) (int, error) { c <- len(p); return len(p), nil }

// TestALogIsThereBeforeItsEnd: what a second has brought is written then, so that the log of
// a process that is killed has all but the last one.
func TestALogIsThereBeforeItsEnd(t *testing.T) {
	w, err := sim.New(config)
	if err != nil {
		t.Fatal(err)
	}
	written := make(counting, 1)
	l, err := inputs.NewLog(written, config, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Record(l.Note)
	for range 10 {
		for range config.Hz {
			w.Step(sim.Alone)
		}
		if n := <-written; n < config.Hz {
			t.Errorf("a second of %d calls in %d bytes", config.Hz, n)
		}
	}
	go func() { <-written }() // the rest
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
