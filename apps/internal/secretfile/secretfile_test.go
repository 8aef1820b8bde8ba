package secretfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/internal/secretfile"
)

func fixed(text string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(text), nil }
}

func TestASecretIsMadeOnce(t *testing.T) {
	name := filepath.Join(t.TempDir(), "secret")
	for _, offered := range []string{"first", "second"} {
		if got, err := secretfile.Get(name, fixed(offered)); err != nil || string(got) != "first" {
			t.Errorf("with %q offered it is %q, %v", offered, got, err)
		}
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
}

// What a crash has left of a secret that was being written is no secret.
func TestAPartOfASecretIsNone(t *testing.T) {
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name+".new", []byte("fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := secretfile.Get(name, fixed("second")); err != nil || string(got) != "second" {
		t.Errorf("it is %q, %v", got, err)
	}
	if _, err := os.Stat(name + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the part is still there: %v", err)
	}
}

// A secret that cannot be written leaves nothing behind, so that the next start makes it.
func TestASecretThatCannotBeKeptLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if _, err := secretfile.Get(filepath.Join(dir, "secret"), fixed("first")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the error is %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := secretfile.Get(filepath.Join(dir, "secret"), fixed("second")); err != nil || string(got) != "second" {
		t.Errorf("it is %q, %v", got, err)
	}
}

func TestAnEmptyFileIsRefusedWithTheRemedy(t *testing.T) {
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secretfile.Get(name, fixed("first")); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("the error is %v", err)
	}
}
