package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

type replayCmd struct {
	Tenant   string   `required:"" placeholder:"CODE" help:"Code of the municipality."`
	Subject  identity `placeholder:"ID" help:"Only consents of this person."`
	Purpose  word     `placeholder:"CODE" help:"Only consents for this purpose."`
	Notice   ordinal  `name:"notice-version" placeholder:"N" help:"Only decisions on this version of the wording."`
	Status   word     `placeholder:"STATUS" help:"Only consents that had become this: granted, refused, withdrawn, expired, lapsed or annulled."`
	Channel  word     `placeholder:"CHANNEL" help:"Only decisions that came this way: web, counter, phone, whatsapp, ussd or paper."`
	Language word     `placeholder:"CODE" help:"Only decisions on a wording in this language: en, zu or af."`
	From     moment   `name:"given-from" placeholder:"TIME" help:"Only decisions given at this instant or later."`
	To       moment   `name:"given-to" placeholder:"TIME" help:"Only decisions given before this instant."`
	AsOf     moment   `placeholder:"TIME" help:"Consents that held at this instant, such as 2026-03-03T12:00:00Z (default: the latest known)."`
	KnownAt  moment   `placeholder:"TIME" help:"As known at this instant (default: now)."`
	Position place    `placeholder:"N" help:"As known at this position, which an earlier replay printed; repeats that replay."`
	Format   string   `enum:"table,csv,ndjson" default:"table" help:"table, csv or ndjson (default table)."`
	Reveal   bool     `help:"Show who the people are; the log records that you looked, and why."`
	Reason   string   `placeholder:"TEXT" help:"Why you look; required with --reveal."`
}

