package sock

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHunt15_UnixPeerThatEndsReadingGivesNoSign has what the guide says of time: while
// the socket has no room, poll reports nothing of a peer that has shut down reading,
// and only the next send meets it. With TCP there is no such thing (tcp(7)): the peer's
// host goes on taking, or resets.
func TestHunt15_UnixPeerThatEndsReadingGivesNoSign(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	own, peer := pair[0], pair[1]
	defer unix.Close(own)
	defer unix.Close(peer)
	piece := make([]byte, 64<<10)
	for err == nil {
		_, err = unix.SendmsgN(own, piece, nil, nil, unix.MSG_NOSIGNAL)
	}
	if err != unix.EAGAIN {
		t.Fatalf("filling the socket: %v", err)
	}
	if err := unix.Shutdown(peer, unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	const all = unix.POLLIN | unix.POLLOUT | unix.POLLPRI | unix.POLLRDHUP
	fds := []unix.PollFd{{Fd: int32(own), Events: all}}
	for {
		_, err = unix.Poll(fds, 0)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		t.Fatalf("poll: %v", err)
	}
	if fds[0].Revents != 0 {
		t.Skipf("poll reports %#x: this kernel gives a sign, which the guide denies", fds[0].Revents)
	}
	if _, err := unix.SendmsgN(own, piece[:1], nil, nil, unix.MSG_NOSIGNAL); !errors.Is(err, unix.EPIPE) {
		t.Errorf("the next send: %v, want EPIPE", err)
	}
}
