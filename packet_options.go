package epi

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/epinet/epi/internal/sock"
)

// PacketOptions are what a PacketListener, or a socket of DialPacketWith, can have
// besides its address. But for ReadBuffer and Control they are for UDP.
type PacketOptions struct {
	// ReadBuffer is the size of the system's queue of datagrams that have arrived
	// (SO_RCVBUF, socket(7)), in bytes, each socket's own; what finds it full is
	// lost without a word. The system may give less: Linux at most
	// net.core.rmem_max. Default: what the system has chosen.
	ReadBuffer int
	// Groups are multicast addresses to receive from besides. An IPv6 address
	// may have its interface as a zone. A socket on all addresses (udp://:port)
	// receives from no other groups; other sockets on this machine may be bound
	// to the same address when they want this, too. Default: none.
	Groups []netip.Addr
	// MulticastInterface is the name of the network interface on which Groups are
	// joined, and by which multicast leaves. Default: the system chooses.
	MulticastInterface string
	// MulticastHops is how many routers may pass multicast on, and one more.
	// Default: 1, not beyond the network.
	MulticastHops int
	// DSCP marks what is sent for networks that treat some datagrams better than
	// others: a code point from 1 to 63 (RFC 2474). There is none on Windows.
	// Default: what the system has chosen.
	DSCP int
	// Control is called with each new socket before it is bound or connects, as of
	// net.ListenConfig and net.Dialer: network is udp4, udp6 or unixgram. Its error
	// ends ListenPacketWith or DialPacketWith. ListenPacketOn does not call it: such a
	// socket is bound already. What it has Linux say about each datagram (SO_TIMESTAMPING,
	// IP_RECVTOS and so on) may take 400 bytes; a datagram with more is dropped.
	Control func(network, address string, c syscall.RawConn) error
}

func (o PacketOptions) check(network string) error {
	if o.ReadBuffer < 0 || o.MulticastHops < 0 || o.MulticastHops > 255 {
		return fmt.Errorf("PacketOptions: ReadBuffer is %d and MulticastHops %d: they are to be 0 or more, and MulticastHops at most 255", o.ReadBuffer, o.MulticastHops)
	}
	if o.DSCP < 0 || o.DSCP > maxDSCP {
		return fmt.Errorf("PacketOptions.DSCP is %d: code points go from 1 to %d; 0 leaves it to the system", o.DSCP, maxDSCP)
	}
	if network == "unixgram" && (len(o.Groups) > 0 || o.MulticastInterface != "" || o.MulticastHops > 0 || o.DSCP > 0) {
		return errors.New("PacketOptions: a Unix socket knows no multicast and no marks: leave Groups, MulticastInterface, MulticastHops and DSCP out")
	}
	for _, group := range o.Groups {
		switch {
		case !group.IsMulticast():
			return fmt.Errorf("PacketOptions.Groups: %s is no multicast address", group)
		case network == "udp4" && !group.Unmap().Is4(), network == "udp6" && group.Unmap().Is4():
			return fmt.Errorf("PacketOptions.Groups: %s is not of the family that %s asks for", group, network)
		}
	}
	return nil
}

// settings are the options as the drivers take them.
func (o PacketOptions) settings(reusePort bool) sock.PacketOptions {
	groups := make([]netip.Addr, len(o.Groups))
	for i, group := range o.Groups {
		groups[i] = group.Unmap()
	}
	return sock.PacketOptions{
		ReusePort:  reusePort,
		ReadBuffer: o.ReadBuffer,
		Groups:     groups,
		Interface:  o.MulticastInterface,
		Hops:       o.MulticastHops,
		DSCP:       o.DSCP,
		Control:    o.Control,
	}
}
