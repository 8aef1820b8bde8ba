// Package invite lets people make accounts by links that somebody who is in gives
// them, and gives each of their browsers a password of its own. What leaves is a
// random token; what is kept is its hash.
package invite

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/apps/chat/vault"
)

// Admin is the role of accounts that may invite others.
const Admin = vault.AdminRole

const (
	// minPassword is the least characters of a password that is chosen here.
	minPassword = 8
	// maxPassword bounds the bytes: SCRAM hashes all of them many times.
	maxPassword = 1024
	// maxHashes bounds the passwords that are hashed at once.
	maxHashes = 2
	// maxDevices bounds the devices of an account; the one that was made first makes
	// room.
	maxDevices = 50
	// deviceName bounds the bytes of a device's name.
	deviceName = 64
)

// What can be wrong with what somebody wants.
var (
	// ErrInvitation: it has expired, was used up, or never was.
	ErrInvitation = errors.New("the invitation cannot be used: it has expired or was used up")
	// ErrTaken: an account or a user has that name, or one that looks like it.
	ErrTaken = errors.New("that name is taken")
	// ErrName: no account can have that name.
	ErrName = errors.New("that name cannot be used")
	// ErrPassword: it is too short or too long.
	ErrPassword = errors.New("the password is too short or too long")
	// ErrRole: only administrators may do that.
	ErrRole = errors.New("only administrators may do that")
)

// A Desk makes invitations and accounts. Its fields must not change after the first
// call; its methods may be called from any goroutine, and wait for the store.
type Desk struct {
	Store  store.Store
	Writer *store.Writer
	// Claim takes a name for an account, so that nobody else gets it as a nick, and
	// Disclaim gives it back.
	Claim    func(ctx context.Context, account string) (hall.Claim, error)
	Disclaim func(account string)
	// Cost is bcrypt's, for passwords that people choose; 0 is about 100 ms.
	Cost func() int

	hashes   chan struct{}
	changing sync.Mutex // held while an account is read and written; never by what serves clients
}

// NewDesk returns a desk that uses all of these.
func NewDesk(d *Desk) *Desk {
	d.hashes = make(chan struct{}, maxHashes)
	return d
}

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Invite makes an invitation and returns its token.
func (d *Desk) Invite(ctx context.Context, i store.Invitation) (token string, err error) {
	token = rand.Text()
	i.Hash, i.Created = hashOf(token), time.Now()
	if err := d.Writer.Do(ctx, store.PutInvitation{Invitation: i}); err != nil {
		return "", fmt.Errorf("keep an invitation: %w", err)
	}
	return token, nil
}

// Lookup returns what a token is for, or ErrInvitation.
func (d *Desk) Lookup(ctx context.Context, token string) (store.Invitation, error) {
	i, err := d.Store.Invitation(ctx, hashOf(token))
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && (i.Left <= 0 || !i.Expires.After(time.Now())):
		return store.Invitation{}, ErrInvitation
	case err != nil:
		return store.Invitation{}, fmt.Errorf("look an invitation up: %w", err)
	}
	return i, nil
}

// Join makes an account by an invitation. What is refused uses it not; of several nodes that do not
// answer, the account is made later or the invitation is good again.
func (d *Desk) Join(ctx context.Context, token, name, password string) (store.Account, store.Invitation, error) {
	i, err := d.Lookup(ctx, token)
	if err != nil {
		return store.Account{}, i, err
	}
	if utf8.RuneCountInString(password) < minPassword || len(password) > maxPassword {
		return store.Account{}, i, ErrPassword
	}
	claim, err := d.Claim(ctx, name)
	switch {
	case err != nil:
		return store.Account{}, i, fmt.Errorf("claim a name: %w", err)
	case claim == hall.BadName:
		return store.Account{}, i, ErrName
	case claim == hall.TakenName:
		return store.Account{}, i, ErrTaken
	}
	a := store.Account{Name: name, Created: time.Now(), Role: i.Role}
	if err := d.make(ctx, a, i.Hash, password); err != nil {
		d.giveBack(ctx, name)
		return store.Account{}, i, err
	}
	return a, i, nil
}

