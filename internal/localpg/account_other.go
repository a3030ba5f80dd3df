//go:build !unix

package localpg

import "os/exec"

// apply does nothing: without Unix users there is nobody to change to.
func (a Account) apply(*exec.Cmd) {}
