// Package inputs is the log of what changes a world: its configuration, every call
// with its arguments, and from time to time the hash of the state. Who makes the calls
// again comes to the same hashes, or finds where a world went another way.
//
// A log is a line of text, a line of JSON with the configuration, and records: a byte
// for the kind, and numbers as uvarints and texts with their length before them.
package inputs

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/sim"
)

// title is the first line. Its number changes with the form of the records, and with
// the rules of the world.
const title = "epi world inputs 3\n"

// hashed is the kind of a record that has the state's hash instead of a call.
const hashed = 0xff

// HashEvery is how many ticks lie between two hashes.
const HashEvery = 100

const (
	// chunk is how many bytes are handed over at a time at most.
	chunk = 64 << 10
	// waiting is how many chunks may wait for the disk: there is one a second, or more.
	waiting = 256
)

// ErrSlow: the log ends, because what it is written to is too slow for it.
var ErrSlow = errors.New("the log of inputs is written too slowly, and ends here")

// A Log writes a log, each second what that has brought, so that little is missing when the
// process is killed. Note is for one goroutine, which never waits for what the log is written
// to: that is done by another one.
type Log struct {
	world   *sim.World
	hz      uint64
	failed  func(error)
	buffer  []byte
	chunks  chan []byte
	ended   bool // no more is noted: it belongs to the goroutine of Note
	written sync.WaitGroup

	mu  sync.Mutex // guards err
	err error
}

// NewLog begins the log of a world that has not changed since it was made. failed is called
// at once when it ends before Close, by any goroutine; it must not block, and nil is nothing.
func NewLog(to io.Writer, config sim.Config, world *sim.World, failed func(error)) (*Log, error) {
	settings, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("the configuration of the world: %w", err)
	}
	if failed == nil {
		failed = func(error) {}
	}
	l := &Log{world: world, hz: uint64(config.Hz), failed: failed, chunks: make(chan []byte, waiting)}
	l.buffer = append(append(append(l.buffer, title...), settings...), '\n')
	l.written.Go(func() { l.write(to) })
	return l, nil
}

// Note is for sim.World.Record.
func (l *Log) Note(c sim.Call) {
	if l.ended {
		return
	}
	if c.Kind == sim.CallStep && l.world.Tick()%HashEvery == 0 {
		l.buffer = binary.AppendUvarint(append(l.buffer, hashed), l.world.Hash())
	}
	l.buffer = appendCall(l.buffer, c)
	if len(l.buffer) >= chunk || c.Kind == sim.CallStep && l.world.Tick()%l.hz == 0 {
		l.handOver()
	}
}

func (l *Log) handOver() {
	select {
	case l.chunks <- l.buffer:
		l.buffer = make([]byte, 0, len(l.buffer)*5/4) // as much as the last one, and a call more
	default:
		l.fail(ErrSlow)
		l.ended, l.buffer = true, nil
	}
}

func (l *Log) write(to io.Writer) {
	for p := range l.chunks {
		if _, err := to.Write(p); err != nil {
			l.fail(fmt.Errorf("write the log of inputs: %w", err))
			break
		}
	}
	for range l.chunks { // nobody waits for it
	}
}

func (l *Log) fail(err error) {
	l.mu.Lock()
	first := l.err == nil
	if first {
		l.err = err
	}
	l.mu.Unlock()
	if first {
		l.failed(err)
	}
}

