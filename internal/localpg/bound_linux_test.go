package localpg_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/salga-trust/engine/internal/localpg"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestChildEndsWhenItsParentIsKilled(t *testing.T) {
	t.Parallel()
	parent, said := startParent(t, "parent of a sleeper")
	pid := mustNumber(t, said)
	if !alive(pid) {
		t.Fatal("the child is not running")
	}

	kill(t, parent)
	pgtest.Eventually(t, "the child has ended", func() bool { return !alive(pid) })
}

func TestClusterEndsWhenItsParentIsKilled(t *testing.T) {
	t.Parallel()
	config := config(t)
	parent, said := startParent(t, "parent of a cluster",
		"DIR="+config.Dir, "PASSWORD="+config.Password)
	pid := mustNumber(t, said)

	cluster, err := localpg.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.WaitReady(testContext(t)); err != nil {
		t.Fatal(err)
	}

	kill(t, parent)
	pgtest.Eventually(t, "the postmaster has ended", func() bool { return !alive(pid) })

	_, err = os.Stat(filepath.Join(cluster.Dir, "data", "postmaster.pid"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the server did not shut down in order: %v", err)
	}
}

// The signal follows the thread that started the child, so that must not be a thread that
// ends.
func TestChildOutlivesTheThreadThatAskedForIt(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	threadEnds := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so the thread ends with this goroutine
		threadEnds <- localpg.StartBound(cmd, syscall.SIGKILL)
	}()
	if err := <-threadEnds; err != nil {
		t.Fatal(err)
	}

	for range 50 { // more threads come and go
		done := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(done)
		}()
		<-done
	}
	if !alive(cmd.Process.Pid) {
		t.Error("the child was ended with a thread")
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("wait did not see the kill")
	}
}

func TestStartBoundReturnsTheErrorOfStart(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "/does/not/exist")
	if err := localpg.StartBound(cmd, syscall.SIGKILL); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// startParent runs this test binary in a role and returns the first line it prints.
func startParent(t *testing.T, role string, env ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), roleVariable+"="+role), env...)
	cmd.Stderr = os.Stderr

	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})

	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the parent said nothing: %v", err)
	}
	return cmd, strings.TrimSpace(line)
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}

// alive reports whether a process is running. One that has ended is not, even if nobody
// has collected it yet.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

func mustNumber(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
