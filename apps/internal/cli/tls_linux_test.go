package cli

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi/internal/epitest"
)

// dialTLS connects without trust, and returns the fingerprint that it met.
func dialTLS(t *testing.T, address string) (c *tls.Conn, met string) {
	t.Helper()
	_, place, _ := strings.Cut(address, "://")
	c = tls.Client(dial(t, "tcp://"+place), &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c, fingerprint(c.ConnectionState().PeerCertificates[0].Raw)
}

// writeCertificate makes a certificate that begins to hold now, and its files.
func writeCertificate(t *testing.T, cert, key string, now time.Time) {
	t.Helper()
	made, err := makeCertificate(nil, now)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: made.Certificate[0]},
		key:  {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTrialCertificate(t *testing.T) {
	p := start(t, "echo", "--json", "--listen", "tls://127.0.0.1:0")
	begun := await[startEvent](p, "start")
	c, met := dialTLS(t, begun.Listen[0])
	if begun.Certificate == nil || begun.Certificate.Fingerprint != met {
		t.Fatalf("the certificate is %s, told is %+v", met, begun.Certificate)
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if err := c.ConnectionState().PeerCertificates[0].VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	epitest.RoundTrip(t, c, "hello")
	_ = c.Close()
	p.signal(syscall.SIGTERM)
	if totals := await[totalsEvent](p, "totals"); totals.Handshakes != 1 {
		t.Errorf("the totals are %+v", totals)
	}
	p.end(exitDone)
}

// SIGHUP changes the certificate; files that cannot be used change nothing.
func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, cert, key, time.Now())
	p := start(t, "echo", "--json", "--listen", "tls://127.0.0.1:0", "--cert", cert, "--key", key)
	begun := await[startEvent](p, "start")
	_, first := dialTLS(t, begun.Listen[0])

	writeCertificate(t, cert, key, time.Now())
	p.signal(syscall.SIGHUP)
	told := await[certificateEvent](p, "certificate")
	_, second := dialTLS(t, begun.Listen[0])
	if second == first || told.Fingerprint != second || told.Error != "" {
		t.Errorf("after %s comes %s, told is %+v", first, second, told)
	}

	if err := os.WriteFile(cert, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	told = await[certificateEvent](p, "certificate")
	if _, met := dialTLS(t, begun.Listen[0]); met != second || told.Fingerprint != second || !strings.Contains(told.Error, cert) {
		t.Errorf("the certificate is %s, want %s; told is %+v", met, second, told)
	}
	p.signal(syscall.SIGTERM)
	if _, stderr := p.end(exitDone); !strings.Contains(stderr, "level=ERROR") || !strings.Contains(stderr, "send SIGHUP again") {
		t.Errorf("the log says %q", stderr)
	}
}

func TestCertificateThatCannotBeUsedExitsWith1(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	writeCertificate(t, at("good"), at("key"), time.Now())
	writeCertificate(t, at("expired"), at("expired.key"), time.Now().Add(-2*trialLife))
	writeCertificate(t, at("early"), at("early.key"), time.Now().Add(2*clockSkew))
	if err := os.WriteFile(at("garbage"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, cert, key string
		words           []string
	}{
		{"expired", "expired", "expired.key", []string{"expired", "renew"}},
		{"not yet valid", "early", "early.key", []string{"not valid before", "clock"}},
		{"mismatched", "good", "expired.key", []string{"expired.key", "does not match", "made with"}},
		{"malformed", "garbage", "key", []string{"PEM"}},
		{"missing", "none", "key", []string{"no such file", "give a file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := call("echo", "--loops", "1", "--listen", "tls://127.0.0.1:0", "--cert", at(c.cert), "--key", at(c.key))
			if code != exitFailed || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			expectOneLine(t, stderr, append(c.words, at(c.cert))...)
		})
	}
}

func TestClientsNeedCertificatesOfTheirIssuer(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, cert, key, time.Now())
	p := start(t, "echo", "--json", "--listen", "tls://127.0.0.1:0", "--client-ca", cert)
	begun := await[startEvent](p, "start")
	c, _ := dialTLS(t, begun.Listen[0])
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a client without a certificate reads %v", err)
	}
	epitest.ExpectEOF(t, c.NetConn()) // the alert may leave before the refusal is counted
	p.signal(syscall.SIGTERM)
	if totals := await[totalsEvent](p, "totals"); totals.Refused != 1 {
		t.Errorf("the totals are %+v", totals)
	}
	p.end(exitDone)
	code, _, stderr := call("echo", "--loops", "1", "--listen", "tls://127.0.0.1:0", "--client-ca", key)
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	expectOneLine(t, stderr, "--client-ca", key, "no certificate")
}

// SIGHUP changes whose certificates are accepted, also of those who resume a
// session; a file that cannot be used changes nothing.
func TestIssuersOfClientsAreReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "issuers.pem")
	first, second := clientConfig(t), clientConfig(t)
	writeIssuer(t, file, first)
	p := start(t, "echo", "--json", "--listen", "tls://127.0.0.1:0", "--client-ca", file)
	begun := await[startEvent](p, "start")
	expect := func(who string, config *tls.Config, welcome bool) {
		t.Helper()
		c := tls.Client(dial(t, "tcp://"+strings.TrimPrefix(begun.Listen[0], "tls://")), config)
		_, err := c.Write([]byte("x"))
		if err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		if welcome != (err == nil) || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the client of the %s issuer reads %v", who, err)
		}
		_ = c.Close()
	}
	expect("first", first, true)
	expect("second", second, false)

	writeIssuer(t, file, second)
	p.signal(syscall.SIGHUP)
	if told := await[certificateEvent](p, "certificate"); told.ClientCA != file || told.ClientCAError != "" || told.Error != "" {
		t.Errorf("told is %+v", told)
	}
	expect("first", first, false)
	expect("second", second, true)

	if err := os.WriteFile(file, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	if told := await[certificateEvent](p, "certificate"); !strings.Contains(told.ClientCAError, file) || told.Error != "" {
		t.Errorf("told is %+v", told)
	}
	expect("second", second, true)
	p.signal(syscall.SIGTERM)
	if _, stderr := p.end(exitDone); !strings.Contains(stderr, "level=ERROR") || !strings.Contains(stderr, "old issuers") {
		t.Errorf("the log says %q", stderr)
	}
}

