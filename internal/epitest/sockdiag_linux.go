package epitest

import (
	"encoding/binary"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// AwaitReset waits until the other end of c, a TCP client of this machine that
// was Reset, has learned of it: the kernel finds no such connection any more.
func AwaitReset(t *testing.T, c net.Conn) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	request := diagRequest(c.RemoteAddr().(*net.TCPAddr), c.LocalAddr().(*net.TCPAddr))
	WaitUntil(t, "the reset arrives", func() bool {
		if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 4<<10)
		n, err := unix.Read(fd, answer)
		if err != nil || n < unix.SizeofNlMsghdr+4 {
			t.Fatalf("sock_diag answers with %d bytes, %v", n, err)
		}
		// Where the connection is gone the kernel may still find its listener.
		if binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
			return answer[diagState] == unix.BPF_TCP_LISTEN
		}
		errno := unix.Errno(-int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])))
		if errno != unix.ENOENT {
			t.Fatalf("sock_diag: %v", errno)
		}
		return true
	})
}

// diagState is where an answer has the socket's state: in inet_diag_msg, behind
// the header and the family (sock_diag(7)).
const diagState = unix.SizeofNlMsghdr + 1

// diagRequest asks for one IPv4 connection: a netlink header and an
// inet_diag_req_v2 (sock_diag(7)).
func diagRequest(local, remote *net.TCPAddr) []byte {
	const sockDiagByFamily = 20
	const size = unix.SizeofNlMsghdr + 56
	b := make([]byte, 0, size)
	b = binary.NativeEndian.AppendUint32(b, size)
	b = binary.NativeEndian.AppendUint16(b, sockDiagByFamily)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST)
	b = append(b, make([]byte, 8)...) // sequence, port
	b = append(b, unix.AF_INET, unix.IPPROTO_TCP, 0, 0)
	b = append(b, 0xff, 0xff, 0xff, 0xff) // all states
	b = binary.BigEndian.AppendUint16(b, uint16(local.Port))
	b = binary.BigEndian.AppendUint16(b, uint16(remote.Port))
	for _, addr := range []*net.TCPAddr{local, remote} {
		b = append(b, addr.IP.To4()...)
		b = append(b, make([]byte, 12)...) // room for IPv6
	}
	b = append(b, 0, 0, 0, 0)                                        // any interface
	return append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // no cookie
}
