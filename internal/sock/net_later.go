//go:build !linux

package sock

import "syscall"

// SharedRoom returns the size of the send buffer that the peers of a Unix socket
// for datagrams share: there is none, what they have not read lies in buffers of
// their own.
func SharedRoom(syscall.Conn) int { return 0 }

// WriteNow writes nothing: package net does, and waits until there is room.
func WriteNow(syscall.Conn, [][]byte) (int, error) { return 0, nil }
