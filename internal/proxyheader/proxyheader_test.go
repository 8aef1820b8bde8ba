package proxyheader

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"
)

const (
	four     = "\xc0\x00\x02\x07\xc0\x00\x02\x01\x04\xd2\x00\x50" // 192.0.2.7:1234 to 192.0.2.1:80
	ip6      = " \x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	six      = ip6 + "\x07" + ip6 + "\x01\x04\xd2\x00\x50"
	mapped   = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x07"
	mapped6  = mapped + mapped + "\x04\xd2\x00\x50"
	client4  = "192.0.2.7:1234"
	client6  = "[2001:db8::7]:1234"
	noClient = ""
)

// header2 is a header of the binary form.
func header2(command, family byte, body string) string {
	fixed := append([]byte(string(signature)), command, family)
	return string(binary.BigEndian.AppendUint16(fixed, uint16(len(body)))) + body
}

func field(kind byte, value string) string {
	return string(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value)))) + value
}

// summed is a header with its checksum, which is its last field but one.
func summed(difference uint32) string {
	header := []byte(header2(commandProxy, tcp4, four+field(checksumField, "\x00\x00\x00\x00")+field(4, "")))
	sum := crc32.Checksum(header, crc32.MakeTable(crc32.Castagnoli)) + difference
	binary.BigEndian.PutUint32(header[len(header)-fieldFixed-crc32.Size:], sum)
	return string(header)
}

// headers are the seeds of the fuzz target, too. fault is a part of the error.
var headers = []struct{ name, header, client, fault string }{
	{"tcp4", "PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n", client4, ""},
	{"tcp6", "PROXY TCP6 2001:db8::7 2001:db8::1 1234 80\r\n", client6, ""},
	{"tcp6 mapped", "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 1234 80\r\n", client4, ""},
	{"unknown", "PROXY UNKNOWN\r\n", noClient, ""},
	{"unknown with more", "PROXY UNKNOWN ffff:f...f:ffff 1 2\r\n", noClient, ""},
	{"text without CR", "PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\n", noClient, "CR LF"},
	{"text without words", "PROXY \r\n", noClient, "protocol"},
	{"text in small letters", "PROXY tcp4 192.0.2.7 192.0.2.1 1234 80\r\n", noClient, "protocol"},
	{"unknown run on", "PROXY UNKNOWNS\r\n", noClient, "protocol"},
	{"too few words", "PROXY TCP4 192.0.2.7 192.0.2.1 1234\r\n", noClient, "fields"},
	{"too many words", "PROXY TCP4 192.0.2.7 192.0.2.1 1234 80 1\r\n", noClient, "fields"},
	{"two spaces", "PROXY TCP4  192.0.2.7 192.0.2.1 1234 80\r\n", noClient, "fields"},
	{"other family", "PROXY TCP4 2001:db8::7 192.0.2.1 1234 80\r\n", noClient, "source"},
	{"other family of destination", "PROXY TCP6 2001:db8::7 192.0.2.1 1234 80\r\n", noClient, "destination"},
	{"zone", "PROXY TCP6 fe80::1%1 fe80::2 1234 80\r\n", noClient, "source"},
	{"name", "PROXY TCP4 localhost 192.0.2.1 1234 80\r\n", noClient, "source"},
	{"port too large", "PROXY TCP4 192.0.2.7 192.0.2.1 65536 80\r\n", noClient, "port"},
	{"port with zeros", "PROXY TCP4 192.0.2.7 192.0.2.1 01234 80\r\n", noClient, "port"},
	{"port with a sign", "PROXY TCP4 192.0.2.7 192.0.2.1 1234 +80\r\n", noClient, "port"},

	{"binary tcp4", header2(commandProxy, tcp4, four), client4, ""},
	{"binary tcp6", header2(commandProxy, tcp6, six), client6, ""},
	{"binary tcp6 mapped", header2(commandProxy, tcp6, mapped6), client4, ""},
	{"binary udp4", header2(commandProxy, udp4, four), noClient, ""},
	{"binary udp6", header2(commandProxy, udp6, six), noClient, ""},
	{"binary unix", header2(commandProxy, unix, strings.Repeat("p", 216)), noClient, ""},
	{"binary unixgram", header2(commandProxy, unixgr, strings.Repeat("p", 216)), noClient, ""},
	{"unspecified", header2(commandProxy, unspecified, ""), noClient, ""},
	{"unspecified with bytes", header2(commandProxy, unspecified, "\x03"), noClient, ""},
	{"local", header2(commandLocal, unspecified, ""), noClient, ""},
	{"local of a family", header2(commandLocal, tcp4, four), noClient, ""},
	{"local of no known family", header2(commandLocal, 0xff, "x"), noClient, ""},
	{"version 1", header2(0x11, tcp4, four), noClient, "version"},
	{"unknown command", header2(0x22, tcp4, four), noClient, "command"},
	{"unknown family", header2(commandProxy, 0x41, four), noClient, "family"},
	{"unknown protocol", header2(commandProxy, 0x13, four), noClient, "family"},
	{"family without protocol", header2(commandProxy, 0x10, four), noClient, "family"},
	{"tcp4 too short", header2(commandProxy, tcp4, four[1:]), noClient, "11 bytes of 12"},
	{"tcp6 too short", header2(commandProxy, tcp6, four), noClient, "12 bytes of 36"},
	{"unix too short", header2(commandProxy, unix, four), noClient, "12 bytes of 216"},

	{"fields", header2(commandProxy, tcp4, four+field(4, "")+field(2, "name")), client4, ""},
	{"longest", header2(commandProxy, tcp4, four+field(4, strings.Repeat("x", 0xffff-15))), client4, ""},
	{"field without length", header2(commandProxy, tcp4, four+"\x04\x00"), noClient, "cut off"},
	{"field cut off", header2(commandProxy, tcp4, four+"\x04\x00\x01"), noClient, "cut off"},
	{"checksum", summed(0), client4, ""},
	{"wrong checksum", summed(1), noClient, "checksum"},
	{"checksum of two bytes", header2(commandProxy, tcp4, four+field(checksumField, "12")), noClient, "checksum"},
}

