package localpg

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/salga-trust/engine/internal/owned"
)

// fallbackBases hold the clusters that cannot live in the requested folder. /var/tmp, not
// /tmp: a database must survive a reboot.
func fallbackBases() []string { return []string{"/var/lib/trust-engine", "/var/tmp/trust-engine"} }

// ChooseDir returns the folder for a cluster requested in a folder and served by an
// account, and the account that the server must run as. It is the requested folder,
// unless root has to change to the account and the account cannot pass through one of the
// parents (think of /root, mode 0700): then it is BASE/<short hash of the requested path>
// under the first usable fallback base.
//
// An existing cluster wins over one that would have to be made, even if permissions have
// changed since: starting an empty database beside a full one would look like the loss of
// all data. It is served by its owner. What another user could have put there is not a
// cluster of ours, nor a folder for one: the names of the fallbacks are easy to guess.
func ChooseDir(wanted string, account Account, fallbacks ...string) (string, Account, error) {
	if err := refusePlanted(wanted, account); err != nil {
		return "", account, err
	}
	wanted, err := resolve(wanted)
	if err != nil {
		return "", account, err
	}
	if !account.Drop {
		return wanted, account, nil
	}

	candidates := candidates(wanted, fallbacks)
	for i, dir := range candidates {
		if !holdsCluster(dir) {
			continue
		}

		err := owned.Folder(filepath.Dir(dir), account.UID)
		if err == nil {
			return serveExisting(dir, account)
		}
		if i == 0 {
			return "", account, fmt.Errorf("the cluster in %s may belong to another user: %w", dir, err)
		}
	}

	if err := os.MkdirAll(filepath.Dir(wanted), 0o755); err != nil {
		return "", account, err
	}
	failed := reachable(wanted, account)
	if failed == nil {
		return wanted, account, nil
	}

	for i, base := range fallbacks {
		err := privateDir(base, 0o755, account)
		if err == nil {
			err = reachable(candidates[i+1], account)
		}
		if err == nil {
			return candidates[i+1], account, nil
		}
		failed = errors.Join(failed, err)
	}
	return "", account, fmt.Errorf("no folder that user %d can use: %w", account.UID, failed)
}

// Locate returns where the cluster is that was requested in a folder: there, or where New
// put it because its user cannot pass through a parent. found is false if there is none,
// or none that this user can see.
func Locate(wanted string) (dir string, found bool, err error) {
	account, err := ServerAccount()
	if err != nil {
		account = Account{UID: os.Geteuid()} // there is no other user to trust
	}
	if err := refusePlanted(wanted, account); err != nil {
		return "", false, err
	}
	if wanted, err = resolve(wanted); err != nil {
		return "", false, err
	}

	for _, dir := range candidates(wanted, fallbackBases()) {
		if holdsCluster(dir) && owned.Folder(filepath.Dir(dir), account.UID) == nil {
			return dir, true, nil
		}
	}
	return "", false, nil
}

// refusePlanted refuses a requested folder that another user could have put there, and a
// link of theirs, which resolve would follow. The folder of a cluster may also belong to
// the cluster's owner, who was the server's account earlier.
func refusePlanted(wanted string, account Account) error {
	users := []int{account.UID}
	info, err := os.Lstat(wanted)
	if err == nil && info.IsDir() && holdsCluster(wanted) {
		data, err := os.Lstat(dataDir(wanted))
		if err != nil {
			return err
		}
		if uid, _, known := owned.Of(data); known {
			users = append(users, uid)
		}
	}

	if err := owned.Folder(wanted, users...); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// candidates lists the folders that a cluster may be in: the wanted one, and one under
// each of the fallback bases.
func candidates(wanted string, fallbacks []string) []string {
	dirs := []string{wanted}
	for _, base := range fallbacks {
		dirs = append(dirs, filepath.Join(base, shortHash(wanted)))
	}
	return dirs
}

// serveExisting keeps a cluster with the user who owns it, who need not be the one that
// would be chosen today.
func serveExisting(dir string, account Account) (string, Account, error) {
	info, err := os.Stat(dataDir(dir))
	if err != nil {
		return "", account, err
	}

	if uid, gid, known := owned.Of(info); known && uid != 0 {
		account.UID, account.GID = uid, gid
	}
	if err := reachable(dir, account); err != nil {
		return "", account, fmt.Errorf("the cluster in %s cannot be served: %w", dir, err)
	}
	return dir, account, nil
}

// reachable reports whether the account may pass through every parent of dir. It reads
// only the permission bits: access control lists that grant more are not seen, and cost a
// fallback at worst.
func reachable(dir string, account Account) error {
	for parent := filepath.Dir(dir); ; parent = filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if err != nil {
			return err
		}
		if !searchable(info, account) {
			return fmt.Errorf("user %d may not pass through %s (%s)", account.UID, parent, info.Mode())
		}
		if parent == filepath.Dir(parent) {
			return nil
		}
	}
}

// searchable applies Unix's rule: the first class that matches decides, even if a later
// one would allow more.
func searchable(info fs.FileInfo, account Account) bool {
	uid, gid, known := owned.Of(info)
	mode := info.Mode().Perm()

	switch {
	case !known:
		return true
	case uid == account.UID:
		return mode&0o100 != 0
	case gid == account.GID:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}

// privateDir makes dir, or accepts an existing one if only we and the account could have
// prepared it: in a folder like /tmp, anybody may have been faster.
func privateDir(dir string, mode fs.FileMode, account Account) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	return owned.Folder(dir, account.UID)
}

// longestSocketDir leaves room for "/.s.PGSQL.65535" within the 104 bytes that the
// strictest system (macOS, BSD) allows for a socket's path; Linux allows 108.
const longestSocketDir = 104 - 1 - len("/.s.PGSQL.65535")

// chooseSocketDir keeps the socket with the cluster, or in a short folder of its own if
// the path of the cluster is too long.
func chooseSocketDir(dir string, account Account) (string, error) {
	if len(dir) <= longestSocketDir {
		return dir, nil
	}

	short := filepath.Join("/tmp", "trust-"+shortHash(dir))
	if err := os.MkdirAll(short, 0o700); err != nil {
		return "", err
	}
	folder, err := owned.OpenFolder(short, account.UID)
	if err != nil {
		return "", err
	}
	return short, errors.Join(account.give(folder), folder.Close())
}

// resolve returns the absolute path without symbolic links, for a path whose last parts
// need not exist.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	resolved, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
		return resolved, err
	}

	parent, err := resolve(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}

// shortHash names a folder after a path: 48 bits keep the few clusters of one machine
// apart.
func shortHash(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:6])
}

// holdsCluster looks for the file that Postgres itself takes as the sign of a data
// directory.
func holdsCluster(dir string) bool {
	_, err := os.Stat(filepath.Join(dataDir(dir), "PG_VERSION"))
	return err == nil
}
