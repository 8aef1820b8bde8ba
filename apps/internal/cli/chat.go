package cli

import (
	"bufio"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/chat/api"
	"github.com/epinet/epi/apps/chat/archive"
	"github.com/epinet/epi/apps/chat/config"
	"github.com/epinet/epi/apps/chat/fabric/natsfabric"
	"github.com/epinet/epi/apps/chat/files"
	"github.com/epinet/epi/apps/chat/gate"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/invite"
	"github.com/epinet/epi/apps/chat/keep"
	"github.com/epinet/epi/apps/chat/ledger"
	"github.com/epinet/epi/apps/chat/push"
	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/apps/chat/vault"
	"github.com/epinet/epi/apps/chat/webhook"
	"github.com/epinet/epi/apps/chat/weblogin"
	"github.com/epinet/epi/apps/internal/secretfile"
	"github.com/epinet/epi/apps/internal/sqlitefile"
	"github.com/epinet/epi/ws"
)

const chatHelp = `Serve chat: an IRC server with IRCv3, for every client that there is.

Without arguments it serves IRC on 127.0.0.1:6667 and, for browsers, a page on
http://127.0.0.1:8067, which speaks IRC over a WebSocket at the same address. The
link that it prints at first makes the account of the administrator, who can invite
others. What lasts is in a directory of its own; --data names another. A configuration file says
everything else: "epi chat config" prints one with every key, its default and
what it means. --set changes single keys; a block such as [[operator]] is
numbered from 0.

SIGHUP reads the configuration again, and the files of --cert and --key. What
the engine fixes at the start stays: addresses, queues, the number of clients.

SIGINT or SIGTERM drains: every client gets a last word. A second signal aborts.

Exit codes: 0 drained, 1 failed or aborted, 2 called wrongly.`

const chatExample = `  epi chat
  epi chat config > chat.toml && epi chat --config chat.toml
  epi chat --listen irc://:6667 --listen ircs://:6697 --cert chain.pem --key key.pem
  epi chat --set server.name=irc.example.org --set operator.0.name=root --set operator.0.password=secret --set operator.0.rights=all
  printf 'NICK me\r\nUSER me 0 * :me\r\n' | nc 127.0.0.1 6667`

// chatSchemes are the names of the engine's schemes where they speak IRC.
var chatSchemes = map[string]string{"irc": "tcp", "ircs": "tls"}

// chatThrift is the collector's GOGC while clients come in a wave: what a registration
// leaves behind is several times what a client keeps.
const chatThrift = 25

// chatWriteTimeout ends clients for which much waits, and whose host takes nothing of
// it any more. --write-timeout is for all, but takes memory for each.
const chatWriteTimeout = 2 * time.Minute

// A chat is the command's server: its configuration, and what serves it.
type chat struct {
	server
	from        configuration
	data        string
	config      *config.Config
	gate        *gate.Server
	guesses     *vault.Guesses
	claim       io.Closer // keeps other chats out of data; nil: there is none
	secret      []byte    // of the cloaks
	seed        [32]byte
	created     time.Time
	store       store.Store
	writer      *store.Writer
	endExpiry   func()       // of old messages; waits for it
	files       *files.Host  // nil: there are none
	invitations *invite.Desk // nil: there are none
	login       *weblogin.Login
	first       string // the token by which the first administrator makes an account; "" for none
	api         *api.Server
	push        *push.Pusher // nil: there are no push messages
	outgoing    *webhook.Sender
	inCluster   bool               // it must be a node of a cluster
	cluster     *natsfabric.Fabric // nil: it is alone
	ledger      *ledger.Ledger     // what all nodes keep; nil: it is alone
	forget      func()             // the process, in the data of a node

	delivered uint64 // at the last live
}

