//go:build unix

package owned

import (
	"io/fs"
	"os"
	"syscall"
)

// nonBlocking keeps a pipe in place of a file from blocking its reader.
const nonBlocking = syscall.O_NONBLOCK

// noLink refuses a link in place of what is opened.
const noLink = syscall.O_NOFOLLOW

// Of returns the owner of a file.
func Of(info fs.FileInfo) (uid, gid int, known bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(stat.Uid), int(stat.Gid), true
}

// OpenLock opens a file to lock, and makes it if it does not exist. It refuses a link.
func OpenLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|noLink, 0o600)
}
