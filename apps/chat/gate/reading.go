package gate

import (
	"encoding/json"
	"slices"
	"sync"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/hall"
)

// A reading is how far this node has the replicated history of a shard. Batches go from the
// fabric to the hall, what the hall makes of them to the disk, and the position behind a batch is
// kept when all of it, and of those before, is durable:
//
//	fabric ──► batch ──► hall ──► Record, Begin, Keep ──► disk
//	           read                                       kept, then written
//
// So a start reads on from there. What the disk refuses stops the reading, and it goes on from kept
// when it is due.
type reading struct {
	shard uint32
	store History // nil: nothing is kept

	mu      sync.Mutex
	read    fabric.Position // guarded by mu; behind the last batch that the hall was given
	kept    fabric.Position // guarded by mu; all before it is durable here
	written fabric.Position // guarded by mu; kept, as the store has it
	writing bool            // guarded by mu; the store is given another one
	batches []*batch        // guarded by mu; those between kept and read, in order
	refused bool            // guarded by mu; something of these was
	anew    bool            // guarded by mu; it is not the history that was read before, and waits for renew
	under   bool            // guarded by mu; the history is read now
	again   bool            // guarded by mu; and once more after that
	due     int             // guarded by mu; ticks until it is read again, 0: it need not be
}

// A batch is what was appended to the history at once.
type batch struct {
	reading *reading
	behind  fabric.Position

	left    int  // guarded by reading.mu; what is not applied, or not durable yet
	refused bool // guarded by reading.mu; it is not all durable, and will not be
}

const (
	// catchUpTicks is when the history is read once more after a node has come, something of
	// one was lost, or the disk has refused something. An entry is appended up to a tick
	// after it was said, so at the first reading those said just before may not have been
	// there yet. Its sender announces only what it appends after it knows of the node.
	catchUpTicks = 5
	// readOnTicks is when it is read on after something was said: that came from node to node,
	// but a start reads what is behind the position.
	readOnTicks = 60
)

// begins says from where to read, if nobody reads now: who does, does so once more.
func (r *reading) begins() (after fabric.Position, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.again = r.under
	if r.under || r.anew {
		return after, false
	}
	r.under = true // what is due stays due: not all of that may be there yet
	if r.refused {
		r.read, r.batches, r.refused = r.kept, nil, false
	}
	return r.read, true
}

// take notes the next batch. It returns nil when the reading is to stop.
func (r *reading) take(behind fabric.Position) *batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.read != (fabric.Position{}) && (behind.Stream != r.read.Stream || behind.Number <= r.read.Number) {
		r.anew = true
	}
	if r.refused || r.anew {
		return nil
	}
	b := &batch{reading: r, behind: behind, left: 1}
	r.batches = append(r.batches, b)
	r.read = behind
	return b
}

// ended says whether to read again at once, and whether the history is another than before.
func (r *reading) ended(err error) (again, anew bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.under = false
	switch {
	case r.anew:
		return false, true
	case r.refused:
		r.dueInLocked(catchUpTicks)
		return false, false
	}
	return err != nil || r.again, false
}

// renew begins with another history than before.
func (r *reading) renew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read, r.kept, r.batches, r.refused, r.anew = fabric.Position{}, fabric.Position{}, nil, false, false
}

// dueIn has the history read again after so many ticks, or earlier.
func (r *reading) dueIn(ticks int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dueInLocked(ticks)
}

func (r *reading) dueInLocked(ticks int) {
	if r.due == 0 || r.due > ticks {
		r.due = ticks
	}
}

// tick says whether the history is to be read now.
func (r *reading) tick() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.due == 0 {
		return false
	}
	r.due--
	return r.due == 0
}

// begin notes something of a batch that is to be durable, or to be applied. A nil batch is
// for what has come from node to node.
func (b *batch) begin() {
	if b == nil {
		return
	}
	b.reading.mu.Lock()
	defer b.reading.mu.Unlock()
	b.left++
}