// giveBack gives a claimed name back, if it is no account's: one may have been made of it meanwhile at
// another node, and one that could not be said to be kept may have been.
func (d *Desk) giveBack(ctx context.Context, name string) {
	d.Disclaim(name)
	if _, err := d.Store.Account(context.WithoutCancel(ctx), name); err == nil {
		_, _ = d.Claim(context.WithoutCancel(ctx), name) // it fails when all ends
	}
}

func (d *Desk) make(ctx context.Context, a store.Account, invitation, password string) error {
	select {
	case d.hashes <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	plain, scram, err := vault.Hash(password, d.Cost())
	<-d.hashes
	if err != nil {
		return ErrPassword
	}
	err = d.Writer.Do(ctx, store.AddAccount{Account: a, Invitation: invitation, Credentials: []store.Credential{
		{Account: a.Name, Kind: store.Password, Secret: plain, Created: a.Created},
		{Account: a.Name, Kind: store.SCRAM, Secret: scram, Created: a.Created},
	}})
	switch {
	case errors.Is(err, store.ErrExists):
		return ErrTaken
	case errors.Is(err, store.ErrNotFound):
		return ErrInvitation
	case err != nil:
		return fmt.Errorf("keep an account: %w", err)
	}
	return nil
}

// AddDevice gives an account one password more, for a device that is called so.
func (d *Desk) AddDevice(ctx context.Context, account, device string) (password string, err error) {
	if err := d.makeRoom(ctx, account); err != nil {
		return "", err
	}
	password = rand.Text()
	// Nobody guesses 128 random bits, so the cheapest hash will do.
	secret, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	label := fmt.Sprintf("%s (%s)", shortened(device), rand.Text()[:4]) // two browsers may have one name
	err = d.Writer.Do(ctx, store.PutCredential{Credential: store.Credential{
		Account: account, Kind: store.AppPassword, Label: label, Secret: string(secret), Created: time.Now(),
	}})
	if err != nil {
		return "", fmt.Errorf("keep a device's password: %w", err)
	}
	return password, nil
}

// shortened is a device's name, which a browser may say at any length.
func shortened(device string) string {
	if device == "" || !utf8.ValidString(device) {
		return "device"
	}
	for i := range device {
		if i > deviceName {
			return device[:i]
		}
	}
	return device
}

// makeRoom removes the oldest devices' passwords where there are too many.
func (d *Desk) makeRoom(ctx context.Context, account string) error {
	for {
		credentials, err := d.Store.Credentials(ctx, account)
		if err != nil {
			return fmt.Errorf("look devices up: %w", err)
		}
		var oldest *store.Credential
		devices := 0
		for i := range credentials {
			if credentials[i].Kind != store.AppPassword {
				continue
			}
			if devices++; oldest == nil || credentials[i].Created.Before(oldest.Created) {
				oldest = &credentials[i]
			}
		}
		if devices < maxDevices {
			return nil
		}
		if err := d.removeDevice(ctx, account, oldest.Label); err != nil {
			return err
		}
	}
}

// RemoveDevice ends the device that has a password. Another password is none's: the
// account's own stays.
func (d *Desk) RemoveDevice(ctx context.Context, account, password string) error {
	credentials, err := d.Store.Credentials(ctx, account)
	if err != nil {
		return fmt.Errorf("look devices up: %w", err)
	}
	for _, c := range credentials {
		if c.Kind == store.AppPassword && vault.Matches(c.Secret, password) {
			return d.removeDevice(ctx, account, c.Label)
		}
	}
	return nil
}

func (d *Desk) removeDevice(ctx context.Context, account, label string) error {
	err := d.Writer.Do(ctx, store.RemoveCredential{Account: account, Kind: store.AppPassword, Label: label})
	if err != nil && !errors.Is(err, store.ErrNotFound) { // somebody else was faster
		return fmt.Errorf("remove a device's password: %w", err)
	}
	return nil
}
