package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/salga-trust/engine/internal/owned"
	"github.com/salga-trust/engine/internal/wholefile"
)

// Pair is a variable and its value.
type Pair struct{ Name, Value string }

// envFileHead is at the head of the file that trust up makes.
const envFileHead = `# Made by trust up, and read by every trust command for settings that are not set elsewhere.
# It holds the keys to all personal data: keep a copy of it in a safe place, apart from copies of the database.
# Without MASTER_KEY the database cannot be read.
`

// Keep sets variables in an env file, removes those with an empty value, and leaves its
// other lines as they are. The file is replaced as a whole, is on disk before it takes
// its name, and can be read only by its owner: losing a key in a crash after its first
// use would lose all data. One process at a time does this, so that none overwrites what
// another keeps.
func Keep(path string, values ...Pair) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = folder.Close() }() // which releases the lock
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock the folder of %s: %w", path, err)
	}

	text, err := owned.Read(path, owned.Secret)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte(envFileHead), nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}

	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	for _, v := range values {
		lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, v.Name+"=") })
		if v.Value != "" {
			lines = append(lines, v.Name+"="+v.Value)
		}
	}
	return wholefile.Write(path, strings.Join(lines, "\n")+"\n")
}
