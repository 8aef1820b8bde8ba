package times_test

import (
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

// roles are what the test binary can do as a child process.
var roles = map[string]func(args []string) error{}

func TestMain(m *testing.M) { epitest.Main(m, roles) }
