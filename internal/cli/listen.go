package cli

import (
	"fmt"
	"net"
	"strings"

	"github.com/epinet/epi"
)

// listenAt listens on an address of the engine, of package ws or of systemd, and
// tells how its addresses are written.
func (s *server) listenAt(address string, handler func(*epi.Conn) epi.Handler) ([]string, error) {
	scheme, rest, _ := strings.Cut(address, "://")
	switch {
	case scheme == fdScheme:
		return s.listenOnPassed(address, rest, handler)
	case packetSchemes[scheme] && s.datagrams:
		return s.listenPackets(address)
	case webSocketSchemes[scheme] != "" && s.webSocket != nil:
		return s.listenWebSocket(address, scheme, rest)
	}
	ln, err := s.engine.ListenWith(address, s.options, handler)
	if err != nil {
		return nil, listenError(err)
	}
	s.addSocketFile(ln.Addr())
	return []string{ln.String()}, nil
}

func (s *server) listenPackets(address string) ([]string, error) {
	ln, err := s.engine.ListenPacket(address, s.packets.open)
	if err != nil {
		return nil, listenError(err)
	}
	s.addSocketFile(ln.Addr())
	return []string{ln.String()}, nil
}

// listenOnPassed takes the socket that place names, all that are left when it
// names none.
func (s *server) listenOnPassed(address, place string, handler func(*epi.Conn) epi.Handler) ([]string, error) {
	sockets, err := openPassed(s.passed, place)
	if err != nil {
		return nil, failure{fmt.Errorf("listen %s: %w", address, err)}
	}
	var names []string
	for _, socket := range sockets {
		ln, err := s.engine.ListenOn(socket, s.options, handler)
		if err != nil {
			return nil, failure{fmt.Errorf("listen %s: %w", address, err)}
		}
		names = append(names, ln.String())
	}
	return names, nil
}

// addSocketFile remembers the file that listening has made.
func (s *server) addSocketFile(addr net.Addr) {
	unix, ok := addr.(*net.UnixAddr)
	if ok && !strings.HasPrefix(unix.Name, "@") { // those with @ are no files
		s.socketFiles = append(s.socketFiles, unix.Name)
	}
}
