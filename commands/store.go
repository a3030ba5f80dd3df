package commands

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Store is the log as commands need it. Package eventstore implements it; neither package
// imports the other. Package storetest holds the contract of every implementation, as
// tests.
//
// Every method sees only the tenant it is asked about. A database that cannot be reached
// is a *domain.Error with CodeUnavailable.
type Store interface {
	// Load returns all events of some streams of one tenant, from one snapshot, in order
	// of position, with personal parts withheld.
	Load(ctx context.Context, tenant domain.TenantID, streams ...domain.Stream) ([]domain.Recorded, error)
	// LoadTail returns the newest events of one stream, as far back as the tail needs,
	// and all events of the streams in beside. It reads one snapshot if the newest few
	// events suffice, and never an event newer than the stream's version, which it
	// returns.
	LoadTail(ctx context.Context, tenant domain.TenantID, tail domain.Tail, beside ...domain.Stream,
	) (events []domain.Recorded, version int, err error)
	// LoadPeople returns, for each of some people whom a tenant has, the first event of
	// their record and those that merged it into another or undid that, and their newest
	// decisions about a purpose, as far back as enough says, with what was annulled of
	// them; all of them up to a position. It takes a few queries, however many people
	// these are.
	LoadPeople(ctx context.Context, tenant domain.TenantID, people []domain.UserID, purpose string, upTo int64,
		enough func(newest []domain.Recorded) bool) (map[domain.UserID]domain.PersonDecisions, error)
	// LoadPersonal is Load with personal parts opened or marked as erased.
	LoadPersonal(ctx context.Context, tenant domain.TenantID, streams ...domain.Stream) ([]domain.Recorded, error)
	// LoadSession is Load, and also reports, from the same snapshot, whether a session is
	// open and belongs to this user.
	LoadSession(ctx context.Context, tenant domain.TenantID, user domain.UserID, session uuid.UUID,
		streams ...domain.Stream,
	) (events []domain.Recorded, open bool, err error)
	// SessionExpires returns when the current token of an open session expires.
	SessionExpires(ctx context.Context, tenant domain.TenantID, session uuid.UUID,
	) (expires time.Time, open bool, err error)
	// LoadAll returns the events of all streams of a kind.
	LoadAll(ctx context.Context, tenant domain.TenantID, kind domain.StreamType) ([]domain.Recorded, error)
	// EverHeld returns the accounts that have ever held one of the roles.
	EverHeld(ctx context.Context, tenant domain.TenantID, roles ...domain.Role) ([]domain.UserID, error)
	// StreamOf finds the stream that holds a record, such as a consent.
	StreamOf(ctx context.Context, tenant domain.TenantID, record uuid.UUID) (stream domain.Stream, found bool,
		err error)

	// Append adds to the log, all or nothing. Errors: *domain.ConflictError,
	// *domain.ClaimTakenError, *domain.SessionStaleError, *domain.CodeStaleError,
	// *domain.KeyExistsError, *domain.StaffRecordError, CodeOverloaded, CodeUnavailable
	// (it was not carried out), CodeOutcomeUnknown (it may have been, or may still be:
	// the same append may be sent again), CodeSubjectErased (a key it needs was
	// destroyed). A refused append never enters the log later.
	Append(ctx context.Context, a domain.Append) (domain.Appended, error)
	// FindAppend returns the events of an earlier append, or none if there was no such
	// append. A zero tenant searches all tenants.
	FindAppend(ctx context.Context, tenant domain.TenantID, id uuid.UUID) ([]domain.Recorded, error)

	// Holder returns the holder of a claim.
	Holder(ctx context.Context, claim domain.Claim) (holder uuid.UUID, held bool, err error)
	// Accounts returns the accounts with an e-mail address, at most two. A zero tenant
	// searches all tenants.
	Accounts(ctx context.Context, email string, tenant domain.TenantID) ([]domain.Account, error)
	// Verifier returns the password hash of one account, or empty if it cannot sign in.
	Verifier(ctx context.Context, tenant domain.TenantID, user domain.UserID) (string, error)
	// Authenticator returns what the codes of one account are checked against; zero if it
	// has no second factor.
	Authenticator(ctx context.Context, tenant domain.TenantID, user domain.UserID) (domain.Authenticator, error)
	// OneTimeCode returns the code whose first half has a digest, of whatever tenant;
	// zero if there is none.
	OneTimeCode(ctx context.Context, firstHalf [32]byte) (domain.OneTimeCode, error)

	// ClientSecrets returns what the secrets of a service account are proved by, in
	// whatever tenant it is; none if there is no such service account.
	ClientSecrets(ctx context.Context, account domain.ServiceAccountID) ([]domain.ClientDigest, error)

	// Digest returns a keyed hash that stays the same for the life of the installation
	// and means nothing without the key.
	Digest(parts ...string) [32]byte
	// Head returns the newest position of the whole log.
	Head(ctx context.Context) (int64, error)
	// Log returns the id of the log that positions belong to, as of at most age ago; with
	// an error, the last id known.
	Log(ctx context.Context, age time.Duration) (uuid.UUID, error)
}
