package http_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/commands/storetest"
	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

var _ commands.Store = (*fakeStore)(nil)

// fakeStore is a log in memory. It keeps the contract of commands.Store: versions,
// expectations, claims, sessions, repeated appends, separate tenants, withheld personal
// data.
type fakeStore struct {
	now   func() time.Time
	logID uuid.UUID

	mu       sync.Mutex
	log      []stored
	claims   map[domain.Claim]uuid.UUID
	accounts map[domain.UserID]fakeAccount
	keys     map[uuid.UUID]bool
	sessions map[uuid.UUID]fakeSession
	codes    map[fakeCodeKey]fakeCode
	secrets  map[domain.ServiceAccountID][]domain.ClientDigest
	// failing, if set, is the error of every method, and full that of Append.
	failing, full error

	authenticated int // how often somebody's rights were read
}

// stored is an event in its encoded form; Event is nil.
type stored struct {
	domain.Recorded
	eventType       string
	payload, sealed []byte
	erased          bool
}

type fakeAccount struct {
	domain.Account
	email string
	codes domain.Authenticator
}

type fakeCodeKey struct {
	user domain.UserID
	kind domain.CodeKind
}

type fakeCode struct {
	domain.OneTimeCode
	firstHalf [32]byte
}

type fakeSession struct {
	tenant  domain.TenantID
	user    domain.UserID
	token   [32]byte
	expires time.Time

	replaced   [32]byte
	replacedAt time.Time
}

func newFakeStore(now func() time.Time) *fakeStore {
	return &fakeStore{
		now: now, logID: uuid.New(),
		claims: map[domain.Claim]uuid.UUID{}, accounts: map[domain.UserID]fakeAccount{},
		keys: map[uuid.UUID]bool{}, sessions: map[uuid.UUID]fakeSession{}, codes: map[fakeCodeKey]fakeCode{},
		secrets: map[domain.ServiceAccountID][]domain.ClientDigest{},
	}
}

func TestTheLogInMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Exercise(t, func(*testing.T) commands.Store { return newFakeStore(time.Now) })
}

func (s *fakeStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = err
}

// failure returns what fail set.
func (s *fakeStore) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failing
}

func (s *fakeStore) failAppends(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = err
}

func (s *fakeStore) Load(
	_ context.Context, tenant domain.TenantID, streams ...domain.Stream,
) ([]domain.Recorded, error) {
	return s.read(tenant, false, func(e stored) bool { return slices.Contains(streams, e.Stream) })
}

func (s *fakeStore) LoadTail(
	ctx context.Context, tenant domain.TenantID, tail domain.Tail, beside ...domain.Stream,
) ([]domain.Recorded, int, error) {
	events, err := s.Load(ctx, tenant, append(beside, tail.Stream)...)

	version := 0
	for _, e := range events {
		if e.Stream == tail.Stream {
			version = e.Version
		}
	}
	return events, version, err
}

func isAbout(e domain.Event, purpose string) bool {
	if annulment, is := e.(*domain.ConsentAnnulled); is {
		return annulment.Purpose == purpose
	}
	return domain.PurposeNamed(e) == purpose
}

func isAboutMerges(e domain.Event) bool {
	switch e.(type) {
	case *domain.ResidentMerged, *domain.ResidentUnmerged:
		return true
	default:
		return false
	}
}

func (s *fakeStore) LoadPeople(
	ctx context.Context, tenant domain.TenantID, people []domain.UserID, purpose string, upTo int64,
	_ func([]domain.Recorded) bool,
) (map[domain.UserID]domain.PersonDecisions, error) {
	found := map[domain.UserID]domain.PersonDecisions{}
	for _, id := range people {
		events, err := s.Load(ctx, tenant, domain.UserOf(id), domain.ConsentsOf(id))
		if err != nil {
			return nil, err
		}

		var of domain.PersonDecisions
		for _, e := range events {
			switch {
			case e.Position > upTo:
			case e.Stream == domain.UserOf(id):
				if e.Version == 1 || isAboutMerges(e.Event) {
					of.Person = append(of.Person, e)
				}
			case isAbout(e.Event, purpose):
				of.Consents = append(of.Consents, e)
			}
		}
		if len(of.Person) > 0 {
			found[id] = of
		}
	}
	return found, nil
}

