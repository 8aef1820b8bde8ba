package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/epinet/epi/apps/internal/sqlitefile"
)

// Memory is a Store that forgets everything at the end: for tests, and for worlds
// that need nothing else.
type Memory struct {
	mu         sync.Mutex // guards all
	closed     bool
	accounts   map[string]memoryAccount
	characters map[int64]Character
	items      map[int64]Item
	owned      map[Owner]map[int64]bool // items by their owners
	chests     map[int64]Chest
	trades     map[string][2]int64 // between which characters
	deeds      []Deed
	lastItem   int64
	lastPlayer int64
}

type memoryAccount struct {
	Account
	character int64
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{
		accounts: map[string]memoryAccount{}, characters: map[int64]Character{},
		items: map[int64]Item{}, owned: map[Owner]map[int64]bool{}, chests: map[int64]Chest{}, trades: map[string][2]int64{},
	}
}

// Apply is a method of Store.
func (m *Memory) Apply(_ context.Context, writes []Write) ([]error, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	results := make([]error, len(writes))
	for i, w := range writes {
		if results[i] = w.check(); results[i] == nil {
			results[i] = w.memory(m)
		}
	}
	return results, nil
}

// Claim is a method of Store. Nobody else has what is in memory.
func (m *Memory) Claim(context.Context) error { return nil }

// Account is a method of Store.
func (m *Memory) Account(_ context.Context, key string) (Account, Character, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.accounts[key]
	if !ok {
		return Account{}, Character{}, ErrNotFound
	}
	return a.Account, m.characters[a.character], nil
}

// Items is a method of Store.
func (m *Memory) Items(_ context.Context, owner Owner) ([]Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Item
	for id := range m.owned[owner] {
		list = append(list, m.items[id])
	}
	return sorted(list), nil
}

// Ground is a method of Store.
func (m *Memory) Ground(context.Context) ([]Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Item
	for _, item := range m.items {
		if item.Owner.Kind == Ground {
			list = append(list, item)
		}
	}
	return sorted(list), nil
}

func sorted(list []Item) []Item {
	slices.SortFunc(list, func(a, b Item) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// set keeps an item as it is now, and unset keeps it no more.
func (m *Memory) set(item Item) {
	m.unset(item.ID)
	m.items[item.ID] = item
	if m.owned[item.Owner] == nil {
		m.owned[item.Owner] = map[int64]bool{}
	}
	m.owned[item.Owner][item.ID] = true
}

func (m *Memory) unset(id int64) {
	owner := m.items[id].Owner
	delete(m.items, id)
	if delete(m.owned[owner], id); len(m.owned[owner]) == 0 {
		delete(m.owned, owner)
	}
}

// Chests is a method of Store.
func (m *Memory) Chests(context.Context) ([]Chest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.chests), func(a, b Chest) int { return cmp.Compare(a.ID, b.ID) }), nil
}

// Deeds is a method of Store.
func (m *Memory) Deeds(_ context.Context, limit int) ([]Deed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.Clone(m.deeds[max(0, len(m.deeds)-limit):])
	slices.Reverse(list)
	return list, nil
}

// Last is a method of Store.
func (m *Memory) Last(context.Context) (character, item int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lastPlayer, m.lastItem, nil
}

// Audit is a method of Store. Memory has one map of items, so there is nothing that
// could disagree.
func (m *Memory) Audit(context.Context) ([]string, error) { return nil, nil }

// Close is a method of Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

func (w AddAccount) memory(m *Memory) error {
	if _, taken := m.accounts[w.Account.Key]; taken {
		return ErrExists
	}
	if _, taken := m.characters[w.Character.ID]; taken {
		return ErrExists
	}
	a := w.Account
	a.Muted, a.Banned, a.Created = sqlitefile.Kept(a.Muted), sqlitefile.Kept(a.Banned), sqlitefile.Kept(a.Created)
	m.accounts[a.Key] = memoryAccount{a, w.Character.ID}
	m.characters[w.Character.ID] = Character{ID: w.Character.ID, Soft: w.Character.Soft}
	m.lastPlayer = max(m.lastPlayer, w.Character.ID)
	return nil
}

func (w Forget) memory(m *Memory) error {
	a, ok := m.accounts[w.Key]
	if !ok {
		return ErrNotFound
	}
	for id := range m.owned[Of(a.character)] {
		m.unset(id)
	}
	maps.DeleteFunc(m.trades, func(_ string, between [2]int64) bool { return slices.Contains(between[:], a.character) })
	delete(m.characters, a.character)
	delete(m.accounts, w.Key)
	return nil
}

