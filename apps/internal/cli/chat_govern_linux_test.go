package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// TestChatIsGovernedInThePage: what administrators do there holds at once, is in the log,
// and is for nobody else; the last administrator stays. People see their devices, end
// them, and change their password, but not by a device's.
func TestChatIsGovernedInThePage(t *testing.T) {
	p := start(t, "chat", "--json", "--listen", "ws://127.0.0.1:0", "--listen", "irc://127.0.0.1:0", "--data", t.TempDir(), "--set", "passwords.cost=4")
	begun := await[startEvent](p, "start")
	page, token, _ := strings.Cut(begun.Links[0], "/#join=")
	page += "/account/"
	irc := strings.TrimPrefix(begun.Listen[1], "irc://")
	_, root := askPage(t, page+"join", "", "", words{"token": token, "name": "root", "password": "correct horse", "device": "Firefox"})
	_, invited := askPage(t, page+"invite", "root", root["password"], words{"hours": 1, "uses": 1})
	_, ann := askPage(t, page+"join", "", "", words{"token": invited["token"], "name": "ann", "password": "correct horse", "device": "Safari"})

	for _, path := range []string{"people", "role", "suspend", "channels", "keep", "bans", "ban", "unban", "log", "state"} {
		if status, answer := demand(t, page+"admin/"+path, "ann", ann["password"], words{}); status != http.StatusForbidden || !strings.Contains(answer, "notAdmin") {
			t.Errorf("%s for somebody who is no administrator: %d %s", path, status, answer)
		}
	}

	client := chatClient(t, irc)
	client.converse("CAP REQ :sasl\r\nNICK ann\r\nUSER ann 0 * :ann", " ACK ")
	client.converse("AUTHENTICATE PLAIN", "AUTHENTICATE +")
	client.converse("AUTHENTICATE "+plainOf("ann", "correct horse")+"\r\nCAP END", " 001 ann ")
	client.converse("JOIN #a", " 366 ")
	client.converse("CS REGISTER #a", "NOTICE ann :#a is")
	for _, test := range []struct {
		path   string
		body   words
		status int
		want   string
	}{
		{"people", words{"text": "AN"}, 200, `"name":"ann","role":"","suspended":"","created":`},
		{"people", words{}, 200, `"online":true`},
		{"role", words{"name": "root", "role": ""}, 409, "lastAdmin"},
		{"suspend", words{"name": "root", "reason": "x"}, 409, "lastAdmin"},
		{"role", words{"name": "nobody", "role": "admin"}, 400, "badRequest"},
		{"role", words{"name": "ann", "role": "king"}, 400, "badRequest"},
		{"channels", words{}, 200, `"name":"#a","topic":"","members":1,"founder":"ann","days":0`},
		{"keep", words{"channel": "#a", "days": 7}, 200, "{}"},
		{"keep", words{"channel": "#b", "days": 7}, 422, "refused"},
		{"channels", words{}, 200, `"days":7`},
		{"ban", words{"mask": "*", "hours": 1}, 422, "refused"},
		{"ban", words{"mask": "10.0.0.0/8", "hours": 1, "reason": "spam"}, 200, "{}"},
		{"bans", words{}, 200, `"mask":"10.0.0.0/8","reason":"spam","by":"root"`},
		{"unban", words{"mask": "10.0.0.0/8"}, 200, "{}"},
		{"unban", words{"mask": "10.0.0.0/8"}, 422, "refused"},
		{"state", words{}, 200, `"users":1`},
		{"suspend", words{"name": "ann", "reason": "a\r\nQUIT"}, 400, "badRequest"},
		{"suspend", words{"name": "ann", "reason": "enough"}, 200, "{}"},
		{"log", words{}, 200, `"by":"root","what":"suspend","target":"ann","detail":"enough"`},
		{"log", words{}, 200, `"what":"retention","target":"#a","detail":"7 days"`},
	} {
		status, answer := demand(t, page+"admin/"+test.path, "root", root["password"], test.body)
		if status != test.status || !strings.Contains(answer, test.want) {
			t.Errorf("%s %v: %d %s, want %d and %s", test.path, test.body, status, answer, test.status, test.want)
		}
	}
	client.converse("", "ERROR ")
	if status, answer := demand(t, page+"devices", "ann", "correct horse", words{}); status != http.StatusUnauthorized {
		t.Errorf("who is suspended: %d %s", status, answer)
	}

	if status, answer := demand(t, page+"devices", "root", root["password"], words{}); status != 200 || !strings.Contains(answer, `"name":"Firefox (`) || !strings.Contains(answer, `"here":true`) {
		t.Errorf("the devices: %d %s", status, answer)
	}
	for old, want := range map[string]int{"wrong": 403, root["password"]: 403, "correct horse": 200} {
		if status, answer := demand(t, page+"password", "root", root["password"], words{"old": old, "new": "battery staple"}); status != want {
			t.Errorf("another password, by the old one %q: %d %s", old, status, answer)
		}
	}
	_, second := askPage(t, page+"device", "root", "battery staple", words{"device": "Edge"})
	if status, answer := demand(t, page+"devices", "root", second["password"], words{}); status != http.StatusOK {
		t.Errorf("the second device: %d %s", status, answer)
	}
	_, answer := demand(t, page+"devices", "root", root["password"], words{})
	var devices struct {
		Devices []struct {
			Name string
			Here bool
		}
	}
	if err := json.Unmarshal([]byte(answer), &devices); err != nil || len(devices.Devices) != 2 {
		t.Fatalf("%v: %s", err, answer)
	}
	for _, d := range devices.Devices {
		if !d.Here {
			_, _ = demand(t, page+"devices/remove", "root", root["password"], words{"name": d.Name})
		}
	}
	if status, answer := demand(t, page+"devices", "root", second["password"], words{}); status != http.StatusUnauthorized {
		t.Errorf("a device that was ended: %d %s", status, answer)
	}
	gone := chatClient(t, irc)
	gone.converse("CAP REQ :sasl\r\nNICK x\r\nUSER x 0 * :x", " ACK ")
	gone.converse("AUTHENTICATE PLAIN", "AUTHENTICATE +")
	gone.converse(fmt.Sprintf("AUTHENTICATE %s", plainOf("root", second["password"])), " 904 ")
	http.DefaultClient.CloseIdleConnections()
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

// plainOf is what SASL PLAIN sends.
func plainOf(account, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + account + "\x00" + password))
}
