package ircmsg

import (
	"reflect"
	"strings"
	"testing"
)

func TestTagsGet(t *testing.T) {
	tags := Tags(`a=1;b;+c/d=\s;a=2;=x;;`)
	for key, want := range map[string]string{"a": "2", "b": "", "+c/d": " "} {
		if got, ok := tags.Get(key); !ok || got != want {
			t.Errorf("%s is %q, %v", key, got, ok)
		}
	}
	for _, key := range []string{"c", "", "x", "d"} {
		if got, ok := tags.Get(key); ok {
			t.Errorf("%q is %q, and was not sent", key, got)
		}
	}
}

func TestClientOnlyTags(t *testing.T) {
	got := Tags(`+a=1;b=2;+c/d=\s;+a=3;+;+é=1;msgid=x;+a b`).ClientOnly(4)
	want := []Tag{{Key: "+a", Value: "3", Need: 4}, {Key: "+c/d", Value: " ", Need: 4}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("passed on are %v, should be %v", got, want)
	}
	if got := Tags("a;b=c").ClientOnly(4); got != nil {
		t.Errorf("passed on are %v, should be none", got)
	}
}

func TestValidTagKey(t *testing.T) {
	for _, key := range []string{"a", "+a", "A-9", "example.org/a", "+example.org/a-b", "+draft/reply"} {
		if !ValidTagKey(key) {
			t.Errorf("%q should be valid", key)
		}
	}
	for _, key := range []string{"", "+", "a b", "a;b", "a=b", "/a", "a/", "a/b/c", "a.b", "++a", "é", "a_b", "a\x00"} {
		if ValidTagKey(key) {
			t.Errorf("%q should not be valid", key)
		}
	}
}

func TestEscapes(t *testing.T) {
	for value, escaped := range map[string]string{
		"":         "",
		"a":        "a",
		"a b":      `a\sb`,
		";":        `\:`,
		":":        ":",
		`\`:        `\\`,
		"\r\n":     `\r\n`,
		`\s`:       `\\s`,
		"한=;":      `한=\:`,
		` \; \r\n`: `\s\\\:\s\\r\\n`,
	} {
		tag := string(appendTag(nil, "k", value))
		if want := strings.TrimSuffix("k="+escaped, "="); tag != want {
			t.Errorf("%q is written %q, should be %q", value, tag, want)
		}
		if got := Unescape(escaped); got != value {
			t.Errorf("%q is read as %q, should be %q", escaped, got, value)
		}
		if got := tagSize("k", value); got != len(tag) {
			t.Errorf("%q has the size %d, should have %d", tag, got, len(tag))
		}
	}
	for escaped, want := range map[string]string{`\`: "", `a\`: "a", `\a`: "a", `\\\`: `\`, `\S\:`: "S;"} {
		if got := Unescape(escaped); got != want {
			t.Errorf("%q is read as %q, should be %q", escaped, got, want)
		}
	}
}

func TestAppendTag(t *testing.T) {
	tags := AppendTag(nil, "a", "b c")
	tags = AppendTag(tags, "d", "")
	if string(tags) != `a=b\sc;d` {
		t.Errorf("tags are %q", tags)
	}
}

func BenchmarkClientOnly(b *testing.B) {
	tags := Tags("time=2030-01-01T00:00:00.000Z;+draft/reply=0123456789;+typing=active")
	b.ReportAllocs()
	for b.Loop() {
		if len(tags.ClientOnly(0)) != 2 {
			b.Fatal("tags are lost")
		}
	}
}
