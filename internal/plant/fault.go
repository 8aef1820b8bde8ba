package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A fault is a change of one place in the source:
//
//	fault edge: the list is dropped
//	in internal/driver/readiness_linux.go
//	run ./internal/driver TestSim_Readiness
//	-	what is there
//	+	what is put in its place
//	 	what both have
//
// What is there must be there once.
type fault struct {
	list       string // where it is described
	name       string
	file       string
	pkg, tests string
	seeded     bool   // the tests know -seeds
	old, new   string // whole lines
}

// parse reads faults, between which there are empty lines. Lines that begin with #
// are comments; "run" holds for those behind it, too, as does "in".
func parse(text string) (all []fault, err error) {
	var current fault
	for number, line := range strings.Split(text, "\n") {
		if err := current.read(line, &all); err != nil {
			return nil, fmt.Errorf("line %d: %w", number+1, err)
		}
	}
	return all, current.read("", &all)
}

// read takes the next line. An empty one ends the fault.
func (f *fault) read(line string, all *[]fault) error {
	word, rest, _ := strings.Cut(line, " ")
	switch {
	case line == "":
		return f.end(all)
	case line[0] == '#':
	case line[0] == '-':
		f.old += line[1:] + "\n"
	case line[0] == '+':
		f.new += line[1:] + "\n"
	case line[0] == ' ':
		f.old += line[1:] + "\n"
		f.new += line[1:] + "\n"
	case word == "fault":
		f.name = rest
	case word == "in":
		f.file = rest
	case word == "run" || word == "enumerate":
		f.pkg, f.tests, _ = strings.Cut(rest, " ")
		f.seeded = word == "run"
	default:
		return fmt.Errorf("%q is not understood", line)
	}
	return nil
}

func (f *fault) end(all *[]fault) error {
	if f.name == "" {
		return nil
	}
	if f.file == "" || f.pkg == "" || f.old == "" || f.old == f.new {
		return errors.New("the fault has no place, no tests, or no change")
	}
	*all = append(*all, *f)
	f.name, f.old, f.new = "", "", ""
	return nil
}

// apply returns the file with the fault.
func (f fault) apply(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, f.file))
	if err != nil {
		return "", err
	}
	if n := strings.Count("\n"+string(text), "\n"+f.old); n != 1 {
		return "", fmt.Errorf("what is to be changed is in %s %d times, not once", f.file, n)
	}
	before, after, _ := strings.Cut("\n"+string(text), "\n"+f.old)
	return strings.TrimPrefix(before+"\n", "\n") + f.new + after, nil
}