func (s *fakeStore) LoadPersonal(
	_ context.Context, tenant domain.TenantID, streams ...domain.Stream,
) ([]domain.Recorded, error) {
	return s.read(tenant, true, func(e stored) bool { return slices.Contains(streams, e.Stream) })
}

func (s *fakeStore) LoadSession(
	ctx context.Context, tenant domain.TenantID, user domain.UserID, session uuid.UUID, streams ...domain.Stream,
) ([]domain.Recorded, bool, error) {
	events, err := s.Load(ctx, tenant, streams...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.authenticated++
	f, ok := s.sessions[session]
	return events, ok && f.user == user && s.now().Before(f.expires), err
}

// authentications counts how often somebody's rights were read.
func (s *fakeStore) authentications() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.authenticated
}

// endSessions ends everybody's session at once.
func (s *fakeStore) endSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

func (s *fakeStore) SessionExpires(
	_ context.Context, _ domain.TenantID, session uuid.UUID,
) (expires time.Time, open bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.sessions[session]
	return f.expires, ok && s.now().Before(f.expires), s.failing
}

func (s *fakeStore) LoadAll(
	_ context.Context, tenant domain.TenantID, kind domain.StreamType,
) ([]domain.Recorded, error) {
	return s.read(tenant, false, func(e stored) bool { return e.Stream.Type == kind })
}

func (s *fakeStore) EverHeld(
	ctx context.Context, tenant domain.TenantID, roles ...domain.Role,
) (found []domain.UserID, err error) {
	events, err := s.LoadAll(ctx, tenant, domain.UserStream)
	for _, r := range events {
		var role domain.Role
		switch e := r.Event.(type) {
		case *domain.UserRegistered:
			role = e.Role
		case *domain.ResidentRecorded:
			role = domain.Citizen
		case *domain.UserRoleChanged:
			role = e.Role.New
		}
		if user := (domain.UserID{UUID: r.Stream.ID}); slices.Contains(roles, role) && !slices.Contains(found, user) {
			found = append(found, user)
		}
	}

	return found, err
}

func (s *fakeStore) read(tenant domain.TenantID, personal bool, wanted func(stored) bool) ([]domain.Recorded, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing != nil {
		return nil, s.failing
	}
	if tenant.IsZero() {
		return nil, errors.New("query without a tenant")
	}

	var found []domain.Recorded
	for _, e := range s.log {
		if e.Tenant == tenant && wanted(e) {
			found = append(found, e.decode(personal))
		}
	}

	return found, nil
}

func (e stored) decode(personal bool) domain.Recorded {
	event, err := domain.Decode(e.eventType, e.payload, func() ([]byte, domain.PersonalState, error) {
		switch {
		case e.sealed == nil:
			return nil, domain.Absent, nil
		case e.erased:
			return nil, domain.Erased, nil
		case !personal:
			return nil, domain.Withheld, nil
		default:
			return e.sealed, domain.Open, nil
		}
	})
	if err != nil {
		panic(err)
	}

	r := e.Recorded
	r.Event = event
	return r
}

func (s *fakeStore) StreamOf(_ context.Context, tenant domain.TenantID, record uuid.UUID) (domain.Stream, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	for _, e := range s.log {
		if e.Tenant == tenant && e.Record == record {
			return e.Stream, true, s.failing
		}
	}
	return domain.Stream{}, false, s.failing
}

func (s *fakeStore) FindAppend(_ context.Context, tenant domain.TenantID, id uuid.UUID) ([]domain.Recorded, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	var found []domain.Recorded
	for _, e := range s.log {
		if e.AppendID == id && (tenant.IsZero() || e.Tenant == tenant) {
			found = append(found, e.decode(false))
		}
	}
	return found, s.failing
}

