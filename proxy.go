package epi

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"os"
	"slices"

	"github.com/pires/go-proxyproto"
)

// proxies are the peers that send a PROXY header.
type proxies struct {
	networks []netip.Prefix // of internet sockets
	users    []uint32       // of Unix sockets
}

// newProxies returns nil when no header is to be looked for.
func newProxies(o *ListenOptions) (*proxies, error) {
	if o.ProxyFrom == nil && o.ProxyUsers == nil {
		return nil, nil
	}
	p := &proxies{users: o.ProxyUsers}
	if p.users == nil {
		p.users = []uint32{0, uint32(os.Geteuid())}
	}
	for i, prefix := range o.ProxyFrom {
		if !prefix.IsValid() {
			return nil, fmt.Errorf("ListenOptions.ProxyFrom[%d] is no network: make it by netip.ParsePrefix", i)
		}
		p.networks = append(p.networks, prefix)
	}
	return p, nil
}

// fromProxy reports whether the peer may send a PROXY header. What kind of socket
// the listener has decides what is asked: whoever cannot be told is not trusted.
func (c *Conn) fromProxy() bool {
	if !c.origin.unix {
		return c.origin.proxies.hasNetwork(c.peer.Addr())
	}
	user, err := c.credentials()
	return err == nil && slices.Contains(c.origin.proxies.users, user.UID)
}

// hasNetwork reports whether addr is in one of the networks, in whichever of its
// two forms an IPv4 address or a network is written. A zone does not matter.
func (p *proxies) hasNetwork(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return false
	}
	mapped := netip.AddrFrom16(addr.As16())
	return slices.ContainsFunc(p.networks, func(network netip.Prefix) bool {
		return network.Contains(addr) || network.Addr().Is4In6() && network.Contains(mapped)
	})
}

// The two forms of a PROXY header (the PROXY protocol, sections 2.1 and 2.2).
var (
	proxyText   = []byte("PROXY ")
	proxyBinary = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

const (
	maxProxyText    = 107 // section 2.1: the longest line
	proxyFixed      = 16  // of the binary form: signature, version, family and length
	proxyFamilyByte = 13  // where the family and the protocol are
	proxyLengthByte = 14  // where the length of what follows is, in two bytes
)

// proxyAddressSize is how long the addresses of the binary form are, by family.
// What follows them are fields of a type, a length and a value (section 2.2.1).
var proxyAddressSize = [...]int{0, 12, 36, 216}

const (
	proxyFieldFixed = 3    // type, and length in two bytes
	proxyChecksum   = 0x03 // PP2_TYPE_CRC32C
)

// proxyUnspecified is how the binary form says PROXY for a connection whose
// address is of a family that the form does not have (section 2.2).
var proxyUnspecified = append(bytes.Clone(proxyBinary), 0x21, 0x00)

// takeProxyHeader takes the header off the first bytes, and reports whether the
// connection goes on.
func (c *Conn) takeProxyHeader() bool {
	data := c.inbox.Bytes()
	if !c.extra.trusted {
		return c.takesNoProxyHeader(data)
	}
	size, err := proxyHeaderSize(data)
	switch {
	case err != nil:
		c.refuse(aborting, err)
		return false
	case size == 0 || size > len(data):
		return false
	}
	peer, err := parseProxyHeader(data[:size])
	if err != nil {
		c.refuse(aborting, fmt.Errorf("%w: %w", ErrProxyHeader, err))
		return false
	}
	if peer.IsValid() {
		c.mu.Lock()
		c.peer = peer
		c.mu.Unlock()
		if !c.enterAddress() {
			_ = c.end(aborting, fmt.Errorf("%w: MaxConnsPerIP is %d", ErrTooManyPerIP, c.loop.cfg.maxConnsPerIP))
			return false
		}
	}
	c.extra.proxy = false
	c.inbox.Keep(len(data) - size)
	if len(data) == size {
		c.dropInbox()
	}
	return true
}

// takesNoProxyHeader sees to it that a peer which may not send a header sends
// none, and reports whether the connection goes on. Of a beginning that could be
// one, nothing is handed on before the next byte.
func (c *Conn) takesNoProxyHeader(data []byte) bool {
	switch {
	case bytes.HasPrefix(data, proxyText), bytes.HasPrefix(data, proxyBinary):
		c.refuse(aborting, ErrProxyUntrusted)
		return false
	case bytes.HasPrefix(proxyText, data), bytes.HasPrefix(proxyBinary, data):
		return false
	}
	c.extra.proxy = false
	return true
}

// proxyHeaderSize returns the size of the header that data begins with, 0 when
// it cannot be told yet. The header need not be there as a whole.
func proxyHeaderSize(data []byte) (int, error) {
	switch {
	case bytes.HasPrefix(data, proxyText):
		end := bytes.IndexByte(data[:min(len(data), maxProxyText)], '\n')
		if end < 0 && len(data) >= maxProxyText {
			return 0, fmt.Errorf("%w: its line is longer than %d bytes", ErrProxyHeader, maxProxyText)
		}
		return end + 1, nil
	case bytes.HasPrefix(data, proxyBinary):
		if len(data) < proxyFixed {
			return 0, nil
		}
		return proxyFixed + int(binary.BigEndian.Uint16(data[proxyLengthByte:])), nil
	case bytes.HasPrefix(proxyText, data), bytes.HasPrefix(proxyBinary, data):
		return 0, nil
	}
	return 0, fmt.Errorf("%w: it is missing", ErrProxyHeader)
}

// parseProxyHeader returns the client's address. It is not valid where the
// header says none: for a connection of the proxy's own, or an unknown family.
func parseProxyHeader(header []byte) (netip.AddrPort, error) {
	if bytes.HasPrefix(header, proxyUnspecified) {
		return netip.AddrPort{}, nil // as for PROXY UNKNOWN; go-proxyproto refuses it
	}
	addresses, fields := splitProxyHeader(header)
	if err := checkProxySum(header, fields); err != nil {
		return netip.AddrPort{}, err
	}
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(addresses)))
	if err != nil {
		return netip.AddrPort{}, err
	}
	source, _, ok := h.TCPAddrs()
	if !ok || h.Command.IsLocal() {
		return netip.AddrPort{}, nil
	}
	peer := source.AddrPort()
	return netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()), nil
}

