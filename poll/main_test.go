package poll_test

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/epinet/epi/poll"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNewOpensEveryBackendAndNoOther(t *testing.T) {
	for _, b := range poll.Backends() {
		p, err := poll.New(b)
		if err != nil {
			t.Fatalf("New(%s): %v", b, err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("%s: Close: %v", b, err)
		}
	}
	if _, err := poll.New("kqueue"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("New of an unknown backend: %v, want ErrUnsupported", err)
	}
}
