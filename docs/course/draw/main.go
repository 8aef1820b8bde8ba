// Command draw writes the pictures of the course into a directory.
package main

import (
	"log"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: draw DIRECTORY")
	}
	for name, svg := range pictures() {
		if err := os.WriteFile(filepath.Join(os.Args[1], name), []byte(svg), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
