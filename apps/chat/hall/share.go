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

// shareRecord has all nodes keep a record.
func (h *Hall) shareRecord(r *Record) {
	h.share(r.Target, "record", "r", r, []int64{r.ID})
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

// shareWork has the other nodes change a record of a target as it was changed here.
func (h *Hall) shareWork(target string, w *Work) {
	if h.net == nil {
		return
	}
	far := &farWork{w.Kind, w.Lookup, w.Record}
	h.share(target, "work", "w", far, nil)
}

// share gives an op to all nodes, and to those that are away as the key of an entry. It is
// written once.
func (h *Hall) share(target, kind, key string, body any, records []int64) {
	data := encode(kind, body)
	h.net.putAll(kind, data, records)
	h.net.wire.Append(target, entryOf(key, data), records)
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
