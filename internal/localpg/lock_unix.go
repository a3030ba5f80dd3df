//go:build unix

package localpg

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/salga-trust/engine/internal/owned"
)

// LockFolder takes the folder's lock, which the kernel frees when this process ends, for
// whatever reason. It does not wait for a live owner.
func LockFolder(dir string) (*os.File, error) {
	file, err := owned.OpenLock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
