package sock

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
)

// PacketOptions are what a socket for datagrams can have besides its address. All
// but ReadBuffer are for UDP.
type PacketOptions struct {
	ReusePort  bool         // several sockets may have one port, over which the kernel spreads the senders
	ReadBuffer int          // of the system, in bytes; 0: what it has chosen
	Groups     []netip.Addr // multicast groups to receive from
	Interface  string       // the network interface for multicast; empty: the system chooses
	DSCP       int          // code point of what is sent; 0: what the system has chosen
	Hops       int          // how many networks multicast may cross; 0: what the system has chosen

	// Control comes last, before bind; or nil.
	Control func(network, address string, c syscall.RawConn) error
}

// Prepare is the Control of a socket of package net.
func (o PacketOptions) Prepare(network, address string, c syscall.RawConn) error {
	if network == "unixgram" {
		return o.PrepareDialing(network, address, c)
	}
	if err := o.prepareUDP(network, address, c); err != nil {
		return err
	}
	if o.Control == nil {
		return nil
	}
	return o.Control(network, address, c)
}

// PrepareDialing is Prepare for a socket of package net that connects: it has an
// address of its own.
func (o PacketOptions) PrepareDialing(network, address string, c syscall.RawConn) error {
	var err error
	failed := c.Control(func(fd uintptr) { err = o.set(descriptor(fd), network == "udp6") })
	if err := errors.Join(failed, err); err != nil {
		return err
	}
	if o.Control == nil {
		return nil
	}
	return o.Control(network, address, c)
}

func (o PacketOptions) prepareUDP(network, address string, c syscall.RawConn) error {
	if o.ReusePort {
		if err := ReusePort(network, address, c); err != nil {
			return err
		}
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip, _ := netip.ParseAddr(host)
	anywhere := host == "" || ip.IsUnspecified()
	six := network == "udp6"
	failed := c.Control(func(fd uintptr) {
		if err = o.set(descriptor(fd), six); err == nil && anywhere {
			err = askLocal(descriptor(fd), six)
		}
	})
	return errors.Join(failed, err)
}

// set prepares a socket before it is bound.
func (o PacketOptions) set(fd descriptor, six bool) error {
	if o.ReadBuffer > 0 {
		if err := setPacketOption(fd, "SO_RCVBUF", syscall.SOL_SOCKET, syscall.SO_RCVBUF, o.ReadBuffer); err != nil {
			return err
		}
	}
	if len(o.Groups) > 0 {
		// Others on this machine may want to receive from the same groups, and
		// each only from its own.
		if err := setPacketOption(fd, "SO_REUSEADDR", syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
			return err
		}
		ownGroupsOnly(fd, six)
	}
	for _, group := range o.Groups {
		if err := o.join(fd, group); err != nil {
			return fmt.Errorf("join the multicast group %s: %w", group, err)
		}
	}
	return o.setSending(fd, six)
}

// setSending sets what is for datagrams that are sent.
func (o PacketOptions) setSending(fd descriptor, six bool) error {
	if o.DSCP > 0 {
		if err := setTrafficClass(uintptr(fd), six, o.DSCP<<dscpShift); err != nil {
			return fmt.Errorf("DSCP: %w", err)
		}
	}
	if o.Hops > 0 {
		level, option := syscall.IPPROTO_IP, syscall.IP_MULTICAST_TTL
		if six {
			level, option = syscall.IPPROTO_IPV6, syscall.IPV6_MULTICAST_HOPS
		}
		if err := setPacketOption(fd, "of multicast hops", level, option, o.Hops); err != nil {
			return err
		}
	}
	if o.Interface == "" {
		return nil
	}
	ifi, err := interfaceNamed(o.Interface)
	if err != nil {
		return err
	}
	if six {
		return setPacketOption(fd, "IPV6_MULTICAST_IF", syscall.IPPROTO_IPV6, syscall.IPV6_MULTICAST_IF, ifi.Index)
	}
	addr, err := addressOf(ifi)
	if err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt IP_MULTICAST_IF", syscall.SetsockoptInet4Addr(fd, syscall.IPPROTO_IP, syscall.IP_MULTICAST_IF, addr))
}

func (o PacketOptions) join(fd descriptor, group netip.Addr) error {
	ifi, err := interfaceNamed(cmp.Or(group.Zone(), o.Interface))
	if err != nil {
		return err
	}
	if group.Is6() {
		request := &syscall.IPv6Mreq{Multiaddr: group.As16()}
		if ifi != nil {
			request.Interface = uint32(ifi.Index)
		}
		return os.NewSyscallError("setsockopt IPV6_JOIN_GROUP", syscall.SetsockoptIPv6Mreq(fd, syscall.IPPROTO_IPV6, syscall.IPV6_JOIN_GROUP, request))
	}
	request := &syscall.IPMreq{Multiaddr: group.As4()}
	if ifi != nil {
		if request.Interface, err = addressOf(ifi); err != nil {
			return err
		}
	}
	return os.NewSyscallError("setsockopt IP_ADD_MEMBERSHIP", syscall.SetsockoptIPMreq(fd, syscall.IPPROTO_IP, syscall.IP_ADD_MEMBERSHIP, request))
}

// interfaceNamed finds an interface by its name or its number, as a zone may have
// it. It is nil when none is named.
func interfaceNamed(name string) (*net.Interface, error) {
	if name == "" {
		return nil, nil
	}
	ifi, err := net.InterfaceByName(name)
	if err == nil {
		return ifi, nil
	}
	if index, bad := strconv.Atoi(name); bad == nil {
		ifi, err = net.InterfaceByIndex(index)
	}
	if err != nil {
		return nil, fmt.Errorf("interface %q: %w", name, err)
	}
	return ifi, nil
}

// addressOf returns an IPv4 address of an interface: by that the options of IPv4
// name it.
func addressOf(ifi *net.Interface) ([4]byte, error) {
	addrs, err := ifi.Addrs()
	if err != nil {
		return [4]byte{}, err
	}
	for _, addr := range addrs {
		network, ok := addr.(*net.IPNet)
		if !ok {
			continue
		}
		if four := network.IP.To4(); four != nil {
			return [4]byte(four), nil
		}
	}
	return [4]byte{}, fmt.Errorf("interface %q has no IPv4 address", ifi.Name)
}

func setPacketOption(fd descriptor, name string, level, option, value int) error {
	return os.NewSyscallError("setsockopt "+name, syscall.SetsockoptInt(fd, level, option, value))
}
