//go:build unix

package localpg

import (
	"os/exec"
	"syscall"
)

// apply makes cmd run as the account, in a process group of its own: a Ctrl-C on the
// terminal goes to the whole group, and must not stop the database before the processes
// that use it.
func (a Account) apply(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if a.Drop {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(a.UID), Gid: uint32(a.GID)}
	}
}