func TestParse(t *testing.T) {
	for _, row := range headers {
		t.Run(row.name, func(t *testing.T) {
			size, err := Size([]byte(row.header + "hello"))
			if err != nil || size != len(row.header) {
				t.Fatalf("the size is %d (%v), want %d", size, err, len(row.header))
			}
			client, err := Parse([]byte(row.header))
			if row.fault != "" {
				if err == nil || !strings.Contains(err.Error(), row.fault) || client.IsValid() {
					t.Errorf("Parse: %v, %v; want an error about %q", client, err, row.fault)
				}
				return
			}
			var want netip.AddrPort
			if row.client != noClient {
				want = netip.MustParseAddrPort(row.client)
			}
			if err != nil || client != want {
				t.Errorf("Parse: %v, %v; want %v", client, err, want)
			}
		})
	}
}

func TestSizeOfWhatIsNoHeader(t *testing.T) {
	for _, data := range []string{"GET / HTTP/1.1\r\n\r\n", "PROXIES ", "\r\n\r\nhello", text107 + "\r\n"} {
		if size, err := Size([]byte(data)); err == nil {
			t.Errorf("the size of %q is %d", data, size)
		}
	}
}

// text107 has no place for its end.
var text107 = "PROXY UNKNOWN " + strings.Repeat("x", maxText-len("PROXY UNKNOWN "))

// FuzzProxyHeader takes headers off arbitrary bytes. However they are split, the
// header ends at the same place, and what comes behind it does not matter.
func FuzzProxyHeader(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		size, err := Size(data)
		for n := range min(len(data), maxText+1) {
			part, partErr := Size(data[:n])
			if partErr != nil && err == nil || part != 0 && part != size {
				t.Fatalf("%q: the size is %d (%v), of its first %d bytes %d (%v)", data, size, err, n, part, partErr)
			}
		}
		if err == nil && size > 0 && size <= len(data) {
			if client, err := Parse(data[:size]); err != nil && client.IsValid() {
				t.Fatalf("%q: %v, though %v", data, client, err)
			}
		}
	})
}
