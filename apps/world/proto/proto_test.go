package proto_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/world/proto"
)

type vector struct {
	Name       string
	FromServer bool
	Type       string
	Message    map[string]any
	Bytes      string
	Error      string
}

func vectors(t testing.TB) (all []vector) {
	text, err := os.ReadFile("testdata/vectors.json")
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A codec reads the messages of one end.
type codec interface {
	Next(p []byte) (proto.Message, []byte, error)
}

func codecOf(fromServer bool) codec {
	if fromServer {
		return new(proto.ServerMessages)
	}
	return new(proto.ClientMessages)
}

func TestGoldenVectors(t *testing.T) {
	for _, v := range vectors(t) {
		p, err := hex.DecodeString(v.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		m, rest, err := codecOf(v.FromServer).Next(p)
		if v.Error != "" {
			want := map[string]error{"cut off": proto.ErrShort, "range": proto.ErrRange, "unknown": proto.ErrUnknown, "utf": proto.ErrText, "longer": proto.ErrRange}[v.Error]
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", v.Name, err, want)
			}
			continue
		}
		if err != nil || len(rest) != 0 {
			t.Errorf("%s: %v, %d bytes are left", v.Name, err, len(rest))
			continue
		}
		if err := m.Check(); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
		if again := m.Append(nil); !bytes.Equal(again, p) {
			t.Errorf("%s: %x is written as %x", v.Name, p, again)
		}
		if got := plain(m); !reflect.DeepEqual(got, normal(v.Message)) {
			t.Errorf("%s:\ngot  %v\nwant %v", v.Name, got, v.Message)
		}
	}
}

// plain is a message as JSON has it, with small first letters and texts for bytes.
func plain(m any) any {
	v := reflect.Indirect(reflect.ValueOf(m))
	switch v.Kind() {
	case reflect.Struct:
		fields := map[string]any{}
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if name == "ID" {
				name = "id"
			}
			fields[strings.ToLower(name[:1])+name[1:]] = plain(v.Field(i).Interface())
		}
		return fields
	case reflect.Slice:
		if b, ok := v.Interface().([]byte); ok {
			return string(b)
		}
		list := []any{}
		for i := range v.Len() {
			list = append(list, plain(v.Index(i).Interface()))
		}
		return list
	case reflect.String:
		return v.String()
	}
	return float64(v.Uint())
}

// normal is what a vector without fields means.
func normal(m map[string]any) any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// TestGeneratedFilesAreUpToDate runs the generator, and compares.
func TestGeneratedFilesAreUpToDate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "apps", "world")
	if out, err := exec.Command("go", "run", "./gen", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, file := range []string{"proto/codec.go", "proto/testdata/vectors.json", "web/proto.js", "../../docs/world-protocol.md"} {
		want, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join("..", file)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the table says: run go generate ./world/proto (%v)", file, err)
		}
	}
}

// TestJavaScriptReadsTheSameVectors runs Node's test runner.
func TestJavaScriptReadsTheSameVectors(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("it needs node: apt-get install nodejs")
	}
	out, err := exec.Command("node", "--test", "../web/proto.test.mjs").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestReadingAllocatesNothingInSteadyState(t *testing.T) {
	block := &proto.Delta{Cell: 5, Base: 2}
	for i := range uint32(50) {
		block.Moved = append(block.Moved, proto.Moved{ID: i + 1, X: uint16(i)})
		block.Left = append(block.Left, proto.Left{ID: i + 1})
	}
	p := block.Append(nil)
	var d proto.ServerMessages
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := d.Next(p); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func fuzz(f *testing.F, fromServer bool) {
	f.Fuzz(func(t *testing.T, p []byte) {
		d := codecOf(fromServer)
		for len(p) > 0 {
			m, rest, err := d.Next(p)
			if err != nil {
				return
			}
			if err := m.Check(); err != nil {
				t.Fatalf("%T was read and is not right: %v", m, err)
			}
			if again := m.Append(nil); !bytes.Equal(again, p[:len(p)-len(rest)]) {
				t.Fatalf("%T: %x is written as %x", m, p[:len(p)-len(rest)], again)
			}
			p = rest
		}
	})
}

func FuzzClientMessages(f *testing.F) { fuzz(f, false) }
func FuzzServerMessages(f *testing.F) { fuzz(f, true) }
