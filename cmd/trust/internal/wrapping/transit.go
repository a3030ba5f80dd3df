package wrapping

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/openbao/openbao/api/v2"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/owned"
)

// transitPatience bounds the one question that a start asks, with its repeats.
const transitPatience = 15 * time.Second

// Transit is a key of the transit engine of OpenBao or Vault, which wraps and unwraps and
// never leaves it.
type Transit struct {
	Address   string `json:"address"`
	Namespace string `json:"namespace,omitempty"`
	Mount     string `json:"mount"`
	Key       string `json:"key"`
}

// WrapTransit has a key wrapped, and opens the wrapping again.
func WrapTransit(ctx context.Context, name, key string, t Transit, tokenFile string) (Wrapping, error) {
	w := Wrapping{Name: name, Transit: &t}
	var err error
	w.Wrapped, err = t.ask(ctx, w, tokenFile, "encrypt", "plaintext",
		base64.StdEncoding.EncodeToString([]byte(key)), "ciphertext")
	if err != nil {
		return Wrapping{}, err
	}

	again, err := t.unwrap(ctx, w, tokenFile)
	if err == nil && again != key {
		err = exit.WrongUsage("what %s wrapped opens as another key; do not use it", t.Address)
	}
	return w, err
}

// unwrap has the key unwrapped.
func (t Transit) unwrap(ctx context.Context, w Wrapping, tokenFile string) (string, error) {
	text, err := t.ask(ctx, w, tokenFile, "decrypt", "ciphertext", w.Wrapped, "plaintext")
	if err != nil {
		return "", err
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", exit.Unreachable(nil, "%s does not answer as OpenBao does", t.Address)
	}
	return string(key), nil
}

// ask asks the service once: a field of the question for one of the answer.
func (t Transit) ask(ctx context.Context, w Wrapping, tokenFile, verb, field, value, want string) (string, error) {
	client, err := t.client(tokenFile)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, transitPatience)
	defer cancel()

	path := t.Mount + "/" + verb + "/" + t.Key
	answer, err := client.Logical().WriteWithContext(ctx, path, map[string]any{field: value})
	if err != nil {
		return "", t.refused(err, w.Name, path)
	}
	if answer != nil {
		if text, _ := answer.Data[want].(string); text != "" {
			return text, nil
		}
	}
	return "", exit.Unreachable(nil, "%s does not answer as OpenBao does", t.Address)
}

// client speaks to the service, with a token that an agent or an operator wrote. The
// library's own variables are not read: one of them could switch off the check of a
// certificate.
func (t Transit) client(tokenFile string) (*api.Client, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	if tokenFile == "" {
		return nil, exit.WrongUsage("TRANSIT_TOKEN_FILE is not set; set it to the file that holds a token for %s",
			t.Address)
	}
	token, err := owned.Read(tokenFile, owned.Secret)
	if err != nil {
		return nil, exit.Unreachable(err,
			"cannot use the file that TRANSIT_TOKEN_FILE names; is the agent running that writes it?")
	}

	config := api.NewConfig()
	config.DisableEnvironment = true
	config.Address, config.Timeout, config.MaxRetries = t.Address, transitPatience/3, 1
	client, err := api.NewClient(config)
	if err != nil {
		return nil, exit.WrongUsage("the address of the wrapping cannot be used; wrap the key anew")
	}
	client.SetToken(strings.TrimSpace(string(token)))
	if t.Namespace != "" {
		client.SetNamespace(t.Namespace)
	}
	return client, nil
}

// check refuses an address to which a key would go in the clear.
func (t Transit) check() error {
	u, err := url.Parse(t.Address)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" ||
		u.Scheme != "https" && u.Scheme != "http" {
		return exit.WrongUsage("the address of OpenBao is not of the form https://host:8200; correct it")
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Scheme == "http" && u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		return exit.WrongUsage(
			"the address of OpenBao has no TLS, and the key would pass in the clear; begin it with https://")
	}
	if t.Mount == "" || t.Key == "" {
		return exit.WrongUsage("a wrapping by OpenBao names the mount of its transit engine, and a key there")
	}
	return nil
}

// refused explains why a question was not answered. What the service says is not
// repeated.
func (t Transit) refused(err error, name, path string) error {
	answer, ok := errors.AsType[*api.ResponseError](err)
	switch {
	case !ok:
		return exit.Unreachable(err, "%s does not answer, so the wrapping %s cannot be opened; open another one with "+
			"MASTER_KEY_WRAPPING, or start again when it is back", t.Address, name)
	case answer.StatusCode == http.StatusForbidden || answer.StatusCode == http.StatusUnauthorized:
		return exit.Unreachable(nil, "%s denies this token (%d); TRANSIT_TOKEN_FILE needs one whose policy has the "+
			"capability update on %s", t.Address, answer.StatusCode, path)
	case answer.StatusCode == http.StatusNotFound:
		return exit.WrongUsage("%s has no transit engine or key for %s; correct the mount and the key", t.Address, path)
	case answer.StatusCode == http.StatusBadRequest:
		return exit.WrongUsage("%s refuses %s (400): its key is not the one that made the wrapping %s, no longer has "+
			"that version, or is not there", t.Address, path, name)
	default:
		return exit.Unreachable(nil, "%s answers %d to %s; is it sealed?", t.Address, answer.StatusCode, path)
	}
}
