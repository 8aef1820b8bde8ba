package hall

import (
	"encoding/json"
	"fmt"
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

// RecordEntry is the entry of a record.
func RecordEntry(r *Record) []byte { return entryOf("r", encode("record", r)) }

func entryOf(key string, body []byte) []byte { return fmt.Appendf(nil, `{"%s":%s}`, key, body) }

// Unshared is what of the history of a node may not be in the replicated one yet.
type Unshared struct {
	Records []Record // that it has numbered itself, in order
	UpTo    int64    // it has no others up to this number
	More    bool     // and maybe some behind it
}

// An Outgoing is an entry of a change. It is kept with that, until it is in the replicated history.
type Outgoing struct {
	Number int64 // of the change
	Name   string
	Entry  []byte

	body []byte // of the op that nodes get at once
}

// outgoing makes the entry of a change, and numbers it.
func (h *Hall) outgoing(name, key, kind string, body any) *Outgoing {
	data := encode(kind, body)
	return &Outgoing{Number: h.nextID(), Name: name, Entry: entryOf(key, data), body: data}
}

// shareChange gives a change that was made here to all nodes, and to those that are away as an entry.
func (h *Hall) shareChange(kind string, o *Outgoing) {
	h.net.putAll(kind, o.body, nil)
	h.net.wire.Append(o.Name, o.Entry, 0, o.Number)
}

// shareRecord has all nodes keep a record. It is written once.
func (h *Hall) shareRecord(r *Record) {
	data := encode("record", r)
	h.net.putAll("record", data, []int64{r.ID})
	h.net.wire.Append(r.Target, entryOf("r", data), r.ID, 0)
}

// alter has a record of a target changed for a session. When that is done, the other nodes do it, too,
// also if the session has gone meanwhile.
func (h *Hall) alter(s *session, target string, w Work, then func(*Result)) {
	if h.net != nil {
		w.Out = h.outgoing(target, "w", "work", &farWork{w.Kind, w.Lookup, w.Record})
	}
	h.begin(s, w, then)
	if w.Out != nil {
		h.net.altering[h.lastWork] = w.Out
	}
}

// altered shares what was altered.
func (h *Hall) altered(r *Result) {
	if h.net == nil {
		return
	}
	o := h.net.altering[r.Number]
	delete(h.net.altering, r.Number)
	if o != nil && r.OK {
		h.shareChange("work", o)
	}
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
		h.gotWork(nil, e.Work)
	}
	if e.Marker != nil {
		h.gotMarker(nil, e.Marker)
	}
}

// gotRecord keeps what another node has kept. It may be one that was changed before it came: the
// history knows that.
func (h *Hall) gotRecord(_ *node, r *Record) {
	r.Copy = true
	h.lastID = max(h.lastID, r.ID)
	h.gate.Record(r)
}

func (h *Hall) gotWork(_ *node, w *farWork) {
	h.gate.Begin(&Work{Kind: w.Kind, Copy: true, Lookup: w.Lookup, Record: w.Record})
}
