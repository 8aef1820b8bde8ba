// Package config reads the configuration of a chat server: a TOML file over the
// defaults of chat.toml, and single keys over both.
package config

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/epinet/epi/apps/internal/settings"
)

// Default is the configuration with every key, its default and what it means.
//
//go:embed chat.toml
var Default string

// A Config is a whole configuration. Its fields are the keys of chat.toml, which
// says what they mean.
type Config struct {
	Server    Server    `toml:"server"`
	Listen    Listen    `toml:"listen"`
	ACME      ACME      `toml:"acme"`
	STS       STS       `toml:"sts"`
	Limits    Limits    `toml:"limits"`
	Timeouts  Timeouts  `toml:"timeouts"`
	Queues    Queues    `toml:"queues"`
	Throttle  Throttle  `toml:"throttle"`
	Users     Users     `toml:"users"`
	Passwords Passwords `toml:"passwords"`
	Uploads   Uploads   `toml:"uploads"`
	Push      Push      `toml:"push"`
	Mail      Mail      `toml:"mail"`
	LDAP      LDAP      `toml:"ldap"`
	OpenID    OpenID    `toml:"openid"`
	History   History   `toml:"history"`

	Registration Registration `toml:"registration"`
	Cluster      Cluster      `toml:"cluster"`

	Accounts  []Account  `toml:"account"`
	Operators []Operator `toml:"operator"`
	WebIRC    []WebIRC   `toml:"webirc"`
	Tokens    []Token    `toml:"token"`
	Webhooks  []Webhook  `toml:"webhook"`
	Outgoing  []Outgoing `toml:"outgoing"`
}

// Server is what the server says of itself.
type Server struct {
	Name        string   `toml:"name"`
	Network     string   `toml:"network"`
	Description string   `toml:"description"`
	MOTDFile    string   `toml:"motd-file"`
	MOTD        string   `toml:"motd"`
	Icon        string   `toml:"icon"`
	Admin       []string `toml:"admin"`
	Password    string   `toml:"password"`
}

// Listen is where the server is reached.
type Listen struct {
	Addresses []string       `toml:"addresses"`
	ProxyFrom []netip.Prefix `toml:"proxy-from"`
	ProxyLine []netip.Prefix `toml:"proxy-line-from"`
	Origins   []string       `toml:"origins"`
	Redirect  string         `toml:"redirect"`
}

// ACME is which certificates the server gets by itself.
type ACME struct {
	Hosts     []string `toml:"hosts"`
	Email     string   `toml:"email"`
	Directory string   `toml:"directory"`
	CAFile    string   `toml:"ca-file"`
}

// STS is the policy of Strict Transport Security.
type STS struct {
	Port     int      `toml:"port"`
	Duration Duration `toml:"duration"`
	Preload  bool     `toml:"preload"`
}

// Limits are what a client and a channel can have.
type Limits struct {
	Nick           int `toml:"nick"`
	User           int `toml:"user"`
	Channel        int `toml:"channel"`
	Topic          int `toml:"topic"`
	Kick           int `toml:"kick"`
	Away           int `toml:"away"`
	Realname       int `toml:"realname"`
	Channels       int `toml:"channels"`
	List           int `toml:"list"`
	Registered     int `toml:"registered"`
	Monitor        int `toml:"monitor"`
	Modes          int `toml:"modes"`
	Targets        int `toml:"targets"`
	MultilineBytes int `toml:"multiline-bytes"`
	MultilineLines int `toml:"multiline-lines"`
	Whowas         int `toml:"whowas"`
	Tags           int `toml:"tags"`
	PerAddress     int `toml:"per-address"`
	Clients        int `toml:"clients"`
}

// Timeouts are how long a client may be silent.
type Timeouts struct {
	Registration Duration `toml:"registration"`
	Ping         Duration `toml:"ping"`
	Dead         Duration `toml:"dead"`
}

// Queues are how many bytes may wait for a client.
type Queues struct {
	Soft int `toml:"soft"`
	Hard int `toml:"hard"`
}

// Throttle is what a client may spend.
type Throttle struct {
	Enabled    bool           `toml:"enabled"`
	Rate       float64        `toml:"rate"`
	Burst      int            `toml:"burst"`
	BytesRate  float64        `toml:"bytes-rate"`
	BytesBurst int            `toml:"bytes-burst"`
	Exempt     []netip.Prefix `toml:"exempt"`
}

