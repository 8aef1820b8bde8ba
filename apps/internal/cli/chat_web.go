package cli

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/epinet/epi/apps/chat/config"
	"github.com/epinet/epi/apps/chat/files"
	"github.com/epinet/epi/apps/chat/web"
	"github.com/epinet/epi/apps/chat/weblogin"
)

// pages returns what is served besides the WebSockets at a path.
func (c *chat) pages(path string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.Handle("/", web.Page(func() web.Site {
		return web.Site{Network: c.config.Server.Network, Path: cmp.Or(path, "/")}
	}))
	if c.files != nil {
		mux.Handle(files.Path, c.files)
		mux.Handle(files.Path+"/", c.files)
	}
	return mux
}

// sweepEvery is how often files that have expired are removed.
const sweepEvery = time.Hour

// openFiles opens what people have uploaded. The function that it returns ends that.
func (c *chat) openFiles() (end func(), err error) {
	if c.data == "" || !c.config.Uploads.Enabled {
		return func() {}, nil
	}
	login := weblogin.New(func() weblogin.Vault { return c.gate.Vault() })
	u := &c.config.Uploads
	ctx, cancel := context.WithCancel(context.Background())
	c.files, err = files.New(ctx, files.Config{
		Dir: filepath.Join(c.data, "files"), Store: c.store, Writer: c.writer,
		Login:  login.Account,
		Member: func(ctx context.Context, account, channel string) bool { return c.gate.IsMember(ctx, account, channel) },
		Limits: files.Limits{File: u.MaxFile, Quota: u.Quota, Keep: time.Duration(u.Keep)},
	})
	if err != nil {
		cancel()
		return nil, err
	}
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		c.sweep(ctx)
	}()
	return func() { cancel(); <-swept }, nil
}

func (c *chat) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := c.files.Sweep(ctx); err != nil && ctx.Err() == nil {
				c.engine.Logger.Error("files that have expired could not be removed", "error", err)
			}
		}
	}
}

// fileHost is the URL to which people upload files, "" when there is none.
func (c *chat) fileHost(k *config.Config) string {
	if c.data == "" || !c.config.Uploads.Enabled {
		return ""
	}
	if k.Uploads.URL != "" {
		return k.Uploads.URL
	}
	for _, scheme := range []struct{ socket, page string }{{"wss://", "https://"}, {"ws://", "http://"}} {
		for _, address := range c.listen {
			if rest, ok := strings.CutPrefix(address, scheme.socket); ok {
				place, _, _ := strings.Cut(rest, "/")
				return scheme.page + reachable(place, k.Server.Name) + files.Path
			}
		}
	}
	return ""
}

// reachable is a place to listen on as clients write it: with a name where it is any
// address of the machine.
func reachable(place, name string) string {
	host, port, err := net.SplitHostPort(place)
	if ip, bad := netip.ParseAddr(host); err != nil || host != "" && (bad != nil || !ip.IsUnspecified()) {
		return place
	}
	return net.JoinHostPort(name, port)
}
