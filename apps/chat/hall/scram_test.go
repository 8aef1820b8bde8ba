package hall

import (
	"crypto/pbkdf2"
	"crypto/sha256"
)

// verifierOf returns what is kept of a password for SCRAM-SHA-256.
func verifierOf(password string) *Verifier {
	salt := []byte("0123456789abcdef")
	salted, err := pbkdf2.Key(sha256.New, password, salt, 4096, sha256.Size)
	if err != nil {
		panic(err)
	}
	stored := sha256.Sum256(sign(salted, "Client Key"))
	return &Verifier{Salt: salt, Iterations: 4096, StoredKey: stored[:], ServerKey: sign(salted, "Server Key")}
}
