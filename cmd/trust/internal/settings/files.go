package settings

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/owned"
)

// inFiles are the secrets that may be kept in a file of their own, as systemd, Docker and
// Kubernetes hand them over: NAME_FILE says which.
func inFiles() []string {
	return []string{"SECRET_KEY", "MASTER_KEY", "NEW_MASTER_KEY", "LOG_SIGNING_KEY"}
}

// readFiles reads the secrets that are kept in files of their own. One that is set as
// well is refused: which of two keys counts must not depend on an order.
func (s Settings) readFiles() (map[string]string, error) {
	values := map[string]string{}
	for _, name := range inFiles() {
		path := s.Get(name + "_FILE")
		if path == "" {
			continue
		}
		if also, from := s.find(name); also != "" {
			return nil, exit.WrongUsage("%s and %s_FILE are both set, the first in %s; unset one of them",
				name, name, from)
		}

		value, err := readSecret(name+"_FILE", path)
		if err != nil {
			return nil, err
		}
		values[name] = value
	}
	return values, nil
}

// readSecret reads a file that holds one line, whose end is not part of the secret.
func readSecret(name, path string) (string, error) {
	text, err := owned.Read(path, owned.Secret)
	if err != nil {
		return "", exit.WrongUsage("cannot use the file that %s names: %v", name, err)
	}

	value := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	switch {
	case value == "":
		return "", exit.WrongUsage("the file that %s names is empty; write the key into it, on one line", name)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return "", exit.WrongUsage("the file that %s names is not one line of text; write the key alone into it", name)
	default:
		return value, nil
	}
}
