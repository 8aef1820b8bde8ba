package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPicturesAreDrawn compares the pictures in the repository with those that the
// code draws now.
func TestPicturesAreDrawn(t *testing.T) {
	drawn := pictures()
	for name, want := range drawn {
		got, err := os.ReadFile(filepath.Join("..", "pictures", name))
		if err != nil {
			t.Error(err)
			continue
		}
		if string(got) != want {
			t.Errorf("%s is not what the code draws: go generate ./docs/course", name)
		}
		for d := xml.NewDecoder(strings.NewReader(want)); ; {
			if _, err := d.Token(); err != nil {
				if !errors.Is(err, io.EOF) {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
		}
	}
	files, err := os.ReadDir(filepath.Join("..", "pictures"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(drawn) {
		t.Errorf("there are %d files for %d pictures", len(files), len(drawn))
	}
}
