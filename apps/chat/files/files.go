// Package files keeps what people upload, and serves it: the FILEHOST of a chat
// server (https://soju.im/filehost), on the port of its WebSockets.
//
// POST to Path makes a file of the request's body; big ones may come in pieces that
// are resumed after a break, by the protocol tus 1.0.0 (tus.io/protocols). The answer
// names the file by a link that nobody guesses. One that was uploaded with
// "?target=#channel" is only for who is in that channel, and logs in for it.
//
// What is served runs nothing: its type is what its first bytes say, never what was
// said of it, and whatever a browser might execute is for saving only.
package files

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
)

// Path is where files are uploaded, and below which they lie.
const Path = "/files"

const (
	// maxUploads are under way at once, of one account and of all.
	maxUploads, maxAllUploads = 4, 64
	// maxParts is how many unfinished resumable uploads an account may have.
	maxParts = 16
	// patience is how long an upload or a download may stand still.
	patience = 30 * time.Second
	// partsLast is how long an unfinished upload may be resumed.
	partsLast = 24 * time.Hour
	// orphansLast is how old a file without a description is when it is removed; its
	// upload may be under way.
	orphansLast = time.Hour
)

// Limits bound what people upload.
type Limits struct {
	File  int64         // bytes of one file
	Quota int64         // bytes of all files of an account
	Keep  time.Duration // 0: for good
}

// A Config is what a Host needs.
type Config struct {
	Dir    string // of the contents; it is made
	Store  store.Store
	Writer *store.Writer
	// Login returns whose request it is, or answers it and returns false.
	Login func(http.ResponseWriter, *http.Request) (account string, ok bool)
	// Node is the name of this machine among several, of letters, digits, - and _; it is a part
	// of the links to files. "" where there are no others.
	Node string
	// Ask has the Answer of another machine, unless that does not answer now. Nil where there
	// are no others.
	Ask func(ctx context.Context, node string, question []byte) ([]byte, error)
	// Member reports whether an account is in a channel.
	Member func(ctx context.Context, account, channel string) bool
	Limits Limits
}

// A Host keeps files and is their http.Handler, for Path and what is below it. Its
// methods may be called from any goroutine.
type Host struct {
	Config
	now      func() time.Time
	painting chan struct{} // has room for one thumbnail in the making
	waiting  chan struct{} // has room for the requests that wait for theirs
	fetching chan struct{} // has room for the requests for files of other machines

	mu    sync.Mutex
	used  map[string]int64 // guarded by mu; bytes kept and reserved, by account
	spent uint64           // guarded by mu; how often used has changed
	busy  map[string]int   // guarded by mu; uploads under way, by account
	total int              // guarded by mu; their sum
	parts map[string]*part // guarded by mu; unfinished resumable uploads
}

// New returns the Host of a directory.
func New(ctx context.Context, c Config) (*Host, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of uploads: %w", err)
	}
	h := &Host{
		Config: c, now: time.Now, painting: make(chan struct{}, 1), waiting: make(chan struct{}, maxPaintings), fetching: make(chan struct{}, maxFetches),
		used: map[string]int64{}, busy: map[string]int{}, parts: map[string]*part{},
	}
	if err := h.loadParts(); err != nil {
		return nil, err
	}
	return h, h.Sweep(ctx)
}

// ServeHTTP is a method of http.Handler.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.Trim(strings.TrimPrefix(r.URL.Path, Path), "/")
	id, _, _ := strings.Cut(name, "/")
	w.Header().Set("Tus-Resumable", tusVersion)
	switch {
	case id == "" && r.Method == http.MethodOptions:
		h.options(w)
	case id == "" && r.Method == http.MethodPost:
		h.post(w, r)
	case id == "":
		notAllowed(w, "OPTIONS, POST")
	case !isID(id):
		http.NotFound(w, r)
	case r.Method == http.MethodHead && r.Header.Get("Tus-Resumable") != "":
		h.offset(w, r, id)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		h.get(w, r, id)
	case r.Method == http.MethodPatch:
		h.patch(w, r, id)
	case r.Method == http.MethodDelete:
		h.delete(w, r, id)
	default:
		notAllowed(w, "DELETE, GET, HEAD, PATCH")
	}
}

