package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/relay"
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
	status, err := follow.NewObserver(o.pool, observed(o.config)...).Status(within)
	if err != nil {
		return exit.Explain(err)
	}
	clocks, err := eventstore.ReadClocks(within, o.pool)
	if err != nil {
		return exit.Explain(err)
	}
	log, err := eventstore.LogID(within, o.pool)
	if err != nil {
		return exit.Explain(err)
	}
	troubles, err := databaseTroubles(within, o)
	if err != nil {
		return exit.Explain(err)
	}

	overdue, err := webhookTroubles(within, o.pool)
	if err != nil {
		return exit.Explain(err)
	}
	troubles = append(troubles, overdue...)

	sealed, why, err := sealing(within, o)
	if err != nil {
		return exit.Explain(err)
	}
	troubles = append(troubles, why...)

	if s.JSON {
		err = json.NewEncoder(p.stdout).Encode(struct {
			Log         uuid.UUID    `json:"log"`
			Troubles    []string     `json:"troubles,omitempty"`
			Checkpoints []checkpoint `json:"checkpoints,omitempty"`
			follow.Status
		}{log, troubles, checkpoints(sealed), status})
	} else {
		err = writeStatus(p, o, log, status, checkpoints(sealed))
	}
	if err != nil {
		return err
	}
	return stateOf(status, append(troubles, clocksInWords(clocks)...))
}

// databaseTroubles returns what keeps the database from taking writes: as this command
// finds it, or else as the API on HTTP_ADDR does, which has tried to append.
func databaseTroubles(ctx context.Context, o *opened) ([]string, error) {
	var why string
	err := o.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) (err error) {
		why, err = takesNoWrites(ctx, conn.Conn())
		return err
	})
	if err != nil || why != "" {
		return []string{why}, err
	}

	if why := apiTrouble(ctx, o.config.HTTPAddr); why != "" {
		return []string{"the API on " + o.config.HTTPAddr + " says: " + why}, nil
	}
	return nil, nil
}

// apiTrouble returns what the API on an address says about its database when that keeps
// it from serving; empty if it serves, or if nothing answers there.
func apiTrouble(ctx context.Context, address string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*readyPatience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachableAddress(address)+"/ready",
		http.NoBody)
	if err != nil {
		return ""
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return ""
	}
	defer func() { _ = answer.Body.Close() }()

	var problem struct {
		Detail string
		Errors []struct{ Field string }
	}
	err = json.NewDecoder(io.LimitReader(answer.Body, 1<<16)).Decode(&problem)
	if err != nil || answer.StatusCode != http.StatusServiceUnavailable || len(problem.Errors) == 0 ||
		problem.Errors[0].Field != "database" {
		return ""
	}
	return problem.Detail
}

// stateOf returns an error that names each projector that does not run, and whatever else
// is wrong.
func stateOf(status follow.Status, troubles []string) error {
	names, ahead := map[follow.State][]string{}, []string(nil)
	for _, f := range status.Followers {
		if f.Ahead {
			ahead = append(ahead, f.Name)
			continue
		}
		names[f.State] = append(names[f.State], f.Name)
	}

	var wrong []string
	if len(ahead) > 0 {
		wrong = append(wrong, "ahead of the log: "+strings.Join(ahead, ", ")+
			"; the log went backwards, so run trust log renew, and trust rebuild for each of these")
	}
	if slices.Contains(ahead, relay.Name) {
		wrong = append(wrong, "for the relay, run trust relay --from instead: docs/relay.md")
	}
	if halted := names[follow.Halted]; len(halted) > 0 {
		wrong = append(wrong, "halted: "+strings.Join(halted, ", ")+
			"; the errors above say why, and a projector goes on by itself once the cause is mended")
	}
	if stopped := names[follow.Stopped]; len(stopped) > 0 {
		wrong = append(wrong, "stopped: "+strings.Join(stopped, ", ")+
			"; no process runs these, so start trust up or trust project")
	}

	wrong = append(wrong, troubles...)
	if len(wrong) > 0 {
		return exit.NotSo("%s", strings.Join(wrong, "; "))
	}
	return nil
}

func writeStatus(p *program, o *opened, log uuid.UUID, status follow.Status, newest []checkpoint) error {
	database := settings.HostAndName(o.address)
	if o.config.Settings.OwnServer() {
		database = describeDatabase(o.config)
	}
	if _, err := fmt.Fprintln(p.stdout, "database", database); err != nil {
		return err
	}

	// Followers come last, where scripts of before expect nothing else.
	if err := writeCheckpoints(p, newest); err != nil {
		return err
	}

	table := tabwriter.NewWriter(p.stdout, 0, 4, 2, ' ', 0)
	if _, err := fmt.Fprintf(table, "log\t%d\t%s\nprojector\tposition\tlag\tstate\tlast seen\terror\n",
		status.Head, log); err != nil {
		return err
	}

	for _, f := range status.Followers {
		seen := "never"
		if f.SeenAt != nil {
			seen = f.SeenAt.UTC().Format(time.RFC3339)
		}
		if _, err := fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\n",
			f.Name, f.Position, f.Lag, f.State, seen, f.Error); err != nil {
			return err
		}
	}
	return table.Flush()
}