// Run replays the state of consents from the log. CSV and NDJSON are, byte for byte, what
// the API answers.
func (r replayCmd) Run(ctx context.Context, p *program) error {
	if r.Reveal == domain.IsBlank(r.Reason) {
		return exit.WrongUsage("--reveal needs --reason, and --reason needs --reveal")
	}

	o, err := p.open(ctx, needs{commands: true, queries: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	tenant, q, err := r.question(ctx, o)
	if err != nil {
		return err
	}

	if r.Reveal {
		if err := r.record(ctx, o, tenant, q); err != nil {
			return err
		}
	}

	if err := r.write(ctx, p, o, tenant, q); err != nil {
		return exit.Explain(err)
	}
	_, err = fmt.Fprintf(p.stderr, "replayed at position %d; --position %[1]d repeats this replay\n", q.Position)
	return err
}

// question checks that the person and the purpose exist: an answer about one that does
// not would look like one about somebody who never decided anything.
func (r replayCmd) question(ctx context.Context, o *opened) (tenant domain.TenantID, q reports.ReplayQuery, err error) {
	q = reports.ReplayQuery{Subject: domain.UserID(r.Subject), ConsentFilter: r.filter()}
	var f domain.Faults
	if q.Check(&f); f.Err() != nil {
		return tenant, q, f.Err()
	}

	if tenant, err = o.handler.TenantOf(ctx, r.Tenant); err != nil {
		return tenant, q, exit.Explain(err)
	}
	if !q.Subject.IsZero() {
		if err := o.handler.KnownPerson(ctx, tenant, q.Subject); err != nil {
			return tenant, q, err
		}
	}
	if q.Purpose != "" {
		if err := o.handler.KnownPurpose(ctx, tenant, q.Purpose); err != nil {
			return tenant, q, err
		}
	}

	about, err := o.reports.Resolve(ctx, tenant, r.AsOf.Time, r.KnownAt.Time, int64(r.Position))
	q.Position, q.At = about.Position, about.At
	return tenant, q, err
}

// filter returns which consents are wanted.
func (r replayCmd) filter() projections.ConsentFilter {
	return projections.ConsentFilter{
		Status: domain.Status(r.Status),
		DecisionFilter: projections.DecisionFilter{
			Purpose: domain.CanonicalPurposeCode(string(r.Purpose)), NoticeVersion: int(r.Notice),
			Language: domain.Language(r.Language), Channel: domain.Channel(r.Channel),
			GivenFrom: r.From.Time, GivenTo: r.To.Time,
		},
	}
}

// record writes to the log that an operator is about to see who the people are, before
// anything is shown.
func (r replayCmd) record(ctx context.Context, o *opened, tenant domain.TenantID, q reports.ReplayQuery) error {
	read := commands.RecordRead{
		Route: "trust replay", Fields: "consents, profile", Filter: q.Named(), Reason: r.Reason,
	}
	maps.DeleteFunc(read.Filter, func(_, value string) bool { return value == "" })
	if !q.Subject.IsZero() {
		read.Subjects = []domain.UserID{q.Subject}
	}

	_, err := o.handler.RecordRead(ctx, commands.System(tenant), read)
	return err
}

// consentWriter is a document of consents being written.
type consentWriter interface {
	Write(c domain.Decided, person apphttp.Revealed) error
	Close() error
}

func (r replayCmd) write(
	ctx context.Context, p *program, o *opened, tenant domain.TenantID, q reports.ReplayQuery,
) error {
	var out consentWriter = &consentTable{out: p.stdout, people: r.Reveal}
	if r.Format != "table" {
		municipality, err := o.handler.CodeOf(ctx, tenant)
		if err != nil {
			return err
		}
		if out, err = apphttp.NewConsentExport(p.stdout, apphttp.ConsentDocument{
			Format: apphttp.Format(r.Format), Municipality: municipality, Position: q.Position, AsOf: q.At,
			People: r.Reveal,
		}); err != nil {
			return err
		}
	}

	names := nameless
	if r.Reveal {
		names = func(people []domain.UserID) (map[domain.UserID]domain.User, error) {
			return o.reports.People(ctx, tenant, people)
		}
	}

	batch := &batch{out: out, names: names}
	if err := o.reports.Replay(ctx, tenant, q, batch.add); err != nil {
		return err
	}
	if err := batch.flush(); err != nil {
		return err
	}
	return out.Close()
}

// batch holds a few consents back, so that their people are looked up together.
type batch struct {
	out   consentWriter
	names func([]domain.UserID) (map[domain.UserID]domain.User, error)
	held  []domain.Decided
}

const batchSize = 500

func nameless([]domain.UserID) (map[domain.UserID]domain.User, error) { return nil, nil }

func (b *batch) add(c domain.Decided) error {
	if b.held = append(b.held, c); len(b.held) < batchSize {
		return nil
	}
	return b.flush()
}

func (b *batch) flush() error {
	var ids []domain.UserID
	for _, c := range b.held {
		// A replay goes person by person.
		if len(ids) == 0 || ids[len(ids)-1] != c.Subject {
			ids = append(ids, c.Subject)
		}
	}

	people, err := b.names(ids)
	if err != nil {
		return err
	}
	for _, c := range b.held {
		if err := b.out.Write(c, revealed(people[c.Subject])); err != nil {
			return err
		}
	}

	b.held = b.held[:0]
	return nil
}

func revealed(u domain.User) apphttp.Revealed {
	if u.Erased {
		return apphttp.Revealed{FullName: "erased", Email: "erased", Phone: "erased"}
	}
	return apphttp.Revealed{FullName: u.FullName, Email: u.Email, Phone: u.Phone}
}

// consentTable writes consents for human readers, in columns of fixed width, so that no
// row has to wait for another.
type consentTable struct {
	out    io.Writer
	people bool
	count  int
}

const tableRow = "%-36s  %-20s  %-20s  %-24s  %-9s  %-20s  %-36s  %-2s  %6s  %s\n"

// Write adds one line. The wording is the last column, because its length varies.
func (t *consentTable) Write(c domain.Decided, person apphttp.Revealed) error {
	if t.count == 0 {
		if err := t.row("SUBJECT", "GIVEN", "RECORDED", "PURPOSE", "DECISION", "WITHDRAWN", "RECORDED BY", "IN",
			"NOTICE", "WORDING"); err != nil {
			return err
		}
	}

	t.count++
	decision, withdrawn, by, who := c.Status, "", "an operator", c.Subject.String()
	if c.Withdrawn() {
		withdrawn = seconds(c.WithdrawnAt)
	}
	if c.Withdrawn() && c.Consented {
		decision = domain.StatusGranted
	}
	notice := fmt.Sprint(c.NoticeVersion)
	switch {
	case c.Grade != "":
		by = fmt.Sprintf("%s: %s", c.Grade, c.Source)
		if c.NoticeVersion == 0 {
			notice = "-"
		}
	case !c.RecordedBy.IsZero():
		by = c.RecordedBy.String()
	}
	if t.people {
		who += "  " + fmt.Sprintf("%-30s  %-34s  %-13s", person.FullName, person.Email, person.Phone)
	}

	return t.row(who, seconds(c.GivenAt), seconds(c.RecordedAt), c.Purpose, decision, withdrawn, by,
		string(c.Language), notice, strings.Join(strings.Fields(c.Wording), " "))
}

func (t *consentTable) row(cells ...any) error {
	if t.people && t.count == 0 {
		cells[0] = fmt.Sprintf("%-36s  %-30s  %-34s  %-13s", cells[0], "NAME", "E-MAIL", "PHONE")
	}
	_, err := fmt.Fprintf(t.out, tableRow, cells...)
	return err
}

// Close writes how many there were.
func (t *consentTable) Close() error {
	_, err := fmt.Fprintf(t.out, "%d consents\n", t.count)
	return err
}

func seconds(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
