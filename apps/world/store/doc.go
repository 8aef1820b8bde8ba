// Package store keeps what a world must not forget: accounts, characters, items,
// gold, chests, trades, and what moderators did.
//
// A [Store] has few methods: Apply does writes, in order and in one transaction; the
// others read. [OpenSQLite] keeps everything in one file, [OpenPostgres] in a
// database, [NewMemory] in memory. Conform in package storetest is what all pass.
//
// A [Writer] stands before a Store: it gathers writes from the loop, commits them in
// groups on a goroutine of its own, and calls back.
//
// # Why nothing is doubled
//
// An item is a row with one owner: a player, a place on the ground, or a chest. Each
// change names the owner and the version it expects, so that of two that move one
// item only the first succeeds, the other gets [ErrStale]. A trade is one write, with
// an identifier that can be used once. Gold has a CHECK, and so has the owner. Of each
// kind the store counts what was made and destroyed, for [Store.Audit].
//
// What may be a second old (place, health, experience) is saved by [Save], which
// carries the epoch of the session and a version: an older one changes nothing.
package store
