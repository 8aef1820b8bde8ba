package interop

import (
	"bufio"
	"context"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/epinet/epi/internal/epitest"
	"github.com/epinet/epi/ws"
)

// node is a directory with the programs and the packages that they need.
func node(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed; scripts/install-test-tools installs it", tool)
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("node")); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(within(t), "npm", "ci", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm cannot have the package ws: %v\n%s", err, out)
	}
	return dir
}

func TestNodeClient(t *testing.T) {
	dir, trust := node(t), newTrust(t)
	authority := filepath.Join(dir, "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: trust.server.Certificates[0].Certificate[0]}
	if err := os.WriteFile(authority, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, url := range []string{serve(t, m, nil), serve(t, m, trust)} {
			client := exec.CommandContext(within(t), "node", "client.js", url, fmt.Sprint(maxMessage))
			client.Dir = dir
			client.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+authority)
			if out, err := client.CombinedOutput(); err != nil || string(out) != "ok\n" {
				t.Errorf("%s: %v\n%s", url, err, out)
			}
		}
	})
}

func TestNodeServer(t *testing.T) {
	port := nodeServer(t, node(t))
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, compression := range []bool{false, true} {
			epiClient(t, m.Engine(), "ws://127.0.0.1:"+port+"/", ws.Options{Compression: compression, Subprotocols: []string{"echo"}})
		}
	})
}

// nodeServer starts the server for the time of the test and returns its port.
func nodeServer(t *testing.T, dir string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, "node", "server.js", fmt.Sprint(maxMessage))
	server.Dir, server.Stderr = dir, t.Output()
	stdin, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // it ends then
		_ = server.Wait()
		cancel()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}
