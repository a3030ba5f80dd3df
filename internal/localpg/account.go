package localpg

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// Account is the operating-system user that initdb and postgres run as.
type Account struct {
	UID, GID int
	Drop     bool // the current user is root, and commands must change to this account
}

// ServerAccount returns the current user, except for root, since Postgres refuses to run
// as root: then it is the user postgres or, if there is none, nobody.
func ServerAccount() (Account, error) {
	if os.Geteuid() != 0 {
		return Account{UID: os.Geteuid(), GID: os.Getegid()}, nil
	}

	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}

		uid, uidErr := strconv.Atoi(found.Uid)
		gid, gidErr := strconv.Atoi(found.Gid)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return Account{}, fmt.Errorf("user %s: %w", name, err)
		}
		return Account{UID: uid, GID: gid, Drop: true}, nil
	}

	return Account{}, errors.New("Postgres does not run as root, and there is neither a user postgres " +
		"nor a user nobody to run it")
}

// give makes the account the owner of an open file or folder. It uses the handle, because
// the name may have become a link meanwhile.
func (a Account) give(file *os.File) error {
	if !a.Drop {
		return nil // it is ours already
	}
	return file.Chown(a.UID, a.GID)
}
