package commands

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// The methods in this file append nothing; the package comment says why they are here.

// Me returns the caller's account from the log, personal fields included.
func (h *Handler) Me(ctx context.Context, call Call) (Answer[domain.User], error) {
	return h.userNow(ctx, call.Tenant, call.User)
}

// Resident returns a person of a tenant as staff look after them, from the log. Error:
// not_found.
func (h *Handler) Resident(
	ctx context.Context, tenant domain.TenantID, id domain.UserID,
) (Answer[domain.Resident], error) {
	resident, events, err := h.resident(ctx, tenant, id)
	if err != nil {
		return Answer[domain.Resident]{}, err
	}
	return Answer[domain.Resident]{Value: resident, Position: events[len(events)-1].Position, Stood: true}, nil
}

// FindResident returns the person of a tenant who has an external id.
func (h *Handler) FindResident(
	ctx context.Context, tenant domain.TenantID, x domain.ExternalID,
) (id domain.UserID, found bool, err error) {
	id.UUID, found, err = h.Store.Holder(ctx, x.Claim(tenant))
	return id, found, err
}

// KnownPerson refuses an id that belongs to no person of a tenant. A person who was
// erased is known. Error: not_found.
func (h *Handler) KnownPerson(ctx context.Context, tenant domain.TenantID, id domain.UserID) error {
	events, err := h.Store.Load(ctx, tenant, domain.UserOf(id))
	if err == nil && len(events) == 0 {
		err = domain.Refuse(domain.CodeNotFound, "There is no such person.")
	}
	return err
}

// KnownActor refuses an id that belongs to no person and no program of a tenant. Error:
// not_found.
func (h *Handler) KnownActor(ctx context.Context, tenant domain.TenantID, id domain.UserID) error {
	program := domain.ServiceAccountOf(domain.ServiceAccountID(id))
	events, err := h.Store.Load(ctx, tenant, domain.UserOf(id), program)
	if err == nil && len(events) == 0 {
		err = domain.Refuse(domain.CodeNotFound, "There is no such person or program.")
	}
	return err
}

// ServiceAccount returns one of a tenant's service accounts, revoked or not. Error:
// not_found.
func (h *Handler) ServiceAccount(
	ctx context.Context, tenant domain.TenantID, id domain.ServiceAccountID,
) (domain.ServiceAccount, error) {
	history, err := h.Store.Load(ctx, tenant, domain.ServiceAccountOf(id))
	a := domain.Fold[domain.ServiceAccount](history)
	if err == nil && !a.Exists() {
		err = domain.Refuse(domain.CodeNotFound, "There is no such service account.")
	}
	return a, err
}

// ServiceAccounts lists a tenant's service accounts, also revoked ones, newest first. It
// reads the log, since a municipality has few programs and must see at once which of them
// can still sign in.
func (h *Handler) ServiceAccounts(ctx context.Context, tenant domain.TenantID) ([]domain.ServiceAccount, error) {
	events, err := h.Store.LoadAll(ctx, tenant, domain.ServiceAccountStream)
	if err != nil {
		return nil, err
	}

	byStream := map[domain.Stream]domain.ServiceAccount{}
	for _, e := range events {
		byStream[e.Stream] = byStream[e.Stream].Evolve(e)
	}
	maps.DeleteFunc(byStream, func(_ domain.Stream, a domain.ServiceAccount) bool { return !a.Exists() })

	newest := func(a, b domain.ServiceAccount) int { return bytes.Compare(b.ID.UUID[:], a.ID.UUID[:]) } // UUIDv7
	return slices.SortedFunc(maps.Values(byStream), newest), nil
}

// Webhook returns one of a tenant's webhooks, deleted or not. Error: not_found.
func (h *Handler) Webhook(
	ctx context.Context, tenant domain.TenantID, id domain.WebhookID,
) (domain.Webhook, error) {
	history, err := h.Store.Load(ctx, tenant, domain.WebhookOf(id))
	w := domain.Fold[domain.Webhook](history)
	if err == nil && !w.Exists() {
		err = domain.Refuse(domain.CodeNotFound, "There is no such webhook.")
	}
	return w, err
}

