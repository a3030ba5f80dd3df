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

	"github.com/salga-trust/engine/cmd/trust/internal/wholefile"
	"github.com/salga-trust/engine/internal/owned"
)

// Pair is a variable and its value.
type Pair struct{ Name, Value string }

// envFileHead stands above what trust up made.
const envFileHead = `# Made by trust up, and read by every trust command for what is not set elsewhere. It holds the keys to all personal data:
# keep a copy of it in a safe place, apart from copies of the database. Without MASTER_KEY the database cannot be read.
`

// Keep sets variables in an env file, removes those with an empty value, and leaves its
// other lines as they are. The file is replaced as a whole, on disk before it takes its
// name, and only its owner can read it: keys that were used and then lost in a crash
// would lose all data. One process at a time does this, so that none writes over what
// another one keeps.
func Keep(path string, values ...Pair) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = folder.Close() }() // which gives the lock up
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