func (s *fakeStore) Append(_ context.Context, a domain.Append) (domain.Appended, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing != nil {
		return domain.Appended{}, s.failing
	}
	if s.full != nil {
		return domain.Appended{}, s.full
	}
	if a.ID == uuid.Nil || a.Tenant.IsZero() {
		return domain.Appended{}, errors.New("append without an id or a tenant")
	}

	if found := s.appended(a.ID); len(found) > 0 {
		return domain.Appended{Events: found, Repeat: true}, nil
	}
	if err := s.check(a); err != nil {
		return domain.Appended{}, err
	}

	claims, accounts, sessions := maps.Clone(s.claims), maps.Clone(s.accounts), maps.Clone(s.sessions)
	codes := maps.Clone(s.codes)
	if err := s.side(a); err != nil {
		s.claims, s.accounts, s.sessions, s.codes = claims, accounts, sessions, codes
		return domain.Appended{}, err
	}

	var done domain.Appended
	for _, w := range a.Writes {
		for _, e := range w.Events {
			r := s.record(a, w.Stream, e, len(done.Events)+1)
			done.Events = append(done.Events, r)
		}
	}

	return done, nil
}

func (s *fakeStore) appended(id uuid.UUID) []domain.Recorded {
	var found []domain.Recorded
	for _, e := range s.log {
		if e.AppendID == id {
			found = append(found, e.decode(false))
		}
	}
	return found
}

func (s *fakeStore) record(a domain.Append, stream domain.Stream, event domain.Event, ordinal int) domain.Recorded {
	payload, sealed, err := domain.Encode(event)
	if err != nil {
		panic(err)
	}

	now := s.now()
	r := domain.Recorded{
		Position: int64(len(s.log) + 1), Tenant: a.Tenant, Stream: stream, Version: s.version(a.Tenant, stream) + 1,
		EventID: uuid.Must(uuid.NewV7()), AppendID: a.ID, Ordinal: ordinal, Subject: domain.SubjectOf(event, stream),
		Record: domain.RecordOf(event, stream), Actor: a.Actor, Metadata: a.Metadata, Origin: domain.Known(a.Origin),
		EffectiveAt: domain.EffectiveOf(event), RecordedAt: now,
	}

	if r.EffectiveAt.IsZero() {
		r.EffectiveAt = now
	}

	e := stored{Recorded: r, eventType: event.EventType(), payload: payload, sealed: sealed}
	s.log = append(s.log, e)
	return e.decode(true)
}

func (s *fakeStore) version(tenant domain.TenantID, stream domain.Stream) int {
	n := 0
	for _, e := range s.log {
		if e.Tenant == tenant && e.Stream == stream {
			n++
		}
	}
	return n
}

func (s *fakeStore) check(a domain.Append) error {
	for _, w := range a.Writes {
		if is := s.version(a.Tenant, w.Stream); w.Expected != domain.AnyVersion && w.Expected != is {
			return &domain.ConflictError{Stream: w.Stream, Expected: w.Expected, Actual: is}
		}
		for _, e := range w.Events {
			_, sealed, err := domain.Encode(e)
			if usable, known := s.keys[domain.SubjectOf(e, w.Stream).UUID]; sealed != nil && known && !usable {
				return domain.Refuse(domain.CodeSubjectErased, "This person's data was erased.")
			}
			if err != nil {
				return err
			}
		}
	}

	for _, x := range a.Expects {
		if is := s.version(x.Tenant, x.Stream); x.Version != is {
			return &domain.ConflictError{Stream: x.Stream, Expected: x.Version, Actual: is}
		}
	}

	return nil
}

