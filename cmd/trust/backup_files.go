package main

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/owned"
	"github.com/salga-trust/engine/internal/wholefile"
)

// The two files of a backup. They are separate because they are kept differently: events
// for long, keys for a short time, so that an erased person does not come back from an
// old copy.
const (
	eventsFile = "events"
	keysFile   = "keys"
)

// backupFormat is raised when older programs cannot read the files of newer ones.
const backupFormat = 1

// manifest says what a file of a backup holds. It is written last: data without it is no
// backup.
type manifest struct {
	Format    int              `json:"format"`
	Holds     string           `json:"holds"` // eventsFile or keysFile
	Schema    int32            `json:"schema"`
	Position  int64            `json:"position"` // the log's newest when the file was written
	Rows      map[string]int64 `json:"rows"`
	SHA256    string           `json:"sha256"` // of the file as it is on disk
	CreatedAt time.Time        `json:"created_at"`
	Program   string           `json:"program"`
}

func dataPath(dir, name string) string     { return filepath.Join(dir, name+".copy.gz") }
func manifestPath(dir, name string) string { return filepath.Join(dir, name+".json") }

// freshFolder makes a folder, and refuses one that holds a backup.
func freshFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return exit.Unreachable(err, "cannot make the folder %s", dir)
	}
	if err := owned.Folder(dir); err != nil {
		return exit.Unreachable(err,
			"a backup holds keys and needs a folder that nobody else can change; name another")
	}

	for _, name := range []string{eventsFile, keysFile} {
		for _, path := range []string{dataPath(dir, name), manifestPath(dir, name)} {
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				return exit.NotSo("%s holds a backup already, or what is left of one; name another folder", dir)
			}
		}
	}
	return nil
}

// writeData writes a compressed file, under another name until it is whole, and returns
// the SHA-256 of the file on disk.
func writeData(path string, write func(io.Writer) error) (sum string, err error) {
	part := path + ".part"
	file, err := owned.Create(part, 0o600)
	if err != nil {
		return "", exit.Unreachable(err, "cannot write the backup")
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part)
		}
	}()

	hash := sha256.New()
	buffered := bufio.NewWriterSize(io.MultiWriter(file, hash), 1<<20)
	// Most of it is ciphertext, so speed counts. It fails only for an unknown level.
	packed, _ := gzip.NewWriterLevel(buffered, gzip.BestSpeed)

	err = write(packed)
	closing := errors.Join(packed.Close(), buffered.Flush(), file.Sync(), file.Close())
	if err == nil && closing != nil {
		err = exit.Unreachable(closing, "cannot write the backup")
	}
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), os.Rename(part, path)
}

// writeManifest writes a manifest, which makes the data a backup.
func writeManifest(dir string, m manifest) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := wholefile.Write(manifestPath(dir, m.Holds), string(text)+"\n"); err != nil {
		return exit.Unreachable(err, "cannot write the backup")
	}
	return nil
}

// readManifest reads a manifest, and proves that its data file is the one that was
// written.
func readManifest(dir, name string) (m manifest, err error) {
	text, err := os.ReadFile(manifestPath(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return m, exit.NotSo("there is no whole backup of %s in %s: %s.json is missing", name, dir, name)
	}
	if err != nil {
		return m, exit.Unreachable(err, "cannot read the backup")
	}

	if err := json.Unmarshal(text, &m); err != nil || m.Holds != name {
		return m, exit.NotSo("%s is not what trust backup wrote", manifestPath(dir, name))
	}
	if m.Format != backupFormat {
		return m, exit.NotSo("the backup of %s has format %d, and this program reads format %d; "+
			"use the trust that wrote it (%s)", name, m.Format, backupFormat, m.Program)
	}

	sum, err := sumOf(dataPath(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return m, exit.NotSo("there is no whole backup of %s in %s: %s.copy.gz is missing", name, dir, name)
	}
	if err != nil {
		return m, exit.Unreachable(err, "cannot read the backup")
	}
	if sum != m.SHA256 {
		return m, exit.NotSo("%s is damaged: its SHA-256 is not the one that %s.json names; take another copy",
			dataPath(dir, name), name)
	}
	return m, nil
}

func sumOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()

	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// readData opens a file, unpacks it, and passes it to read.
func readData(path string, read func(io.Reader) error) error {
	file, err := os.Open(path)
	if err != nil {
		return exit.Unreachable(err, "cannot read the backup")
	}
	defer func() { _ = file.Close() }()

	unpacked, err := gzip.NewReader(bufio.NewReaderSize(file, 1<<20))
	if err != nil {
		return exit.Unreachable(err, "cannot unpack the backup")
	}
	return read(unpacked)
}
