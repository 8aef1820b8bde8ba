package gate

import (
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/internal/slab"
)

// A shard is what one loop has of the server: its sessions and their lists. All of
// it belongs to the loop.
type shard struct {
	server *Server
	loop   *epi.Loop
	index  int
	began  time.Time

	sessions slab.Slab[*session]
	channels [][]member // by ChannelID
	round    uint64     // number of the delivery under way
	done     uint64     // ops that the desk has sent

	dirty    []*session // with something pending
	flushing bool       // a flush is due in this turn
	spare    []*pending // used again
	editions editions

	events  []hall.Event     // for the desk, of this turn
	handing bool             // they are handed over at the end of the turn
	flying  int              // events that the desk has not applied yet
	waiting []hall.SessionID // paused because of that
	one     ircmsg.Message   // of the desk's own loop

	deadlines [deadlineKinds]deadlines
	timer     *epi.Timer
	timerAt   int64
}

// A member is a session on the list of a channel.
type member struct {
	session *session
	rank    hall.Rank
}

func newShard(s *Server, loop *epi.Loop, index int) *shard {
	sh := &shard{server: s, loop: loop, index: index, began: s.clock()}
	for kind := range sh.deadlines {
		sh.deadlines[kind].kind = deadlineKind(kind)
	}
	return sh
}

// now is the shard's clock, in nanoseconds.
func (sh *shard) now() int64 { return int64(sh.server.clock().Sub(sh.began)) }

// isLocal reports whether the hall is on this loop.
func (sh *shard) isLocal() bool { return sh.index == 0 }

func (sh *shard) insert(se *session) hall.SessionID {
	sh.server.counts.sessions.Add(1)
	return sessionID(sh.sessions.Insert(se), sh.index)
}

// remove takes a session off everything but the slab: the hall may still name it.
func (sh *shard) remove(se *session) {
	se.unschedule()
	for len(se.seats) > 0 {
		sh.leave(se, se.seats[len(se.seats)-1].channel)
	}
}

// forget is the end of a session's connection.
func (sh *shard) forget(se *session) {
	if sh.sessions.Remove(token(se.id)) {
		sh.server.counts.sessions.Add(-1)
	}
}

// find returns the session of a call of the hall, nil when it has ended.
func (sh *shard) find(id hall.SessionID) *session {
	se, ok := sh.sessions.Get(token(id))
	if !ok || se.ended {
		return nil
	}
	return se
}

// message is for the next line: on the desk's loop always the same one.
func (sh *shard) message() *ircmsg.Message {
	if sh.isLocal() {
		return &sh.one
	}
	return new(ircmsg.Message)
}

// report gives an event to the hall: at once on its own loop, else at the end of the
// turn with all the others.
func (sh *shard) report(e hall.Event) {
	desk := sh.server.desk
	if sh.isLocal() {
		desk.apply(&e)
		if e.Kind == hall.Opened {
			desk.keepTicking()
		}
		return
	}
	sh.events = append(sh.events, e)
	if sh.handing {
		return
	}
	sh.handing = true
	if sh.loop.Do(sh.handOver) != nil {
		sh.handOver() // the loop is ending
	}
}

func (sh *shard) handOver() {
	sh.handing = false
	events := sh.events
	sh.events = nil
	sh.flying += len(events)
	desk := sh.server.desk
	_ = desk.loop.Do(func() { // when it has ended there is no hall to know
		desk.take(sh, events)
		desk.keepTicking()
	})
}

// maxFlying bounds the events of one loop that wait for the hall. Above it, no
// session of the loop is read from.
const maxFlying = 8192

func (sh *shard) crowded() bool {
	return sh.flying+len(sh.events) > maxFlying || sh.isLocal() && sh.server.desk.held.len() > maxWithheld
}

func (sh *shard) taken(n int) {
	sh.flying -= n
	if len(sh.waiting) == 0 || sh.flying > maxFlying/2 || sh.crowded() {
		return
	}
	waiting := sh.waiting
	sh.waiting = nil
	for _, id := range waiting {
		sh.resume(id)
	}
}

