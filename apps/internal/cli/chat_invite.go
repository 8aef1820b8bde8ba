package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/epinet/epi/apps/chat/gate"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/invite"
	"github.com/epinet/epi/apps/chat/store"
)

// firstFor is how long the link is good for by which the first administrator makes an
// account; the next start prints another.
const firstFor = 24 * time.Hour

// openInvitations prepares what people do to get an account. Where nothing lasts there
// are no invitations.
func (c *chat) openInvitations() error {
	if c.data == "" {
		return nil
	}
	c.invitations = invite.NewDesk(&invite.Desk{
		Store: c.store, Writer: c.writer,
		Claim:    func(ctx context.Context, account string) (hall.Claim, error) { return c.gate.Claim(ctx, account) },
		Disclaim: func(account string) { c.gate.Disclaim(account) },
		Cost:     func() int { return c.config.Passwords.Cost },
	})
	has, err := c.hasAdmin()
	if err != nil || has {
		return err
	}
	expires := time.Now().Add(firstFor)
	c.first, err = c.invitations.Invite(context.Background(), store.Invitation{Role: invite.Admin, Expires: expires, Left: 1})
	return err
}

var errFound = errors.New("found")

// hasAdmin reports whether somebody can invite others.
func (c *chat) hasAdmin() (bool, error) {
	err := c.store.Accounts(context.Background(), func(a store.Account) error {
		if a.Role == invite.Admin {
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

// invitePages are what the client in the browser asks about accounts.
func (c *chat) invitePages() *invite.Pages {
	return &invite.Pages{
		Desk: c.invitations, Login: c.login.Account, Forget: c.login.Forget, Log: c.engine.Logger,
		Vault: func() invite.Vault { return c.gate.Vault() }, Realm: realm{c.gate, c},
	}
}

// realm is the chat as administrators see it in the page.
type realm struct {
	*gate.Server
	chat *chat
}

// State is a method of invite.Realm.
func (r realm) State() map[string]any {
	s, e := r.Stats(), r.chat.engine.Stats()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return map[string]any{
		"version": "epi " + version(), "driver": e.Driver, "uptime": int64(time.Since(r.chat.created).Seconds()),
		"sessions": s.Sessions, "users": s.Users, "channels": s.Channels, "lines": s.Lines, "deliveries": s.Deliveries,
		"sheds": s.Sheds, "faults": s.Faults, "unkept": s.Unkept, "memory": memory.Sys - memory.HeapReleased,
	}
}

// links are what a person opens in a browser: at first, to become the administrator.
func (c *chat) links(addresses []string) []string {
	links := pageLinks(addresses)
	if c.first == "" {
		return links
	}
	for i := range links {
		links[i] += "/#join=" + c.first
	}
	return links
}

// ownData is where a chat that was given no arguments keeps its data: as the XDG base
// directory specification says, and elsewhere as the system does.
func ownData() (string, error) {
	base := os.Getenv("XDG_DATA_HOME")
	if filepath.IsAbs(base) { // the specification: relative ones are to be ignored
		return filepath.Join(base, "epi-chat"), nil
	}
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		base, err := os.UserConfigDir()
		return filepath.Join(base, "epi-chat"), err
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "share", "epi-chat"), err
}
