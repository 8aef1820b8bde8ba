package sim

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"strings"
)

// A coverage is which statements were reached, by block: profiles of several tests add
// up to what was reached by any of them.
type coverage map[string]block

// A block is statements that are reached together.
type block struct {
	statements int
	reached    bool
}

// read adds a profile of go test -coverprofile: after a line about the mode, lines such
// as
//
//	github.com/epinet/epi/conn.go:12.5,14.3 2 1
//
// which have a block's place, its statements, and whether it was reached.
func (c coverage) read(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "mode: ") {
			continue
		}
		var place string
		var statements, times int
		if _, err := fmt.Sscan(lines.Text(), &place, &statements, &times); err != nil {
			return fmt.Errorf("coverage profile: %q: %w", lines.Text(), err)
		}
		c[place] = block{statements, c[place].reached || times > 0}
	}
	return lines.Err()
}

// A share is how many of some statements were reached.
type share struct{ statements, reached int }

func (s *share) add(b block) {
	s.statements += b.statements
	if b.reached {
		s.reached += b.statements
	}
}

// percent is 0 of nothing.
func (s share) percent() float64 {
	if s.statements == 0 {
		return 0
	}
	return 100 * float64(s.reached) / float64(s.statements)
}

// byFile adds up blocks, for files that the simulation is to reach: not those that make
// up the simulation itself, and not the portable driver, whose goroutines wait in package net.
func (c coverage) byFile() map[string]share {
	files := map[string]share{}
	for place, b := range c {
		file, _, _ := strings.Cut(place, ":")
		file = strings.TrimPrefix(file, modulePath+"/")
		if base := path.Base(file); path.Dir(file) == "internal/driver" && (strings.HasPrefix(base, "simulated") || strings.HasPrefix(base, "portable")) {
			continue
		}
		s := files[file]
		s.add(b)
		files[file] = s
	}
	return files
}

// byPackage adds up files.
func byPackage(files map[string]share) map[string]share {
	packages := map[string]share{}
	for file, of := range files {
		s := packages[path.Dir(file)]
		s.statements += of.statements
		s.reached += of.reached
		packages[path.Dir(file)] = s
	}
	return packages
}