// WebhooksOf lists a tenant's webhooks that are not deleted, newest first. It reads the
// log: there are few.
func (h *Handler) WebhooksOf(ctx context.Context, tenant domain.TenantID) ([]domain.Webhook, error) {
	events, err := h.Store.LoadAll(ctx, tenant, domain.WebhookStream)
	if err != nil {
		return nil, err
	}

	byStream := map[domain.Stream]domain.Webhook{}
	for _, e := range events {
		byStream[e.Stream] = byStream[e.Stream].Evolve(e)
	}
	maps.DeleteFunc(byStream, func(_ domain.Stream, w domain.Webhook) bool { return !w.Exists() || w.Deleted() })

	newest := func(a, b domain.Webhook) int { return bytes.Compare(b.ID.UUID[:], a.ID.UUID[:]) } // UUIDv7
	return slices.SortedFunc(maps.Values(byStream), newest), nil
}

// Client is what a program shows to be given a token.
type Client struct {
	Account domain.ServiceAccountID
	Secret  string
	Scopes  []domain.Scope // those it wants; nil: all it has
}

// ProgramSession is what the token of a program says.
type ProgramSession struct {
	Tenant  domain.TenantID
	Account domain.ServiceAccountID
	Secret  uuid.UUID // the one that it was given for: when that ends, so does the token
	Scopes  []domain.Scope
}

// AdmitProgram proves a client secret. Every failure is the same invalid_credentials
// after the same work, whether or not there is such a service account. Nothing is
// recorded: what the program then does names it. Errors: invalid_credentials,
// insufficient_scope.
func (h *Handler) AdmitProgram(ctx context.Context, c Client) (ProgramSession, error) {
	refused := domain.Refuse(domain.CodeInvalidCredentials,
		"There is no such client, its secret is wrong or has ended, or its municipality is not active.")

	secret, proven, err := h.provenSecret(ctx, c.Account, c.Secret)
	if err != nil {
		return ProgramSession{}, err
	}
	if !proven {
		return ProgramSession{}, refused
	}

	a, open, err := h.programNow(ctx, secret.Tenant, c.Account)
	if err != nil {
		return ProgramSession{}, err
	}
	if !open || !a.Accepts(secret.Secret, h.now()) {
		return ProgramSession{}, refused
	}

	session := ProgramSession{Tenant: a.Tenant, Account: a.ID, Secret: secret.Secret, Scopes: a.Scopes}
	if c.Scopes != nil {
		session.Scopes = slices.DeleteFunc(slices.Clone(a.Scopes), func(s domain.Scope) bool {
			return !slices.Contains(c.Scopes, s)
		})
		if missing := slices.ContainsFunc(c.Scopes, func(s domain.Scope) bool {
			return !slices.Contains(a.Scopes, s)
		}); missing {
			return ProgramSession{}, domain.Refuse(domain.CodeInsufficientScope,
				"This client does not have all of these scopes.")
		}
	}
	return session, nil
}

// AuthenticateProgram checks that the secret of a program's token is good, and the
// municipality active, now. Errors: invalid_token, municipality_inactive.
func (h *Handler) AuthenticateProgram(ctx context.Context, call Call, p ProgramSession) (Call, error) {
	a, open, err := h.programNow(ctx, p.Tenant, p.Account)
	switch {
	case err != nil:
		return Call{}, err
	case !a.Accepts(p.Secret, h.now()):
		return Call{}, domain.Refuse(domain.CodeInvalidToken,
			"The secret that this token was given for has ended, or its service account was revoked.")
	case !open:
		return Call{}, domain.Refuse(domain.CodeMunicipalityInactive, "This municipality is not active.")
	}

	call.Tenant, call.program, call.session = p.Tenant, a, p
	return call, nil
}

// programNow returns a service account, and whether its municipality is active.
func (h *Handler) programNow(
	ctx context.Context, tenant domain.TenantID, id domain.ServiceAccountID,
) (a domain.ServiceAccount, open bool, err error) {
	account, municipality := domain.ServiceAccountOf(id), domain.MunicipalityOf(tenant)
	events, err := h.Store.Load(ctx, tenant, account, municipality)
	if err != nil {
		return domain.ServiceAccount{}, false, err
	}

	m := domain.Fold[domain.Municipality](of(events, municipality))
	return domain.Fold[domain.ServiceAccount](of(events, account)), tenant.IsPlatform() || m.Active, nil
}

