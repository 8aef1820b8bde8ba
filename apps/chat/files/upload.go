package files

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
)

// options says what may be uploaded.
func (h *Host) options(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Allow", "OPTIONS, POST")
	header.Set("Accept-Post", "*/*")
	header.Set("Tus-Version", tusVersion)
	header.Set("Tus-Extension", "creation,expiration,termination")
	header.Set("Tus-Max-Size", strconv.FormatInt(h.Limits.File, 10))
	w.WriteHeader(http.StatusNoContent)
}

// post makes a file of a request's body, or begins one that comes in pieces.
func (h *Host) post(w http.ResponseWriter, r *http.Request) {
	account, ok := h.Login(w, r)
	if !ok {
		return
	}
	u := &store.Upload{ID: h.newID(), Account: ircmsg.ASCII.Fold(account), Name: offeredName(r), Created: h.now()}
	if u.Target = ircmsg.ASCII.Fold(r.URL.Query().Get("target")); u.Target != "" && !h.Member(r.Context(), account, u.Target) {
		fail(w, &refusal{http.StatusForbidden, "you are not in the channel that the file is for"})
		return
	}
	if r.Header.Get("Tus-Resumable") != "" {
		h.begin(w, r, u)
		return
	}
	if err := h.receive(w, r, u); err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Location", location(u))
	w.WriteHeader(http.StatusCreated)
}

// location is the link to a file. The name in it is for people.
func location(u *store.Upload) string {
	link := Path + "/" + u.ID
	if u.Name != "" {
		link += "/" + url.PathEscape(u.Name)
	}
	return link
}

// receive takes a whole file from a request.
func (h *Host) receive(w http.ResponseWriter, r *http.Request, u *store.Upload) error {
	size := r.ContentLength
	if size < 0 {
		size = h.Limits.File // its length comes with its end
	}
	if size > h.Limits.File {
		return h.tooLong()
	}
	if err := h.reserve(u.Account, size); err != nil {
		return err
	}
	defer func() { h.settle(u.Account, size, u.Size) }()
	f, err := os.OpenFile(h.file(u.ID, partSuffix), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, body(w, r, h.Limits.File+1))
	switch {
	case n > h.Limits.File:
		err = h.tooLong()
	case err != nil:
		err = &refusal{http.StatusBadRequest, "the upload broke off"}
	case n == 0:
		err = &refusal{http.StatusBadRequest, "the file is empty"}
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = h.keep(r.Context(), u, n)
	}
	if err != nil {
		_ = os.Remove(h.file(u.ID, partSuffix)) // Sweep does otherwise
	}
	return err
}

func (h *Host) tooLong() error {
	return &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("a file may have %d bytes", h.Limits.File)}
}

// body reads a request's body, at most limit bytes of it, for as long as it moves.
func body(w http.ResponseWriter, r *http.Request, limit int64) io.Reader {
	return io.LimitReader(&moving{r.Body, http.NewResponseController(w)}, limit)
}

// moving is a body whose deadline moves on with each read: what counts is that the
// upload goes on, not how long it takes.
type moving struct {
	io.Reader
	control *http.ResponseController
}

func (m *moving) Read(p []byte) (int, error) {
	_ = m.control.SetReadDeadline(time.Now().Add(patience)) // a recorder in a test has none
	_ = m.control.SetWriteDeadline(time.Now().Add(2 * patience))
	return m.Reader.Read(p)
}

// keep makes a file of all that has come, durably. Only then u has a size.
func (h *Host) keep(ctx context.Context, u *store.Upload, size int64) (err error) {
	from := h.file(u.ID, partSuffix)
	f, err := os.OpenFile(from, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	u.Type, err = sniff(f)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(from, h.file(u.ID, "")); err != nil {
		return err
	}
	if err := syncDir(h.Dir); err != nil {
		return err
	}
	described := *u
	described.Size = size
	if h.Limits.Keep > 0 {
		described.Expires = h.now().Add(h.Limits.Keep)
	}
	if err := h.Writer.Do(ctx, store.PutUpload{Upload: described}); err != nil {
		return errors.Join(err, os.Remove(h.file(u.ID, "")))
	}
	u.Size = size
	return nil
}

// offeredName is what the client calls the file: data, not the name of a file here.
func offeredName(r *http.Request) string {
	for entry := range strings.SplitSeq(r.Header.Get("Upload-Metadata"), ",") {
		if key, value, _ := strings.Cut(strings.TrimSpace(entry), " "); key == "filename" {
			if name, err := base64.StdEncoding.DecodeString(value); err == nil {
				return cleanName(string(name))
			}
		}
	}
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return cleanName(params["filename"])
}

// maxName is in bytes.
const maxName = 150

// cleanName leaves of a name what people read: no directories, no invisible or
// bidirectional controls, at most maxName bytes with its extension.
func cleanName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	name = strings.Trim(name, ". ")
	if len(name) <= maxName {
		return name
	}
	ext := path.Ext(name)
	if len(ext) > maxName/2 {
		ext = ""
	}
	name = name[:maxName-len(ext)]
	for !utf8.ValidString(name) {
		name = name[:len(name)-1]
	}
	return name + ext
}

// delete removes a file, or what came of one, for the account that uploaded it.
func (h *Host) delete(w http.ResponseWriter, r *http.Request, id string) {
	account, ok := h.Login(w, r)
	if !ok {
		return
	}
	if p := h.lockPart(id, ircmsg.ASCII.Fold(account)); p != nil {
		h.dropPart(p)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	var err error
	if node := h.elsewhere(r.Context(), id); node != "" {
		_, err = h.ask(r.Context(), node, question{What: askRemove, ID: id, Account: account})
	} else {
		err = h.removeFor(r.Context(), id, account)
	}
	if err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// removeFor removes a file of this machine for an account.
func (h *Host) removeFor(ctx context.Context, id, account string) error {
	u, err := h.find(ctx, id)
	if err != nil {
		return err
	}
	if u.Account != ircmsg.ASCII.Fold(account) {
		return &refusal{http.StatusForbidden, "the file is somebody else's"}
	}
	return h.remove(ctx, &u)
}

// remove takes a file away: first what names it, then its contents.
func (h *Host) remove(ctx context.Context, u *store.Upload) error {
	if err := h.Writer.Do(ctx, store.RemoveUpload{ID: u.ID}); err != nil {
		return err
	}
	h.mu.Lock()
	h.spend(u.Account, -u.Size)
	h.mu.Unlock()
	_ = os.Remove(h.file(u.ID, "")) // Sweep does otherwise
	_ = os.Remove(h.file(u.ID, thumbSuffix))
	return nil
}