func chatCommand() *cobra.Command {
	c := &chat{guesses: vault.NewGuesses(), created: time.Now(), endExpiry: func() {}, forget: func() {}}
	cmd := &cobra.Command{
		Use:     "chat",
		Short:   "Serve chat: IRC with IRCv3",
		Long:    chatHelp,
		Example: chatExample,
		Args:    unexpectedArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.run(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.login = weblogin.New(func() weblogin.Vault { return c.gate.Vault() })
	c.service = service{
		prepare: c.prepare,
		stream: func(at place) func(*epi.Conn) epi.Handler {
			return c.gate.Accept(gate.Listener{Secure: at.secure})
		},
		webSocket: func(at place, path string) *ws.Server {
			return c.gate.WebSocket(path, gate.Listener{Secure: at.secure}, strict(c.config.STS, at.secure, c.pages(path)))
		},
		guarded: true,
		opened:  c.opened,
		links:   c.links,
		methods: []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPatch, http.MethodDelete},
		schemes: chatSchemes,
		reload:  c.reload,
		goodbye: func() { c.leaveCluster(); c.gate.Drain() },
		live:    c.live,
		pages:   map[string]http.HandlerFunc{"GET /cluster": c.serveCluster, "POST /cluster/step-down": c.stepDown},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	c.from.addFlags(flags, "server.name=irc.example.org", "; SIGHUP reads it again")
	flags.StringVar(&c.data, "data", "", "`directory` for what lasts from one start to the next; it is made (default none; without --listen, --config and --set, epi-chat where the system keeps a user's data)")
	flags.BoolVar(&c.inCluster, "cluster", false, "be a node of the cluster that [cluster] of the configuration says; refuse to serve without one")
	c.addFlags(flags, "")
	cmd.AddCommand(chatClusterCommand(), chatDrainCommand())
	cmd.AddCommand(configCommand(config.Default), chatHashCommand(), chatTokenCommand(), chatInstallCommand())
	cmd.AddCommand(chatDataCommands()...)
	return cmd
}

func (c *chat) run(stdout, stderr io.Writer) error {
	var err error
	if c.config, err = config.Read(c.from.file, c.from.sets); err != nil {
		return failure{err}
	}
	if c.data == "" && c.from.isEmpty() && len(c.listen) == 0 {
		if c.data, err = ownData(); err != nil {
			return failure{fmt.Errorf("find a directory for what lasts: %w; name one by --data", err)}
		}
	}
	if len(c.listen) == 0 {
		c.listen = c.config.Listen.Addresses
	}
	if c.options.ProxyFrom == nil && len(c.config.Listen.ProxyFrom) > 0 { // an empty list would have each connection looked at
		c.options.ProxyFrom = c.config.Listen.ProxyFrom
	}
	if err := c.useACME(); err != nil {
		return failure{err}
	}
	if err := c.checkCluster(); err != nil {
		return failure{err}
	}
	defer c.disclaim()
	if err := c.openData(); err != nil {
		return failure{err}
	}
	if err := c.openStore(); err != nil {
		return failure{err}
	}
	sweeper, err := c.openFiles()
	if err != nil {
		return failure{errors.Join(err, c.closeStore())}
	}
	if err := c.openInvitations(); err != nil {
		sweeper()
		return failure{errors.Join(err, c.closeStore())}
	}
	_, _ = rand.Read(c.seed[:]) // it never fails
	served := errors.Join(c.serve(stdout, stderr), c.closeCluster())
	c.forget()
	sweeper()
	c.endExpiry()
	if c.push != nil {
		c.push.Close()
	}
	if c.outgoing != nil {
		c.outgoing.Close()
	}
	return errors.Join(served, c.closeStore())
}

// chatDatabase is the file in --data that has the accounts.
const chatDatabase = "chat.db"

// openStore opens what lasts; without --data that is until the end of the program.
func (c *chat) openStore() error {
	c.store = store.NewMemory()
	if c.data != "" {
		durability := store.Durability(c.config.History.Durability)
		if durability == config.ClusterDurability {
			durability = store.Commit // and then there are the other nodes
		}
		kept, err := store.Open(context.Background(), filepath.Join(c.data, chatDatabase), durability)
		if err != nil {
			return err
		}
		c.store = kept
	}
	c.writer = store.NewWriter(c.store)
	return nil
}

// storeTimeout is how long the end waits for what is still to be written.
const storeTimeout = 10 * time.Second

func (c *chat) closeStore() error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return errors.Join(c.writer.Close(ctx), c.store.Close())
}

// claimPatience is how long a chat waits for the one before it to end.
const claimPatience = 3 * time.Second

// openData makes the directory for what lasts, keeps other chats out of it, and reads the
// secret of the cloaks: bans on them are to hold after a restart.
func (c *chat) openData() error {
	c.secret = []byte(cmp.Or(c.config.Users.CloakSecret, rand.Text()))
	if c.data == "" {
		return nil
	}
	if err := os.MkdirAll(c.data, 0o700); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	var err error
	if c.claim, err = sqlitefile.Claim(context.Background(), filepath.Join(c.data, chatDatabase), claimPatience); errors.Is(err, sqlitefile.ErrClaimed) {
		return fmt.Errorf("another chat serves %s: end that one first, or name another directory by --data", c.data)
	}
	if err != nil {
		return fmt.Errorf("keep other chats out of %s: %w", c.data, err)
	}
	if c.config.Users.CloakSecret != "" {
		return nil
	}
	c.secret, err = keptCloakSecret(c.data)
	return err
}

// disclaim lets another chat have the directory.
func (c *chat) disclaim() {
	if c.claim != nil {
		_ = c.claim.Close() // its end lets go of it, too
	}
}

// keptCloakSecret returns the secret of the cloaks that a directory has.
func keptCloakSecret(data string) ([]byte, error) {
	return secretfile.Get(filepath.Join(data, "cloak-secret"), func() ([]byte, error) { return []byte(rand.Text()), nil })
}

// prepare sets the engine up and makes the chat on its loops.
func (c *chat) prepare(s *server) error {
	e := &s.engine
	e.HighWater, e.LowWater, e.MaxQueued = c.config.Queues.Soft, c.config.Queues.Soft/4, c.config.Queues.Hard
	if e.MaxConns == 0 {
		e.MaxConns = c.config.Limits.Clients
	}
	s.clients.prefer(e, c.config.Limits.PerAddress)
	s.thrift.percent = chatThrift
	s.hosts = append(append(s.hosts, c.config.Server.Name), c.config.ACME.Hosts...)
	if e.Loops == 0 {
		e.Loops = min(gate.MaxLoops, runtime.GOMAXPROCS(0))
	}
	if e.TLS != nil && e.TLS.ClientAuth == tls.NoClientCert {
		e.TLS.ClientAuth = tls.RequestClientCert // for SASL EXTERNAL
	}
	if err := c.openCluster(); err != nil {
		return failure{err}
	}
	c.outgoing = webhook.New(e.Logger)
	if err := c.openPush(); err != nil {
		return failure{err}
	}
	settings, err := c.settings(c.config)
	if err != nil {
		return failure{err}
	}
	if c.cluster != nil { // a nil *Fabric is no nil Fabric
		settings.Fabric, settings.CatchUp = c.cluster, c.catchUp
	}
	made := make(chan struct{})
	defer close(made)
	c.shareKept(made)
	if settings.Kept, err = keep.Load(context.Background(), c.store); err != nil {
		return failure{err}
	}
	c.gate, err = gate.New(e, *settings)
	if err != nil {
		return failure{err}
	}
	who, err := tokens(c.config)
	if err != nil {
		return failure{err}
	}
	c.api = api.New(programs{c.gate}, c.store, c.writer, *who)
	hooks, err := outgoing(c.config)
	if err != nil {
		return failure{err}
	}
	c.outgoing.Configure(hooks)
	c.expire()
	s.collectors = []prometheus.Collector{chatCollector{c.gate.Stats}}
	if c.cluster != nil {
		s.collectors = append(s.collectors, clusterCollector{c.cluster})
	}
	return nil
}

// expire removes old messages from now on. How long they are kept is as at the start.
func (c *chat) expire() {
	if c.data == "" {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		archive.New(c.store, c.writer, c.engine.Logger).KeepExpiring(ctx, time.Duration(c.config.History.Keep))
	})
	c.endExpiry = func() { cancel(); running.Wait() }
}