func (s *fakeStore) side(a domain.Append) error {
	for _, side := range a.Side {
		switch w := side.(type) {
		case domain.TakeClaim:
			if holder, held := s.claims[w.Claim]; held && holder != w.Holder {
				return &domain.ClaimTakenError{Kind: w.Claim.Kind}
			}
			s.claims[w.Claim] = w.Holder
		case domain.ReleaseClaim:
			if s.claims[w.Claim] == w.Holder {
				delete(s.claims, w.Claim)
			}

		case domain.SetCredential:
			c := s.accounts[w.User]
			c.Tenant, c.User = a.Tenant, w.User
			if w.Email != "" {
				c.email = w.Email
			}
			if w.Verifier != "" {
				c.Verifier = w.Verifier
			}
			s.accounts[w.User] = c
			s.forgetCodes(w.User)

		case domain.CreateSubjectKey:
			if _, made := s.keys[w.Subject.UUID]; made {
				return &domain.KeyExistsError{}
			}
			s.keys[w.Subject.UUID] = true
		case domain.DestroySubjectKey:
			s.keys[w.Subject.UUID] = false
			for i := range s.log {
				if s.log[i].Subject == w.Subject {
					s.log[i].erased = true
				}
			}
		case domain.DeleteCredential:
			delete(s.accounts, w.User)
			s.forgetCodes(w.User)

		case domain.OfferSecondFactor, domain.SetSecondFactor, domain.SpendCode, domain.CountWrongCode,
			domain.RemoveSecondFactor:
			if err := s.secondFactor(w); err != nil {
				return err
			}

		case domain.IssueOneTimeCode, domain.SpendOneTimeCode, domain.CountWrongTry:
			if err := s.oneTimeCode(a.Tenant, w); err != nil {
				return err
			}

		case domain.AddClientSecret:
			s.secrets[w.Account] = append(s.secrets[w.Account],
				domain.ClientDigest{Tenant: a.Tenant, Secret: w.Secret, Digest: w.Digest})
		case domain.DropClientSecret:
			kept := slices.Clone(s.secrets[w.Account])
			s.secrets[w.Account] = slices.DeleteFunc(kept, func(d domain.ClientDigest) bool {
				return d.Secret == w.Secret
			})

		case domain.DemandNoActs:
			for _, e := range s.log {
				if e.Actor == w.User && domain.InOffice(e.decode(false)) {
					return &domain.StaffRecordError{}
				}
			}
		case domain.CreateTenantKey:
			s.keys[w.Tenant.UUID] = true

		case domain.StartSession:
			s.sessions[w.Session] = fakeSession{tenant: a.Tenant, user: w.User, token: w.Token, expires: w.ExpiresAt}
		case domain.RotateSession:
			f, ok := s.sessions[w.Session]
			again := f.token == w.To && f.replaced == w.From && s.now().Sub(f.replacedAt).Abs() <= 10*time.Second
			if !ok || f.token != w.From && !again {
				return &domain.SessionStaleError{}
			}
			if !again {
				s.sessions[w.Session] = fakeSession{f.tenant, f.user, w.To, w.ExpiresAt, w.From, s.now()}
			}

		case domain.EndSession:
			if _, ok := s.sessions[w.Session]; !ok {
				return &domain.SessionStaleError{}
			}
			delete(s.sessions, w.Session)
		case domain.EndAllSessions:
			maps.DeleteFunc(s.sessions, func(_ uuid.UUID, f fakeSession) bool { return f.tenant == a.Tenant })
		case domain.EndSessions:
			maps.DeleteFunc(s.sessions, func(id uuid.UUID, f fakeSession) bool {
				return f.user == w.User && id != w.Except
			})

		default:
			return errors.New("unexpected side write")
		}
	}
	return nil
}

