package owned

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// Kind is how closely a file is kept: the bits that its mode must not have.
type Kind fs.FileMode

// Kinds of files.
const (
	// Secret lets the group read the file, for an operator who arranged that.
	Secret Kind = 0o027
	// Plain lets the group even write to it: the umask of many systems does, where a
	// user's group has no other member.
	Plain Kind = 0o002
)

// Folder refuses a folder that others can write to, or that belongs to anybody but root,
// us and the given users. For a folder that does not exist, the error is fs.ErrNotExist.
func Folder(path string, users ...int) error {
	info, err := ours(path, users)
	if err != nil {
		return err
	}

	if info.Mode()&fs.ModeSymlink != 0 {
		if info, err = os.Stat(path); err != nil {
			return err
		}
	}
	return safe(path, info, users)
}

// OpenFolder opens a folder that Folder accepts, but no link to one. What is done through
// the handle is done to the folder that was checked, whatever has its name by then.
func OpenFolder(path string, users ...int) (*os.File, error) {
	folder, err := os.OpenFile(path, os.O_RDONLY|noLink|nonBlocking, 0)
	if err != nil {
		return nil, err
	}

	info, err := folder.Stat()
	if err == nil {
		err = safe(path, info, users)
	}
	if err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	return folder, nil
}

// safe refuses a folder, after links to it were followed, that others can write to or
// that belongs to another user.
func safe(path string, info fs.FileInfo, users []int) error {
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", path)
	case !belongs(info, users):
		return fmt.Errorf("%s leads to a folder of another user", path)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others can write to the folder %s: chmod go-w it", path)
	default:
		return nil
	}
}

// Read returns the contents of a file that nobody else could have written.
func Read(path string, kind Kind) (_ []byte, err error) {
	if _, err := ours(path, nil); err != nil {
		return nil, err
	}

	file, err := os.OpenFile(path, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()

	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", path)
	case !belongs(info, nil):
		return nil, fmt.Errorf("%s leads to a file of another user", path)
	case info.Mode().Perm()&fs.FileMode(kind) != 0:
		return nil, fmt.Errorf("%s has the mode %s, which lets others change it or read it: chmod o-rw,g-w it",
			path, info.Mode().Perm())
	}
	return io.ReadAll(file)
}

// Create makes a new file in place of what is there: a link is removed and not followed.
func Create(path string, mode fs.FileMode) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
}

// ours refuses what belongs to another user. For a link, that is the link itself, not its
// target.
func ours(path string, users []int) (fs.FileInfo, error) {
	info, err := os.Lstat(path)
	if err == nil && !belongs(info, users) {
		err = fmt.Errorf("%s belongs to another user", path)
	}
	return info, err
}

func belongs(info fs.FileInfo, users []int) bool {
	uid, _, known := Of(info)
	return !known || uid == 0 || uid == os.Geteuid() || slices.Contains(users, uid)
}
