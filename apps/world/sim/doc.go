// Package sim is a world without network, clock or goroutine: entities on a grid of
// cells, players that move by what they send, monsters, talk, and views: what each
// client is to get.
//
// A World is deterministic. What goes in are calls of Join, Leave, Move, Say and
// Place, between ticks, and Step; the same calls make the same world, whatever the
// number of workers, and Hash says so. [Record] keeps the calls, [Replay] makes them
// again. Randomness is a hash of the seed, the tick and the entity, so it depends on
// no order. All numbers are integers.
//
//	Move, Say, … ──► Step: think ─► move ─► change cells
//	                              │
//	View.Frame ◄── blocks: each cell that somebody sees is encoded once a tick
//
// A block is what has changed in a cell; all who see the cell get the same bytes. A
// client's state is the cells of its view and the tick of each one's last block, so
// what a frame costs does not depend on how many entities are in it, but for the
// copy.
package sim
