package eventstore_test

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

const (
	unicodeAddress = "nomsa@münchen.example"
	asciiAddress   = "nomsa@xn--mnchen-3ya.example"
)

func (w *world) rekey(t *testing.T) eventstore.Rekeyed {
	t.Helper()
	pool := w.db.Pool(t, pgtest.Owner)
	reader, err := eventstore.NewReader(t.Context(), pool, []byte(masterKey))
	if err != nil {
		t.Fatal(err)
	}
	done, err := reader.Rekey(t.Context(), pool, func(int64, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// holds returns the people found by an address: by claim, and by sign-in.
func (w *world) holds(t *testing.T, email string) (claimed, signsIn uuid.UUID) {
	t.Helper()
	claimed, _, err := w.store.Holder(t.Context(), emailClaim(w.tenant, email))
	if err != nil {
		t.Fatal(err)
	}

	accounts, err := w.store.Accounts(t.Context(), email, w.tenant)
	if err != nil {
		t.Fatal(err)
	}
	if len(accounts) == 1 {
		signsIn = accounts[0].User.UUID
	}
	return claimed, signsIn
}

func (w *world) demandFound(t *testing.T, email string, want uuid.UUID) {
	t.Helper()
	if claimed, signsIn := w.holds(t, email); claimed != want || signsIn != want {
		t.Errorf("%s is claimed by %s and opens %s, want %s", email, claimed, signsIn, want)
	}
}

func TestAClaimKeyedByItsSpellingIsReKeyedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nomsa := w.register(t, w.tenant, unicodeAddress) // as an older program claimed it
	thandi := w.register(t, w.tenant, "thandi@example.org")

	if done := w.rekey(t); done.Count != 1 || len(done.Collisions) != 0 {
		t.Errorf("it did %+v", done)
	}
	w.demandFound(t, asciiAddress, nomsa.UUID)
	w.demandFound(t, unicodeAddress, uuid.Nil)
	w.demandFound(t, "thandi@example.org", thandi.UUID)

	zoe := w.register(t, w.tenant, "zoë@bücher.example") // by an older program that still runs
	if done := w.rekey(t); done.Count != 1 {
		t.Errorf("it goes on with %+v", done)
	}
	w.demandFound(t, "zoë@xn--bcher-kva.example", zoe.UUID)

	w.exec(t, "update trust.rekeyed set position = 0")
	w.rekey(t)
	w.demandFound(t, asciiAddress, nomsa.UUID)
}

func TestTwoAccountsThatAreOneAddressAreReportedAndNeverMerged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.register(t, w.tenant, unicodeAddress), w.register(t, w.tenant, asciiAddress)
	elsewhere := w.municipality(t, "JHB")
	w.register(t, elsewhere, unicodeAddress)

	done := w.rekey(t)
	if len(done.Collisions) != 1 || done.Count != 1 {
		t.Fatalf("it did %+v", done)
	}
	want := eventstore.Collision{Tenant: w.tenant, Kind: domain.EmailClaim, Holder: one.UUID, Other: two.UUID}
	if done.Collisions[0] != want {
		t.Errorf("it reports %+v, want %+v", done.Collisions[0], want)
	}
	w.demandFound(t, unicodeAddress, one.UUID)
	w.demandFound(t, asciiAddress, two.UUID)
}

func TestReKeyingSkipsReleasedClaimsAndErasedPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nomsa := w.register(t, w.tenant, unicodeAddress)
	must(t)(w.store.Append(t.Context(), domain.Append{
		ID: newID(), Tenant: w.tenant,
		Writes: []domain.Write{{
			Stream: domain.UserOf(nomsa), Expected: 1,
			Events: []domain.Event{&domain.UserEmailChanged{
				Email: domain.Known(domain.Change[string]{Old: unicodeAddress, New: "nomsa@example.org"}),
			}},
		}},
		Side: []domain.SideWrite{
			domain.ReleaseClaim{Claim: emailClaim(w.tenant, unicodeAddress), Holder: nomsa.UUID},
			domain.TakeClaim{Claim: emailClaim(w.tenant, "nomsa@example.org"), Holder: nomsa.UUID},
			domain.SetCredential{User: nomsa, Email: "nomsa@example.org"},
		},
	}))

	erased := w.register(t, w.tenant, "zoë@bücher.example")
	must(t)(w.store.Append(t.Context(), side(w.tenant,
		domain.DestroySubjectKey{Subject: erased},
		domain.DeleteCredential{User: erased},
		domain.ReleaseClaim{Claim: emailClaim(w.tenant, "zoë@bücher.example"), Holder: erased.UUID},
	)))

	w.rekey(t)
	w.demandFound(t, "nomsa@example.org", nomsa.UUID)
	w.demandFound(t, asciiAddress, uuid.Nil)
	w.demandFound(t, "zoë@xn--bcher-kva.example", uuid.Nil)
}

func TestReKeyingThatIsStoppedGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nomsa := w.register(t, w.tenant, unicodeAddress)
	pool := w.db.Pool(t, pgtest.Owner)
	reader, err := eventstore.NewReader(t.Context(), pool, []byte(masterKey))
	if err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := reader.Rekey(ctx, pool, func(int64, int64) {}); err == nil {
		t.Error("it was not stopped")
	}
	w.demandFound(t, unicodeAddress, nomsa.UUID)

	w.rekey(t)
	w.demandFound(t, asciiAddress, nomsa.UUID)
	if position, head, err := eventstore.NotRekeyed(t.Context(), pool); err != nil || position != head {
		t.Errorf("it came to %d of %d: %v", position, head, err)
	}
}
