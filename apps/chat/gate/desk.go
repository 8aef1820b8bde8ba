package gate

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/chat/hall"
)

// A desk is where the hall works: on loop 0, to which all of it belongs. It is the
// hall's Gate, and sorts what the hall says by the loops that do it.
type desk struct {
	server *Server
	loop   *epi.Loop
	hall   *hall.Hall
	local  *shard
	out    []outbox // by shard; that of the local one stays empty
	reach  []reach  // by ChannelID

	applying bool         // within Hall.Apply, which must not be called again
	later    []hall.Event // what has happened meanwhile on this loop
	sending  bool         // the outboxes are given to their loops at the end of the turn
	ticks    bool         // a timer for Tick is set
	event    *hall.Event  // that is applied
	held     withheld
	net      networked
}

// A reach says which shards have sessions in one channel.
type reach struct {
	shards uint16
	joined [MaxLoops]uint64 // the shard's op that added a session last, by number
}

// An outbox is what a loop is to do, in order.
type outbox struct {
	ops   []op
	added uint64 // ops so far
}

// An op is one call of the hall's Gate, for one loop.
type op struct {
	kind    opKind
	rank    hall.Rank
	channel hall.ChannelID
	session hall.SessionID
	caps    hall.Caps
	lines   []byte // opSend and opClose
	item    *hall.Item
	run     func() // opRun
}

type opKind uint8

const (
	opSend opKind = iota
	opDeliver
	opMember
	opLeave
	opCaps
	opRegistered
	opClose
	opTaken // events that the shard session handed over were applied
	opRun   // what is no loop's
)

func newDesk(s *Server, config Config) *desk {
	d := &desk{server: s, loop: s.shards[0].loop, local: s.shards[0], out: make([]outbox, len(s.shards))}
	d.hall = hall.New(config.Hall, d)
	if config.Fabric != nil {
		d.net.catchUp = config.CatchUp
		d.join(config.Fabric)
	}
	d.enter(func() { d.hall.Restore(s.nowMillis(), config.Kept) })
	return d
}

func (d *desk) configure(config hall.Config) {
	d.enter(func() { d.hall.Configure(config) })
}

// apply gives one event to the hall. A hall that panics has lost that event; the
// others go on, as handlers of the engine do.
func (d *desk) apply(e *hall.Event) {
	if e.At == 0 {
		e.At = d.server.nowMillis()
	}
	if d.applying {
		d.later = append(d.later, *e)
		return
	}
	d.applyOne(e)
	d.catchUp()
}

// enter calls fn, which uses the hall. It is for tasks of the loop, within which the
// hall is not at work yet.
func (d *desk) enter(fn func()) {
	func() {
		defer d.recover(&hall.Event{Kind: hall.Tick})
		d.applying, d.event = true, nil
		d.checkLease()
		fn()
		d.applied()
	}()
	d.catchUp()
}

// catchUp applies what has happened on this loop while the hall was at work.
func (d *desk) catchUp() {
	for len(d.later) > 0 {
		next := d.later[0]
		d.later = d.later[1:]
		d.applyOne(&next)
	}
	d.later = nil
}

func (d *desk) applyOne(e *hall.Event) {
	defer d.recover(e)
	d.applying, d.event = true, e
	d.checkLease()
	d.hall.Apply(e)
	d.applied()
}

// applied notes that the hall has done its work.
func (d *desk) applied() {
	d.applying = false
	d.held.current = d.held.current[:0]
	d.server.counts.users.Store(int64(d.hall.Users()))
	d.server.counts.channels.Store(int64(d.hall.Channels()))
}

// Fault is a method of hall.Gate.
func (d *desk) Fault(err error) {
	d.server.counts.faults.Add(1)
	command := ""
	if d.event != nil && d.event.Message != nil {
		command = d.event.Message.Command
	}
	d.server.config.Load().Log.Error("a fault of the chat; please report it", "error", err, "command", command)
}

// Keep is a method of hall.Gate.
func (d *desk) Keep(c hall.Change) {
	keep := d.server.config.Load().Keep
	if keep == nil {
		return
	}
	var done func(error)
	if _, is := c.(hall.CopyMarker); is {
		done = d.copying(d.net.readings[:])
	}
	keep(c, done)
}

// Commanded is a method of hall.Gate.
func (d *desk) Commanded(name string, ok bool) { d.server.counts.commands[name].add(ok) }