// live is what --stats prints. One goroutine calls it.
func (c *chat) live(from, to measurement) event {
	now := c.gate.Stats()
	e := newChatStats(now, c.delivered, from, to)
	c.delivered = now.Deliveries
	return e
}

// reload is what SIGHUP does.
func (c *chat) reload() event {
	fresh, err := c.reread()
	if err != nil {
		c.engine.Logger.Error("the configuration stays as it was", "error", err)
		return newReload(err)
	}
	c.gate.Configure(*fresh)
	return newReload(nil)
}

// reread reads the configuration again. It is for SIGHUP and for REHASH, each in
// a goroutine of its own, and changes nothing.
func (c *chat) reread() (*gate.Config, error) {
	fresh, err := config.Read(c.from.file, c.from.sets)
	if err != nil {
		return nil, err
	}
	who, err := tokens(fresh)
	if err != nil {
		return nil, err
	}
	settings, err := c.settings(fresh)
	if err != nil {
		return nil, err
	}
	hooks, err := outgoing(fresh)
	if err != nil {
		return nil, err
	}
	settings.Applied = func() {
		c.api.Configure(*who)
		c.outgoing.Configure(hooks)
	}
	return settings, nil
}

// settings translates the configuration for the gate.
func (c *chat) settings(k *config.Config) (*gate.Config, error) {
	settings, err := c.hallSettings(k)
	if err != nil {
		return nil, err
	}
	secrets, err := c.vault(k)
	if err != nil {
		return nil, err
	}
	keeper := keep.New(c.writer, c.engine.Logger)
	g := &gate.Config{
		Hall:         *settings,
		Registration: time.Duration(k.Timeouts.Registration),
		Ping:         time.Duration(k.Timeouts.Ping),
		Dead:         time.Duration(k.Timeouts.Dead),
		Origins:      withOwnOrigin(k.Listen.Origins),
		Proxies:      k.Listen.ProxyLine,
		Keep:         keeper.Keep,
		Claim:        keeper.Claim,
		Relaxed:      k.History.Durability == string(store.Relaxed),
		Replicated:   k.History.Durability == config.ClusterDurability,
		Retention:    time.Duration(k.Cluster.Retention),
		Vault:        c.login.Watch(secrets),
		Reload:       c.reread,
		Stop:         c.stop,
		Log:          c.engine.Logger,
	}
	if c.engine.WriteTimeout == 0 {
		g.Stall = chatWriteTimeout
	}
	if len(k.Outgoing) > 0 && c.data == "" {
		return nil, fmt.Errorf("outgoing %q: it needs --data, since only what is kept is sent", k.Outgoing[0].Name)
	}
	g.Durable = c.outgoing.Notify
	if c.data != "" {
		g.History = archive.New(c.store, c.writer, c.engine.Logger)
	}
	if c.push != nil {
		g.Push = c.push
	}
	if k.Throttle.Enabled {
		g.Throttle = gate.Throttle{
			Rate: k.Throttle.Rate, Burst: k.Throttle.Burst,
			BytesRate: k.Throttle.BytesRate, BytesBurst: k.Throttle.BytesBurst,
			Exempt: k.Throttle.Exempt,
		}
	}
	return g, nil
}

