package examples

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

// nginxConfig is for two servers, of one process, that say who they are. Their sockets
// are Unix ones: no other test can take their port.
const nginxConfig = `
daemon off;
master_process off;
pid DIR/pid;
error_log stderr;
events { worker_connections 1000; }
http {
	access_log off;
	client_body_temp_path DIR/body;
	proxy_temp_path DIR/proxy;
	fastcgi_temp_path DIR/fastcgi;
	uwsgi_temp_path DIR/uwsgi;
	scgi_temp_path DIR/scgi;
	server { listen unix:DIR/one; location / { return 200 one; } location /file { root DIR; } }
	server { listen unix:DIR/two; location / { return 200 two; } location /file { root DIR; } }
}
`

// startNginx returns the addresses of two servers that run until the test ends.
func startNginx(t *testing.T) (one, two string) {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/nginx") // which is not in everybody's PATH
	}
	if err != nil {
		t.Skip("nginx is not installed")
	}
	dir, err := os.MkdirTemp("", "nginx") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(nginxConfig, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), epitest.Pattern(4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	server := exec.CommandContext(t.Context(), path, "-p", dir, "-c", config)
	server.Stderr = &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = server.Wait(); close(ended) }()
	t.Cleanup(func() { _ = server.Process.Kill(); <-ended })
	two = filepath.Join(dir, "two")
	epitest.WaitUntil(t, "nginx to listen", func() bool {
		select {
		case <-ended:
			t.Fatalf("nginx has ended:\n%s", said.String())
		default:
		}
		c, err := net.Dial("unix", two)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
	return "unix://" + filepath.Join(dir, "one"), "unix://" + two
}

// TestBalancer spreads connections over two servers of nginx.
func TestBalancer(t *testing.T) {
	t.Parallel()
	one, two := startNginx(t)
	address := serve(t, "balancer", one, two)
	said := map[string]int{}
	for i := range 10 {
		// Each client keeps its connection, so the servers take turns.
		client := &http.Client{Timeout: epitest.Patience, Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		for _, path := range []string{"/", "/file"} {
			response, err := client.Get(fmt.Sprintf("http://%s%s", address, path))
			if err != nil {
				t.Fatalf("client %d, %s: %v", i, path, err)
			}
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil || response.StatusCode != http.StatusOK {
				t.Fatalf("client %d, %s: %s, %v", i, path, response.Status, err)
			}
			if path == "/" {
				said[string(body)]++
			} else if string(body) != string(epitest.Pattern(4<<20)) {
				t.Errorf("client %d: %d bytes of the file are not its own", i, len(body))
			}
		}
	}
	if said["one"] != 5 || said["two"] != 5 {
		t.Errorf("the servers had %v connections, want 5 each", said)
	}
	if out := runWrk(t, "http://"+address+"/"); strings.Contains(out, "Non-2xx") || strings.Contains(out, "Socket errors") {
		t.Errorf("wrk:\n%s", out)
	}
}

// TestBalancer_Down resets who can be given to nobody.
func TestBalancer_Down(t *testing.T) {
	t.Parallel()
	c, err := net.Dial("tcp", serve(t, "balancer", "unix://"+filepath.Join(t.TempDir(), "none")))
	if errors.Is(err, syscall.ECONNRESET) {
		return // the balancer was quicker than the dialler
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes from nobody", n)
	}
}
