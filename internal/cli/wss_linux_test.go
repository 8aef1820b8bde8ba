package cli

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

const upgradeRequest = "GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// A message comes back over wss:// on every driver, from loops and from workers.
func TestEchoOverSecureWebSocket(t *testing.T) {
	drivers := []string{"select", "poll", "epoll-level", "epoll-edge", "epoll-oneshot"}
	if epitest.UringMissing() == "" {
		drivers = append(drivers, "uring")
	}
	masked := append([]byte{0x81, 0x85, 0, 0, 0, 0}, "hello"...) // a text of 5 bytes, with the mask 0
	plain := append([]byte{0x81, 0x05}, "hello"...)
	for _, driver := range drivers {
		for _, workers := range []string{"0", "2"} {
			t.Run(driver+"/"+workers, func(t *testing.T) {
				p := start(t, "echo", "--json", "--driver", driver, "--workers", workers, "--listen", "wss://127.0.0.1:0/x")
				address := strings.TrimSuffix(await[startEvent](p, "start").Listen[0], "/x")
				c, _ := dialTLS(t, address)
				if _, err := c.Write(slices.Concat([]byte(upgradeRequest), masked)); err != nil {
					t.Fatal(err)
				}
				var got []byte
				for one := make([]byte, 1); !bytes.HasSuffix(got, plain); got = append(got, one...) {
					if _, err := io.ReadFull(c, one); err != nil {
						t.Fatalf("%q, then %v", got, err)
					}
				}
				if !bytes.HasPrefix(got, []byte("HTTP/1.1 101 ")) {
					t.Errorf("the answer is %q", got)
				}
				_ = c.Close()
				p.signal(syscall.SIGTERM)
				p.end(exitDone)
			})
		}
	}
}
