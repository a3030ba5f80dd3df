package owned_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/salga-trust/engine/internal/owned"
)

// strange makes something belong to a user who is neither root nor us, and reports
// whether it could: only root can.
func strange(t *testing.T, path string) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	must(t, os.Lchown(path, 54321, 54321))
	return true
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func folder(t *testing.T, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "folder")
	must(t, os.Mkdir(path, 0o700))
	must(t, os.Chmod(path, mode))
	return path
}

func file(t *testing.T, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, []byte("A=1\n"), 0o600))
	must(t, os.Chmod(path, mode))
	return path
}

func link(t *testing.T, to string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(to, path))
	return path
}

func demand(t *testing.T, what string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s is refused: %v", what, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got %v, want %q", what, err, want)
	}
}

func TestAFolderThatOthersCouldHavePreparedIsRefused(t *testing.T) {
	t.Parallel()
	demand(t, "a folder of our own", owned.Folder(folder(t, 0o711)), "")
	demand(t, "a link of our own to one", owned.Folder(link(t, folder(t, 0o755))), "")
	demand(t, "root's", owned.Folder("/"), "")
	demand(t, "one that its group can write to", owned.Folder(folder(t, 0o770)), "others can write to")
	demand(t, "one that all can write to", owned.Folder(folder(t, 0o703)), "others can write to")
	demand(t, "a link to one that all can write to", owned.Folder(link(t, folder(t, 0o777))), "others can write to")
	demand(t, "a file", owned.Folder(file(t, 0o600)), "not a folder")
	if err := owned.Folder(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}

	foreign := folder(t, 0o755)
	if strange(t, foreign) {
		demand(t, "another user's", owned.Folder(foreign), "belongs to another user")
		demand(t, "a link of our own to another user's", owned.Folder(link(t, foreign)), "of another user")
		demand(t, "that of a user whom we named", owned.Folder(foreign, 54321), "")

		planted := link(t, folder(t, 0o755))
		strange(t, planted)
		demand(t, "another user's link to our own", owned.Folder(planted), "belongs to another user")
	}
}

func TestAFolderIsOpenedAsItselfAndByNoLink(t *testing.T) {
	t.Parallel()
	open := func(path string, users ...int) error {
		handle, err := owned.OpenFolder(path, users...)
		if err == nil {
			err = handle.Close()
		}
		return err
	}
	demand(t, "a folder of our own", open(folder(t, 0o755)), "")
	demand(t, "a link of our own to one", open(link(t, folder(t, 0o755))), "symbolic links")
	demand(t, "one that all can write to", open(folder(t, 0o777)), "others can write to")
	demand(t, "a file", open(file(t, 0o600)), "not a folder")

	foreign := folder(t, 0o755)
	if strange(t, foreign) {
		demand(t, "another user's", open(foreign), "another user")
		demand(t, "that of a user whom we named", open(foreign, 54321), "")
	}
}

func TestAFileThatOthersCouldHaveWrittenIsNotRead(t *testing.T) {
	t.Parallel()
	read := func(path string, kind owned.Kind) error {
		text, err := owned.Read(path, kind)
		if err == nil && string(text) != "A=1\n" {
			t.Errorf("%s holds %q", path, text)
		}
		return err
	}
	demand(t, "a secret of our own", read(file(t, 0o600), owned.Secret), "")
	demand(t, "one that its group may read", read(file(t, 0o640), owned.Secret), "")
	demand(t, "one that all can read", read(file(t, 0o604), owned.Secret), "lets others")
	demand(t, "one that its group can write", read(file(t, 0o620), owned.Secret), "lets others")
	demand(t, "a plain file that all can read", read(file(t, 0o664), owned.Plain), "")
	demand(t, "a plain file that all can write", read(file(t, 0o606), owned.Plain), "lets others")
	demand(t, "a link of our own", read(link(t, file(t, 0o600)), owned.Secret), "")
	demand(t, "a folder", read(folder(t, 0o700), owned.Secret), "not a file")
	if err := read(filepath.Join(t.TempDir(), "none"), owned.Plain); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}

	pipe := filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	demand(t, "a pipe", read(pipe, owned.Secret), "not a file")

	foreign := file(t, 0o600)
	if strange(t, foreign) {
		demand(t, "another user's", read(foreign, owned.Secret), "belongs to another user")
		demand(t, "a link of our own to another user's", read(link(t, foreign), owned.Secret), "of another user")
		planted := link(t, file(t, 0o600))
		strange(t, planted)
		demand(t, "another user's link to our own", read(planted, owned.Secret), "belongs to another user")
	}
}

func TestAPlantedLinkIsNotFollowed(t *testing.T) {
	t.Parallel()
	precious := file(t, 0o600)

	made, err := owned.Create(link(t, precious), 0o600)
	must(t, err)
	_, err = made.WriteString("over it")
	must(t, errors.Join(err, made.Close()))
	if _, err := owned.OpenLock(link(t, precious)); err == nil {
		t.Error("a lock was opened through a link")
	}

	if text, err := os.ReadFile(precious); err != nil || string(text) != "A=1\n" {
		t.Errorf("what a link led to holds %q, %v", text, err)
	}
}
