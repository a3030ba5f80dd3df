package commands

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"github.com/salga-trust/engine/domain"
)

// ClaimConsent asks to record what a source outside this system says that a person
// decided. What the source does not know is left out.
type ClaimConsent struct {
	Subject       domain.UserID           `json:"subject_id"`
	Purpose       string                  `json:"purpose"`
	Decided       domain.Outcome          `json:"decided"`
	GivenAt       time.Time               `json:"given_at"`
	DayOnly       bool                    `json:"day_only,omitempty"`
	Language      domain.Language         `json:"language,omitempty"`
	Channel       domain.Channel          `json:"channel,omitempty"`
	NoticeVersion int                     `json:"notice_version,omitempty"`
	WordingSHA256 string                  `json:"wording_sha256,omitempty"`
	Evidence      *domain.Evidence        `json:"evidence,omitempty"`
	GivenBy       *domain.CompetentPerson `json:"given_by,omitempty"`
	Grade         domain.Grade            `json:"evidence_grade"`
	Source        string                  `json:"source"`
	// Record is the source's own id of what it says; empty: it has none, and says one
	// thing about a person, a purpose and an instant.
	Record string `json:"record,omitempty"`

	// FileSHA256 and Line say where it stands, which does not change what it says.
	FileSHA256 string `json:"-"`
	Line       int    `json:"-"`
}

// ClaimConsent records a claim. What the source said before changes nothing: the answer
// is then the claim as it was first recorded. A claim about a record that was merged into
// another is recorded about that one. Only an operator may, since nobody here saw the
// person decide. Errors: validation_failed, forbidden, not_found, subject_erased,
// unknown_purpose, purpose_not_consent_based, competent_person_required,
// given_at_in_future, evidence_required, notice_changed, wording_mismatch, decided_here,
// claim_changed.
func (h *Handler) ClaimConsent(
	ctx context.Context, call Call, c ClaimConsent,
) (Answer[domain.ConsentClaim], error) {
	if !call.system {
		return Answer[domain.ConsentClaim]{}, domain.Refuse(domain.CodeForbidden,
			"Only an operator may import what another system says.")
	}

	c.Purpose, c.Source = domain.CanonicalPurposeCode(c.Purpose), domain.TidyName(c.Source)
	c.GivenAt = c.GivenAt.UTC().Truncate(time.Microsecond)
	scope := "claim:" + call.Tenant.String() + ":" + c.Source
	call.Key = h.claimKey(c)

	wish := c.Wish()
	if err := wish.Evidenced(); err != nil { // whatever the source said before
		return Answer[domain.ConsentClaim]{}, err
	}
	wish.ID.UUID = h.derivedID("claimed consent", scope, call.Key)

	var said domain.Appended // before, about another record of the same person
	r := request{name: "consent.claim", tenant: call.Tenant, scope: scope, body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		who, err := h.claimant(ctx, call.Tenant, c)
		if err != nil {
			return domain.Append{}, err
		}
		said, err = h.saidOf(ctx, call, r, c, who.records)
		if err != nil || len(said.Events) > 0 {
			return domain.Append{}, err
		}

		events, on, err := h.decideClaim(ctx, call.Tenant, wish, who.history)
		if err != nil || len(events) == 0 {
			return domain.Append{}, err
		}
		return domain.Append{
			Tenant:  call.Tenant,
			Writes:  []domain.Write{{Stream: who.stream, Expected: who.version, Events: events}},
			Expects: append(who.expects, on...),
		}, nil
	})
	if len(said.Events) > 0 {
		done, err = said, nil
	}
	if errors.Is(err, keyReused()) {
		err = domain.Refuse(domain.CodeClaimChanged,
			"This source has said something else about this before, and that stands.")
	}
	if err != nil {
		return Answer[domain.ConsentClaim]{}, err
	}

	if len(done.Events) == 0 {
		return Answer[domain.ConsentClaim]{}, keyReused()
	}
	claimed, is := done.Events[0].Event.(*domain.ConsentClaimed)
	if !is {
		return Answer[domain.ConsentClaim]{}, keyReused()
	}
	return Answer[domain.ConsentClaim]{Value: claimed.Claim, Position: done.Position(), Stood: done.Repeat}, nil
}

// claimant is whom a claim is about.
type claimant struct {
	records []domain.UserID // all records of the person: the one that goes on, and those merged into it
	stream  domain.Stream   // of the decisions
	version int
	history []domain.Recorded
	expects []domain.Expectation
}

