// Package browsertest drives a headless Chromium for tests of pages: it opens them,
// presses keys, evaluates what they think, and takes pictures. It speaks Chromium's
// DevTools protocol over a pipe.
package browsertest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi/internal/epitest"
)

// names are those that a Chromium can have.
var names = []string{"chromium", "chromium-browser", "google-chrome", "headless_shell"}

// A Browser is one process.
type Browser struct {
	t      testing.TB
	to     *os.File
	mu     sync.Mutex // guards what follows
	last   int
	waits  map[int]chan answer
	ended  error
	events []string // the first errors of pages
}

type answer struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct{ Message string }
}

// Start starts a browser that ends with the test, which is skipped where there is none.
func Start(t testing.TB) *Browser {
	t.Helper()
	program := ""
	for _, name := range names {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		t.Skip("it needs Chromium: apt-get install chromium")
	}
	ourRead, theirWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	theirRead, ourWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := os.MkdirTemp("", "epi-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) }) // its last processes may still write there
	cmd := exec.Command(program, "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--no-first-run",
		"--user-data-dir="+profile, "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking",
		"--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
		"--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars", "about:blank")
	cmd.ExtraFiles = []*os.File{theirRead, theirWrite}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirRead.Close(), theirWrite.Close()
	b := &Browser{t: t, to: ourWrite, waits: map[int]chan answer{}}
	reading := make(chan struct{})
	go func() { defer close(reading); b.read(ourRead) }()
	t.Cleanup(func() {
		_ = ourWrite.Close() // the browser ends with its pipe
		dead := time.AfterFunc(epitest.Patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		dead.Stop()
		_ = ourRead.Close()
		<-reading
	})
	return b
}

func (b *Browser) read(from *os.File) {
	in := bufio.NewReader(from)
	for {
		line, err := in.ReadBytes(0)
		if err != nil {
			b.end(fmt.Errorf("the browser has ended: %w", err))
			return
		}
		var a answer
		if err := json.Unmarshal(bytes.TrimSuffix(line, []byte{0}), &a); err != nil {
			b.end(err)
			return
		}
		b.take(a)
	}
}

func (b *Browser) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = err
	for id, wait := range b.waits {
		close(wait)
		delete(b.waits, id)
	}
}

func (b *Browser) take(a answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.Method == "Runtime.exceptionThrown" || a.Method == "Log.entryAdded" && strings.Contains(string(a.Params), `"level":"error"`) {
		b.events = append(b.events, string(a.Params))
	}
	if wait := b.waits[a.ID]; wait != nil {
		wait <- a
		delete(b.waits, a.ID)
	}
}

// Errors returns what pages have thrown or logged as errors so far.
func (b *Browser) Errors() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.events...)
}

// send asks for something.
func (b *Browser) send(session, method string, params any) <-chan answer {
	b.t.Helper()
	wait := make(chan answer, 1)
	b.mu.Lock()
	b.last++
	id := b.last
	b.waits[id] = wait
	b.mu.Unlock()
	message := map[string]any{"id": id, "method": method, "params": params}
	if session != "" {
		message["sessionId"] = session
	}
	p, err := json.Marshal(message)
	if err == nil {
		_, err = b.to.Write(append(p, 0))
	}
	if err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	return wait
}

