// Package course holds the programs of the course in docs/course. They run on Linux.
package course

import "embed"

// Programs are the sources, in a folder for each program.
//
//go:embed */*.go
var Programs embed.FS
