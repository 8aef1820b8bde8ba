package interop

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/epinet/epi/internal/epitest"
	"github.com/epinet/epi/internal/freeport"
)

// certified is the host that gets a certificate; the name leads to this machine for
// the authority alone.
const certified = "chat.example.test"

// TestChatGetsCertificate: Pebble, the ACME server of Let's Encrypt's authors, gives
// epi chat a certificate, by either of the ways in which it can look: over TLS, and over
// HTTP beside the redirection of browsers.
func TestChatGetsCertificate(t *testing.T) {
	program := buildTool(t, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	chat := build(t)
	for _, way := range []string{"tls-alpn-01", "http-01"} {
		t.Run(way, func(t *testing.T) {
			free := freePorts(t, 4)
			secure, plain := free[0], free[1]
			asked := ports{directory: free[2], tls: secure, http: plain}
			if way == "http-01" {
				asked.tls = free[3] // nobody is there
			}
			pebble, directory, ca := startPebble(t, program, asked)
			server := startProgram(t, exec.Command(chat, "chat", "--json", "--data", t.TempDir(), "--log-level", "info",
				"--listen", "wss://127.0.0.1:"+strconv.Itoa(secure), "--set", "listen.redirect=127.0.0.1:"+strconv.Itoa(plain),
				"--set", "acme.hosts=["+strconv.Quote(certified)+"]", "--set", "acme.directory="+directory, "--set", "acme.ca-file="+ca,
				"--set", "sts.port="+strconv.Itoa(secure)))
			server.out.line(t, `"listen"`)
			pebble.out.line(t, "Issued certificate")
			awaitIssued(t, secure)
			expectStrict(t, secure, plain)
		})
	}
}

// awaitIssued waits until the page's certificate is the authority's.
func awaitIssued(t *testing.T, port int) {
	t.Helper()
	epitest.WaitUntil(t, "a certificate of Pebble", func() bool {
		c, err := tls.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), &tls.Config{ServerName: certified, InsecureSkipVerify: true})
		if err != nil {
			return false
		}
		defer func() { _ = c.Close() }()
		leaf := c.ConnectionState().PeerCertificates[0]
		return strings.Contains(leaf.Issuer.CommonName, "Pebble") && leaf.VerifyHostname(certified) == nil
	})
}

// expectStrict: who comes without TLS is sent to it, and finds a policy there to stay.
func expectStrict(t *testing.T, secure, plain int) {
	t.Helper()
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{ServerName: certified, InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	get := func(url string) *http.Response {
		r, err := http.NewRequestWithContext(within(t), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = certified
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer
	}
	sent := get(fmt.Sprintf("http://127.0.0.1:%d/a?b=c", plain))
	want := fmt.Sprintf("https://%s:%d/a?b=c", certified, secure)
	if got := sent.Header.Get("Location"); sent.StatusCode != http.StatusPermanentRedirect || got != want {
		t.Errorf("over HTTP: %s to %q, want %q", sent.Status, got, want)
	}
	page := get(fmt.Sprintf("https://127.0.0.1:%d/", secure))
	if got := page.Header.Get("Strict-Transport-Security"); page.StatusCode != http.StatusOK || got != "max-age=2592000" {
		t.Errorf("over HTTPS: %s, Strict-Transport-Security %q", page.Status, got)
	}
}

// buildTool builds a tool of go.mod.
func buildTool(t *testing.T, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(pkg))
	if out, err := exec.Command("go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", pkg, err, out)
	}
	return path
}

// freePorts are some where nobody listens.
func freePorts(t *testing.T, n int) (free []int) {
	t.Helper()
	for range n {
		address, err := freeport.Next()
		if err != nil {
			t.Fatal(err)
		}
		free = append(free, int(netip.MustParseAddrPort(address).Port()))
	}
	return free
}

// ports are that of the authority, and those at which it looks.
type ports struct{ directory, tls, http int }

// startPebble starts an authority, and returns its directory and the file of who has
// signed the certificate of that.
func startPebble(t *testing.T, program string, at ports) (pebble running, directory, ca string) {
	t.Helper()
	dir := t.TempDir()
	server, _, err := epitest.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	own := server.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	ca, keyFile, configFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "config.json")
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(at.directory))
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": address, "certificate": ca, "privateKey": keyFile, "httpPort": at.http, "tlsPort": at.tls,
		"retryAfter": map[string]int{"authz": 1, "order": 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]}), keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), configFile: config,
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-config", configFile, "-dnsserver", serveNames(t))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	pebble = startProgram(t, cmd)
	pebble.out.line(t, "Listening on")
	return pebble, "https://" + address + "/dir", ca
}

// serveNames answers questions of the DNS over TCP: all names lead to this machine.
func serveNames(t *testing.T) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = conn.Close() }()
				if err := answerNames(conn); err != nil {
					t.Error(err)
				}
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); serving.Wait() })
	return ln.Addr().String()
}

// answerNames answers the questions of a connection; each has its length before it
// (RFC 1035, section 4.2.2). Whoever asks may give up at any time.
func answerNames(conn net.Conn) error {
	for {
		var length uint16
		if binary.Read(conn, binary.BigEndian, &length) != nil {
			return nil
		}
		question := make([]byte, length)
		if _, err := io.ReadFull(conn, question); err != nil {
			return nil
		}
		answer, err := answerName(question)
		if err != nil {
			return err
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return nil
		}
	}
}

func answerName(question []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	for _, q := range m.Questions {
		if q.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			})
		}
	}
	return m.Pack()
}
