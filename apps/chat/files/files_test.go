package files

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/store"
)

// A desk is a Host with a server before it. Whoever has the header User is that
// account; "#in" is the channel that Ann is in.
type desk struct {
	*Host
	server *httptest.Server
	store  *store.Memory
	clock  time.Time
}

const (
	ann, bob = "Ann", "Bob"
	quota    = 10000
	longest  = 4000
)

func config(dir string, s store.Store) Config {
	return Config{
		Dir: dir, Store: s, Writer: store.NewWriter(s),
		Login: func(w http.ResponseWriter, r *http.Request) (string, bool) {
			account := r.Header.Get("User")
			if account == "" {
				http.Error(w, "log in", http.StatusUnauthorized)
			}
			return account, account != ""
		},
		Member: func(_ context.Context, account, channel string) bool { return account == ann && channel == "#in" },
		Limits: Limits{File: longest, Quota: quota, Keep: time.Hour},
	}
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{store: store.NewMemory(), clock: time.Now()}
	d.open(t, t.TempDir())
	return d
}

// open starts the Host, as after a restart.
func (d *desk) open(t *testing.T, dir string) {
	t.Helper()
	h, err := New(t.Context(), config(dir, d.store))
	if err != nil {
		t.Fatal(err)
	}
	h.now = func() time.Time { return d.clock }
	d.Host = h
	d.server = httptest.NewServer(h)
	t.Cleanup(d.server.Close)
}

type answer struct {
	*http.Response
	body string
}

// do sends a request; headers are names and values in turn.
func (d *desk) do(t *testing.T, method, path, account string, body io.Reader, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, d.server.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User", account)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := d.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(text)}
}

// upload makes a file and returns its link.
func (d *desk) upload(t *testing.T, account, path, content string, headers ...string) string {
	t.Helper()
	a := d.do(t, http.MethodPost, path, account, strings.NewReader(content), headers...)
	if a.StatusCode != http.StatusCreated || a.Header.Get("Location") == "" {
		t.Fatalf("upload: %s %s", a.Status, a.body)
	}
	return a.Header.Get("Location")
}

