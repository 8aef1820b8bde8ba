package main

import (
	_ "embed"
	"strings"

	"github.com/epinet/epi/apps/world/proto/table"
)

// rules is what the tables cannot say.
//
//go:embed rules.md
var rules string

func page() []byte {
	w := &writer{}
	w.WriteString(rules)
	w.p("\n## Kinds of fields\n")
	w.p("| kind | on the wire |\n|---|---|")
	for _, k := range []table.Kind{table.U8, table.U16, table.U32, table.Var, table.Text, table.Bytes, table.List, table.Bits} {
		w.p("| %s | %s |", kindName(k), kindDoc[k])
	}
	for _, end := range []struct {
		fromServer bool
		title      string
	}{{false, "What a client sends"}, {true, "What the server sends"}} {
		w.p("\n## %s\n", end.title)
		for i := range table.Messages {
			m := &table.Messages[i]
			if m.FromServer == end.fromServer {
				w.p("### %d %s\n", m.ID, m.Name)
				fields(w, &m.Struct)
			}
		}
	}
	w.p("\n## Groups of fields\n")
	for _, s := range table.Structs {
		w.p("### %s\n", s.Name)
		fields(w, s)
	}
	return []byte(strings.TrimRight(w.String(), "\n") + "\n")
}

var kindDoc = map[table.Kind]string{
	table.U8:    "1 byte",
	table.U16:   "2 bytes, the lower one first",
	table.U32:   "4 bytes, the lowest first",
	table.Var:   "a number of at most 32 bits, 7 bits a byte, the lowest first; the high bit of a byte says that another one follows. In the shortest form only",
	table.Text:  "the length in bytes as Var, then UTF-8",
	table.Bytes: "the length as Var, then the bytes",
	table.List:  "the number of elements as Var, then the elements",
	table.Bits:  "4 bytes as U32, whose bits are the parts, the first part in the lowest bits; unused bits are 0",
}

func kindName(k table.Kind) string {
	return [...]string{table.U8: "U8", table.U16: "U16", table.U32: "U32", table.Var: "Var", table.Text: "Text", table.Bytes: "Bytes", table.List: "List", table.Bits: "Bits", table.One: "One"}[k]
}

func fields(w *writer, s *table.Struct) {
	w.p("%s\n", s.Doc)
	if len(s.Fields) == 0 {
		w.p("It has no fields.\n")
		return
	}
	w.p("| field | kind | range | meaning |\n|---|---|---|---|")
	for _, f := range s.Fields {
		kind, of := kindName(f.Kind), rangeOf(f)
		switch {
		case f.Kind == table.One:
			kind, of = f.Of.Name, "its fields in place"
		case f.Kind == table.List && f.Of != nil:
			kind = "List of " + f.Of.Name
		case f.Kind == table.List:
			kind = "List of U16"
		case f.Kind == table.Bits:
			of = ""
		}
		w.p("| %s | %s | %s | %s |", f.Name, kind, of, f.Doc)
		for _, p := range f.Parts {
			w.p("| %s.%s | %d bits | at most %d | %s |", f.Name, p.Name, p.Bits, p.Max, p.Doc)
		}
	}
	w.p("")
}
