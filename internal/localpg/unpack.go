package localpg

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// largestUnpacked bounds what an archive may unpack to; the real one has 60 MB.
const largestUnpacked = 256 << 20

// programs is the folder of the archive that is unpacked.
const programs = "package/native/"

// unpack unpacks the programs of an archive into a new folder, from which everybody may
// run them. Nothing is written outside that folder, whatever the archive holds.
func unpack(archive, into string) (err error) {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()

	zipped, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	if err := os.Mkdir(into, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(into) // it refuses a name that leads out of the folder
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()

	bound := &io.LimitedReader{R: zipped, N: largestUnpacked}
	for entries := tar.NewReader(bound); ; {
		header, err := entries.Next()
		switch {
		case bound.N <= 0:
			return fmt.Errorf("it holds more than %d MB", largestUnpacked>>20)
		case errors.Is(err, io.EOF):
			return errors.Join(link(root), open(root))
		case err != nil:
			return err
		}

		name, wanted := strings.CutPrefix(header.Name, programs)
		switch {
		case !filepath.IsLocal(header.Name), wanted && !filepath.IsLocal(name):
			return fmt.Errorf("%q leads out of the folder", header.Name)
		case header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeDir:
			return fmt.Errorf("%q is neither a file nor a folder", header.Name)
		case !wanted || header.Typeflag == tar.TypeDir:
			continue // a folder is made with what is in it
		}

		program := header.Mode&0o111 != 0 || strings.HasPrefix(name, "bin/")
		if err := writeEntry(root, name, entries, program); err != nil {
			return err
		}
	}
}

// writeEntry writes one file. It is on disk before the folder gets its name: otherwise a
// file half written before a crash would pass for a whole one.
func writeEntry(root *os.Root, name string, from io.Reader, program bool) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	to, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}

	mode := fs.FileMode(0o644)
	if program {
		mode = 0o755
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Chmod(mode), to.Sync(), to.Close())
}

// link makes the symbolic links of libraries. npm's archives cannot hold links, so a list
// takes their place.
func link(root *os.Root) error {
	const list = "pg-symlinks.json"
	text, err := root.ReadFile(list)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}

	var links []struct{ Source, Target string } // the file, and the link to it
	if err := json.Unmarshal(text, &links); err != nil {
		return fmt.Errorf("%s: %w", list, err)
	}

	for _, l := range links {
		file, inside := strings.CutPrefix(l.Source, "native/")
		name, alsoInside := strings.CutPrefix(l.Target, "native/")
		if !inside || !alsoInside || !filepath.IsLocal(file) || !filepath.IsLocal(name) {
			return fmt.Errorf("%s: the link %q to %q leads out of the folder", list, l.Target, l.Source)
		}

		to, err := filepath.Rel(filepath.Dir(name), file)
		if err != nil {
			return err
		}
		if err := root.Symlink(to, name); err != nil {
			return err
		}
	}
	return nil
}

// open lets everybody pass through the folders, whatever this process's umask is: a
// server started by root runs as another user.
func open(root *os.Root) error {
	return fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return root.Chmod(name, 0o755)
	})
}