// Users is what new users and channels are like.
type Users struct {
	Host           string `toml:"host"`
	CloakSecret    string `toml:"cloak-secret"`
	Modes          string `toml:"modes"`
	ChannelModes   string `toml:"channel-modes"`
	UnicodeNicks   bool   `toml:"unicode-nicks"`
	ReserveNicks   bool   `toml:"reserve-nicks"`
	AlwaysOn       string `toml:"always-on"`
	RequireAccount bool   `toml:"require-account"`
}

// History is what is kept of what is said.
type History struct {
	Enabled      bool     `toml:"enabled"`
	Durability   string   `toml:"durability"`
	Keep         Duration `toml:"keep"`
	Page         int      `toml:"page"`
	Replay       int      `toml:"replay"`
	Unregistered bool     `toml:"unregistered"`
	SinceJoin    bool     `toml:"since-join"`
}

// Passwords is how the server hashes passwords.
type Passwords struct {
	Cost int `toml:"cost"`
}

// Uploads are the files that people may upload.
type Uploads struct {
	Enabled bool     `toml:"enabled"`
	URL     string   `toml:"url"`
	MaxFile int64    `toml:"max-file"`
	Quota   int64    `toml:"quota"`
	Keep    Duration `toml:"keep"`
}

// Push is whether devices get messages while they are not connected.
type Push struct {
	Enabled bool `toml:"enabled"`
}

// Mail is how codes are sent to the addresses of new accounts.
type Mail struct {
	Server   string `toml:"server"`
	TLS      string `toml:"tls"`
	From     string `toml:"from"`
	User     string `toml:"user"`
	Password string `toml:"password"`
}

// LDAP is a directory in which people have their passwords.
type LDAP struct {
	URL            string `toml:"url"`
	StartTLS       bool   `toml:"start-tls"`
	CAFile         string `toml:"ca-file"`
	UserDN         string `toml:"user-dn"`
	SearchBase     string `toml:"search-base"`
	SearchFilter   string `toml:"search-filter"`
	SearchDN       string `toml:"search-dn"`
	SearchPassword string `toml:"search-password"`
	NameAttribute  string `toml:"name-attribute"`
	AdminGroup     string `toml:"admin-group"`
}

// OpenID is a provider whose tokens people log in with.
type OpenID struct {
	Issuer   string `toml:"issuer"`
	Audience string `toml:"audience"`
	Claim    string `toml:"claim"`
}

// An Account can log in with SASL.
type Account struct {
	Name         string   `toml:"name"`
	Password     string   `toml:"password"`
	SCRAM        string   `toml:"scram"`
	Fingerprints []string `toml:"fingerprints"`
}

// Registration is whether people can make accounts.
type Registration struct {
	Enabled       bool `toml:"enabled"`
	BeforeConnect bool `toml:"before-connect"`
	EmailRequired bool `toml:"email-required"`
}

// ClusterDurability is the value of history.durability with which what is said waits for
// a majority of the nodes.
const ClusterDurability = "cluster"

// Cluster is this machine's part in a chat on several.
type Cluster struct {
	Node        string   `toml:"node"`
	Name        string   `toml:"name"`
	Listen      string   `toml:"listen"`
	Advertise   string   `toml:"advertise"`
	Peers       []string `toml:"peers"`
	Cert        string   `toml:"cert"`
	Key         string   `toml:"key"`
	CA          string   `toml:"ca"`
	Plain       bool     `toml:"plain"`
	URL         string   `toml:"url"`
	Credentials string   `toml:"credentials"`
	Replicas    int      `toml:"replicas"`
	Lease       Duration `toml:"lease"`
	Retention   Duration `toml:"retention"`
}

// An Operator can become one with OPER.
type Operator struct {
	Name     string         `toml:"name"`
	Password string         `toml:"password"`
	From     []netip.Prefix `toml:"from"`
	Title    string         `toml:"title"`
	Rights   []string       `toml:"rights"`
}

// A WebIRC is a gateway that names its users' addresses.
type WebIRC struct {
	Name     string         `toml:"name"`
	Password string         `toml:"password"`
	From     []netip.Prefix `toml:"from"`
}

// A Token lets a program use the chat over HTTP.
type Token struct {
	Name     string   `toml:"name"`
	Hash     string   `toml:"hash"`
	Scopes   []string `toml:"scopes"`
	Channels []string `toml:"channels"`
}

// A Webhook lets a program speak in a channel.
type Webhook struct {
	Name    string `toml:"name"`
	Hash    string `toml:"hash"`
	Channel string `toml:"channel"`
}

// Outgoing is a program that gets what is said in channels.
type Outgoing struct {
	Name     string   `toml:"name"`
	URL      string   `toml:"url"`
	Secret   string   `toml:"secret"`
	Channels []string `toml:"channels"`
	Private  bool     `toml:"private"`
}

