package gate

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/hall"
)

// A journal is what of the replicated history is still to be appended: entries of one shard in
// batches, one under way at a time, so that their order is kept. It belongs to the desk's
// loop.
type journal struct {
	shard  uint32
	queue  []entries // the last one may grow, unless it was tried
	size   int       // of the queue
	under  bool      // the first of the queue is under way
	tried  bool      // the first of the queue is or was under way: it may be in the history
	number uint64    // of the batch, which names it together with the process's first lease
	late   uint64    // others may have read the history before the batch of this number was in it; 0: they have not
}

// entries are a batch.
type entries struct {
	data    []byte  // a list in JSON without its end
	record  int64   // the smallest number of a record among them; 0: there is none
	changes []int64 // the numbers of the changes
}

// behind notes that others may read the history before all that is queued is in it.
func (j *journal) behind() { j.late = j.number + uint64(max(len(j.queue), 1)) }

// maxBatch is the size from which a batch is appended at once and not at the next tick, and
// maxJournal that of all batches of a shard: beyond it, records wait on the disk.
const (
	maxBatch   = 64 << 10
	maxJournal = 4 << 20
)

// appends are the ends of appends, and what else is to go on in the desk's loop.
type appends struct {
	mu    sync.Mutex
	ended []func() // guarded by mu
}

// Append is a method of hall.Wire. Where the history is durable only once a majority has
// it, what shows the records waits for that, too.
func (d *desk) Append(name string, entry []byte, record, change int64) {
	shard := fabric.Shard(name)
	shown := d.keepings(record)
	if !d.replicates(d.server.config.Load()) || len(shown) == 0 {
		d.do(op{kind: opRun, run: func() { d.give(shard, record, change, entry) }}, shown...)
		return
	}
	k := &keeping{record: shown[0].record, replicated: true}
	others := d.net.others.Load()
	batch := fmt.Appendf(nil, "[%s]", entry)
	id := fmt.Sprint(d.net.self, " ", record)
	d.do(op{kind: opRun, run: func() {
		if shown[0].dropped() {
			k.done = true // its sender knows from the first
			return
		}
		d.net.sharing.giveSingle(record)
		d.net.fabric.Append(shard, id, batch, func(err error) {
			d.announce(k, err)
			d.collectSoon(func() { d.endSingle(shard, record, entry, err) })
			if d.net.others.Load() != others {
				d.haveReadAgain()
			}
		})
	}})
	d.held.current = append(d.held.current, k)
	d.held.queue = append(d.held.queue, held{keeping: k})
}

// replicates says whether messages are durable only once a majority of the nodes has them.
func (d *desk) replicates(config *Config) bool { return config.Replicated && d.net.fabric != nil }

// put adds the entry of a record, or of a change, to the batch of its shard. It returns false if there
// is no room.
func (d *desk) put(shard uint32, record, change int64, entry []byte) bool {
	j := &d.net.journals[shard]
	j.shard = shard
	if j.size+len(entry) > maxJournal {
		return false
	}
	last := len(j.queue) - 1
	if last < 0 || last == 0 && j.tried || len(j.queue[last].data) > maxBatch {
		j.queue = append(j.queue, entries{data: []byte{'['}})
		last++
	} else {
		j.queue[last].data = append(j.queue[last].data, ',')
	}
	b := &j.queue[last]
	b.data = append(b.data, entry...)
	if record != 0 && (b.record == 0 || record < b.record) {
		b.record = record
	}
	if change != 0 {
		b.changes = append(b.changes, change)
	}
	j.size += len(entry) + 1
	if len(b.data) > maxBatch {
		d.appendNext(j)
	}
	return true
}

// appendNext appends the first batch of a shard, if none is under way. Whenever it is tried,
// its name and what is in it are the same, whatever the lease is by then: it may have been
// appended though the answer was lost. Before the first lease there are no names, and so
// nothing is appended.
func (d *desk) appendNext(j *journal) {
	if j.under || len(j.queue) == 0 || d.net.first == 0 {
		return
	}
	j.under, j.tried = true, true
	batch := append(bytes.Clone(j.queue[0].data), ']')
	id := fmt.Sprint(d.net.self, " ", d.net.first, " ", j.shard, " ", j.number)
	d.net.fabric.Append(j.shard, id, batch, func(err error) { d.collectSoon(func() { d.appended(j, err) }) })
}

// appended goes on with a shard whose batch was appended. What failed is tried again at the
// next tick, under the same name.
func (d *desk) appended(j *journal, err error) {
	j.under = false
	if err != nil {
		j.behind()
		return
	}
	j.size -= len(j.queue[0].data)
	d.net.sharing.changed = append(d.net.sharing.changed, j.queue[0].changes...)
	j.queue[0] = entries{}
	j.queue = j.queue[1:]
	j.number++
	j.tried = false
	d.net.readings[j.shard].dueIn(readOnTicks)
	if j.late != 0 && j.number >= j.late {
		j.late = 0
		d.haveReadAgain()
	}
	if len(j.queue) > 0 && len(j.queue[0].data) > maxBatch {
		d.appendNext(j)
	}
}

// collectSoon calls fn in the desk's loop. Any goroutine may call it.
func (d *desk) collectSoon(fn func()) {
	a := &d.net.appends
	a.mu.Lock()
	a.ended = append(a.ended, fn)
	a.mu.Unlock()
	_ = d.loop.Do(d.collect) // if there are too many tasks, the next tick does it
}

// collect goes on with what has ended.
func (d *desk) collect() {
	a := &d.net.appends
	a.mu.Lock()
	ended := a.ended
	a.ended = nil
	a.mu.Unlock()
	for _, fn := range ended {
		fn()
	}
	d.share()
}

// haveReadAgain has the others read the history again. Any goroutine may call it. Without a
// lease it has no effect: they read it when the node is up again.
func (d *desk) haveReadAgain() { _ = d.net.fabric.Broadcast([]byte{hall.ReadAgain}) }

// noteUp notes that a node has come, which did not get what is still to be appended and
// may read the history before that is in it.
func (d *desk) noteUp() {
	d.do(op{kind: opRun, run: func() { // after what waits for the disk
		d.net.others.Add(1)
		for i := range d.net.journals {
			d.net.journals[i].behind()
		}
	}})
}

// appendAll appends what has gathered since the last tick.
func (d *desk) appendAll() {
	d.net.sharing.refused = false
	d.collect()
	for i := range d.net.journals {
		d.appendNext(&d.net.journals[i])
	}
	d.keepMark()
}
