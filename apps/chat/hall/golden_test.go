package hall

import (
	"bufio"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what the scripts of TestGolden give as what they are to give")

// TestGolden plays the scripts in testdata and compares all that every session gets with
// what stands in the script, below the line that causes it: "name < line". Lines of a
// script are
//
//	# a comment
//	config key=value ...       of the hall, before the first session (see configure)
//	account name password
//	open name [key=value ...]  a session: host, ip, fp, secure, gateway, proxy
//	user name [capability ...] a session that is registered, its welcome left out
//	name> line                 what a client sends; \xNN is a byte
//	pending name> line         the same, but the work that it asks for is not yet done
//	work                       do it now
//	close name reason          the client goes
//	wait duration
//	reconfigure key=value ...
//	forget-operators
//	disk full|broken|fine      what is said cannot be kept, or not read
//	restart                    with what was kept; "kept < ..." is what is to be kept
func TestGolden(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { playScript(t, path) })
	}
}

func playScript(t *testing.T, path string) {
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{t: t, config: Config{Network: "Example", Description: "a test", Version: "epi-1", Created: time.UnixMilli(start)}}
	var got strings.Builder
	lines := bufio.NewScanner(strings.NewReader(string(want)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if name, _, ok := strings.Cut(line, " < "); ok && !strings.ContainsAny(name, " >#") {
			continue // what is to come out
		}
		got.WriteString(line + "\n")
		if line != "" && line[0] != '#' {
			p.play(line)
			got.WriteString(p.world.text())
			p.world.healthy()
		}
		if t.Failed() {
			t.Fatalf("at %q", line)
		}
	}
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	compare(t, got.String(), string(want))
}

// compare shows the first lines that differ.
func compare(t *testing.T, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Fatalf("line %d\n got: %s\nwant: %s", i+1, g[i], w[i])
		}
	}
	if len(g) != len(w) {
		t.Fatalf("%d lines, want %d", len(g), len(w))
	}
}

// A player plays a script.
type player struct {
	t      *testing.T
	world  *world
	config Config
}

func (p *player) play(line string) {
	verb, rest, _ := strings.Cut(line, " ")
	switch {
	case verb == "config":
		configure(p.t, &p.config, rest)
		p.start()
		return
	case strings.HasSuffix(verb, ">"):
		p.start()
		p.world.line(p.session(verb), unescaped(p.t, rest))
		return
	}
	p.start()
	w := p.world
	switch verb {
	case "account":
		name, password, _ := strings.Cut(rest, " ")
		w.accounts[name] = password
	case "open":
		name, origin, _ := strings.Cut(rest, " ")
		w.open(name, originOf(p.t, name, origin))
	case "user":
		p.register(strings.Fields(rest))
	case "pending":
		name, text, _ := strings.Cut(rest, " ")
		w.lazy = true
		w.line(p.session(name), unescaped(p.t, text))
		w.lazy = false
	case "work":
		w.settle()
	case "close":
		name, reason, _ := strings.Cut(rest, " ")
		w.close(w.names[name], reason)
	case "wait":
		d, err := time.ParseDuration(rest)
		if err != nil {
			p.t.Fatal(err)
		}
		w.now += d.Milliseconds()
	case "reconfigure":
		configure(p.t, &p.config, rest)
		w.hall.Configure(p.config)
	case "restart":
		w.restart(p.config)
	case "disk":
		w.full, w.unreadable = rest == "full", rest == "broken"
	case "forget-operators":
		p.config.Operators = nil
		w.hall.Configure(p.config)
	default:
		p.t.Fatalf("no such verb: %q", line)
	}
}

// start makes the hall, once.
func (p *player) start() {
	if p.world == nil {
		p.config.Name = "irc.example.org"
		p.world = newWorld(p.t, p.config)
	}
}

func (p *player) session(name string) SessionID {
	id, ok := p.world.names[strings.TrimSuffix(name, ">")]
	if !ok {
		p.t.Fatalf("no session has the name %s", name)
	}
	return id
}

