package files

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/epinet/epi/apps/chat/store"
)

// A file is on the machine that it was uploaded to, which its link names. Any other machine
// fetches it from there for whoever may have it, piece by piece while it is read, and keeps
// nothing of it.

const (
	// maxFetches bounds the requests at once for files of other machines: each holds a piece.
	maxFetches = 32
	// piece is how much is fetched at once: what other messages between the machines wait for.
	piece = 128 << 10
	// askTimeout is how long another machine may take for an answer.
	askTimeout = 10 * time.Second
)

// The kinds of questions.
const (
	askAbout  = "about"
	askRead   = "read"
	askRemove = "remove"
)

// A question is what one machine asks another about a file.
type question struct {
	What    string
	ID      string
	Small   bool   `json:",omitempty"` // its small picture is meant
	At      int64  `json:",omitempty"` // askRead: from where on
	Account string `json:",omitempty"` // askRemove: who wants that
}

// A reply has what was asked for, or the Status and Reason of a refusal.
type reply struct {
	Upload store.Upload `json:",omitzero"`  // askAbout
	Size   int64        `json:",omitempty"` // askAbout, of what is to be read
	Data   []byte       `json:",omitempty"` // askRead; empty: there is no more
	Status int          `json:",omitempty"`
	Reason string       `json:",omitempty"`
}

var (
	errAway = &refusal{http.StatusServiceUnavailable, "the machine that has this file does not answer now: try again later"}
	errBusy = &refusal{http.StatusServiceUnavailable, "too many files of other machines are being fetched: try again later"}
)

// elsewhere returns which other machine has a file, "" for this one.
func (h *Host) elsewhere(ctx context.Context, id string) string {
	_, node, _ := strings.Cut(id, "-")
	if node == "" || node == h.Node || h.Ask == nil {
		return ""
	}
	if _, err := h.Store.Upload(ctx, id); !errors.Is(err, store.ErrNotFound) {
		return "" // the machine had that name once
	}
	return node
}

// ask asks another machine. An error is a refusal.
func (h *Host) ask(ctx context.Context, node string, q question) (a reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	asked, err := json.Marshal(q)
	if err != nil {
		return reply{}, err
	}
	data, err := h.Ask(ctx, node, asked)
	if err != nil || json.Unmarshal(data, &a) != nil {
		return reply{}, errAway
	}
	switch a.Status {
	case 0:
		return a, nil
	case http.StatusNotFound:
		return reply{}, store.ErrNotFound
	}
	return reply{}, &refusal{a.Status, a.Reason}
}

// getFrom serves a file of another machine.
func (h *Host) getFrom(w http.ResponseWriter, r *http.Request, node, id string, small bool) {
	select {
	case h.fetching <- struct{}{}:
		defer func() { <-h.fetching }()
	default:
		fail(w, errBusy)
		return
	}
	a, err := h.ask(r.Context(), node, question{What: askAbout, ID: id})
	if err != nil {
		fail(w, err)
		return
	}
	u := a.Upload
	if u.ID != id || h.expired(&u) {
		fail(w, store.ErrNotFound)
		return
	}
	if !h.admits(w, r, &u) {
		return
	}
	kind, variant := u.Type, ""
	if small {
		kind, variant = thumbType, thumbSuffix
		if a, err = h.ask(r.Context(), node, question{What: askAbout, ID: id, Small: true}); err != nil {
			fail(w, err)
			return
		}
	}
	f := &farFile{host: h, ctx: r.Context(), node: node, id: id, small: small, size: a.Size}
	if r.Method == http.MethodGet && r.Header.Get("Range") == "" {
		if err := f.fetch(); err != nil { // while it can be said
			fail(w, err)
			return
		}
	}
	h.serve(w, r, &u, kind, variant, f)
}

// A farFile is an io.ReadSeeker of a file of another machine.
type farFile struct {
	host  *Host
	ctx   context.Context
	node  string
	id    string
	small bool
	size  int64

	at    int64 // where Read goes on
	from  int64 // where piece begins
	piece []byte
}

// fetch fetches the piece from at on.
func (f *farFile) fetch() error {
	a, err := f.host.ask(f.ctx, f.node, question{What: askRead, ID: f.id, Small: f.small, At: f.at})
	if err != nil {
		return err
	}
	if len(a.Data) == 0 {
		return io.ErrUnexpectedEOF
	}
	f.from, f.piece = f.at, a.Data
	return nil
}

// Read is a method of io.Reader.
func (f *farFile) Read(p []byte) (int, error) {
	if f.at >= f.size {
		return 0, io.EOF
	}
	if f.at < f.from || f.at >= f.from+int64(len(f.piece)) {
		if err := f.fetch(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.piece[f.at-f.from:])
	f.at += int64(n)
	return n, nil
}

// Seek is a method of io.Seeker.
func (f *farFile) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += f.size
	}
	if offset < 0 {
		return f.at, os.ErrInvalid
	}
	f.at = offset
	return offset, nil
}

// Answer answers another machine, for its Ask. That machine has checked that its client
// may have the file, or is the account in the question.
func (h *Host) Answer(ctx context.Context, asked []byte) []byte {
	var (
		q question
		a reply
		r *refusal
	)
	err := json.Unmarshal(asked, &q)
	if err == nil {
		a, err = h.answer(ctx, &q)
	}
	switch {
	case err == nil:
	case errors.As(err, &r):
		a = reply{Status: r.status, Reason: r.reason}
	case errors.Is(err, store.ErrNotFound):
		a = reply{Status: http.StatusNotFound}
	default:
		a = reply{Status: errAway.status, Reason: errAway.reason}
	}
	data, err := json.Marshal(a)
	if err != nil {
		return nil // the other one takes that for no answer
	}
	return data
}

func (h *Host) answer(ctx context.Context, q *question) (reply, error) {
	if !isID(q.ID) {
		return reply{}, store.ErrNotFound
	}
	if q.What == askRemove {
		return reply{}, h.removeFor(ctx, q.ID, q.Account)
	}
	u, err := h.find(ctx, q.ID)
	if err != nil {
		return reply{}, err
	}
	content, size, err := h.open(ctx, &u, q.Small)
	if err != nil {
		return reply{}, err
	}
	defer content.Close() // it was only read
	if q.What != askRead {
		return reply{Upload: u, Size: size}, nil
	}
	data := make([]byte, piece)
	n, err := content.ReadAt(data, q.At)
	if err != nil && err != io.EOF {
		return reply{}, err
	}
	return reply{Data: data[:n]}, nil
}

// content is what lies in a file, or a small picture.
type content interface {
	io.ReaderAt
	io.Closer
}

// open opens a file of this machine, or its small picture.
func (h *Host) open(ctx context.Context, u *store.Upload, small bool) (content, int64, error) {
	if small {
		picture, err := h.small(ctx, u)
		return unclosed{bytes.NewReader(picture)}, int64(len(picture)), err
	}
	f, err := os.Open(h.file(u.ID, ""))
	if err != nil {
		return nil, 0, store.ErrNotFound
	}
	return f, u.Size, nil
}

// unclosed is content that needs no Close.
type unclosed struct{ io.ReaderAt }

func (unclosed) Close() error { return nil }