// splitProxyHeader returns the header without the fields of the binary form,
// which may be longer than go-proxyproto takes, and the fields.
func splitProxyHeader(header []byte) (addresses, fields []byte) {
	if !bytes.HasPrefix(header, proxyBinary) {
		return header, nil
	}
	family := int(header[proxyFamilyByte] >> 4)
	if family >= len(proxyAddressSize) || len(header) < proxyFixed+proxyAddressSize[family] {
		return header, nil // go-proxyproto says what is wrong
	}
	size := proxyAddressSize[family]
	addresses = bytes.Clone(header[:proxyFixed+size])
	binary.BigEndian.PutUint16(addresses[proxyLengthByte:], uint16(size))
	return addresses, header[proxyFixed+size:]
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkProxySum compares the header, which ends with fields, with its checksum, if
// it has one (section 2.2.3). Headers without addresses, whose fields are not
// defined, have none.
func checkProxySum(header, fields []byte) error {
	if len(fields) == 0 || header[proxyFamilyByte]>>4 == 0 {
		return nil
	}
	for len(fields) > 0 {
		if len(fields) < proxyFieldFixed {
			return errors.New("its last field is cut off")
		}
		kind, size := fields[0], int(binary.BigEndian.Uint16(fields[1:]))
		fields = fields[proxyFieldFixed:]
		if len(fields) < size {
			return fmt.Errorf("its field of type %#x is cut off", kind)
		}
		if kind == proxyChecksum {
			return compareProxySum(header, fields, size)
		}
		fields = fields[size:]
	}
	return nil
}

// compareProxySum is checkProxySum for the sum that was found, where rest begins:
// that of all bytes of the header, those of the sum being zero.
func compareProxySum(header, rest []byte, size int) error {
	if size != crc32.Size {
		return fmt.Errorf("its checksum has %d bytes, not %d", size, crc32.Size)
	}
	is := crc32.Update(0, castagnoli, header[:len(header)-len(rest)])
	is = crc32.Update(is, castagnoli, make([]byte, crc32.Size))
	is = crc32.Update(is, castagnoli, rest[crc32.Size:])
	if said := binary.BigEndian.Uint32(rest); is != said {
		return fmt.Errorf("its checksum is %#08x, that of what has arrived is %#08x", said, is)
	}
	return nil
}