// CheckConsent asks "may personal data be processed for this purpose?".
type CheckConsent struct {
	Subject domain.UserID // zero: the caller
	Purpose string        // in any letter case
	At      time.Time     // when it must hold; zero: now
	KnownAt time.Time     // as known when; zero: now
}

// MaxChecked is how many people one bulk check asks about.
const MaxChecked = 1000

// CheckConsents asks the same about many people of the tenant at once.
type CheckConsents struct {
	Subjects []domain.UserID // at most MaxChecked; somebody may be named twice
	Purpose  string          // in any letter case
	At       time.Time       // as in CheckConsent
	KnownAt  time.Time
}

// Check is the answer to CheckConsent.
type Check struct {
	domain.Check

	Position int64 // of the log: the answer rests on everything up to it and on nothing after it
	Known    bool  // whether the tenant has the person

	// Record is the person asked about or, if that record was merged into another, the
	// one that the answer is about.
	Record domain.UserID
}

// CheckConsent answers from the log as of one position: the head is read first, and later
// events are left out. So the answer is that of one moment, although it rests on several
// streams of two tenants. It discloses nothing personal: of somebody whom the tenant does
// not have, the reason is domain.ReasonUnknownSubject. Errors: forbidden,
// unknown_purpose.
func (h *Handler) CheckConsent(ctx context.Context, call Call, c CheckConsent) (Check, error) {
	subject, err := call.Subject(c.Subject)
	if err != nil {
		return Check{}, err
	}
	return h.checkRecord(ctx, call, c, []domain.UserID{subject})
}

// checkRecord answers about the last of some records of one person, each of which was
// merged into the next. A program may still know the person by the first.
func (h *Handler) checkRecord(ctx context.Context, call Call, c CheckConsent, merged []domain.UserID) (Check, error) {
	subject, code := merged[len(merged)-1], domain.CanonicalPurposeCode(c.Purpose)

	head, err := h.Store.Head(ctx)
	if err != nil {
		return Check{}, err
	}

	person, own := domain.UserOf(subject), domain.PurposeOf(call.Tenant, code)
	tail := domain.TailFor(subject, code, c.At, c.KnownAt)
	enough := tail.Enough
	tail.Enough = func(newest []domain.Recorded) bool { return enough(upTo(head, newest)) }

	events, _, err := h.Store.LoadTail(ctx, call.Tenant, tail, person, own)
	if err != nil {
		return Check{}, err
	}
	user := domain.Fold[domain.User](knownBy(c.KnownAt, upTo(head, of(events, person))))
	if user.IsMerged() && !slices.Contains(merged, user.MergedInto) {
		return h.checkRecord(ctx, call, c, append(merged, user.MergedInto))
	}

	q := domain.Inquiry{
		Purpose: code, Clocks: domain.Clocks{At: c.At, KnownAt: c.KnownAt, Now: h.now()},
		Person: upTo(head, of(events, person)), Consents: upTo(head, of(events, tail.Stream)),
		Own: upTo(head, of(events, own)),
	}
	if q.Default, err = h.hidden(ctx, call.Tenant, code, head); err != nil {
		return Check{}, err
	}

	check, err := q.Answer()
	return Check{Check: check, Position: head, Known: len(of(events, person)) > 0, Record: subject}, err
}

// hidden returns the history, up to a position, of the default that a tenant's own
// purpose hides or, if there is none, that is the tenant's.
func (h *Handler) hidden(
	ctx context.Context, tenant domain.TenantID, code string, head int64,
) ([]domain.Recorded, error) {
	platform := domain.PlatformTenant()
	if tenant == platform || code == domain.PlatformRegistrationCode {
		return nil, nil
	}
	shared, err := h.Store.Load(ctx, platform, domain.PurposeOf(platform, code))
	return upTo(head, shared), err
}

// Checked are the answers to CheckConsents, in the order of its subjects.
type Checked struct {
	Position int64
	Checks   []domain.Check

	// Known are the records that the answers are about, of all subjects whom the tenant
	// has, each of them once, in order of their ids: see Check.Record.
	Known []domain.UserID
}

