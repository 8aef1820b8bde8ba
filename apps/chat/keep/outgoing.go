package keep

import (
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/store"
)

// Announce returns a write that also keeps out, by which other nodes get to know of it. Where out
// is nil, it returns the write itself.
func Announce(w store.Write, out *hall.Outgoing) store.Write {
	if out == nil {
		return w
	}
	return store.Announce{Write: w, Out: store.Outgoing{Number: store.ID(out.Number), Target: out.Name, Entry: string(out.Entry)}}
}

// Announced returns what Announce has kept.
func Announced(o *store.Outgoing) hall.Outgoing {
	return hall.Outgoing{Number: int64(o.Number), Name: o.Target, Entry: []byte(o.Entry)}
}
