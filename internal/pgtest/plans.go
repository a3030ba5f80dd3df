package pgtest

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Plans collects how statements on some pools were executed: their text and plan, as
// auto_explain reports them, including those inside functions. The zero Plans is ready to
// use. It is safe for concurrent use.
type Plans struct {
	mu    sync.Mutex
	found []string
}

// Pool opens a pool of one connection in role, with its own settings, and collects its
// plans. One connection, because Postgres may keep a plan from the sixth call of a
// statement on.
func (p *Plans) Pool(t testing.TB, db *DB, role string, settings ...func(*pgx.ConnConfig)) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(db.URL(role))
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	config.MaxConns = 1
	for _, set := range settings {
		set(config.ConnConfig)
	}

	config.ConnConfig.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if strings.Contains(n.Message, "Query Text:") {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.found = append(p.found, n.Message)
		}
	}

	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `set role none; load 'auto_explain'; set auto_explain.log_min_duration = 0;
			set auto_explain.log_nested_statements = on; set client_min_messages = log; set role `+role)
		return err
	}

	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() { closePool(t, pool) })
	return pool
}

// Forget forgets the plans so far.
func (p *Plans) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found = nil
}

// Of returns the plans of the statements that contain a text; an empty text returns all.
func (p *Plans) Of(text string) (plans []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, plan := range p.found {
		if strings.Contains(plan, text) {
			plans = append(plans, plan)
		}
	}
	return plans
}
