package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore/follow"
)

type statusCmd struct {
	JSON bool `name:"json" help:"Print one JSON object."`
}

// Run shows how far the log and each projector are.
func (s statusCmd) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, needs{as: (*settings.Config).NeedAPI, pool: 2})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	within, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	status, err := follow.NewObserver(o.pool, followers()...).Status(within)
	if err != nil {
		return exit.Explain(err)
	}
	if s.JSON {
		err = json.NewEncoder(p.stdout).Encode(status)
	} else {
		err = writeStatus(p, o, status)
	}
	if err != nil {
		return err
	}
	return stateOf(status)
}

// stateOf says no when a projector does not run.
func stateOf(status follow.Status) error {
	names := map[follow.State][]string{}
	for _, f := range status.Followers {
		names[f.State] = append(names[f.State], f.Name)
	}

	var wrong []string
	if halted := names[follow.Halted]; len(halted) > 0 {
		wrong = append(wrong, "halted: "+strings.Join(halted, ", ")+
			"; the errors above say why, and a projector goes on by itself once its cause is mended")
	}
	if stopped := names[follow.Stopped]; len(stopped) > 0 {
		wrong = append(wrong, "stopped: "+strings.Join(stopped, ", ")+"; no process runs these, so start trust up or trust project")
	}
	if len(wrong) > 0 {
		return exit.NotSo("%s", strings.Join(wrong, "; "))
	}
	return nil
}

func writeStatus(p *program, o *opened, status follow.Status) error {
	database := settings.HostAndName(o.address)
	if o.config.Settings.OwnServer() {
		database = describeDatabase(o.config)
	}
	if _, err := fmt.Fprintln(p.stdout, "database", database); err != nil {
		return err
	}

	table := tabwriter.NewWriter(p.stdout, 0, 4, 2, ' ', 0)
	if _, err := fmt.Fprintf(table, "log\t%d\nprojector\tposition\tlag\tstate\tlast seen\terror\n", status.Head); err != nil {
		return err
	}
	for _, f := range status.Followers {
		seen := "never"
		if f.SeenAt != nil {
			seen = f.SeenAt.UTC().Format(time.RFC3339)
		}
		if _, err := fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\n", f.Name, f.Position, f.Lag, f.State, seen, f.Error); err != nil {
			return err
		}
	}
	return table.Flush()
}