// CheckConsents answers as CheckConsent would for each person, all as of one position and
// in a few queries, however many they are. Errors: validation_failed, forbidden,
// unknown_purpose.
func (h *Handler) CheckConsents(ctx context.Context, call Call, c CheckConsents) (Checked, error) {
	if !call.ActsForOthers() {
		return Checked{}, domain.Refuse(domain.CodeForbidden, "Only staff may act for another person.")
	}
	if len(c.Subjects) > MaxChecked {
		var f domain.Faults
		f.Add("subject_ids", "too_long", fmt.Sprintf("Ask about at most %d people at once.", MaxChecked))
		return Checked{}, f.Err()
	}

	code := domain.CanonicalPurposeCode(c.Purpose)
	head, err := h.Store.Head(ctx)
	if err != nil {
		return Checked{}, err
	}

	q := domain.Inquiry{Purpose: code, Clocks: domain.Clocks{At: c.At, KnownAt: c.KnownAt, Now: h.now()}}
	own, err := h.Store.Load(ctx, call.Tenant, domain.PurposeOf(call.Tenant, code))
	if err != nil {
		return Checked{}, err
	}
	q.Own = upTo(head, own)
	if q.Default, err = h.hidden(ctx, call.Tenant, code, head); err != nil {
		return Checked{}, err
	}
	terms, err := q.Terms()
	if err != nil {
		return Checked{}, err
	}

	return h.checkEach(ctx, call.Tenant, q, terms, head, c.Subjects)
}

// checkEach answers a question about each of some people.
func (h *Handler) checkEach(
	ctx context.Context, tenant domain.TenantID, q domain.Inquiry, terms domain.Terms, head int64,
	subjects []domain.UserID,
) (Checked, error) {
	people := eachOnce(subjects)
	found, records, err := h.loadPeople(ctx, tenant, q, head, people)
	if err != nil {
		return Checked{}, err
	}

	answers := make(map[domain.UserID]domain.Check, len(people))
	checked := Checked{Position: head, Checks: make([]domain.Check, len(subjects))}
	for _, id := range people {
		record := found[id]
		q.Person, q.Consents = record.Person, record.Consents
		answers[id] = q.Under(terms)
		if len(q.Person) > 0 {
			checked.Known = append(checked.Known, records[id])
		}
	}
	checked.Known = eachOnce(checked.Known)

	for i, id := range subjects {
		checked.Checks[i] = answers[id]
	}
	return checked, nil
}

// eachOnce returns ids in order, each once.
func eachOnce(ids []domain.UserID) []domain.UserID {
	compare := func(a, b domain.UserID) int { return bytes.Compare(a.UUID[:], b.UUID[:]) }
	return slices.Compact(slices.SortedFunc(slices.Values(ids), compare))
}

// loadPeople returns what a check of each person rests on, and the record that holds it.
// A program may still know somebody by a record that was merged into another.
func (h *Handler) loadPeople(
	ctx context.Context, tenant domain.TenantID, q domain.Inquiry, head int64, people []domain.UserID,
) (map[domain.UserID]domain.PersonDecisions, map[domain.UserID]domain.UserID, error) {
	found := make(map[domain.UserID]domain.PersonDecisions, len(people))
	into := map[domain.UserID]domain.UserID{}

	for missing := people; len(missing) > 0; {
		more, err := h.Store.LoadPeople(ctx, tenant, missing, q.Purpose, head, func(newest []domain.Recorded) bool {
			return domain.Settles(newest, q.At, q.KnownAt)
		})
		if err != nil {
			return nil, nil, err
		}

		maps.Copy(found, more)
		missing = nil
		for id, of := range more {
			if user := domain.Fold[domain.User](knownBy(q.KnownAt, slices.Clone(of.Person))); user.IsMerged() {
				into[id] = user.MergedInto
				if _, has := found[user.MergedInto]; !has && !slices.Contains(missing, user.MergedInto) {
					missing = append(missing, user.MergedInto)
				}
			}
		}
	}

	checked := make(map[domain.UserID]domain.PersonDecisions, len(people))
	records := make(map[domain.UserID]domain.UserID, len(people))
	for _, id := range people {
		records[id] = goesOn(id, into)
		checked[id] = found[records[id]]
	}
	return checked, records, nil
}

// goesOn returns the record that goes on in place of one. Where what had parted two
// records was disowned, so that each seems merged into the other, it is the last before
// that comes round, as in checkRecord.
func goesOn(id domain.UserID, into map[domain.UserID]domain.UserID) domain.UserID {
	merged := []domain.UserID{id}
	for {
		next, is := into[merged[len(merged)-1]]
		if !is || slices.Contains(merged, next) {
			return merged[len(merged)-1]
		}
		merged = append(merged, next)
	}
}

