//go:build !linux

package sock

import (
	"net/netip"
	"syscall"
)

// SharedRoom returns the size of the send buffer that the peers of a Unix socket
// for datagrams share: there is none, what they have not read lies in buffers of
// their own.
func SharedRoom(syscall.Conn) int { return 0 }

// TrafficOf returns false: these systems do not count what has moved.
func TrafficOf(syscall.Conn) (received, acked uint64, ok bool) { return 0, 0, false }

// LocalControlSize is the room that ParseLocal needs: none, package net has no
// means on these systems to say at which address a datagram has arrived, nor to
// choose from which one leaves.
const LocalControlSize = 0

// ParseLocal returns the address that a datagram was sent to: it is not known.
func ParseLocal([]byte) netip.Addr { return netip.Addr{} }

// LocalControl returns what has a datagram leave from an address: nothing does.
func LocalControl(netip.Addr) []byte { return nil }

func askLocal(descriptor, bool) error { return nil }

// ownGroupsOnly does nothing: a socket receives from no groups but its own here.
func ownGroupsOnly(descriptor, bool) {}

// WriteNow writes nothing: package net does, and waits until there is room.
func WriteNow(syscall.Conn, [][]byte) (int, error) { return 0, nil }
