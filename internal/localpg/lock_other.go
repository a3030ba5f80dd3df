//go:build !unix

package localpg

import (
	"errors"
	"os"
)

// LockFolder cannot lock here: private clusters need Unix.
func LockFolder(string) (*os.File, error) {
	return nil, errors.New("private clusters need Unix: set DATABASE_URL, in tests TEST_DATABASE_URL")
}