// kept returns the names of all files of the Host.
func (d *desk) kept(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(d.Dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestUpload(t *testing.T) {
	d := newDesk(t)
	link := d.upload(t, ann, Path, "hello\n", "Content-Disposition", `attachment; filename="a b.txt"`)
	if !strings.HasPrefix(link, Path+"/") || !strings.HasSuffix(link, "/a%20b.txt") {
		t.Errorf("the link is %q", link)
	}
	a := d.do(t, http.MethodGet, link, "", nil)
	if a.StatusCode != http.StatusOK || a.body != "hello\n" {
		t.Fatalf("download: %s %q", a.Status, a.body)
	}
	for name, want := range map[string]string{
		"Content-Type": textType, "X-Content-Type-Options": "nosniff", "Content-Disposition": `inline; filename="a b.txt"`,
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if csp := a.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "sandbox") {
		t.Errorf("Content-Security-Policy is %q", csp)
	}
	if part := d.do(t, http.MethodGet, link, "", nil, "Range", "bytes=1-3"); part.StatusCode != http.StatusPartialContent || part.body != "ell" {
		t.Errorf("range: %s %q", part.Status, part.body)
	}
	if head := d.do(t, http.MethodHead, link, "", nil); head.StatusCode != http.StatusOK || head.ContentLength != 6 {
		t.Errorf("HEAD: %s, %d bytes", head.Status, head.ContentLength)
	}
}

// TestUploadOfUnknownLength: a body in chunks has no Content-Length.
func TestUploadOfUnknownLength(t *testing.T) {
	d := newDesk(t)
	body := func(n int) io.Reader { return io.MultiReader(strings.NewReader(strings.Repeat("x", n))) } // hides the length
	if a := d.do(t, http.MethodPost, Path, ann, body(longest)); a.StatusCode != http.StatusCreated {
		t.Errorf("the longest file: %s %s", a.Status, a.body)
	}
	if a := d.do(t, http.MethodPost, Path, ann, body(longest+1)); a.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("one byte more: %s %s", a.Status, a.body)
	}
	if n := len(d.kept(t)); n != 1 {
		t.Errorf("%d files are kept, want 1: %q", n, d.kept(t))
	}
}

// TestTypes: what a browser could run is for saving, whatever the upload said.
func TestTypes(t *testing.T) {
	d := newDesk(t)
	for name, tt := range map[string]struct{ content, kind, disposition string }{
		"page":             {"<!DOCTYPE html><script>alert(1)</script>", rawType, "attachment"},
		"page after a BOM": {"\xef\xbb\xbf<html>", rawType, "attachment"},
		"page unknown":     {"  <blink onclick=x>", rawType, "attachment"},
		"svg":              {`<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>`, rawType, "attachment"},
		"xml":              {`<?xml version="1.0"?><a/>`, rawType, "attachment"},
		"pdf":              {"%PDF-1.7", rawType, "attachment"},
		"program":          {"\x7fELF\x00\x01", rawType, "attachment"},
		"text":             {"plain 안녕", textType, "inline"},
		"picture":          {"\x89PNG\r\n\x1a\n", "image/png", "inline"},
	} {
		t.Run(name, func(t *testing.T) {
			link := d.upload(t, ann, Path, tt.content, "Content-Type", "text/html")
			a := d.do(t, http.MethodGet, link, "", nil)
			if a.Header.Get("Content-Type") != tt.kind || a.Header.Get("Content-Disposition") != tt.disposition {
				t.Errorf("served as %q, %q", a.Header.Get("Content-Type"), a.Header.Get("Content-Disposition"))
			}
		})
	}
}

func TestNames(t *testing.T) {
	for given, want := range map[string]string{
		"a.txt":                           "a.txt",
		"../../etc/passwd":                "passwd",
		`C:\x\y.png`:                      "y.png",
		"..":                              "",
		"a\x00b\r\nc.txt":                 "abc.txt",
		"\u202egnp.exe":                   "gnp.exe",
		"사진 1.png":                        "사진 1.png",
		"\xff\xfe.gif":                    "gif",
		strings.Repeat("가", 100) + ".png": strings.Repeat("가", 48) + ".png",
	} {
		if got := cleanName(given); got != want {
			t.Errorf("cleanName(%q) = %q, want %q", given, got, want)
		}
	}
}

func TestRefused(t *testing.T) {
	d := newDesk(t)
	link := d.upload(t, ann, Path+"?target=%23in", "secret")
	for name, tt := range map[string]struct {
		method, path, account string
		status                int
	}{
		"nobody uploads":        {http.MethodPost, Path, "", http.StatusUnauthorized},
		"for a channel not in":  {http.MethodPost, Path + "?target=%23in", bob, http.StatusForbidden},
		"empty":                 {http.MethodPost, Path, ann, http.StatusBadRequest},
		"nobody reads":          {http.MethodGet, link, "", http.StatusUnauthorized},
		"not in the channel":    {http.MethodGet, link, bob, http.StatusForbidden},
		"its thumb neither":     {http.MethodGet, link + "?thumb", bob, http.StatusForbidden},
		"in the channel":        {http.MethodGet, link, ann, http.StatusOK},
		"somebody else deletes": {http.MethodDelete, link, bob, http.StatusForbidden},
		"no such file":          {http.MethodGet, Path + "/" + d.newID(), ann, http.StatusNotFound},
		"a path":                {http.MethodGet, Path + "/..%2f..%2fchat.db", ann, http.StatusNotFound},
		"capitals":              {http.MethodGet, Path + "/" + strings.ToUpper(d.newID()), ann, http.StatusNotFound},
		"what lies beside":      {http.MethodGet, Path + "/" + d.newID() + thumbSuffix, ann, http.StatusNotFound},
		"a list":                {http.MethodGet, Path, ann, http.StatusMethodNotAllowed},
		"another method":        {http.MethodPut, link, ann, http.StatusMethodNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			if a := d.do(t, tt.method, tt.path, tt.account, nil); a.StatusCode != tt.status {
				t.Errorf("%s %s as %q: %s %s, want %d", tt.method, tt.path, tt.account, a.Status, a.body, tt.status)
			}
		})
	}
}

