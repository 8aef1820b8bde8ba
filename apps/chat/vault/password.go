package vault

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/epinet/epi/apps/chat/hall"
)

// Passwords in a configuration are plain, or in one of two forms that cannot be
// turned back: bcrypt's ($2a$…), and what SCRAM-SHA-256 keeps, written as
// PostgreSQL does:
//
//	SCRAM-SHA-256$4096:SALT$STOREDKEY:SERVERKEY
//
// Only the last, and a plain one, can be used by clients that speak SCRAM.
const (
	bcryptPrefix = "$2"
	scramPrefix  = "SCRAM-SHA-256$"
)

// scramIterations is what RFC 7677 asks for at least; the client has to do them,
// too, perhaps on a phone.
const scramIterations = 4096

// Matches reports whether password is the one that is kept.
func Matches(kept, password string) bool {
	switch {
	case kept == "":
		return false
	case strings.HasPrefix(kept, bcryptPrefix):
		return bcrypt.CompareHashAndPassword([]byte(kept), forBcrypt(password)) == nil
	case strings.HasPrefix(kept, scramPrefix):
		v, err := parseVerifier(kept)
		if err != nil {
			return false
		}
		again, err := verifier(password, v.Salt, v.Iterations)
		return err == nil && subtle.ConstantTimeCompare(again.StoredKey, v.StoredKey) == 1
	}
	a, b := sha256.Sum256([]byte(kept)), sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// waste takes the time of a check, so that a client cannot learn from it whether
// a name exists.
func (v *Vault) waste(password string) {
	_ = bcrypt.CompareHashAndPassword(v.decoy(), forBcrypt(password))
}

// newDecoy makes what nobody's password is compared with: its cost is that of new
// passwords, so that both take the same time.
func newDecoy(cost int) func() []byte {
	return sync.OnceValue(func() []byte {
		hash, err := bcrypt.GenerateFromPassword([]byte("nobody's"), orStandard(cost))
		if err != nil {
			panic(err) // the cost and the length are right
		}
		return hash
	})
}

// verifierOf returns what SCRAM needs, nil where the kept form does not allow it.
func verifierOf(kept string) *hall.Verifier {
	switch {
	case kept == "", strings.HasPrefix(kept, bcryptPrefix):
		return nil
	case strings.HasPrefix(kept, scramPrefix):
		v, err := parseVerifier(kept)
		if err != nil {
			return nil
		}
		return v
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // it never fails
	v, err := verifier(kept, salt, scramIterations)
	if err != nil {
		return nil
	}
	return v
}

// verifier makes what SCRAM keeps of a password (RFC 5802, section 3).
func verifier(password string, salt []byte, iterations int) (*hall.Verifier, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return nil, err
	}
	client := sha256.Sum256(sum(salted, "Client Key"))
	return &hall.Verifier{
		Salt: salt, Iterations: iterations,
		StoredKey: client[:], ServerKey: sum(salted, "Server Key"),
	}, nil
}

func sum(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func parseVerifier(kept string) (*hall.Verifier, error) {
	bad := fmt.Errorf("write SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY, the last three in base64")
	parameters, keys, ok := strings.Cut(strings.TrimPrefix(kept, scramPrefix), "$")
	count, salt64, ok2 := strings.Cut(parameters, ":")
	stored64, server64, ok3 := strings.Cut(keys, ":")
	if !ok || !ok2 || !ok3 {
		return nil, bad
	}
	iterations, err := strconv.Atoi(count)
	salt, err1 := base64.StdEncoding.DecodeString(salt64)
	stored, err2 := base64.StdEncoding.DecodeString(stored64)
	server, err3 := base64.StdEncoding.DecodeString(server64)
	if err != nil || err1 != nil || err2 != nil || err3 != nil || iterations < 1 || len(stored) != sha256.Size || len(server) != sha256.Size {
		return nil, bad
	}
	return &hall.Verifier{Salt: salt, Iterations: iterations, StoredKey: stored, ServerKey: server}, nil
}

// Hash returns the forms in which a configuration can keep a password: bcrypt's
// with a cost, for which 0 means about 100 ms on this machine, and SCRAM's.
func Hash(password string, cost int) (bcryptForm, scramForm string, err error) {
	hash, err := bcrypt.GenerateFromPassword(forBcrypt(password), orStandard(cost))
	if err != nil {
		return "", "", err
	}
	v := verifierOf(password)
	b64 := base64.StdEncoding.EncodeToString
	return string(hash), fmt.Sprintf("%s%d:%s$%s:%s", scramPrefix, v.Iterations, b64(v.Salt), b64(v.StoredKey), b64(v.ServerKey)), nil
}

// orStandard is cost, or what 0 stands for.
func orStandard(cost int) int {
	if cost == 0 {
		return standardCost()
	}
	return cost
}

var standardCost = sync.OnceValue(func() int { return costFor(100 * time.Millisecond) })

// maxBcrypt is the most bytes of a password that bcrypt looks at.
const maxBcrypt = 72

// forBcrypt returns a password as bcrypt is given it: of a longer one, the hash.
func forBcrypt(password string) []byte {
	if len(password) <= maxBcrypt {
		return []byte(password)
	}
	hash := sha256.Sum256([]byte(password))
	return base64.StdEncoding.AppendEncode(nil, hash[:])
}

// costFor returns the cost of bcrypt that takes at least that long here: each step
// doubles the time.
func costFor(least time.Duration) int {
	cost := bcrypt.MinCost
	began := time.Now()
	_, _ = bcrypt.GenerateFromPassword([]byte("measure"), cost)
	for took := max(time.Since(began), time.Microsecond); took < least && cost < 15; took *= 2 {
		cost++
	}
	return max(cost, bcrypt.DefaultCost)
}
