package ws

import (
	"bytes"
	"sync"
)

// A Prepared message is encoded once, and compressed once, for any number of
// connections.
type Prepared struct {
	op         Opcode
	payload    []byte
	plain      func() []byte
	compressed [maxWindow + 1]func() []byte // nil when it does not pay
}

// Prepare makes a message ready to be sent; p must not change any more.
func Prepare(op Opcode, p []byte) *Prepared {
	m := &Prepared{op: op, payload: p}
	m.plain = sync.OnceValue(func() []byte { return encode(op, 0, p) })
	for bits := uint8(minWindow); bits <= maxWindow; bits++ {
		m.compressed[bits] = sync.OnceValue(func() []byte {
			z := deflate(p, bits)
			defer buffers.put(z)
			if z.Len() >= len(p) {
				return m.plain()
			}
			return encode(op, rsv1, z.Bytes())
		})
	}
	return m
}

func encode(op Opcode, rsv byte, p []byte) []byte {
	var b bytes.Buffer
	appendFrame(&b, op, rsv, false, p)
	return b.Bytes()
}

// Send is Write without the copy. To a server it is Write, since each frame
// to one has a mask of its own.
func (c *Conn) Send(m *Prepared) error {
	if c.with.client {
		return c.Write(m.op, m.payload)
	}
	frame := m.plain
	if c.window != 0 && len(m.payload) >= c.with.compressFrom {
		frame = m.compressed[c.window]
	}
	p := frame()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open || c.closeSent || c.over {
		return ErrClosed
	}
	return wrapClosed(c.conn.Send(p))
}
