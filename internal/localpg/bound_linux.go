package localpg

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
)

// StartBound starts cmd like cmd.Start, and makes the kernel send sig to the new process
// when this process ends, for whatever reason: return, panic, kill -9. Wait for cmd as
// usual. Only Linux can do this; elsewhere StartBound is cmd.Start.
//
// Linux ties the signal to the parent *thread*, and Go's threads come and go. So the
// process is started from a thread that is locked for as long as the process lives; that
// costs one idle thread per child. A set-uid child loses the signal, and a child's own
// children do not inherit it.
func StartBound(cmd *exec.Cmd, sig syscall.Signal) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = sig

	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()

		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		pid := cmd.Process.Pid // read before the caller owns cmd again
		started <- nil
		awaitExit(pid)
	}()
	return <-started
}

// awaitExit blocks this thread until the child has ended, and leaves the child for
// cmd.Wait to collect. If cmd.Wait came first, there is no such child any more, which
// also means that it has ended.
func awaitExit(pid int) {
	const byPID = 1 // P_PID of waitid(2); package syscall does not name it
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID,
			byPID, uintptr(pid), 0, syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if !errors.Is(errno, syscall.EINTR) {
			return
		}
	}
}
