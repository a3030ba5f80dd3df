package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/term"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/retry"
	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

type adminCreateCmd struct {
	Municipality string `required:"" placeholder:"CODE" help:"Code of the municipality; SALGA for a platform admin."`
	Email        string `required:"" placeholder:"ADDRESS" help:"E-mail address that the admin signs in with."`
	FullName     string `default:"Administrator" placeholder:"NAME" help:"Name of the person (default Administrator)."`
}

// Run makes the account; one that exists stays as it is. On a terminal it asks for the
// password twice, without echo; otherwise the password is the first line of standard
// input.
func (a adminCreateCmd) Run(ctx context.Context, p *program) error {
	// Before anything is asked.
	if _, err := p.check(needs{commands: true}); err != nil {
		return err
	}

	password, err := readPassword(ctx, p)
	if err != nil {
		return err
	}
	o, err := p.open(ctx, needs{commands: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	made, err := createAdmin(ctx, o.handler, a.Municipality, a.Email, a.FullName, password)
	if err != nil {
		return err
	}

	text := "admin of %s made; sign in with this e-mail address and the password you gave\n"
	if !made {
		text = "an account with this e-mail address exists in %s already; nothing was changed\n"
	}
	_, err = fmt.Fprintf(p.stdout, text, domain.CanonicalMunicipalityCode(a.Municipality))
	return err
}

// createAdmin reports whether it made the account; false if the address has one already.
func createAdmin(
	ctx context.Context, handler *commands.Handler, municipality, email, name, password string,
) (bool, error) {
	tenant, err := handler.TenantOf(ctx, municipality)
	if err != nil {
		return false, err
	}

	call := commands.System(tenant)
	// Without a key, a retry would find the account of an attempt whose answer was
	// lost, and report it as one that was there before.
	call.Key = uuid.NewString()
	err = retry.WhileAway(ctx, func(ctx context.Context) error {
		_, err := handler.CreateUser(ctx, call, commands.CreateUser{
			Email: email, Password: password, FullName: name, Role: domain.Admin,
		})
		return err
	})
	if refusal, ok := errors.AsType[*domain.Error](err); ok && refusal.Code == domain.CodeEmailTaken {
		return false, nil
	}
	return err == nil, err
}

func readPassword(ctx context.Context, p *program) (string, error) {
	if isTerminal(p.stdin) {
		return askPassword(ctx, p)
	}

	line, err := bufio.NewReader(io.LimitReader(p.stdin, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", exit.Unreachable(err, "cannot read the password from standard input")
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", exit.WrongUsage("no password came on standard input; write it there on one line, " +
			"or run this on a terminal")
	}
	return line, nil
}

// askPassword puts the questions on standard error, so that standard output can be
// redirected.
func askPassword(ctx context.Context, p *program) (string, error) {
	first, err := ask(ctx, p, "Password (at least 8 characters): ")
	if err != nil {
		return "", err
	}
	again, err := ask(ctx, p, "Once more: ")
	if err != nil {
		return "", err
	}

	if first != again {
		return "", exit.WrongUsage("the two passwords differ; start again")
	}
	return first, nil
}

// ask reads one line without echo. A Ctrl-C leaves the terminal as it was before.
func ask(ctx context.Context, p *program, question string) (string, error) {
	if _, err := fmt.Fprint(p.stderr, question); err != nil {
		return "", err
	}

	terminal := int(p.stdin.Fd())
	before, err := term.GetState(terminal)
	if err != nil {
		return "", exit.Unreachable(err, "cannot read the password from the terminal")
	}

	type answer struct {
		typed []byte
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		typed, err := term.ReadPassword(terminal)
		answers <- answer{typed, err}
	}()

	var got answer
	select {
	case got = <-answers:
	case <-ctx.Done():
		got.err = errors.Join(ctx.Err(), term.Restore(terminal, before))
	}

	// The line break that was typed had no echo either.
	_, _ = fmt.Fprintln(p.stderr)
	if got.err != nil {
		return "", exit.Unreachable(got.err, "no password was given; nothing was changed")
	}
	return string(got.typed), nil
}
