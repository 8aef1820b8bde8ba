package ws

import "github.com/epinet/epi/internal/buffer"

// parts is where the buffers of messages under way come from. A byte that arrives and
// never becomes a message must not hold what an earlier one needed.
var parts buffer.Pool

// grow returns b with room for n bytes more. Where it moves, there is room for as
// much again.
func grow(b []byte, n int) []byte {
	need := len(b) + n
	if need <= cap(b) {
		return b
	}
	grown := append(parts.Get(max(need, 2*len(b))), b...)
	parts.Put(b)
	return grown
}
