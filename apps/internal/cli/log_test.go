package cli

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A fault that goes on is logged again and again, though not for each of those whom it meets.
func TestLogIsNotFloodedByOneFault(t *testing.T) {
	var out bytes.Buffer
	h := newSparingHandler(slog.NewTextHandler(&out, nil))
	begin := time.Unix(1e9, 0)
	say := func(level slog.Level, text string, after time.Duration) {
		r := slog.NewRecord(begin.Add(after), level, text, 0)
		if err := h.WithAttrs([]slog.Attr{slog.Int("player", 7)}).Handle(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 * sameLines {
		say(slog.LevelError, "fault", 0)
		say(slog.LevelInfo, "order", 0)
	}
	say(slog.LevelWarn, "another", 0)
	say(slog.LevelError, "fault", sameWithin)
	say(slog.LevelError, "fault", sameWithin)
	log := out.String()
	for text, want := range map[string]int{
		"msg=fault": sameLines + 2, "msg=order": 3 * sameLines, "msg=another": 1,
		fmt.Sprintf("suppressed=%d", 2*sameLines): 1, "suppressed": 1,
	} {
		if n := strings.Count(log, text); n != want {
			t.Errorf("%q is in %d lines, want %d:\n%s", text, n, want, log)
		}
	}
}

// Texts that are all different, as a library may log them, take a bounded place.
func TestLogCountsBoundedTexts(t *testing.T) {
	l := lineCounts{of: map[string]*lineCount{}}
	for i := range 3 * mostTexts {
		if _, ok := l.admit(fmt.Sprint(i), time.Unix(1e9, 0)); !ok {
			t.Fatalf("text %d is left out", i)
		}
	}
	if len(l.of) > mostTexts {
		t.Errorf("%d texts are counted", len(l.of))
	}
}
