package report

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/epinet/epi/apps/lab/compare"
)

func TestText(t *testing.T) {
	var b bytes.Buffer
	if err := Text(&b, sample(1, 1)); err != nil {
		t.Fatal(err)
	}
	checkText(t, b.String(),
		"select, poll and epoll\n======================\n",
		"Command      epi lab study --quick\n", "Kernel       Linux 6.18.2\n", "PARTIAL: the run ended early",
		"CONFIRMED    poll's cost", "REFUTED      edge wakes", "DEPENDS      select < poll",
		"the deck     epoll loses", "this run     with the linear scan",
		"time per event (µs) by idle connections; medians",
		"(7 of 2,000)", "Nothing was measured.",
		"libuv: absent: libuv is not installed: apt-get install libuv1-dev\n",
		"cloudwego/netpoll: system calls per request: absent: strace is not installed: apt-get install strace\n", "(* best; × to C, epoll level; medians)",
	)
}

func TestTextComparison(t *testing.T) {
	b := sample(2, 0.8)
	b.Machine.Kernel = "6.12.1"
	var text bytes.Buffer
	if err := TextComparison(&text, compare.Compare("a", sample(1, 1), "b", b)); err != nil {
		t.Fatal(err)
	}
	checkText(t, text.String(), "WARNING: different kernel: A has 6.18.2, B has 6.12.1\n",
		"better\n", "worse\n", "one sample only\n", "24 of 6,000 rows", "B against A: ", "6,000 one sample only")
}

// checkText expects words, and lines that fit.
func checkText(t *testing.T, text string, words ...string) {
	t.Helper()
	t.Log("\n" + text)
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("the text does not say %q", w)
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if utf8.RuneCountInString(line) > columns || strings.HasSuffix(line, " ") {
			t.Errorf("%d columns: %q", utf8.RuneCountInString(line), line)
		}
	}
}
