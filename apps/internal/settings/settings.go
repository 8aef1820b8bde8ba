// Package settings reads the configuration of a server: a TOML file with comments
// that has all defaults, a file of the operator's over it, and single keys over
// both.
package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// A Duration is written as time.ParseDuration reads it.
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	got, err := time.ParseDuration(string(text))
	if err != nil || got < 0 {
		return fmt.Errorf("%q is no duration: write one such as 500ms, 30s or 5m", text)
	}
	*d = Duration(got)
	return nil
}

// A File is where settings come from.
type File struct {
	Default string   // all keys, with their defaults
	Name    string   // the operator's file; empty: none
	Sets    []string // each KEY=VALUE
	Command string   // what prints Default, such as "epi chat config"
}

// Read fills into, a pointer to a struct whose fields have toml tags, with the
// defaults, with the keys of the operator's file over them, and with single keys over
// both.
func (f File) Read(into any) error {
	s := settings{reflect.ValueOf(into).Elem(), f.Command}
	if err := s.add(f.Default); err != nil {
		return fmt.Errorf("the default configuration: %w", err)
	}
	if f.Name != "" {
		text, err := os.ReadFile(f.Name)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: `%s > %s` writes the defaults there", err, f.Command, f.Name)
		}
		if err != nil {
			return err
		}
		if err := s.add(string(text)); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	for _, set := range f.Sets {
		if err := s.set(set); err != nil {
			return fmt.Errorf("--set %s: %w", set, err)
		}
	}
	return nil
}

// Key returns the value of a key with dots, for errors about it.
func Key(of any, key string) any {
	v, err := settings{reflect.ValueOf(of).Elem(), ""}.field(key)
	if err != nil {
		panic(err) // the caller names its own keys
	}
	return v.Interface()
}

// settings are a struct that is filled.
type settings struct {
	to      reflect.Value
	command string
}

// add reads the keys of a file over those that are there. A list of blocks, such
// as [[account]], replaces the one before.
func (s settings) add(text string) error {
	meta, err := toml.Decode(strings.TrimPrefix(text, "\ufeff"), s.to.Addr().Interface())
	var parse toml.ParseError
	if errors.As(err, &parse) {
		return fmt.Errorf("line %d: %s", parse.Position.Line, parse.Message)
	}
	if err != nil {
		return err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return s.unknownKey(unknown[0].String())
	}
	return nil
}

// set reads KEY=VALUE, whose value need not be quoted. KEY may name an element of
// a list of blocks, as operator.0.name; the next after the last makes a new one.
func (s settings) set(text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("write KEY=VALUE, such as server.name=irc.example.org")
	}
	key = strings.TrimSpace(key)
	field, err := s.field(key)
	if err != nil {
		return err
	}
	for _, literal := range []string{value, strconv.Quote(value), "[" + quoteEach(value) + "]"} {
		var one struct{ V toml.Primitive }
		meta, err := toml.Decode("V = "+literal, &one)
		if err != nil {
			continue
		}
		fresh := reflect.New(field.Type())
		if err := meta.PrimitiveDecode(one.V, fresh.Interface()); err == nil {
			field.Set(fresh.Elem())
			return nil
		}
	}
	return fmt.Errorf("%s takes %s, and %q is none", key, describe(field.Type()), value)
}

// quoteEach makes the parts of a list with commas TOML strings.
func quoteEach(list string) string {
	if list == "" {
		return ""
	}
	var parts []string
	for part := range strings.SplitSeq(list, ",") {
		parts = append(parts, strconv.Quote(strings.TrimSpace(part)))
	}
	return strings.Join(parts, ", ")
}

// field finds the field that a key with dots names.
func (s settings) field(key string) (reflect.Value, error) {
	at := s.to
	for part := range strings.SplitSeq(key, ".") {
		switch {
		case at.Kind() == reflect.Struct:
			i := slices.Index(tags(at.Type()), part)
			if i < 0 {
				return at, s.unknownKey(key)
			}
			at = at.Field(i)
		case at.Kind() == reflect.Slice && at.Type().Elem().Kind() == reflect.Struct && !isText(at.Type().Elem()):
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i > at.Len() {
				return at, fmt.Errorf("%s: write the number of a block from 0 to %d, and after it one of %s",
					key, at.Len(), strings.Join(tags(at.Type().Elem()), ", "))
			}
			if i == at.Len() {
				at.Set(reflect.Append(at, reflect.Zero(at.Type().Elem())))
			}
			at = at.Index(i)
		default:
			return at, s.unknownKey(key)
		}
	}
	if at.Kind() == reflect.Struct && !isText(at.Type()) {
		return at, fmt.Errorf("%s is a section: name one of its keys, %s", key, strings.Join(tags(at.Type()), ", "))
	}
	return at, nil
}

// isText reports whether values of t are written as one string.
func isText(t reflect.Type) bool {
	_, ok := reflect.New(t).Interface().(interface{ UnmarshalText([]byte) error })
	return ok
}

func tags(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("toml"))
	}
	return names
}

// describe says what a key of type t takes.
func describe(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Duration]():
		return "a duration such as 30s"
	case t == reflect.TypeFor[netip.Prefix]():
		return "a network such as 10.0.0.0/8"
	case t.Kind() == reflect.Slice:
		return "a list; each entry is " + describe(t.Elem())
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "a whole number"
	case t.Kind() == reflect.Float64:
		return "a number"
	}
	return "a text"
}

// unknownKey names the key that was perhaps meant.
func (s settings) unknownKey(key string) error {
	nearest, least := "", len(key)/2+1
	for _, known := range keys(s.to.Type(), "") {
		if d := distance(key, known); d < least {
			nearest, least = known, d
		}
	}
	if nearest == "" {
		return fmt.Errorf("the key %s is unknown; `%s` shows all", key, s.command)
	}
	return fmt.Errorf("the key %s is unknown: is %s meant?", key, nearest)
}

// keys returns all keys below prefix, with dots.
func keys(t reflect.Type, prefix string) (all []string) {
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || isText(t) {
		return []string{strings.TrimSuffix(prefix, ".")}
	}
	for i, name := range tags(t) {
		all = append(all, keys(t.Field(i).Type, prefix+name+".")...)
	}
	return all
}

// distance is Levenshtein's: how many letters differ.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}