// A Duration is written as time.ParseDuration reads it.
type Duration = settings.Duration

// Read returns the defaults, with the keys of file over them when it is not empty,
// and with sets, each KEY=VALUE, over both. Relative names of files are taken from
// where the program runs.
func Read(file string, sets []string) (*Config, error) {
	c := new(Config)
	from := settings.File{Default: Default, Name: file, Sets: sets, Command: "epi chat config"}
	if err := from.Read(c); err != nil {
		return nil, err
	}
	return c, c.check()
}

// check looks for what cannot work.
func (c *Config) check() error {
	for _, rule := range []struct {
		key string
		ok  bool
		say string
	}{
		{"server.name", isServerName(c.Server.Name), "it must be a host name with a dot, of at most 63 bytes, such as irc.example.org"},
		{"server.network", isWord(c.Server.Network), "it must be one word, without spaces, = or \\"},
		{"server.description", isLine(c.Server.Description), "it must be one line"},
		{"listen.addresses", len(c.Listen.Addresses) > 0, "name at least one address"},
		{"listen.redirect", c.Listen.Redirect == "" || isAddress(c.Listen.Redirect), "it must be host:port, such as :80"},
		{"acme.hosts", !slices.ContainsFunc(c.ACME.Hosts, isNoHost), "each must be a name in small letters with a dot, such as chat.example.org"},
		{"acme.directory", c.ACME.Directory == "" || isURL(c.ACME.Directory), "it must begin with https:// or http://"},
		{"sts.port", c.STS.Port >= 0 && c.STS.Port < 1<<16, "it must be a port, or 0 for none"},
		{"limits.nick", within(c.Limits.Nick, 1, 64), "it must be from 1 to 64"},
		{"limits.user", within(c.Limits.User, 1, 64), "it must be from 1 to 64"},
		{"limits.channel", within(c.Limits.Channel, 2, 128), "it must be from 2 to 128"},
		{"limits.topic", within(c.Limits.Topic, 1, 390), "it must be from 1 to 390: more does not fit into a line"},
		{"limits.kick", within(c.Limits.Kick, 1, 390), "it must be from 1 to 390: more does not fit into a line"},
		{"limits.away", within(c.Limits.Away, 1, 390), "it must be from 1 to 390: more does not fit into a line"},
		{"limits.realname", within(c.Limits.Realname, 1, 390), "it must be from 1 to 390: more does not fit into a line"},
		{"limits.channels", c.Limits.Channels > 0, "it must be above 0"},
		{"limits.list", c.Limits.List > 0, "it must be above 0"},
		{"limits.registered", c.Limits.Registered > 0, "it must be above 0"},
		{"limits.monitor", c.Limits.Monitor > 0, "it must be above 0"},
		{"limits.modes", within(c.Limits.Modes, 1, 20), "it must be from 1 to 20"},
		{"limits.targets", within(c.Limits.Targets, 1, 20), "it must be from 1 to 20"},
		{"limits.multiline-bytes", within(c.Limits.MultilineBytes, 512, 1<<16), "it must be from 512 to 65536"},
		{"limits.multiline-lines", within(c.Limits.MultilineLines, 1, 1000), "it must be from 1 to 1000"},
		{"limits.whowas", c.Limits.Whowas >= 0, "it cannot be negative"},
		{"limits.tags", within(c.Limits.Tags, 512, 4094), "it must be from 512 to 4094"},
		{"limits.per-address", c.Limits.PerAddress >= 0, "it cannot be negative; 0 is no limit"},
		{"limits.clients", c.Limits.Clients >= 0, "it cannot be negative; 0 is what open files allow"},
		{"timeouts.registration", c.Timeouts.Registration > 0, "it must be above 0"},
		{"timeouts.ping", c.Timeouts.Ping > 0, "it must be above 0"},
		{"timeouts.dead", c.Timeouts.Dead > c.Timeouts.Ping, "it must be above timeouts.ping"},
		{"queues.soft", c.Queues.Soft >= 4096, "it must be at least 4096"},
		{"queues.hard", c.Queues.Hard >= 2*c.Queues.Soft, "it must be at least twice queues.soft"},
		{"throttle.rate", c.Throttle.Rate >= 0, "it cannot be negative; 0 is no limit"},
		{"throttle.burst", c.Throttle.Burst >= 1, "it must be at least 1"},
		{"throttle.bytes-rate", c.Throttle.BytesRate >= 0, "it cannot be negative; 0 is no limit"},
		{"throttle.bytes-burst", c.Throttle.BytesBurst >= 8192, "it must be at least 8192, which one line with tags can have"},
		{"users.always-on", slices.Contains([]string{"opt-in", "opt-out", "mandatory"}, c.Users.AlwaysOn), "it must be opt-in, opt-out or mandatory"},
		{"users.host", slices.Contains([]string{"full", "cloak", "none"}, c.Users.Host), "it must be full, cloak or none"},
		{"users.modes", strings.Trim(c.Users.Modes, "BgiRTw") == "", "it must be letters of BgiRTw"},
		{"passwords.cost", c.Passwords.Cost == 0 || within(c.Passwords.Cost, 4, 15), "it must be 0 or from 4 to 15"},
		{"uploads.url", c.Uploads.URL == "" || isURL(c.Uploads.URL), "it must begin with https:// or http://, without spaces, = and \\"},
		{"uploads.max-file", c.Uploads.MaxFile > 0, "it must be above 0"},
		{"uploads.quota", c.Uploads.Quota >= c.Uploads.MaxFile, "it must be at least uploads.max-file"},
		{"uploads.keep", c.Uploads.Keep >= 0, "it cannot be negative; 0 is for good"},
		{"history.durability", slices.Contains([]string{"commit", "relaxed", ClusterDurability}, c.History.Durability), "it must be commit, relaxed or cluster"},
		{"history.durability", c.History.Durability != ClusterDurability || c.Cluster.Node != "", "cluster is for a node of a cluster: see [cluster]"},
		{"history.keep", c.History.Keep >= 0, "it cannot be negative; 0 is for good"},
		{"history.page", within(c.History.Page, 1, 1000), "it must be from 1 to 1000"},
		{"history.replay", within(c.History.Replay, 0, 1000), "it must be from 0 to 1000; 0 is none"},
	} {
		if !rule.ok {
			return fmt.Errorf("%s is %#v: %s", rule.key, settings.Key(c, rule.key), rule.say)
		}
	}
	if err := c.Cluster.check(); err != nil {
		return err
	}
	return c.checkBlocks()
}

