package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/epinet/epi/apps/chat/config"
	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/fabric/natsfabric"
	"github.com/epinet/epi/apps/chat/keep"
	"github.com/epinet/epi/apps/chat/ledger"
	"github.com/epinet/epi/apps/chat/store"
)

// clusterDirectory is where in --data a node of a cluster keeps its part of what NATS
// replicates.
const clusterDirectory = "cluster"

// handOverWithin is how long a node that drains waits for its channels to be taken over.
const handOverWithin = 5 * time.Second

// checkCluster says why a chat cannot be a node of a cluster, if it is to be one.
func (c *chat) checkCluster() error {
	k := c.config
	switch {
	case k.Cluster.Node == "" && c.inCluster:
		return errors.New("--cluster: the configuration names no node: set cluster.node, and cluster.peers on each of three machines; or see \"epi chat cluster\" for a trial on this one")
	case k.Cluster.Node == "":
		return nil
	case c.data == "":
		return fmt.Errorf("node %s of a cluster needs --data", k.Cluster.Node)
	case k.Users.Host == "cloak" && k.Users.CloakSecret == "":
		return errors.New("users.cloak-secret is empty: all nodes of a cluster need the same, so that a ban holds on each of them")
	}
	return nil
}

// openCluster makes the chat's part in a network of several machines; without a
// configuration for it there is none.
func (c *chat) openCluster() error {
	k := c.config.Cluster
	if k.Node == "" {
		return nil
	}
	security, err := clusterTLS(k)
	if err != nil {
		return err
	}
	c.cluster, err = natsfabric.Open(natsfabric.Config{
		Node:        fabric.Node(k.Node),
		Version:     version(),
		Network:     k.Name,
		URL:         k.URL,
		Credentials: k.Credentials,
		Listen:      k.Listen,
		Advertise:   k.Advertise,
		Peers:       k.Peers,
		TLS:         security,
		Directory:   filepath.Join(c.data, clusterDirectory),
		Replicas:    k.Replicas,
		Lease:       time.Duration(k.Lease),
		Retention:   time.Duration(k.Retention),
		Logger:      c.engine.Logger,
	})
	if err != nil {
		return err
	}
	if c.files != nil {
		c.cluster.Answer(c.files.Answer)
	}
	c.forget, err = namesProcess(c.data)
	return err
}

// shareKept has all nodes of the cluster keep the same, such as accounts. The gate, or none, is
// there once made is closed.
func (c *chat) shareKept(made <-chan struct{}) {
	if c.cluster == nil {
		return
	}
	c.ledger = ledger.Open(ledger.Config{
		Registry: c.cluster.Registry(), Store: c.store, Writer: c.writer, Log: c.engine.Logger,
		Written: func(w store.Write) {
			if a, ok := w.(store.ReplaceAccount); ok {
				c.login.Forget(a.Account.Name)
			}
			<-made
			if change := keep.ChangeOf(w); change != nil && c.gate != nil {
				c.gate.Changed(change)
			}
		},
	})
	c.writer.Share(c.ledger)
}

// catchUp waits until the store has what other nodes have written.
func (c *chat) catchUp(ctx context.Context) error { return c.ledger.CatchUp(ctx) }

