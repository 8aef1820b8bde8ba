package ws

import (
	"sync"

	"github.com/gobwas/ws"
)

// A Prepared message is encoded once, and compressed at most once for each window
// that its receivers have, for any number of connections.
type Prepared struct {
	op         Opcode
	payload    []byte
	plain      preparedFrame
	compressed [maxWindow - minWindow + 1]preparedFrame // by the bits of the window
}

// A preparedFrame is made when the first connection needs it.
type preparedFrame struct {
	once  sync.Once
	bytes []byte
}

func (f *preparedFrame) get(encode func() []byte) []byte {
	f.once.Do(func() { f.bytes = encode() })
	return f.bytes
}

// Prepare makes a message ready to be sent; p must not change any more.
func Prepare(op Opcode, p []byte) *Prepared { return &Prepared{op: op, payload: p} }

// plainFrame returns the frame for connections without compression.
func (m *Prepared) plainFrame() []byte {
	return m.plain.get(func() []byte { return encode(m.op, 0, m.payload) })
}

// compressedFrame returns the frame for a window, a plain one when compressing
// does not pay.
func (m *Prepared) compressedFrame(window uint8) []byte {
	return m.compressed[window-minWindow].get(func() []byte {
		z := deflate(m.payload, window)
		defer buffers.put(z)
		if z.Len() >= len(m.payload) {
			return m.plainFrame()
		}
		return encode(m.op, rsv1, z.Bytes())
	})
}

func encode(op Opcode, rsv byte, p []byte) []byte {
	b := make([]byte, 0, ws.MaxHeaderSize+len(p))
	return append(appendHeader(b, op, rsv, true, len(p)), p...)
}

// Send is Write without the copy. To a server it is Write, since each frame
// to one has a mask of its own.
func (c *Conn) Send(m *Prepared) error {
	if c.with.client {
		return c.Write(m.op, m.payload)
	}
	if err := checkMessage(m.op); err != nil {
		return err
	}
	p := m.frame(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.mayWrite(true); err != nil {
		return err
	}
	if err := c.conn.Send(p); err != nil {
		return wrapClosed(err)
	}
	c.written += int64(len(p))
	return nil
}

// frame returns the frame for a connection to a client.
func (m *Prepared) frame(c *Conn) []byte {
	if c.packs(len(m.payload)) {
		return m.compressedFrame(c.window)
	}
	return m.plainFrame()
}
