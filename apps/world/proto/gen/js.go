package main

import (
	"fmt"

	"github.com/epinet/epi/apps/world/proto/table"
)

const jsHead = `// Numbers as they are written: see docs/world-protocol.md.
const utf8 = new TextEncoder();
const fromUTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

// A Reader takes values from bytes. It throws an Error that says what is wrong.
class Reader {
  constructor(bytes, at = 0) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
  }
  need(n) {
    if (this.at + n > this.bytes.length) throw new Error('the message is cut off');
    this.at += n;
    return this.at - n;
  }
  number(name, v, least, most) {
    if (v < least || v > most) throw new Error('a value is outside its range: ' + name + ' is ' + v);
    return v;
  }
  u8() { return this.view.getUint8(this.need(1)); }
  u16() { return this.view.getUint16(this.need(2), true); }
  u32() { return this.view.getUint32(this.need(4), true); }
  uvarint() {
    let v = 0;
    for (let i = 0; i < 5; i++) {
      const b = this.u8();
      v += (b & 0x7f) * 2 ** (7 * i);
      if (b < 0x80) {
        if (v > 0xffffffff || (i > 0 && b === 0)) break;
        return v;
      }
    }
    throw new Error('a value is outside its range: a number is longer than need be, or than 32 bits');
  }
  slice(name, least, most) {
    const n = this.number(name, this.uvarint(), least, most);
    const at = this.need(n);
    return this.bytes.subarray(at, at + n);
  }
  text(name, least, most) { return fromUTF8.decode(this.slice(name, least, most)); }
  count(name, least, most, size) {
    const n = this.number(name, this.uvarint(), least, most);
    if (n * size > this.bytes.length - this.at) throw new Error('the message is cut off');
    return n;
  }
}

// A Writer collects bytes.
class Writer {
  constructor() { this.bytes = []; }
  number(name, v, least, most) {
    if (!Number.isInteger(v) || v < least || v > most) throw new Error('a value is outside its range: ' + name + ' is ' + v);
    return v;
  }
  u8(v) { this.bytes.push(v); }
  u16(v) { this.bytes.push(v & 0xff, v >>> 8); }
  u32(v) { this.bytes.push(v & 0xff, (v >>> 8) & 0xff, (v >>> 16) & 0xff, v >>> 24); }
  uvarint(v) {
    for (; v >= 0x80; v = Math.floor(v / 0x80)) this.bytes.push((v % 0x80) | 0x80);
    this.bytes.push(v);
  }
  slice(name, bytes, least, most) {
    this.uvarint(this.number(name, bytes.length, least, most));
    for (const b of bytes) this.bytes.push(b);
  }
  text(name, s, least, most) { this.slice(name, utf8.encode(s), least, most); }
  done() { return new Uint8Array(this.bytes); }
}
`

func jsCodec() []byte {
	w := &writer{}
	w.p("%s\n", generated)
	w.p("export const version = %d;\n", table.Version)
	w.WriteString(jsHead)
	for _, s := range table.Structs {
		jsStruct(w, s)
	}
	for i := range table.Messages {
		jsStruct(w, &table.Messages[i].Struct)
	}
	w.p("\n// The types of messages, by their first byte, and which of them servers send.")
	w.p("export const types = {")
	for _, m := range table.Messages {
		w.p("  %d: { name: '%s', fromServer: %v, read: read%s, write: write%s },", m.ID, lower(m.Name), m.FromServer, m.Name, m.Name)
	}
	w.p("};\nconst ids = Object.fromEntries(Object.entries(types).map(([id, t]) => [t.name, Number(id)]));\n")
	w.p(`// encode returns the bytes of a message: encode('say', { text: 'hello' }).
export function encode(name, message) {
  const id = ids[name];
  if (id === undefined) throw new Error('the type of the message is unknown: ' + name);
  const w = new Writer();
  w.u8(id);
  types[id].write(w, message);
  return w.done();
}

// decode returns the messages of a frame, each with its type.
export function decode(bytes, fromServer = true) {
  const r = new Reader(bytes);
  const messages = [];
  while (r.at < bytes.length) {
    const id = r.u8();
    const type = types[id];
    if (type === undefined || type.fromServer !== fromServer) throw new Error('the type of the message is unknown: ' + id);
    messages.push({ type: type.name, ...type.read(r) });
  }
  return messages;
}`)
	return w.Bytes()
}

