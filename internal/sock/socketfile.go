package sock

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A SocketFile is the file that binding a Unix socket has made. The zero value is
// that of a socket without one.
type SocketFile struct {
	path string      // absolute: the working directory may change
	made fs.FileInfo // which file it is
}

// NoteSocketFile returns the file of a Unix socket that was bound to name just now.
func NoteSocketFile(name string) SocketFile {
	if name == "" || strings.HasPrefix(name, "@") { // in the abstract namespace, unix(7)
		return SocketFile{}
	}
	path, err := filepath.Abs(name)
	if err != nil {
		path = name
	}
	info, err := os.Lstat(path)
	if err != nil {
		return SocketFile{} // somebody has removed it already
	}
	return SocketFile{path, info}
}

// Remove removes the file, unless something else is at its path by now: the socket
// of a successor, perhaps. It is to be called before the socket is closed, as long
// as nobody else's file can have the same number.
func (f SocketFile) Remove() error {
	if f.made == nil {
		return nil
	}
	info, err := os.Lstat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !os.SameFile(info, f.made) {
		return nil
	}
	return os.Remove(f.path)
}
