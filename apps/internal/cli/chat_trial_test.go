package cli

import (
	"errors"
	"os"
	"testing"
)

// TestTrialOutlivesADrainedNode: a node that ends by itself ends no other, until all have, and one that fails
// ends the trial.
func TestTrialOutlivesADrainedNode(t *testing.T) {
	failed := errors.New("node b: the port is taken")
	for _, c := range []struct {
		ends []error
		want error
	}{
		{[]error{nil, failed, nil}, failed},
		{[]error{nil, nil, nil}, nil},
	} {
		nodes := make(chan error, len(c.ends))
		for _, err := range c.ends {
			nodes <- err
		}
		run := trial{nodes: len(c.ends)}
		if err := run.await(make(chan os.Signal), nodes); !errors.Is(err, c.want) || (c.want == nil && len(nodes) > 0) {
			t.Errorf("%v: %v, and %d more", c.ends, err, len(nodes))
		}
	}
}