// register makes a session a user, and leaves out what it is welcomed with.
func (p *player) register(words []string) {
	name := words[0]
	id := p.world.open(name, originOf(p.t, name, ""))
	if len(words) > 1 {
		p.world.line(id, "CAP REQ :"+strings.Join(words[1:], " "))
	}
	p.world.line(id, "NICK "+name)
	p.world.line(id, "USER "+name+" 0 * :Real "+name)
	p.world.line(id, "CAP END")
	kept := p.world.got[:0]
	for _, r := range p.world.got {
		if r.to != id {
			kept = append(kept, r)
		}
	}
	p.world.got = kept
	if !p.world.sessions[id].registered {
		p.t.Fatalf("%s could not register", name)
	}
}

func originOf(t *testing.T, name, text string) Origin {
	o := Origin{Host: name + ".host", Address: "192.0.2.1"}
	for word := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "host":
			o.Host = value
		case "ip":
			o.Address = value
		case "fp":
			o.Fingerprint = value
		case "secure":
			o.Secure = true
		case "gateway":
			o.Gateway = true
		case "proxy":
			o.Proxy = true
		default:
			t.Fatalf("no such word of an origin: %q", word)
		}
	}
	return o
}

func configure(t *testing.T, c *Config, text string) {
	for word := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(word, "=")
		number, _ := strconv.Atoi(value)
		switch key {
		case "motd":
			c.MOTD = strings.Split(strings.ReplaceAll(value, "_", " "), "|")
		case "admin":
			c.Admin = [3]string(strings.Split(value, "|"))
		case "vapid":
			c.VAPID = value
		case "icon":
			c.Icon = value
		case "sts":
			c.STS = value
		case "password":
			c.Password = true
		case "require-account":
			c.RequireAccount = true
		case "mechanisms":
			c.Mechanisms = strings.FieldsFunc(value, func(r rune) bool { return r == ',' })
		case "register":
			c.Registration = Registration{Enabled: true, BeforeConnect: strings.Contains(value, "before"), Email: strings.Contains(value, "email")}
		case "operator":
			if c.Operators == nil {
				c.Operators = map[string]Operator{}
			}
			name, rights, _ := strings.Cut(value, ":")
			c.Operators[name] = Operator{Title: "is a " + name, Rights: strings.FieldsFunc(rights, func(r rune) bool { return r == ',' })}
		case "relaymsg":
			c.RelayMsg = true
		case "history":
			c.History.Enabled = true
		case "replay":
			c.History.Replay = number
		case "since-join":
			c.History.SinceJoin = number != 0
		case "unregistered":
			c.History.Unregistered = number != 0
		case "page":
			c.History.Page = number
		case "roleplay":
			c.Roleplay = true
		case "user-modes":
			c.UserModes = value
		case "channel-modes":
			c.ChannelModes = value
		case "always-on":
			c.AlwaysOn = AlwaysOn(value)
		case "reserve-nicks":
			c.ReserveNicks = true
		case "registered":
			c.Registered = number
		case "unicode-nicks":
			c.UnicodeNicks = true
		case "cloak":
			c.Cloak = func(string) string { return value }
		case "list":
			c.List = number
		case "channels":
			c.Channels = number
		case "monitor":
			c.Monitor = number
		case "modes":
			c.Modes = number
		case "targets":
			c.Targets = number
		case "accept":
			c.Accept = number
		case "invites":
			c.Invites = number
		case "multiline":
			c.Multiline = number
		case "multiline-size":
			c.MultilineSize = number
		case "whowas":
			c.WhoWas = number
		default:
			t.Fatalf("no such key of the configuration: %q", word)
		}
	}
}

// unescaped reads \xNN, and {n*x} as n times x, so that long lines can be read.
func unescaped(t *testing.T, text string) string {
	var b strings.Builder
	for text != "" {
		if strings.HasPrefix(text, `\x`) && len(text) >= 4 {
			n, err := strconv.ParseUint(text[2:4], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			b.WriteByte(byte(n))
			text = text[4:]
			continue
		}
		if head, tail, ok := strings.Cut(text, "}"); ok && text[0] == '{' {
			count, what, _ := strings.Cut(head[1:], "*")
			n, err := strconv.Atoi(count)
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString(strings.Repeat(what, n))
			text = tail
			continue
		}
		b.WriteByte(text[0])
		text = text[1:]
	}
	return b.String()
}