func jsStruct(w *writer, s *table.Struct) {
	w.p("\nfunction read%s(r) {\n  const m = {};", s.Name)
	for _, f := range s.Fields {
		name := s.Name + "." + f.Name
		to := "m." + lower(f.Name)
		switch f.Kind {
		case table.U8, table.U16, table.U32, table.Var:
			w.p("  %s = r.number('%s', r.%s(), %d, %d);", to, name, jsKind(f.Kind), f.Min, f.Max)
		case table.Text:
			w.p("  %s = r.text('%s', %d, %d);", to, name, f.Min, f.Max)
		case table.Bytes:
			w.p("  %s = r.slice('%s', %d, %d);", to, name, f.Min, f.Max)
		case table.One:
			w.p("  %s = read%s(r);", to, f.Of.Name)
		case table.List:
			w.p("  %s = [];\n  for (let n = r.count('%s', %d, %d, %d); n > 0; n--) %s.push(%s);", to, name, f.Min, f.Max, least(f), to, jsElement(f, name))
		case table.Bits:
			w.p("  const %s = r.u32();", lower(f.Name))
			shift := 0
			for _, p := range f.Parts {
				w.p("  m.%s = r.number('%s.%s', (%s >>> %d) & %d, 0, %d);", lower(p.Name), s.Name, p.Name, lower(f.Name), shift, 1<<p.Bits-1, p.Max)
				shift += int(p.Bits)
			}
			if shift < 32 {
				w.p("  r.number('%s', %s >>> %d, 0, 0);", name, lower(f.Name), shift)
			}
		}
	}
	w.p("  return m;\n}\n\nfunction write%s(w, m) {", s.Name)
	for _, f := range s.Fields {
		name := s.Name + "." + f.Name
		from := "m." + lower(f.Name)
		switch f.Kind {
		case table.U8, table.U16, table.U32, table.Var:
			w.p("  w.%s(w.number('%s', %s, %d, %d));", jsKind(f.Kind), name, from, f.Min, f.Max)
		case table.Text:
			w.p("  w.text('%s', %s, %d, %d);", name, from, f.Min, f.Max)
		case table.Bytes:
			w.p("  w.slice('%s', %s, %d, %d);", name, from, f.Min, f.Max)
		case table.One:
			w.p("  write%s(w, %s);", f.Of.Name, from)
		case table.List:
			w.p("  w.uvarint(w.number('%s', %s.length, %d, %d));", name, from, f.Min, f.Max)
			if f.Of == nil {
				w.p("  for (const v of %s) w.u16(w.number('%s', v, 0, %d));", from, name, table.MaxCell)
			} else {
				w.p("  for (const v of %s) write%s(w, v);", from, f.Of.Name)
			}
		case table.Bits:
			shift, expression := 0, ""
			for _, p := range f.Parts {
				if expression != "" {
					expression += " | "
				}
				expression += fmtBits(s.Name, p, shift)
				shift += int(p.Bits)
			}
			w.p("  w.u32((%s) >>> 0);", expression)
		}
	}
	w.p("}")
}

func jsKind(k table.Kind) string {
	return map[table.Kind]string{table.U8: "u8", table.U16: "u16", table.U32: "u32", table.Var: "uvarint"}[k]
}

// jsElement reads one element of a list.
func jsElement(f table.Field, name string) string {
	if f.Of == nil {
		return fmt.Sprintf("r.number('%s', r.u16(), 0, %d)", name, table.MaxCell)
	}
	return "read" + f.Of.Name + "(r)"
}

// fmtBits writes one part of a field of bits.
func fmtBits(structure string, p table.Part, shift int) string {
	return fmt.Sprintf("(w.number('%s.%s', m.%s, 0, %d) << %d)", structure, p.Name, lower(p.Name), p.Max, shift)
}
