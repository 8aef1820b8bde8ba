// Package cluster puts a chat on several machines to the test, as Jepsen does with
// databases: clients on all nodes talk, join, part and change their nicks while nodes
// are killed, stopped and cut off, and afterwards a judge looks whether what they
// have seen, and what the nodes have kept, holds what the chat promises:
//
//   - one owner: no two nodes put messages of a channel in order at the same time
//   - one order: each node has the same history of a channel, and each client has seen
//     messages in that order
//   - echoed is kept: a message that its sender has seen back is in the history, once
//   - shown is kept: so is every message that anybody has seen
//   - who is in a channel stays: nobody is put out, and in the end all nodes show those as
//     members who are
//   - a nick is one user's: no two clients have spoken by the same at the same time
package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A Message is one line in a channel, as a client or a history shows it.
type Message struct {
	ID   string // msgid
	Text string
}

// A Said is a message as its sender knows it.
type Said struct {
	Client  string
	Channel string
	Text    string
	ID      string // as it was echoed; empty: it was not
	Refused bool   // with an error
}

// A Session is what one connection has seen of one channel while it was a member, in
// order.
type Session struct {
	Client  string
	Channel string
	Seen    []Message
}

// A Hold is a time in which a client surely had a nick: from when it read so to when it
// said for the last time what then was shown as said by that nick, with no time between in which its node
// may have lost its lease. (Who is at a node that is cut off is called as before, and cannot speak.)
type Hold struct {
	Client string
	Nick   string
	From   time.Time
	Until  time.Time
}

// A History is all that a node has of a channel, in order.
type History struct {
	Node     string
	Channel  string
	Messages []Message
}

// Evidence is what a run has left.
type Evidence struct {
	Said      []Said
	Sessions  []Session
	Holds     []Hold
	Histories []History
	Rosters   []Roster
	PutOut    []string // who was put out of a channel, in words
}

// A Roster is who is in a channel as a node shows it, and who is by what the clients know.
type Roster struct {
	Node    string
	Channel string
	Shown   []string // nicks, in order
	Members []string // the same
}

// Judge returns what was not as it must be; nothing, if all was.
func (e *Evidence) Judge() (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	place := map[string]map[Message]int{} // in what all nodes have of its channel
	for channel, all := range e.union() {
		oneOwner(channel, all, fault)
		place[channel] = map[Message]int{}
		texts := map[string]string{}
		for at, m := range all {
			if other, twice := texts[m.Text]; twice {
				fault("%s: %q is there twice, as %s and %s", channel, m.Text, other, m.ID)
			}
			if at > 0 && all[at-1].ID == m.ID {
				fault("%s: %q and %q have the same msgid %s", channel, all[at-1].Text, m.Text, m.ID)
			}
			texts[m.Text] = m.ID
			place[channel][m] = at
		}
		for _, h := range e.Histories {
			if h.Channel == channel {
				h.compare(all, fault)
			}
		}
	}
	for _, s := range e.Said {
		if _, kept := place[s.Channel][Message{s.ID, s.Text}]; s.ID != "" && !kept {
			fault("%s: %q was echoed to %s as %s and is not in the history", s.Channel, s.Text, s.Client, s.ID)
		}
	}
	for _, s := range e.Sessions {
		last := -1
		for i, m := range s.Seen {
			at, kept := place[s.Channel][m]
			switch {
			case !kept:
				fault("%s: %q was shown to %s as %s and is not in the history", s.Channel, m.Text, s.Client, m.ID)
				continue
			case at <= last:
				fault("%s: %s has seen %q (%s) after %q (%s), and the history has them in another order", s.Channel, s.Client, m.Text, m.ID, s.Seen[i-1].Text, s.Seen[i-1].ID)
			}
			last = at
		}
	}
	faults = append(faults, e.PutOut...)
	for _, r := range e.Rosters {
		if !slices.Equal(r.Shown, r.Members) {
			fault("%s: node %s shows %v as its members, and those are %v", r.Channel, r.Node, r.Shown, r.Members)
		}
	}
	slices.SortFunc(e.Holds, func(a, b Hold) int { return a.From.Compare(b.From) })
	for i, a := range e.Holds {
		for _, b := range e.Holds[i+1:] {
			if a.Nick == b.Nick && a.Client != b.Client && b.From.Before(a.Until) {
				fault("nick %s: %s had it until %v, and %s from %v on", a.Nick, a.Client, a.Until.Format(time.StampMicro), b.Client, b.From.Format(time.StampMicro))
			}
		}
	}
	return faults
}

// union is what the nodes have together of each channel, by msgid: those of one channel
// rise.
func (e *Evidence) union() map[string][]Message {
	all := map[string][]Message{}
	for _, h := range e.Histories {
		all[h.Channel] = append(all[h.Channel], h.Messages...)
	}
	for channel, messages := range all {
		slices.SortFunc(messages, func(a, b Message) int { return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(a.Text, b.Text)) })
		all[channel] = slices.Compact(messages)
	}
	return all
}

// handOver is less than a channel takes to get another owner, and to have its former one
// again: each way takes a lease, or the drain of a node that then starts again.
const handOver = time.Second

// oneOwner finds the first message that one node has numbered while another one did: between
// two of that, soon after each other. The number of a message says who has made it, and when.
func oneOwner(channel string, all []Message, fault func(string, ...any)) {
	type turn struct {
		message Message
		moment  int64 // ms
	}
	last := map[int64]turn{} // the last message of each node
	owner := int64(0)
	for _, m := range all {
		id, ok := ircmsg.ParseID(m.ID)
		if !ok {
			fault("%s: %q has %q as its msgid, which is no number", channel, m.Text, m.ID)
			continue
		}
		by, now := id&(1<<ircmsg.SlotBits-1), turn{m, id >> ircmsg.IDBits}
		before, was := last[by]
		if was && by != owner && now.moment-before.moment < handOver.Milliseconds() {
			fault("%s: two nodes had it at once: one has numbered %q (%s) and %q (%s), and another one %q (%s) between them",
				channel, before.message.Text, before.message.ID, m.Text, m.ID, last[owner].message.Text, last[owner].message.ID)
			return
		}
		owner, last[by] = by, now
	}
}

// compare finds the first difference between what a node has and what all have.
func (h *History) compare(all []Message, fault func(string, ...any)) {
	for i, m := range all {
		if i >= len(h.Messages) || h.Messages[i] != m {
			fault("%s: node %s has %d of %d messages, or in another order: %q (%s) is not where it must be", h.Channel, h.Node, len(h.Messages), len(all), m.Text, m.ID)
			return
		}
	}
	if len(h.Messages) > len(all) {
		fault("%s: node %s shows %d messages, and there are %d: some are there twice", h.Channel, h.Node, len(h.Messages), len(all))
	}
}