// clientConfig returns the configuration of a client that has a certificate,
// trusts everybody and resumes its sessions.
func clientConfig(t *testing.T) *tls.Config {
	t.Helper()
	made, _, err := epitest.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	made.InsecureSkipVerify, made.ClientSessionCache = true, tls.NewLRUClientSessionCache(0)
	return made
}

// writeIssuer makes the file with the issuer of a client's certificate.
func writeIssuer(t *testing.T, file string, of *tls.Config) {
	t.Helper()
	block := &pem.Block{Type: "CERTIFICATE", Bytes: of.Certificates[0].Certificate[0]}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Garbage and plain HTTP end their own connection, and the log says so.
func TestGarbageOnTLSEndsThatConnection(t *testing.T) {
	p := start(t, "echo", "--json", "--log-level", "info", "--listen", "tls://127.0.0.1:0")
	begun := await[startEvent](p, "start")
	place := strings.TrimPrefix(begun.Listen[0], "tls://")
	good, _ := dialTLS(t, begun.Listen[0])
	for _, text := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x00\x01\x02 garbage"} {
		c := dial(t, "tcp://"+place)
		epitest.Say(t, c, text)
		var answer bytes.Buffer
		if _, err := answer.ReadFrom(c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Error(err)
		}
	}
	epitest.RoundTrip(t, good, "hello")
	_ = good.Close()
	p.signal(syscall.SIGTERM)
	if totals := await[totalsEvent](p, "totals"); totals.Refused != 2 {
		t.Errorf("the totals are %+v", totals)
	}
	if _, stderr := p.end(exitDone); strings.Count(stderr, "a connection is refused") != 2 {
		t.Errorf("the log says %q", stderr)
	}
}

func TestProxyHeaderFromTrustedNetworksOnly(t *testing.T) {
	for network, trusted := range map[string]bool{"127.0.0.0/8": true, "10.0.0.0/8": false} {
		p := start(t, "echo", "--json", "--proxy-from", network, "--listen", "tcp://127.0.0.1:0", "--listen", "tls://127.0.0.1:0")
		begun := await[startEvent](p, "start")
		for _, address := range begun.Listen {
			scheme, place, _ := strings.Cut(address, "://")
			var c net.Conn = dial(t, "tcp://"+place)
			epitest.Say(t, c, "PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n")
			if !trusted {
				if n, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: %d bytes came, %v", address, n, err)
				}
				continue
			}
			if scheme == "tls" {
				c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
			}
			epitest.RoundTrip(t, c, "hello")
			_ = c.Close()
		}
		p.signal(syscall.SIGTERM)
		if totals := await[totalsEvent](p, "totals"); trusted != (totals.Refused == 0) {
			t.Errorf("%s: the totals are %+v", network, totals)
		}
		p.end(exitDone)
	}
}

