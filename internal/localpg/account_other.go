//go:build !unix

package localpg

import (
	"io/fs"
	"os/exec"
)

// apply does nothing: without Unix users there is nobody to change to.
func (a Account) apply(*exec.Cmd) {}

// owner is unknown: such files have no Unix owner.
func owner(fs.FileInfo) (uid, gid int, known bool) { return 0, 0, false }
