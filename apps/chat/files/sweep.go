package files

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/epinet/epi/apps/chat/store"
)

// Sweep removes what has expired and what was left by uploads that broke off, and
// counts anew what each account uses. It is for the start, and for now and then.
func (h *Host) Sweep(ctx context.Context) error {
	uploads, err := h.Store.Uploads(ctx, "")
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for i := range uploads {
		u := &uploads[i]
		if !h.expired(u) {
			kept[u.ID] = true
			continue
		}
		if err := h.remove(ctx, u); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	h.dropOldParts()
	if err := h.removeOrphans(kept); err != nil {
		return err
	}
	return h.recount(ctx)
}

// dropOldParts gives up what nobody has resumed.
func (h *Host) dropOldParts() {
	h.mu.Lock()
	var old []*part
	for _, p := range h.parts {
		if !p.busy && h.now().Sub(p.Upload.Created) > partsLast {
			p.busy = true
			old = append(old, p)
		}
	}
	h.mu.Unlock()
	for _, p := range old {
		h.dropPart(p)
	}
}

// removeOrphans removes the files of no upload: their descriptions were never written,
// or were removed with their account.
func (h *Host) removeOrphans(kept map[string]bool) error {
	entries, err := os.ReadDir(h.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, _, _ := strings.Cut(e.Name(), ".")
		h.mu.Lock()
		resumable := h.parts[id] != nil
		h.mu.Unlock()
		info, err := e.Info()
		if err != nil || !isID(id) || kept[id] || resumable || h.now().Sub(info.ModTime()) < orphansLast {
			continue
		}
		if err := os.Remove(h.file(e.Name(), "")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// recount finds what each account uses, unless that changes meanwhile: then the next
// Sweep does.
func (h *Host) recount(ctx context.Context) error {
	h.mu.Lock()
	spent := h.spent
	h.mu.Unlock()
	uploads, err := h.Store.Uploads(ctx, "")
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.total > 0 || h.spent != spent {
		return nil
	}
	clear(h.used)
	for _, u := range uploads {
		h.used[u.Account] += u.Size
	}
	for _, p := range h.parts {
		h.used[p.Upload.Account] += p.Length
	}
	return nil
}
