package domain_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

// turn decides something about a service account.
type turn func(domain.ServiceAccount) []domain.Event

// serviceAccount returns one that was created with secret 1, after some turns.
func serviceAccount(t *testing.T, turns ...turn) domain.ServiceAccount {
	t.Helper()
	created, err := domain.CreateServiceAccount{Name: "SMS", Scopes: []domain.Scope{domain.ScopeCheck}}.
		Decide(secretID(1))
	if err != nil {
		t.Fatal(err)
	}

	stream := domain.ServiceAccountOf(domain.ServiceAccountID{UUID: domaintest.ID(0xf, 0)})
	events := created
	var a domain.ServiceAccount
	for i := 0; ; i++ {
		for _, e := range events {
			a = a.Evolve(domain.Recorded{
				Event: e, Stream: stream, Version: a.Version + 1, RecordedAt: domaintest.Clock("2026-03-01 12:00"),
			})
		}
		if i == len(turns) {
			return a
		}
		events = turns[i](a)
	}
}

func secretID(n int) uuid.UUID { return domaintest.ID(0xf, n) }

// rotation makes a secret at an instant.
func rotation(t *testing.T, overlap time.Duration, secret int, at time.Time) turn {
	t.Helper()
	return func(a domain.ServiceAccount) []domain.Event {
		t.Helper()
		events, err := domain.RotateSecret{Overlap: overlap}.Decide(a, secretID(secret), at)
		if err != nil {
			t.Fatal(err)
		}
		return events
	}
}

func TestARotationEndsFormerSecretsWhenItSaysAndNoneLaterThanWasSaidBefore(t *testing.T) {
	t.Parallel()
	now := domaintest.Clock("2026-03-01 12:00")
	a := serviceAccount(t,
		rotation(t, time.Hour, 2, now), rotation(t, 24*time.Hour, 3, now), rotation(t, 2*time.Hour, 4, now))

	for secret, until := range map[int]time.Duration{1: time.Hour, 2: 2 * time.Hour, 3: 2 * time.Hour} {
		end := now.Add(until)
		if !a.Accepts(secretID(secret), end.Add(-time.Microsecond)) || a.Accepts(secretID(secret), end) {
			t.Errorf("secret %d does not end after %s", secret, until)
		}
	}
	if !a.Accepts(secretID(4), now.AddDate(10, 0, 0)) || a.Accepts(uuid.Nil, now) {
		t.Error("the newest secret has an end, or none is one")
	}

	atOnce := rotation(t, 0, 5, now)
	if ended := a.Ended(atOnce(a)[0], now); len(ended) != 4 {
		t.Errorf("ended: %v", ended)
	}
	a = serviceAccount(t, rotation(t, time.Hour, 2, now), atOnce)
	// Whatever a clock says.
	if a.Accepts(secretID(1), now.Add(-time.Hour)) || a.Accepts(secretID(2), now.Add(-time.Hour)) {
		t.Error("a former secret goes on")
	}
}

func TestAtMostTenSecretsAreGoodAtOnce(t *testing.T) {
	t.Parallel()
	now := domaintest.Clock("2026-03-01 12:00")
	var nine []turn
	for i := range 9 {
		nine = append(nine, rotation(t, time.Hour, 2+i, now))
	}
	a := serviceAccount(t, nine...)

	events, err := domain.RotateSecret{Overlap: time.Hour}.Decide(a, secretID(11), now)
	domaintest.Refusal(t, events, err, domain.CodeTooManySecrets)
	rotation(t, 0, 11, now)(a)
	rotation(t, time.Hour, 11, now.Add(time.Hour))(a)
}

func TestARevokedServiceAccountAcceptsNothingForGood(t *testing.T) {
	t.Parallel()
	now := domaintest.Clock("2026-03-01 12:00")
	a := serviceAccount(t, domain.ServiceAccount.Revoke)

	if a.Accepts(secretID(1), now) || len(a.Revoke()) != 0 {
		t.Error("it goes on")
	}
	events, err := domain.RotateSecret{}.Decide(a, secretID(2), now)
	domaintest.Refusal(t, events, err, domain.CodeServiceAccountRevoked)
}

func TestScopesAreKeptInOneOrderAndEachOnce(t *testing.T) {
	t.Parallel()
	events, err := domain.CreateServiceAccount{
		Name: "SMS", Scopes: []domain.Scope{domain.ScopeEvents, domain.ScopeCheck, domain.ScopeEvents},
	}.Decide(secretID(1))
	if err != nil {
		t.Fatal(err)
	}
	want := []domain.Scope{domain.ScopeCheck, domain.ScopeEvents}
	if got := events[0].(*domain.ServiceAccountCreated).Scopes; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