// vault returns what checks the passwords of a configuration.
func (c *chat) vault(k *config.Config) (*vault.Vault, error) {
	var (
		directory vault.Directory
		provider  vault.Provider
		err       error
	)
	if k.LDAP.URL != "" {
		if directory, err = vault.NewLDAP(k.LDAP); err != nil {
			return nil, err
		}
	}
	if k.OpenID.Issuer != "" {
		if provider, err = vault.NewOpenID(k.OpenID); err != nil {
			return nil, err
		}
	}
	v := vault.New(k, c.guesses).With(c.store, c.writer).Through(directory, provider)
	if c.cluster != nil {
		v.InNetwork(c.catchUp)
	}
	if k.Mail.Server != "" {
		mailer, err := vault.NewMailer(k.Mail)
		if err != nil {
			return nil, err
		}
		v.Mail(mailer, k.Server.Network)
	}
	return v, nil
}

func (c *chat) hallSettings(k *config.Config) (*hall.Config, error) {
	motd, err := k.ReadMOTD()
	if err != nil {
		return nil, err
	}
	h := &hall.Config{
		Name: k.Server.Name, Network: k.Server.Network, Description: k.Server.Description, Version: "epi-" + version(), Created: c.created, Seed: c.seed,
		Nick: k.Limits.Nick, User: k.Limits.User, RealName: k.Limits.Realname, ChannelName: k.Limits.Channel,
		Topic: k.Limits.Topic, Kick: k.Limits.Kick, Away: k.Limits.Away, Channels: k.Limits.Channels,
		List: k.Limits.List, Monitor: k.Limits.Monitor, Registered: k.Limits.Registered, Modes: k.Limits.Modes, Targets: k.Limits.Targets,
		MultilineSize: k.Limits.MultilineBytes, Multiline: k.Limits.MultilineLines, WhoWas: k.Limits.Whowas,
		MOTD: motd, Icon: k.Server.Icon, STS: policyOf(k.STS),
		Password: k.Server.Password != "",
		Registration: hall.Registration{
			Enabled: k.Registration.Enabled, BeforeConnect: k.Registration.BeforeConnect, Email: k.Registration.EmailRequired || k.Mail.Server != "",
		},
		Operators:    map[string]hall.Operator{},
		ChannelModes: cmp.Or(k.Users.ChannelModes, "-"),
		UserModes:    k.Users.Modes,
		UnicodeNicks: k.Users.UnicodeNicks,
		ReserveNicks: k.Users.ReserveNicks, AlwaysOn: hall.AlwaysOn(k.Users.AlwaysOn), RequireAccount: k.Users.RequireAccount,
		FileHost: c.fileHost(k),
		RelayMsg: true,
		Roleplay: true,
		Cloak:    c.cloak(k),
	}
	copy(h.Admin[:], k.Server.Admin)
	if c.push != nil {
		h.VAPID = c.push.PublicKey()
	}
	h.History = hall.History{
		Enabled: c.data != "" && k.History.Enabled, Page: k.History.Page, Replay: k.History.Replay,
		Unregistered: k.History.Unregistered, SinceJoin: k.History.SinceJoin,
	}
	if len(k.Accounts) > 0 || k.Registration.Enabled || k.LDAP.URL != "" || c.data != "" {
		h.Mechanisms = []string{"PLAIN", "EXTERNAL", "SCRAM-SHA-256"}
	}
	if k.OpenID.Issuer != "" {
		h.Mechanisms = append(h.Mechanisms, "OAUTHBEARER")
	}
	for _, a := range k.Accounts {
		h.Accounts = append(h.Accounts, a.Name)
	}
	for _, o := range k.Operators {
		if err := c.checkRights(o); err != nil {
			return nil, err
		}
		h.Operators[o.Name] = hall.Operator{Title: o.Title, Rights: o.Rights}
	}
	return h, nil
}

