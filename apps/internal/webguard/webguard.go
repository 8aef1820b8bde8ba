// Package webguard keeps the pages of other sites away from what a program serves
// over HTTP. A browser sends requests to every server that it can reach, those on
// its own machine and network among them, for whatever page it shows. Such a page
// must neither have an effect there nor read what comes back:
//
//   - A request must name the server as its Guard says, so that a page whose own
//     name was made to point here (DNS rebinding) is refused.
//   - Requests that a browser marks as another site's are refused (Fetch Metadata,
//     Sec-Fetch-Site), as are those with another site's Origin.
//   - Answers may not be embedded into other sites' pages.
//
// Programs that are no browsers send none of these headers and are not concerned,
// but for the name. It is no authentication: who can reach the server by a program
// of his own can use it.
package webguard

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// A Guard says which requests are let through. The zero value is for what only
// the machine itself looks at: GET and HEAD, to localhost or an IP address. It may
// be used by any number of goroutines.
type Guard struct {
	// Hosts are the names of the server, besides localhost and IP addresses.
	// The port of a request's Host header does not matter.
	Hosts []string
	// Knows reports whether a further name is the server's, whatever its case.
	// nil: none is.
	Knows func(name string) bool
	// Methods are those that are let through. Default: GET and HEAD.
	Methods []string
	// Links lets pages of other sites link here: the browser shows the answer in
	// a window of its own. Leave it false where a GET has an effect.
	Links bool
}

// A Refusal is the error for a request that is not let through.
type Refusal struct {
	Status int    // of the answer
	Reason string // what was wrong with the request, and the remedy
}

func (r *Refusal) Error() string { return r.Reason }

// Check returns a *Refusal for a request that is not to be let through, which may
// also be one for a WebSocket, and nil for others.
func (g *Guard) Check(r *http.Request) error {
	if methods := g.methods(); !slices.Contains(methods, r.Method) {
		return refuse(http.StatusMethodNotAllowed, "the method %.20q is not for this server: use %s", r.Method, strings.Join(methods, " or "))
	}
	if err := g.CheckHost(r); err != nil {
		return err
	}
	if site := r.Header.Values("Sec-Fetch-Site"); !ownSite(site) && !g.isLink(r) {
		return refuse(http.StatusForbidden, "a page of another site has sent this request (Sec-Fetch-Site: %.100q)", strings.Join(site, ", "))
	}
	if origin := r.Header.Values("Origin"); !ownOrigin(origin, r.Host) {
		return refuse(http.StatusForbidden, "a page of another site has sent this request (Origin: %.100q)", strings.Join(origin, ", "))
	}
	return nil
}

// CheckHost is the part of Check about the name. It is for WebSockets, whose server
// looks at the Origin by itself.
func (g *Guard) CheckHost(r *http.Request) error {
	if !g.knows(r.Host) {
		return refuse(http.StatusMisdirectedRequest, "this server is not known as %.100q: call it by its IP address, or give it this name (--admin-host, for an admin server)", r.Host)
	}
	return nil
}

func refuse(status int, format string, args ...any) error {
	return &Refusal{Status: status, Reason: fmt.Sprintf(format, args...)}
}

// Wrap returns a handler that answers what Check refuses and gives the rest to
// next, with headers that keep answers out of other sites' pages.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Referrer-Policy", "no-referrer")
		if err := g.Check(r); err != nil {
			refusal := err.(*Refusal)
			if refusal.Status == http.StatusMethodNotAllowed {
				header.Set("Allow", strings.Join(g.methods(), ", "))
			}
			http.Error(w, refusal.Reason, refusal.Status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *Guard) methods() []string {
	if g.Methods == nil {
		return []string{http.MethodGet, http.MethodHead}
	}
	return g.Methods
}

// knows reports whether the server goes by the name in a Host header. Addresses
// are no names, so nobody can make them point elsewhere.
func (g *Guard) knows(host string) bool {
	name := hostName(host)
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return strings.EqualFold(name, "localhost") ||
		slices.ContainsFunc(g.Hosts, func(known string) bool { return strings.EqualFold(name, known) }) ||
		g.Knows != nil && name != "" && g.Knows(name)
}

// hostName returns a Host header without port, brackets and the dot of the root.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	return strings.TrimSuffix(host, ".")
}

// ownSite reports whether a browser says that the request is of a page of this
// server, or of nobody's page: an address that was typed in. Another port of the
// same machine is the same site, but another server.
func ownSite(values []string) bool {
	switch len(values) {
	case 0:
		return true // no browser
	case 1:
		return values[0] == "same-origin" || values[0] == "none"
	}
	return false
}

// isLink reports whether the answer is for a window of its own, which a link or
// the like has opened, and that may be so.
func (g *Guard) isLink(r *http.Request) bool {
	header := r.Header
	return g.Links && r.Method == http.MethodGet &&
		header.Get("Sec-Fetch-Mode") == "navigate" && header.Get("Sec-Fetch-Dest") == "document"
}

// ownOrigin reports whether an Origin header, if there is one, is of this server.
// The scheme is not compared: a proxy may have taken TLS off.
func ownOrigin(values []string, host string) bool {
	switch len(values) {
	case 0:
		return true
	case 1:
		origin, err := url.Parse(values[0])
		return err == nil && origin.Host != "" && strings.EqualFold(origin.Host, host)
	}
	return false
}
