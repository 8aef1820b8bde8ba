// Package secretfile keeps what a server has made once and needs at every start, such as a
// key, in a file.
package secretfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// newSuffix ends the name of a file that is not whole yet.
const newSuffix = ".new"

// Get returns what a file has. When there is none it keeps what fresh returns: the file
// appears whole, also when the disk is full or the program ends meanwhile. One process
// at a time may do so.
func Get(name string, fresh func() ([]byte, error)) ([]byte, error) {
	kept, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if kept, err = fresh(); err != nil {
			return nil, err
		}
		return kept, write(name, kept)
	case err == nil && len(kept) == 0:
		err = fmt.Errorf("%s is empty: remove it, and the next start makes another", name)
	}
	return kept, err
}

func write(name string, text []byte) error {
	err := writeAll(name+newSuffix, text)
	if err == nil {
		err = os.Rename(name+newSuffix, name)
	}
	if err != nil {
		_ = os.Remove(name + newSuffix) // the other error says more
		return fmt.Errorf("keep a secret: %w", err)
	}
	syncDirectory(filepath.Dir(name))
	return nil
}

// writeAll makes a file whose bytes are on the disk.
func writeAll(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDirectory has the file's name last, where the system can do that. Without it a loss
// of power may take back the whole file, and then the next start makes another.
func syncDirectory(name string) {
	if dir, err := os.Open(name); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
}
