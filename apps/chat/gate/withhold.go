package gate

import (
	"context"
	"slices"
	"sync"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/hall"
)

// A History keeps what is said. Its methods may be called from any goroutine.
type History interface {
	// Record queues a message and does not block. done is called when the message is
	// durable, or with the reason why it will not be: once, in the order of the calls,
	// and never within the call.
	Record(r *hall.Record, done func(error))
	// Do does one of the works of hall.WorkKind that are about history, and returns
	// the result; Session and Number are filled in by the caller. It may block.
	Do(ctx context.Context, w *hall.Work) hall.Result

	// Repeat queues a change of a message that another node has made, a hall.EditRecord or
	// hall.RemoveRecord, and does not block. done is called as for Record: without an error also
	// when there is no such message.
	Repeat(w *hall.Work, done func(error))
	// Reached keeps up to where this node has the replicated history of a shard, and does not block.
	// done is called as for Record.
	Reached(shard uint32, p fabric.Position, done func(error))
	// Positions returns what Reached has kept. It may block.
	Positions() ([fabric.Shards]fabric.Position, error)
	// Shared keeps up to which number the replicated history has all records of this node, forgets
	// changes that it has, and does not block. done is called as for Record. No position that Reached
	// is given later is kept before it.
	Shared(upTo int64, changes []int64, done func(error))
	// Mark returns what Shared has kept last, ok, if it has. It may block.
	Mark() (upTo int64, ok bool, err error)
	// Unshared returns records that Record was given, no copies, above a number, as they are now: the
	// first of them, all that it was given before the call if there is room. It may block.
	Unshared(ctx context.Context, after int64) (hall.Unshared, error)
	// Changes returns what is kept of Work.Out and ShareMarker.Out and was not forgotten: the first
	// of it, and whether there may be more. It may block.
	Changes(ctx context.Context) (list []hall.Outgoing, more bool, err error)
}

// withheld is what the hall has said since a message that is not durable yet: nobody is
// to see a message that a crash could take back, or anything that came after it. Redis
// keeps replies back in the same way until its append-only file is synchronised. All of
// it belongs to the desk's loop.
type withheld struct {
	queue     []held
	first     int         // in queue; what is before was released
	lost      []*keeping  // not durable for good; the hall is to know
	current   []*keeping  // those of the event that is applied
	settled   settlements // from the goroutine that writes
	releasing bool
	failing   bool // the latest message was lost
}

// held is one call of the hall's Gate, or a message whose commit those behind it await.
type held struct {
	op      op
	keeping *keeping
	shown   []*keeping // messages that op shows
}

// keeping is what becomes of a message.
type keeping struct {
	record *hall.Record
	done   bool // durable, or lost
	lost   bool
	// replicated: it waits for a majority of the nodes. Lost, it may be kept all the same.
	replicated bool
	// settled is who outside the hall waits for it, or nil; it has room.
	settled chan<- error
}

// settlements are messages whose fate is known.
type settlements struct {
	mu     sync.Mutex
	list   []settlement // guarded by mu
	posted bool         // guarded by mu; the desk has been asked to look
}

type settlement struct {
	keeping *keeping
	err     error
}

// maxWithheld bounds what is withheld: above it, no session of the desk's own loop is
// read from. Those of the others are bounded by maxFlying.
const maxWithheld = maxFlying

func (w *withheld) len() int { return len(w.queue) - w.first }

// Record is a method of hall.Gate.
func (d *desk) Record(r *hall.Record) {
	config := d.server.config.Load()
	if config.History == nil {
		return
	}
	if r.Copy {
		shard := fabric.Shard(r.Target)
		d.net.readings[shard].dueIn(readOnTicks)
		config.History.Record(r, d.copying(d.net.readings[shard:shard+1]))
		return
	}
	k := &keeping{record: r}
	if !config.Relaxed {
		d.held.current = append(d.held.current, k)
		d.held.queue = append(d.held.queue, held{keeping: k})
	}
	if d.replicates(config) {
		config.History.Record(r, func(err error) { d.settle(k, err) })
		return
	}
	config.History.Record(r, func(err error) { d.announce(k, err) })
}

