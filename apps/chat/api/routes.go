package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
)

// A route is one resource with one method. The document of the interface is made from
// these, so that it says what there is.
type route struct {
	method, path string
	scope        Scope // "": no token is needed
	summary      string
	params       []param
	takes        string // schema of the body, or ""
	status       int    // when all went well
	gives        string // its schema
	do           func(*query) (status int, v any, err error)
}

// A param is a part of the path or the query.
type param struct{ in, name, kind, about string }

var (
	channelParam = param{"path", "channel", "string", "the channel's name, its # escaped as %23"}
	limitParam   = param{"query", "limit", "integer", "how many messages at most, 1 to 1,000 (default 100)"}
	beforeParam  = param{"query", "before", "string", "messages before this: an id, or a time as RFC 3339 has it"}
	afterParam   = param{"query", "after", "string", "messages after this, likewise; the first of them, otherwise the last"}
)

var routes []route

func init() { // the document is a route, and made of the routes
	routes = []route{
		{method: "GET", path: "/health", summary: "Whether the chat answers", status: http.StatusOK, gives: "Health", do: (*query).health},
		{method: "GET", path: "/openapi.json", summary: "This document", status: http.StatusOK, gives: "Document", do: (*query).document},
		{method: "GET", path: "/users", scope: Read, summary: "Users who are in the token's channels", status: http.StatusOK, gives: "Users", do: (*query).users},
		{method: "GET", path: "/channels", scope: Read, summary: "The token's channels", status: http.StatusOK, gives: "Channels", do: (*query).channels},
		{method: "GET", path: "/channels/{channel}", scope: Read, summary: "One channel", params: []param{channelParam}, status: http.StatusOK, gives: "Channel", do: (*query).channel},
		{
			method: "GET", path: "/channels/{channel}/messages", scope: History, summary: "What was said in a channel, in order",
			params: []param{channelParam, beforeParam, afterParam, limitParam}, status: http.StatusOK, gives: "Messages", do: (*query).history,
		},
		{
			method: "POST", path: "/channels/{channel}/messages", scope: Send, summary: "Say something, in the token's name; lines of their own for line feeds",
			params: []param{channelParam}, takes: "Text", status: http.StatusAccepted, gives: "Accepted", do: (*query).send,
		},
		{
			method: "GET", path: "/search", scope: History, summary: "Messages that have all the words, the latest first",
			params: []param{
				{"query", "q", "string", "words or parts of words, with spaces between"}, {"query", "channel", "string", "in this channel only"},
				{"query", "from", "string", "said by this nick"}, beforeParam, {"query", "after", "string", "messages after this"}, limitParam,
			}, status: http.StatusOK, gives: "Messages", do: (*query).search,
		},
		{
			method: "POST", path: "/hooks/{secret}", summary: "An incoming webhook, as Slack's: JSON, or a form with the field payload",
			params: []param{{"path", "secret", "string", "of the hook"}}, takes: "Slack", status: http.StatusOK, gives: "", do: (*query).hook,
		},
	}
}

func (q *query) health() (int, any, error) {
	if _, err := q.chat.Channels(q.r.Context()); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]string{"status": "ok"}, nil
}

func (q *query) users() (int, any, error) {
	all, err := q.chat.Users(q.r.Context())
	users := []User{}
	for _, u := range all {
		u.Channels = slices.DeleteFunc(u.Channels, func(c string) bool { return !q.token.isFor(c) })
		if len(u.Channels) > 0 {
			users = append(users, u)
		}
	}
	return http.StatusOK, users, err
}

func (q *query) channels() (int, any, error) {
	channels, err := q.chat.Channels(q.r.Context())
	channels = slices.DeleteFunc(channels, func(c Channel) bool { return !q.token.isFor(c.Name) })
	return http.StatusOK, append([]Channel{}, channels...), err
}

func (q *query) channel() (int, any, error) {
	name, err := q.named()
	if err != nil {
		return 0, nil, err
	}
	channels, err := q.chat.Channels(q.r.Context())
	if err != nil {
		return 0, nil, err
	}
	for _, c := range channels {
		if ircmsg.ASCII.Equal(c.Name, name) {
			return http.StatusOK, c, nil
		}
	}
	return 0, nil, &problem{http.StatusNotFound, "there is no such channel now"}
}

