package cli

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

// TestHunt24_OneProcessorMoreThanLoops, unless the environment says otherwise.
func TestHunt24_OneProcessorMoreThanLoops(t *testing.T) {
	loops := runtime.NumCPU()
	for env, want := range map[string]int{
		"":                    loops + 1,
		"1":                   1,
		fmt.Sprint(loops + 5): loops + 5,
	} {
		t.Run("GOMAXPROCS="+env, func(t *testing.T) {
			t.Setenv("GOMAXPROCS", env)
			p := start(t, "echo", "--listen", "tcp://127.0.0.1:0", "--loops", fmt.Sprint(loops), "--log-level", "info")
			epitest.RoundTrip(t, dial(t, p.line("listening on ")), "x") // it serves
			p.signal(syscall.SIGTERM)
			_, stderr := p.end(0)
			if said := fmt.Sprintf("gomaxprocs=%d", want); !strings.Contains(stderr, said+" ") && !strings.Contains(stderr, said+"\n") {
				t.Errorf("stderr lacks %s:\n%s", said, stderr)
			}
		})
	}
}
