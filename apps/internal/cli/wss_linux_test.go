package cli

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

const upgradeRequest = "GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// expectMessageEcho makes a WebSocket of c, on which a message comes back.
func expectMessageEcho(t *testing.T, c net.Conn) {
	t.Helper()
	masked := append([]byte{0x81, 0x85, 0, 0, 0, 0}, "hello"...) // a text of 5 bytes, with the mask 0
	plain := append([]byte{0x81, 0x05}, "hello"...)
	epitest.Say(t, c, upgradeRequest+string(masked))
	var got []byte
	for one := make([]byte, 1); !bytes.HasSuffix(got, plain); got = append(got, one...) {
		if _, err := io.ReadFull(c, one); err != nil {
			t.Fatalf("%q, then %v", got, err)
		}
	}
	if !bytes.HasPrefix(got, []byte("HTTP/1.1 101 ")) {
		t.Errorf("the answer is %q", got)
	}
}

// A message comes back over wss:// on every driver, from loops and from workers.
func TestEchoOverSecureWebSocket(t *testing.T) {
	drivers := []string{"select", "poll", "epoll-level", "epoll-edge", "epoll-oneshot"}
	if epitest.UringMissing() == "" {
		drivers = append(drivers, "uring")
	}
	for _, driver := range drivers {
		for _, workers := range []string{"0", "2"} {
			t.Run(driver+"/"+workers, func(t *testing.T) {
				p := start(t, "echo", "--json", "--driver", driver, "--workers", workers, "--listen", "wss://127.0.0.1:0/x")
				address := strings.TrimSuffix(await[startEvent](p, "start").Listen[0], "/x")
				c, _ := dialTLS(t, address)
				expectMessageEcho(t, c)
				_ = c.Close()
				p.signal(syscall.SIGTERM)
				p.end(exitDone)
			})
		}
	}
}

// The longest message comes back, also where another address comes first: with
// that the engine begins. A longer one is refused by code 1009.
func TestHostile05_LongestMessageComesBack(t *testing.T) {
	for _, test := range []struct {
		name    string
		flags   []string
		longest int
	}{
		{"default", nil, echoMessage},
		{"flag", []string{"--max-message", "16MiB"}, 16 << 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := start(t, append([]string{"echo", "--json", "--listen", "tcp://127.0.0.1:0", "--listen", "ws://127.0.0.1:0"}, test.flags...)...)
			place := strings.TrimPrefix(await[startEvent](p, "start").Listen[1], "ws://")
			c := dial(t, "tcp://"+place)
			expectMessageEcho(t, c)
			size := binary.BigEndian.AppendUint64(nil, uint64(test.longest))
			message := epitest.Pattern(test.longest)
			sent := make(chan error, 1)
			go func() {
				_, err := c.Write(slices.Concat([]byte{0x82, 0xff}, size, []byte{0, 0, 0, 0}, message))
				sent <- err
			}()
			got := make([]byte, 2+len(size)+len(message))
			if n, err := io.ReadFull(c, got); err != nil {
				t.Fatalf("%d bytes, then %v", n, err)
			}
			if want := slices.Concat([]byte{0x82, 0x7f}, size, message); !bytes.Equal(got, want) {
				t.Error("another message comes back")
			}
			if err := epitest.Receive(t, sent); err != nil {
				t.Error(err)
			}
			_ = c.Close()

			c = dial(t, "tcp://"+place)
			expectMessageEcho(t, c)
			epitest.Say(t, c, string(slices.Concat([]byte{0x82, 0xff}, binary.BigEndian.AppendUint64(nil, uint64(test.longest)+1), []byte{0, 0, 0, 0})))
			closing := make([]byte, 4)
			if _, err := io.ReadFull(c, closing); err != nil || closing[0] != 0x88 || binary.BigEndian.Uint16(closing[2:]) != 1009 {
				t.Errorf("the answer is %x, %v", closing, err)
			}
			_ = c.Close()
			p.signal(syscall.SIGTERM)
			p.end(exitDone)
		})
	}
}
