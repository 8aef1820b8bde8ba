package tlspipe

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// TestPipe_KeyUpdate: a client changes its keys and asks for the same of the server
// (RFC 8446, section 4.6.3), which crypto/tls does not do by itself. So the client's
// records are made here, with the secret that it has written to its key log.
func TestPipe_KeyUpdate(t *testing.T) {
	var log bytes.Buffer
	_, s := connected(t, nil, &tls.Config{KeyLogWriter: &log, MinVersion: tls.VersionTLS13})
	if suite := s.State().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skipf("the cipher suite is %s: this machine has no AES instructions", tls.CipherSuiteName(suite))
	}
	w := newRecordWriter(t, secretOf(t, log.String()))
	s.feed(w.record(handshakeType, []byte{24, 0, 0, 1, 1}))
	if !s.Waiting() {
		t.Error("the server's own change of keys is not sealed")
	}
	select {
	case <-s.host.woken:
	default:
		t.Error("nobody is asked to send it")
	}
	w = newRecordWriter(t, expand(t, w.secret, "traffic upd", sha256.Size))
	s.feed(w.record(applicationType, []byte("with new keys")))
	s.expect(t, []byte("with new keys"))
}

const (
	handshakeType   = 22
	applicationType = 23
)

// secretOf finds the client's secret in a key log (RFC 9850).
func secretOf(t *testing.T, log string) []byte {
	t.Helper()
	for line := range strings.Lines(log) {
		if fields := strings.Fields(line); fields[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(fields[2])
			if err != nil {
				t.Fatal(err)
			}
			return secret
		}
	}
	t.Fatal("the key log has no secret")
	return nil
}

// expand is HKDF-Expand-Label without a context (RFC 8446, section 7.1).
func expand(t *testing.T, secret []byte, label string, size int) []byte {
	t.Helper()
	label = "tls13 " + label
	info := append([]byte{byte(size >> 8), byte(size), byte(len(label))}, label...)
	key, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), size)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A recordWriter makes records of one key.
type recordWriter struct {
	secret, iv []byte
	aead       cipher.AEAD
	sequence   byte
}

func newRecordWriter(t *testing.T, secret []byte) *recordWriter {
	t.Helper()
	block, err := aes.NewCipher(expand(t, secret, "key", 16))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(fmt.Errorf("gcm: %w", err))
	}
	return &recordWriter{secret: secret, iv: expand(t, secret, "iv", 12), aead: aead}
}

// record is RFC 8446, section 5.2.
func (w *recordWriter) record(kind byte, content []byte) []byte {
	inner := append(bytes.Clone(content), kind)
	size := len(inner) + w.aead.Overhead()
	header := []byte{applicationType, 3, 3, byte(size >> 8), byte(size)}
	nonce := bytes.Clone(w.iv)
	nonce[len(nonce)-1] ^= w.sequence
	w.sequence++
	return w.aead.Seal(header, nonce, inner, header)
}