// TestQuota: an account fills its room and no more; what it deletes is free again.
func TestQuota(t *testing.T) {
	d := newDesk(t)
	full := strings.Repeat("x", longest)
	first := d.upload(t, ann, Path, full)
	d.upload(t, ann, Path, full)
	if a := d.do(t, http.MethodPost, Path, ann, strings.NewReader(full)); a.StatusCode != http.StatusInsufficientStorage {
		t.Fatalf("beyond the quota: %s", a.Status)
	}
	d.upload(t, ann, Path, full[:quota-2*longest])
	d.upload(t, bob, Path, full)
	if a := d.do(t, http.MethodDelete, first, ann, nil); a.StatusCode != http.StatusNoContent {
		t.Fatalf("delete: %s %s", a.Status, a.body)
	}
	if a := d.do(t, http.MethodGet, first, ann, nil); a.StatusCode != http.StatusNotFound {
		t.Errorf("a file that was deleted: %s", a.Status)
	}
	d.open(t, d.Dir) // what is used is known after a restart, too
	d.upload(t, ann, Path, full)
	if a := d.do(t, http.MethodPost, Path, ann, strings.NewReader("x")); a.StatusCode != http.StatusInsufficientStorage {
		t.Errorf("one byte beyond the quota: %s", a.Status)
	}
}

// TestExpiry: a file is gone when its time is over, and so is its room.
func TestExpiry(t *testing.T) {
	d := newDesk(t)
	link := d.upload(t, ann, Path, "hello")
	d.clock = d.clock.Add(time.Hour)
	if a := d.do(t, http.MethodGet, link, ann, nil); a.StatusCode != http.StatusNotFound {
		t.Errorf("expired: %s", a.Status)
	}
	if err := d.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := d.kept(t); len(left) > 0 || len(d.used) > 0 {
		t.Errorf("left: %q, used: %v", left, d.used)
	}
}