// Rules returns what a tenant's purposes demand of consents, from the log: those with the
// given codes or, if none is given, all. Others demand nothing.
func (h *Handler) Rules(
	ctx context.Context, tenant domain.TenantID, clocks domain.Clocks, codes ...string,
) (domain.Rules, error) {
	own, shared, err := h.purposesWith(ctx, tenant, codes...)
	return domain.RulesOf(own, shared, clocks), err
}

// purposesWith returns, from the log, a tenant's own purposes and the defaults with the
// given codes or, if none is given, all.
func (h *Handler) purposesWith(
	ctx context.Context, tenant domain.TenantID, codes ...string,
) (own, shared []domain.Purpose, err error) {
	load := func(t domain.TenantID) ([]domain.Purpose, error) {
		if len(codes) == 0 {
			events, err := h.Store.LoadAll(ctx, t, domain.PurposeStream)
			return domain.PurposesIn(events), err
		}

		streams := make([]domain.Stream, len(codes))
		for i, code := range codes {
			streams[i] = domain.PurposeOf(t, code)
		}
		events, err := h.Store.Load(ctx, t, streams...)
		return domain.PurposesIn(events), err
	}

	own, err = load(tenant)
	if err != nil || tenant.IsPlatform() {
		return own, nil, err
	}
	shared, err = load(domain.PlatformTenant())
	return own, shared, err
}

// Standing returns what has become of decisions by now, as known now.
func (h *Handler) Standing(
	ctx context.Context, tenant domain.TenantID, consents ...domain.Consent,
) ([]domain.Decided, error) {
	var codes []string
	for _, c := range consents {
		if !slices.Contains(codes, c.Purpose) {
			codes = append(codes, c.Purpose)
		}
	}
	if len(codes) == 0 {
		return nil, nil
	}

	rules, err := h.Rules(ctx, tenant, domain.Clocks{Now: h.now()}, codes...)
	if err != nil {
		return nil, err
	}
	decided := make([]domain.Decided, len(consents))
	for i, c := range consents {
		decided[i] = rules.Of(c)
	}
	return decided, nil
}

// knownBy leaves out the events recorded after an instant; zero: none.
func knownBy(instant time.Time, events []domain.Recorded) []domain.Recorded {
	return slices.DeleteFunc(events, func(e domain.Recorded) bool {
		return !instant.IsZero() && e.RecordedAt.After(instant)
	})
}

// upTo leaves out the events after a position.
func upTo(position int64, events []domain.Recorded) []domain.Recorded {
	return slices.DeleteFunc(slices.Clone(events), func(e domain.Recorded) bool { return e.Position > position })
}

// Purposes lists the purposes in force for a tenant, by code: the built-in one, the
// tenant's own, and the defaults for which the tenant has none of its own. A tenant's own
// retired purpose hides the default and is not listed.
func (h *Handler) Purposes(ctx context.Context, tenant domain.TenantID) ([]domain.Purpose, error) {
	return h.purposesThat(ctx, tenant, false)
}

// RetiredPurposes lists the purposes of a tenant that are retired: its own, and the
// defaults for which the tenant has none of its own.
func (h *Handler) RetiredPurposes(ctx context.Context, tenant domain.TenantID) ([]domain.Purpose, error) {
	return h.purposesThat(ctx, tenant, true)
}

// purposesThat lists the purposes that are retired, or those that are not.
func (h *Handler) purposesThat(ctx context.Context, tenant domain.TenantID, retired bool) ([]domain.Purpose, error) {
	all := map[string]domain.Purpose{}
	for _, t := range []domain.TenantID{domain.PlatformTenant(), tenant} { // the tenant's own come last and win
		events, err := h.Store.LoadAll(ctx, t, domain.PurposeStream)
		if err != nil {
			return nil, err
		}

		for _, p := range domain.PurposesIn(events) {
			all[p.Code] = p
		}
	}

	builtIn := domain.PlatformRegistration()
	all[builtIn.Code] = builtIn
	maps.DeleteFunc(all, func(_ string, p domain.Purpose) bool { return p.Retired != retired })

	byCode := func(a, b domain.Purpose) int { return cmp.Compare(a.Code, b.Code) }
	return slices.SortedFunc(maps.Values(all), byCode), nil
}

