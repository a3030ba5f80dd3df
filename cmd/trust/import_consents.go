package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/importer"
	"github.com/salga-trust/engine/cmd/trust/internal/retry"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

type importConsentsCmd struct {
	File string `arg:"" help:"CSV file of what another system says that people decided; its columns are below."`

	Source       word   `required:"" placeholder:"NAME" help:"The system or list that says so. The same rows under the same name are imported once."`
	Municipality word   `placeholder:"CODE" help:"Municipality of the rows; needed if there is no column municipality."`
	Create       bool   `name:"create-residents" help:"Record people whom nobody knows as residents, with the columns full_name and preferred_language. Otherwise their rows are refused."`
	Report       string `placeholder:"FILE" help:"Also write the refused rows to this file, .csv or .ndjson, with the totals at the end."`
}

// Help explains the columns.
func (importConsentsCmd) Help() string {
	return `Each row becomes a claim: not what the person said here, but what a source says. It counts until the person
decides here, and every answer that rests on it names its evidence grade. Columns, in any order:

  who        at least one of subject_id, external_id (TYPE:VALUE), email, phone
  purpose    code of a purpose that rests on consent
  decision   granted, refused or withdrawn; a consent that was given and withdrawn is two rows
  given_at   2019-03-01, which is the beginning of that day in South Africa; or 2019-03-01T14:30 with or without
             seconds and zone, without one South African time

and, where they are known:

  municipality         its code
  channel, language    web, counter, phone, whatsapp, ussd or paper; en, zu or af
  notice_version       the version that was shown, which needs language; or
  wording_sha256       the hash of the words that were shown. Without either, the wording is not known
  evidence_grade       claimed (the default: nothing but the source says so), documented (a document or recording
                       is kept) or witnessed (a signed statement of somebody who was present is kept)
  evidence_sha256, evidence_reference    of that document, recording or statement: its hash, and where it is kept
  given_by_name, given_by_relation, given_by_authority    the competent person who decided for a child
  record               the row's own id in the source
  full_name, preferred_language          of a resident to be recorded

Refused rows are named by line and code, and the rest goes in.`
}

// shownRows is how many refused rows are printed when a report has them all.
const shownRows = 20

// Run records what the file says, through the same handler as HTTP.
func (i importConsentsCmd) Run(ctx context.Context, p *program) error {
	if err := i.check(); err != nil {
		return err
	}
	file, err := importer.OpenConsents(i.File)
	if err != nil {
		return err
	}
	defer file.Close()
	if i.Municipality == "" && !file.Has("municipality") {
		return exit.WrongUsage("there is no column municipality; give --municipality; nothing was imported")
	}
	if i.Report != "" && file.IsAt(i.Report) {
		return exit.WrongUsage("the report would replace the file itself; give it another name; nothing was imported")
	}

	o, err := p.open(ctx, needs{commands: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	people := projections.NewQueries(o.pool, nil)
	if file.Has("email") || file.Has("phone") {
		if err := untilCaughtUp(ctx, o, people); err != nil {
			return err
		}
	}
	return i.carryOut(ctx, p, &importer.Consents{
		Handler: o.handler, File: file, Source: string(i.Source), Municipality: string(i.Municipality),
		Create: i.Create, People: peopleBy(people),
		Await: func(ctx context.Context, position int64) error { return people.WaitFor(ctx, "users", position) },
	})
}

func (i importConsentsCmd) check() error {
	var f domain.Faults
	f.Source("--source", domain.TidyName(string(i.Source)))
	if refusal, is := errors.AsType[*domain.Error](f.Err()); is {
		return exit.WrongUsage("%s", exit.Reason(refusal))
	}
	return nil
}

// carryOut imports the rows, with a progress bar, and says what became of them.
func (i importConsentsCmd) carryOut(ctx context.Context, p *program, c *importer.Consents) (err error) {
	var report *importer.Report
	if i.Report != "" {
		if report, err = importer.CreateReport(i.Report); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, report.Close()) }()
	}

	bar, refused := newProgress(p.stderr, c.File.Lines, "consents"), 0
	c.Step = func() { _ = bar.Add(1) } // drawing is all it does
	c.Refused = func(b importer.BadRow) error {
		if refused++; report == nil || refused <= shownRows {
			_ = bar.Clear()
			if _, err := fmt.Fprintf(p.stderr, "line %d: %s: %s\n", b.Line, b.Code, b.Reason); err != nil {
				return err
			}
		}
		if report == nil {
			return nil
		}
		return report.Write(b)
	}

	tally, err := c.Run(ctx)
	_ = bar.Finish()
	if err != nil {
		return err
	}

	if report != nil {
		if refused > shownRows {
			_, _ = fmt.Fprintf(p.stderr, "and %d more rows, which %s names\n", refused-shownRows, i.Report)
		}
		if err := report.End(tally); err != nil {
			return exit.Unreachable(err, "cannot write the report; import the file again")
		}
	}
	return tally.Tell(p.stdout)
}

// peopleBy finds people by what is in the read table alone.
func peopleBy(
	queries *projections.Queries,
) func(ctx context.Context, tenant domain.TenantID, email, phone string) ([]domain.User, error) {
	return func(ctx context.Context, tenant domain.TenantID, email, phone string) ([]domain.User, error) {
		found, err := queries.Users(ctx, tenant, projections.UserFilter{Email: email, Phone: phone},
			projections.Page{Limit: 10})
		return found.Items, err
	}
}

// untilCaughtUp waits until the read table of users holds everybody who is in the log
// now.
func untilCaughtUp(ctx context.Context, o *opened, people *projections.Queries) error {
	const patience = 30 * time.Second
	head, err := o.store.Head(ctx)
	if err != nil {
		return exit.Explain(err)
	}

	for started := time.Now(); ; {
		err := retry.WhileAway(ctx, func(ctx context.Context) error { return people.WaitFor(ctx, "users", head) })
		behind := errors.Is(err, domain.Refuse(domain.CodeReadModelBehind, ""))
		switch {
		case err == nil:
			return nil
		case behind && time.Since(started) < patience && ctx.Err() == nil:
			continue
		case behind:
			return exit.Unreachable(nil, "the read table of users is behind the log, so that people are not found by "+
				"e-mail or phone; run trust project users, and import the file then; nothing was imported")
		default:
			return exit.Explain(err)
		}
	}
}
