package settings

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/joho/godotenv"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/owned"
)

// source is where a setting comes from.
type source string

// The sources, strongest first.
const (
	fromFile        source = "a file of its own"
	fromFlag        source = "the command line"
	fromEnvironment source = "the environment"
	fromDotEnv      source = ".env"
	fromDataDir     source = "the file env in DATA_DIR"
	fromDefault     source = "the default"
)

// Settings looks variables up, strongest source first. An empty value counts as unset
// everywhere, because compose files pass unset variables as empty ones.
type Settings struct {
	given   map[source]map[string]string
	DataDir string
}

// Read collects the settings, from the two files too. It does not change this process's
// environment.
func Read(given map[string]string, environment []string) (Settings, error) {
	s := Settings{given: map[source]map[string]string{fromFlag: given, fromEnvironment: {}, fromDefault: {}}}
	for _, pair := range environment {
		name, value, _ := strings.Cut(pair, "=")
		s.given[fromEnvironment][name] = value
	}
	for _, v := range variables() {
		s.given[fromDefault][v.name] = v.fallback
	}

	var err error
	if s.given[fromDotEnv], err = ReadEnvFile(".env", owned.Plain); err != nil {
		return Settings{}, err
	}

	// The file env in DATA_DIR cannot say where DATA_DIR is.
	s.DataDir, _ = s.find("DATA_DIR")
	if err := CheckDataDir(s.DataDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Settings{}, err
	}

	if s.given[fromDataDir], err = ReadEnvFile(filepath.Join(s.DataDir, "env"), owned.Secret); err != nil {
		return Settings{}, err
	}
	delete(s.given[fromDataDir], "DATA_DIR")
	s.given[fromFile], err = s.readFiles()
	return s, err
}

// CheckDataDir refuses a folder, DATA_DIR or one of its own in it, that another user
// could have prepared.
func CheckDataDir(path string) error {
	if err := owned.Folder(path); err != nil {
		return exit.Unreachable(err,
			"DATA_DIR must be a folder that nobody else can change: run this as the user who owns it, or set another")
	}
	return nil
}

// find returns a variable's value and its source.
func (s Settings) find(name string) (string, source) {
	for _, from := range []source{fromFile, fromFlag, fromEnvironment, fromDotEnv, fromDataDir, fromDefault} {
		if value := s.given[from][name]; value != "" {
			return value, from
		}
	}
	return "", fromDefault
}

// Get returns a variable's value.
func (s Settings) Get(name string) string {
	value, _ := s.find(name)
	return value
}

// HasMasterKey reports whether there is a master key, wrapped or not.
func (s Settings) HasMasterKey() bool {
	return s.Get("MASTER_KEY") != "" || s.Get("MASTER_KEY_WRAPPED_FILE") != ""
}

// Kept returns the variable's value in the file env in DATA_DIR, whatever else is set.
func (s Settings) Kept(name string) string { return s.given[fromDataDir][name] }

// Again reads the files once more, under the same flags: they may have changed meanwhile.
func (s Settings) Again(environment []string) (Settings, error) {
	return Read(s.given[fromFlag], environment)
}

// OwnServer reports whether the database is the private server of trust up: no address is
// given, or only the one that trust up keeps.
func (s Settings) OwnServer() bool {
	address, from := s.find("DATABASE_URL")
	return from == fromDataDir || from == fromDefault || address == s.Kept("DATABASE_URL")
}

// AsEnvironment returns this process's environment with the given flags added, so that a
// child gets the same settings.
func (s Settings) AsEnvironment(environment []string) []string {
	all := append([]string{}, environment...)
	for name, value := range s.given[fromFlag] {
		all = append(all, name+"="+value) // of two, the last one counts
	}
	return all
}

// ReadEnvFile reads NAME=value lines. A missing file has none; one that another user
// could have written is refused. The library's errors quote the file, secrets too, so
// they are replaced by the number of the line.
func ReadEnvFile(path string, kind owned.Kind) (map[string]string, error) {
	text, err := owned.Read(path, kind)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		// It must not advise to remove the file, which may hold the only master key.
		return nil, exit.Unreachable(err,
			"cannot use %s, which may hold the only keys to the data; run this as the user who owns the file, "+
				"or set DATA_DIR", path)
	}

	values, err := godotenv.UnmarshalBytes(text)
	if err == nil {
		return values, nil
	}

	// The mistake follows the longest beginning that can be read. A beginning may end
	// within a quoted value and so be unreadable.
	lines := strings.SplitAfter(string(text), "\n")
	for n := len(lines) - 1; ; n-- {
		if _, err := godotenv.Unmarshal(strings.Join(lines[:n], "")); err == nil {
			return nil, exit.WrongUsage("%s: line %d is not NAME=value; correct it", path, n+1)
		}
	}
}
