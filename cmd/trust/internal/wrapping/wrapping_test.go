package wrapping_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/wrapping"
	"github.com/salga-trust/engine/cmd/trust/internal/wrapping/transittest"
)

const (
	master = "m4ster-key-which-is-long-enough-for-this-test"
	token  = "s.t0ken-of-openbao"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// secret writes a file that only its owner can read.
func secret(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func identity(t *testing.T) (recipient, path string) {
	t.Helper()
	made, err := age.GenerateX25519Identity()
	must(t, err)
	return made.Recipient().String(), secret(t, "# made today\n"+made.String()+"\n")
}

// refused checks an error: its exit code, what it says, and that it shows no secret.
func refused(t *testing.T, what string, err error, code int, want string) {
	t.Helper()
	if exit.CodeOf(err) != code || err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v (%d), want %q (%d)", what, err, exit.CodeOf(err), want, code)
	}
	for _, hidden := range []string{"m4ster", "t0ken", "AGE-SECRET"} {
		if err != nil && strings.Contains(err.Error(), hidden) {
			t.Errorf("%s: the message shows %q: %v", what, hidden, err)
		}
	}
}

// Two wrappings of one key: either opens it, by the file that was written.
func TestEachWrappingOpensTheSameKey(t *testing.T) {
	t.Parallel()
	bao := transittest.New(t, token, "transit", "trust")
	recipient, path := identity(t)
	m := wrapping.Means{Token: secret(t, token+"\n"), Identity: path}

	f := wrapping.New(master)
	first, err := wrapping.WrapTransit(t.Context(), "bao", master,
		wrapping.Transit{Address: bao.URL, Mount: "transit", Key: "trust"}, m.Token)
	must(t, err)
	f.Put(first)
	safe, err := wrapping.WrapAge("safe", master, []string{recipient})
	must(t, err)
	f.Put(safe)

	file := filepath.Join(t.TempDir(), "master.wrapped")
	must(t, f.Write(file))
	text, err := os.ReadFile(file)
	must(t, err)
	if strings.Contains(string(text), "m4ster") || strings.Contains(string(text), "t0ken") {
		t.Errorf("the file shows a secret:\n%s", text)
	}

	read, err := wrapping.Read(file)
	must(t, err)
	for name, want := range map[string]string{"": "bao", "bao": "bao", "safe": "safe"} {
		key, opened, err := read.Open(t.Context(), name, m)
		if err != nil || key != master || opened != want {
			t.Errorf("%q: %q by %q, %v", name, key, opened, err)
		}
	}
}

// Wrappings change while the key stays: the service's key is rotated and the wrapping
// made anew, one is forgotten, and the last one stays.
func TestWrappingsChangeWithoutTheKey(t *testing.T) {
	t.Parallel()
	bao := transittest.New(t, token, "keys", "trust")
	m := wrapping.Means{Token: secret(t, token)}
	at := wrapping.Transit{Address: bao.URL, Mount: "keys", Key: "trust"}
	f := wrapping.New(master)
	for range 2 {
		w, err := wrapping.WrapTransit(t.Context(), "bao", master, at, m.Token)
		must(t, err)
		f.Put(w)
		bao.Rotate("keys", "trust")
	}
	if n := len(f.Wrappings); n != 1 || !strings.HasPrefix(f.Wrappings[0].Wrapped, "vault:v2:") {
		t.Errorf("%d wrappings, of which the first is %q", n, f.Wrappings[0].Wrapped)
	}

	recipient, path := identity(t)
	safe, err := wrapping.WrapAge("safe", master, []string{recipient})
	must(t, err)
	f.Put(safe)
	must(t, f.Forget("bao"))
	if key, opened, err := f.Open(t.Context(), "", wrapping.Means{Identity: path}); key != master || opened != "safe" {
		t.Errorf("%q by %q, %v", key, opened, err)
	}
	refused(t, "the last one", f.Forget("safe"), exit.CodeUsage, "is the only wrapping")
	refused(t, "none", f.Forget("bao"), exit.CodeUsage, "there are: safe")
}

func TestWhatKeepsAServiceFromUnwrappingIsSaid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*transittest.Server, *wrapping.Wrapping, *wrapping.Means)
		code  int
		want  string
	}{
		"away": {
			func(s *transittest.Server, _ *wrapping.Wrapping, _ *wrapping.Means) { s.Close() },
			exit.CodeUnreachable, "does not answer",
		},
		"sealed": {
			func(s *transittest.Server, _ *wrapping.Wrapping, _ *wrapping.Means) { s.Seal() },
			exit.CodeUnreachable, "is it sealed?",
		},
		"another token": {
			func(_ *transittest.Server, _ *wrapping.Wrapping, m *wrapping.Means) {
				m.Token = secret(t, "s.other-t0ken")
			},
			exit.CodeUnreachable, "denies this token (403)",
		},
		"another namespace": {
			func(s *transittest.Server, _ *wrapping.Wrapping, _ *wrapping.Means) { s.Namespace("salga") },
			exit.CodeUnreachable, "denies this token (403)",
		},
		"no token": {
			func(_ *transittest.Server, _ *wrapping.Wrapping, m *wrapping.Means) { m.Token = "" },
			exit.CodeUsage, "TRANSIT_TOKEN_FILE is not set",
		},
		"no file of a token": {
			func(_ *transittest.Server, _ *wrapping.Wrapping, m *wrapping.Means) { m.Token += "-none" },
			exit.CodeUnreachable, "is the agent running",
		},
		"a key that is gone": {
			func(s *transittest.Server, _ *wrapping.Wrapping, _ *wrapping.Means) { s.Destroy("transit", "trust") },
			exit.CodeUsage, "(400)",
		},
		"another key": {
			func(s *transittest.Server, _ *wrapping.Wrapping, _ *wrapping.Means) {
				s.Destroy("transit", "trust")
				s.Rotate("transit", "trust")
			},
			exit.CodeUsage, "is not the one that made the wrapping bao",
		},
		"another engine": {
			func(_ *transittest.Server, w *wrapping.Wrapping, _ *wrapping.Means) { w.Transit.Mount = "elsewhere" },
			exit.CodeUsage, "no transit engine or key",
		},
		"a cut wrapping": {
			func(_ *transittest.Server, w *wrapping.Wrapping, _ *wrapping.Means) { w.Wrapped = w.Wrapped[:40] },
			exit.CodeUsage, "(400)",
		},
		"no TLS": {
			func(_ *transittest.Server, w *wrapping.Wrapping, _ *wrapping.Means) {
				w.Transit.Address = "http://bao.example:8200"
			},
			exit.CodeUsage, "has no TLS",
		},
	} {
		bao := transittest.New(t, token, "transit", "trust")
		m := wrapping.Means{Token: secret(t, token)}
		w, err := wrapping.WrapTransit(t.Context(), "bao", master,
			wrapping.Transit{Address: bao.URL, Mount: "transit", Key: "trust"}, m.Token)
		must(t, err)
		c.spoil(bao, &w, &m)

		f := wrapping.New(master)
		f.Put(w)
		_, _, err = f.Open(t.Context(), "", m)
		refused(t, name, err, c.code, c.want)
	}
}

