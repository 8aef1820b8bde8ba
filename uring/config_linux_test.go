package uring_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

func TestBadConfigIsNamed(t *testing.T) {
	for _, row := range []struct {
		config uring.Config
		want   string
	}{
		{uring.Config{Entries: -1}, "Config.Entries is -1"},
		{uring.Config{Entries: 3}, "Config.Entries is 3: choose a power of two up to 32768"},
		{uring.Config{Entries: 65536}, "Config.Entries is 65536"},
		{uring.Config{Entries: math.MinInt}, "Config.Entries"},
		{uring.Config{CQEntries: -8}, "Config.CQEntries is -8"},
		{uring.Config{CQEntries: 300}, "Config.CQEntries is 300"},
		{uring.Config{Entries: 8, CQEntries: 4}, "Config.CQEntries is 4: choose a power of two from 8 (Entries) to 65536"},
		{uring.Config{CQEntries: 1 << 17}, "Config.CQEntries is 131072"},
		{uring.Config{Setup: 1 << 1}, "Config.Setup has 0x2"}, // SQPOLL
		{uring.Config{Setup: uring.DeferTaskrun}, "it needs SingleIssuer"},
		{uring.Config{Setup: uring.TaskrunFlag}, "it needs CoopTaskrun or DeferTaskrun"},
	} {
		r, err := uring.New(row.config)
		if err == nil {
			t.Errorf("%+v made a ring", row.config)
			_ = r.Close()
			continue
		}
		if !strings.HasPrefix(err.Error(), "uring: ") || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: %q should contain %q", row.config, err, row.want)
		}
	}
}

func TestSmallestAndLargestRings(t *testing.T) {
	for _, c := range []uring.Config{
		{},
		{Entries: 1},
		{Entries: 1, CQEntries: 1},
		{Entries: 1, CQEntries: 1 << 16},
		{Entries: 1 << 15},
		{Entries: 1 << 15, CQEntries: 1 << 15},
	} {
		r := newRing(t, c)
		for i := range uint64(3) {
			r.prepare(i).Nop()
			r.of(i)
		}
	}
}

func TestBadBuffersAreNamed(t *testing.T) {
	r := newRing(t, uring.Config{})
	for _, row := range []struct {
		count, size int
		want        string
	}{
		{0, 16, "0 buffers: choose a power of two up to 32768"},
		{-2, 16, "-2 buffers"},
		{3, 16, "3 buffers"},
		{1 << 16, 16, "65536 buffers"},
		{2, 0, "2 buffers of 0 bytes: choose from 1 to"},
		{2, -1, "2 buffers of -1 bytes"},
		{2, math.MaxInt, "choose from 1 to"},
	} {
		b, err := r.NewBuffers(1, row.count, row.size, false)
		if err == nil {
			t.Errorf("%d buffers of %d bytes were made as group %d", row.count, row.size, b.Group())
			continue
		}
		if !strings.HasPrefix(err.Error(), "uring: ") || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%q should contain %q", err, row.want)
		}
	}
	_, err := r.NewBuffers(1, 2, 16, false)
	must(t, err)
	if _, err = r.NewBuffers(1, 2, 16, false); !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), "group 1") {
		t.Errorf("a group was made twice: %v", err)
	}
}

func TestErrorsOfCompletions(t *testing.T) {
	if err := (uring.CQE{Res: 5}).Err(); err != nil {
		t.Error(err)
	}
	if err := (uring.CQE{Res: -int32(unix.EPIPE)}).Err(); !errors.Is(err, unix.EPIPE) {
		t.Error(err)
	}
}