// claimant loads the record that goes on in place of the one that a claim names, which
// mostly is that one. Errors: not_found, subject_erased.
func (h *Handler) claimant(ctx context.Context, tenant domain.TenantID, c ClaimConsent) (claimant, error) {
	tail, person := domain.TailForClaim(c.Subject, c.Purpose, c.GivenAt), domain.UserOf(c.Subject)
	events, version, err := h.Store.LoadTail(ctx, tenant, tail, person)
	if err != nil {
		return claimant{}, err
	}

	resident := domain.Fold[domain.Resident](of(events, person))
	switch {
	case !resident.Exists():
		return claimant{}, domain.Refuse(domain.CodeNotFound, "There is no such person.")
	case resident.IsMerged() && !resident.Erased:
		c.Subject = resident.MergedInto
		return h.claimant(ctx, tenant, c)
	}

	return claimant{
		records: append([]domain.UserID{resident.ID}, resident.Merged...), stream: tail.Stream, version: version,
		history: of(events, tail.Stream),
		expects: []domain.Expectation{{Tenant: tenant, Stream: person, Version: resident.Version}},
	}, resident.TakesCommands()
}

// saidOf returns what the source has said before about another of a person's records, if
// it is what a claim says: two records of one person are mostly merged after an import,
// and then the file leads to another record than at first. Error:
// idempotency_key_reused, if it has said something else.
func (h *Handler) saidOf(
	ctx context.Context, call Call, r request, c ClaimConsent, records []domain.UserID,
) (said domain.Appended, err error) {
	for _, record := range records {
		if record == c.Subject {
			continue
		}

		other := c
		other.Subject = record
		call.Key, r.body = h.claimKey(other), other
		id, fingerprint, err := h.identify(call, r)
		if err != nil {
			return domain.Appended{}, err
		}
		found, err := h.Store.FindAppend(ctx, call.Tenant, id)
		if err != nil {
			return domain.Appended{}, err
		}
		if len(found) > 0 && (found[0].Metadata.Fingerprint == fingerprint || c.Record == "") {
			return repeat(found, fingerprint)
		}
	}
	return domain.Appended{}, nil
}

// Wish returns the claim to decide about, which has no id yet.
func (c ClaimConsent) Wish() domain.ClaimConsent {
	return domain.ClaimConsent{
		Purpose: domain.CanonicalPurposeCode(c.Purpose), GivenAt: c.GivenAt, Language: c.Language,
		Channel: c.Channel, NoticeVersion: c.NoticeVersion, WordingSHA256: c.WordingSHA256,
		Evidence: c.Evidence, GivenBy: c.GivenBy,
		Claim: domain.ConsentClaim{
			Decided: c.Decided, Grade: c.Grade, Source: c.Source, FileSHA256: c.FileSHA256, Line: c.Line,
			DayOnly: c.DayOnly,
		},
	}
}

// claimKey returns the key under which a source says one thing: its own id, or the
// person, the purpose, the instant, and whether something is decided or taken back.
func (h *Handler) claimKey(c ClaimConsent) string {
	parts := []string{"claim", "record", c.Record}
	if c.Record == "" {
		back := ""
		if c.Decided == domain.OutcomeWithdrawn {
			back = "withdrawn"
		}
		parts = []string{
			"claim", "person", c.Subject.String(), c.Purpose, c.GivenAt.Format(time.RFC3339Nano), back,
		}
	}

	sum := h.Store.Digest(parts...)
	return hex.EncodeToString(sum[:])
}

// decideClaim decides on the purposes held in memory. If that leads to a refusal, it
// decides once more, on those in the log, since memory may be out of date.
func (h *Handler) decideClaim(
	ctx context.Context, tenant domain.TenantID, wish domain.ClaimConsent, history []domain.Recorded,
) ([]domain.Event, []domain.Expectation, error) {
	for again := false; ; again = true {
		current, expects, cached, err := h.purpose(ctx, tenant, wish.Purpose, time.Time{})
		if err != nil {
			return nil, nil, err
		}
		then, before, cachedThen, err := h.purpose(ctx, tenant, wish.Purpose, wish.GivenAt)
		if err != nil {
			return nil, nil, err
		}

		events, err := wish.Decide(history, current, then, h.now())
		if err == nil || again || !cached && !cachedThen {
			return events, longer(expects, before), err
		}

		h.purposes.forget(
			domain.PurposeOf(tenant, wish.Purpose), domain.PurposeOf(domain.PlatformTenant(), wish.Purpose))
	}
}

// longer returns the longer of two lists of expectations that begin alike.
func longer(a, b []domain.Expectation) []domain.Expectation {
	if len(a) > len(b) {
		return a
	}
	return b
}
