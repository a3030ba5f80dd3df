//go:build !unix

package owned

import (
	"io/fs"
	"os"
)

const (
	nonBlocking = 0
	noLink      = 0
)

// Of knows no owner: without Unix users a file has none.
func Of(fs.FileInfo) (uid, gid int, known bool) { return 0, 0, false }

// OpenLock opens a file to lock, and makes it if it does not exist.
func OpenLock(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) }
