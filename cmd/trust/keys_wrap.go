package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/cmd/trust/internal/wrapping"
)

// unwrapMasterKey opens the master key, if it is wrapped. From then on this process has
// it in memory, and asks nobody for it again.
func unwrapMasterKey(ctx context.Context, c *settings.Config) error {
	if c.Wrapped.File == "" {
		return nil
	}

	f, err := wrappings(c.Wrapped.File)
	if err != nil {
		return err
	}
	key, _, err := f.Open(ctx, c.Wrapped.Name, means(c))
	if err != nil {
		return err
	}
	return c.TakeMasterKey(key)
}

func wrappings(path string) (*wrapping.File, error) {
	f, err := wrapping.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, exit.WrongUsage("there is no file of wrappings %s; trust keys wrap makes one", path)
	}
	return f, err
}

func means(c *settings.Config) wrapping.Means {
	return wrapping.Means{Token: c.Wrapped.Token, Identity: c.Wrapped.Identity}
}

type keysWrapCmd struct {
	File      string   `arg:"" help:"File of wrappings; made if there is none."`
	Name      string   `required:"" placeholder:"NAME" help:"Name of the wrapping: lower case letters, digits, hyphens."`
	Age       []string `placeholder:"RECIPIENT" help:"Wrap for this recipient of age (age1…); may be repeated."`
	Transit   string   `placeholder:"URL" help:"Wrap by the transit engine of OpenBao or Vault, such as https://bao.example:8200."`
	Key       string   `placeholder:"NAME" help:"Name of the key there."`
	Mount     string   `default:"transit" placeholder:"PATH" help:"Where the engine is mounted (default transit)."`
	Namespace string   `placeholder:"PATH" help:"Namespace there, if there are any."`
}

// Run adds a wrapping of the master key to a file, or replaces one. The key stays as it
// is, and so do the other wrappings.
func (k keysWrapCmd) Run(ctx context.Context, p *program) error {
	if err := wrapping.CheckName(k.Name); err != nil {
		return err
	}
	if (len(k.Age) == 0) == (k.Transit == "") {
		return exit.WrongUsage("give either --age or --transit: a wrapping is of one kind")
	}

	c, err := settings.Check(p.settings)
	if err != nil {
		return err
	}
	if err := c.Need(settings.Secrets{Master: true}); err != nil {
		return err
	}
	if err := unwrapMasterKey(ctx, c); err != nil {
		return err
	}

	f, err := wrapping.Read(k.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f = wrapping.New(c.MasterKey)
	case err != nil:
		return err
	case !f.Holds(c.MasterKey):
		return exit.WrongUsage("%s is of another master key; give a new file, nothing was changed", k.File)
	}

	made, err := k.wrap(ctx, c)
	if err != nil {
		return err
	}
	f.Put(made)
	if err := f.Write(k.File); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "the master key %s is wrapped in %s as %s; %s\n",
		f.Fingerprint, k.File, k.Name, k.next())
	return err
}

func (k keysWrapCmd) wrap(ctx context.Context, c *settings.Config) (wrapping.Wrapping, error) {
	if k.Transit == "" {
		return wrapping.WrapAge(k.Name, c.MasterKey, k.Age)
	}
	return wrapping.WrapTransit(ctx, k.Name, c.MasterKey,
		wrapping.Transit{Address: k.Transit, Namespace: k.Namespace, Mount: k.Mount, Key: k.Key}, c.Wrapped.Token)
}

// next says what is left to do: only a wrapping that was opened is known to open.
func (k keysWrapCmd) next() string {
	if k.Transit != "" {
		return "it was opened again"
	}
	return "try it where the identity is: trust keys unwrap " + k.File + " --name " + k.Name
}

type keysWrappingsCmd struct {
	File string `arg:"" help:"File of wrappings."`
}

// Run lists wrappings, the one that opens the key by default first.
func (k keysWrappingsCmd) Run(p *program) error {
	f, err := wrappings(k.File)
	if err != nil {
		return err
	}

	lines := "master key " + f.Fingerprint + "\n"
	for _, w := range f.Wrappings {
		by := "age " + strings.Join(w.Age, " ")
		if w.Transit != nil {
			by = "transit " + w.Transit.Address + " " + w.Transit.Mount + "/" + w.Transit.Key
		}
		lines += w.Name + "  " + by + "\n"
	}
	_, err = fmt.Fprint(p.stdout, lines)
	return err
}

type keysUnwrapCmd struct {
	File string `arg:"" help:"File of wrappings."`
	Name string `placeholder:"NAME" help:"Which wrapping (default: the first)."`
	Out  string `placeholder:"FILE" help:"Write the key to this new file, for MASTER_KEY_FILE."`
}

// Run opens a wrapping. The key itself is never printed.
func (k keysUnwrapCmd) Run(ctx context.Context, p *program) error {
	c, err := settings.Check(p.settings)
	if err != nil {
		return err
	}
	f, err := wrappings(k.File)
	if err != nil {
		return err
	}
	key, opened, err := f.Open(ctx, k.Name, means(c))
	if err != nil {
		return err
	}

	if k.Out != "" {
		if err := writeNew(k.Out, key+"\n"); err != nil {
			return exit.Unreachable(err, "cannot write the key to a new file")
		}
	}
	_, err = fmt.Fprintf(p.stdout, "%s opens the master key %s\n", opened, f.Fingerprint)
	return err
}

// writeNew writes a file that only its owner can read, and replaces none.
func writeNew(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Sync(), file.Close())
}

type keysForgetCmd struct {
	File string `arg:"" help:"File of wrappings."`
	Name string `required:"" placeholder:"NAME" help:"Which wrapping."`
}

// Run removes a wrapping. It opens the key no longer in this file; copies of the file
// still have it.
func (k keysForgetCmd) Run(p *program) error {
	f, err := wrappings(k.File)
	if err != nil {
		return err
	}
	if err := f.Forget(k.Name); err != nil {
		return err
	}
	if err := f.Write(k.File); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s is forgotten\n", k.Name)
	return err
}