// announce settles a message and, if it is durable, lets those know who wait for that.
func (d *desk) announce(k *keeping, err error) {
	config := d.server.config.Load()
	if config.Push != nil && err == nil {
		config.Push.Notify(k.record)
	}
	if config.Durable != nil && err == nil {
		config.Durable(k.record)
	}
	d.settle(k, err)
}

// settle notes what has become of a message. It is called by the goroutine that writes;
// the desk looks once for all that are known by then.
func (d *desk) settle(k *keeping, err error) {
	s := &d.held.settled
	s.mu.Lock()
	s.list = append(s.list, settlement{k, err})
	post := !s.posted
	s.posted = true
	s.mu.Unlock()
	if post {
		_ = d.loop.Do(d.releaseSettled) // when it has ended, nobody waits
	}
}

// releaseSettled lets go of what was withheld for messages that are settled now.
func (d *desk) releaseSettled() {
	s := &d.held.settled
	s.mu.Lock()
	list := s.list
	s.list, s.posted = nil, false
	s.mu.Unlock()
	for _, one := range list {
		one.keeping.done, one.keeping.lost = true, one.err != nil
		if one.keeping.settled != nil {
			one.keeping.settled <- one.err
		}
		d.note(one)
	}
	d.releaseAll()
	for len(d.held.lost) > 0 {
		lost := d.held.lost[0]
		d.held.lost = d.held.lost[1:]
		d.apply(&hall.Event{Kind: hall.Unkept, Session: lost.record.Session, Record: lost.record, Doubt: lost.replicated})
	}
	d.local.taken(0)
}

// releaseAll lets go of everything before the first message that is not settled.
func (d *desk) releaseAll() {
	w := &d.held
	w.releasing = true
	for w.first < len(w.queue) {
		next := &w.queue[w.first]
		switch {
		case next.keeping == nil:
			if !slices.ContainsFunc(next.shown, (*keeping).dropped) {
				d.pass(&next.op)
			}
		case !next.keeping.done:
			w.releasing = false
			w.compact()
			return
		case next.keeping.dropped():
			w.lost = append(w.lost, next.keeping)
		}
		w.queue[w.first] = held{}
		w.first++
	}
	w.releasing = false
	w.queue, w.first = w.queue[:0], 0
	if cap(w.queue) > maxWithheld {
		w.queue = nil
	}
}

// await has settled get what becomes of the last message of the event.
func (d *desk) await(settled chan<- error) {
	if n := len(d.held.current); n > 0 {
		d.held.current[n-1].settled = settled
		return
	}
	settled <- nil // nothing is kept, or nobody waits for it
}

// compact gives back the room of what was released, when it is most of the queue.
func (w *withheld) compact() {
	if w.first > len(w.queue)/2 {
		n := copy(w.queue, w.queue[w.first:])
		clear(w.queue[n:])
		w.queue, w.first = w.queue[:n], 0
	}
}

// holds says whether what the hall says now has something before it.
func (w *withheld) holds() bool { return w.len() > 0 || w.releasing }

// dropped says whether what shows a message is dropped: it is lost, and is no event,
// which has happened all the same.
func (k *keeping) dropped() bool { return k.lost && !k.record.IsEvent() }

// note counts a message that could not be kept, and logs when that begins and ends.
func (d *desk) note(s settlement) {
	log := d.server.config.Load().Log
	switch {
	case s.err != nil && !d.held.failing:
		log.Error("a message could not be kept, and was not shown; its sender knows; others are tried as they come", "error", s.err, "target", s.keeping.record.Target)
	case s.err == nil && d.held.failing:
		log.Info("messages are kept again")
	}
	d.held.failing = s.err != nil
	if s.err != nil {
		d.server.counts.unkept.Add(1)
	}
}

// keepings returns what becomes of messages of the event that is applied.
func (d *desk) keepings(ids ...int64) (list []*keeping) {
	for _, k := range d.held.current {
		if slices.Contains(ids, k.record.ID) {
			list = append(list, k)
		}
	}
	return list
}
