package http_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/seal"
	apphttp "github.com/salga-trust/engine/http"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
	"github.com/salga-trust/engine/proof"
)

// sealedWorld is a world on Postgres whose log is sealed and signed when a test says so.
type sealedWorld struct {
	*world

	db        *pgtest.DB
	projector *pgxpool.Pool
	reader    *eventstore.Reader
	sealer    *seal.Sealer
	signer    *seal.Signer
	seeds     proof.Seeds
}

func newSealedWorld(t *testing.T, patience time.Duration) *sealedWorld {
	t.Helper()
	db := pgtest.New(t)
	pool := db.Pool(t, pgtest.Query)
	store, err := eventstore.Open(t.Context(), pool, []byte(masterKey), eventstore.Patience(pgtest.Patience))
	must(t, err)
	t.Cleanup(store.Close)

	w := &sealedWorld{
		world: &world{t: t, log: &safeBuffer{}, tenants: map[string]domain.TenantID{}}, db: db,
		projector: db.Pool(t, pgtest.Projector), sealer: &seal.Sealer{}, seeds: proof.Seeds{Ed25519: [32]byte{1}},
	}
	logger := slog.New(slog.NewJSONHandler(w.log, nil))
	w.handler = commands.New(store, commands.Config{
		Argon2id: &argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 8, KeyLength: 16},
		Prover: seal.NewProver(seal.ProverConfig{
			View: seal.NewView(pool), Patience: patience, Logger: logger,
			Seeds:     func() (*proof.Seeds, error) { return &w.seeds, nil },
			Witnesses: func() (*proof.Policy, error) { return nil, nil },
		}),
	})
	w.reader, err = eventstore.NewReader(t.Context(), w.projector, []byte(masterKey))
	must(t, err)
	w.signer = seal.NewSigner(seal.SignerConfig{
		Pool: w.projector, Reader: w.reader, Origin: "example.org/log", Seeds: w.seeds,
		Kept: func() ([]byte, error) { return nil, nil }, Keep: func([]byte) error { return nil },
		Logger: logger,
	}, w.sealer)

	answers := reports.New(pool, nil, w.reader)
	t.Cleanup(answers.Close)
	w.api, err = apphttp.New(apphttp.Config{
		Commands: w.handler, Queries: slowly{projections.NewQueries(pool, nil)}, Reports: answers,
		Version: "0.1.0", Metrics: prometheus.NewRegistry(), Tokens: tokens(),
		Ready:  func(context.Context) apphttp.ReadyState { return apphttp.ReadyState{} },
		System: noSystem, Tree: seal.NewView(pool), Logger: logger,
	})
	must(t, err)

	work(t, db)
	for _, code := range []string{"KZN225", "CPT"} {
		a, err := w.handler.RegisterMunicipality(t.Context(), commands.System(domain.PlatformTenant()),
			domain.RegisterMunicipality{Code: code, Name: "Municipality " + code, Province: "Gauteng"})
		must(t, err)
		w.tenants[code] = a.Value.ID
	}
	return w
}

// sign seals what there is and signs it.
func (w *sealedWorld) sign() {
	w.t.Helper()
	ctx := w.t.Context()
	must(w.t, pgx.BeginFunc(ctx, w.projector, func(tx pgx.Tx) error {
		if _, err := follow.Hold(ctx, tx, seal.Name); err != nil {
			return err
		}
		head, err := eventstore.Head(ctx, tx)
		if err != nil {
			return err
		}
		if err := w.sealer.Apply(ctx, follow.Tx{Tx: tx, Log: w.reader}, nil, head); err != nil {
			return err
		}
		return follow.Advance(ctx, tx, seal.Name, head)
	}))
	must(w.t, w.signer.Sign(ctx))
}

// proves asks for a proof, which is pending at first, and checks it as a stranger does.
func (w *sealedWorld) proves(by *person, path string) (proof.Report, string) {
	w.t.Helper()
	by.send("GET", path, "").wantProblem(503, domain.CodeProofPending)
	w.sign()
	a := by.send("GET", path, "").want(200)

	signer, err := proof.NewSigner("example.org/log", w.seeds)
	must(w.t, err)
	report, err := proof.Check([]byte(a.raw), proof.LogPolicy(signer.LogKeys()...))
	must(w.t, err)
	if !report.Proven {
		w.t.Errorf("%s is not proven: %+v", path, report)
	}
	return report, a.raw
}

