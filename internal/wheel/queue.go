package wheel

// A queue is a set of timers that finds its earliest member on demand: a
// pairing heap that puts off its work. It is a list of trees,
//
//	head ─ root ── root ── root          siblings are linked by next and prev
//	        │               │
//	      timer ─ timer   timer          child is the first child
//
// in which no timer is due before its parent. The prev of a first child is its
// parent, the prev of the first root is nil.
//
// Timers are pushed as single roots, so a slot that nobody asks for its
// earliest timer is a plain list, in which push and remove are a few stores.
// Only min compares. It makes one tree of all, and what it learnt is kept: when
// that root is removed, its children become roots and the rest stays ordered.
// The cost per timer is O(log n) amortised for n timers in this one queue, paid
// only by those that are asked for.
type queue struct {
	head *Timer
}

// push adds the tree t.
func (q *queue) push(t *Timer) {
	t.prev, t.next = nil, q.head
	if q.head != nil {
		q.head.prev = t
	}
	q.head = t
}

// remove takes t out; its children become roots.
func (q *queue) remove(t *Timer) {
	q.unlink(t)
	q.prepend(t.child)
	t.child = nil
}

// unlink takes the tree t out of the list it is in.
func (q *queue) unlink(t *Timer) {
	switch {
	case t.prev == nil:
		q.head = t.next
	case t.prev.child == t:
		t.prev.child = t.next
	default:
		t.prev.next = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
}

// prepend puts a list of siblings before the roots, in their order.
func (q *queue) prepend(first *Timer) {
	if first == nil {
		return
	}
	last := first
	for last.next != nil {
		last = last.next
	}
	last.next = q.head
	if q.head != nil {
		q.head.prev = last
	}
	first.prev = nil
	q.head = first
}

// min returns the earliest timer, or nil. It makes one tree of the roots by
// the two passes of a pairing heap: neighbours are melded from left to right,
// then the pairs from right to left. Both passes are what bounds the cost; one
// alone would be quadratic for some orders.
func (q *queue) min() *Timer {
	if q.head == nil || q.head.next == nil {
		return q.head
	}
	var pairs *Timer // the last pair first, linked by next
	for t := q.head; t != nil; {
		pair := t
		t = t.next
		if t != nil {
			after := t.next
			pair = meld(pair, t)
			t = after
		}
		pair.next = pairs
		pairs = pair
	}
	root := pairs
	for t := pairs.next; t != nil; {
		after := t.next
		root = meld(root, t)
		t = after
	}
	root.prev, root.next = nil, nil
	q.head = root
	return root
}

// meld makes the later of two trees the first child of the earlier, which it
// returns. The links of the result to its siblings are left to the caller.
func meld(a, b *Timer) *Timer {
	if b.before(a) {
		a, b = b, a
	}
	b.prev, b.next = a, a.child
	if a.child != nil {
		a.child.prev = b
	}
	a.child = b
	return a
}