// named returns the channel of the path, if the token is for it.
func (q *query) named() (string, error) {
	name := q.r.PathValue("channel")
	if !q.token.isFor(name) {
		return "", &problem{http.StatusForbidden, "the token is not for that channel"}
	}
	return name, nil
}

// A Message is one of the history.
type Message struct {
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Channel string    `json:"channel"`
	Nick    string    `json:"nick"`
	Account string    `json:"account,omitempty"`
	Notice  bool      `json:"notice,omitempty"`
	Action  bool      `json:"action,omitempty"` // the text is what the nick does ("/me")
	Text    string    `json:"text"`
	ReplyTo string    `json:"replyTo,omitempty"`
	Edited  bool      `json:"edited,omitempty"`
}

func messages(from []store.Message) []Message {
	list := []Message{}
	for i := range from {
		m := &from[i]
		nick, _, _ := strings.Cut(m.Source, "!")
		out := Message{
			ID: ircmsg.FormatID(int64(m.ID)), Time: m.ID.Time().UTC(), Channel: m.Target, Nick: nick, Account: m.Account,
			Notice: m.Command == "NOTICE", Edited: m.Edited != 0,
		}
		out.Text, out.Action = ircmsg.Action(m.Text)
		if m.Reply != 0 {
			out.ReplyTo = ircmsg.FormatID(int64(m.Reply))
		}
		list = append(list, out)
	}
	return list
}

// parseWhen reads an id or a time; 0 for nothing.
func parseWhen(name, text string) (store.ID, error) {
	if text == "" {
		return 0, nil
	}
	if id, ok := ircmsg.ParseID(text); ok {
		return store.ID(id), nil
	}
	if at, ok := ircmsg.ParseTime(text); ok {
		return max(1, store.IDAt(time.UnixMilli(at))), nil // 0 would be no bound
	}
	return 0, &problem{http.StatusBadRequest, name + " must be the id of a message, or a time such as 2026-01-31T12:00:00Z"}
}

// maxPage and defaultPage are how many messages one answer has.
const (
	maxPage     = 1000
	defaultPage = 100
)

// window reads before, after and limit.
func (q *query) window() (before, after store.ID, limit int, err error) {
	values := q.r.URL.Query()
	before, errBefore := parseWhen("before", values.Get("before"))
	after, errAfter := parseWhen("after", values.Get("after"))
	limit = defaultPage
	if text := values.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPage {
			err = &problem{http.StatusBadRequest, "limit must be from 1 to 1000"}
		}
	}
	return before, after, limit, errors.Join(errBefore, errAfter, err)
}

func (q *query) history() (int, any, error) {
	name, err := q.named()
	if err != nil {
		return 0, nil, err
	}
	before, after, limit, err := q.window()
	if err != nil {
		return 0, nil, err
	}
	if err := q.writer.Flush(q.r.Context()); err != nil {
		return 0, nil, err
	}
	list, err := q.store.Messages(q.r.Context(), store.Query{
		Target: ircmsg.ASCII.Fold(name), Before: before, After: after, Limit: limit, Latest: after == 0,
	})
	return http.StatusOK, messages(list), err
}

func (q *query) search() (int, any, error) {
	values := q.r.URL.Query()
	before, after, limit, err := q.window()
	if err != nil {
		return 0, nil, err
	}
	words := strings.Fields(values.Get("q"))
	if len(words) == 0 && values.Get("from") == "" {
		return 0, nil, &problem{http.StatusBadRequest, "say what to look for: q=WORDS, from=NICK"}
	}
	scopes, err := q.searched(values.Get("channel"))
	if err != nil || len(scopes) == 0 {
		return http.StatusOK, []Message{}, err
	}
	if err := q.writer.Flush(q.r.Context()); err != nil {
		return 0, nil, err
	}
	list, err := q.store.Search(q.r.Context(), store.Search{
		Targets: scopes, Text: words, From: ircmsg.ASCII.Fold(values.Get("from")), Before: before, After: after, Limit: limit,
	})
	return http.StatusOK, messages(list), err
}

// searched returns the channels to look into: one, or all of the token that there are.
func (q *query) searched(name string) ([]store.Scope, error) {
	if name != "" {
		if !q.token.isFor(name) {
			return nil, &problem{http.StatusForbidden, "the token is not for that channel"}
		}
		return []store.Scope{{Target: ircmsg.ASCII.Fold(name)}}, nil
	}
	channels, err := q.chat.Channels(q.r.Context())
	var scopes []store.Scope
	for _, c := range channels {
		if q.token.isFor(c.Name) {
			scopes = append(scopes, store.Scope{Target: ircmsg.ASCII.Fold(c.Name)})
		}
	}
	return scopes, err
}