// statements counts those in the log.
func (w *sealedWorld) statements() (n int) {
	w.t.Helper()
	must(w.t, w.db.Superuser(w.t).QueryRow(w.t.Context(),
		"select count(*) from trust.events where event_type = 'proof.issued.v1'").Scan(&n))
	return n
}

// disown has the operator disown an event.
func (w *sealedWorld) disown(position int64) {
	w.t.Helper()
	must(w.t, pgx.BeginFunc(w.t.Context(), w.db.Conn(w.t, pgtest.Append), func(tx pgx.Tx) error {
		_, err := w.reader.Disown(w.t.Context(), tx, position, "found by a test")
		return err
	}))
}

func TestAProofHoldsForThePersonTheirMunicipalityAndAfterTheyAreErased(t *testing.T) {
	t.Parallel()
	w := newSealedWorld(t, time.Millisecond)
	w.define(domain.PlatformTenant(), "newsletter")
	p, officer := w.citizen("thandi@example.org"), w.staff(domain.Manager, "KZN225")
	w.sign()
	a := p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":true}`).want(201)
	path := "/api/v1/consents/" + a.text("id") + "/proof"

	report, _ := w.proves(p, path)
	if report.Receipt.State != proof.Given || report.Receipt.SubjectID.String() != p.id || w.statements() != 1 {
		t.Errorf("%+v, and %d statements", report.Receipt, w.statements())
	}
	p.send("POST", "/api/v1/consents/"+a.text("id")+"/withdraw", "").want(200)
	if report, _ = w.proves(officer, path); report.Receipt.State != proof.Withdrawn || w.statements() != 2 {
		t.Errorf("%+v, and %d statements", report.Receipt, w.statements())
	}
	w.staff(domain.Manager, "CPT").send("GET", path, "").wantProblem(404, domain.CodeNotFound)
	w.citizen("sipho@example.org").send("GET", path, "").wantProblem(404, domain.CodeNotFound)

	p.sendErasure().want(200)
	report, file := w.proves(officer, path)
	if report.Receipt.State != proof.Withdrawn || w.statements() != 3 {
		t.Errorf("after the erasure: %+v", report.Receipt)
	}
	for _, name := range []string{"Thandi", "haba", "thandi@example.org", "821234567"} {
		if strings.Contains(file, name) {
			t.Errorf("the file of an erased person shows %q", name)
		}
	}
}

// A stranger cannot see that an event was disowned, so a proof would pass it off as ours.
func TestAForgedDecisionIsNotProven(t *testing.T) {
	t.Parallel()
	w := newSealedWorld(t, time.Millisecond)
	p, officer := w.citizen("thandi@example.org"), w.staff(domain.Manager, "KZN225")
	w.sign()
	p.send("GET", "/api/v1/consents", "", "Min-Event-Position", w.head()).want(200)
	consent := p.newestConsent("platform_registration")
	path, subject := "/api/v1/consents/"+consent+"/proof", uuid.MustParse(p.id)
	w.proves(p, path)

	forged := w.db.Forge(t, pgtest.Forgery{
		Tenant: w.tenants["KZN225"].UUID, Stream: subject, StreamType: "consent", Type: "consent.withdrawn.v1",
		Payload: fmt.Sprintf(`{"consent_id":%q,"purpose":"newsletter","recorded_by":"self"}`, consent),
		Subject: (*[16]byte)(&subject),
	})
	stated := w.statements()
	officer.send("GET", path, "").wantProblem(503, domain.CodeLogDamaged)

	w.disown(forged)
	refused := officer.send("GET", path, "").wantProblem(409, domain.CodeNotProvable)
	if !strings.Contains(refused.text("detail"), "did not write") || w.statements() != stated {
		t.Errorf("%s, and %d statements", refused.raw, w.statements())
	}
}
