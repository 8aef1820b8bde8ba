// Package proxyheader reads the header by which a proxy says whose connection it
// passes on: both forms of the PROXY protocol (HAProxy's proxy-protocol.txt, whose
// sections are named here). It knows no socket, and not who may send a header.
package proxyheader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// What the text form begins with (section 2.1), and the binary form (section 2.2).
var (
	text      = []byte("PROXY ")
	signature = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

const (
	// maxText is the longest line, with its end (section 2.1).
	maxText = 107
	// textFields is how many words a line with addresses has, behind the first.
	textFields = 5
)

// The binary form: the signature, version and command, family and protocol, and in
// two bytes the length of what follows.
const (
	fixed       = 16
	commandByte = 12
	familyByte  = 13
	lengthByte  = 14
)

// The values of commandByte: version 2, and what the connection is.
const (
	commandLocal = 0x20 // the proxy's own
	commandProxy = 0x21
)

// The values of familyByte.
const (
	unspecified  = 0x00
	tcp4, udp4   = 0x11, 0x12
	tcp6, udp6   = 0x21, 0x22
	unix, unixgr = 0x31, 0x32
)

// A Beginning is what the first bytes of a connection can be.
type Beginning int

// The beginnings.
const (
	Other   Beginning = iota // no header
	Unclear                  // too short to decide
	Header
)

// Look reports whether data begins with a header.
func Look(data []byte) Beginning {
	switch {
	case bytes.HasPrefix(data, text), bytes.HasPrefix(data, signature):
		return Header
	case bytes.HasPrefix(text, data), bytes.HasPrefix(signature, data):
		return Unclear
	}
	return Other
}

// Size returns the size of the header that data begins with, 0 when it is not
// known yet. The header need not be there as a whole.
func Size(data []byte) (int, error) {
	switch Look(data) {
	case Other:
		return 0, errors.New("it is missing")
	case Unclear:
		return 0, nil
	}
	if isText(data) {
		return textSize(data)
	}
	if len(data) < fixed {
		return 0, nil
	}
	return fixed + int(binary.BigEndian.Uint16(data[lengthByte:])), nil
}

func isText(data []byte) bool { return bytes.HasPrefix(data, text) }

func textSize(data []byte) (int, error) {
	end := bytes.IndexByte(data[:min(len(data), maxText)], '\n')
	if end < 0 && len(data) >= maxText {
		return 0, fmt.Errorf("its line is longer than %d bytes", maxText)
	}
	return end + 1, nil
}

// Parse returns the client's address. header is as long as Size says. The address
// is not valid where the header says none of TCP: for a connection of the proxy's
// own, or one of another kind.
func Parse(header []byte) (netip.AddrPort, error) {
	if isText(header) {
		return parseText(string(header))
	}
	return parseBinary(header)
}

// parseText reads "PROXY TCP4 source destination source-port destination-port",
// with single spaces, or "PROXY UNKNOWN" and anything.
func parseText(header string) (client netip.AddrPort, err error) {
	line, ok := strings.CutSuffix(header, "\r\n")
	if !ok {
		return client, errors.New("its line does not end with CR LF")
	}
	words := strings.Split(line, " ")[1:]
	switch words[0] {
	case "UNKNOWN":
		return client, nil
	case "TCP4", "TCP6":
	default:
		return client, fmt.Errorf("it has the protocol %q, which is none of TCP4, TCP6 and UNKNOWN", words[0])
	}
	if len(words) != textFields {
		return client, fmt.Errorf("it has %d fields of %d", len(words), textFields)
	}
	client, err = parseEndpoint(words[0], words[1], words[3])
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("its source: %w", err)
	}
	if _, err := parseEndpoint(words[0], words[2], words[4]); err != nil {
		return netip.AddrPort{}, fmt.Errorf("its destination: %w", err)
	}
	return client, nil
}

func parseEndpoint(protocol, host, port string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" || addr.Is4() != (protocol == "TCP4") {
		return netip.AddrPort{}, fmt.Errorf("%q is no address of %s", host, protocol)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(number, 10) != port {
		return netip.AddrPort{}, fmt.Errorf("%q is no port", port)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), nil
}

func parseBinary(header []byte) (netip.AddrPort, error) {
	var none netip.AddrPort
	if len(header) < fixed {
		return none, errors.New("it is cut off")
	}
	command, family := header[commandByte], header[familyByte]
	switch command {
	case commandProxy:
	case commandLocal:
		return none, nil // the rest is to be ignored, the family too (section 2.2)
	default:
		return none, fmt.Errorf("it has the version and command %#02x, which is none of %#02x and %#02x", command, commandLocal, commandProxy)
	}
	size, err := addressSize(family)
	if err != nil {
		return none, err
	}
	addresses := header[fixed:]
	if len(addresses) < size {
		return none, fmt.Errorf("its addresses have %d bytes of %d", len(addresses), size)
	}
	if family == unspecified {
		return none, nil // what follows is not defined
	}
	if err := checkSum(header, addresses[size:]); err != nil {
		return none, err
	}
	return source(family, addresses), nil
}

// addressSize returns how long the addresses are. What follows them are fields of a
// type, a length and a value (section 2.2.1).
func addressSize(family byte) (int, error) {
	switch family {
	case unspecified:
		return 0, nil
	case tcp4, udp4:
		return 2*4 + 2*2, nil
	case tcp6, udp6:
		return 2*16 + 2*2, nil
	case unix, unixgr:
		return 2 * 108, nil
	}
	return 0, fmt.Errorf("it has the unknown family and protocol %#02x", family)
}

// source returns the first of the addresses, if it is one of TCP.
func source(family byte, addresses []byte) netip.AddrPort {
	switch family {
	case tcp4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(addresses)), binary.BigEndian.Uint16(addresses[2*4:]))
	case tcp6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(addresses)).Unmap(), binary.BigEndian.Uint16(addresses[2*16:]))
	}
	return netip.AddrPort{}
}

// Senders are the peers that send a header.
type Senders struct {
	Networks []netip.Prefix // of internet sockets
	Users    []uint32       // of Unix sockets
}

// HasNetwork reports whether addr is in one of the networks, in whichever of its
// two forms an IPv4 address or a network is written. A zone does not matter.
func (s *Senders) HasNetwork(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return false
	}
	mapped := netip.AddrFrom16(addr.As16())
	return slices.ContainsFunc(s.Networks, func(network netip.Prefix) bool {
		return network.Contains(addr) || network.Addr().Is4In6() && network.Contains(mapped)
	})
}
