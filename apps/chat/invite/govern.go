package invite

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/apps/chat/vault"
)

const (
	maxPeople = 1000 // accounts in one answer
	maxDeeds  = 200  // entries of the log in one answer
	maxReason = 300  // bytes
)

// ErrLastAdmin: without an administrator nobody could make another.
var ErrLastAdmin = errors.New("the last administrator stays one")

// A Realm is the running chat as administrators see it. Its methods may be called from
// any goroutine, and wait.
type Realm interface {
	People(ctx context.Context) ([]hall.Person, error)
	Rooms(ctx context.Context) ([]hall.Room, error)
	Bans(ctx context.Context) ([]hall.KeptBan, error)
	// Ban, Unban and KeepFor return what the hall has against it, which wraps
	// hall.ErrGovern.
	Ban(ctx context.Context, by, mask, reason string, d time.Duration) (hall.KeptBan, error)
	Unban(ctx context.Context, mask string) error
	KeepFor(ctx context.Context, channel string, days int) error
	// Expel ends all sessions of an account.
	Expel(ctx context.Context, account, reason string) error
	// Note says something to all sessions of an account; programs read the code.
	Note(ctx context.Context, account, code, text string) error
	// State is what the page shows of the server: names, with numbers or texts.
	State() map[string]any
}

// govern adds what administrators do. Each deed is in the log before it is answered.
func (p *Pages) govern(mux *http.ServeMux) {
	mux.HandleFunc("POST "+Path+"admin/people", admins(p, p.people))
	mux.HandleFunc("POST "+Path+"admin/role", admins(p, p.role))
	mux.HandleFunc("POST "+Path+"admin/suspend", admins(p, p.suspend))
	mux.HandleFunc("POST "+Path+"admin/channels", admins(p, p.channels))
	mux.HandleFunc("POST "+Path+"admin/keep", admins(p, p.keepFor))
	mux.HandleFunc("POST "+Path+"admin/bans", admins(p, p.bans))
	mux.HandleFunc("POST "+Path+"admin/ban", admins(p, p.ban))
	mux.HandleFunc("POST "+Path+"admin/unban", admins(p, p.unban))
	mux.HandleFunc("POST "+Path+"admin/log", admins(p, p.deeds))
	mux.HandleFunc("POST "+Path+"admin/state", admins(p, p.state))
}

// admins is known for requests of administrators. Whether somebody is one is looked up
// for each: it ends at once.
func admins[Q any](p *Pages, serve func(ctx context.Context, by string, q *Q) (any, error)) http.HandlerFunc {
	return known(p, func(ctx context.Context, who caller, q *Q) (any, error) {
		a, err := p.Desk.administrator(ctx, who.account)
		if err != nil {
			return nil, err
		}
		return serve(ctx, a.Name, q)
	})
}

// administrator returns the account of one, or ErrRole.
func (d *Desk) administrator(ctx context.Context, account string) (store.Account, error) {
	a, err := d.Store.Account(ctx, account)
	if errors.Is(err, store.ErrNotFound) || err == nil && (a.Role != Admin || a.Suspended != "") {
		return store.Account{}, ErrRole
	}
	return a, err
}

// note puts a deed into the log.
func (d *Desk) note(ctx context.Context, by, what, target, detail string) error {
	err := d.Writer.Do(ctx, store.AddDeed{Deed: store.Deed{At: time.Now(), By: by, What: what, Target: target, Detail: detail}})
	if err != nil {
		return fmt.Errorf("keep what an administrator did: %w", err)
	}
	return nil
}

type somebody struct {
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	Suspended string    `json:"suspended"`
	Created   time.Time `json:"created"`
	Online    bool      `json:"online"`
}

type find struct {
	Text string `json:"text"`
}

var errEnough = errors.New("enough")

