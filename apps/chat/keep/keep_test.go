package keep_test

import (
	"log/slog"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/keep"
	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/internal/epitest"
)

func TestMain(m *testing.M) { epitest.Main(m, nil) }

// TestEverythingComesBack gives a store every change, and looks at what the next start
// begins with.
func TestEverythingComesBack(t *testing.T) {
	disk, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "chat.db"), store.Commit)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]store.Store{"memory": store.NewMemory(), "sqlite": disk} {
		t.Run(name, func(t *testing.T) { comesBack(t, s) })
	}
}

func comesBack(t *testing.T, s store.Store) {
	want := hall.Kept{
		Channels: []hall.KeptChannel{{
			Name: "#A", Founder: "alice", Created: 5, Modes: "nt", Key: "k", Limit: 3, Forward: "#b", Topic: "t", TopicBy: "x", TopicAt: 6,
			Lists: [3][]hall.KeptMask{{{Mask: "a!*@*", By: "x", At: 7}, {Mask: "b!*@*"}}, {{Mask: "c!*@*"}}, {{Mask: "d!*@*"}}},
			Ranks: []hall.Granted{{Account: "bob", Rank: hall.Op | hall.Voice}, {Account: "carol", Rank: hall.HalfOp}},
		}},
		Users: []hall.KeptUser{{
			Account: "alice", Nick: "Alice", Name: "a", Host: "h", Realname: "A L", Modes: "iw", Away: "*",
			Channels: []hall.KeptMembership{{Channel: "#A", Rank: hall.Founder, Since: 77 << hall.IDBits}, {Channel: "#z", Since: 1}, {Channel: "#zz"}},
		}},
		Bans: []hall.KeptBan{{Mask: "192.0.2.0/24", Reason: "r", By: "x", At: 8, Until: 9}},
	}
	writer := store.NewWriter(s)
	k := keep.New(writer, slog.New(slog.DiscardHandler))
	for _, c := range []hall.Change{
		hall.KeepChannel{Channel: want.Channels[0]}, hall.KeepChannel{Channel: hall.KeptChannel{Name: "#gone"}}, hall.DropChannel{Name: "#gone"}, hall.DropChannel{Name: "#never"},
		hall.KeepUser{User: want.Users[0]}, hall.KeepUser{User: hall.KeptUser{Account: "gone"}}, hall.DropUser{Account: "gone"},
		hall.KeepBan{Ban: want.Bans[0]}, hall.KeepBan{Ban: hall.KeptBan{Mask: "gone"}}, hall.DropBan{Mask: "gone"},
	} {
		k.Keep(c, nil)
	}
	if err := writer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := keep.Load(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
