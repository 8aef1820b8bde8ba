package keep_test

import (
	"log/slog"
	"reflect"
	"testing"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/keep"
	"github.com/epinet/epi/apps/chat/store"
)

// What is announced with a write comes back as it was, and a write without it is made alone.
func TestAnnouncedComesBack(t *testing.T) {
	s := store.NewMemory()
	writer := store.NewWriter(s)
	marker := hall.KeepMarker{Account: "ann", Marker: hall.Marker{Target: "#a", At: 5}}
	want := []hall.Outgoing{{Number: 7, Name: "ann", Entry: []byte(`{"m":1}`)}, {Number: 8, Name: "#a", Entry: []byte(`{"w":2}`)}}
	keep.New(writer, slog.New(slog.DiscardHandler)).Keep(hall.ShareMarker{KeepMarker: marker, Out: &want[0]}, nil)
	ban := store.PutBan{Ban: store.Ban{Mask: "b"}}
	for _, out := range []*hall.Outgoing{&want[1], nil} {
		if err := writer.Do(t.Context(), keep.Announce(ban, out)); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept, err := s.Announced(t.Context(), len(want)+1)
	if err != nil {
		t.Fatal(err)
	}
	var got []hall.Outgoing
	for i := range kept {
		got = append(got, keep.Announced(&kept[i]))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if markers, err := s.Markers(t.Context(), "ann"); err != nil || len(markers) != 1 {
		t.Errorf("the markers are %v, error %v; want the one that was shared", markers, err)
	}
}
