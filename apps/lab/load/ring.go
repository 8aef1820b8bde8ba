package load

// A ring is a queue. It grows to what is needed and stays.
type ring[T any] struct {
	items []T // length 0 or a power of two
	head  int
	n     int
}

func (r *ring[T]) push(v T) {
	if r.n == len(r.items) {
		bigger := make([]T, max(1, 2*r.n))
		for i := range r.n {
			bigger[i] = *r.at(i)
		}
		r.items, r.head = bigger, 0
	}
	r.n++
	*r.at(r.n - 1) = v
}

// at returns the i-th item, which is there.
func (r *ring[T]) at(i int) *T { return &r.items[(r.head+i)&(len(r.items)-1)] }

// pop takes the first item, which is there.
func (r *ring[T]) pop() T {
	v := *r.at(0)
	var none T
	*r.at(0) = none
	r.head = (r.head + 1) & (len(r.items) - 1)
	r.n--
	return v
}
