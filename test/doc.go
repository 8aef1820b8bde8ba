// Package test holds in its directories what package epi promises its users, as
// tests: they see no more of it than a program does. A test's name begins with its
// case in the catalogue, docs/cases.md.
//
//	stream   the bytes of a connection, to its end; TLS, the PROXY header
//	packet   datagrams
//	socket   listening, dialling, what it costs the system; Pipe
//	times    timers, timeouts, tasks; groups
//
// They cover the library, not these packages, so that coverage is measured by
//
//	go test -coverpkg=github.com/epinet/epi ./test/...
package test