// clusterTLS secures the way between the nodes: each shows a certificate to the other.
func clusterTLS(k config.Cluster) (*tls.Config, error) {
	if k.Cert == "" {
		return nil, nil
	}
	own, err := tls.LoadX509KeyPair(k.Cert, k.Key)
	if err != nil {
		return nil, fmt.Errorf("cluster.cert and cluster.key: %w", err)
	}
	issuers, err := os.ReadFile(k.CA)
	if err != nil {
		return nil, fmt.Errorf("cluster.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(issuers) {
		return nil, fmt.Errorf("cluster.ca: there is no certificate in %s", k.CA)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{own},
		RootCAs:      pool,
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		MinVersion:   tls.VersionTLS13,
	}, nil
}

// leaveCluster begins to move the node out: its channels go to others, and it gets no
// new ones.
func (c *chat) leaveCluster() {
	if c.cluster == nil {
		return
	}
	c.cluster.Drain()
	for end := time.Now().Add(handOverWithin); time.Now().Before(end); time.Sleep(handOverWithin / 100) {
		s := c.cluster.Status()
		if len(s.Members) < 2 || s.Channels == 0 {
			return
		}
	}
}

func (c *chat) closeCluster() error {
	if c.cluster == nil {
		return nil
	}
	if c.gate != nil {
		c.gate.EndNetwork()
	}
	if c.ledger != nil {
		c.ledger.Close()
	}
	return c.cluster.Close()
}

// A clusterStatus is what the admin server shows of a cluster.
type clusterStatus struct {
	Node     fabric.Node      `json:"node"`
	Epoch    fabric.Epoch     `json:"epoch"` // 0: no lease
	Valid    bool             `json:"valid"`
	Waits    string           `json:"waits,omitempty"`
	Lease    string           `json:"lease"`
	Claims   int              `json:"claims"`
	Channels int              `json:"channels"`
	Members  []clusterMember  `json:"members"`
	Counts   natsfabricCounts `json:"counts"`
}

// A clusterMember is a node that is up, as this one sees it.
type clusterMember struct {
	Node     fabric.Node  `json:"node"`
	Epoch    fabric.Epoch `json:"epoch"`
	Version  string       `json:"version"`
	Draining bool         `json:"draining,omitempty"`
}

// natsfabricCounts are what a node has done since it began.
type natsfabricCounts struct {
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
	Gaps     uint64 `json:"gaps"`
	Fenced   uint64 `json:"fenced"`
	Appended uint64 `json:"appended"`
	Failed   uint64 `json:"failed"`
	Dropped  uint64 `json:"dropped"`
}

// serveCluster answers with the state of the cluster.
func (c *chat) serveCluster(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if c.cluster == nil {
		http.Error(w, "this chat is on one machine: cluster.node is empty", http.StatusNotFound)
		return
	}
	s := c.cluster.Status()
	status := clusterStatus{
		Node: s.Self.Node, Epoch: s.Self.Epoch, Valid: s.Valid, Waits: s.Waits, Lease: s.Lease.String(),
		Claims: s.Claims, Channels: s.Channels, Members: []clusterMember{}, Counts: natsfabricCounts(s.Counts),
	}
	if s.Valid && !c.gate.InNetwork() { // it lets nobody in yet
		status.Valid, status.Waits = false, "what all nodes keep"
	}
	for _, m := range s.Members {
		status.Members = append(status.Members, clusterMember(m))
	}
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(status) // whoever asked may be gone
}

// stepDownWithin is how long NATS may take to give its leaders other places.
const stepDownWithin = 10 * time.Second

// stepDown has NATS choose other leaders for all that the nodes have in common.
func (c *chat) stepDown(w http.ResponseWriter, r *http.Request) {
	if c.cluster == nil {
		http.Error(w, "this chat is on one machine: cluster.node is empty", http.StatusNotFound)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), stepDownWithin)
	defer cancel()
	if err := c.cluster.StepDown(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// A clusterCollector shows a node's part in a cluster to Prometheus.
type clusterCollector struct{ node *natsfabric.Fabric }

var (
	clusterUp       = prometheus.NewDesc("epi_chat_cluster_lease", "1 while the node has a lease.", nil, nil)
	clusterMembers  = prometheus.NewDesc("epi_chat_cluster_members", "Nodes that are up, as this one sees it, by whether they drain.", []string{"draining"}, nil)
	clusterClaims   = prometheus.NewDesc("epi_chat_cluster_claims", "Nicks, accounts and channels that the node owns.", nil, nil)
	clusterMessages = prometheus.NewDesc("epi_chat_cluster_messages_total", "Messages between nodes: sent, received.", []string{"direction"}, nil)
	clusterGaps     = prometheus.NewDesc("epi_chat_cluster_gaps_total", "Gaps in what other nodes have sent; they were asked again.", nil, nil)
	clusterFenced   = prometheus.NewDesc("epi_chat_cluster_fenced_total", "Leases that have ended while the node was running.", nil, nil)
	clusterRecords  = prometheus.NewDesc("epi_chat_cluster_records_total", "Records of the replicated history by what became of them: kept, failed.", []string{"result"}, nil)
	clusterDropped  = prometheus.NewDesc("epi_chat_cluster_dropped_total", "Messages for which the way to the other nodes was too slow.", nil, nil)
)

// Describe is a method of prometheus.Collector.
func (c clusterCollector) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, to) }

// Collect is a method of prometheus.Collector.
func (c clusterCollector) Collect(to chan<- prometheus.Metric) {
	s := c.node.Status()
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	lease := 0
	if s.Valid {
		lease = 1
	}
	gauge(clusterUp, lease)
	members := map[bool]int{}
	for _, m := range s.Members {
		members[m.Draining]++
	}
	for _, draining := range []bool{false, true} {
		gauge(clusterMembers, members[draining], strconv.FormatBool(draining))
	}
	gauge(clusterClaims, s.Claims)
	counter(clusterMessages, s.Counts.Sent, "sent")
	counter(clusterMessages, s.Counts.Received, "received")
	counter(clusterGaps, s.Counts.Gaps)
	counter(clusterFenced, s.Counts.Fenced)
	counter(clusterRecords, s.Counts.Appended, "kept")
	counter(clusterRecords, s.Counts.Failed, "failed")
	counter(clusterDropped, s.Counts.Dropped)
}