func (w Mute) memory(m *Memory) error {
	return m.judge(w.Key, func(a *memoryAccount) { a.Muted = sqlitefile.Kept(w.Until) })
}

func (w Ban) memory(m *Memory) error {
	return m.judge(w.Key, func(a *memoryAccount) { a.Banned = sqlitefile.Kept(w.Until) })
}

func (m *Memory) judge(key string, change func(*memoryAccount)) error {
	a, ok := m.accounts[key]
	if !ok {
		return ErrNotFound
	}
	change(&a)
	m.accounts[key] = a
	return nil
}

func (w Enter) memory(m *Memory) error {
	c, ok := m.characters[w.Character]
	if !ok || c.Epoch != w.Epoch-1 {
		return ErrStale
	}
	c.Epoch, c.Version = w.Epoch, 0
	m.characters[c.ID] = c
	return nil
}

func (w Save) memory(m *Memory) error {
	c, ok := m.characters[w.Character]
	if !ok || c.Epoch != w.Epoch || c.Version >= w.Soft.Version {
		return ErrStale
	}
	c.Soft = w.Soft
	m.characters[c.ID] = c
	return nil
}

func (w Make) memory(m *Memory) error {
	if w.Item.ID <= m.lastItem {
		return ErrExists
	}
	if !m.owns(w.Item.Owner) {
		return ErrNotFound
	}
	item := w.Item
	item.Version = 1
	m.set(item)
	m.lastItem = item.ID
	return nil
}

// owns says whether there is such an owner.
func (m *Memory) owns(o Owner) (ok bool) {
	switch o.Kind {
	case Player:
		_, ok = m.characters[o.ID]
	case Chested:
		_, ok = m.chests[o.ID]
	default:
		ok = true
	}
	return ok
}

func (w Destroy) memory(m *Memory) error {
	if m.items[w.Item.ID] != w.Item {
		return ErrStale
	}
	m.unset(w.Item.ID)
	return nil
}

func (w Move) memory(m *Memory) error {
	if m.items[w.Item.ID] != w.Item {
		return ErrStale
	}
	if !m.owns(w.To) {
		return ErrNotFound
	}
	m.give(w.Item, w.To)
	return nil
}

func (m *Memory) give(item Item, to Owner) {
	item.Owner = to
	item.Version++
	m.set(item)
}

func (w MakeGold) memory(m *Memory) error    { return m.pay(w.Character, w.Amount) }
func (w DestroyGold) memory(m *Memory) error { return m.pay(w.Character, -w.Amount) }

func (m *Memory) pay(character, amount int64) error {
	c := m.characters[character]
	if c.ID == 0 || !fits(c.Gold+amount) {
		return ErrGold
	}
	c.Gold += amount
	m.characters[character] = c
	return nil
}

func fits(gold int64) bool { return gold >= 0 && gold <= MaxGold }

func (w Trade) memory(m *Memory) error {
	if _, done := m.trades[w.ID]; done {
		return ErrExists
	}
	if !m.owns(Of(w.A.Character)) || !m.owns(Of(w.B.Character)) {
		return ErrNotFound
	}
	for _, side := range [][2]Offer{{w.A, w.B}, {w.B, w.A}} {
		c := m.characters[side[0].Character]
		if c.Gold < side[0].Gold || !fits(c.Gold-side[0].Gold+side[1].Gold) {
			return ErrGold
		}
	}
	for _, item := range slices.Concat(w.A.Items, w.B.Items) {
		if m.items[item.ID] != item {
			return ErrStale
		}
	}
	m.trades[w.ID] = [2]int64{w.A.Character, w.B.Character}
	for _, side := range [][2]Offer{{w.A, w.B}, {w.B, w.A}} {
		c := m.characters[side[0].Character]
		c.Gold += side[1].Gold - side[0].Gold
		m.characters[c.ID] = c
		for _, item := range side[0].Items {
			m.give(item, Of(side[1].Character))
		}
	}
	return nil
}

func (w AddChest) memory(m *Memory) error {
	if _, taken := m.chests[w.Chest.ID]; taken {
		return ErrExists
	}
	m.chests[w.Chest.ID] = w.Chest
	return nil
}

func (w Note) memory(m *Memory) error {
	w.Deed.At = sqlitefile.Kept(w.Deed.At)
	m.deeds = append(m.deeds, w.Deed)
	return nil
}