// Purpose returns a purpose with every version of its notice, retired or not: the
// tenant's own or, if it has none, the default. Error: unknown_purpose.
func (h *Handler) Purpose(ctx context.Context, tenant domain.TenantID, code string) (domain.Purpose, error) {
	code = domain.CanonicalPurposeCode(code)
	if code == domain.PlatformRegistrationCode {
		return domain.PlatformRegistration(), nil
	}

	for _, t := range []domain.TenantID{tenant, domain.PlatformTenant()} {
		history, err := h.Store.Load(ctx, t, domain.PurposeOf(t, code))
		if err != nil {
			return domain.Purpose{}, err
		}
		if len(history) > 0 {
			return domain.Fold[domain.Purpose](history), nil
		}
	}
	return domain.Purpose{}, domain.Refuse(domain.CodeUnknownPurpose, "This municipality has never had such a purpose.")
}

// KnownPurpose refuses a code that no purpose of a tenant has ever had; a retired purpose
// is known. Error: unknown_purpose.
func (h *Handler) KnownPurpose(ctx context.Context, tenant domain.TenantID, code string) error {
	code = domain.CanonicalPurposeCode(code)
	p, expects, cached, err := h.purpose(ctx, tenant, code, time.Time{})
	if err == nil && !p.Exists() && cached { // another process may have defined it since
		for _, x := range expects {
			h.purposes.forget(x.Stream)
		}
		p, _, _, err = h.purpose(ctx, tenant, code, time.Time{})
	}

	if err == nil && !p.Exists() {
		err = domain.Refuse(domain.CodeUnknownPurpose, "This municipality has never had such a purpose.")
	}
	return err
}

// Rights returns a person's requests and holds, opened. Error: not_found.
func (h *Handler) Rights(ctx context.Context, tenant domain.TenantID, subject domain.UserID) (domain.Rights, error) {
	if err := h.KnownPerson(ctx, tenant, subject); err != nil {
		return domain.Rights{}, err
	}

	events, err := h.Store.LoadPersonal(ctx, tenant, domain.RightsOf(subject))
	return domain.Fold[domain.Rights](events), err
}

// RightsRequest returns one request; the caller must check whose it is. Error: not_found.
func (h *Handler) RightsRequest(ctx context.Context, call Call, id domain.RequestID) (domain.Request, error) {
	subject, err := h.subjectOfRecord(ctx, call, id.UUID, "There is no such request.")
	if err != nil {
		return domain.Request{}, err
	}

	rights, err := h.Rights(ctx, call.Tenant, subject)
	if err != nil {
		return domain.Request{}, err
	}
	q, found := rights.Request(id)
	if !found { // the id is a hold's
		return domain.Request{}, domain.Refuse(domain.CodeNotFound, "There is no such request.")
	}
	return q, nil
}

// ErasureOf returns the number of the certificate of a person's erasure, if they were
// erased.
func (h *Handler) ErasureOf(
	ctx context.Context, tenant domain.TenantID, id domain.UserID,
) (certificate uuid.UUID, erased bool, err error) {
	events, err := h.Store.Load(ctx, tenant, domain.UserOf(id))
	found := erasureIn(events)
	return found.AppendID, found.Event != nil, err
}

// RetentionHold returns one hold, lifted or not; the caller must check whose it is.
// Error: not_found.
func (h *Handler) RetentionHold(ctx context.Context, call Call, id domain.HoldID) (domain.Hold, error) {
	subject, err := h.subjectOfRecord(ctx, call, id.UUID, "There is no such hold.")
	if err != nil {
		return domain.Hold{}, err
	}

	rights, err := h.Rights(ctx, call.Tenant, subject)
	if err != nil {
		return domain.Hold{}, err
	}
	hold, found := rights.Hold(id)
	if !found { // the id is a request's
		return domain.Hold{}, domain.Refuse(domain.CodeNotFound, "There is no such hold.")
	}
	return hold, nil
}

// Certificate returns the certificate of an erasure. Error: not_found.
func (h *Handler) Certificate(ctx context.Context, id uuid.UUID) (Answer[Certificate], error) {
	events, err := h.Store.FindAppend(ctx, domain.TenantID{}, id)
	return certificateOf(events, err)
}

