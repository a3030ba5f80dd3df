package witness

import (
	"syscall"
	"testing"
)

// A process that is being started shares the lock for a moment. That keeps nobody from
// the folder once its witness has given it back.
func TestAFolderIsGivenBackThoughAnotherProcessSharesItsLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	held, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := syscall.Dup(int(held.lock.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(shared) })

	if err := held.close(); err != nil {
		t.Fatal(err)
	}
	again, err := openFolder(dir)
	if err != nil {
		t.Fatalf("it is held still: %v", err)
	}
	if err := again.close(); err != nil {
		t.Error(err)
	}
}
