// Package archive is the history of a chat: it puts the records of a hall into a store,
// and reads them for those who ask.
package archive

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/keep"
	"github.com/epinet/epi/apps/chat/store"
)

// An Archive is a gate.History in a store. Its methods may be called from any goroutine.
type Archive struct {
	store  store.Store
	writer *store.Writer
	log    *slog.Logger
}

// New returns the archive in a store, which writer writes to.
func New(s store.Store, writer *store.Writer, log *slog.Logger) *Archive {
	return &Archive{s, writer, log}
}

// Record is a method of gate.History.
func (a *Archive) Record(r *hall.Record, done func(error)) {
	if r.Copy {
		a.writer.WriteLater(store.CopyMessage{Message: toMessage(r)}, done)
		return
	}
	a.writer.Write(store.AddMessage{Message: toMessage(r)}, done)
}

// Repeat is a method of gate.History.
func (a *Archive) Repeat(w *hall.Work, done func(error)) {
	a.writer.WriteLater(changeOf(w), func(err error) {
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		done(err)
	})
}

// changeOf returns what an EditRecord or a RemoveRecord is for the store.
func changeOf(w *hall.Work) store.Write {
	var change store.Write
	if w.Kind == hall.EditRecord {
		change = store.EditMessage{ID: store.ID(w.Record.ID), Edited: store.ID(w.Record.Edited), Text: w.Record.Text, Joined: w.Record.Joined}
	} else {
		change = store.RemoveMessage{ID: store.ID(w.Lookup.ID)}
	}
	return keep.Announce(change, w.Out)
}

// Reached is a method of gate.History.
func (a *Archive) Reached(shard uint32, p fabric.Position, done func(error)) {
	a.writer.WriteLater(store.PutPosition{Position: store.Position{Shard: shard, Stream: p.Stream, Number: p.Number, At: p.At}}, done)
}

// Positions is a method of gate.History.
func (a *Archive) Positions() (all [fabric.Shards]fabric.Position, err error) {
	kept, err := a.store.Positions(context.Background())
	for _, p := range kept {
		if p.Shard < fabric.Shards {
			all[p.Shard] = fabric.Position{Stream: p.Stream, Number: p.Number, At: p.At}
		}
	}
	return all, err
}

// Shared is a method of gate.History.
func (a *Archive) Shared(upTo int64, changes []int64, done func(error)) {
	w := store.PutShared{UpTo: store.ID(upTo)}
	for _, number := range changes {
		w.Announced = append(w.Announced, store.ID(number))
	}
	a.writer.WriteLater(w, done)
}

// Mark is a method of gate.History.
func (a *Archive) Mark() (upTo int64, ok bool, err error) {
	kept, err := a.store.Shared(context.Background())
	if errors.Is(err, store.ErrNotFound) {
		return 0, false, nil
	}
	return int64(kept), err == nil, err
}

// unsharedPage is how many records Unshared reads, and how many changes Changes.
const unsharedPage = 256

// Changes is a method of gate.History.
func (a *Archive) Changes(ctx context.Context) (list []hall.Outgoing, more bool, err error) {
	if err := a.writer.Flush(ctx); err != nil {
		return nil, false, err
	}
	page, err := a.store.Announced(ctx, unsharedPage)
	for i := range page {
		list = append(list, keep.Announced(&page[i]))
	}
	return list, len(page) == unsharedPage, err
}

// Unshared is a method of gate.History.
func (a *Archive) Unshared(ctx context.Context, after int64) (u hall.Unshared, err error) {
	if err := a.writer.Flush(ctx); err != nil {
		return u, err
	}
	last, err := a.store.Last(ctx) // before the page, which then has all up to there
	if err != nil {
		return u, err
	}
	page, err := a.store.Own(ctx, store.ID(after), unsharedPage)
	for i := range page {
		u.Records = append(u.Records, toRecord(&page[i]))
		last = max(last, page[i].ID)
	}
	if u.More = len(page) == unsharedPage; u.More {
		last = page[len(page)-1].ID
	}
	u.UpTo = int64(last)
	return u, err
}