func TestOpenSSLAndCurl(t *testing.T) {
	for _, tool := range []string{"openssl", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("install %s: ./scripts/install-test-tools", tool)
		}
	}
	p := start(t, "echo", "--json", "--listen", "tls://127.0.0.1:0", "--listen", "wss://127.0.0.1:0")
	begun := await[startEvent](p, "start")
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		cmd := exec.Command("openssl", "s_client", "-quiet", "-no_ign_eof", version, "-connect", strings.TrimPrefix(begun.Listen[0], "tls://"))
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		watchdog := time.AfterFunc(epitest.Patience, func() { _ = cmd.Process.Kill() })
		_, _ = in.Write([]byte("hello\n"))
		got := make([]byte, 6)
		if _, err := io.ReadFull(out, got); err != nil || string(got) != "hello\n" {
			t.Errorf("%s: %q, %v", version, got, err)
		}
		_ = in.Close()
		_ = cmd.Wait()
		watchdog.Stop()
	}
	for path, want := range map[string]string{"/healthz": "^ok\n$", "/": "(?i)<!doctype html"} {
		url := "https://" + strings.TrimPrefix(begun.Listen[1], "wss://") + path
		body, err := exec.Command("curl", "-sSk", "--max-time", fmt.Sprint(epitest.Patience.Seconds()), url).CombinedOutput()
		if err != nil || !regexp.MustCompile(want).Match(body) {
			t.Errorf("%s: %q, %v", url, body, err)
		}
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

func TestEchoOfDatagrams(t *testing.T) {
	p := start(t, "echo", "--json", "--listen", "udp://127.0.0.1:0", "--listen", "unixgram://"+filepath.Join(t.TempDir(), "d"))
	begun := await[startEvent](p, "start")
	epitest.RoundTrip(t, dial(t, begun.Listen[0]), "hello")
	unnamed := dial(t, begun.Listen[1]) // cannot be answered
	epitest.Say(t, unnamed, "hello")
	local := filepath.Join(t.TempDir(), "c")
	epitest.RoundTrip(t, dialWith(t, &net.Dialer{LocalAddr: &net.UnixAddr{Name: local, Net: "unixgram"}}, begun.Listen[1]), "hello")
	p.signal(syscall.SIGTERM)
	if totals := await[totalsEvent](p, "totals"); totals.PacketsIn != 3 || totals.PacketsOut != 2 || totals.PacketsDropped != 1 {
		t.Errorf("the totals are %+v", totals)
	}
	p.end(exitDone)
}

// TestHunt20_ProxyFromAndDatagrams says that one of the two addresses takes no part
// in what was asked for.
func TestHunt20_ProxyFromAndDatagrams(t *testing.T) {
	p := start(t, "echo", "--json", "--proxy-from", "10.0.0.0/8", "--listen", "tcp://127.0.0.1:0", "--listen", "udp://127.0.0.1:0")
	p.line("")
	p.signal(syscall.SIGTERM)
	if _, stderr := p.end(0); strings.Count(stderr, "--proxy-from has no effect") != 1 || !strings.Contains(stderr, "udp://") {
		t.Errorf("the log is %q", stderr)
	}
}

// On a Unix socket, headers are taken of the users that were named alone.
func TestHostile12_ProxyUsers(t *testing.T) {
	for users, trusted := range map[string]bool{strconv.Itoa(os.Geteuid()): true, strconv.Itoa(os.Geteuid() + 1): false} {
		path := filepath.Join(t.TempDir(), "echo.sock")
		p := start(t, "echo", "--json", "--proxy-users", users, "--listen", "unix://"+path)
		await[startEvent](p, "start")
		client := dial(t, "unix://"+path)
		epitest.Say(t, client, "PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\nhello")
		if trusted {
			epitest.Expect(t, client, "hello")
		} else if rest, _ := io.ReadAll(client); len(rest) > 0 {
			t.Errorf("of an untrusted user's connection %q comes back", rest)
		}
		_ = client.Close()
		p.signal(syscall.SIGTERM)
		p.end(exitDone)
	}
}