// secondFactor applies a side write about a second factor.
func (s *fakeStore) secondFactor(side domain.SideWrite) error {
	change := func(user domain.UserID, fits func(domain.Authenticator) bool, to func(*domain.Authenticator)) error {
		account := s.accounts[user]
		if !fits(account.codes) {
			return &domain.CodeStaleError{}
		}
		to(&account.codes)
		s.accounts[user] = account
		return nil
	}

	always := func(domain.Authenticator) bool { return true }
	at := func(factor uuid.UUID, seen domain.CodesSeen) func(domain.Authenticator) bool {
		return func(a domain.Authenticator) bool {
			return a.Factor == factor && a.Step == seen.Step && a.WrongCodes == seen.Wrong
		}
	}

	switch w := side.(type) {
	case domain.OfferSecondFactor:
		return change(w.User, always, func(a *domain.Authenticator) {
			a.Offered, a.OfferedSecret, a.OfferedUntil = w.Factor, w.Secret, w.ExpiresAt
		})
	case domain.SetSecondFactor:
		offered := func(a domain.Authenticator) bool { return a.Offered == w.Factor }
		return change(w.User, offered, func(a *domain.Authenticator) {
			*a = domain.Authenticator{Factor: a.Offered, Secret: a.OfferedSecret, Step: w.Step}
		})
	case domain.SpendCode:
		unused := func(a domain.Authenticator) bool { return at(w.Factor, w.Seen)(a) && a.Step < w.Step }
		return change(w.User, unused, func(a *domain.Authenticator) {
			a.Step, a.WrongCodes, a.WrongAt = w.Step, 0, time.Time{}
		})
	case domain.CountWrongCode:
		return change(w.User, at(w.Factor, w.Seen), func(a *domain.Authenticator) {
			a.WrongCodes, a.WrongAt = a.WrongCodes+1, w.At
		})
	case domain.RemoveSecondFactor:
		return change(w.User, always, func(a *domain.Authenticator) { *a = domain.Authenticator{} })
	default:
		return errors.New("not a side write about a second factor")
	}
}

// oneTimeCode applies a side write about a one-time code.
func (s *fakeStore) oneTimeCode(tenant domain.TenantID, side domain.SideWrite) error {
	at := func(user domain.UserID, kind domain.CodeKind, code uuid.UUID, wrong int) (fakeCodeKey, error) {
		key := fakeCodeKey{user, kind}
		if c := s.codes[key]; c.Tenant != tenant || c.ID != code || c.Wrong != wrong {
			return key, &domain.CodeStaleError{}
		}
		return key, nil
	}

	switch w := side.(type) {
	case domain.IssueOneTimeCode:
		key := fakeCodeKey{w.User, w.Kind}
		for other, c := range s.codes {
			if other != key && c.firstHalf == w.FirstHalf {
				return &domain.CodeStaleError{}
			}
		}
		s.codes[key] = fakeCode{domain.OneTimeCode{
			ID: w.Code, Tenant: tenant, User: w.User, Kind: w.Kind, Digest: w.Digest, ExpiresAt: w.ExpiresAt,
		}, w.FirstHalf}
		return nil

	case domain.SpendOneTimeCode:
		key, err := at(w.User, w.Kind, w.Code, w.Wrong)
		if err == nil {
			delete(s.codes, key)
		}
		return err
	case domain.CountWrongTry:
		key, err := at(w.User, w.Kind, w.Code, w.Wrong)
		if err == nil {
			c := s.codes[key]
			c.Wrong++
			s.codes[key] = c
		}
		return err
	default:
		return errors.New("not a side write about a one-time code")
	}
}

func (s *fakeStore) forgetCodes(user domain.UserID) {
	maps.DeleteFunc(s.codes, func(key fakeCodeKey, _ fakeCode) bool { return key.user == user })
}

func (s *fakeStore) OneTimeCode(_ context.Context, firstHalf [32]byte) (domain.OneTimeCode, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.codes {
		if c.firstHalf == firstHalf {
			return c.OneTimeCode, s.failing
		}
	}
	return domain.OneTimeCode{}, s.failing
}

func (s *fakeStore) Authenticator(
	_ context.Context, tenant domain.TenantID, user domain.UserID,
) (domain.Authenticator, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[user]; a.Tenant == tenant {
		return a.codes, s.failing
	}
	return domain.Authenticator{}, s.failing
}

func (s *fakeStore) Holder(_ context.Context, claim domain.Claim) (uuid.UUID, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	holder, held := s.claims[claim]
	return holder, held, s.failing
}

func (s *fakeStore) Accounts(_ context.Context, email string, tenant domain.TenantID) ([]domain.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	var found []domain.Account
	for _, a := range s.accounts {
		if a.email == email && (tenant.IsZero() || a.Tenant == tenant) && len(found) < 2 {
			found = append(found, a.Account)
		}
	}
	return found, s.failing
}

func (s *fakeStore) Verifier(_ context.Context, tenant domain.TenantID, user domain.UserID) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[user]; a.Tenant == tenant {
		return a.Verifier, s.failing
	}
	return "", s.failing
}

