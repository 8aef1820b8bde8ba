package files

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
)

// tusVersion is the version of the protocol of resumable uploads.
const tusVersion = "1.0.0"

// A part is an upload that comes in pieces. What came lies in a file, whose length is
// the offset; what is known of it in another, so that a restart loses nothing.
type part struct {
	Upload store.Upload
	Length int64

	busy bool // guarded by Host.mu: a request has it
}

// begin makes a resumable upload.
func (h *Host) begin(w http.ResponseWriter, r *http.Request, u *store.Upload) {
	length, err := strconv.ParseInt(r.Header.Get("Upload-Length"), 10, 64)
	switch {
	case r.Header.Get("Tus-Resumable") != tusVersion:
		w.Header().Set("Tus-Version", tusVersion)
		fail(w, &refusal{http.StatusPreconditionFailed, "this server speaks tus " + tusVersion})
		return
	case err != nil || length <= 0:
		fail(w, &refusal{http.StatusBadRequest, "Upload-Length must be the number of the file's bytes"})
		return
	case length > h.Limits.File:
		fail(w, h.tooLong())
		return
	}
	p := &part{Upload: *u, Length: length}
	if err := h.addPart(p); err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Location", Path+"/"+u.ID)
	w.Header().Set("Upload-Expires", u.Created.Add(partsLast).UTC().Format(http.TimeFormat))
	w.WriteHeader(http.StatusCreated)
}

// addPart sets room aside for an upload, and writes down what is known of it.
func (h *Host) addPart(p *part) error {
	account := p.Upload.Account
	h.mu.Lock()
	n := 0
	for _, other := range h.parts {
		if other.Upload.Account == account {
			n++
		}
	}
	switch {
	case n >= maxParts:
		h.mu.Unlock()
		return errTooMany
	case h.used[account]+p.Length > h.Limits.Quota:
		h.mu.Unlock()
		return errQuota
	}
	h.spend(account, p.Length)
	p.busy = true
	h.parts[p.Upload.ID] = p
	h.mu.Unlock()
	about, err := json.Marshal(p)
	if err == nil {
		err = os.WriteFile(h.file(p.Upload.ID, partSuffix), nil, 0o600)
	}
	if err == nil {
		err = os.WriteFile(h.file(p.Upload.ID, aboutSuffix), about, 0o600)
	}
	if err != nil {
		h.dropPart(p)
		return err
	}
	h.freePart(p)
	return nil
}

// lockPart returns an account's unfinished upload for one request, or nil if there is
// none, or another request has it.
func (h *Host) lockPart(id, account string) *part {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.parts[id]
	if p == nil || p.busy || p.Upload.Account != account {
		return nil
	}
	p.busy = true
	return p
}

func (h *Host) freePart(p *part) {
	h.mu.Lock()
	p.busy = false
	h.mu.Unlock()
}

// forgetPart takes an upload that a request has from the unfinished ones; kept is how
// much of its room it still needs.
func (h *Host) forgetPart(p *part, kept int64) {
	h.mu.Lock()
	delete(h.parts, p.Upload.ID)
	h.spend(p.Upload.Account, kept-p.Length)
	h.mu.Unlock()
	_ = os.Remove(h.file(p.Upload.ID, aboutSuffix)) // Sweep does otherwise
}

// dropPart gives an upload up.
func (h *Host) dropPart(p *part) {
	h.forgetPart(p, 0)
	_ = os.Remove(h.file(p.Upload.ID, partSuffix))
}

// offset says how much of an upload has come.
func (h *Host) offset(w http.ResponseWriter, r *http.Request, id string) {
	account, ok := h.Login(w, r)
	if !ok {
		return
	}
	length, at, err := h.progress(r, id, ircmsg.ASCII.Fold(account))
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Upload-Length", strconv.FormatInt(length, 10))
	w.Header().Set("Upload-Offset", strconv.FormatInt(at, 10))
	w.WriteHeader(http.StatusOK)
}

func (h *Host) progress(r *http.Request, id, account string) (length, at int64, err error) {
	h.mu.Lock()
	p := h.parts[id]
	h.mu.Unlock()
	if p == nil {
		u, err := h.find(r.Context(), id)
		if err == nil && u.Account != account {
			err = store.ErrNotFound
		}
		return u.Size, u.Size, err
	}
	if p.Upload.Account != account {
		return 0, 0, store.ErrNotFound
	}
	info, err := os.Stat(h.file(id, partSuffix))
	if err != nil {
		return 0, 0, err
	}
	return p.Length, info.Size(), nil
}

// patch takes another piece of an upload. What came before a break is kept.
func (h *Host) patch(w http.ResponseWriter, r *http.Request, id string) {
	account, ok := h.Login(w, r)
	if !ok {
		return
	}
	p := h.lockPart(id, ircmsg.ASCII.Fold(account))
	if p == nil {
		h.mu.Lock()
		other := h.parts[id]
		h.mu.Unlock()
		if other != nil && other.Upload.Account == ircmsg.ASCII.Fold(account) {
			fail(w, &refusal{http.StatusLocked, "another request sends this file"})
			return
		}
		fail(w, store.ErrNotFound)
		return
	}
	at, err := h.append(w, r, p)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Upload-Offset", strconv.FormatInt(at, 10))
	w.WriteHeader(http.StatusNoContent)
}

// append adds a request's body to an upload that the request has, and gives it free.
func (h *Host) append(w http.ResponseWriter, r *http.Request, p *part) (at int64, err error) {
	finished := false
	defer func() {
		if !finished {
			h.freePart(p)
		}
	}()
	if r.Header.Get("Content-Type") != "application/offset+octet-stream" {
		return 0, &refusal{http.StatusUnsupportedMediaType, "a piece has the type application/offset+octet-stream"}
	}
	f, err := os.OpenFile(h.file(p.Upload.ID, partSuffix), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close() // what counts is the Sync of keep
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	at = info.Size()
	if said, err := strconv.ParseInt(r.Header.Get("Upload-Offset"), 10, 64); err != nil || said != at {
		w.Header().Set("Upload-Offset", strconv.FormatInt(at, 10))
		return 0, &refusal{http.StatusConflict, "Upload-Offset must be where the upload stopped"}
	}
	n, err := io.Copy(f, body(w, r, p.Length-at))
	at += n
	if err != nil {
		return at, &refusal{http.StatusBadRequest, "the upload broke off; it can be resumed"}
	}
	if at < p.Length {
		return at, nil
	}
	if err := h.keep(r.Context(), &p.Upload, p.Length); err != nil {
		return at, err
	}
	finished = true
	h.forgetPart(p, p.Length)
	return at, nil
}

// loadParts finds the uploads that were unfinished when the program ended.
func (h *Host) loadParts() error {
	names, err := filepath.Glob(h.file("*", aboutSuffix))
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		p := &part{}
		id := strings.TrimSuffix(filepath.Base(name), aboutSuffix)
		_, missing := os.Stat(h.file(id, partSuffix))
		if json.Unmarshal(text, p) != nil || p.Upload.ID != id || errors.Is(missing, os.ErrNotExist) {
			_ = os.Remove(name) // it was being written, or its file is finished
			continue
		}
		h.parts[id] = p
	}
	return nil
}