// end notes that it is, or cannot be. It returns false for the first that cannot be since the
// history was read last.
func (b *batch) end(err error) (known bool) {
	r := b.reading
	r.mu.Lock()
	defer r.mu.Unlock()
	b.left--
	known = true
	if err != nil && slices.Contains(r.batches, b) { // not one that is read again already
		known, r.refused, b.refused = r.refused, true, true
		r.dueInLocked(catchUpTicks)
	}
	for len(r.batches) > 0 && r.batches[0].left == 0 && !r.batches[0].refused {
		r.kept = r.batches[0].behind
		r.batches[0] = nil
		r.batches = r.batches[1:]
	}
	r.write()
	return known
}

// write has the store keep the position, with mu locked.
func (r *reading) write() {
	if r.store == nil || r.writing || r.kept == r.written {
		return
	}
	r.writing = true
	kept := r.kept
	r.store.Reached(r.shard, kept, func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.writing = false
		if err == nil {
			r.written = kept
			r.write()
		}
	})
}

// replay reads what this node has missed of the replicated history. Any goroutine may
// call it.
func (r *reporter) replay() {
	for shard := range uint32(fabric.Shards) {
		r.replayShard(shard)
	}
}

// replayShard reads one shard, and tries for as long as the node lives.
func (r *reporter) replayShard(shard uint32) {
	reading := &r.net.readings[shard]
	after, ok := reading.begins()
	if !ok {
		return
	}
	r.net.fabric.Replay(shard, after, func(behind fabric.Position, data []byte) bool {
		b := reading.take(behind)
		if b == nil {
			return false
		}
		r.reportBatch(b, data)
		b.end(nil)
		return true
	}, func(err error) {
		if err != nil {
			r.server.config.Load().Log.Warn("the replicated history could not be read to its end", "error", err)
		}
		again, anew := reading.ended(err)
		if anew {
			(*desk)(r).collectSoon(func() { (*desk)(r).renew(reading) })
		} else if again {
			r.replayShard(shard)
		}
	})
}

func (r *reporter) reportBatch(b *batch, data []byte) {
	if len(data) == 0 {
		return // nothing but a place
	}
	var entries []json.RawMessage
	if err := json.Unmarshal(data, &entries); err != nil {
		r.server.config.Load().Log.Error("the replicated history cannot be read", "error", err)
		return
	}
	for _, e := range entries {
		b.begin() // until the desk has applied it
		r.reportOf(b, hall.News{Kind: hall.Replayed, Data: e})
	}
}

// openReadings begins where the node was when it ended.
func (d *desk) openReadings(history History) error {
	for shard := range d.net.readings {
		d.net.readings[shard].shard, d.net.readings[shard].store = uint32(shard), history
	}
	if history == nil {
		return nil
	}
	reached, err := history.Positions()
	for shard := range d.net.readings {
		r := &d.net.readings[shard]
		r.read, r.kept, r.written = reached[shard], reached[shard], reached[shard]
	}
	return err
}

// catchUpHistory reads what is due of the replicated history.
func (d *desk) catchUpHistory() {
	for shard := range d.net.readings {
		if d.net.readings[shard].tick() {
			(*reporter)(d).replayShard(uint32(shard))
		}
	}
}

// readSoon has all of the replicated history read when it has what was said so far.
func (d *desk) readSoon() {
	for shard := range d.net.readings {
		r := &d.net.readings[shard]
		r.mu.Lock()
		r.due = catchUpTicks
		r.mu.Unlock()
	}
}

// repeat has the disk do what another node has done to a message. Nobody waits for it.
func (d *desk) repeat(w *hall.Work) {
	history := d.server.config.Load().History
	if history == nil {
		return
	}
	done := d.copying(d.net.readings[:])
	d.do(op{kind: opRun, run: func() { history.Repeat(w, done) }})
}

// copying notes something of another node that goes to the disk, and returns what is called when
// it is durable here, too, or cannot be: one of these shards has it. What shows it does not wait,
// since it is durable there.
func (d *desk) copying(shards []reading) func(error) {
	b, m := d.net.batch, &d.net.news
	b.begin()
	m.copies.Add(1)
	return func(err error) {
		m.copyEnded()
		if b != nil && b.end(err) || err == nil {
			return
		}
		d.server.config.Load().Log.Error("what another node has said could not be kept here; it is read again from the replicated history", "error", err)
		if b != nil {
			return
		}
		for i := range shards {
			shards[i].dueIn(catchUpTicks)
		}
	}
}
