// Package test holds what package epi promises its users, as tests: they see no
// more of it than a program does. A test's name begins with its case in the
// catalogue, docs/cases.md.
//
// They cover the library, not this package, so that coverage is measured by
//
//	go test -coverpkg=github.com/epinet/epi ./test
package test
