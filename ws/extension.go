package ws

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// The names of RFC 7692.
const (
	deflateName            = "permessage-deflate"
	serverNoTakeover       = "server_no_context_takeover"
	clientNoTakeover       = "client_no_context_takeover"
	serverWindowBits       = "server_max_window_bits"
	clientWindowBits       = "client_max_window_bits"
	headerExtensions       = "Sec-Websocket-Extensions"
	headerProtocol         = "Sec-Websocket-Protocol"
	noTakeover             = deflateName + "; " + serverNoTakeover + "; " + clientNoTakeover
	maxExtensions          = 64                // offers in one request: more are no honest mistake
	tokenCharacters        = "!#$%&'*+-.^_`|~" // besides letters and digits (RFC 9110, section 5.6.2)
	malformedExtensionText = "malformed " + headerExtensions
)

// An extension is one element of Sec-WebSocket-Extensions.
type extension struct {
	name   string
	params []parameter
}

type parameter struct {
	name, value string
	valued      bool
}

// parseExtensions parses all header lines as the one list that they are.
func parseExtensions(lines []string) (list []extension, err error) {
	s := scanner(strings.Join(lines, ","))
	for len(list) < maxExtensions {
		s.skip(" \t,")
		if s == "" {
			return list, nil
		}
		x := extension{name: s.token()}
		if x.name == "" {
			return nil, fmt.Errorf("%s: no name", malformedExtensionText)
		}
		for s.take(';') {
			p, err := s.parameter()
			if err != nil {
				return nil, err
			}
			x.params = append(x.params, p)
		}
		list = append(list, x)
		if s != "" && s[0] != ',' {
			return nil, fmt.Errorf("%s: %q", malformedExtensionText, string(s))
		}
	}
	return nil, fmt.Errorf("%s: more than %d", malformedExtensionText, maxExtensions)
}

// A scanner is what is left of a header's value.
type scanner string

func (s *scanner) skip(set string) { *s = scanner(strings.TrimLeft(string(*s), set)) }

func (s *scanner) take(c byte) bool {
	s.skip(" \t")
	if *s == "" || (*s)[0] != c {
		return false
	}
	*s = (*s)[1:]
	s.skip(" \t")
	return true
}

// token takes a token; it is empty when there is none.
func (s *scanner) token() string {
	n := 0
	for n < len(*s) && isTokenByte((*s)[n]) {
		n++
	}
	t := string((*s)[:n])
	*s = (*s)[n:]
	s.skip(" \t")
	return t
}

func isTokenByte(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte(tokenCharacters, c) >= 0
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func (s *scanner) parameter() (p parameter, err error) {
	if p.name = s.token(); p.name == "" {
		return p, fmt.Errorf("%s: a parameter without a name", malformedExtensionText)
	}
	if !s.take('=') {
		return p, nil
	}
	p.valued = true
	if s.take('"') {
		p.value, err = s.quoted()
	} else {
		p.value = s.token()
	}
	if err == nil && !isToken(p.value) { // RFC 6455, section 9.1: also when it was quoted
		err = fmt.Errorf("%s: parameter %s has no value", malformedExtensionText, p.name)
	}
	return p, err
}

// quoted takes the rest of a quoted string.
func (s *scanner) quoted() (string, error) {
	var b strings.Builder
	for i := 0; i < len(*s); i++ {
		switch c := (*s)[i]; c {
		case '"':
			*s = (*s)[i+1:]
			s.skip(" \t")
			return b.String(), nil
		case '\\':
			if i++; i < len(*s) {
				b.WriteByte((*s)[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("%s: a quotation without an end", malformedExtensionText)
}

// deflateParams are the parameters of permessage-deflate, checked.
type deflateParams struct {
	serverNoTakeover, clientNoTakeover bool
	serverBits, clientBits             uint8 // 0: not given
	clientBitsNamed                    bool  // client_max_window_bits was there, perhaps without a value
}

// readDeflate checks parameters; it reports false when one is unknown, doubled
// or has a bad value.
func readDeflate(params []parameter) (d deflateParams, ok bool) {
	seen := map[string]bool{}
	for _, p := range params {
		if seen[p.name] {
			return d, false
		}
		seen[p.name] = true
		switch {
		case p.name == serverNoTakeover && !p.valued:
			d.serverNoTakeover = true
		case p.name == clientNoTakeover && !p.valued:
			d.clientNoTakeover = true
		case p.name == serverWindowBits:
			if d.serverBits, ok = windowBits(p.value); !ok {
				return d, false
			}
		case p.name == clientWindowBits && !p.valued:
			d.clientBitsNamed = true
		case p.name == clientWindowBits:
			d.clientBitsNamed = true
			if d.clientBits, ok = windowBits(p.value); !ok {
				return d, false
			}
		default:
			return d, false
		}
	}
	return d, true
}

// windowBits parses a number from 8 to 15 without a leading zero.
func windowBits(text string) (uint8, bool) {
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil || n < minWindow || n > maxWindow || text[0] == '0' {
		return 0, false
	}
	return uint8(n), true
}

// acceptDeflate chooses the first offer that can be met. It returns the answer,
// empty when there is none, and the bits of the server's window. No context is
// taken over in either direction: so an idle connection holds none.
func acceptDeflate(offers []extension) (answer string, window uint8) {
	for _, x := range offers {
		if !strings.EqualFold(x.name, deflateName) {
			continue
		}
		d, ok := readDeflate(x.params)
		switch {
		case !ok:
		case d.serverBits == 0:
			return noTakeover, maxWindow
		default:
			return fmt.Sprintf("%s; %s=%d", noTakeover, serverWindowBits, d.serverBits), d.serverBits
		}
	}
	return "", 0
}

// agreeDeflate checks a server's answer to noTakeover and returns the bits of
// the client's window, 0 when there is no compression.
func agreeDeflate(h http.Header, offered bool) (window uint8, err error) {
	answer, err := parseExtensions(h[headerExtensions])
	if err != nil || len(answer) == 0 {
		return 0, err
	}
	if len(answer) > 1 || !offered || !strings.EqualFold(answer[0].name, deflateName) {
		return 0, fmt.Errorf("the server answers with an extension that was not offered: %q", h[headerExtensions])
	}
	d, ok := readDeflate(answer[0].params)
	if !ok || !d.serverNoTakeover || d.clientBitsNamed {
		return 0, fmt.Errorf("the server answers %q, which does not fit the offer %q", h[headerExtensions], noTakeover)
	}
	return maxWindow, nil
}
