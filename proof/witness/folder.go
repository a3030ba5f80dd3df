package witness

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/salga-trust/engine/internal/owned"
	"github.com/salga-trust/engine/internal/wholefile"
	"github.com/salga-trust/engine/proof"
)

// folder is the state of a witness, held by one process at a time: the file "key", and a
// file for each log, named after the hash of its origin, that is the newest checkpoint
// that was cosigned, as it is served.
type folder struct {
	dir  string
	lock *os.File
	// write replaces a file as a whole; tests make it fail, or end the process after it.
	write func(path, text string) error
}

// ErrHeld says that another process has the folder.
var ErrHeld = errors.New("another witness runs on this folder")

// openFolder makes the folder if it does not exist, and takes it. The lock ends with the
// process, however that ends.
func openFolder(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := owned.Folder(dir); err != nil {
		return nil, err
	}

	lock, err := owned.OpenLock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrHeld
		}
		return nil, errors.Join(err, lock.Close())
	}
	return &folder{dir: dir, lock: lock, write: wholefile.Write}, nil
}

// close gives the folder back, also if a process that is being started has a copy of the
// lock until it runs.
func (f *folder) close() error {
	return errors.Join(syscall.Flock(int(f.lock.Fd()), syscall.LOCK_UN), f.lock.Close())
}

const (
	checkpointEnding = ".checkpoint"
	splitEnding      = ".split"
)

// hashOf returns how a log's files are named, and how tlog-witness names it to monitors.
func hashOf(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

func (f *folder) path(origin, ending string) string {
	return filepath.Join(f.dir, hashOf(origin)+ending)
}

// KeyError says that the keys of a folder are not whole, or are not those of its
// checkpoints.
type KeyError struct{ text string }

func (e *KeyError) Error() string { return e.text }

// keyHead is at the head of the file of keys.
const keyHead = `# Made by trust witness: the keys that it cosigns with. Whoever has this file can sign in its name.
# Never go back to an older copy of this folder: the witness would forget what it cosigned.
`

// signer returns the signer that the folder keeps. Its keys are made at the first start,
// for which a name is needed; later the name may be left out.
func (f *folder) signer(name string) (*proof.Signer, error) {
	path := filepath.Join(f.dir, "key")
	text, err := owned.Read(path, owned.Secret)
	if errors.Is(err, fs.ErrNotExist) {
		return f.firstSigner(path, name)
	}
	if err != nil {
		return nil, err
	}

	kept, seeds, err := parseKeys(string(text))
	if err != nil {
		return nil, err
	}
	if name != "" && name != kept {
		return nil, &KeyError{fmt.Sprintf("the witness of this folder is called %q, not %q; "+
			"another witness needs another folder", kept, name)}
	}
	return proof.NewSigner(kept, seeds)
}

// firstSigner makes the keys. It does not where checkpoints are: their keys were lost,
// and others in their place would sign what those perhaps contradict.
func (f *folder) firstSigner(path, name string) (*proof.Signer, error) {
	cosigned, err := filepath.Glob(filepath.Join(f.dir, "*"+checkpointEnding))
	if err != nil {
		return nil, err
	}
	if len(cosigned) > 0 {
		return nil, &KeyError{"the folder has checkpoints and no key that cosigned them; " +
			"put the key back, or begin a new witness in another folder"}
	}
	if name == "" {
		return nil, &KeyError{"a new witness needs a name, such as witness.example.gov.za/1"}
	}

	var seeds proof.Seeds
	_, _ = rand.Read(seeds.Ed25519[:]) // it never fails
	_, _ = rand.Read(seeds.MLDSA44[:])
	signer, err := proof.NewSigner(name, seeds)
	if err != nil {
		return nil, &KeyError{err.Error()}
	}

	encode := base64.StdEncoding.EncodeToString
	return signer, f.write(path, keyHead+"name "+name+"\ned25519 "+encode(seeds.Ed25519[:])+
		"\nml-dsa-44 "+encode(seeds.MLDSA44[:])+"\n")
}

// parseKeys reads the file of keys. Half of it is not enough: a witness that lost one key
// must not go on as if it had never had it.
func parseKeys(text string) (name string, seeds proof.Seeds, err error) {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		word, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "" || strings.HasPrefix(word, "#") {
			continue
		}
		if _, twice := values[word]; twice {
			return "", seeds, &KeyError{fmt.Sprintf("the file key has two lines %q", word)}
		}
		values[word] = value
	}

	for word, seed := range map[string][]byte{"ed25519": seeds.Ed25519[:], "ml-dsa-44": seeds.MLDSA44[:]} {
		data, err := base64.StdEncoding.Strict().DecodeString(values[word])
		if err != nil || len(data) != len(seed) {
			return "", seeds, &KeyError{"the file key has no whole line " + word + "; put the whole file back"}
		}
		copy(seed, data)
	}
	if !proof.ValidName(values["name"]) || len(values) != 3 {
		return "", seeds, &KeyError{"the file key has no line name, or foreign lines; put the whole file back"}
	}
	return values["name"], seeds, nil
}

// read returns the newest checkpoint that was cosigned of a log; the empty tree if none
// was. Our own cosignature on it shows that the file is whole and ours.
func (f *folder) read(origin string, keys []proof.Key) (proof.Signed, error) {
	text, err := owned.Read(f.path(origin, checkpointEnding), owned.Plain)
	if errors.Is(err, fs.ErrNotExist) {
		return proof.Signed{Checkpoint: proof.Checkpoint{Origin: origin, Root: proof.EmptyRoot()}}, nil
	}
	if err != nil {
		return proof.Signed{}, err
	}

	signed, err := proof.Open(text, keys...)
	switch {
	case err == nil && signed.Origin != origin:
		err = fmt.Errorf("it is of the log %q", signed.Origin)
	case err == nil && len(signed.By) != len(keys):
		err = errors.New("not every key of this witness has cosigned it")
	}
	if err != nil {
		return proof.Signed{}, &KeyError{fmt.Sprintf("%s is not a checkpoint that this witness cosigned: %v",
			f.path(origin, checkpointEnding), err)}
	}
	return signed, nil
}

// check reads every checkpoint that is there, of the logs that are listed or not.
func (f *folder) check(keys []proof.Key) error {
	paths, err := filepath.Glob(filepath.Join(f.dir, "*"+checkpointEnding))
	if err != nil {
		return err
	}

	for _, path := range paths {
		text, err := owned.Read(path, owned.Plain)
		if err != nil {
			return err
		}
		c, err := proof.Unsigned(text)
		if err != nil || f.path(c.Origin, checkpointEnding) != path {
			return &KeyError{path + " is not a checkpoint, or not of the log that its name says"}
		}
		if _, err := f.read(c.Origin, keys); err != nil {
			return err
		}
	}
	return nil
}

// maxSplits bounds how many proofs of a log's misbehaviour are kept. One is enough.
const maxSplits = 8

// keepSplit keeps a checkpoint that the log signed although it had signed another one of
// this size.
func (f *folder) keepSplit(c proof.Checkpoint, signed []byte) error {
	there, err := f.splits(c.Origin)
	if err != nil || len(there) >= maxSplits {
		return err
	}
	return f.write(f.path(c.Origin, fmt.Sprintf("-%d-%x%s", c.Size, c.Root[:4], splitEnding)), string(signed))
}

// splits returns the files that show how a log misbehaved.
func (f *folder) splits(origin string) ([]string, error) {
	return filepath.Glob(f.path(origin, "-*"+splitEnding))
}