// TestOrphans: what an end of the program left is removed after a while, and
// files of others are left alone.
func TestOrphans(t *testing.T) {
	d := newDesk(t)
	d.Limits.Keep = 0
	d.upload(t, ann, Path, "hello")
	for _, name := range []string{d.newID(), d.newID() + partSuffix, "README"} {
		if err := os.WriteFile(filepath.Join(d.Dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(d.kept(t)); n != 4 {
		t.Errorf("%d files, want 4: an upload may be under way", n)
	}
	d.clock = time.Now().Add(orphansLast + time.Minute)
	if err := d.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := d.kept(t); len(left) != 2 {
		t.Errorf("left: %q, want the upload and README", left)
	}
}

// tus are the headers of a resumable upload.
func tus(more ...string) []string { return append([]string{"Tus-Resumable", tusVersion}, more...) }

func (d *desk) patchAt(t *testing.T, link, account string, at int, piece string) answer {
	t.Helper()
	return d.do(t, http.MethodPatch, link, account, strings.NewReader(piece),
		tus("Upload-Offset", strconv.Itoa(at), "Content-Type", "application/offset+octet-stream")...)
}

// TestResume: an upload that breaks goes on where it stopped, after a restart, too.
func TestResume(t *testing.T) {
	d := newDesk(t)
	name := base64.StdEncoding.EncodeToString([]byte("big.txt"))
	link := d.upload(t, ann, Path, "", tus("Upload-Length", "10", "Upload-Metadata", "x,filename "+name)...)
	if a := d.patchAt(t, link, ann, 0, "abcd"); a.StatusCode != http.StatusNoContent || a.Header.Get("Upload-Offset") != "4" {
		t.Fatalf("first piece: %s %s, offset %s", a.Status, a.body, a.Header.Get("Upload-Offset"))
	}
	if a := d.do(t, http.MethodGet, link, ann, nil); a.StatusCode != http.StatusNotFound {
		t.Errorf("an unfinished file can be read: %s %q", a.Status, a.body)
	}
	d.open(t, d.Dir)
	if a := d.do(t, http.MethodHead, link, ann, nil, tus()...); a.Header.Get("Upload-Offset") != "4" || a.Header.Get("Upload-Length") != "10" {
		t.Fatalf("after a restart: %s, offset %q", a.Status, a.Header.Get("Upload-Offset"))
	}
	for name, a := range map[string]answer{
		"wrong place":    d.patchAt(t, link, ann, 3, "defg"),
		"somebody else":  d.patchAt(t, link, bob, 4, "efgh"),
		"wrong type":     d.do(t, http.MethodPatch, link, ann, strings.NewReader("e"), tus("Upload-Offset", "4")...),
		"another's HEAD": d.do(t, http.MethodHead, link, bob, nil, tus()...),
	} {
		if a.StatusCode < 400 || a.StatusCode >= 500 {
			t.Errorf("%s: %s", name, a.Status)
		}
	}
	if a := d.patchAt(t, link, ann, 4, "efghijKLM"); a.StatusCode != http.StatusNoContent || a.Header.Get("Upload-Offset") != "10" {
		t.Fatalf("last piece: %s %s", a.Status, a.body)
	}
	a := d.do(t, http.MethodGet, link, "", nil)
	if a.body != "abcdefghij" || a.Header.Get("Content-Disposition") != `inline; filename=big.txt` {
		t.Errorf("the file is %q, %q", a.body, a.Header.Get("Content-Disposition"))
	}
	if a := d.do(t, http.MethodHead, link, ann, nil, tus()...); a.Header.Get("Upload-Offset") != "10" {
		t.Errorf("a finished upload is at %q", a.Header.Get("Upload-Offset"))
	}
	if d.used["ann"] != 10 || len(d.parts) != 0 {
		t.Errorf("used %v, unfinished %d", d.used, len(d.parts))
	}
}

// TestResumeBroken: what came before the connection broke is kept.
func TestResumeBroken(t *testing.T) {
	d := newDesk(t)
	link := d.upload(t, ann, Path, "", tus("Upload-Length", "10")...)
	r := httptest.NewRequest(http.MethodPatch, link, io.MultiReader(strings.NewReader("abc"), broken{}))
	for i, h := 0, tus("Upload-Offset", "0", "Content-Type", "application/offset+octet-stream", "User", ann); i < len(h); i += 2 {
		r.Header.Set(h[i], h[i+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Errorf("a piece that broke off: %d", w.Code)
	}
	if a := d.patchAt(t, link, ann, 3, "defghij"); a.StatusCode != http.StatusNoContent {
		t.Fatalf("the rest: %s %s", a.Status, a.body)
	}
	if a := d.do(t, http.MethodGet, link, "", nil); a.body != "abcdefghij" {
		t.Errorf("the file is %q", a.body)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// TestResumeLimits: unfinished uploads take room, and nobody has any number of them.
func TestResumeLimits(t *testing.T) {
	d := newDesk(t)
	for name, tt := range map[string]struct {
		length string
		status int
	}{
		"none": {"", http.StatusBadRequest}, "negative": {"-1", http.StatusBadRequest}, "empty": {"0", http.StatusBadRequest},
		"words": {"ten", http.StatusBadRequest}, "too long": {strconv.Itoa(longest + 1), http.StatusRequestEntityTooLarge},
		"beyond 64 bits": {"99999999999999999999", http.StatusBadRequest},
	} {
		if a := d.do(t, http.MethodPost, Path, ann, nil, tus("Upload-Length", tt.length)...); a.StatusCode != tt.status {
			t.Errorf("%s: %s, want %d", name, a.Status, tt.status)
		}
	}
	if a := d.do(t, http.MethodPost, Path, ann, nil, "Tus-Resumable", "0.2", "Upload-Length", "1"); a.StatusCode != http.StatusPreconditionFailed {
		t.Errorf("another version: %s", a.Status)
	}
	var last string
	for range maxParts {
		last = d.upload(t, ann, Path, "", tus("Upload-Length", "600")...)
	}
	if a := d.do(t, http.MethodPost, Path, ann, nil, tus("Upload-Length", "1")...); a.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one more: %s", a.Status)
	}
	if a := d.do(t, http.MethodPost, Path, ann, strings.NewReader(strings.Repeat("x", 401))); a.StatusCode != http.StatusInsufficientStorage {
		t.Errorf("the unfinished take no room: %s", a.Status)
	}
	if a := d.do(t, http.MethodDelete, last, ann, nil, tus()...); a.StatusCode != http.StatusNoContent {
		t.Errorf("giving one up: %s", a.Status)
	}
	d.upload(t, ann, Path, "", tus("Upload-Length", "600")...)
	d.clock = d.clock.Add(partsLast + time.Second)
	if err := d.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := d.kept(t); len(left) > 0 || len(d.used) > 0 {
		t.Errorf("nobody resumed them: left %q, used %v", left, d.used)
	}
}

// TestManyUploads: one account does not take all places.
func TestManyUploads(t *testing.T) {
	d := newDesk(t)
	for range maxUploads {
		if err := d.reserve("ann", 1); err != nil {
			t.Fatal(err)
		}
	}
	if a := d.do(t, http.MethodPost, Path, ann, strings.NewReader("x")); a.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one more: %s", a.Status)
	}
	d.upload(t, bob, Path, "x")
	d.settle("ann", 1, 0)
	d.upload(t, ann, Path, "x")
}

// closedStore refuses all writes.
type closedStore struct{ store.Store }

func (closedStore) Apply(context.Context, []store.Write) ([]error, error) {
	return nil, errors.New("no space left on device")
}

// TestStoreFails: what could not be described is not kept, and takes no room.
func TestStoreFails(t *testing.T) {
	d := newDesk(t)
	d.Writer = store.NewWriter(closedStore{d.store})
	if a := d.do(t, http.MethodPost, Path, ann, strings.NewReader("hello")); a.StatusCode != http.StatusInternalServerError {
		t.Errorf("%s %s", a.Status, a.body)
	}
	if left := d.kept(t); len(left) > 0 || len(d.used) > 0 || d.total != 0 {
		t.Errorf("left %q, used %v, under way %d", left, d.used, d.total)
	}
}

// picture is w × h pixels, blue on the left half and red on the right.
func picture(w, h int) image.Image {
	p := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.RGBA{B: 255, A: 255}
			if x >= w/2 {
				c = color.RGBA{R: 255, A: 255}
			}
			p.SetRGBA(x, y, c)
		}
	}
	return p
}

// exif is a JPEG's segment that says how the camera was held.
func exif(orientation uint16) []byte {
	tiff := []byte("II*\x00\x08\x00\x00\x00\x01\x00")
	tiff = binary.LittleEndian.AppendUint16(tiff, orientedTag)
	tiff = append(tiff, 3, 0, 1, 0, 0, 0)
	tiff = binary.LittleEndian.AppendUint16(tiff, orientation)
	tiff = append(tiff, 0, 0)
	segment := append([]byte("Exif\x00\x00"), tiff...)
	return append(binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(segment)+2)), segment...)
}

func photo(t *testing.T, orientation uint16) []byte {
	t.Helper()
	var p bytes.Buffer
	if err := jpeg.Encode(&p, picture(800, 200), nil); err != nil {
		t.Fatal(err)
	}
	return append(append([]byte{0xff, 0xd8}, exif(orientation)...), p.Bytes()[2:]...)
}

func TestThumb(t *testing.T) {
	for orientation, want := range map[uint16]struct{ w, h, redX, redY int }{
		upright: {400, 100, 399, 50}, upsideDown: {400, 100, 0, 50}, turnRight: {100, 400, 50, 399}, turnLeft: {100, 400, 50, 0},
		0: {400, 100, 399, 50}, 99: {400, 100, 399, 50},
	} {
		t.Run(fmt.Sprint(orientation), func(t *testing.T) {
			small, err := shrink(bytes.NewReader(photo(t, orientation)))
			if err != nil {
				t.Fatal(err)
			}
			p, err := jpeg.Decode(bytes.NewReader(small))
			if err != nil {
				t.Fatal(err)
			}
			if p.Bounds().Dx() != want.w || p.Bounds().Dy() != want.h {
				t.Errorf("it is %v, want %d × %d", p.Bounds(), want.w, want.h)
			}
			if r, _, b, _ := p.At(want.redX, want.redY).RGBA(); r < 0xc000 || b > 0x4000 {
				t.Errorf("at %d, %d is no red but %v", want.redX, want.redY, p.At(want.redX, want.redY))
			}
		})
	}
}

func TestThumbServed(t *testing.T) {
	d := newDesk(t)
	d.Limits = Limits{File: 1 << 20, Quota: 1 << 20}
	link := d.upload(t, ann, Path, string(photo(t, upright)))
	for range 2 { // the second is kept
		a := d.do(t, http.MethodGet, link+"?thumb", "", nil)
		if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "image/jpeg" {
			t.Fatalf("%s %s", a.Status, a.body)
		}
	}
	if a := d.do(t, http.MethodDelete, link, ann, nil); a.StatusCode != http.StatusNoContent || len(d.kept(t)) != 0 {
		t.Errorf("delete: %s, left %q", a.Status, d.kept(t))
	}
	link = d.upload(t, ann, Path, "no picture")
	if a := d.do(t, http.MethodGet, link+"?thumb", "", nil); a.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("of text: %s", a.Status)
	}
}

