// The program gen writes what follows from the table of messages: the codecs in Go
// and in JavaScript, the page of the protocol, and golden vectors. Run it by
// go generate in apps/world/proto.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := ".." // apps/world
	if len(os.Args) > 1 {
		root = os.Args[1] // where to write instead, for the test that compares
	}
	for file, text := range files() {
		path := filepath.Join(root, file)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, text, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "gen:", err)
			os.Exit(1)
		}
	}
}

// files are what is generated, by their place below apps/world.
func files() map[string][]byte {
	return map[string][]byte{
		"proto/codec.go":               goCodec(),
		"web/proto.js":                 jsCodec(),
		"../../docs/world-protocol.md": page(),
		"proto/testdata/vectors.json":  vectors(),
	}
}