// Do is a method of gate.History.
func (a *Archive) Do(ctx context.Context, w *hall.Work) hall.Result {
	r, err := a.do(ctx, w)
	if err != nil {
		a.log.Error("the history could not be read or changed", "error", err)
		return hall.Result{}
	}
	r.OK = true
	return r
}

func (a *Archive) do(ctx context.Context, w *hall.Work) (r hall.Result, err error) {
	if err := a.writer.Flush(ctx); err != nil { // what others have said was shown before
		return r, err
	}
	switch w.Kind {
	case hall.ReadHistory:
		r.Records, err = a.page(ctx, w.Page)
	case hall.ListHistories:
		r.Targets, err = a.histories(ctx, w)
	case hall.SearchHistory:
		r.Records, err = a.search(ctx, w)
	case hall.ReadMarkers:
		r.Markers, err = a.markers(ctx, w.Account)
	case hall.FindRecord:
		r.Records, err = a.find(ctx, w.Lookup)
	case hall.EditRecord, hall.RemoveRecord:
		err = a.writer.Do(ctx, changeOf(w))
	}
	return r, err
}

func (a *Archive) page(ctx context.Context, p *hall.Page) ([]hall.Record, error) {
	var messages []store.Message
	for _, target := range p.Targets {
		var err error
		if messages, err = a.read(ctx, target, p); err != nil {
			return nil, err
		}
		if len(messages) > 0 {
			break
		}
	}
	var reactions []store.Message
	if p.Reactions {
		var ids []store.ID
		for i := range messages {
			ids = append(ids, messages[i].ID)
		}
		var err error
		if reactions, err = a.store.Reactions(ctx, ids); err != nil {
			return nil, err
		}
	}
	return records(messages, reactions, p), nil
}

// read returns the messages of a page: around a number it is made of two.
func (a *Archive) read(ctx context.Context, target string, p *hall.Page) ([]store.Message, error) {
	q := store.Query{
		Target: target, After: store.ID(p.After), Before: store.ID(p.Before), Limit: p.Limit, Latest: p.Latest,
		Rank: uint8(p.Rank), Events: p.Events,
	}
	if p.Around == 0 {
		list, err := a.store.Messages(ctx, q)
		if err == nil && len(list) > 0 && list[0].Shown == q.After && q.After > 0 {
			q.After = list[0].ID // the event itself, as this target has it
			list, err = a.store.Messages(ctx, q)
		}
		if err != nil || len(list) < p.Limit || p.Whole <= len(list) {
			return list, err
		}
		return a.complete(ctx, q, list, p.Whole)
	}
	before := q
	before.Before, before.Limit, before.Latest = store.ID(p.Around), p.Limit/2, true
	earlier, err := a.store.Messages(ctx, before)
	if err != nil {
		return nil, err
	}
	q.After, q.Limit, q.Latest = max(q.After, store.ID(p.Around)-1), p.Limit-p.Limit/2, false
	later, err := a.store.Messages(ctx, q)
	return append(earlier, later...), err
}

// find returns the record of a message in one of some histories, or none.
func (a *Archive) find(ctx context.Context, l *hall.Lookup) ([]hall.Record, error) {
	m, err := a.store.Message(ctx, store.ID(l.ID))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil || hall.Rank(m.Rank) > l.Rank || !slices.Contains(l.Targets, m.Target) {
		return nil, err
	}
	return []hall.Record{toRecord(&m)}, nil
}

// complete adds what is left of the millisecond in which a page ends.
func (a *Archive) complete(ctx context.Context, q store.Query, list []store.Message, most int) ([]store.Message, error) {
	q.Limit = most - len(list)
	if q.Latest {
		first := list[0].ID
		q.Before, q.After = first, max(q.After, first>>store.IDBits<<store.IDBits-1)
		rest, err := a.store.Messages(ctx, q)
		return append(rest, list...), err
	}
	last := list[len(list)-1].ID
	end := (last>>store.IDBits + 1) << store.IDBits
	if q.Before == 0 || q.Before > end {
		q.Before = end
	}
	q.After = last
	rest, err := a.store.Messages(ctx, q)
	return append(list, rest...), err
}

