package wrapping

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/owned"
	"github.com/salga-trust/engine/internal/wholefile"
)

// format is the version of the file that this program reads and writes.
const format = 1

// File holds one master key, wrapped in several ways. It is no secret, but whoever
// changes it can say where a token is sent.
type File struct {
	Format      int        `json:"trust_master_key"`
	Fingerprint string     `json:"fingerprint"`
	Wrappings   []Wrapping `json:"wrappings"`
}

// Wrapping is the key, wrapped in one way.
type Wrapping struct {
	Name    string   `json:"name"`
	Transit *Transit `json:"transit,omitempty"`
	Age     []string `json:"age,omitempty"` // the recipients
	Wrapped string   `json:"wrapped"`
}

// Means are the files that open wrappings. An empty name: there is none.
type Means struct{ Token, Identity string }

var (
	namePattern        = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	fingerprintPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// New returns a file for a key, without a wrapping.
func New(key string) *File { return &File{Format: format, Fingerprint: fingerprint(key)} }

// Read reads a file. If there is none, the error is fs.ErrNotExist.
func Read(path string) (*File, error) {
	text, err := owned.Read(path, owned.Plain)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, exit.WrongUsage("cannot use the file of wrappings: %v", err)
	}

	f := &File{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(f)
	if _, more := decoder.Token(); err != nil || !errors.Is(more, io.EOF) || !f.whole() {
		return nil, exit.WrongUsage(
			"%s is not a whole file of wrappings, as trust keys wrap writes it; restore it from a copy", path)
	}
	return f, nil
}

// whole reports whether nothing is missing.
func (f *File) whole() bool {
	names := map[string]bool{}
	for _, w := range f.Wrappings {
		if names[w.Name] || !namePattern.MatchString(w.Name) || w.Wrapped == "" ||
			(w.Transit == nil) == (len(w.Age) == 0) {
			return false
		}
		names[w.Name] = true
	}
	return f.Format == format && fingerprintPattern.MatchString(f.Fingerprint) && len(f.Wrappings) > 0
}

// Write replaces a file as a whole.
func (f *File) Write(path string) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err == nil {
		err = wholefile.Publish(path, string(text)+"\n")
	}
	if err != nil {
		return exit.Unreachable(err, "the file of wrappings cannot be written; it is as it was")
	}
	return nil
}

// Holds reports whether the file is of this key.
func (f *File) Holds(key string) bool {
	return hmac.Equal([]byte(f.Fingerprint), []byte(fingerprint(key)))
}

// Put adds a wrapping, or replaces the one with its name.
func (f *File) Put(w Wrapping) {
	if i := f.index(w.Name); i >= 0 {
		f.Wrappings[i] = w
		return
	}
	f.Wrappings = append(f.Wrappings, w)
}

// Forget removes a wrapping. The last one stays.
func (f *File) Forget(name string) error {
	w, err := f.find(name)
	if err != nil {
		return err
	}
	if len(f.Wrappings) == 1 {
		return exit.WrongUsage("%s is the only wrapping of the key; add another before you forget it", name)
	}
	f.Wrappings = slices.Delete(f.Wrappings, f.index(w.Name), f.index(w.Name)+1)
	return nil
}

// Open unwraps the key by the wrapping with a name, or by the first one, and says which.
func (f *File) Open(ctx context.Context, name string, m Means) (key, opened string, err error) {
	w, err := f.find(name)
	if err != nil {
		return "", "", err
	}

	if w.Transit != nil {
		key, err = w.Transit.unwrap(ctx, w, m.Token)
	} else {
		key, err = unwrapAge(w, m.Identity)
	}
	if err != nil {
		return "", "", err
	}
	if !f.Holds(key) {
		return "", "", exit.WrongUsage("the wrapping %s holds another key than its file says; open another one, and "+
			"find out who changed it", w.Name)
	}
	return key, w.Name, nil
}

// find returns the wrapping with a name; empty: the first one.
func (f *File) find(name string) (Wrapping, error) {
	if name == "" {
		return f.Wrappings[0], nil
	}
	if i := f.index(name); i >= 0 {
		return f.Wrappings[i], nil
	}

	var names []string
	for _, w := range f.Wrappings {
		names = append(names, w.Name)
	}
	return Wrapping{}, exit.WrongUsage("there is no wrapping with this name; there are: %s", strings.Join(names, ", "))
}

func (f *File) index(name string) int {
	return slices.IndexFunc(f.Wrappings, func(w Wrapping) bool { return w.Name == name })
}

// CheckName refuses what cannot name a wrapping.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return exit.WrongUsage("a wrapping's name is 1 to 32 lower case letters, digits and hyphens")
	}
	return nil
}

// fingerprint tells keys apart. It lets somebody test a guess, as every database of the
// key does; a key of random characters cannot be guessed.
func fingerprint(key string) string {
	mac := hmac.New(sha256.New, []byte(key))
	_, _ = mac.Write([]byte("fingerprint of a master key")) // never fails
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