// maxBody is what a program may send, in bytes, and maxLines how many lines of it are
// said.
const (
	maxBody  = 64 << 10
	maxLines = 40
)

// read reads a body as JSON.
func (q *query) read(v any) error {
	body, err := q.body()
	if err == nil && json.Unmarshal(body, v) != nil {
		err = &problem{http.StatusBadRequest, "the body is not the JSON that is expected here"}
	}
	return err
}

func (q *query) body() ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(q.r.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, &problem{http.StatusBadRequest, "the body broke off"}
	case len(body) > maxBody:
		return nil, &problem{http.StatusRequestEntityTooLarge, "the body has more than 64 KiB"}
	}
	return body, nil
}

func (q *query) send() (int, any, error) {
	name, err := q.named()
	if err != nil {
		return 0, nil, err
	}
	var in struct{ Text string }
	if err := q.read(&in); err != nil {
		return 0, nil, err
	}
	ids, err := q.say(name, q.token.Name, in.Text)
	return http.StatusAccepted, map[string][]string{"ids": ids}, err
}

// say says each line of a text.
func (q *query) say(channel, name, text string) (ids []string, err error) {
	if !utf8.ValidString(text) {
		return nil, &problem{http.StatusBadRequest, "the text is not UTF-8"}
	}
	lines := slices.DeleteFunc(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' || r == 0 }),
		func(line string) bool { return strings.TrimSpace(line) == "" })
	switch {
	case len(lines) == 0:
		return nil, &problem{http.StatusBadRequest, "there is no text"}
	case len(lines) > maxLines:
		return nil, &problem{http.StatusBadRequest, "the text has more than 40 lines"}
	}
	for _, line := range lines {
		id, err := q.chat.Post(q.r.Context(), channel, name, line)
		if err != nil {
			return ids, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// hook says what Slack's programs send: text, with attachments' texts after it. It
// answers as Slack does.
func (q *query) hook() (int, any, error) {
	hash := Hash(q.r.PathValue("secret"))
	var found *Hook
	for i, h := range q.who.Load().Hooks {
		if same(h.Hash, hash) {
			found = &q.who.Load().Hooks[i]
		}
	}
	if found == nil {
		return 0, nil, &problem{http.StatusNotFound, "there is no such webhook"}
	}
	if err := q.spend(hash); err != nil {
		return 0, nil, err
	}
	text, err := q.slackText()
	if err != nil {
		return 0, nil, err
	}
	if _, err := q.say(found.Channel, found.Name, text); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, "ok", nil
}

// slackText returns what a Slack message says.
func (q *query) slackText() (string, error) {
	var in struct {
		Text        string
		Attachments []struct{ Pretext, Title, Text, Fallback string }
	}
	body, err := q.body()
	if err != nil {
		return "", err
	}
	place := "the body"
	isForm := strings.HasPrefix(q.r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	if isForm && !bytes.HasPrefix(body, []byte("{")) { // "curl -d" calls JSON a form, too
		place = "the form's field payload"
		form, _ := url.ParseQuery(string(body)) // what is no form has no such field
		body = []byte(form.Get("payload"))
	}
	if json.Unmarshal(body, &in) != nil {
		return "", &problem{http.StatusBadRequest, place + " is not the JSON that is expected here"}
	}
	texts := []string{in.Text}
	for _, a := range in.Attachments {
		said := len(texts)
		for _, t := range []string{a.Pretext, a.Title, a.Text} {
			if t != "" {
				texts = append(texts, t)
			}
		}
		if len(texts) == said {
			texts = append(texts, a.Fallback)
		}
	}
	return plain(strings.Join(texts, "\n")), nil
}

// plain writes Slack's links (<https://a.example|words>) and escapes as people read
// them.
func plain(text string) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "<")
		out.WriteString(before)
		if !ok {
			break
		}
		link, after, ok := strings.Cut(rest, ">")
		if !ok {
			out.WriteString("<" + rest)
			break
		}
		if target, words, ok := strings.Cut(link, "|"); ok {
			link = words + " (" + target + ")"
		}
		out.WriteString(link)
		text = after
	}
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(out.String())
}
