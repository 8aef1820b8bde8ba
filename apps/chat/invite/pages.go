package invite

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"regexp"
	"time"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/apps/chat/weblogin"
)

// Path is below which Handler serves.
const Path = "/account/"

const (
	maxBody = 16 << 10         // bytes of a request
	mostFor = 365 * 24         // hours that an invitation can be good for
	mostTo  = 1000             // accounts that it can be good for
	patient = 20 * time.Second // for the store and the hashes
)

// A Vault changes secrets: Do works on hall.SetPassword. It may be called from any
// goroutine.
type Vault interface {
	Do(ctx context.Context, w *hall.Work) hall.Result
}

// Pages are what the client in the browser asks about accounts, by POST with JSON.
type Pages struct {
	Desk *Desk
	// Login returns whose credentials a request has; where it returns false it has
	// answered.
	Login func(w http.ResponseWriter, r *http.Request) (account string, ok bool)
	// Forget has credentials of an account that were right checked again.
	Forget func(account string)
	// Vault is what changes passwords. It is called for each change.
	Vault func() Vault
	// Realm is the running chat; nil: there is no administration.
	Realm Realm
	Log   *slog.Logger
}

// Handler returns the handler for Path. An answer is a JSON object; one that says
// what is wrong has error, which is a word for programs.
func (p *Pages) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path+"invitation", with(p, p.invitation))
	mux.HandleFunc("POST "+Path+"join", with(p, p.join))
	mux.HandleFunc("POST "+Path+"invite", known(p, p.invite))
	mux.HandleFunc("POST "+Path+"device", known(p, p.device))
	mux.HandleFunc("POST "+Path+"leave", known(p, p.leave))
	mux.HandleFunc("POST "+Path+"devices", known(p, p.devices))
	mux.HandleFunc("POST "+Path+"devices/remove", known(p, p.removeDevice))
	mux.HandleFunc("POST "+Path+"role", known(p, p.ownRole))
	mux.HandleFunc("POST "+Path+"password", known(p, p.password))
	if p.Realm != nil {
		p.govern(mux)
	}
	return mux
}

// with reads a request, which has no credentials, and writes the answer.
func with[Q any](p *Pages, serve func(ctx context.Context, q *Q) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if q, ok := read[Q](w, r); ok {
			p.answer(w, r, func(ctx context.Context) (any, error) { return serve(ctx, q) })
		}
	}
}

// A caller is who has sent a request, with the password that was right, from where.
type caller struct{ account, password, address string }

// known is with for requests that have credentials.
func known[Q any](p *Pages, serve func(ctx context.Context, who caller, q *Q) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, ok := read[Q](w, r)
		if !ok {
			return
		}
		answer := &quiet{ResponseWriter: w}
		account, ok := p.Login(answer, r)
		if !ok {
			answer.send()
			return
		}
		_, password, _ := r.BasicAuth()
		p.answer(w, r, func(ctx context.Context) (any, error) {
			return serve(ctx, caller{account, password, weblogin.Address(r)}, q)
		})
	}
}

// quiet keeps the refusal of a Login from the browser, which would ask for a password
// in a window of its own.
type quiet struct {
	http.ResponseWriter
	status int
}

func (q *quiet) WriteHeader(status int)      { q.status = status }
func (q *quiet) Write(p []byte) (int, error) { return len(p), nil }

func (q *quiet) send() {
	q.Header().Del("WWW-Authenticate")
	problem := "wrongPassword"
	if q.status == http.StatusTooManyRequests {
		problem = "tryLater"
	}
	refuse(q.ResponseWriter, max(q.status, http.StatusUnauthorized), problem)
}

func read[Q any](w http.ResponseWriter, r *http.Request) (*Q, bool) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, "notJSON")
		return nil, false
	}
	q := new(Q)
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(q); err != nil {
		refuse(w, http.StatusBadRequest, "badRequest")
		return nil, false
	}
	return q, true
}

