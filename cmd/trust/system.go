package main

import (
	"cmp"
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/replica"
	apphttp "github.com/salga-trust/engine/http"
)

// systemView looks up for the API what trust status shows.
type systemView struct {
	pool     *pgxpool.Pool
	store    *eventstore.Store
	replica  *replica.Replica
	observer *follow.Observer
}

// look asks the database once. Error: unavailable.
func (v systemView) look(ctx context.Context) (apphttp.SystemState, error) {
	checked := time.Now()
	status, err := v.observer.Status(ctx)
	if err != nil {
		return apphttp.SystemState{}, err
	}

	log, err := eventstore.LogID(ctx, v.pool)
	if err != nil {
		return apphttp.SystemState{}, err
	}
	warnings, err := v.warnings(ctx)

	state := apphttp.SystemState{Head: status.Head, Log: log, Warnings: warnings, CheckedAt: checked}
	for _, f := range status.Followers {
		state.Followers = append(state.Followers, apphttp.FollowerState{
			Name: f.Name, Position: f.Position, Lag: f.Lag, State: string(f.State), Ahead: f.Ahead,
			Error: f.Error, ErrorSince: orZero(f.ErrorSince), SeenAt: orZero(f.SeenAt),
		})
	}
	return state, err
}

// warnings returns what an operator must resolve.
func (v systemView) warnings(ctx context.Context) ([]apphttp.Warning, error) {
	var warnings []apphttp.Warning
	var why string
	err := v.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) (err error) {
		why, err = takesNoWrites(ctx, conn.Conn())
		return err
	})
	if err != nil {
		return nil, eventstore.Unavailable(err)
	}
	if why = cmp.Or(why, v.store.Trouble()); why != "" {
		warnings = append(warnings, apphttp.Warning{Code: "no_writes", Detail: why})
	}

	clocks, err := eventstore.ReadClocks(ctx, v.pool)
	if err != nil {
		return nil, err
	}
	words := clocksInWords(clocks)
	for i, code := range clockWarnings(clocks) {
		warnings = append(warnings, apphttp.Warning{Code: code, Detail: words[i]})
	}
	if why := replicaTrouble(v.replica); why != "" {
		warnings = append(warnings, apphttp.Warning{Code: replicaUnused, Detail: why})
	}
	return warnings, nil
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
