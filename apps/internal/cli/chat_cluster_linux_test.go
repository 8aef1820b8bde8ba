package cli

import (
	"context"
	"encoding/base64"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/apps/lab/cluster"
	"github.com/epinet/epi/internal/epitest"
	"github.com/epinet/epi/internal/freeport"
)

// TestThreeNodesAreOneChat registers somebody at one of three nodes, who then logs in at the
// others, whose channel is registered at all, and whose file comes from each of them for as long as its node is there.
func TestThreeNodesAreOneChat(t *testing.T) {
	t.Parallel()
	nodes := threeNodes(t)
	nodes[0].insist(t, "REGISTER", func(c *ircClient) answer {
		if got := c.asks("NICK ann\r\nUSER ann 0 * :ann", " 422 ", " 433 ", later, "ERROR "); got != " 422 " {
			return again
		}
		return c.asks("REGISTER * * secret", "REGISTER SUCCESS ann", "FAIL REGISTER ACCOUNT_EXISTS", later)
	})
	for _, n := range nodes {
		for password, want := range map[string]answer{"secret": " 903 ", "wrong": " 904 "} {
			got := n.logIn(t, "ann", password)
			if got != want {
				t.Errorf("at node %s, the password %q is answered with %q", n.name, password, got)
			}
		}
	}
	nodes[1].asAnn(t, "JOIN #x\r\nCS REGISTER #x", "#x is registered now", "#x is registered already")
	nodes[2].asAnn(t, "CS INFO #x", "Founder: ann")
	resp, _ := nodes[0].request(t, http.MethodPost, "/files", "hello")
	link := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusCreated || link == "" {
		t.Fatalf("upload: %s", resp.Status)
	}
	for _, n := range nodes {
		if resp, text := n.request(t, http.MethodGet, link, ""); resp.StatusCode != http.StatusOK || text != "hello" {
			t.Errorf("node %s: %s %q", n.name, resp.Status, text)
		}
	}
	nodes[0].kill()
	if resp, text := nodes[1].try(t, http.MethodGet, link, ""); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the file of a node that is gone: %s %q", resp.Status, text)
	}
}

// request makes an HTTP request of ann's, until the node can answer it.
func (n *servedNode) request(t *testing.T, method, path, body string) (resp *http.Response, text string) {
	t.Helper()
	for end := time.Now().Add(clusterPatience); time.Now().Before(end); time.Sleep(askEvery) {
		if resp, text = n.try(t, method, path, body); resp.StatusCode != http.StatusServiceUnavailable {
			return resp, text
		}
	}
	t.Fatalf("node %s: %s %s: %s %s", n.name, method, path, resp.Status, text)
	return resp, text
}

// try makes an HTTP request of ann's once.
func (n *servedNode) try(t *testing.T, method, path, body string) (*http.Response, string) {
	t.Helper()
	url := "http://" + strings.TrimPrefix(n.listen[1], "ws://") + path
	return request(t, method, url, body, account("ann", "secret"), func(r *http.Request) { r.Close = true })
}

// An answer is what of several texts has come; again is the end of the connection.
type answer string

const again answer = ""

// later is in what a node says that cannot know now: on a machine that is too slow it may
// lose its lease, or the leader of JetStream.
const later = "try again later"

// asks says something, and returns which of some texts comes first.
func (c *ircClient) asks(line string, texts ...string) answer {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		return again
	}
	for c.in.Scan() {
		for _, text := range texts {
			if strings.Contains(c.in.Text(), text) {
				return answer(text)
			}
		}
	}
	return again
}

// clusterPatience bounds what three processes take to elect leaders: it bounds the damage alone.
const clusterPatience = 5 * epitest.Patience

// threeNodes starts three nodes, and waits until all know all.
func threeNodes(t *testing.T) (nodes []servedNode) {
	t.Helper()
	const each = 4
	at := freeAddresses(t, 3*each)
	for i, name := range []string{"a", "b", "c"} {
		at := at[each*i:]
		nodes = append(nodes, servedNode{clusterNode: clusterNode{
			name: name, data: t.TempDir(), listen: []string{"irc://" + at[0], "ws://" + at[3]}, admin: at[1], address: at[2], secret: "x",
			sets: []string{"registration.enabled=true", "passwords.cost=4", "limits.per-address=0"},
		}})
	}
	for i := range nodes {
		for j := range nodes {
			if i != j {
				nodes[i].peers = append(nodes[i].peers, nodes[j].address)
			}
		}
		nodes[i].serve(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), clusterPatience)
	defer cancel()
	all := clusterCheck{run: cluster.Config{Nodes: len(nodes)}}
	for _, n := range nodes {
		if err := all.ready(ctx, cluster.Place{Admin: n.admin}); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

// A servedNode is a node whose process is the test's.
type servedNode struct {
	clusterNode
	process *exec.Cmd
}

// serve runs a node until it is killed, at the end of the test at the latest.
func (n *servedNode) serve(t *testing.T) {
	t.Helper()
	n.process = epitest.Command("epi", n.arguments()...)
	if err := n.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.kill)
}

// kill ends a node as kill -9 does, and returns when it has ended. It may be called twice.
func (n *servedNode) kill() {
	_ = n.process.Process.Kill()
	_ = n.process.Wait()
}

func freeAddresses(t *testing.T, count int) (addresses []string) {
	t.Helper()
	for range count {
		address, err := freeport.Next()
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, address)
	}
	return addresses
}

func (n *servedNode) irc() string { return strings.TrimPrefix(n.listen[0], "irc://") }

// insist tries something with a client of its own each time, until the node can do it.
func (n *servedNode) insist(t *testing.T, what string, try func(*ircClient) answer) answer {
	t.Helper()
	for end := time.Now().Add(clusterPatience); time.Now().Before(end); time.Sleep(askEvery) {
		c := chatClient(t, n.irc())
		got := try(c)
		_ = c.conn.Close()
		if got != again && got != later {
			return got
		}
	}
	t.Fatalf("node %s: %s is not answered", n.name, what)
	return again
}

// logIn authenticates, and returns whether that succeeds.
func (n *servedNode) logIn(t *testing.T, account, password string) answer {
	t.Helper()
	return n.insist(t, "AUTHENTICATE", func(c *ircClient) answer { return c.logIn(account, password) })
}

func (c *ircClient) logIn(account, password string) answer {
	secret := base64.StdEncoding.EncodeToString([]byte("\x00" + account + "\x00" + password))
	if c.asks("CAP REQ sasl\r\nAUTHENTICATE PLAIN", "AUTHENTICATE +") == again {
		return again
	}
	return c.asks("AUTHENTICATE "+secret, " 903 ", later, " 904 ")
}

// asAnn is what ann asks a node who has logged in there; again is another answer than those wanted.
func (n *servedNode) asAnn(t *testing.T, line string, wanted ...string) {
	t.Helper()
	n.insist(t, line, func(c *ircClient) answer {
		if c.logIn("ann", "secret") != " 903 " || c.asks("NICK ann\r\nUSER ann 0 * :ann\r\nCAP END", " 422 ", " 433 ", "FAIL ", "ERROR ") != " 422 " {
			return again
		}
		got := c.asks(line+"\r\nPING end", append(wanted, " PONG ")...)
		if got == " PONG " {
			return again
		}
		return got
	})
}
