package load

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"github.com/epinet/epi/internal/epitest"
)

func TestMain(m *testing.M) {
	epitest.Main(m, map[string]func([]string) error{
		"child":       func([]string) error { return RunChild(os.Stdin, os.Stdout) },
		"dying child": func([]string) error { return RunChild(os.Stdin, dying{os.Stdout}) },
		"deaf child":  func([]string) error { time.Sleep(epitest.Patience); return nil },
	})
}

// dying ends the process when it has said that it is ready.
type dying struct{ out io.Writer }

func (d dying) Write(p []byte) (int, error) {
	n, err := d.out.Write(p)
	if bytes.Contains(p, []byte(`"ready":true`)) {
		os.Exit(3)
	}
	return n, err
}
