package cli

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/epinet/epi/apps/chat/config"
)

// useACME has the server get its certificates itself, where the configuration says so.
func (c *chat) useACME() error {
	k := &c.config.ACME
	if len(k.Hosts) == 0 {
		return nil
	}
	if c.data == "" {
		return errors.New("acme.hosts needs a place for keys and certificates: give --data")
	}
	c.security.acme = acmeSettings{
		hosts: k.Hosts, email: k.Email, directory: k.Directory, caFile: k.CAFile, dir: filepath.Join(c.data, "acme"),
	}
	return nil
}

// opened begins what needs the listeners: certificates by ACME, and redirecting from
// HTTP, by which an authority may look, too.
func (c *chat) opened(addresses []string) (end func(), err error) {
	var plain *redirector
	if address := c.config.Listen.Redirect; address != "" {
		hosts := c.config.ACME.Hosts
		if len(hosts) == 0 {
			hosts = []string{c.config.Server.Name}
		}
		handler := toTLS(hosts, securePort(addresses))
		if c.security.automatic != nil {
			handler = c.security.automatic.answering(handler)
		}
		if plain, err = openRedirect(address, handler, c.engine.Logger); err != nil {
			return nil, failure{err}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	if c.security.automatic != nil {
		running.Go(func() { c.security.automatic.keep(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
		if plain != nil {
			plain.close()
		}
	}, nil
}

// securePort is that of the page over TLS, "" when there is none.
func securePort(addresses []string) string {
	for _, address := range addresses {
		if rest, ok := strings.CutPrefix(address, "wss://"); ok {
			place, _, _ := strings.Cut(rest, "/")
			if _, port, err := net.SplitHostPort(place); err == nil {
				return port
			}
		}
	}
	return ""
}

// strict has browsers come with TLS only from now on (RFC 6797), for as long as [sts]
// has IRC clients do so. Over a way without TLS the header would have no meaning.
func strict(policy config.STS, secure bool, next http.Handler) http.Handler {
	if !secure || policy.Port == 0 {
		return next
	}
	value := "max-age=" + strconv.FormatInt(int64(time.Duration(policy.Duration)/time.Second), 10)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Strict-Transport-Security", value)
		next.ServeHTTP(w, r)
	})
}
