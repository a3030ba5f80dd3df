package domain_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

func TestARefusalKeepsItsCodeAndCauseWhenWrapped(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("grant: %w", domain.Refuse(domain.CodeInForce, "Withdraw it instead.").Because(fs.ErrExist))

	if !errors.Is(err, domain.Refuse(domain.CodeInForce, "")) ||
		errors.Is(err, domain.Refuse(domain.CodeNotFound, "")) {
		t.Error("refusals are compared by code")
	}
	if !errors.Is(err, fs.ErrExist) {
		t.Error("the cause is lost")
	}
	if got, want := err.Error(), "grant: in_force: Withdraw it instead. (file already exists)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNoFaultsAreNoError(t *testing.T) {
	t.Parallel()
	var f domain.Faults
	if err := f.Err(); err != nil {
		t.Errorf("got %v", err)
	}

	f.Add("email", "required", "Give an e-mail address.")
	if got, want := f.Err().Error(),
		"validation_failed: The input is not valid; see errors.; email: Give an e-mail address."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStreamsAndTheirSubjects(t *testing.T) {
	t.Parallel()
	who, tenant := domaintest.Thandi(), domaintest.Msunduzi()

	for _, s := range []domain.Stream{domain.UserOf(who), domain.ConsentsOf(who), domain.SessionsOf(who)} {
		if s.Subject() != who {
			t.Errorf("%s is about %v", s.Type, s.Subject())
		}
	}
	for _, s := range []domain.Stream{domain.MunicipalityOf(tenant), domain.PurposeOf(tenant, "newsletter")} {
		if !s.Subject().IsZero() {
			t.Errorf("%s is about a person", s.Type)
		}
	}

	access := domain.Stream{Type: domain.AccessStream, ID: domaintest.ID(0xF, 1)}
	for name, c := range map[string]struct {
		event domain.Event
		in    domain.Stream
		want  domain.UserID
	}{
		"the stream's":                {&domain.UserErased{}, domain.UserOf(who), who},
		"the one person who was read": {&domain.PersonalDataRead{Subjects: []domain.UserID{who}}, access, who},
		"nobody's, of several people": {
			&domain.PersonalDataRead{Subjects: []domain.UserID{who, domaintest.Clerk()}}, access, domain.UserID{},
		},
		"nobody's": {&domain.PurposeRetired{}, domain.PurposeOf(tenant, "newsletter"), domain.UserID{}},
	} {
		if got := domain.SubjectOf(c.event, c.in); got != c.want {
			t.Errorf("%s subject is %s", name, got)
		}
	}

	again := domain.PurposeOf(tenant, "newsletter")
	if domain.PurposeOf(tenant, "newsletter") != again ||
		domain.PurposeOf(tenant, "newsletter") == domain.PurposeOf(domain.PlatformTenant(), "newsletter") ||
		domain.PurposeOf(tenant, "newsletter") == domain.PurposeOf(tenant, "research") {
		t.Error("a purpose's stream follows from tenant and code")
	}

	if got := domain.PlatformTenant().String(); got != "00000000-0000-7000-8000-000000000001" ||
		!domain.PlatformTenant().IsPlatform() {
		t.Errorf("the platform tenant is %s", got)
	}
}

func TestAnEventIsAboutItsRecordAndHoldsFromWhenItWasGiven(t *testing.T) {
	t.Parallel()
	s := domain.ConsentsOf(domaintest.Thandi())
	if got := domain.RecordOf(domaintest.PaperGrant(), s); got != domaintest.Consent(1).UUID {
		t.Errorf("a grant is about %s", got)
	}
	if got := domain.RecordOf(&domain.UserErased{}, s); got != s.ID {
		t.Errorf("an event without a record is about %s", got)
	}

	if got := domain.EffectiveOf(domaintest.PaperGrant()); !got.Equal(domaintest.Clock("2026-03-01 09:30")) {
		t.Errorf("a grant on paper holds from %s", got)
	}
	if got := domain.EffectiveOf(&domain.ConsentWithdrawn{}); !got.IsZero() {
		t.Errorf("nobody stated when, and yet it is %s", got)
	}
}

func TestAnAppendsPositionIsItsLastEvents(t *testing.T) {
	t.Parallel()
	if got := (domain.Appended{}).Position(); got != 0 {
		t.Errorf("an empty append has position %d", got)
	}
	if got := (domain.Appended{Events: []domain.Recorded{{Position: 7}, {Position: 8}}}).Position(); got != 8 {
		t.Errorf("position %d, want 8", got)
	}
}
