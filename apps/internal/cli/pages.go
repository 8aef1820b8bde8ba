package cli

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/epinet/epi/apps/internal/webguard"
	"github.com/epinet/epi/ws"
)

// guard keeps the pages of other sites away from what w serves. Of a WebSocket the
// Origin is for w to look at; but where a page's own name was made to point here, it
// is that of the Host.
func (s *server) guard(w *ws.Server) {
	g := &webguard.Guard{Knows: s.knowsHost, Links: true, Methods: s.methods}
	if w.HTTP != nil {
		w.HTTP = g.Wrap(w.HTTP)
	}
	check := w.Check
	w.Check = func(r *http.Request) error {
		var refused *webguard.Refusal
		if isBrowser := r.Header.Get("Origin") != ""; isBrowser && errors.As(g.CheckHost(r), &refused) {
			return &ws.Refusal{Status: refused.Status, Reason: refused.Reason}
		}
		if check == nil {
			return nil
		}
		return check(r)
	}
}

// knowsHost reports whether the server goes by a name: it was given by --host or
// --listen, or is in the certificate.
func (s *server) knowsHost(name string) bool {
	same := func(known string) bool { return strings.EqualFold(name, known) }
	if slices.ContainsFunc(s.hosts, same) || slices.ContainsFunc(listenHosts(s.listen), same) {
		return true
	}
	return s.engine.TLS != nil && s.security.served(s.engine.TLS).Leaf.VerifyHostname(name) == nil
}

// listenHosts returns the hosts of addresses.
func listenHosts(addresses []string) (hosts []string) {
	for _, address := range addresses {
		_, rest, _ := strings.Cut(address, "://")
		place, _, _ := strings.Cut(rest, "/")
		if host, _, err := net.SplitHostPort(place); err == nil {
			hosts = append(hosts, host)
		}
	}
	return hosts
}
