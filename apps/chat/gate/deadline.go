package gate

import (
	"fmt"
	"time"
)

// deadlines are sessions in the order in which their time is over: all are given
// the same time, so the one added last comes last.
type deadlines struct {
	first, last *session
	kind        deadlineKind
}

// A deadlineKind says which of a shard's deadlines a session is among.
type deadlineKind uint8

const (
	noDeadline  deadlineKind = iota
	registering              // until it is registered
	silent                   // until it is asked whether it is there
	asked                    // until it is given up
	deadlineKinds
)

// A deadline is a session's place among deadlines.
type deadline struct {
	prev, next *session
	at         int64 // on the shard's clock
}

// add moves a session to the end of the list, d from now.
func (l *deadlines) add(sh *shard, se *session, d time.Duration) {
	se.unschedule()
	se.deadline = deadline{prev: l.last, at: sh.now() + int64(d)}
	se.waits = l.kind
	if l.last != nil {
		l.last.deadline.next = se
	} else {
		l.first = se
	}
	l.last = se
	sh.wakeAt(se.deadline.at)
}

// unschedule takes a session off its list.
func (se *session) unschedule() {
	d, l := &se.deadline, &se.shard.deadlines[se.waits]
	if se.waits == noDeadline {
		return
	}
	if d.prev != nil {
		d.prev.deadline.next = d.next
	} else {
		l.first = d.next
	}
	if d.next != nil {
		d.next.deadline.prev = d.prev
	} else {
		l.last = d.prev
	}
	*d, se.waits = deadline{}, noDeadline
}

// wakeAt sees to it that expire runs at a time of the shard's clock, or before.
func (sh *shard) wakeAt(at int64) {
	if sh.timer != nil && sh.timerAt <= at {
		return
	}
	if sh.timer != nil {
		sh.timer.Stop()
	}
	sh.timerAt = at
	sh.timer = sh.loop.After(time.Duration(at-sh.now()), sh.expire)
}

// stalled is how late a timer is when the program was stopped, or the loop held
// up: nobody was listened to meanwhile, so that time counts for nobody.
const stalled = time.Second

// expire ends the time of those whose deadline has come.
func (sh *shard) expire() {
	sh.timer = nil
	now := sh.now()
	if late := now - sh.timerAt; late > int64(stalled) {
		sh.postpone(late)
	}
	for se := sh.deadlines[registering].due(now); se != nil; se = sh.deadlines[registering].due(now) {
		se.unschedule()
		se.end("Registration timeout", "Registration timeout")
	}
	config := sh.server.config.Load()
	for se := sh.deadlines[silent].due(now); se != nil; se = sh.deadlines[silent].due(now) {
		se.write([]byte("PING :" + config.Hall.Name + "\r\n"))
		sh.deadlines[asked].add(sh, se, config.Dead-config.Ping)
	}
	for se := sh.deadlines[asked].due(now); se != nil; se = sh.deadlines[asked].due(now) {
		se.unschedule()
		reason := fmt.Sprintf("Ping timeout: %d seconds", int(config.Dead/time.Second))
		se.end(reason, reason)
	}
	for _, l := range sh.deadlines {
		if l.first != nil {
			sh.wakeAt(l.first.deadline.at)
		}
	}
}

// due returns the first session whose time is over.
func (l *deadlines) due(now int64) *session {
	if l.first == nil || l.first.deadline.at > now {
		return nil
	}
	return l.first
}

func (sh *shard) postpone(late int64) {
	for _, l := range sh.deadlines {
		for se := l.first; se != nil; se = se.deadline.next {
			se.deadline.at += late
		}
	}
}

// lastLineEvery is how exactly the time of a session's last line is kept.
const lastLineEvery = int64(time.Second)

// alive notes that a line has come.
func (se *session) alive() {
	if !se.registered || se.ended {
		return
	}
	ping := se.shard.server.config.Load().Ping
	last := se.deadline.at - int64(ping)
	if se.waits == silent && se.shard.now()-last < lastLineEvery {
		return
	}
	se.shard.deadlines[silent].add(se.shard, se, ping)
}
