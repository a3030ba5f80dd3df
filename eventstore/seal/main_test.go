package seal_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/proof"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	masterKey = "a master key of at least thirty-two characters"
	origin    = "example.org/log"
)

// world is a log, its sealer and its signer, and the copy of the newest checkpoint that
// the signer keeps outside.
type world struct {
	db     *pgtest.DB
	store  *eventstore.Store
	reader *eventstore.Reader
	view   *seal.View
	sealer *seal.Sealer
	signer *seal.Signer
	tenant domain.TenantID

	projector *pgxpool.Pool

	origin string
	seeds  proof.Seeds
	every  time.Duration // 0: a millisecond
	grown  chan struct{}
	kept   []byte
	keep   error // what keeping fails with
}

func newWorld(t testing.TB) *world {
	t.Helper()
	db := pgtest.New(t)
	pool := db.Pool(t, pgtest.Query)
	store, err := eventstore.Open(t.Context(), pool, []byte(masterKey), eventstore.Patience(pgtest.Patience))
	must(t, err)
	t.Cleanup(store.Close)

	w := &world{db: db, store: store, view: seal.NewView(pool), origin: origin, tenant: domain.TenantID{UUID: newID()}}
	w.projector = db.Pool(t, pgtest.Projector)
	w.reader, err = eventstore.NewReader(t.Context(), w.projector, []byte(masterKey))
	must(t, err)
	w.seeds.Ed25519[0] = 1
	w.start(t)
	w.append(t, []domain.SideWrite{domain.CreateTenantKey{Tenant: w.tenant}}, domain.Write{
		Stream: domain.MunicipalityOf(w.tenant),
		Events: []domain.Event{
			&domain.MunicipalityRegistered{Code: "CPT", Name: "Cape Town", Province: "Western Cape"},
		},
	})
	return w
}

// start makes a new sealer and signer, as a process that starts does.
func (w *world) start(t testing.TB) {
	t.Helper()
	w.sealer, w.grown = &seal.Sealer{}, make(chan struct{}, 1)
	w.signer = seal.NewSigner(seal.SignerConfig{
		Pool: w.projector, Reader: w.reader, Origin: w.origin, Seeds: w.seeds, Every: max(w.every, time.Millisecond),
		Grown: w.grown,
		Kept:  func() ([]byte, error) { return w.kept, nil },
		Keep: func(note []byte) error {
			if w.keep == nil {
				w.kept = note
			}
			return w.keep
		},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}, w.sealer)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func (w *world) append(t testing.TB, side []domain.SideWrite, writes ...domain.Write) {
	t.Helper()
	_, err := w.store.Append(t.Context(), domain.Append{ID: newID(), Tenant: w.tenant, Side: side, Writes: writes})
	must(t, err)
}

// grow adds n events, in one append, of people who agree.
func (w *world) grow(t testing.TB, n int) {
	t.Helper()
	writes := make([]domain.Write, n)
	for i := range writes {
		writes[i] = domain.Write{
			Stream: domain.ConsentsOf(domain.UserID{UUID: newID()}), Events: []domain.Event{granted()},
		}
	}
	w.append(t, nil, writes...)
}

func granted() *domain.ConsentGranted {
	return &domain.ConsentGranted{Decision: domain.Decision{
		ConsentID: domain.ConsentID{UUID: newID()}, Purpose: "sms_alert", NoticeVersion: 1, Wording: "words",
		Language: domain.English, SHA256: domain.WordingHash("words"), Channel: domain.Web,
		RecordedBy: domain.BySelf, GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
	}}
}

// head returns the newest position.
func (w *world) head(t testing.TB) int64 {
	t.Helper()
	head, err := eventstore.Head(t.Context(), w.projector)
	must(t, err)
	return head
}

// in runs a function in a transaction of the projector.
func (w *world) in(t testing.TB, do func(tx pgx.Tx) error) error {
	t.Helper()
	return pgx.BeginFunc(context.WithoutCancel(t.Context()), w.projector, do)
}

// seal seals the events up to a position, as a worker does.
func (w *world) seal(t testing.TB, upTo int64) error {
	t.Helper()
	return w.in(t, func(tx pgx.Tx) error {
		if _, err := follow.Hold(t.Context(), tx, seal.Name); err != nil {
			return err
		}
		if err := w.sealer.Apply(t.Context(), follow.Tx{Tx: tx, Log: w.reader}, nil, upTo); err != nil {
			return err
		}
		return follow.Advance(t.Context(), tx, seal.Name, upTo)
	})
}

// sign seals everything and signs it.
func (w *world) sign(t testing.TB) seal.Signed {
	t.Helper()
	must(t, w.seal(t, w.head(t)))
	must(t, w.signer.Sign(t.Context()))
	return w.newest(t)
}

func (w *world) newest(t testing.TB) seal.Signed {
	t.Helper()
	newest, err := seal.Newest(t.Context(), w.projector)
	must(t, err)
	return newest
}

// exec changes the database past every program, as the superuser, with triggers off.
func (w *world) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	super := w.db.Superuser(t)
	_, err := super.Exec(t.Context(), "set session_replication_role = replica")
	must(t, err)
	_, err = super.Exec(t.Context(), sql, args...)
	must(t, err)
}

// work runs a worker with the sealer until the test ends.
func (w *world) work(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	worker := follow.NewWorker(follow.Config{
		DatabaseURL: w.db.URL(pgtest.Projector), MasterKey: []byte(masterKey), PageSize: 100,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}, w.sealer)
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, pgtest.Receive(t, ended))
	})
}

// position returns how far the log is sealed.
func (w *world) position(t *testing.T) (position int64) {
	t.Helper()
	must(t, w.in(t, func(tx pgx.Tx) (err error) {
		position, err = follow.Position(t.Context(), tx, seal.Name)
		return err
	}))
	return position
}

// advanced moves the sealer to the head as if it had sealed that far.
func (w *world) advanced(t *testing.T) error {
	t.Helper()
	return w.in(t, func(tx pgx.Tx) error { return follow.Advance(t.Context(), tx, seal.Name, w.head(t)) })
}

// state returns what trust status says of the sealer.
func (w *world) state(t *testing.T) follow.FollowerStatus {
	t.Helper()
	// A sign of life, as a leader gives it.
	super := w.db.Superuser(t)
	_, err := super.Exec(t.Context(),
		"update trust.checkpoints set seen_at = clock_timestamp() where follower = 'seal'")
	must(t, err)
	status, err := follow.NewObserver(w.db.Pool(t, pgtest.Query), w.sealer).Status(t.Context())
	must(t, err)
	return status.Followers[0]
}

// refuses checks that nothing is signed, and why.
func (w *world) refuses(t *testing.T, why string) {
	t.Helper()
	err := w.signer.Sign(t.Context())
	if refusal, is := errors.AsType[*seal.Refusal](err); !is || !strings.Contains(refusal.Error(), why) {
		t.Errorf("got %v, want a refusal: %s", err, why)
	}
}

// verify verifies the whole log.
func (w *world) verify(t testing.TB, held ...proof.Checkpoint) error {
	t.Helper()
	_, err := seal.Verify(t.Context(), w.projector, w.reader, nil, held...)
	return err
}