func (s *fakeStore) ClientSecrets(
	_ context.Context, account domain.ServiceAccountID,
) ([]domain.ClientDigest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.secrets[account]), s.failing
}

func (s *fakeStore) Digest(parts ...string) [32]byte {
	return sha256.Sum256([]byte(strings.Join(parts, "\x00")))
}

func (s *fakeStore) Log(context.Context, time.Duration) (uuid.UUID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logID, s.failing
}

func (s *fakeStore) Head(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(len(s.log)), s.failing
}

// events returns the whole log.
func (s *fakeStore) events() []domain.Recorded {
	s.mu.Lock()
	defer s.mu.Unlock()

	all := make([]domain.Recorded, len(s.log))
	for i, e := range s.log {
		all[i] = e.decode(true)
	}
	return all
}

// fakeQueries folds the log at each query, as read tables that are never behind. Only
// WaitFor tells of a lag, beyond the position reached.
type fakeQueries struct {
	store *fakeStore
	mu    sync.Mutex
	// reached is the position that WaitFor reports as reached; 0 is the head.
	reached int64
	waited  []string
}

func (q *fakeQueries) Municipality(ctx context.Context, idOrCode string) (domain.Municipality, error) {
	list, err := q.Municipalities(ctx, projections.MunicipalityFilter{}, projections.Page{Limit: 1000})
	if err != nil {
		return domain.Municipality{}, err
	}
	for _, m := range list.Items {
		if m.ID.String() == idOrCode || m.Code == strings.ToUpper(idOrCode) {
			return m, nil
		}
	}
	return domain.Municipality{}, domain.Refuse(domain.CodeNotFound, "There is no such municipality.")
}

func (q *fakeQueries) Municipalities(
	_ context.Context, f projections.MunicipalityFilter, page projections.Page,
) (projections.Listing[domain.Municipality], error) {
	var all []domain.Municipality
	byID := map[domain.TenantID]domain.Municipality{}
	for _, e := range q.store.events() {
		if e.Stream.Type == domain.MunicipalityStream {
			byID[e.Tenant] = byID[e.Tenant].Evolve(e)
		}
	}

	for _, m := range byID {
		if (f.Active == nil || *f.Active == m.Active) && (f.Province == "" || f.Province == m.Province) &&
			(f.Category == "" || f.Category == m.Category) &&
			strings.Contains(strings.ToLower(m.Name), strings.ToLower(f.Q)) {
			all = append(all, m)
		}
	}

	slices.SortFunc(all, func(a, b domain.Municipality) int { return strings.Compare(b.ID.String(), a.ID.String()) })
	return cut(all, page, func(m domain.Municipality) string { return m.ID.String() }), q.store.failing
}

func (q *fakeQueries) User(ctx context.Context, tenant domain.TenantID, id domain.UserID) (domain.User, error) {
	list, err := q.Users(ctx, tenant, projections.UserFilter{}, projections.Page{Limit: 1000})
	if err != nil {
		return domain.User{}, err
	}
	for _, u := range list.Items {
		if u.ID == id {
			return u, nil
		}
	}
	return domain.User{}, domain.Refuse(domain.CodeNotFound, "There is no such user.")
}

func (q *fakeQueries) Users(
	_ context.Context, tenant domain.TenantID, f projections.UserFilter, _ projections.Page,
) (projections.Listing[domain.User], error) {
	byID := map[domain.UserID]domain.User{}
	for _, e := range q.store.events() {
		if e.Tenant == tenant && e.Stream.Type == domain.UserStream {
			id := domain.UserID{UUID: e.Stream.ID}
			byID[id] = byID[id].Evolve(e)
		}
	}

	var all []domain.User
	for _, u := range byID {
		if (f.ID.IsZero() || f.ID == u.ID) && (f.Account == nil || *f.Account == u.Account) &&
			(f.Role == "" || f.Role == u.Role) && (f.Email == "" || strings.EqualFold(f.Email, u.Email)) &&
			(f.Phone == "" || f.Phone == u.Phone) {
			all = append(all, u)
		}
	}

	slices.SortFunc(all, func(a, b domain.User) int { return strings.Compare(b.ID.String(), a.ID.String()) })
	return projections.Listing[domain.User]{Items: all}, nil
}

