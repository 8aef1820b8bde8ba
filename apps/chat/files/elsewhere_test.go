package files

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/epinet/epi/apps/chat/store"
)

// twins are two machines of one chat. While down is set they do not reach each other; asked
// counts their questions.
func twins(t *testing.T) (a, b *desk, down *atomic.Bool, asked *atomic.Int64) {
	t.Helper()
	a, b, down, asked = newDesk(t), newDesk(t), new(atomic.Bool), new(atomic.Int64)
	hosts := map[string]*Host{"a": a.Host, "b-2": b.Host}
	for name, h := range hosts {
		h.Node = name
		h.Ask = func(ctx context.Context, node string, question []byte) ([]byte, error) {
			asked.Add(1)
			if down.Load() || hosts[node] == nil {
				return nil, errors.New("it is down")
			}
			return hosts[node].Answer(ctx, question), nil
		}
		h.Limits = Limits{File: 1 << 20, Quota: 1 << 30}
	}
	return a, b, down, asked
}

// TestFileOfAnotherMachine: what was uploaded at one machine comes from any, as it does from there
// and for whom it does from there.
func TestFileOfAnotherMachine(t *testing.T) {
	a, b, down, asked := twins(t)
	long := strings.Repeat("0123456789abcdef", 3*piece/16) + "end"
	open, secret := a.upload(t, ann, Path, long, "Content-Disposition", `attachment; filename="a.txt"`), a.upload(t, ann, Path+"?target=%23in", "secret")

	there, here := a.do(t, http.MethodGet, open, "", nil), b.do(t, http.MethodGet, open, "", nil)
	if here.StatusCode != http.StatusOK || here.body != long {
		t.Fatalf("%s, %d bytes of %d", here.Status, len(here.body), len(long))
	}
	for _, name := range []string{"Content-Type", "Content-Disposition", "Content-Security-Policy", "X-Content-Type-Options", "ETag", "Content-Length"} {
		if got, want := here.Header.Get(name), there.Header.Get(name); got != want {
			t.Errorf("%s is %q, and from its machine %q", name, got, want)
		}
	}
	before := asked.Load()
	last := b.do(t, http.MethodGet, open, "", nil, "Range", "bytes=-3")
	if last.StatusCode != http.StatusPartialContent || last.body != "end" || asked.Load() != before+2 {
		t.Errorf("the end: %s %q, with %d questions", last.Status, last.body, asked.Load()-before)
	}
	if head := b.do(t, http.MethodHead, open, "", nil); head.StatusCode != http.StatusOK || head.ContentLength != int64(len(long)) {
		t.Errorf("HEAD: %s, %d bytes", head.Status, head.ContentLength)
	}
	for account, want := range map[string]int{ann: http.StatusOK, bob: http.StatusForbidden, "": http.StatusUnauthorized} {
		got := b.do(t, http.MethodGet, secret, account, nil)
		if got.StatusCode != want || (got.body == "secret") != (want == http.StatusOK) {
			t.Errorf("a file for a channel, for %q: %s %q", account, got.Status, got.body)
		}
	}
	if gone := b.do(t, http.MethodGet, Path+"/"+a.newID(), ann, nil); gone.StatusCode != http.StatusNotFound {
		t.Errorf("a file that there never was: %s", gone.Status)
	}
	down.Store(true)
	for _, link := range []string{open, Path + "/" + strings.Split(a.newID(), "-")[0] + "-nowhere"} {
		got := b.do(t, http.MethodGet, link, "", nil)
		if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
			t.Errorf("from a machine that is down: %s, Retry-After %q", got.Status, got.Header.Get("Retry-After"))
		}
	}
	if got := a.do(t, http.MethodGet, open, "", nil); got.StatusCode != http.StatusOK {
		t.Errorf("at its machine: %s", got.Status)
	}
	if kept := b.kept(t); len(kept) != 0 {
		t.Errorf("the other machine keeps %q", kept)
	}
}

