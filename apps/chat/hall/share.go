package hall

import (
	"encoding/json"
	"fmt"
	"slices"
)

// An entry of the replicated history: a record, or a change of one. Nodes get it at once from
// the one that makes it, and those that were away then, later.
type entry struct {
	Record *Record  `json:"r,omitempty"`
	Work   *farWork `json:"w,omitempty"`

	// Marker is one that an account has moved.
	Marker *KeepMarker `json:"m,omitempty"`
}

// A farWork is a change of the history, which all nodes make.
type farWork struct {
	Kind   WorkKind `json:"k"`
	Lookup *Lookup  `json:"l,omitempty"`
	Record *Record  `json:"r,omitempty"`
}

// shareRecord has all nodes keep a record.
func (h *Hall) shareRecord(r *Record) {
	h.share(r.Target, "record", "r", r, []int64{r.ID})
}

// shareWork has the other nodes change a record of a target as it was changed here.
func (h *Hall) shareWork(target string, w *Work) {
	if h.net == nil {
		return
	}
	far := &farWork{w.Kind, w.Lookup, w.Record}
	h.net.removed.note(far)
	h.net.edited.note(far)
	h.share(target, "work", "w", far, nil)
}

// share gives an op to all nodes, and to those that are away as the key of an entry. It is
// written once.
func (h *Hall) share(target, kind, key string, body any, records []int64) {
	data := encode(kind, body)
	h.net.putAll(kind, data, records)
	h.net.wire.Append(target, fmt.Appendf(nil, `{"%s":%s}`, key, data), records)
}

// replayed applies an entry of the replicated history.
func (h *Hall) replayed(data []byte) {
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		h.gate.Fault(fmt.Errorf("an entry of the replicated history cannot be read: %w", err))
		return
	}
	if e.Record != nil {
		h.gotRecord(nil, e.Record)
	}
	if e.Work != nil {
		h.shareAgain(e.Work)
		h.gotWork(nil, e.Work)
	}
	if e.Marker != nil {
		h.gotMarker(nil, e.Marker)
	}
}

// gotRecord keeps what another node has kept.
func (h *Hall) gotRecord(_ *node, r *Record) {
	r.Copy = true
	h.lastID = max(h.lastID, r.ID)
	if h.net.removed.has(r) {
		return
	}
	if e := h.net.edited.find(r.ID); e != nil {
		r.Text, r.Joined, r.Edited = e.Text, e.Joined, e.Edited
	}
	h.gate.Record(r)
}

func (h *Hall) gotWork(_ *node, w *farWork) {
	h.net.removed.note(w)
	if !h.net.edited.note(w) {
		return
	}
	h.gate.Begin(&Work{Kind: w.Kind, Copy: true, Lookup: w.Lookup, Record: w.Record})
}

// unsharedFor is how long a record may have been kept before it was in the replicated history,
// in milliseconds: that is written in batches, and waits for a leader; and a node may end again
// before it has shared what it had when it ended first.
const unsharedFor = 300_000

// A lateRecord was shared by a node that came back. Others may have changed it meanwhile, and a
// node that has begun since knows of that no more: such a change is shared again, behind it.
type lateRecord struct {
	target  string
	edited  int64 // the latest edit that was shared with it, or behind it
	removed bool
}

// shareKept shares what this node has numbered last before it ended: it may have kept it, and
// ended before any other node knew. They ignore what they have.
func (h *Hall) shareKept() {
	n := h.net
	if n.kept == 0 || !h.config.History.Enabled {
		return
	}
	last := n.kept
	n.kept = 0
	h.lastWork++
	h.asked[h.lastWork] = asked{then: func(r *Result) {
		if !r.OK {
			n.kept = last // the next lease tries again
			return
		}
		for i := range r.Records {
			if one := &r.Records[i]; one.ID&slotMask == n.slot {
				h.shareLate(one)
			}
		}
	}}
	h.gate.Begin(&Work{Kind: ReadSince, Number: h.lastWork, After: last - unsharedFor<<IDBits})
}

// shareLate shares a record as it is now.
func (h *Hall) shareLate(r *Record) {
	n := h.net
	if n.removed.has(r) {
		return
	}
	if e := n.edited.find(r.ID); e != nil && e.Edited > r.Edited {
		r.Text, r.Joined, r.Edited = e.Text, e.Joined, e.Edited
	}
	if n.late == nil {
		n.late = map[int64]*lateRecord{}
	}
	n.late[r.ID] = &lateRecord{target: r.Target, edited: r.Edited}
	h.shareRecord(r)
}

// shareAgain shares a change of a late record that was made before that was shared.
func (h *Hall) shareAgain(w *farWork) {
	switch {
	case w.Kind == RemoveRecord && w.Lookup != nil:
		if l := h.net.late[w.Lookup.ID]; l != nil && !l.removed {
			l.removed = true
			h.share(l.target, "work", "w", w, nil)
		}
	case w.Kind == EditRecord && w.Record != nil:
		if l := h.net.late[w.Record.ID]; l != nil && l.edited < w.Record.Edited {
			l.edited = w.Record.Edited
			h.share(l.target, "work", "w", w, nil)
		}
	}
}

// removed are the numbers of the records that were taken out last, of any node: one that
// comes later than that stays out.
type removed struct {
	list []int64
	next int // in a full list, the oldest
}

// maxRemoved bounds removed. A record is late by a minute, at most a few.
const maxRemoved = 1024

func (r *removed) note(w *farWork) {
	switch {
	case w.Kind != RemoveRecord || w.Lookup == nil:
	case len(r.list) < maxRemoved:
		r.list = append(r.list, w.Lookup.ID)
	default:
		r.list[r.next] = w.Lookup.ID
		r.next = (r.next + 1) % maxRemoved
	}
}

// has says whether a record, or what it reacts to, was taken out.
func (r *removed) has(one *Record) bool {
	return slices.Contains(r.list, one.ID) || one.Reaction && slices.Contains(r.list, one.Reply)
}

// edited are the records that were edited last, at any node, each as its latest edit left it: one
// that comes later than that is kept so, and an earlier edit that does is none any more.
type edited struct {
	list []*Record
	next int // in a full list, the oldest
}

// maxEdited bounds edited: each has a text.
const maxEdited = 256

// note returns false for an edit after which a later one was made.
func (e *edited) note(w *farWork) bool {
	if w.Kind != EditRecord || w.Record == nil {
		return true
	}
	at := e.index(w.Record.ID)
	switch {
	case at >= 0 && e.list[at].Edited > w.Record.Edited:
		return false
	case at >= 0:
		e.list[at] = w.Record
	case len(e.list) < maxEdited:
		e.list = append(e.list, w.Record)
	default:
		e.list[e.next] = w.Record
		e.next = (e.next + 1) % maxEdited
	}
	return true
}

func (e *edited) index(id int64) int {
	return slices.IndexFunc(e.list, func(r *Record) bool { return r.ID == id })
}

// find returns a record as it was edited last, nil for one that was not.
func (e *edited) find(id int64) *Record {
	if at := e.index(id); at >= 0 {
		return e.list[at]
	}
	return nil
}
