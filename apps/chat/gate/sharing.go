package gate

import (
	"context"
	"slices"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/hall"
)

// A sharing is how far the replicated history has what this node has said. Records go to the
// journals when they are durable here, in the order of their numbers. The mark moves over those
// that were appended, and the store keeps it:
//
//	hall ──► disk ──► journal ──► replicated history
//	           │         ▲             │ appended
//	           └─ pages ─┘             ▼
//	        while it is behind        mark ──► disk
//
// A node is behind when it starts, when a journal had no room, and when the history was made anew.
// Then the journals get pages of the store, from the mark on, each page when the one before was
// appended, and nothing else of this node's records, until a page has all that there is. So what is
// durable here comes to the others, whenever the process ends, and for however long the history
// takes nothing. Changes of records, and markers, have no place in that order: the store keeps the
// entry of each until that is appended. All of it belongs to the desk's loop.
type sharing struct {
	store   History // nil: nothing is kept
	given   int64   // all records up to this number were given to the journals, or are no more
	singles []int64 // of records that are appended by themselves
	behind  bool    // the store may have others above given
	passed  int64   // the latest that was not given since
	reading bool    // a page is being read
	refused bool    // the last one could not be read: the next tick tries again
	changed []int64 // changes that were appended, and that the store keeps
	due     int     // how often changes had to be read from the store
	seen    int     // and how many of these times they were
	kept    int64   // the mark, as the store has it
	writing bool    // the store is given another one
}

// unmarked is how long before the end of a process without marks its records may have been kept and
// not shared, in milliseconds.
const unmarked = 300_000

// openSharing begins at the mark. Last is the greatest number that a record had when this process
// began.
func (d *desk) openSharing(history History, last int64) error {
	s := &d.net.sharing
	if s.store = history; history == nil {
		return nil
	}
	mark, ok, err := history.Mark()
	if !ok {
		mark = max(0, last-unmarked<<hall.IDBits)
	}
	s.given, s.kept, s.behind, s.due = mark, mark, true, 1
	return err
}

// give gives the entry of a record, or of a change, that is durable to the journal of its shard.
func (d *desk) give(shard uint32, record, change int64, entry []byte) {
	s := &d.net.sharing
	switch {
	case record != 0 && s.behind:
		s.passed = max(s.passed, record)
		return
	case d.put(shard, record, change, entry):
		s.given = max(s.given, record)
		return
	case s.store == nil:
	case record != 0:
		s.fallBehind(record)
	default:
		s.due++
	}
	d.server.config.Load().Log.Warn("the replicated history takes nothing; what is said is read from the disk when it does", "shard", shard)
}

// fallBehind notes a record that no journal has.
func (s *sharing) fallBehind(record int64) {
	s.behind, s.given, s.passed = true, min(s.given, record-1), max(s.passed, record)
}

// giveSingle notes a record that is appended by itself.
func (s *sharing) giveSingle(record int64) {
	s.singles = append(s.singles, record)
	if s.behind {
		s.passed = max(s.passed, record)
		return
	}
	s.given = max(s.given, record)
}

// endSingle notes the end of that: what was not appended goes to the journal, since it is on the disk
// here, and so is to come to the others.
func (d *desk) endSingle(shard uint32, record int64, entry []byte, err error) {
	s := &d.net.sharing
	s.singles = slices.DeleteFunc(s.singles, func(n int64) bool { return n == record })
	if err == nil {
		return
	}
	if !d.put(shard, record, 0, entry) {
		s.fallBehind(record)
		return
	}
	d.net.journals[shard].behind()
}