// call asks for something and waits for the answer.
func (b *Browser) call(session, method string, params any, result any) {
	b.t.Helper()
	select {
	case a, ok := <-b.send(session, method, params):
		if !ok || a.Error != nil {
			b.t.Fatalf("%s: %+v", method, a.Error)
		}
		if result != nil {
			if err := json.Unmarshal(a.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-time.After(epitest.Patience):
		b.t.Fatalf("%s: no answer came", method)
	}
}

// A Page is one tab.
type Page struct {
	b       *Browser
	session string
}

type object = map[string]any

// Open opens a page in a window of its own, so many CSS pixels wide and high.
func (b *Browser) Open(url string, width, height int) *Page {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("", "Target.createTarget", object{"url": "about:blank", "newWindow": true, "width": width, "height": height}, &target)
	var attached struct{ SessionID string }
	b.call("", "Target.attachToTarget", object{"targetId": target.TargetID, "flatten": true}, &attached)
	p := &Page{b, attached.SessionID}
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		p.call(domain+".enable", object{}, nil)
	}
	p.call("Emulation.setDeviceMetricsOverride", object{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}, nil)
	p.call("Emulation.setFocusEmulationEnabled", object{"enabled": true}, nil)
	p.call("Page.navigate", object{"url": url}, nil)
	p.Until("the page", "document.readyState === 'complete' && location.href !== 'about:blank'")
	return p
}

func (p *Page) call(method string, params, result any) {
	p.b.t.Helper()
	p.b.call(p.session, method, params, result)
}

// Eval returns the value of an expression as JSON has it.
func (p *Page) Eval(expression string) any {
	p.b.t.Helper()
	value, ok := p.eval(expression, epitest.Patience)
	if !ok {
		p.b.t.Fatalf("%s: no answer came", expression)
	}
	return value
}

func (p *Page) eval(expression string, patience time.Duration) (value any, ok bool) {
	p.b.t.Helper()
	select {
	case a, ok := <-p.b.send(p.session, "Runtime.evaluate", object{"expression": expression, "returnByValue": true, "awaitPromise": true}):
		var r struct {
			Result           struct{ Value any }
			ExceptionDetails any
		}
		switch {
		case !ok || a.Error != nil:
			p.b.t.Fatalf("%s: %+v", expression, a.Error)
		case json.Unmarshal(a.Result, &r) != nil || r.ExceptionDetails != nil:
			p.b.t.Fatalf("%s: %s", expression, a.Result)
		}
		return r.Result.Value, true
	case <-time.After(patience):
		return nil, false
	}
}

// askAgain is when Until asks again what has no answer: a page that is on its way to another
// process may owe it for ever.
const askAgain = 20 * time.Second

// Until waits until an expression is true, which must not change anything.
func (p *Page) Until(what, expression string) {
	p.b.t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if value, ok := p.eval("!!("+expression+")", askAgain); ok && value == true {
			return
		}
		if time.Since(began) > epitest.Patience {
			p.b.t.Fatalf("%s: %s has not become true; errors of the page: %v", what, expression, p.b.Errors())
		}
	}
}

// Dark shows the page as to somebody who has chosen a dark theme.
func (p *Page) Dark() {
	p.b.t.Helper()
	p.call("Emulation.setEmulatedMedia", object{"features": []object{{"name": "prefers-color-scheme", "value": "dark"}}}, nil)
}

// Press holds a key down, by its code such as ArrowLeft, or lets it go.
func (p *Page) Press(code string, down bool) {
	p.b.t.Helper()
	kind := "keyUp"
	if down {
		kind = "rawKeyDown"
	}
	p.call("Input.dispatchKeyEvent", object{"type": kind, "code": code, "key": code}, nil)
}

// Type writes into what has the focus, and presses Enter.
func (p *Page) Type(text string) {
	p.b.t.Helper()
	p.call("Input.insertText", object{"text": text}, nil)
	p.call("Input.dispatchKeyEvent", object{"type": "keyDown", "code": "Enter", "key": "Enter", "text": "\r", "windowsVirtualKeyCode": 13}, nil)
	p.call("Input.dispatchKeyEvent", object{"type": "keyUp", "code": "Enter", "key": "Enter", "windowsVirtualKeyCode": 13}, nil)
}

// Screenshot returns the page as a PNG.
func (p *Page) Screenshot() []byte {
	p.b.t.Helper()
	var r struct{ Data string }
	p.call("Page.captureScreenshot", object{"format": "png"}, &r)
	png, err := base64.StdEncoding.DecodeString(r.Data)
	if err != nil {
		p.b.t.Fatal(err)
	}
	return png
}