func (q *fakeQueries) all(tenant domain.TenantID) []domain.Consent {
	subjects := map[domain.UserID][]domain.Recorded{}
	for _, e := range q.store.events() {
		if e.Tenant == tenant && e.Stream.Type == domain.ConsentStream {
			subjects[e.Subject] = append(subjects[e.Subject], e)
		}
	}

	var all []domain.Consent
	for _, history := range subjects {
		all = append(all, domain.ConsentsAt(history, time.Time{}, time.Time{}).Records()...)
	}

	slices.SortFunc(all, func(a, b domain.Consent) int { return strings.Compare(b.ID.String(), a.ID.String()) })
	return all
}

func (q *fakeQueries) Consent(
	_ context.Context, tenant domain.TenantID, subject domain.UserID, id domain.ConsentID,
) (domain.Consent, error) {
	for _, c := range q.all(tenant) {
		if c.ID == id && (subject.IsZero() || subject == c.Subject) {
			return c, nil
		}
	}
	return domain.Consent{}, domain.Refuse(domain.CodeNotFound, "There is no such consent.")
}

func (q *fakeQueries) Consents(
	_ context.Context, tenant domain.TenantID, subject domain.UserID, page projections.Page,
) (projections.Listing[domain.Consent], error) {
	mine := slices.DeleteFunc(q.all(tenant), func(c domain.Consent) bool { return c.Subject != subject })
	return cut(mine, page, func(c domain.Consent) string { return c.ID.String() }), q.store.failing
}

func (q *fakeQueries) Impact(
	context.Context, domain.TenantID, projections.ImpactFilter, projections.Page,
) (projections.Impact, error) {
	return projections.Impact{}, q.store.failing
}

func cut[T any](items []T, page projections.Page, cursor func(T) string) projections.Listing[T] {
	if page.After != "" {
		at := slices.IndexFunc(items, func(item T) bool { return cursor(item) == page.After })
		items = items[at+1:]
	}
	if len(items) <= page.Limit {
		return projections.Listing[T]{Items: items}
	}
	return projections.Listing[T]{Items: items[:page.Limit], Next: cursor(items[page.Limit-1])}
}

func (q *fakeQueries) WaitFor(_ context.Context, projection string, position int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waited = append(q.waited, projection)
	if q.reached > 0 && position > q.reached {
		return domain.Refuse(domain.CodeReadModelBehind, "The read table has not reached position %d yet.", position)
	}
	return nil
}

// nilQueries panics on every query.
type nilQueries struct{ apphttp.Queries }

func (nilQueries) Municipalities(
	context.Context, projections.MunicipalityFilter, projections.Page,
) (projections.Listing[domain.Municipality], error) {
	panic("deliberate")
}

// fakeReports reads the log in memory, as far as tests of permissions and shapes need it.
// The content of reports is tested on Postgres.
type fakeReports struct {
	store   *fakeStore
	between atomic.Pointer[func() error]
	counts  atomic.Pointer[domain.Error] // why Activity has no figures; nil: it has
}

// before sets a function to call before each consent of a replay, or none if it is nil.
func (r *fakeReports) before(each func() error) {
	if each == nil {
		r.between.Store(nil)
		return
	}
	r.between.Store(&each)
}

func (r *fakeReports) History(
	_ context.Context, tenant domain.TenantID, of reports.HistoryQuery, _ projections.Page,
) (history projections.Listing[reports.HistoryEntry], err error) {
	for _, e := range r.store.events() {
		if e.Tenant == tenant && e.Stream == domain.ConsentsOf(of.Subject) {
			history.Items = append(history.Items, reports.HistoryEntry{
				Position: e.Position, EventID: e.EventID, EventType: e.Event.EventType(), Actor: e.Actor,
			})
		}
	}
	return history, nil
}