// share reads the next page of records, if this node is behind, and of changes, if there are some that
// no journal has.
func (d *desk) share() {
	s := &d.net.sharing
	changes := s.due != s.seen && len(s.changed) == 0 && !s.writing // the store has no others then
	if s.store == nil || s.reading || s.refused || !s.behind && !changes || d.net.first == 0 || !d.allAppended() {
		return
	}
	s.reading = true
	behind, after, passed, due := s.behind, s.given, s.passed, s.due
	d.server.reads.apart(func(ctx context.Context) {
		var page hall.Unshared
		var list []hall.Outgoing
		var more bool
		var err error
		if behind {
			page, err = s.store.Unshared(ctx, after)
		}
		if changes && err == nil {
			list, more, err = s.store.Changes(ctx)
		}
		d.collectSoon(func() {
			s.reading = false
			if err != nil {
				s.refused = true
				if ctx.Err() == nil {
					d.server.config.Load().Log.Error("what is to be shared could not be read; that is tried again", "error", err)
				}
				return
			}
			if behind && s.given == after { // it has not fallen further behind meanwhile
				d.givePage(&page, passed)
			}
			if changes && d.giveChanges(list) && !more {
				s.seen = due
			}
			d.shareLate()
		})
	})
}

// giveChanges gives the journals changes that the store keeps, and says whether there was room.
func (d *desk) giveChanges(list []hall.Outgoing) bool {
	for _, o := range list {
		if !d.put(fabric.Shard(o.Name), 0, o.Number, o.Entry) {
			return false
		}
	}
	return true
}

// givePage gives the journals what the store has above what they were given. When it was read, passed
// was what had not been given to them.
func (d *desk) givePage(page *hall.Unshared, passed int64) {
	s := &d.net.sharing
	for i := range page.Records {
		r := &page.Records[i]
		if !d.put(fabric.Shard(r.Target), r.ID, 0, hall.RecordEntry(r)) {
			return // the rest comes with the next page
		}
		s.given = r.ID
	}
	s.given = max(s.given, page.UpTo)
	if !page.More {
		s.given = max(s.given, passed)
		s.behind = s.passed != passed
	}
}

// shareLate appends what the journals have, and has the others read the history again.
func (d *desk) shareLate() {
	for i := range d.net.journals {
		if j := &d.net.journals[i]; len(j.queue) > 0 {
			j.behind()
			d.appendNext(j)
		}
	}
}

func (d *desk) allAppended() bool {
	return !slices.ContainsFunc(d.net.journals[:], func(j journal) bool { return len(j.queue) > 0 })
}

// mark is the number up to which the replicated history has all records of this node.
func (n *networked) mark() int64 {
	upTo := n.sharing.given
	for i := range n.journals {
		for _, b := range n.journals[i].queue {
			if b.record != 0 {
				upTo = min(upTo, b.record-1)
			}
		}
	}
	for _, record := range n.sharing.singles {
		upTo = min(upTo, record-1)
	}
	return upTo
}

// keepMark has the store keep the mark, if it has moved, and forget changes that were appended.
func (d *desk) keepMark() {
	s := &d.net.sharing
	mark := d.net.mark()
	if s.store == nil || s.writing || mark == s.kept && len(s.changed) == 0 {
		return
	}
	s.writing = true
	changed := s.changed
	s.changed = nil
	s.store.Shared(mark, changed, func(err error) {
		d.collectSoon(func() {
			s.writing = false
			if err == nil {
				s.kept = mark
				return
			}
			s.changed = append(changed, s.changed...)
		})
	})
}

// renew shares again what the history of a shard would have had yet that was made anew, or has lost
// its end, and reads it from its beginning. The mark is taken back before the store has a position of
// that.
func (d *desk) renew(r *reading) {
	s := &d.net.sharing
	if s.store != nil {
		s.given, s.behind = min(s.given, d.sharedSince()), true
		s.store.Shared(d.net.mark(), nil, func(error) {}) // and with the next tick
	}
	r.renew()
	(*reporter)(d).replayShard(r.shard)
}

// sharedSince is before the first number that the replicated history has yet.
func (d *desk) sharedSince() int64 {
	keep := d.server.config.Load().Retention.Milliseconds()
	if keep == 0 {
		return 0
	}
	return (d.server.nowMillis() - keep) << hall.IDBits
}
