package files

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/epinet/epi/apps/chat/store"
)

// shown are the types that a browser shows by itself and that run nothing; others are
// for saving.
var shown = []string{"image/png", "image/jpeg", "image/gif", "image/webp", "audio/mpeg", "audio/wave", "application/ogg", "video/mp4", "video/webm", textType}

const (
	textType = "text/plain; charset=utf-8"
	rawType  = "application/octet-stream"
)

// sniffed is how much of a file says its type.
const sniffed = 512

// sniff returns the type that a file's first bytes say.
func sniff(f io.ReaderAt) (string, error) {
	p := make([]byte, sniffed)
	n, err := f.ReadAt(p, 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	found := http.DetectContentType(p[:n])
	if !slices.Contains(shown, found) || found == textType && bytes.HasPrefix(bytes.TrimLeft(p[:n], "\ufeff\t\r\n "), []byte("<")) {
		return rawType, nil // what looks like a page might be one for some browser
	}
	return found, nil
}

// get serves a file, or with the query "thumb" a small picture of it.
func (h *Host) get(w http.ResponseWriter, r *http.Request, id string) {
	small := r.URL.Query().Has("thumb")
	if node := h.elsewhere(r.Context(), id); node != "" {
		h.getFrom(w, r, node, id, small)
		return
	}
	u, err := h.find(r.Context(), id)
	if err != nil {
		fail(w, err)
		return
	}
	if !h.admits(w, r, &u) {
		return
	}
	if small {
		h.thumb(w, r, &u)
		return
	}
	f, err := os.Open(h.file(id, ""))
	if err != nil {
		fail(w, store.ErrNotFound)
		return
	}
	defer f.Close() // it was only read
	h.serve(w, r, &u, u.Type, "", f)
}

// admits says whether a request may have a file, or answers it.
func (h *Host) admits(w http.ResponseWriter, r *http.Request, u *store.Upload) bool {
	if u.Target != "" {
		account, ok := h.Login(w, r)
		if !ok {
			return false
		}
		if !h.mayRead(r.Context(), u, account) {
			fail(w, &refusal{http.StatusForbidden, "the file is for those in its channel"})
			return false
		}
	}
	return true
}

// serve writes contents of a type; variant distinguishes those of one upload.
func (h *Host) serve(w http.ResponseWriter, r *http.Request, u *store.Upload, kind, variant string, content io.ReadSeeker) {
	disposition := "attachment"
	if slices.Contains(shown, kind) {
		disposition = "inline"
	}
	var params map[string]string
	if u.Name != "" {
		params = map[string]string{"filename": u.Name}
	}
	header := w.Header()
	header.Set("Content-Type", kind)
	header.Set("Content-Disposition", mime.FormatMediaType(disposition, params))
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'; sandbox")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "private, max-age=3600, immutable")
	header.Set("ETag", `"`+u.ID+variant+`"`)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience + time.Duration(u.Size/slowest)*time.Second)) // a recorder has none
	http.ServeContent(w, r, "", u.Created, content)
}

// slowest is the rate, in bytes per second, below which a download is given up.
const slowest = 8 << 10
