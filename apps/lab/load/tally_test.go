package load

import (
	"strconv"
	"strings"
	"testing"
)

// A server that gives each connection another reason fills neither the report nor
// the memory, and writes no lines of its own.
func TestHostile08_CausesAreBoundedAndPlain(t *testing.T) {
	share, total := newTally(), newTally()
	for i := range 2 * maxCauses {
		share.fail(strconv.Itoa(i)+"\x1b[2J\nerrors none"+strings.Repeat("x", 10_000), 2)
	}
	total.merge(share)
	sum := uint64(0)
	for cause, n := range total.Errors {
		sum += n
		if strings.ContainsAny(cause, "\x1b\n") || len(cause) > 2*longestCause {
			t.Errorf("a cause is %q", cause)
		}
	}
	if sum != 4*maxCauses || len(total.Errors) > maxCauses+1 || total.Errors[otherCauses] < 2*maxCauses {
		t.Errorf("%d errors of %d kinds, %d of other kinds", sum, len(total.Errors), total.Errors[otherCauses])
	}
}
