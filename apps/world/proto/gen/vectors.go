package main

import (
	"encoding/hex"
	"encoding/json"

	"github.com/epinet/epi/apps/world/proto/table"
)

// A vector is a message and its bytes, or bytes that are no message.
type vector struct {
	Name       string         `json:"name"`
	FromServer bool           `json:"fromServer"`
	Type       string         `json:"type,omitempty"`
	Message    map[string]any `json:"message,omitempty"`
	Bytes      string         `json:"bytes"`
	Error      string         `json:"error,omitempty"`
}

// vectors has every message with all its fields at their least and at their most,
// cut off, and outside each range. The bytes are written here a third time, apart
// from both codecs.
func vectors() []byte {
	var all []vector
	for i := range table.Messages {
		m := &table.Messages[i]
		for _, at := range []struct {
			name string
			most bool
		}{{"least", false}, {"most", true}} {
			e := encoder{most: at.most}
			e.u8(uint32(m.ID))
			message := e.fields(&m.Struct)
			v := vector{Name: m.Name + " at its " + at.name, FromServer: m.FromServer, Type: lower(m.Name), Message: message, Bytes: hex.EncodeToString(e.p)}
			all = append(all, v)
			if len(e.p) > 1 {
				v.Name, v.Message, v.Error = m.Name+" cut off", nil, "cut off"
				v.Bytes = v.Bytes[:len(v.Bytes)-2]
				all = append(all, v)
			}
			for _, name := range e.ranges {
				bad := encoder{most: at.most, wrong: name}
				bad.u8(uint32(m.ID))
				bad.fields(&m.Struct)
				all = append(all, vector{Name: name + " outside its range", FromServer: m.FromServer, Type: lower(m.Name), Bytes: hex.EncodeToString(bad.p), Error: "range"})
			}
		}
	}
	all = append(all,
		vector{Name: "an unknown type", FromServer: true, Bytes: "ff", Error: "unknown"},
		vector{Name: "a type of the other end", FromServer: true, Bytes: "0100", Error: "unknown"},
		vector{Name: "a text that is not UTF-8", Bytes: "0301ff", Error: "utf"},
		vector{Name: "a number longer than need be", Bytes: "038100", Error: "longer"},
		vector{Name: "a number of more than 32 bits", Bytes: "03ffffffff7f", Error: "longer"},
	)
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		panic(err)
	}
	return append(text, '\n')
}

// An encoder writes messages whose fields are at their least or most, but for the
// one that is wrong.
type encoder struct {
	p      []byte
	most   bool
	wrong  string
	ranges []string // what can be wrong
}

func (e *encoder) u8(v uint32)  { e.p = append(e.p, byte(v)) }
func (e *encoder) u16(v uint32) { e.p = append(e.p, byte(v), byte(v>>8)) }
func (e *encoder) u32(v uint32) { e.u16(v & 0xffff); e.u16(v >> 16) }

func (e *encoder) uvarint(v uint32) {
	for ; v >= 0x80; v >>= 7 {
		e.u8(v&0x7f | 0x80)
	}
	e.u8(v)
}

// pick returns a value for a field whose kind could hold up to limit.
func (e *encoder) pick(name string, least, most, limit uint32) uint32 {
	v := least
	if e.most {
		v = most
	}
	switch {
	case !e.most && least > 0:
		e.ranges = append(e.ranges, name)
		if e.wrong == name {
			v = least - 1
		}
	case e.most && most < limit:
		e.ranges = append(e.ranges, name)
		if e.wrong == name {
			v = most + 1
		}
	}
	return v
}

func (e *encoder) fields(s *table.Struct) map[string]any {
	message := map[string]any{}
	for _, f := range s.Fields {
		name := s.Name + "." + f.Name
		switch f.Kind {
		case table.U8:
			v := e.pick(name, f.Min, f.Max, 1<<8-1)
			e.u8(v)
			message[lower(f.Name)] = v
		case table.U16:
			v := e.pick(name, f.Min, f.Max, 1<<16-1)
			e.u16(v)
			message[lower(f.Name)] = v
		case table.U32:
			v := e.pick(name, f.Min, f.Max, 1<<32-1)
			e.u32(v)
			message[lower(f.Name)] = v
		case table.Var:
			v := e.pick(name, f.Min, f.Max, 1<<32-1)
			e.uvarint(v)
			message[lower(f.Name)] = v
		case table.Text, table.Bytes:
			n := e.pick(name, f.Min, f.Max, 1<<32-1)
			e.uvarint(n)
			text := make([]byte, n)
			for i := range text {
				text[i] = 'a' + byte(i%26)
			}
			e.p = append(e.p, text...)
			message[lower(f.Name)] = string(text)
		case table.One:
			message[lower(f.Name)] = e.fields(f.Of)
		case table.List:
			message[lower(f.Name)] = e.list(f)
		case table.Bits:
			e.bits(s, f, message)
		}
	}
	return message
}

// list has one or two elements where it may: the longest would be long.
func (e *encoder) list(f table.Field) []any {
	n := f.Min
	if e.most {
		n = 2
	}
	e.uvarint(n)
	list := []any{}
	for range n {
		if f.Of == nil {
			v := uint32(0)
			if e.most {
				v = table.MaxCell
			}
			e.u16(v)
			list = append(list, v)
			continue
		}
		list = append(list, e.fields(f.Of))
	}
	return list
}

func (e *encoder) bits(s *table.Struct, f table.Field, message map[string]any) {
	all, shift := uint32(0), 0
	for _, p := range f.Parts {
		v := e.pick(s.Name+"."+p.Name, 0, p.Max, 1<<p.Bits-1)
		message[lower(p.Name)] = v
		all |= v << shift
		shift += int(p.Bits)
	}
	e.u32(all)
}