func (p *Pages) answer(w http.ResponseWriter, r *http.Request, serve func(context.Context) (any, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), patient)
	defer cancel()
	body, err := serve(ctx)
	if err == nil {
		respond(w, http.StatusOK, body)
		return
	}
	for _, known := range []struct {
		err    error
		status int
		word   string
	}{
		{ErrInvitation, http.StatusNotFound, "badInvite"},
		{ErrTaken, http.StatusConflict, "nameTaken"},
		{ErrName, http.StatusBadRequest, "badNick"},
		{ErrPassword, http.StatusBadRequest, "shortPassword"},
		{ErrRole, http.StatusForbidden, "notAdmin"},
		{ErrLastAdmin, http.StatusConflict, "lastAdmin"},
		{errOldPassword, http.StatusForbidden, "wrongPassword"},
		{errLater, http.StatusTooManyRequests, "tryLater"},
		{hall.ErrGovern, http.StatusUnprocessableEntity, "refused"},
		{errRequest, http.StatusBadRequest, "badRequest"},
	} {
		if errors.Is(err, known.err) {
			refuse(w, known.status, known.word)
			return
		}
	}
	p.Log.Error("a request about accounts failed", "path", r.URL.Path, "error", err)
	refuse(w, http.StatusServiceUnavailable, "tryLater")
}

func refuse(w http.ResponseWriter, status int, problem string) {
	respond(w, status, map[string]string{"error": problem})
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a browser that has gone needs no answer
}

var (
	// errRequest is for what the page does not send.
	errRequest     = errors.New("the request is not as the page sends it")
	errOldPassword = errors.New("the old password is wrong")
	errLater       = errors.New("too many wrong passwords")
)

type tokenOnly struct {
	Token string `json:"token"`
}

func (p *Pages) invitation(ctx context.Context, q *tokenOnly) (any, error) {
	i, err := p.Desk.Lookup(ctx, q.Token)
	if err != nil {
		return nil, err
	}
	return map[string]string{"by": i.By, "role": i.Role, "channel": i.Channel}, nil
}

type joining struct {
	Token    string `json:"token"`
	Name     string `json:"name"`
	Password string `json:"password"`
	Device   string `json:"device"`
}

func (p *Pages) join(ctx context.Context, q *joining) (any, error) {
	a, i, err := p.Desk.Join(ctx, q.Token, q.Name, q.Password)
	if err != nil {
		return nil, err
	}
	password, err := p.Desk.AddDevice(ctx, a.Name, q.Device)
	return map[string]string{"account": a.Name, "password": password, "role": a.Role, "channel": i.Channel}, err
}

type inviting struct {
	Hours   int    `json:"hours"`
	Uses    int    `json:"uses"`
	Channel string `json:"channel"`
}

// channelName is what an invitation may name; whether one may join is for the hall.
var channelName = regexp.MustCompile(`^(#[^\s,:\x00-\x1f]{1,200})?$`)

func (p *Pages) invite(ctx context.Context, who caller, q *inviting) (any, error) {
	if q.Hours < 1 || q.Hours > mostFor || q.Uses < 1 || q.Uses > mostTo || !channelName.MatchString(q.Channel) {
		return nil, errRequest
	}
	a, err := p.Desk.administrator(ctx, who.account)
	if err != nil {
		return nil, err
	}
	expires := time.Now().Add(time.Duration(q.Hours) * time.Hour)
	token, err := p.Desk.Invite(ctx, store.Invitation{By: a.Name, Channel: q.Channel, Expires: expires, Left: q.Uses})
	return map[string]string{"token": token}, err
}

type deviceOnly struct {
	Device string `json:"device"`
}

func (p *Pages) device(ctx context.Context, who caller, q *deviceOnly) (any, error) {
	a, err := p.Desk.Store.Account(ctx, who.account)
	if errors.Is(err, store.ErrNotFound) { // of the configuration: it has no devices
		return map[string]string{"account": who.account, "password": who.password, "role": ""}, nil
	}
	if err != nil {
		return nil, err
	}
	password, err := p.Desk.AddDevice(ctx, a.Name, q.Device)
	return map[string]string{"account": a.Name, "password": password, "role": a.Role}, err
}

func (p *Pages) leave(ctx context.Context, who caller, _ *struct{}) (any, error) {
	defer p.Forget(who.account)
	return struct{}{}, p.Desk.RemoveDevice(ctx, who.account, who.password)
}
