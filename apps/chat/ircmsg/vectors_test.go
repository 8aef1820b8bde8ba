package ircmsg

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

// vectors reads a file of ircdocs' parser tests, which are beside the
// repository where somebody has put them.
func vectors[T any](t *testing.T, name string) []T {
	t.Helper()
	path := filepath.Join("..", "..", "..", "..", "shared", "irc-parser-tests", name)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("ircdocs' parser-tests are not there: %s", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Tests []T }
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Tests) == 0 {
		t.Fatalf("%s has no tests", name)
	}
	return file.Tests
}

type atoms struct {
	Tags   map[string]string
	Source string
	Verb   string
	Params []string
}

func TestVectorsSplit(t *testing.T) {
	for _, v := range vectors[struct {
		Input string
		Atoms atoms
	}](t, "msg-split.yaml") {
		var m Message
		if err := m.Parse(v.Input, FromServer); err != nil {
			t.Errorf("%q: %v", v.Input, err)
			continue
		}
		got := atoms{Source: m.Source, Verb: m.Command, Params: m.Params}
		for key, value := range m.Tags.All() {
			if got.Tags == nil {
				got.Tags = map[string]string{}
			}
			got.Tags[key] = value
		}
		if !reflect.DeepEqual(got, v.Atoms) {
			t.Errorf("%q is\n%+v, should be\n%+v", v.Input, got, v.Atoms)
		}
	}
}

func TestVectorsJoin(t *testing.T) {
	for _, v := range vectors[struct {
		Desc    string
		Atoms   atoms
		Matches []string
	}](t, "msg-join.yaml") {
		var tags []byte
		for key, value := range v.Atoms.Tags {
			tags = AppendTag(tags, key, value)
		}
		m := Message{Tags: Tags(tags), Source: v.Atoms.Source, Command: v.Atoms.Verb, Params: v.Atoms.Params}
		line, err := m.Append(nil, FromServer)
		if err != nil {
			t.Errorf("%s: %v", v.Desc, err)
			continue
		}
		if got := string(line[:len(line)-2]); !slices.Contains(v.Matches, got) {
			t.Errorf("%s: %q is none of %q", v.Desc, got, v.Matches)
		}
	}
}

func TestVectorsMask(t *testing.T) {
	for _, v := range vectors[struct {
		Mask           string
		Matches, Fails []string
	}](t, "mask-match.yaml") {
		for _, mapping := range []Casemapping{ASCII, RFC1459, RFC1459Strict} {
			for _, s := range v.Matches {
				if !mapping.Match(v.Mask, s) {
					t.Errorf("%v: %q should match %q", mapping, v.Mask, s)
				}
			}
			for _, s := range v.Fails {
				if mapping.Match(v.Mask, s) {
					t.Errorf("%v: %q should not match %q", mapping, v.Mask, s)
				}
			}
		}
	}
}

func TestVectorsSource(t *testing.T) {
	for _, v := range vectors[struct {
		Source string
		Atoms  struct{ Nick, User, Host string }
	}](t, "userhost-split.yaml") {
		nick, user, host := SplitSource(v.Source)
		if nick != v.Atoms.Nick || user != v.Atoms.User || host != v.Atoms.Host {
			t.Errorf("%q is %q, %q, %q", v.Source, nick, user, host)
		}
	}
}

func TestVectorsHostname(t *testing.T) {
	for _, v := range vectors[struct {
		Host  string
		Valid bool
	}](t, "validate-hostname.yaml") {
		if got := ValidHostname(v.Host); got != v.Valid {
			t.Errorf("%q: %v", v.Host, got)
		}
	}
}
