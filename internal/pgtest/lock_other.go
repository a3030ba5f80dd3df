//go:build !unix

package pgtest

import (
	"errors"
	"os"
)

// lockFolder cannot lock here: tests that want a private cluster need Unix, others set TEST_DATABASE_URL.
func lockFolder(string) (*os.File, error) {
	return nil, errors.New("private test clusters need Unix: set TEST_DATABASE_URL")
}
