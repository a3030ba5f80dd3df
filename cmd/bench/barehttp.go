package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// bareAPISchema is an append-only table too: a withdrawal is a row of its own.
const bareAPISchema = `
	create table decisions (
		id bigint generated always as identity primary key, consent_id uuid not null, subject_id uuid not null,
		purpose text not null, language text not null, channel text not null, wording text not null,
		allowed boolean not null, reason text not null, recorded_at timestamptz not null default now());
	create index on decisions (consent_id, id);
	create index on decisions (subject_id, purpose, id);
	create index on decisions (subject_id, id);`

// decision is a row, and also the body of an answer.
type decision struct {
	ID         uuid.UUID `json:"id"`
	SubjectID  uuid.UUID `json:"subject_id"`
	Purpose    string    `json:"purpose"`
	Language   string    `json:"language"`
	Channel    string    `json:"channel"`
	Wording    string    `json:"purpose_description"`
	Consented  bool      `json:"consented"`
	Reason     string    `json:"reason"`
	RecordedAt time.Time `json:"recorded_at"`
}

const decisionColumns = "consent_id, subject_id, purpose, language, channel, wording, allowed, reason, recorded_at"

// bareAPI is net/http and pgx with one statement for each request. It has no accounts, no
// tenants, no keys, and no record of who read.
type bareAPI struct{ pool *pgxpool.Pool }

// serveBare runs the bare API, in a process of its own as ours is, until ctx ends.
func serveBare(ctx context.Context, database, address string, connections int) error {
	config, err := pgxpool.ParseConfig(database)
	if err != nil {
		return err
	}
	config.MaxConns, config.MinConns = int32(connections), int32(connections)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()

	a := bareAPI{pool}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, "ready", pool.Ping(r.Context()))
	})
	mux.HandleFunc("POST /api/v1/consents", a.create)
	mux.HandleFunc("GET /api/v1/consents/check", a.check)
	mux.HandleFunc("GET /api/v1/consents/{id}", a.read)
	mux.HandleFunc("GET /api/v1/consents", a.list)
	mux.HandleFunc("POST /api/v1/consents/{id}/withdraw", a.withdraw)

	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func answer(w http.ResponseWriter, status int, body any, err error) {
	if errors.Is(err, pgx.ErrNoRows) {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}

	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone
}

// one runs a statement that returns one decision.
func (a bareAPI) one(r *http.Request, sql string, args ...any) (decision, error) {
	rows, err := a.pool.Query(r.Context(), sql, args...)
	if err != nil {
		return decision{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[decision])
}

func (a bareAPI) create(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		SubjectID uuid.UUID `json:"subject_id"`
		Purpose   string    `json:"purpose"`
		Language  string    `json:"language"`
		Consented bool      `json:"consented"`
		Channel   string    `json:"channel"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&asked); err != nil {
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}

	d, err := a.one(r, `insert into decisions
			(consent_id, subject_id, purpose, language, channel, wording, allowed, reason)
		values ($1, $2, $3, $4, $5, $6, $7, '') returning `+decisionColumns,
		uuid.Must(uuid.NewV7()), asked.SubjectID, asked.Purpose, asked.Language, asked.Channel,
		"To send you SMS alerts about water and electricity interruptions.", asked.Consented)
	answer(w, http.StatusCreated, d, err)
}

func (a bareAPI) check(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	d, err := a.one(r, "select "+decisionColumns+" from decisions where subject_id = $1 and purpose = $2 "+
		"order by id desc limit 1", query.Get("subject_id"), query.Get("purpose"))
	answer(w, http.StatusOK, map[string]any{"allowed": d.Consented, "reason": d.Reason, "decided_by": d.ID}, err)
}

func (a bareAPI) read(w http.ResponseWriter, r *http.Request) {
	d, err := a.one(r, "select "+decisionColumns+" from decisions where consent_id = $1 order by id desc limit 1",
		r.PathValue("id"))
	answer(w, http.StatusOK, d, err)
}

func (a bareAPI) list(w http.ResponseWriter, r *http.Request) {
	rows, err := a.pool.Query(r.Context(), "select "+decisionColumns+" from decisions where subject_id = $1 "+
		"order by id desc limit 50", r.URL.Query().Get("subject_id"))
	if err != nil {
		answer(w, 0, nil, err)
		return
	}
	items, err := pgx.CollectRows(rows, pgx.RowToStructByPos[decision])
	answer(w, http.StatusOK, map[string]any{"items": items}, err)
}

func (a bareAPI) withdraw(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Reason string `json:"reason"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&asked); err != nil {
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}

	d, err := a.one(r, `insert into decisions
			(consent_id, subject_id, purpose, language, channel, wording, allowed, reason)
		select consent_id, subject_id, purpose, language, channel, wording, false, $2
		from decisions where consent_id = $1 order by id limit 1
		returning `+decisionColumns, r.PathValue("id"), asked.Reason)
	answer(w, http.StatusOK, d, err)
}
