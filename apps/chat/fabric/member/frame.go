package member

import (
	"encoding/binary"

	"github.com/epinet/epi/apps/chat/fabric"
)

// A frame is what one node sends to another:
//
//	kind     one byte; what a node does not know it drops
//	from     length and name, epoch
//	hello    to (the receiver's epoch, or 0), number of the last message to it,
//	         revision of the own record, draining (0, 1), length and version
//	over     length and name, epoch: they are over
//	data     to, number, payload up to the end
//
// Numbers are unsigned varints (encoding/binary).
type frame struct {
	kind     byte
	from     fabric.Member
	to       fabric.Epoch
	number   uint64
	revision uint64
	node     fabric.Node
	epoch    fabric.Epoch
	payload  []byte
}

// The kinds of frames.
const (
	frameHello byte = iota + 1
	frameOver
	frameData
)

func begin(kind byte, from fabric.Member, room int) []byte {
	b := append(make([]byte, 0, 64+len(from.Node)+room), kind)
	return binary.AppendUvarint(appendString(b, string(from.Node)), uint64(from.Epoch))
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func helloFrame(from fabric.Member, to fabric.Epoch, number, revision uint64) []byte {
	b := begin(frameHello, from, len(from.Version))
	b = binary.AppendUvarint(b, uint64(to))
	b = binary.AppendUvarint(b, number)
	b = binary.AppendUvarint(b, revision)
	if from.Draining {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return appendString(b, from.Version)
}

func overFrame(from fabric.Member, node fabric.Node, epoch fabric.Epoch) []byte {
	b := appendString(begin(frameOver, from, len(node)), string(node))
	return binary.AppendUvarint(b, uint64(epoch))
}

func dataFrame(from fabric.Member, to fabric.Epoch, number uint64, payload []byte) []byte {
	b := begin(frameData, from, len(payload))
	b = binary.AppendUvarint(b, uint64(to))
	b = binary.AppendUvarint(b, number)
	return append(b, payload...)
}

// parse takes a frame apart. What follows the last field of a kind is of a later version
// and ignored.
func parse(data []byte) (f frame, ok bool) {
	r := reader{data: data}
	f.kind = r.byte()
	f.from.Node = fabric.Node(r.string())
	f.from.Epoch = fabric.Epoch(r.number())
	switch f.kind {
	case frameHello:
		f.to = fabric.Epoch(r.number())
		f.number = r.number()
		f.revision = r.number()
		f.from.Draining = r.byte() == 1
		f.from.Version = r.string()
	case frameOver:
		f.node = fabric.Node(r.string())
		f.epoch = fabric.Epoch(r.number())
	case frameData:
		f.to = fabric.Epoch(r.number())
		f.number = r.number()
		f.payload = r.data
	}
	return f, !r.short && f.from.Node != ""
}

// A reader takes fields off the front. After a field that is cut off all are zero.
type reader struct {
	data  []byte
	short bool
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.short, r.data = true, nil
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) byte() byte {
	if len(r.data) == 0 {
		r.short = true
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *reader) string() string {
	n := r.number()
	if n > uint64(len(r.data)) {
		r.short, r.data = true, nil
		return ""
	}
	s := string(r.data[:n])
	r.data = r.data[n:]
	return s
}
