package api

import (
	"net/http"
	"strconv"
	"strings"
)

type object = map[string]any

// document describes the interface as OpenAPI 3.1 does (spec.openapis.org/oas/v3.1.0).
func (q *query) document() (int, any, error) { return http.StatusOK, describe(), nil }

func describe() object {
	paths := object{}
	for i := range routes {
		at := &routes[i]
		p, ok := paths[at.path].(object)
		if !ok {
			p = object{}
			paths[at.path] = p
		}
		p[strings.ToLower(at.method)] = at.describe()
	}
	return object{
		"openapi": "3.1.0",
		"info":    object{"title": "epi chat", "version": "1", "description": "A chat for programs. Errors are problem details (RFC 9457)."},
		"servers": []object{{"url": Prefix}},
		"paths":   paths,
		"components": object{
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
			"schemas":         schemas,
		},
	}
}

func (at *route) describe() object {
	good := object{"description": "Done"}
	if at.gives != "" {
		good["content"] = content(at.gives)
	}
	answers := object{strconv.Itoa(at.status): good, "default": object{"description": "What went wrong", "content": object{"application/problem+json": object{"schema": ref("Problem")}}}}
	o := object{"summary": at.summary, "operationId": at.id(), "responses": answers}
	if at.scope != "" {
		o["security"] = []object{{"token": []string{string(at.scope)}}}
	}
	if at.takes != "" {
		o["requestBody"] = object{"required": true, "content": content(at.takes)}
	}
	var params []object
	for _, p := range at.params {
		params = append(params, object{"in": p.in, "name": p.name, "required": p.in == "path", "description": p.about, "schema": object{"type": p.kind}})
	}
	if params != nil {
		o["parameters"] = params
	}
	return o
}

// id names an operation: get_channels_channel_messages.
func (at *route) id() string {
	return strings.ToLower(at.method) + strings.NewReplacer("/", "_", "{", "", "}", "", ".", "_").Replace(at.path)
}

func content(schema string) object { return object{"application/json": object{"schema": ref(schema)}} }

func ref(schema string) object { return object{"$ref": "#/components/schemas/" + schema} }

func properties(required []string, fields object) object {
	return object{"type": "object", "required": required, "properties": fields}
}

func list(of object) object { return object{"type": "array", "items": of} }

var (
	text = object{"type": "string"}
	flag = object{"type": "boolean"}
)

var schemas = object{
	"Health":   properties([]string{"status"}, object{"status": text}),
	"Document": object{"type": "object"},
	"User": properties([]string{"nick", "realname", "channels"}, object{
		"nick": text, "account": text, "realname": text, "away": text, "bot": flag, "channels": list(text),
	}),
	"Users":    list(ref("User")),
	"Channel":  properties([]string{"name", "topic", "members"}, object{"name": text, "topic": text, "members": object{"type": "integer"}}),
	"Channels": list(ref("Channel")),
	"Message": properties([]string{"id", "time", "channel", "nick", "text"}, object{
		"id": text, "time": object{"type": "string", "format": "date-time"}, "channel": text, "nick": text, "account": text,
		"notice": flag, "action": flag, "text": text, "replyTo": text, "edited": flag,
	}),
	"Messages": list(ref("Message")),
	"Text":     properties([]string{"text"}, object{"text": text}),
	"Accepted": properties([]string{"ids"}, object{"ids": list(text)}),
	"Slack":    properties(nil, object{"text": text, "attachments": list(object{"type": "object"})}),
	"Problem":  properties([]string{"title", "status", "detail"}, object{"title": text, "status": object{"type": "integer"}, "detail": text}),
}
