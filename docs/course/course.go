// Package course holds the pages of the course: a chapter for each section of the
// deck that epi comes from, in English and in Korean, and their pictures.
package course

import "embed"

// Pages are README.md, en, ko and pictures.
//
//go:generate go run ./draw pictures
//go:embed README.md en ko pictures
var Pages embed.FS