// checkRights refuses rights that there are not, and warns of an operator that has
// none.
func (c *chat) checkRights(o config.Operator) error {
	if len(o.Rights) == 0 {
		c.engine.Logger.Warn("an operator has no rights: its block needs some of all, or the word all", "operator", o.Name, "all", hall.Rights)
	}
	for _, right := range o.Rights {
		if !slices.Contains(hall.Rights, right) {
			return fmt.Errorf("operator %q: there is no right %q: write some of %s", o.Name, right, strings.Join(hall.Rights, ", "))
		}
	}
	return nil
}

// policyOf is the value of the capability sts, "" for none.
func policyOf(s config.STS) string {
	if s.Port == 0 {
		return ""
	}
	policy := fmt.Sprintf("port=%d,duration=%d", s.Port, int64(time.Duration(s.Duration)/time.Second))
	if s.Preload {
		policy += ",preload"
	}
	return policy
}

// cloakSize is 80 bits: nobody finds another address with the same cloak.
const cloakSize = 10

// cloak returns what others see instead of an address, nil for the address.
func (c *chat) cloak(k *config.Config) func(host string) string {
	switch k.Users.Host {
	case "full":
		return nil
	case "none":
		name := k.Server.Name
		return func(string) string { return name }
	}
	secret := c.secret
	return func(host string) string {
		mac := hmac.New(sha256.New, secret)
		_, _ = io.WriteString(mac, host) // it never fails
		return strings.ToLower(base32.StdEncoding.EncodeToString(mac.Sum(nil)[:cloakSize])) + ".user"
	}
}

const hashHelp = `Read a password from standard input and print the forms in which the
configuration can keep it: bcrypt's for the key password, and besides it, for
clients that log in with SCRAM-SHA-256, that for the key scram.`

func chatHashCommand() *cobra.Command {
	var cost int
	cmd := &cobra.Command{
		Use:     "hash",
		Short:   "Hash a password for the configuration",
		Long:    hashHelp,
		Example: `  echo 'correct horse' | epi chat hash`,
		Args:    unexpectedArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
			password := strings.TrimRight(line, "\r\n")
			if err != nil && !errors.Is(err, io.EOF) {
				return failure{err}
			}
			if password == "" {
				return failure{errors.New("no password on standard input: write it on one line")}
			}
			if cost != 0 && (cost < 4 || cost > 15) {
				return fmt.Errorf("--cost %d: write a number from 4 to 15, or 0 for about 100 ms", cost)
			}
			hash, scram, err := vault.Hash(password, cost)
			if err != nil {
				return failure{err}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "password = %q\nscram = %q\n", hash, scram)
			return err
		},
	}
	cmd.Flags().IntVar(&cost, "cost", 0, "`number` of bcrypt's cost, 4 to 15; each step doubles the time (default about 100 ms)")
	return cmd
}