// records returns messages, each followed by its reactions.
func records(messages, reactions []store.Message, p *hall.Page) []hall.Record {
	byReply := map[store.ID][]*store.Message{}
	for i := range reactions {
		if hall.Rank(reactions[i].Rank) <= p.Rank {
			byReply[reactions[i].Reply] = append(byReply[reactions[i].Reply], &reactions[i])
		}
	}
	var list []hall.Record
	for i := range messages {
		list = append(list, toRecord(&messages[i]))
		for _, reaction := range byReply[messages[i].ID] {
			if reaction.Target == messages[i].Target {
				list = append(list, toRecord(reaction))
			}
		}
	}
	return list
}

// histories returns those whose latest message is in the range, the one said earliest
// first.
func (a *Archive) histories(ctx context.Context, w *hall.Work) ([]hall.Latest, error) {
	scopes, err := a.scopes(ctx, w)
	if err != nil {
		return nil, err
	}
	var list []hall.Latest
	for _, s := range scopes {
		found, err := a.store.Messages(ctx, store.Query{
			Target: s.Target, After: store.ID(max(s.After, w.After)), Limit: 1, Latest: true, Rank: uint8(s.Rank),
		})
		if err != nil {
			return nil, err
		}
		if len(found) == 1 && (w.Before == 0 || int64(found[0].ID) < w.Before) {
			list = append(list, hall.Latest{Target: s.Target, ID: int64(found[0].ID)})
		}
	}
	slices.SortFunc(list, func(a, b hall.Latest) int { return cmp.Compare(a.ID, b.ID) })
	return list, nil
}

// scopes returns those of a work, with the conversations of its account.
func (a *Archive) scopes(ctx context.Context, w *hall.Work) ([]hall.Scope, error) {
	if w.Account == "" {
		return w.Scopes, nil
	}
	scopes := slices.Clone(w.Scopes)
	conversations, err := a.store.Conversations(ctx, w.Account)
	for _, target := range conversations {
		scopes = append(scopes, hall.Scope{Target: target})
	}
	return scopes, err
}

// search returns what a work looks for, the latest first.
func (a *Archive) search(ctx context.Context, w *hall.Work) (list []hall.Record, err error) {
	scopes, err := a.scopes(ctx, w)
	if err != nil {
		return nil, err
	}
	f := w.Find
	q := store.Search{Text: f.Text, From: f.From, After: store.ID(f.After), Before: store.ID(f.Before), Limit: f.Limit}
	for _, s := range scopes {
		q.Targets = append(q.Targets, store.Scope{Target: s.Target, Rank: uint8(s.Rank), Since: store.ID(s.After) + 1})
	}
	found, err := a.store.Search(ctx, q)
	for i := range found {
		list = append(list, toRecord(&found[i]))
	}
	return list, err
}

func (a *Archive) markers(ctx context.Context, account string) (list []hall.Marker, err error) {
	kept, err := a.store.Markers(ctx, account)
	for _, m := range kept {
		list = append(list, hall.Marker{Target: m.Target, At: m.At.UnixMilli()})
	}
	return list, err
}

func toMessage(r *hall.Record) store.Message {
	return store.Message{
		ID: store.ID(r.ID), Target: r.Target, Command: r.Command, Params: r.Params, Source: r.Source, Account: r.Account,
		Bot: r.Bot, Rank: uint8(r.Rank), Tags: r.Tags, Text: r.Text, Joined: r.Joined, Reply: store.ID(r.Reply),
		Reaction: r.Reaction, Edited: store.ID(r.Edited), Shown: store.ID(r.As),
	}
}

func toRecord(m *store.Message) hall.Record {
	return hall.Record{
		ID: int64(m.ID), Target: m.Target, Command: m.Command, Params: m.Params, Source: m.Source, Account: m.Account,
		Bot: m.Bot, Rank: hall.Rank(m.Rank), Tags: m.Tags, Text: m.Text, Joined: m.Joined, Reply: int64(m.Reply),
		Reaction: m.Reaction, Edited: int64(m.Edited), As: int64(m.Shown),
	}
}
