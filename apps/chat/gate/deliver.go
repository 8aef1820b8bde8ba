package gate

import (
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/ws"
)

// An edition is what all sessions with the same capabilities get of the item that
// is delivered now: a form of each of its lines, or nothing.
type edition struct {
	caps  hall.Caps
	forms []*ircmsg.Form
}

// editions are those of the item that is delivered now.
type editions struct {
	item *hall.Item
	list []edition
	last int // the one used last: neighbours on a list mostly have the same
}

// of returns the edition for a session.
func (e *editions) of(caps hall.Caps) *edition {
	if e.last < len(e.list) && e.list[e.last].caps == caps {
		return &e.list[e.last]
	}
	for i := range e.list {
		if e.list[i].caps == caps {
			e.last = i
			return &e.list[i]
		}
	}
	return e.add(caps)
}

func (e *editions) add(caps hall.Caps) *edition {
	n := len(e.list)
	if n < cap(e.list) {
		e.list = e.list[:n+1] // with the room that its forms had before
	} else {
		e.list = append(e.list, edition{})
	}
	ed := &e.list[n]
	ed.caps, ed.forms = caps, ed.forms[:0]
	if e.item.Wants(caps) {
		for _, line := range e.item.Lines {
			ed.forms = append(ed.forms, line.Form(caps))
		}
	}
	e.last = n
	return ed
}

// reset forgets the item; what was encoded belongs to the connections now.
func (e *editions) reset() {
	for i := range e.list {
		clear(e.list[i].forms)
	}
	e.item, e.list, e.last = nil, e.list[:0], 0
}

// deliver gives an item to the sessions of this shard that it names, each once.
func (sh *shard) deliver(item *hall.Item) {
	sh.round++
	sh.editions.item = item
	for _, id := range item.Except {
		if se, ok := sh.sessions.Get(token(id)); ok && shardIndex(id) == sh.index {
			se.mark = sh.round
		}
	}
	delivered := 0
	for _, to := range item.Channels {
		if int(to.Channel) < len(sh.channels) {
			delivered += sh.deliverTo(sh.channels[to.Channel], to.Rank)
		}
	}
	for _, id := range item.Sessions {
		if shardIndex(id) != sh.index {
			continue
		}
		if se := sh.find(id); se != nil && sh.give(se) {
			delivered++
		}
	}
	sh.server.counts.deliveries.Add(uint64(delivered))
	sh.editions.reset()
}

// deliverTo gives the item to the members of a list.
func (sh *shard) deliverTo(list []member, rank hall.Rank) (delivered int) {
	for i := range list {
		if list[i].rank >= rank && sh.give(list[i].session) {
			delivered++
		}
	}
	return delivered
}

// give gives the item that is delivered now to a session, unless that has it
// already or is not to have it.
func (sh *shard) give(se *session) bool {
	if se.mark == sh.round {
		return false
	}
	se.mark = sh.round
	forms := sh.editions.of(se.caps).forms
	for _, f := range forms {
		if se.kind == plain {
			se.push(f.Line())
		} else {
			se.sendFrame(f)
		}
	}
	return len(forms) > 0
}

// frames are a line as messages of WebSockets.
type frames struct{ text, binary *ws.Prepared }

func makeFrames(line []byte) any {
	return &frames{ws.Prepare(ws.Text, line), ws.Prepare(ws.Binary, line)}
}
