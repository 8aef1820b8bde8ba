package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"
)

// A parent and its children talk in lines: the parent says the share as JSON,
// then goWord when all children have their connections, and stopWord, or
// nothing more (the end of its output), to end early. A child answers in
// childLines.
const (
	goWord   = "go"
	stopWord = "stop"
)

// A childLine is one thing that a child has to say.
type childLine struct {
	Progress *Progress `json:"progress,omitempty"`
	Ready    bool      `json:"ready,omitempty"`   // the connections are open, as far as they can be
	Failure  string    `json:"failure,omitempty"` // with Ready: why none is open
	Tally    *tally    `json:"tally,omitempty"`   // the end
	Error    string    `json:"error,omitempty"`   // the end, without a tally
}

// childGrace is how long a child that is to end may take before it is killed.
const childGrace = 5 * time.Second

// RunChild is what a child process does (Config.Child): it makes the share of
// the load that its parent sends it through in, and answers through out. It
// ends when in does.
func RunChild(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	text, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("load: a child process gets nothing from its parent: %w", err)
	}
	var s share
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("load: a child process gets what is no share: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	begin := make(chan struct{})
	go func() {
		defer cancel()
		for {
			line, err := lines.ReadString('\n')
			if err != nil || line == stopWord+"\n" {
				return
			}
			close(begin) // goWord
		}
	}()

	var mu sync.Mutex // the progress comes from a goroutine of its own
	encoder := json.NewEncoder(out)
	say := func(l childLine) error {
		mu.Lock()
		defer mu.Unlock()
		return encoder.Encode(l)
	}
	total, err := runShare(ctx, s,
		func(p Progress) { _ = say(childLine{Progress: &p}) },
		func(failure error) bool {
			line := childLine{Ready: true}
			if failure != nil {
				line.Failure = failure.Error()
			}
			_ = say(line) // without a parent, ctx ends
			select {
			case <-begin:
				return true
			case <-ctx.Done():
				return false
			}
		})
	if err != nil {
		return say(childLine{Error: err.Error()})
	}
	return say(childLine{Tally: total})
}

// A child is one child process, seen by its parent.
type child struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	progress Progress
	failure  string
	tally    *tally
}

// A received is what a child has sent; err ends it.
type received struct {
	from *child
	line childLine
	err  error
}

// A family is the children of this process.
type family struct {
	children []*child
	received chan received
	readers  sync.WaitGroup
	longest  time.Duration // that a child may take after goWord
	grace    time.Duration // that a child may take to end when it has to
	limit    *time.Timer   // when the children must have ended; at first, when they must be ready
	partial  string
	lost     uint64 // children without a tally
	err      error  // that makes an end of everything
}

// supervise lets child processes make the shares and adds up what they
// measured. When ctx ends, or one of them fails, all stop early.
func supervise(ctx context.Context, shares []share, command func() *exec.Cmd, progress func(Progress)) (*tally, error) {
	f := newFamily(shares[0], childGrace)
	defer f.end()
	for _, s := range shares {
		if err := f.start(command(), s); err != nil {
			return nil, fmt.Errorf("start child process %d of %d: %w", len(f.children)+1, len(shares), err)
		}
	}
	f.listen(ctx, progress)
	if f.err != nil {
		return nil, f.err
	}
	total := newTally()
	for _, c := range f.children {
		if c.tally != nil {
			total.merge(c.tally)
		}
	}
	if f.lost > 0 {
		total.Errors["a child process ended before its time"] += f.lost
	}
	if f.partial != "" {
		total.Partial = f.partial
	}
	return total, nil
}

// newFamily returns one without children, whose shares are like s.
func newFamily(s share, grace time.Duration) *family {
	dialling := s.Patience * time.Duration(1+s.Conns/max(1, s.Window))
	return &family{
		received: make(chan received),
		longest:  s.Warmup + s.Duration + 2*s.Patience + grace, // answers are waited for, then the end of connections
		grace:    grace,
		limit:    time.NewTimer(dialling + grace),
	}
}

// start starts a child. It is in a process group of its own: an interrupt from
// the terminal is for the parent, which passes it on.
func (f *family) start(cmd *exec.Cmd, s share) error {
	ownGroup(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c := &child{cmd: cmd, in: in}
	f.children = append(f.children, c)
	f.readers.Go(func() {
		decoder := json.NewDecoder(out)
		for {
			var line childLine
			err := decoder.Decode(&line)
			f.received <- received{c, line, err}
			if err != nil {
				return
			}
		}
	})
	return json.NewEncoder(in).Encode(s)
}

// listen reads what the children send until all have ended.
func (f *family) listen(ctx context.Context, progress func(Progress)) {
	ticks := time.NewTicker(progressPeriod)
	defer ticks.Stop()
	interrupt := ctx.Done()
	waiting, ended := len(f.children), 0 // for Ready; children
	for ended < len(f.children) {
		select {
		case <-interrupt:
			interrupt = nil
			f.partial = interrupted
			f.say(stopWord)
			f.limit.Reset(f.longest)
		case <-f.limit.C:
			f.partial = "the child processes did not end in time"
			f.lost += uint64(len(f.children) - ended)
			return
		case <-ticks.C:
			var sum Progress
			for _, c := range f.children {
				sum.add(c.progress)
			}
			progress(sum)
		case h := <-f.received:
			if h.from.receive(f, h) {
				ended++
			}
			if h.line.Ready {
				if waiting--; waiting == 0 {
					f.begin()
				}
			}
		}
	}
}

// receive notes what the child has sent and reports whether it was the last.
func (c *child) receive(f *family, h received) (last bool) {
	switch {
	case h.err != nil:
		if c.tally == nil && f.err == nil {
			f.lost++
			f.partial = fmt.Sprintf("child process %d ended before its time", c.cmd.Process.Pid)
			f.say(stopWord)
			f.limit.Reset(f.longest)
		}
		return true
	case h.line.Progress != nil:
		c.progress = *h.line.Progress
	case h.line.Ready:
		c.failure = h.line.Failure
	case h.line.Tally != nil:
		c.tally = h.line.Tally
	case h.line.Error != "" && f.err == nil:
		f.err = errors.New(h.line.Error)
		f.say(stopWord)
	}
	return false
}

// begin lets the load begin, if there is a connection for it.
func (f *family) begin() {
	for _, c := range f.children {
		if c.failure == "" {
			f.say(goWord)
			f.limit.Reset(f.longest)
			return
		}
	}
	f.err = errors.New(f.children[0].failure)
	f.say(stopWord)
}

// say sends a word to all children. One that has ended is skipped.
func (f *family) say(word string) {
	for _, c := range f.children {
		_, _ = io.WriteString(c.in, word+"\n")
	}
}

// end ends the children that are left, kindly at first.
func (f *family) end() {
	for _, c := range f.children {
		_ = c.in.Close()
	}
	kill := time.AfterFunc(f.grace, func() {
		for _, c := range f.children {
			_ = c.cmd.Process.Kill()
		}
	})
	defer kill.Stop()
	f.limit.Stop()
	gone := make(chan struct{})
	go func() { f.readers.Wait(); close(gone) }()
	for {
		select {
		case <-f.received:
			continue
		case <-gone:
		}
		break
	}
	for _, c := range f.children {
		_ = c.cmd.Wait()
	}
}