// hugePNG says that it has w × h pixels, and has next to nothing.
func hugePNG(w, h uint32) []byte {
	var p bytes.Buffer
	_ = png.Encode(&p, picture(2, 2)) // a buffer takes everything
	out := p.Bytes()
	binary.BigEndian.PutUint32(out[16:], w)
	binary.BigEndian.PutUint32(out[20:], h)
	binary.BigEndian.PutUint32(out[29:], crc32.ChecksumIEEE(out[12:29]))
	return out
}

// TestBombs: a picture that says it is huge is not decoded.
func TestBombs(t *testing.T) {
	for name, p := range map[string][]byte{
		"100,000 × 100,000": hugePNG(100000, 100000),
		"2^31−1 × 2^31−1":   hugePNG(1<<31-1, 1<<31-1),
		"one line":          hugePNG(maxPixels+1, 1),
		"just above":        hugePNG(maxPixels/1024+1, 1024),
		"cut":               hugePNG(2, 2)[:20],
		"nothing":           {},
	} {
		t.Run(name, func(t *testing.T) {
			if allocated := testing.AllocsPerRun(1, func() {
				if _, err := shrink(bytes.NewReader(p)); err == nil {
					t.Error("it was decoded")
				}
			}); allocated > 1000 {
				t.Errorf("%v allocations", allocated)
			}
		})
	}
}

// FuzzOrientation: no picture makes the reading of its orientation panic.
func FuzzOrientation(f *testing.F) {
	f.Fuzz(func(_ *testing.T, p []byte) { orientation(bytes.NewReader(p)) })
}
