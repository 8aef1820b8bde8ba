// Package server serves a world on an epi.Engine: sessions on WebSockets and on
// framed TCP, the tick, and what each client is sent.
//
// A world has one loop, so that its state needs no lock: several worlds use several
// CPUs. The loop's timer is the tick:
//
//	input ─► world.Move, Say ─┐
//	                          ▼
//	tick n at start + n·dt: world.Step ─► for each session: View.Frame ─► Write
//
// The deadline of a tick is counted from the start, so that lateness does not add up.
// At most three ticks that are late are made up for, one a turn of the loop, so that
// input is read in between; what is later is dropped and counted. When ticks cost more
// than they may, the outer rings of all views are shown more seldom; when that is not
// enough, game time goes slower for everybody, to a tenth at worst.
//
// A client that does not read costs a bounded queue: while too much waits for it, it
// gets no state, and afterwards whole cells; what was said is kept, to a bound, and
// beyond it the session ends.
package server
