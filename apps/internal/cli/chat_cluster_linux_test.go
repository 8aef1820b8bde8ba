package cli

import (
	"context"
	"encoding/base64"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/apps/lab/cluster"
	"github.com/epinet/epi/internal/epitest"
)

// TestAccountsAreOneOverTheCluster registers somebody at one of three nodes, who then logs in
// at the others.
func TestAccountsAreOneOverTheCluster(t *testing.T) {
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
func threeNodes(t *testing.T) (nodes []clusterNode) {
	t.Helper()
	at := freeAddresses(t, 9)
	for i, name := range []string{"a", "b", "c"} {
		at := at[3*i:]
		nodes = append(nodes, clusterNode{
			name: name, data: t.TempDir(), listen: []string{"irc://" + at[0]}, admin: at[1], address: at[2], secret: "x",
			sets: []string{"registration.enabled=true", "passwords.cost=4", "limits.per-address=0"},
		})
	}
	for i := range nodes {
		for j := range nodes {
			if i != j {
				nodes[i].peers = append(nodes[i].peers, nodes[j].address)
			}
		}
		serveNode(t, nodes[i])
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

// serveNode runs a node until the end of the test.
func serveNode(t *testing.T, n clusterNode) {
	t.Helper()
	cmd := exec.Command(os.Args[0], n.arguments()...)
	cmd.Env = append(os.Environ(), "EPI_TEST_CHILD=epi")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

func freeAddresses(t *testing.T, count int) (addresses []string) {
	t.Helper()
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

func (n *clusterNode) irc() string { return strings.TrimPrefix(n.listen[0], "irc://") }

// insist tries something with a client of its own each time, until the node can do it.
func (n *clusterNode) insist(t *testing.T, what string, try func(*ircClient) answer) answer {
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
func (n *clusterNode) logIn(t *testing.T, account, password string) answer {
	t.Helper()
	secret := base64.StdEncoding.EncodeToString([]byte("\x00" + account + "\x00" + password))
	return n.insist(t, "AUTHENTICATE", func(c *ircClient) answer {
		if c.asks("CAP REQ sasl\r\nAUTHENTICATE PLAIN", "AUTHENTICATE +") == again {
			return again
		}
		return c.asks("AUTHENTICATE "+secret, " 903 ", later, " 904 ")
	})
}
