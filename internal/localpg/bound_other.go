//go:build !linux

package localpg

import (
	"os/exec"
	"syscall"
)

// StartBound is cmd.Start: this system cannot tie a child's life to its parent's. See the
// Linux version.
func StartBound(cmd *exec.Cmd, _ syscall.Signal) error { return cmd.Start() }
