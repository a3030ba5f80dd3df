package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

type exposureCmd struct {
	Tenant  string   `required:"" placeholder:"CODE" help:"Code of the municipality."`
	Subject identity `placeholder:"ID" xor:"who" required:"" help:"List who read this person's data."`
	Actor   identity `placeholder:"ID" xor:"who" required:"" help:"List whose data this account read."`
	From    moment   `placeholder:"TIME" help:"Only reads at this instant or later."`
	To      moment   `placeholder:"TIME" help:"Only reads before this instant."`
}

// Run lists reads of personal data, newest first. It shows only ids and routes, so it is
// not recorded itself.
func (x exposureCmd) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{commands: true, queries: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	tenant, err := o.handler.TenantOf(ctx, x.Tenant)
	if err != nil {
		return exit.Explain(err)
	}

	filter := reports.ExposureFilter{
		Subject: domain.UserID(x.Subject), Actor: domain.UserID(x.Actor), From: x.From.Time, To: x.To.Time,
	}
	known := filter.Subject
	if known.IsZero() {
		known = filter.Actor
	}
	if err := o.handler.KnownPerson(ctx, tenant, known); err != nil {
		return err
	}

	page, count := projections.Page{Limit: 100}, 0
	for {
		list, err := o.reports.Exposure(ctx, tenant, filter, page)
		if err != nil {
			return exit.Explain(err)
		}
		for _, read := range list.Items {
			if err := writeExposure(p, read, count == 0); err != nil {
				return err
			}
			count++
		}
		if page.After = list.Next; page.After == "" {
			break
		}
	}

	_, err = fmt.Fprintf(p.stdout, "%d reads\n", count)
	return err
}

const exposureRow = "%-20s  %-36s  %-12s  %-7s  %-44s  %-18s  %s\n"

func writeExposure(p *program, x reports.ExposureEntry, first bool) error {
	if first {
		if _, err := fmt.Fprintf(p.stdout, exposureRow, "WHEN", "WHO", "ROLE", "MATCHED", "ROUTE", "FIELDS",
			"SUBJECTS, FILTER, REASON"); err != nil {
			return err
		}
	}

	who := x.Actor.String()
	if x.Actor.IsZero() {
		who = "an operator"
	}

	var more []string
	for _, s := range x.Subjects {
		more = append(more, s.String())
	}
	for _, name := range slices.Sorted(maps.Keys(x.Filter)) {
		more = append(more, name+"="+x.Filter[name])
	}
	if facts, open := x.Reason.Get(); open {
		more = append(more, "because: "+facts.Reason)
	}

	_, err := fmt.Fprintf(p.stdout, exposureRow, seconds(x.Timestamp), who, x.ActorRole,
		cmp.Or(string(x.Matched), "-"), x.Route, x.Fields, strings.Join(more, ", "))
	return err
}