// leastLease is more than NATS needs to see that a leader is gone and to elect another.
const leastLease = Duration(12 * time.Second)

// check looks for what cannot work, in a configuration that has a cluster.
func (c *Cluster) check() error {
	if c.Node == "" {
		return nil
	}
	secured := c.Cert != "" && c.Key != "" && c.CA != ""
	for _, rule := range []struct {
		key string
		ok  bool
		say string
	}{
		{"node", isNodeName(c.Node), "it must be 1 to 64 letters, digits, - and _"},
		{"name", isNodeName(c.Name), "it must be 1 to 64 letters, digits, - and _"},
		{"listen", c.URL != "" || len(c.Peers) == 0 || isAddress(c.Listen), "it must be host:port, where the other nodes connect to"},
		{"advertise", c.Advertise == "" || isAddress(c.Advertise), "it must be host:port"},
		{"peers", !slices.ContainsFunc(c.Peers, func(p string) bool { return !isAddress(p) }), "each must be host:port, what the other node has as cluster.listen"},
		{"peers", len(c.Peers) != 1, "two nodes bear no failure: name both others of three, or all of more"},
		{"cert", secured || c.URL != "" || c.Plain || c.onlyHere(), "nodes on several machines need cluster.cert, cluster.key and cluster.ca; or cluster.plain = true, if nobody else can reach their network"},
		{"replicas", c.Replicas == 0 || within(c.Replicas, 1, 5) && c.Replicas%2 == 1, "it must be 1, 3 or 5, or 0 for as many as there are nodes, at most 3"},
		{"lease", within(int(c.Lease), int(leastLease), int(Duration(5*time.Minute))), "it must be from 12s to 5m: NATS needs up to 10s when it loses a leader"},
		{"retention", c.Retention >= Duration(time.Minute), "it must be at least 1m"},
	} {
		if !rule.ok {
			return fmt.Errorf("cluster.%s is %#v: %s", rule.key, settings.Key(c, rule.key), rule.say)
		}
	}
	return nil
}

// onlyHere reports whether all nodes are on this machine. A node without peers does not
// listen.
func (c *Cluster) onlyHere() bool {
	return len(c.Peers) == 0 || !slices.ContainsFunc(append([]string{c.Listen}, c.Peers...), func(address string) bool {
		host, _, _ := net.SplitHostPort(address)
		ip := net.ParseIP(host)
		return address != "" && host != "localhost" && (ip == nil || !ip.IsLoopback())
	})
}