func (r *fakeReports) Resolve(
	ctx context.Context, _ domain.TenantID, at, _ time.Time, _ int64,
) (reports.Moment, error) {
	head, err := r.store.Head(ctx)
	return reports.Moment{Position: head, At: at}, err
}

func (r *fakeReports) Replay(
	_ context.Context, tenant domain.TenantID, q reports.ReplayQuery, each func(domain.Decided) error,
) error {
	for _, c := range (&fakeQueries{store: r.store}).all(tenant) {
		if !q.Subject.IsZero() && c.Subject != q.Subject {
			continue
		}
		if between := r.between.Load(); between != nil {
			if err := (*between)(); err != nil {
				return err
			}
		}
		rules := domain.RulesOf(nil, nil, domain.Clocks{Now: r.store.now()})
		if err := each(rules.Of(c)); err != nil {
			return err
		}
	}
	return nil
}

func (r *fakeReports) ReplayPage(
	ctx context.Context, tenant domain.TenantID, q reports.ReplayQuery, page projections.Page,
) (reports.ReplayPage, error) {
	var rows []domain.Decided
	err := r.Replay(ctx, tenant, q, func(row domain.Decided) error {
		rows = append(rows, row)
		return nil
	})
	list := cut(rows, page, func(d domain.Decided) string { return d.ID.String() })
	return reports.ReplayPage{Listing: list, Moment: reports.Moment{Position: q.Position, At: q.At}}, err
}

func (r *fakeReports) Summary(
	ctx context.Context, tenant domain.TenantID, q reports.ReplayQuery, by []projections.Dimension,
) ([]reports.Counted, error) {
	counts := map[projections.ConsentGroup]int64{}
	err := r.Replay(ctx, tenant, q, func(row domain.Decided) error {
		counts[projections.GroupOf(row, by)]++
		return nil
	})

	var counted []reports.Counted
	for group, n := range counts {
		counted = append(counted, reports.Counted{ConsentGroup: group, Count: n})
	}
	return counted, err
}

func (r *fakeReports) Exposure(
	context.Context, domain.TenantID, reports.ExposureFilter, projections.Page,
) (projections.Listing[reports.ExposureEntry], error) {
	return projections.Listing[reports.ExposureEntry]{}, nil
}

func (r *fakeReports) Reads(
	context.Context, domain.TenantID, domain.UserID, reports.Period, projections.Page,
) (projections.Listing[reports.ExposureEntry], error) {
	return projections.Listing[reports.ExposureEntry]{}, nil
}

func (r *fakeReports) Activity(
	_ context.Context, _ domain.TenantID, days int, now time.Time,
) (reports.Activity, error) {
	if refusal := r.counts.Load(); refusal != nil {
		return reports.Activity{}, refusal
	}
	today := domain.DateOf(now)
	return reports.Activity{Position: int64(len(r.store.events())), From: today.AddDays(1 - days), To: today}, nil
}

func (r *fakeReports) Audit(
	context.Context, reports.AuditScope, reports.AuditFilter, projections.Page,
) (projections.Listing[reports.AuditEntry], error) {
	return projections.Listing[reports.AuditEntry]{}, nil
}

func (r *fakeReports) Dossier(
	_ context.Context, tenant domain.TenantID, person domain.UserID,
) (reports.Dossier, error) {
	d := reports.Dossier{Position: int64(len(r.store.events()))}
	for _, e := range r.store.events() {
		if e.Tenant == tenant && e.Stream == domain.UserOf(person) {
			d.Profile = d.Profile.Evolve(e)
		}
	}
	return d, nil
}

func (r *fakeReports) Requests(
	context.Context, domain.TenantID, domain.RequestStatus, projections.Page,
) (projections.Listing[domain.Request], error) {
	return projections.Listing[domain.Request]{}, nil
}

func (r *fakeReports) Holds(
	context.Context, domain.TenantID, bool, projections.Page,
) (projections.Listing[domain.Hold], error) {
	return projections.Listing[domain.Hold]{}, nil
}

func (r *fakeReports) Certificates(
	context.Context, reports.AuditScope, projections.Page,
) (projections.Listing[uuid.UUID], error) {
	return projections.Listing[uuid.UUID]{}, nil
}
