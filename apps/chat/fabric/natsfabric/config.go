// Package natsfabric joins the machines of one chat by NATS: a server of it within
// each node's process, or servers that are there already.
//
//	messages       core NATS, from connection to connection: no disk and no leader, so
//	               that they go on while JetStream elects one
//	leases, names  a key-value bucket, written with expected revisions
//	history        streams, one for each shard, replicated
//
// What a node may do is decided by package member; here are the wire and the store
// that it needs.
package natsfabric

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
)

// Config is one node's part of a cluster.
type Config struct {
	Node    fabric.Node // letters, digits, - and _, unique in the network
	Version string      // of the program
	Network string      // all nodes of a chat have the same; letters, digits, - and _

	// URL are the addresses of NATS servers, separated by commas, that have JetStream.
	// Empty, the node has a server of its own.
	URL string
	// Credentials is a file with the NATS user's JWT and key, for URL.
	Credentials string

	// Listen is where the own server listens for those of the other nodes: host:port.
	Listen string
	// Advertise is the address at which the other nodes reach Listen, if it is another:
	// behind a translation of addresses.
	Advertise string
	// Peers are the addresses at which the other nodes' servers listen. Without any the node is
	// alone, which is of use for trials.
	Peers []string
	// TLS secures the routes between the own server and the others. Each side shows
	// its certificate. Nil is for networks that nobody else can reach.
	TLS *tls.Config
	// Directory is where the own server keeps leases, names and history.
	Directory string

	// Replicas is on how many servers leases, names and history are kept: an odd number.
	// 0 is 3, or 1 for a node without peers.
	Replicas int

	// Lease is how long a node that is gone keeps its names, and its channels wait. A
	// cluster that loses a leader of JetStream needs up to 10 s for another, and leases must be
	// longer. 0 is 15 s.
	Lease time.Duration

	// Retention is for how long the replicated history is kept. 0 is a day.
	Retention time.Duration

	Logger *slog.Logger
}

// Defaults of a Config.
const (
	DefaultLease     = 15 * time.Second
	DefaultRetention = 24 * time.Hour
	defaultReplicas  = 3
)

// heartbeats and margins are what a lease is divided into.
const (
	heartbeatsPerLease = 15
	marginsPerLease    = 15
	answersPerLease    = 8
)

// isName reports whether s can be a part of NATS' subjects, and a word of a configuration.
func isName(s string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return s != "" && len(s) <= 64 && strings.Trim(s, letters) == ""
}

func (c Config) withDefaults() Config {
	if c.Lease == 0 {
		c.Lease = DefaultLease
	}
	if c.Retention == 0 {
		c.Retention = DefaultRetention
	}
	if c.Replicas == 0 && (c.URL != "" || len(c.Peers) > 0) {
		c.Replicas = defaultReplicas
	}
	c.Replicas = max(c.Replicas, 1)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// check says what is wrong with a configuration.
func (c Config) check() error {
	switch {
	case !isName(string(c.Node)):
		return fmt.Errorf("node name %q: it must be 1 to 64 letters, digits, - and _", c.Node)
	case !isName(c.Network):
		return fmt.Errorf("network name %q: it must be 1 to 64 letters, digits, - and _", c.Network)
	case c.Replicas%2 == 0:
		return fmt.Errorf("replicas %d: an even number bears no more failures than the odd one below", c.Replicas)
	case c.URL != "":
		return nil
	case c.Directory == "":
		return errors.New("a server of its own needs a directory")
	case len(c.Peers) > 0 && c.Listen == "":
		return errors.New("a node with peers must listen for them")
	case c.Replicas > 1+len(c.Peers):
		return fmt.Errorf("%d replicas need as many nodes, and %d peers are given: name all other nodes", c.Replicas, len(c.Peers))
	}
	return nil
}

// routes are the peers' addresses as NATS wants them.
func (c Config) routes() (routes []*url.URL) {
	for _, peer := range c.Peers {
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: peer})
	}
	return routes
}
