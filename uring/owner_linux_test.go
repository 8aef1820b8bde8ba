package uring_test

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

// elsewhere runs f on another thread than the test's, which is locked to its own.
func elsewhere(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		f()
	}()
	<-done
}

func TestWrongThreadIsRefused(t *testing.T) {
	r := newRing(t, uring.Config{Entries: 8, Setup: deferred})
	r.prepare(1).Nop()
	elsewhere(func() {
		for _, row := range []struct {
			name string
			call func() error
		}{
			{"Submit", r.Submit},
			{"SubmitLong", r.SubmitLong},
			{"Wait", func() error { return r.Wait(1, patience) }},
			{"NewBuffers", func() error { _, err := r.NewBuffers(1, 1, 1, false); return err }},
			{"RegisterFiles", func() error { return r.RegisterFiles(1) }},
		} {
			if err := row.call(); !errors.Is(err, unix.EEXIST) {
				t.Errorf("%s: %v", row.name, err)
			}
		}
	})
	if r.Prepared() != 1 {
		t.Fatalf("%d entries are prepared", r.Prepared())
	}
	r.of(1)
}

func TestDisabledRingBelongsToTheThreadThatEnablesIt(t *testing.T) {
	r := newRing(t, uring.Config{Entries: 8, Setup: deferred | uring.Disabled})
	r.prepare(1).Nop()
	if err := r.Submit(); !errors.Is(err, unix.EBADFD) {
		t.Fatalf("a disabled ring submits: %v", err)
	}
	elsewhere(func() {
		if err := r.Enable(); err != nil {
			t.Error(err)
		}
		if err := r.Wait(1, patience); err != nil {
			t.Error(err)
		}
		if c, ok := r.Next(); !ok || c.UserData != 1 || c.Res != 0 {
			t.Errorf("%t: %s", ok, show(c))
		}
		if err := r.Enable(); err == nil {
			t.Error("it was enabled twice")
		}
	})
	if err := r.Submit(); !errors.Is(err, unix.EEXIST) {
		t.Fatalf("the ring still belongs to the first thread: %v", err)
	}
}

func TestRegisteredRingWorksLikeBefore(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		b, err := r.NewBuffers(1, 2, 8, false)
		must(t, err)
		here, there := pair(t)
		for range 3 {
			must(t, r.RegisterRing())
			if err := r.RegisterRing(); err == nil {
				t.Fatal("it was registered twice")
			}
			r.prepare(1).RecvMultishot(here, 1, 0)
			write(t, there, []byte("hello"))
			c := r.of(1)
			if string(b.Bytes(c)) != "hello" {
				t.Fatalf("%q came", b.Bytes(c))
			}
			b.Recycle(c)
			must(t, r.Wait(1, 0))
			must(t, r.SubmitLong())
			elsewhere(func() {
				if err := r.UnregisterRing(); err == nil {
					t.Error("another thread unregistered it")
				}
			})
			must(t, r.UnregisterRing())
			must(t, r.UnregisterRing())
			r.prepare(2).CancelAny()
			r.cancelled(1, 2, 1)
		}
	})
}

// Two rings on two threads call each other.
func TestMessagesBetweenRings(t *testing.T) {
	const rounds = 500
	r := newRing(t, uring.Config{Entries: 8, Setup: deferred})
	there := make(chan int, 1)
	background(t, func() error {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(there)
		other, err := uring.New(uring.Config{Entries: 8, Setup: deferred})
		if err != nil {
			return err
		}
		there <- other.FD()
		for range rounds {
			for other.Ready() == 0 {
				if err := other.Wait(1, patience); err != nil {
					return errors.Join(err, other.Close())
				}
			}
			c, _ := other.Next()
			sqe := other.SQE()
			sqe.MsgRing(r.FD(), c.UserData+1, uint32(c.Res)+1)
			sqe.Flags |= uring.SkipSuccess
		}
		return errors.Join(other.Submit(), other.Close())
	})
	fd, ok := <-there
	if !ok {
		return
	}
	const far = 1 << 40
	for i := range uint64(rounds) {
		r.prepare(1).MsgRing(fd, far+2*i, uint32(i))
		r.of(1)
		if c := r.of(far + 2*i + 1); c.Res != int32(i)+1 {
			t.Fatal(show(c))
		}
	}
	r.silent()
}