func notAllowed(w http.ResponseWriter, allowed string) {
	w.Header().Set("Allow", allowed)
	http.Error(w, "this method is not for files: use one of "+allowed, http.StatusMethodNotAllowed)
}

// newID returns a name that nobody guesses, with 128 random bits and more, and behind a "-" the
// name of the machine that has the file.
func (h *Host) newID() string {
	id := strings.ToLower(rand.Text())
	if h.Node != "" {
		id += "-" + h.Node
	}
	return id
}

// maxNode is how long the name of a machine can be.
const maxNode = 64

// isID reports whether s may be a name that newID made, and so the name of a file.
func isID(s string) bool {
	random, node, named := strings.Cut(s, "-")
	if named && (node == "" || len(node) > maxNode || strings.Trim(node, nodeLetters) != "") {
		return false
	}
	return len(random) == randomLetters && strings.Trim(random, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

const (
	randomLetters = 26 // of rand.Text
	nodeLetters   = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
)

// file is where the contents of an upload lie; the suffix is of what belongs to it.
func (h *Host) file(id, suffix string) string { return filepath.Join(h.Dir, id+suffix) }

// The suffixes of what lies beside contents.
const (
	partSuffix  = ".part"  // what came of an upload so far
	aboutSuffix = ".about" // what is known of a resumable one
	thumbSuffix = ".thumb"
)

// errors of uploads, with the status of the answer.
var (
	errQuota   = &refusal{http.StatusInsufficientStorage, "your files take all the room that an account has: delete some"}
	errTooMany = &refusal{http.StatusTooManyRequests, "too many uploads are under way: try again when one has ended"}
)

// retryAfter is in seconds: about as long as a machine is missed before others have its channels.
const retryAfter = "15"

// A refusal is an error that is an answer.
type refusal struct {
	status int
	reason string
}

func (r *refusal) Error() string { return r.reason }

// fail answers a request with what went wrong.
func fail(w http.ResponseWriter, err error) {
	var r *refusal
	switch {
	case errors.As(err, &r):
		if r.status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", retryAfter)
		}
		http.Error(w, r.reason, r.status)
	case errors.Is(err, store.ErrNotFound):
		http.Error(w, "there is no such file; it may have expired", http.StatusNotFound)
	default:
		http.Error(w, "the file could not be kept: try again later", http.StatusInternalServerError)
	}
}

// reserve sets room aside for an upload, and a place among those under way.
func (h *Host) reserve(account string, size int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.busy[account] >= maxUploads, h.total >= maxAllUploads:
		return errTooMany
	case h.used[account]+size > h.Limits.Quota:
		return errQuota
	}
	h.spend(account, size)
	h.busy[account]++
	h.total++
	return nil
}

// settle ends an upload: of the room that was set aside it keeps some.
func (h *Host) settle(account string, reserved, kept int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.spend(account, kept-reserved)
	h.total--
	if h.busy[account]--; h.busy[account] == 0 {
		delete(h.busy, account)
	}
}

// spend adds to what an account uses. h.mu is held.
func (h *Host) spend(account string, bytes int64) {
	h.spent++
	if h.used[account] += bytes; h.used[account] <= 0 {
		delete(h.used, account)
	}
}

// mayRead reports whether an account may have a file.
func (h *Host) mayRead(ctx context.Context, u *store.Upload, account string) bool {
	return u.Target == "" || u.Account == ircmsg.ASCII.Fold(account) || h.Member(ctx, account, u.Target)
}

// find returns the description of a file that has not expired.
func (h *Host) find(ctx context.Context, id string) (store.Upload, error) {
	u, err := h.Store.Upload(ctx, id)
	if err == nil && h.expired(&u) {
		err = store.ErrNotFound
	}
	return u, err
}

func (h *Host) expired(u *store.Upload) bool {
	return !u.Expires.IsZero() && !h.now().Before(u.Expires)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