// people are the accounts whose names have a text in them.
func (p *Pages) people(ctx context.Context, _ string, q *find) (any, error) {
	users, err := p.Realm.People(ctx)
	if err != nil {
		return nil, err
	}
	online := map[string]bool{}
	for _, u := range users {
		online[strings.ToLower(u.Account)] = true
	}
	list, wanted := []somebody{}, strings.ToLower(q.Text)
	err = p.Desk.Store.Accounts(ctx, func(a store.Account) error {
		if !strings.Contains(strings.ToLower(a.Name), wanted) {
			return nil
		}
		if len(list) >= maxPeople {
			return errEnough
		}
		list = append(list, somebody{a.Name, a.Role, a.Suspended, a.Created, online[strings.ToLower(a.Name)]})
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return map[string]any{"people": list, "more": err != nil}, nil
}

// change changes an account. One at a time does, so that an administrator stays.
func (d *Desk) change(ctx context.Context, name string, change func(a *store.Account) (store.Write, error)) (store.Account, error) {
	d.changing.Lock()
	defer d.changing.Unlock()
	a, err := d.Store.Account(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return a, errRequest
	}
	if err != nil {
		return a, err
	}
	write, err := change(&a)
	if err != nil {
		return a, err
	}
	return a, d.Writer.Do(ctx, write)
}

// demote returns ErrLastAdmin where an account is the only one that can govern.
func (d *Desk) demote(ctx context.Context, a *store.Account) error {
	if a.Role != Admin || a.Suspended != "" {
		return nil
	}
	err := d.Store.Accounts(ctx, func(other store.Account) error {
		if other.Name != a.Name && other.Role == Admin && other.Suspended == "" {
			return errEnough
		}
		return nil
	})
	if err == nil {
		return ErrLastAdmin
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// roleChanged is the code by which pages that are open know that they have to ask for
// the account's role again.
const roleChanged = "ROLE_CHANGED"

type roleOf struct {
	Name string `json:"name"`
	Role string `json:"role"`
}

func (p *Pages) role(ctx context.Context, by string, q *roleOf) (any, error) {
	if q.Role != "" && q.Role != Admin {
		return nil, errRequest
	}
	a, err := p.Desk.change(ctx, q.Name, func(a *store.Account) (store.Write, error) {
		if q.Role == "" {
			if err := p.Desk.demote(ctx, a); err != nil {
				return nil, err
			}
		}
		return store.SetRole{Account: a.Name, Role: q.Role}, nil
	})
	if err != nil {
		return nil, err
	}
	if err := p.Desk.note(ctx, by, "role", a.Name, q.Role); err != nil {
		return nil, err
	}
	text := "You are an administrator now"
	if q.Role == "" {
		text = "You are no administrator any more"
	}
	return struct{}{}, p.Realm.Note(ctx, a.Name, roleChanged, text)
}

type suspending struct {
	Name   string `json:"name"`
	Reason string `json:"reason"` // "" lets them in again
}

func (p *Pages) suspend(ctx context.Context, by string, q *suspending) (any, error) {
	if !isLine(q.Reason, maxReason) {
		return nil, errRequest
	}
	a, err := p.Desk.change(ctx, q.Name, func(a *store.Account) (store.Write, error) {
		if q.Reason != "" {
			if err := p.Desk.demote(ctx, a); err != nil {
				return nil, err
			}
		}
		return store.SetSuspended{Account: a.Name, Reason: q.Reason}, nil
	})
	if err != nil {
		return nil, err
	}
	if q.Reason == "" {
		return struct{}{}, p.Desk.note(ctx, by, "unsuspend", a.Name, "")
	}
	p.Forget(a.Name)
	if err := p.Realm.Expel(ctx, a.Name, "Your account is suspended: "+q.Reason); err != nil {
		return nil, err
	}
	return struct{}{}, p.Desk.note(ctx, by, "suspend", a.Name, q.Reason)
}

type room struct {
	Name    string `json:"name"`
	Topic   string `json:"topic"`
	Members int    `json:"members"`
	Founder string `json:"founder"` // "" where it is not registered
	Days    int    `json:"days"`
}

func (p *Pages) channels(ctx context.Context, _ string, _ *struct{}) (any, error) {
	rooms, err := p.Realm.Rooms(ctx)
	list := []room{}
	for _, r := range rooms {
		list = append(list, room{r.Name, r.Topic, r.Members, r.Founder, r.KeepDays})
	}
	return map[string]any{"channels": list}, err
}

type keeping struct {
	Channel string `json:"channel"`
	Days    int    `json:"days"`
}

func (p *Pages) keepFor(ctx context.Context, by string, q *keeping) (any, error) {
	if err := p.Realm.KeepFor(ctx, q.Channel, q.Days); err != nil {
		return nil, err
	}
	return struct{}{}, p.Desk.note(ctx, by, "retention", q.Channel, fmt.Sprintf("%d days", q.Days))
}

type banned struct {
	Mask   string    `json:"mask"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Until  time.Time `json:"until,omitzero"`
}

func (p *Pages) bans(ctx context.Context, _ string, _ *struct{}) (any, error) {
	bans, err := p.Realm.Bans(ctx)
	list := []banned{}
	for _, b := range bans {
		one := banned{Mask: b.Mask, Reason: b.Reason, By: b.By, At: time.Unix(b.At, 0)}
		if b.Until != 0 {
			one.Until = time.Unix(b.Until, 0)
		}
		list = append(list, one)
	}
	return map[string]any{"bans": list}, err
}

type banning struct {
	Mask   string `json:"mask"`
	Reason string `json:"reason"`
	Hours  int    `json:"hours"` // 0: for good
}

// mostHours is a hundred years.
const mostHours = 100 * 365 * 24

func (p *Pages) ban(ctx context.Context, by string, q *banning) (any, error) {
	if q.Hours < 0 || q.Hours > mostHours || !isLine(q.Reason, maxReason) || !isLine(q.Mask, maxReason) {
		return nil, errRequest
	}
	b, err := p.Realm.Ban(ctx, by, q.Mask, q.Reason, time.Duration(q.Hours)*time.Hour)
	if err != nil {
		return nil, err
	}
	return struct{}{}, p.Desk.note(ctx, by, "ban", b.Mask, b.Reason)
}

type maskOnly struct {
	Mask string `json:"mask"`
}

func (p *Pages) unban(ctx context.Context, by string, q *maskOnly) (any, error) {
	if err := p.Realm.Unban(ctx, q.Mask); err != nil {
		return nil, err
	}
	return struct{}{}, p.Desk.note(ctx, by, "unban", q.Mask, "")
}

type deed struct {
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	What   string    `json:"what"`
	Target string    `json:"target"`
	Detail string    `json:"detail"`
}

func (p *Pages) deeds(ctx context.Context, _ string, _ *struct{}) (any, error) {
	log, err := p.Desk.Store.Audit(ctx, maxDeeds)
	list := []deed{}
	for _, d := range log {
		list = append(list, deed(d))
	}
	return map[string]any{"log": list}, err
}

func (p *Pages) state(context.Context, string, *struct{}) (any, error) {
	return map[string]any{"state": p.Realm.State()}, nil
}

// isLine reports whether a text is one line, of at most so many bytes.
func isLine(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsAny(s, "\r\n\x00")
}

// What people do with their own account.

type ownDevice struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Used    time.Time `json:"used,omitzero"`
	Here    bool      `json:"here"` // the one that asks
}

// ownRole is what who asks is now.
func (p *Pages) ownRole(ctx context.Context, who caller, _ *struct{}) (any, error) {
	a, err := p.Desk.Store.Account(ctx, who.account)
	if errors.Is(err, store.ErrNotFound) { // of the configuration
		err = nil
	}
	return map[string]string{"role": a.Role}, err
}

// devices are those of who asks.
func (p *Pages) devices(ctx context.Context, who caller, _ *struct{}) (any, error) {
	credentials, err := p.Desk.Store.Credentials(ctx, who.account)
	if err != nil {
		return nil, err
	}
	list := []ownDevice{}
	for _, c := range credentials {
		if c.Kind == store.AppPassword {
			list = append(list, ownDevice{c.Label, c.Created, c.Used, vault.Matches(c.Secret, who.password)})
		}
	}
	slices.SortFunc(list, func(a, b ownDevice) int { return b.Created.Compare(a.Created) })
	return map[string]any{"devices": list}, nil
}

type nameOnly struct {
	Name string `json:"name"`
}

func (p *Pages) removeDevice(ctx context.Context, who caller, q *nameOnly) (any, error) {
	defer p.Forget(who.account)
	return struct{}{}, p.Desk.removeDevice(ctx, who.account, q.Name)
}

type renewing struct {
	Old string `json:"old"`
	New string `json:"new"`
}

// password changes the account's own. Who has a device only must know the old one.
func (p *Pages) password(ctx context.Context, who caller, q *renewing) (any, error) {
	if utf8.RuneCountInString(q.New) < minPassword || len(q.New) > maxPassword {
		return nil, ErrPassword
	}
	if err := p.Desk.refuseDevice(ctx, who.account, q.Old); err != nil {
		return nil, err
	}
	result := p.Vault().Do(ctx, &hall.Work{Kind: hall.SetPassword, Account: who.account, Password: q.Old, New: q.New, Address: who.address})
	switch {
	case result.OK:
		p.Forget(who.account)
		return struct{}{}, nil
	case result.Code == "TOO_MANY_ATTEMPTS":
		return nil, errLater
	}
	return nil, errOldPassword
}

// refuseDevice returns an error where a password is that of a device: a browser that
// somebody has stolen must not shut its owner out.
func (d *Desk) refuseDevice(ctx context.Context, account, password string) error {
	credentials, err := d.Store.Credentials(ctx, account)
	if err != nil {
		return fmt.Errorf("look devices up: %w", err)
	}
	for _, c := range credentials {
		if c.Kind == store.AppPassword && vault.Matches(c.Secret, password) {
			return errOldPassword
		}
	}
	return nil
}
