package load

import (
	"context"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		target string
		want   endpoint
	}{
		{"tcp://127.0.0.1:7000", endpoint{"tcp://127.0.0.1:7000", true, true, stream, "", true}},
		{"tcp4://127.9.9.9:1", endpoint{"tcp4://127.9.9.9:1", true, true, stream, "", true}},
		{"tcp://localhost:80", endpoint{"tcp://127.0.0.1:80", true, true, stream, "", true}},
		{"tcp://:80", endpoint{"tcp://127.0.0.1:80", true, true, stream, "", true}},
		{"tcp://0.0.0.0:80", endpoint{"tcp://127.0.0.1:80", true, true, stream, "", true}},
		{"tcp6://[::1]:80", endpoint{"tcp6://[::1]:80", false, true, stream, "", true}},
		{"tcp6://[fe80::1%eth0]:80", endpoint{"tcp6://[fe80::1%eth0]:80", false, true, stream, "", false}},
		{"tls://[fe80::1%2]:80", endpoint{"tls://[fe80::1%2]:80", false, true, stream, "fe80::1", false}},
		{"udp://[::1%lo]:80", endpoint{"udp://[::1%lo]:80", false, true, datagrams, "", true}},
		{"tcp6://:80", endpoint{"tcp6://[::1]:80", false, true, stream, "", true}},
		{"tcp://[::ffff:127.0.0.1]:80", endpoint{"tcp://127.0.0.1:80", true, true, stream, "", true}},
		{"tcp://192.0.2.1:80", endpoint{"tcp://192.0.2.1:80", false, true, stream, "", false}},
		{"unix:///tmp/x", endpoint{"unix:///tmp/x", false, false, stream, "", true}},
		{"tls://127.0.0.1:7443", endpoint{"tls://127.0.0.1:7443", true, true, stream, "127.0.0.1", true}},
		{"tls://localhost:7443", endpoint{"tls://127.0.0.1:7443", true, true, stream, "localhost", true}},
		{"tls://:7443", endpoint{"tls://127.0.0.1:7443", true, true, stream, "localhost", true}},
		{"ws://localhost:80/a/b?c", endpoint{"ws://127.0.0.1:80/a/b?c", false, true, webSocket, "", true}},
		{"ws://127.0.0.1:80", endpoint{"ws://127.0.0.1:80/", false, true, webSocket, "", true}},
		{"wss://[::1]:443/", endpoint{"wss://[::1]:443/", false, true, webSocket, "::1", true}},
		{"udp://127.0.0.1:7", endpoint{"udp://127.0.0.1:7", false, true, datagrams, "", true}},
		{"udp6://:7", endpoint{"udp6://[::1]:7", false, true, datagrams, "", true}},
		{"udp://192.0.2.1:7", endpoint{"udp://192.0.2.1:7", false, true, datagrams, "", false}},
		{"unixgram:///tmp/x", endpoint{"unixgram:///tmp/x", false, false, datagrams, "", true}},
	} {
		got, err := resolve(context.Background(), c.target)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.target, got, err, c.want)
		}
	}
}

func TestConfigsThatCannotBe(t *testing.T) {
	good := []string{"tcp://127.0.0.1:7000"}
	large := sizes(t, "8MiB")
	irc := []string{"irc://127.0.0.1:6667"}
	tiny, long := sizes(t, "28"), sizes(t, "uniform:64-401")
	for _, c := range []struct {
		config Config
		word   string
	}{
		{Config{}, "no target"},
		{Config{Targets: []string{"127.0.0.1:7000"}}, "no scheme"},
		{Config{Targets: []string{"sctp://127.0.0.1:7000"}}, "unknown scheme"},
		{Config{Targets: []string{"tcp://127.0.0.1"}}, "missing port"},
		{Config{Targets: []string{"tcp://127.0.0.1:0"}}, "from 1 to 65535"},
		{Config{Targets: []string{"tcp://127.0.0.1:x"}}, "from 1 to 65535"},
		{Config{Targets: []string{"tcp4://[::1]:7000"}}, "family"},
		{Config{Targets: []string{"tcp4://[fe80::1%eth0]:7000"}}, "family"},
		{Config{Targets: []string{"unix://"}}, "no path"},
		{Config{Targets: []string{good[0], "tcp://192.0.2.1:7000"}}, "--allow-remote"},
		{Config{Targets: []string{good[0], irc[0]}}, "together"},
		{Config{Targets: good, Channels: 1}, "irc://"},
		{Config{Targets: irc, Channels: -1}, "negative"},
		{Config{Targets: irc, Await: "godot"}, "last or echo"},
		{Config{Targets: irc, Channels: 6, Conns: 11}, "at least 12"},
		{Config{Targets: irc, Channels: 6, Conns: 5, Await: AwaitEcho}, "at least 6"},
		{Config{Targets: irc, Sizes: tiny}, "29 to 400"},
		{Config{Targets: irc, Sizes: long}, "29 to 400"},
		{Config{Targets: good, Conns: -1}, "negative"},
		{Config{Targets: good, Depth: -1}, "negative"},
		{Config{Targets: good, Duration: -1}, "negative"},
		{Config{Targets: good, Conns: 5, Active: 6}, "at most 5"},
		{Config{Targets: good, Active: NoneActive, Rate: 1}, "none is active"},
		{Config{Targets: good, Active: NoneActive - 1}, "negative"},
		{Config{Targets: good, Rate: -1}, "above 0"},
		{Config{Targets: good, Rate: 1e10}, "at most 1e+09"},
		{Config{Targets: good, Sizes: large, Depth: 9}, "at most 8"},
		{Config{Targets: good, Sizes: large, Depth: 8, Conns: 65}, "at most 64"},
	} {
		err := c.config.Check(context.Background())
		if err == nil || !strings.Contains(err.Error(), c.word) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want a line with %q", c.config, err, c.word)
		}
	}
	remote := Config{Targets: []string{"tcp://192.0.2.1:7000"}, AllowRemote: true}
	if err := remote.Check(context.Background()); err != nil {
		t.Errorf("--allow-remote: %v", err)
	}
}
