package buffer

// An Inbox holds bytes that a handler has left unread. It has no lock; its
// owner guards it.
type Inbox struct {
	base []byte // pooled; base[read:] are the unread bytes
	read int
}

// Bytes returns the unread bytes, valid until the next Append or Keep.
func (in *Inbox) Bytes() []byte { return in.base[in.read:] }

// Append adds a copy of data behind the unread bytes.
func (in *Inbox) Append(p *Pool, data []byte) {
	unread := len(in.base) - in.read
	need := unread + len(data)
	switch {
	case len(in.base)+len(data) <= cap(in.base):
	case need <= cap(in.base)/2:
		// Moving fewer bytes than were consumed keeps the cost linear.
		in.base = in.base[:copy(in.base, in.base[in.read:])]
		in.read = 0
	default:
		grown := append(p.Get(max(need, 2*unread)), in.base[in.read:]...)
		p.Put(in.base)
		in.base, in.read = grown, 0
	}
	in.base = append(in.base, data...)
}

// Keep drops all but the last n unread bytes, the part not consumed.
func (in *Inbox) Keep(n int) { in.read = len(in.base) - n }