// Close writes what was noted, when nothing more is, and returns what has gone wrong.
func (l *Log) Close() error {
	if !l.ended {
		l.buffer = binary.AppendUvarint(append(l.buffer, hashed), l.world.Hash())
		l.chunks <- l.buffer
		l.ended = true
	}
	close(l.chunks)
	l.written.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func appendCall(p []byte, c sim.Call) []byte {
	p = append(p, byte(c.Kind))
	if c.Kind != sim.CallStep && c.Kind != sim.CallJoin {
		p = binary.AppendUvarint(p, uint64(c.ID))
	}
	switch c.Kind {
	case sim.CallJoin, sim.CallSay:
		p = binary.AppendUvarint(p, uint64(len(c.Text)))
		p = append(p, c.Text...)
	case sim.CallMove:
		p = append(p, c.Move.Epoch, c.Move.Direction, c.Move.Ticks)
		p = binary.AppendUvarint(p, uint64(c.Move.Sequence))
	case sim.CallPlace:
		p = binary.AppendUvarint(binary.AppendUvarint(p, uint64(uint32(c.X))), uint64(uint32(c.Y)))
	case sim.CallAttack:
		p = binary.AppendUvarint(binary.AppendUvarint(p, uint64(c.Target)), uint64(c.Seen))
	case sim.CallLearn, sim.CallGo, sim.CallHealth, sim.CallHeal:
		p = binary.AppendUvarint(p, uint64(c.Amount))
	case sim.CallPut:
		p = binary.AppendUvarint(p, uint64(c.Amount))
		p = binary.AppendUvarint(binary.AppendUvarint(p, uint64(uint32(c.X))), uint64(uint32(c.Y)))
	case sim.CallSpawn:
		p = binary.AppendUvarint(p, uint64(c.Amount))
		p = append(binary.AppendUvarint(p, uint64(len(c.Text))), c.Text...)
		p = binary.AppendUvarint(binary.AppendUvarint(p, uint64(uint32(c.X))), uint64(uint32(c.Y)))
	}
	return p
}

// A Summary is what a replay has found.
type Summary struct {
	Config sim.Config
	Ticks  uint64
	Calls  uint64
	Hashes uint64 // that were compared and are the same
	// Cut is whether the log ends within a record, as that of a process that was
	// killed.
	Cut bool
}

// What can be wrong with a log. Errors that say where wrap one of them.
var (
	ErrForm   = errors.New("this is no log of inputs")
	ErrDiffer = errors.New("the state differs")
)

// Replay makes the calls of a log again, and compares the hashes.
func Replay(from io.Reader, workers sim.Workers) (s Summary, err error) {
	r := reader{from: bufio.NewReaderSize(from, chunk)}
	if s.Config, err = r.head(); err != nil {
		return s, err
	}
	w, err := sim.New(s.Config)
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrForm, err)
	}
	for {
		kind, err := r.from.ReadByte()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return s, fmt.Errorf("read the log of inputs: %w", err)
		}
		if kind == hashed {
			hash := r.number()
			if r.err == nil && hash != w.Hash() {
				return s, fmt.Errorf("%w after tick %d: it is %016x, and was %016x", ErrDiffer, w.Tick(), w.Hash(), hash)
			}
			s.Hashes++
		} else if c := r.call(sim.CallKind(kind)); r.err == nil {
			s.Calls++
			if err := w.Replay(c, workers); err != nil {
				return s, fmt.Errorf("%w: %w", ErrForm, err)
			}
			s.Ticks = w.Tick() - s.Config.FirstTick
		}
		if cut(r.err) {
			s.Cut = true
			return s, nil
		}
		if r.err != nil {
			return s, r.err
		}
	}
}

func cut(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// A reader reads records. After an error it reads nothing more.
type reader struct {
	from *bufio.Reader
	err  error
}

func (r *reader) head() (c sim.Config, err error) {
	line := make([]byte, len(title))
	if _, err := io.ReadFull(r.from, line); err != nil || string(line) != title {
		return c, fmt.Errorf("%w: it must begin with %q", ErrForm, title)
	}
	settings, err := r.from.ReadSlice('\n')
	if err == nil {
		err = json.Unmarshal(settings, &c)
	}
	if err != nil {
		return c, fmt.Errorf("%w: the configuration: %w", ErrForm, err)
	}
	return c, nil
}

func (r *reader) number() (v uint64) {
	if r.err != nil {
		return 0
	}
	if v, r.err = binary.ReadUvarint(r.from); r.err != nil && !cut(r.err) {
		r.err = fmt.Errorf("%w: %w", ErrForm, r.err)
	}
	return v
}

func (r *reader) byte() (v byte) {
	if r.err == nil {
		v, r.err = r.from.ReadByte()
	}
	return v
}

// maxText is the longest text that a call has.
const maxText = 1 << 10

func (r *reader) text() string {
	n := r.number()
	if n > maxText {
		r.err = fmt.Errorf("%w: a text of %d bytes", ErrForm, n)
	}
	if r.err != nil {
		return ""
	}
	p := make([]byte, n)
	_, r.err = io.ReadFull(r.from, p)
	return string(p)
}

func (r *reader) call(kind sim.CallKind) sim.Call {
	c := sim.Call{Kind: kind}
	if kind != sim.CallStep && kind != sim.CallJoin {
		c.ID = sim.ID(r.number())
	}
	switch kind {
	case sim.CallJoin, sim.CallSay:
		c.Text = r.text()
	case sim.CallMove:
		c.Move = proto.Move{Epoch: r.byte(), Direction: r.byte(), Ticks: r.byte(), Sequence: uint32(r.number())}
	case sim.CallPlace:
		c.X, c.Y = int32(uint32(r.number())), int32(uint32(r.number()))
	case sim.CallAttack:
		c.Target, c.Seen = sim.ID(r.number()), uint32(r.number())
	case sim.CallLearn, sim.CallGo, sim.CallHealth, sim.CallHeal:
		c.Amount = uint32(r.number())
	case sim.CallPut:
		c.Amount = uint32(r.number())
		c.X, c.Y = int32(uint32(r.number())), int32(uint32(r.number()))
	case sim.CallSpawn:
		c.Amount, c.Text = uint32(r.number()), r.text()
		c.X, c.Y = int32(uint32(r.number())), int32(uint32(r.number()))
	}
	return c
}
