package wrapping

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/owned"
)

// WrapAge wraps a key for age recipients: each of their identities opens it.
func WrapAge(name, key string, recipients []string) (Wrapping, error) {
	parsed, err := age.ParseRecipients(strings.NewReader(strings.Join(recipients, "\n")))
	if err != nil {
		return Wrapping{}, exit.WrongUsage("--age is not a recipient, as age-keygen prints it: age1…")
	}

	var text bytes.Buffer
	armored := armor.NewWriter(&text)
	sealed, err := age.Encrypt(armored, parsed...)
	if err == nil {
		_, err = io.WriteString(sealed, key)
		err = errors.Join(err, sealed.Close(), armored.Close())
	}
	if err != nil { // recipients of which one is of another kind than the rest
		return Wrapping{}, exit.WrongUsage("age cannot wrap for these recipients together: %v", err)
	}
	return Wrapping{Name: name, Age: recipients, Wrapped: text.String()}, nil
}

// unwrapAge opens a wrapping with an identity. No error repeats what age says about the
// identity, which may quote it.
func unwrapAge(w Wrapping, path string) (string, error) {
	if path == "" {
		return "", exit.WrongUsage("MASTER_KEY_AGE_IDENTITY_FILE is not set; the wrapping %s needs the identity of "+
			"one of its age recipients", w.Name)
	}
	text, err := owned.Read(path, owned.Secret)
	if err != nil {
		return "", exit.WrongUsage("cannot use the file that MASTER_KEY_AGE_IDENTITY_FILE names: %v", err)
	}
	identities, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		return "", exit.WrongUsage("the file that MASTER_KEY_AGE_IDENTITY_FILE names holds no identity, as " +
			"age-keygen writes it; one under a passphrase has to be decrypted with age first")
	}

	opened, err := age.Decrypt(armor.NewReader(strings.NewReader(w.Wrapped)), identities...)
	if _, other := errors.AsType[*age.NoIdentityMatchError](err); other {
		return "", exit.WrongUsage("the wrapping %s was not made for the identity that MASTER_KEY_AGE_IDENTITY_FILE "+
			"names; give the identity of one of its recipients, or open another wrapping", w.Name)
	}
	var key []byte
	if err == nil {
		key, err = io.ReadAll(opened)
	}
	if err != nil {
		return "", exit.WrongUsage("the wrapping %s is damaged; open another one, or restore the file from a copy",
			w.Name)
	}
	return string(key), nil
}
