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
}

// A farWork is a change of the history, which all nodes make.
type farWork struct {
	Kind   WorkKind `json:"k"`
	Lookup *Lookup  `json:"l,omitempty"`
	Record *Record  `json:"r,omitempty"`
}

// shareRecord has all nodes keep a record.
func (h *Hall) shareRecord(r *Record) {
	h.share(r.Target, "record", r, entry{Record: r}, []int64{r.ID})
}

// shareWork has the other nodes change a record of a target as it was changed here.
func (h *Hall) shareWork(target string, w *Work) {
	if h.net == nil {
		return
	}
	far := &farWork{w.Kind, w.Lookup, w.Record}
	h.share(target, "work", far, entry{Work: far}, nil)
}

func (h *Hall) share(target, kind string, body any, e entry, records []int64) {
	h.net.postAll(kind, body, records)
	data, err := json.Marshal(e)
	if err != nil {
		h.gate.Fault(err)
		return
	}
	h.net.wire.Append(target, data, records)
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
}

// gotRecord keeps what another node has kept.
func (h *Hall) gotRecord(_ *node, r *Record) {
	r.Copy = true
	h.lastID = max(h.lastID, r.ID)
	h.gate.Record(r)
}

func (h *Hall) gotWork(_ *node, w *farWork) {
	h.lastWork++
	h.gate.Begin(&Work{Kind: w.Kind, Number: h.lastWork, Lookup: w.Lookup, Record: w.Record})
}
