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

	status, err := follow.NewObserver(o.pool, followers()...).Status(ctx)
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
	var halted []string
	for _, f := range status.Followers {
		if f.State == follow.Halted {
			halted = append(halted, f.Name)
		}
	}
	if len(halted) > 0 {
		return exit.NotSo("halted: %s; the errors above say why, and a projector goes on by itself once its cause is mended", strings.Join(halted, ", "))
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