// TestDeleteAtAnotherMachine: whoever has uploaded a file deletes it from any.
func TestDeleteAtAnotherMachine(t *testing.T) {
	a, b, down, _ := twins(t)
	link := a.upload(t, ann, Path, "hello")
	for _, step := range []struct {
		account string
		down    bool
		status  int
	}{
		{account: "", status: http.StatusUnauthorized},
		{account: bob, status: http.StatusForbidden},
		{account: ann, down: true, status: http.StatusServiceUnavailable},
		{account: ann, status: http.StatusNoContent},
		{account: ann, status: http.StatusNotFound},
	} {
		down.Store(step.down)
		if got := b.do(t, http.MethodDelete, link, step.account, nil); got.StatusCode != step.status {
			t.Errorf("%+v: %s", step, got.Status)
		}
	}
	if got := a.do(t, http.MethodGet, link, ann, nil); got.StatusCode != http.StatusNotFound {
		t.Errorf("what was deleted: %s", got.Status)
	}
}

// TestSmallPictureOfAnotherMachine: it is made where the picture is.
func TestSmallPictureOfAnotherMachine(t *testing.T) {
	a, b, _, _ := twins(t)
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewRGBA(image.Rect(0, 0, 2*thumbSize, thumbSize))); err != nil {
		t.Fatal(err)
	}
	link := a.upload(t, ann, Path, picture.String())
	got := b.do(t, http.MethodGet, link+"?thumb", "", nil)
	small, _, err := image.DecodeConfig(strings.NewReader(got.body))
	if err != nil || small.Width != thumbSize || got.Header.Get("Content-Type") != thumbType {
		t.Errorf("%s, %s, %d wide: %v", got.Status, got.Header.Get("Content-Type"), small.Width, err)
	}
	text := a.upload(t, ann, Path, "no picture")
	if got := b.do(t, http.MethodGet, text+"?thumb", "", nil); got.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("of a text: %s", got.Status)
	}
}

// TestFetchesAreBounded: who comes when all places are taken is asked to come again.
func TestFetchesAreBounded(t *testing.T) {
	a, b, _, _ := twins(t)
	link := a.upload(t, ann, Path, "hello")
	for range maxFetches {
		b.fetching <- struct{}{}
	}
	if got := b.do(t, http.MethodGet, link, "", nil); got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
		t.Errorf("one more: %s, Retry-After %q", got.Status, got.Header.Get("Retry-After"))
	}
	<-b.fetching
	if got := b.do(t, http.MethodGet, link, "", nil); got.StatusCode != http.StatusOK {
		t.Errorf("with a place: %s", got.Status)
	}
}

// TestFileThatIsCutShort: a machine that loses a file while it is read breaks the download off.
func TestFileThatIsCutShort(t *testing.T) {
	a, b, _, _ := twins(t)
	link := a.upload(t, ann, Path, strings.Repeat("x", 2*piece))
	id := strings.TrimPrefix(link, Path+"/")
	f := &farFile{host: b.Host, ctx: t.Context(), node: "a", id: id, size: 2 * piece}
	p := make([]byte, piece)
	if n, err := f.Read(p); n != piece || err != nil {
		t.Fatalf("the first piece: %d, %v", n, err)
	}
	if err := os.Remove(a.file(id, "")); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Read(p); n != 0 || !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the second piece: %d, %v", n, err)
	}
}

// TestQuestionsThatMakeNoSense: another version of the program may ask anything.
func TestQuestionsThatMakeNoSense(t *testing.T) {
	a, _, _, _ := twins(t)
	a.upload(t, ann, Path, "hello")
	for _, asked := range []string{"", "{", "[]", `{"What":"read","ID":"../chat.db"}`, `{"What":"about","ID":""}`, `{"What":"read","ID":"` + a.newID() + `","At":-1}`} {
		if got := string(a.Answer(t.Context(), []byte(asked))); !strings.Contains(got, `"Status"`) {
			t.Errorf("%q is answered with %s", asked, got)
		}
	}
}