// TenantOf finds the tenant with a code, in any letter case. Error: unknown_municipality.
func (h *Handler) TenantOf(ctx context.Context, code string) (domain.TenantID, error) {
	id, found, err := h.tenantOf(ctx, code)
	if err == nil && !found {
		err = unknownMunicipality()
	}
	return id, err
}

// CodeOf returns the code of a tenant, which never changes. Error: unknown_municipality.
func (h *Handler) CodeOf(ctx context.Context, tenant domain.TenantID) (string, error) {
	if tenant.IsPlatform() {
		return domain.PlatformCode, nil
	}

	history, err := h.Store.Load(ctx, tenant, domain.MunicipalityOf(tenant))
	if err != nil {
		return "", err
	}

	m := domain.Fold[domain.Municipality](history)
	if !m.Exists() {
		return "", domain.Refuse(domain.CodeUnknownMunicipality, "There is no such municipality.")
	}
	return m.Code, nil
}

// HasAdmin reports whether a tenant has an admin.
func (h *Handler) HasAdmin(ctx context.Context, tenant domain.TenantID) (bool, error) {
	stream := domain.AdminsOf(tenant)
	events, err := h.Store.Load(ctx, tenant, stream)
	if err != nil {
		return false, err
	}
	return len(domain.Fold[domain.Admins](of(events, stream)).Users) > 0, nil
}

// Opens reports whether an address and a password would be let in, and leaves no trace.
// It is for the operator, who has the password.
func (h *Handler) Opens(ctx context.Context, c SignIn) (bool, error) {
	account, err := h.account(ctx, c)
	if err != nil {
		return false, err
	}

	ok, err := h.hasher.matches(ctx, c.Password, account.Verifier)
	if err != nil || !ok {
		return false, err
	}

	user := domain.UserOf(account.User)
	events, err := h.Store.Load(ctx, account.Tenant, user)
	return domain.Fold[domain.User](of(events, user)).Active, err
}

// Staying returns the consents that stay in force although the person's account was
// closed: those given on paper, for example. withdrawn is the answer of the withdrawal
// that closed it; the consents are as of the end of its append. open reports that the
// withdrawal closed no account.
func (h *Handler) Staying(
	ctx context.Context, tenant domain.TenantID, withdrawn Answer[domain.Decided],
) (stay []domain.Decided, open bool, err error) {
	if withdrawn.Value.Purpose != domain.PlatformRegistrationCode {
		return nil, true, nil
	}

	history, err := h.Store.Load(ctx, tenant, domain.ConsentsOf(withdrawn.Value.Subject))
	if err != nil {
		return nil, false, err
	}

	end := slices.IndexFunc(history, func(r domain.Recorded) bool { return r.Position > withdrawn.Position })
	for end > 0 && end < len(history) && history[end].AppendID == history[end-1].AppendID {
		end++
	}
	if end < 0 {
		end = len(history)
	}

	then := domain.ConsentsAt(history[:end], time.Time{}, time.Time{})
	_, open = then.InForce(domain.PlatformRegistrationCode)
	if open {
		return nil, true, nil
	}

	all, err := h.Standing(ctx, tenant, then.AllInForce()...)
	return slices.DeleteFunc(all, func(d domain.Decided) bool { return !d.InForce }), false, err
}

// PersonByEmail returns the person of a tenant who has an e-mail address. Error:
// not_found.
func (h *Handler) PersonByEmail(ctx context.Context, tenant domain.TenantID, email string) (domain.UserID, error) {
	for _, spelling := range domain.EmailSpellings(email) {
		holder, held, err := h.Store.Holder(ctx, domain.Claim{Tenant: tenant, Kind: domain.EmailClaim, Value: spelling})
		if err != nil {
			return domain.UserID{}, err
		}
		if held {
			return domain.UserID{UUID: holder}, nil
		}
	}
	return domain.UserID{}, domain.Refuse(domain.CodeNotFound, "There is no such person.")
}

// ActiveTenant finds the municipality with a code, in any letter case. Errors:
// unknown_municipality, municipality_inactive.
func (h *Handler) ActiveTenant(ctx context.Context, code string) (domain.TenantID, error) {
	m, err := h.openMunicipality(ctx, code)
	return m.ID, err
}