func isNodeName(s string) bool {
	return within(len(s), 1, 64) && strings.IndexFunc(s, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}

// foreignHash matches passwords that another program has hashed in a form which is not
// known here, such as $argon2id$ or $6$: as plain ones they would let nobody in.
var foreignHash = regexp.MustCompile(`^\$(?:argon2|scrypt|pbkdf2|[013-9]\$|y\$)`)

// checkPasswords looks for hashes that cannot be checked.
func (c *Config) checkPasswords() error {
	refuse := func(what string, i int, name, password string) error {
		if !foreignHash.MatchString(password) {
			return nil
		}
		return fmt.Errorf("%s %d (%q): its password is a hash of a form that is not known here: make one with \"epi chat hash\"", what, i, name)
	}
	for i, a := range c.Accounts {
		if err := refuse("account", i, a.Name, a.Password); err != nil {
			return err
		}
	}
	for i, o := range c.Operators {
		if err := refuse("operator", i, o.Name, o.Password); err != nil {
			return err
		}
	}
	for i, w := range c.WebIRC {
		if err := refuse("webirc", i, w.Name, w.Password); err != nil {
			return err
		}
	}
	return refuse("server", 0, c.Server.Name, c.Server.Password)
}

func (c *Config) checkBlocks() error {
	if err := c.checkPasswords(); err != nil {
		return err
	}
	for i, a := range c.Accounts {
		if !isWord(a.Name) || a.Password == "" && a.SCRAM == "" && len(a.Fingerprints) == 0 {
			return fmt.Errorf("account %d (%q): it needs a name without spaces and a password or fingerprints", i, a.Name)
		}
	}
	for i, o := range c.Operators {
		if !isWord(o.Name) || o.Password == "" {
			return fmt.Errorf("operator %d (%q): it needs a name without spaces and a password", i, o.Name)
		}
	}
	for i, w := range c.WebIRC {
		if w.Password == "" || len(w.From) == 0 {
			return fmt.Errorf("webirc %d (%q): it needs a password and the networks that it is from", i, w.Name)
		}
	}
	for i, t := range c.Tokens {
		if !isWord(t.Name) || !isHash(t.Hash) || len(t.Scopes) == 0 || len(t.Channels) == 0 {
			return fmt.Errorf("token %d (%q): it needs a name without spaces, a hash as \"epi chat token\" prints it, scopes and channels", i, t.Name)
		}
	}
	for i, o := range c.Outgoing {
		if !isWord(o.Name) || !c.History.Enabled {
			return fmt.Errorf("outgoing %d (%q): it needs a name without spaces, and history.enabled, which says when a message is durable", i, o.Name)
		}
	}
	for i, w := range c.Webhooks {
		if !isWord(w.Name) || !isHash(w.Hash) || !strings.HasPrefix(w.Channel, "#") {
			return fmt.Errorf("webhook %d (%q): it needs a name without spaces, a hash as \"epi chat token\" prints it, and a channel", i, w.Name)
		}
	}
	return nil
}

// isHash reports whether s is a SHA-256 in hex.
func isHash(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == sha256.Size && s == strings.ToLower(s)
}

func within(n, least, most int) bool { return least <= n && n <= most }

func isLine(s string) bool { return !strings.ContainsAny(s, "\r\n\x00") }

func isWord(s string) bool { return s != "" && isLine(s) && !strings.ContainsAny(s, " =\\:,") }

// isURL reports whether s is a URL of a web server that 005 can have.
func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && isLine(s) && !strings.ContainsAny(s, " =\\")
}

// isAddress reports whether s is a place to listen on.
func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	return err == nil && port != ""
}

// isNoHost reports whether no authority would make a certificate for a name.
func isNoHost(s string) bool {
	return !isServerName(s) || strings.ToLower(s) != s || net.ParseIP(s) != nil
}

func isServerName(s string) bool {
	letter := func(r rune) bool {
		return r == '.' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	return len(s) <= 63 && strings.Contains(s, ".") && strings.Trim(s, ".-") == s &&
		strings.IndexFunc(s, func(r rune) bool { return !letter(r) }) < 0
}

// ReadMOTD returns the lines of the message of the day, nil when there is none.
func (c *Config) ReadMOTD() ([]string, error) {
	text := []byte(c.Server.MOTD)
	if c.Server.MOTDFile != "" {
		var err error
		if text, err = os.ReadFile(c.Server.MOTDFile); err != nil {
			return nil, fmt.Errorf("server.motd-file: %w", err)
		}
	}
	text = bytes.TrimRight(text, "\r\n")
	if len(text) == 0 {
		return nil, nil
	}
	var lines []string
	for line := range bytes.Lines(text) {
		lines = append(lines, strings.ToValidUTF8(strings.TrimRight(string(line), "\r\n"), "\ufffd"))
	}
	return lines, nil
}