func TestWhatKeepsAnIdentityFromUnwrappingIsSaid(t *testing.T) {
	t.Parallel()
	recipient, path := identity(t)
	_, other := identity(t)
	w, err := wrapping.WrapAge("safe", master, []string{recipient})
	must(t, err)
	cut := w
	cut.Wrapped = cut.Wrapped[:len(cut.Wrapped)/2]

	for name, c := range map[string]struct {
		w        wrapping.Wrapping
		identity string
		want     string
	}{
		"no identity":          {w, "", "MASTER_KEY_AGE_IDENTITY_FILE is not set"},
		"no file":              {w, path + "-none", "cannot use the file"},
		"another identity":     {w, other, "was not made for the identity"},
		"no identity in it":    {w, secret(t, "AGE-SECRET-KEY-1QQQ\n"), "holds no identity"},
		"a cut wrapping":       {cut, path, "is damaged"},
		"an identity in a key": {w, secret(t, master), "holds no identity"},
	} {
		f := wrapping.New(master)
		f.Put(c.w)
		_, _, err := f.Open(t.Context(), "", wrapping.Means{Identity: c.identity})
		refused(t, name, err, exit.CodeUsage, c.want)
	}

	f := wrapping.New("another key than the one that is wrapped below")
	f.Put(w)
	_, _, err = f.Open(t.Context(), "", wrapping.Means{Identity: path})
	refused(t, "another file's wrapping", err, exit.CodeUsage, "holds another key than its file says")

	_, err = wrapping.WrapAge("safe", master, []string{"age1nobody"})
	refused(t, "no recipient", err, exit.CodeUsage, "is not a recipient")
}

func TestAFileOfWrappingsIsReadWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	recipient, _ := identity(t)
	w, err := wrapping.WrapAge("safe", master, []string{recipient})
	must(t, err)
	f := wrapping.New(master)
	f.Put(w)
	path := filepath.Join(t.TempDir(), "wrapped")
	must(t, f.Write(path))
	text, err := os.ReadFile(path)
	must(t, err)

	for name, spoiled := range map[string]string{
		"cut":            string(text[:len(text)/2]),
		"empty":          "",
		"more behind it": string(text) + "{}",
		"a later format": strings.Replace(string(text), `"trust_master_key": 1`, `"trust_master_key": 2`, 1),
		"no wrapping":    `{"trust_master_key":1,"fingerprint":"` + f.Fingerprint + `","wrappings":[]}`,
		"no fingerprint": strings.Replace(string(text), f.Fingerprint, "", 1),
		"no recipient":   strings.Replace(string(text), `"`+recipient+`"`, "", 1),
		"another field":  strings.Replace(string(text), `"fingerprint"`, `"key": "m4ster", "fingerprint"`, 1),
	} {
		_, err := wrapping.Read(secret(t, spoiled))
		refused(t, name, err, exit.CodeUsage, "is not a whole file of wrappings")
	}

	must(t, os.Chmod(path, 0o666))
	_, err = wrapping.Read(path)
	refused(t, "one that all can write to", err, exit.CodeUsage, "cannot use the file of wrappings")
	if _, err := wrapping.Read(path + "-none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
}
