package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/chat/api"
	"github.com/epinet/epi/apps/chat/config"
	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/files"
	"github.com/epinet/epi/apps/chat/gate"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/invite"
	"github.com/epinet/epi/apps/chat/push"
	"github.com/epinet/epi/apps/chat/web"
	"github.com/epinet/epi/apps/chat/webhook"
)

// pages returns what is served besides the WebSockets at a path.
func (c *chat) pages(path string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.Handle("/", web.Page(func() web.Site {
		site := web.Site{Network: c.config.Server.Network, Path: cmp.Or(path, "/"), Invitations: c.invitations != nil}
		if c.files != nil {
			site.Files = files.Path
		}
		return site
	}))
	if c.invitations != nil {
		mux.Handle(invite.Path, c.invitePages().Handler())
	}
	mux.Handle(api.Prefix+"/", c.api)
	if c.files != nil {
		mux.Handle(files.Path, c.files)
		mux.Handle(files.Path+"/", c.files)
	}
	return mux
}

// programs is the chat as programs see it.
type programs struct{ gate *gate.Server }

func (p programs) Users(ctx context.Context) (users []api.User, err error) {
	people, err := p.gate.People(ctx)
	for _, u := range people {
		users = append(users, api.User{Nick: u.Nick, Account: u.Account, Realname: u.Realname, Away: u.Away, Bot: u.Bot, Channels: u.Channels})
	}
	return users, err
}

func (p programs) Channels(ctx context.Context) (channels []api.Channel, err error) {
	rooms, err := p.gate.Rooms(ctx)
	for _, c := range rooms {
		channels = append(channels, api.Channel{Name: c.Name, Topic: c.Topic, Members: c.Members})
	}
	return channels, err
}

func (p programs) Post(ctx context.Context, channel, name, text string) (id string, err error) {
	id, err = p.gate.Post(ctx, channel, name, text)
	if errors.Is(err, hall.ErrPost) {
		err = &api.Refused{Reason: err.Error()}
	}
	return id, err
}

// tokens are the programs of a configuration.
func tokens(k *config.Config) (*api.Tokens, error) {
	who := &api.Tokens{}
	for _, t := range k.Tokens {
		token := api.Token{Name: t.Name, Hash: t.Hash, Channels: t.Channels}
		for _, scope := range t.Scopes {
			if !slices.Contains(api.Scopes, api.Scope(scope)) {
				return nil, fmt.Errorf("token %q: there is no scope %q: write some of %v", t.Name, scope, api.Scopes)
			}
			token.Scopes = append(token.Scopes, api.Scope(scope))
		}
		for _, pattern := range t.Channels {
			if err := api.Check(pattern); err != nil {
				return nil, fmt.Errorf("token %q: %w", t.Name, err)
			}
		}
		who.Tokens = append(who.Tokens, token)
	}
	for _, w := range k.Webhooks {
		who.Hooks = append(who.Hooks, api.Hook{Name: w.Name, Hash: w.Hash, Channel: w.Channel})
	}
	return who, nil
}

const tokenHelp = `Make a secret for a program that uses the chat over HTTP, and print it with the
hash that the configuration has of it ([[token]] or [[webhook]]). The secret is
printed only now.`

func chatTokenCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "token",
		Short:   "Make a token for a program",
		Long:    tokenHelp,
		Example: `  epi chat token`,
		Args:    unexpectedArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			token := rand.Text()
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "token  %s\nhash = %q\n", token, api.Hash(token))
			return err
		},
	}
}

// openPush opens what sends push messages: it needs the history, which says what is
// durable.
func (c *chat) openPush() (err error) {
	if c.data == "" || !c.config.History.Enabled || !c.config.Push.Enabled {
		return nil
	}
	c.push, err = push.New(push.Config{
		KeyFile: filepath.Join(c.data, "push-key"), Server: "https://" + c.config.Server.Name,
		Store: c.store, Writer: c.writer, Log: c.engine.Logger,
	})
	return err
}

// outgoing are the programs of a configuration that get what is said.
func outgoing(k *config.Config) ([]webhook.Hook, error) {
	hooks := make([]webhook.Hook, len(k.Outgoing))
	for i, o := range k.Outgoing {
		hooks[i] = webhook.Hook(o)
		if err := hooks[i].Check(); err != nil {
			return nil, fmt.Errorf("outgoing %d (%q): %w", i, o.Name, err)
		}
	}
	return hooks, nil
}

// sweepEvery is how often files that have expired are removed.
const sweepEvery = time.Hour

// openFiles opens what people have uploaded. The function that it returns ends that.
func (c *chat) openFiles() (end func(), err error) {
	if c.data == "" || !c.config.Uploads.Enabled {
		return func() {}, nil
	}
	u := &c.config.Uploads
	ctx, cancel := context.WithCancel(context.Background())
	settings := files.Config{
		Dir: filepath.Join(c.data, "files"), Store: c.store, Writer: c.writer,
		Login:  c.login.Account,
		Member: func(ctx context.Context, account, channel string) bool { return c.gate.IsMember(ctx, account, channel) },
		Limits: files.Limits{File: u.MaxFile, Quota: u.Quota, Keep: time.Duration(u.Keep)},
	}
	if c.config.Cluster.Node != "" {
		settings.Node = c.config.Cluster.Node
		settings.Ask = func(ctx context.Context, node string, question []byte) ([]byte, error) {
			return c.cluster.Ask(ctx, fabric.Node(node), question) // openCluster comes before the first request
		}
	}
	if c.files, err = files.New(ctx, settings); err != nil {
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
