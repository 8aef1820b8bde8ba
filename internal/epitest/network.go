package epitest

import (
	"os"
	"path/filepath"
	"testing"
)

// UnixPath returns a path for a socket, short enough for sun_path whatever the
// test is called.
func UnixPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "epi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// EachNetwork runs a test for every mode over TCP and over Unix sockets.
// address is where to listen.
func EachNetwork(t *testing.T, test func(t *testing.T, m Mode, address string)) {
	t.Helper()
	Each(t, func(t *testing.T, m Mode) {
		t.Run("tcp", func(t *testing.T) { test(t, m, "tcp://127.0.0.1:0") })
		t.Run("unix", func(t *testing.T) { test(t, m, "unix://"+UnixPath(t)) })
	})
}