// resume reads on, if the session is still there.
func (sh *shard) resume(id hall.SessionID) {
	if se := sh.find(id); se != nil && se.paused {
		se.resume()
	}
}

// doAll does what the hall said in one turn of its own loop.
func (sh *shard) doAll(ops []op) {
	for i := range ops {
		sh.done++
		sh.do(&ops[i])
	}
}

func (sh *shard) do(o *op) {
	switch o.kind {
	case opDeliver:
		sh.deliver(o.item)
		return
	case opTaken:
		sh.taken(int(o.channel))
		return
	}
	se := sh.find(o.session)
	if se == nil {
		return
	}
	switch o.kind {
	case opSend:
		se.write(o.lines)
	case opMember:
		sh.enter(se, o.channel, o.rank)
	case opLeave:
		sh.leave(se, o.channel)
	case opCaps:
		se.caps = o.caps
	case opRegistered:
		se.registered = true
		se.alive()
	case opClose:
		se.write(o.lines)
		se.reportEnd("")
		se.close()
	}
}

// enter puts a session on the list of a channel, or changes its rank there.
func (sh *shard) enter(se *session, c hall.ChannelID, rank hall.Rank) {
	for int(c) >= len(sh.channels) {
		sh.channels = append(sh.channels, nil)
	}
	if i := se.seatOf(c); i >= 0 {
		sh.channels[c][se.seats[i].at].rank = rank
		return
	}
	se.seats = append(se.seats, seat{c, uint32(len(sh.channels[c]))})
	sh.channels[c] = append(sh.channels[c], member{se, rank})
}

func (sh *shard) leave(se *session, c hall.ChannelID) {
	i := se.seatOf(c)
	if i < 0 {
		return
	}
	at, list := se.seats[i].at, sh.channels[c]
	last := len(list) - 1
	if moved := list[last].session; moved != se {
		list[at] = list[last]
		moved.seats[moved.seatOf(c)].at = at
	}
	list[last] = member{}
	sh.channels[c] = list[:last]
	se.seats[i] = se.seats[len(se.seats)-1]
	se.seats = se.seats[:len(se.seats)-1]
	if last == 0 {
		sh.channels[c] = nil
		sh.reportEmptied(c)
	}
}

// reportEmptied lets the desk know that items for a channel need not come here.
func (sh *shard) reportEmptied(c hall.ChannelID) {
	desk, done := sh.server.desk, sh.done
	if sh.isLocal() {
		desk.emptied(c, sh, done)
		return
	}
	_ = desk.loop.Do(func() { desk.emptied(c, sh, done) }) // when it has ended, no items come either
}

func (se *session) seatOf(c hall.ChannelID) int {
	for i := range se.seats {
		if se.seats[i].channel == c {
			return i
		}
	}
	return -1
}

// soil puts a session on the list of those that are flushed in this turn.
func (sh *shard) soil(se *session) {
	sh.dirty = append(sh.dirty, se)
	if sh.flushing {
		return
	}
	sh.flushing = true
	if sh.loop.Do(sh.flush) != nil {
		sh.flush() // the loop is ending
	}
}

func (sh *shard) flush() {
	sh.flushing = false
	for i, se := range sh.dirty {
		se.flush()
		sh.dirty[i] = nil
	}
	sh.dirty = sh.dirty[:0]
}

// pendingLines is how many buffers wait for the end of the turn; what holds them is of
// the shard, so that idle sessions have none.
const pendingLines = 32

func (sh *shard) takePending() *pending {
	if n := len(sh.spare); n > 0 {
		p := sh.spare[n-1]
		sh.spare = sh.spare[:n-1]
		return p
	}
	return &pending{lines: make([][]byte, 0, pendingLines)}
}

func (sh *shard) givePending(p *pending) {
	clear(p.lines)
	p.lines, p.size = p.lines[:0], 0
	if len(sh.spare) < maxSpare {
		sh.spare = append(sh.spare, p)
	}
}

// maxSpare bounds the memory of what waits to be used again: 0.8 KiB each.
const maxSpare = 4096

// farewell says goodbye to all sessions.
func (sh *shard) farewell() {
	for _, se := range sh.sessions.All() {
		se.farewell()
	}
}
