package address

import (
	"net"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	type parser func(string) (Address, error)
	long := "unix:///" + strings.Repeat("x", maxUnixPath)
	for _, row := range []struct {
		parse parser
		text  string
		want  Address
		fault string // a part of the error
	}{
		{Parse, "tcp://:80", Address{Network: "tcp", Port: 80}, ""},
		{Parse, "tcp4://192.0.2.7:http", Address{Network: "tcp4", Host: "192.0.2.7", Port: 80}, ""},
		{Parse, "tcp6://[fe80::1%1]:0", Address{Network: "tcp6", Host: "fe80::1%1"}, ""},
		{Parse, "tls://name.example:443", Address{Network: "tcp", TLS: true, Host: "name.example", Port: 443}, ""},
		{Parse, "unix:///run/s", Address{Network: "unix", Path: "/run/s"}, ""},
		{Parse, "127.0.0.1:80", Address{}, "no scheme"},
		{Parse, "udp://:80", Address{}, "unknown scheme"},
		{Parse, "tcp://:65536", Address{}, "bad port"},
		{Parse, "tcp://::1:80", Address{}, "too many colons"},
		{Parse, "unix://", Address{}, "no path"},
		{Parse, "unix://@", Address{}, "no name behind the @"},
		{Parse, "unix://@a\x00b", Address{}, "NUL"},
		{ParsePacket, "unixgram:///run/s\x00", Address{}, "NUL"},
		{Parse, long, Address{}, "at most"},
		{ParsePacket, "udp://:53", Address{Network: "udp", Port: 53}, ""},
		{ParsePacket, "unixgram:///run/s", Address{Network: "unixgram", Path: "/run/s"}, ""},
		{ParsePacket, "tcp://:53", Address{}, "not one for datagrams"},
		{ParsePacket, ":53", Address{}, "no scheme"},
	} {
		got, err := row.parse(row.text)
		if row.fault != "" {
			if err == nil || !strings.Contains(err.Error(), row.fault) {
				t.Errorf("%s: %v, want an error about %q", row.text, err, row.fault)
			}
			continue
		}
		if err != nil || got != row.want {
			t.Errorf("%s: %+v, %v; want %+v", row.text, got, err, row.want)
		}
	}
}

// Where no address is given, it is this machine's own.
func TestDialAddrs(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"tcp://:80", "127.0.0.1:80 [::1]:80"},
		{"tcp4://:80", "127.0.0.1:80"},
		{"tcp6://:80", "[::1]:80"},
		{"tcp://0.0.0.0:80", "127.0.0.1:80"},
		{"tcp://[::]:80", "[::1]:80"},
		{"tcp://192.0.2.7:80", "192.0.2.7:80"},
		{"unix:///run/s", "/run/s"},
	} {
		a, err := Parse(row.text)
		if err != nil {
			t.Fatal(err)
		}
		addrs, known, err := a.DialAddrs()
		if err != nil || !known || join(addrs) != row.want {
			t.Errorf("%s: %v (%v, %v), want %s", row.text, addrs, known, err, row.want)
		}
	}
	for _, text := range []string{"tcp4://[::1]:80", "tcp6://127.0.0.1:80"} {
		a, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if addrs, _, err := a.DialAddrs(); err == nil {
			t.Errorf("%s is dialled at %v", text, addrs)
		}
	}
}

func join(addrs []net.Addr) string {
	texts := make([]string, len(addrs))
	for i, addr := range addrs {
		texts[i] = addr.String()
	}
	return strings.Join(texts, " ")
}
