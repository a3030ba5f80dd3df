package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/internal/owned"
)

// Home is the folder DATA_DIR, held by one trust up at a time.
type Home struct {
	dir  string
	lock *os.File
}

// OpenHome makes the folder, takes its lock and removes what a killed supervisor left.
// The lock ends with the process, however that ends; the pid in it is only for the
// error of the next supervisor.
func OpenHome(dir string) (*Home, error) {
	h := &Home{dir: dir}

	// Others may pass through, because Postgres works as another user when root runs it.
	// Each thing inside has its own mode.
	for _, path := range []string{dir, h.runDir()} {
		if err := os.MkdirAll(path, 0o711); err != nil {
			return nil, exit.Unreachable(err, "cannot make the folder DATA_DIR; set it to one that can be written to")
		}
		if err := settings.CheckDataDir(path); err != nil {
			return nil, err
		}
	}

	var err error
	if h.lock, err = owned.OpenLock(filepath.Join(dir, "lock")); err != nil {
		return nil, exit.Unreachable(err, "cannot write to DATA_DIR; set it to a folder that can be written to")
	}
	if err := syscall.Flock(int(h.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer h.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, exit.Unreachable(nil, "trust up runs on %s already%s; stop that first, or set another DATA_DIR",
				dir, h.holder())
		}
		return nil, exit.Unreachable(err, "cannot lock %s", h.lock.Name())
	}

	if err := errors.Join(h.lock.Truncate(0), writeAt(h.lock, strconv.Itoa(os.Getpid())+"\n"), h.clear()); err != nil {
		h.Close()
		return nil, exit.Unreachable(err, "cannot prepare %s", dir)
	}
	return h, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// holder names the process that holds the lock, if its pid is in the file.
func (h *Home) holder() string {
	text := make([]byte, 20)
	n, _ := h.lock.ReadAt(text, 0)
	if pid := strings.TrimSpace(string(text[:n])); pid != "" {
		return " (process " + pid + ")"
	}
	return ""
}

// Close releases the folder.
func (h *Home) Close() { _ = h.lock.Close() }

func (h *Home) runDir() string { return filepath.Join(h.dir, "run") }

func (h *Home) pidFile(name string) string { return filepath.Join(h.runDir(), name+".pid") }

// clear removes pid files whose processes were killed together with their supervisor.
func (h *Home) clear() error {
	files, err := filepath.Glob(filepath.Join(h.runDir(), "*.pid*"))
	for _, file := range files {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

// started writes a part's pid file. A reader finds the whole number or no file.
func (h *Home) started(name string, pid int) error {
	whole, growing := h.pidFile(name), h.pidFile(name)+".new"
	file, err := owned.Create(growing, 0o644)
	if err != nil {
		return fmt.Errorf("pid file: %w", err)
	}

	_, err = file.WriteString(strconv.Itoa(pid) + "\n")
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	return os.Rename(growing, whole)
}

// ended removes a part's pid file.
func (h *Home) ended(name string) error {
	if err := os.Remove(h.pidFile(name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
