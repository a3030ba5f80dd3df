// Package wholefile replaces a file as a whole: readers find the old file or the new one,
// even after a crash.
//
// Owns: nothing.
//
// Guarantees: the file is on disk before it takes its name, and only its owner can write
// to it, or, unless it is published, read it.
//
// Fails how: the old file stays, and nothing is left beside it.
//
// Not here: what is in the file, and whether two processes may write it at once.
package wholefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write replaces a file, mode 0600.
func Write(path, text string) error { return replace(path, text, 0o600) }

// Publish replaces a file that everybody may read, mode 0644.
func Publish(path, text string) error { return replace(path, text, 0o644) }

func replace(path, text string, mode fs.FileMode) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()

	_, err = file.WriteString(text)
	if err := errors.Join(err, file.Chmod(mode), file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}

	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}