func (d *desk) recover(e *hall.Event) {
	v := recover()
	if v == nil {
		return
	}
	d.applying = false
	d.server.counts.panics.Add(1)
	d.server.config.Load().Log.Error("a panic in the hall; the session that caused it is closed",
		slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
	if e.Kind == hall.Line || e.Kind == hall.Malformed || e.Kind == hall.Worked {
		d.Close(e.Session, []byte("ERROR :Internal error\r\n"))
	}
}

// take applies what another loop has read.
func (d *desk) take(from *shard, events []hall.Event) {
	began := d.server.clock()
	at := began.UnixMilli()
	for i := range events {
		events[i].At = at
		d.apply(&events[i])
	}
	d.do(op{kind: opTaken, session: hall.SessionID(from.index), channel: hall.ChannelID(len(events))})
	d.server.counts.noteLag(d.server.clock().Sub(began))
}

// result gives the hall the end of some work; it may be called from any goroutine.
func (d *desk) result(r *hall.Result) {
	_ = d.loop.Do(func() { d.apply(&hall.Event{Kind: hall.Worked, Session: r.Session, Result: r}) }) // ended: nobody waits
}

// tick lets the hall know that time has passed, while there are sessions, or other nodes
// that may need an answer.
func (d *desk) tick() {
	d.apply(&hall.Event{Kind: hall.Tick})
	if d.net.fabric != nil {
		d.appendAll()
		d.catchUpHistory()
	}
	d.ticks = false
	d.keepTicking()
}

const tickEvery = time.Second

func (d *desk) keepTicking() {
	if d.ticks || d.server.counts.sessions.Load() == 0 && d.net.fabric == nil {
		return
	}
	d.ticks = true
	d.loop.After(tickEvery, d.tick)
}

// add puts an op into the outbox of a shard, or does it at once.
func (d *desk) add(to *shard, o op) {
	if to == d.local {
		to.do(&o)
		return
	}
	if o.kind == opSend || o.kind == opClose {
		o.lines = bytes.Clone(o.lines) // the hall uses them again
	}
	d.out[to.index].ops = append(d.out[to.index].ops, o)
	d.out[to.index].added++
	d.sendSoon()
}

// sendSoon asks for the outboxes to be given away in the task phase of this turn.
func (d *desk) sendSoon() {
	if d.sending {
		return
	}
	d.sending = true
	if d.loop.Do(d.send) != nil {
		d.send() // the loop is ending, or has too many tasks: the order is kept all the same
	}
}

func (d *desk) send() {
	d.sending = false
	for i := range d.out {
		ops := d.out[i].ops
		if len(ops) == 0 {
			continue
		}
		d.out[i].ops = nil
		sh := d.server.shards[i]
		_ = sh.loop.Do(func() { sh.doAll(ops) }) // an ended loop has no sessions left
	}
}

func (d *desk) shardOf(id hall.SessionID) *shard {
	if i := shardIndex(id); i < len(d.server.shards) {
		return d.server.shards[i]
	}
	return d.local
}

// do does an op, or withholds it behind a message that is not durable yet.
func (d *desk) do(o op, shown ...*keeping) {
	if !d.held.holds() {
		d.pass(&o)
		return
	}
	if o.kind == opSend || o.kind == opClose {
		o.lines = bytes.Clone(o.lines) // the hall uses them again
	}
	d.held.queue = append(d.held.queue, held{op: o, shown: shown})
}

// pass does an op.
func (d *desk) pass(o *op) {
	switch o.kind {
	case opDeliver:
		d.spread(o)
	case opMember:
		d.seat(o)
	case opTaken:
		d.add(d.server.shards[o.session], *o)
	case opRun:
		o.run()
	default:
		d.add(d.shardOf(o.session), *o)
	}
}

// Send is a method of hall.Gate.
func (d *desk) Send(to hall.SessionID, lines []byte) {
	d.do(op{kind: opSend, session: to, lines: lines})
}

// Echo is a method of hall.Gate.
func (d *desk) Echo(to hall.SessionID, lines []byte, records []int64) {
	d.do(op{kind: opSend, session: to, lines: lines}, d.keepings(records...)...)
}

// Deliver is a method of hall.Gate.
func (d *desk) Deliver(item *hall.Item) {
	if item.Record != 0 {
		d.do(op{kind: opDeliver, item: item}, d.keepings(item.Record)...)
		return
	}
	d.do(op{kind: opDeliver, item: item})
}

// spread gives an item to the loops that have receivers.
func (d *desk) spread(o *op) {
	var loops uint16
	for _, c := range o.item.Channels {
		if int(c.Channel) < len(d.reach) {
			loops |= d.reach[c.Channel].shards
		}
	}
	for _, id := range o.item.Sessions {
		loops |= 1 << shardIndex(id)
	}
	for i, sh := range d.server.shards {
		if loops&(1<<i) != 0 {
			d.add(sh, *o)
		}
	}
}

// Member is a method of hall.Gate.
func (d *desk) Member(s hall.SessionID, c hall.ChannelID, rank hall.Rank) {
	d.do(op{kind: opMember, session: s, channel: c, rank: rank})
}

// seat puts a session on its loop's list of a channel.
func (d *desk) seat(o *op) {
	for int(o.channel) >= len(d.reach) {
		d.reach = append(d.reach, reach{})
	}
	sh := d.shardOf(o.session)
	d.add(sh, *o)
	r := &d.reach[o.channel]
	r.shards |= 1 << sh.index
	r.joined[sh.index] = d.out[sh.index].added
}

// emptied notes that a shard's list of a channel was empty after so many ops.
func (d *desk) emptied(c hall.ChannelID, sh *shard, ops uint64) {
	r := &d.reach[c]
	if r.joined[sh.index] <= ops {
		r.shards &^= 1 << sh.index
	}
}

// Leave is a method of hall.Gate.
func (d *desk) Leave(s hall.SessionID, c hall.ChannelID) {
	d.do(op{kind: opLeave, session: s, channel: c})
}

// Caps is a method of hall.Gate.
func (d *desk) Caps(s hall.SessionID, caps hall.Caps) {
	d.do(op{kind: opCaps, session: s, caps: caps})
}

// Registered is a method of hall.Gate.
func (d *desk) Registered(s hall.SessionID) { d.do(op{kind: opRegistered, session: s}) }

// Close is a method of hall.Gate.
func (d *desk) Close(s hall.SessionID, last []byte) {
	d.do(op{kind: opClose, session: s, lines: last})
}

// Begin is a method of hall.Gate. Work begins when what was said before is durable: so
// a page of history has what its reader has said.
func (d *desk) Begin(w *hall.Work) {
	if w.Copy {
		d.repeat(w)
		return
	}
	d.do(op{kind: opRun, run: func() { d.server.begin(w) }})
}
