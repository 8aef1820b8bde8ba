package cli

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/sock"
)

// listenForms is what --listen takes, for its help and its errors.
func (s *server) listenForms() string {
	var forms []string
	for i, name := range slices.Sorted(maps.Keys(s.schemes)) {
		if i == 0 {
			name += "://host:port"
		} else {
			name += "://"
		}
		forms = append(forms, name)
	}
	forms = append(forms, "tcp://host:port", "tcp4://", "tcp6://", "tls://", "unix:///path")
	if s.webSocket != nil {
		forms = append(forms, "ws://host:port/path", "wss://")
	}
	if s.datagrams {
		forms = append(forms, "udp://host:port", "unixgram:///path")
	}
	forms = append(forms, "fd://name", "tls+fd://name")
	if s.webSocket != nil {
		forms = append(forms, "ws+fd://name/path", "wss+fd://name/path")
	}
	if s.datagrams {
		forms = append(forms, "udp+fd://name", "unixgram+fd://name")
	}
	last := len(forms) - 1
	return strings.Join(forms[:last], ", ") + " or " + forms[last]
}

// streamSchemes are the engine's.
var streamSchemes = map[string]bool{"tcp": true, "tcp4": true, "tcp6": true, "tls": true, "unix": true}

// spokenAt returns the scheme of what is spoken at an address, whoever opens the
// socket, and what follows it.
func spokenAt(address string) (scheme, rest string) {
	scheme, rest, _ = strings.Cut(address, "://")
	if spoken, activated := passedSchemes[scheme]; activated {
		return spoken, rest
	}
	return scheme, rest
}

// engineSchemes writes addresses with the engine's schemes instead of the command's.
func (s *server) engineSchemes(addresses []string) []string {
	var all []string
	for _, address := range addresses {
		scheme, rest, ok := strings.Cut(address, "://")
		of, activated := strings.CutSuffix(scheme, "+"+fdScheme)
		switch name := s.schemes[of]; {
		case !ok || name == "":
		case activated && secureSchemes[name]:
			address = name + "+" + fdScheme + "://" + rest
		case activated:
			address = fdScheme + "://" + rest
		default:
			address = name + "://" + rest
		}
		all = append(all, address)
	}
	return all
}

// commandSchemes is the way back.
func (s *server) commandSchemes(addresses []string) []string {
	for i, address := range addresses {
		scheme, rest, _ := strings.Cut(address, "://")
		for name, of := range s.schemes {
			if of == scheme {
				addresses[i] = name + "://" + rest
			}
		}
	}
	return addresses
}

// placeOf is where clients find a listener.
func (s *server) placeOf(address, spoken string) place {
	return place{address: s.commandSchemes([]string{address})[0], secure: secureSchemes[spoken] || spoken == "unix"}
}

// listenAt listens on an address of the engine, of package ws or of systemd, and
// returns its addresses as users write them.
func (s *server) listenAt(address string) ([]string, error) {
	scheme, rest, ok := strings.Cut(address, "://")
	spoken, activated := passedSchemes[scheme]
	switch {
	case !ok:
		return nil, fmt.Errorf("listen %s: there is no scheme: write %s", address, s.listenForms())
	case activated && packetSchemes[spoken] && s.datagrams:
		return s.listenOnPassedPackets(address, spoken, rest)
	case activated && !packetSchemes[spoken]:
		return s.listenOnPassed(address, spoken, rest)
	case packetSchemes[scheme] && s.datagrams:
		return s.listenPackets(address)
	case webSocketSchemes[scheme] != "" && s.webSocket != nil:
		return s.listenWebSocket(address, scheme, rest)
	case !streamSchemes[scheme]:
		return nil, fmt.Errorf("listen %s: the scheme %q is not served: write %s", address, scheme, s.listenForms())
	}
	ln, err := s.engine.ListenWith(address, s.options, s.wave.count(s.stream(s.placeOf(address, scheme))))
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
	s.warnOfPackets(ln)
	s.addSocketFile(ln.Addr())
	return []string{ln.String()}, nil
}

// warnOfPackets says what is different with datagrams.
func (s *server) warnOfPackets(ln *epi.PacketListener) {
	warnOfForgery(s.engine.Logger, ln)
	if s.proxied() {
		s.engine.Logger.Warn("datagrams have no PROXY header: here --proxy-from has no effect, nor has --proxy-users, and a proxy's clients are not told apart", "listen", ln.String())
	}
}

// proxied reports whether connections of proxies are expected.
func (s *server) proxied() bool { return s.options.ProxyFrom != nil || s.options.ProxyUsers != nil }

// listenOnPassedPackets is listenOnPassed for datagrams.
func (s *server) listenOnPassedPackets(address, spoken, place string) ([]string, error) {
	sockets, err := openPassed(s.passed, place, (*passed).packets)
	if err != nil {
		return nil, failure{fmt.Errorf("listen %s: %w", address, err)}
	}
	var names []string
	for _, socket := range sockets {
		if network := socket.LocalAddr().Network(); network != spoken {
			return nil, failure{fmt.Errorf("listen %s: it is a %s socket: write %s+fd://", address, network, network)}
		}
		ln, err := s.engine.ListenPacketOn(socket, epi.PacketOptions{}, s.packets.open)
		if err != nil {
			return nil, failure{fmt.Errorf("listen %s: %w", address, errors.Unwrap(err))} // without the engine's address
		}
		s.warnOfPackets(ln)
		names = append(names, ln.String())
	}
	return names, nil
}

// listenOnPassed takes the socket that place names, all that are left when it
// names none, and speaks what the scheme says on them.
func (s *server) listenOnPassed(address, spoken, place string) ([]string, error) {
	options, path := s.options, ""
	var handler func(*epi.Conn) epi.Handler
	if secureSchemes[spoken] {
		options.TLS = s.engine.TLS
	}
	if webSocketSchemes[spoken] != "" {
		var err error
		if place, path, err = cutPath(place); err != nil {
			return nil, fmt.Errorf("listen %s: %w", address, err)
		}
		handler = s.openWebSocket(s.placeOf(address, spoken), path)
	} else {
		handler = s.stream(s.placeOf(address, spoken))
	}
	sockets, err := openPassed(s.passed, place, (*passed).listener)
	if err != nil {
		return nil, failure{fmt.Errorf("listen %s: %w", address, err)}
	}
	var names []string
	for _, socket := range sockets {
		ln, err := s.engine.ListenOn(socket, options, s.wave.count(handler))
		if err != nil {
			return nil, failure{fmt.Errorf("listen %s: %w", address, errors.Unwrap(err))} // without the engine's address
		}
		names = append(names, passedName(spoken, ln.Addr(), path))
	}
	return names, nil
}

// passedName is how clients write the address of a socket of systemd.
func passedName(spoken string, addr net.Addr, path string) string {
	switch network := addr.Network(); {
	case spoken == "":
		return network + "://" + addr.String()
	case network == "unix":
		return spoken + "+unix://" + addr.String() + path
	}
	return spoken + "://" + addr.String() + path
}

// addSocketFile remembers the file that listening has made.
func (s *server) addSocketFile(addr net.Addr) {
	if unix, ok := addr.(*net.UnixAddr); ok {
		s.socketFiles = append(s.socketFiles, sock.NoteSocketFile(unix.Name))
	}
}
