package buffer

import "bytes"

// An Inbox holds bytes that a handler has left unread. It has no lock; its
// owner guards it.
type Inbox struct {
	base []byte // pooled; base[read:] are the unread bytes
	read int
	want int // unread bytes that are waited for; 0 when none are

	// Consumed is for the owner: the handler took something when it last could.
	Consumed bool
}

// leastRoom is the least room that Room returns: for less, a read that may bring
// what lies behind it is better.
const leastRoom = 4 << 10

// Bytes returns the unread bytes, valid until the next Append, Filled, Keep or
// Take.
func (in *Inbox) Bytes() []byte { return in.base[in.read:] }

// Held returns how many bytes the inbox costs.
func (in *Inbox) Held() int { return cap(in.base) }

// Empty reports whether nothing was put into the inbox.
func (in *Inbox) Empty() bool { return len(in.base) == 0 }

// Expect says how many unread bytes are waited for: the inbox makes room for
// them once. 0 ends it.
func (in *Inbox) Expect(n int) { in.want = n }

// Waits reports whether fewer bytes are unread than are waited for.
func (in *Inbox) Waits() bool { return in.missing() > 0 }

// missing returns how many of the bytes that are waited for have not come.
func (in *Inbox) missing() int { return in.want - (len(in.base) - in.read) }

// Fitting returns how many of n bytes that have come should be added at once: not
// more than are waited for, because what lies behind them would need a buffer of
// twice the size.
func (in *Inbox) Fitting(n int) int {
	if in.Waits() {
		return min(n, in.missing())
	}
	return n
}

// Append adds a copy of data behind the unread bytes.
func (in *Inbox) Append(p *Pool, data []byte) {
	in.grow(p, len(data))
	in.base = append(in.base, data...)
}

// grow makes room for n bytes more, or for all that are waited for.
func (in *Inbox) grow(p *Pool, n int) {
	unread := len(in.base) - in.read
	need := unread + n
	switch {
	case len(in.base)+n <= cap(in.base):
	case max(need, in.want) <= cap(in.base)/2:
		// Moving fewer bytes than were consumed keeps the cost linear.
		in.base = in.base[:copy(in.base, in.base[in.read:])]
		in.read = 0
	default:
		grown := append(p.Get(max(need, 2*unread, in.want)), in.base[in.read:]...)
		p.Put(in.base)
		in.base, in.read = grown, 0
	}
}

// Room returns where the bytes that are waited for may be received, for Filled,
// or nil when it is not worth while.
func (in *Inbox) Room(p *Pool) []byte {
	left := in.missing()
	if left < leastRoom {
		return nil
	}
	in.grow(p, left)
	return in.base[len(in.base):][:left]
}

// Filled adds the first n bytes of Room to the unread bytes.
func (in *Inbox) Filled(n int) { in.base = in.base[:len(in.base)+n] }

// Keep drops all but the last n unread bytes, the part not consumed.
func (in *Inbox) Keep(n int) { in.read = len(in.base) - n }

// Take returns n bytes; rest bytes follow them up to the end of the unread ones.
// They belong to the caller. It copies them only where they are a small part of
// the buffer, and otherwise those that follow.
func (in *Inbox) Take(p *Pool, n, rest int) []byte {
	end := len(in.base) - rest
	taken := in.base[end-n : end : end]
	in.Keep(rest)
	if n < cap(in.base)/2 {
		return bytes.Clone(taken)
	}
	following := in.Bytes()
	in.base, in.read = nil, 0
	if rest > 0 {
		in.Append(p, following)
	}
	return taken
}
