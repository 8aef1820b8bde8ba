// Package store keeps what a chat server must not forget: accounts and their
// credentials, channels, messages, reactions, read markers, metadata, uploads, push
// subscriptions, bans, and a log of what administrators did.
//
// A [Store] has few methods: Apply does writes, in order and in one transaction;
// the others read. [Open] keeps everything in one SQLite file, [NewMemory] in
// memory. [Conform] in package storetest is what both pass.
//
// A [Writer] stands before a Store: it gathers writes from any goroutine, commits
// them in groups, and calls back in order. A message is written before anybody sees
// it, so that what was echoed is in the history, once, also when the machine loses
// its power in between.
//
// # Order
//
// A message's ID is its place in the order of the network: milliseconds since 1970
// above [IDBits] bits that count. It is unique, and it is the key of the table, so
// pages follow each other without gap or duplicate however many messages share a
// millisecond.
package store
