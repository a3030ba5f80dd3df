package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	apphttp "github.com/salga-trust/engine/http"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

// What the API shows of a projector that cannot get past an event is what trust status
// shows: where it halted and why, and nothing of what the event says.
func TestTheSystemAsTheAPIShowsItTellsWhyAProjectorHalted(t *testing.T) {
	t.Parallel()
	db, key := pgtest.New(t), []byte("a master key of at least thirty-two characters")
	pool := db.Pool(t, pgtest.Query)
	store, err := eventstore.Open(t.Context(), pool, key, eventstore.Patience(pgtest.Patience))
	must(t, err)
	t.Cleanup(store.Close)
	view := systemView{pool, store, nil, follow.NewObserver(pool, projections.Followers()...)}

	for _, name := range []string{"First", "Tampered", "Last"} {
		tenant := domain.TenantID{UUID: uuid.Must(uuid.NewV7())}
		_, err := store.Append(t.Context(), domain.Append{
			ID: uuid.Must(uuid.NewV7()), Tenant: tenant,
			Side: []domain.SideWrite{domain.CreateTenantKey{Tenant: tenant}},
			Writes: []domain.Write{{Stream: domain.MunicipalityOf(tenant), Events: []domain.Event{
				&domain.MunicipalityRegistered{
					Code: strings.ToUpper(name), Name: name, Province: "Gauteng", Category: "B",
				},
			}}},
		})
		must(t, err)
	}

	look := func(name string) (apphttp.SystemState, apphttp.FollowerState) {
		t.Helper()
		state, err := view.look(t.Context())
		must(t, err)
		i := slices.IndexFunc(state.Followers, func(f apphttp.FollowerState) bool { return f.Name == name })
		return state, state.Followers[i]
	}

	before, stopped := look("municipalities")
	if stopped.State != "stopped" || stopped.Lag != 3 || stopped.Error != "" || !stopped.SeenAt.IsZero() {
		t.Errorf("before it ever ran: %+v", stopped)
	}
	log, err := eventstore.LogID(t.Context(), pool)
	must(t, err)
	if before.Head != 3 || before.Log != log || len(before.Warnings) > 0 || time.Since(before.CheckedAt) > time.Hour ||
		len(before.Followers) != len(projections.Followers()) {
		t.Errorf("the system: %+v", before)
	}

	_, err = db.Superuser(t).Exec(t.Context(), `set session_replication_role = replica;
		update trust.events set payload = '{"code":"SECRET"}' where position = 2`)
	must(t, err)
	worker := follow.NewWorker(follow.Config{
		DatabaseURL: db.URL(pgtest.Projector), MasterKey: key, Logger: slog.New(slog.DiscardHandler),
	}, projections.Followers()...)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		must(t, <-ended)
	})

	var halted apphttp.FollowerState
	pgtest.Eventually(t, "the projector has halted", func() bool {
		_, halted = look("municipalities")
		return halted.State == "halted"
	})
	if halted.Position != 1 || halted.Lag != 2 || halted.Ahead || halted.ErrorSince.IsZero() ||
		!strings.HasPrefix(halted.Error, "event 2: ") || strings.Contains(halted.Error, "SECRET") {
		t.Errorf("halted: %+v", halted)
	}
}
