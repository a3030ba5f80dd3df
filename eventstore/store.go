package eventstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/semaphore"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pg"
)

// Store is the log as commands see it. It implements commands.Store. Create it with Open;
// it is safe for concurrent use.
type Store struct {
	// pool is for reads. The appender has writes to itself, so that it never queues
	// behind readers.
	pool, writes *pgxpool.Pool

	vault    *vault
	keys     *keyring
	appender *appender
	log      logID
	now      func() time.Time

	// long limits how many long histories are loaded at once.
	long *semaphore.Weighted
}

// Patience is how long appends are retried while the database is unreachable or does not
// answer: 5 seconds unless Open is told otherwise.
type Patience time.Duration

// Open proves the master key, and creates the platform tenant's key if there is none. The
// pool connects as trust_query. It stays the caller's, but lends its configuration to a
// small pool for appends, which Close closes. Errors: ErrWrongMasterKey,
// ErrMasterKeyChanged, CodeUnavailable.
func Open(ctx context.Context, pool *pgxpool.Pool, masterKey []byte, patience ...Patience) (*Store, error) {
	v, err := openVault(ctx, pool, masterKey)
	if err != nil {
		return nil, err
	}

	config := pool.Config()
	// One batch is written at a time; the second connection is for when the first broke.
	config.MaxConns, config.MinConns = 2, 1
	// So that trust.append reads along its indexes; see there.
	PlanByIndex(config.ConnConfig)
	config.ConnConfig.RuntimeParams["enable_sort"] = "off"
	config.AfterConnect = noteBackend(config.AfterConnect)
	writes, err := pg.Connect(ctx, config, pool)
	if err != nil {
		return nil, err
	}

	s := &Store{pool: pool, writes: writes, vault: v, appender: newAppender(writes), now: time.Now}
	s.long = semaphore.NewWeighted(longAtOnce)
	s.keys = newKeyring(v, s.fetchKeys)
	for _, p := range patience {
		s.appender.patience = time.Duration(p)
	}

	platform := domain.PlatformTenant()
	_, err = s.Append(ctx, domain.Append{
		ID: uuid.New(), Tenant: platform, Side: []domain.SideWrite{domain.CreateTenantKey{Tenant: platform}},
	})
	if _, exists := errors.AsType[*domain.KeyExistsError](err); exists {
		err = nil
	}
	if err != nil {
		s.Close()
		return nil, err
	}

	return s, nil
}

// Close closes the appender's connections.
func (s *Store) Close() { s.writes.Close() }

// Digest implements commands.Store.
func (s *Store) Digest(parts ...string) [32]byte { return s.vault.digest(parts...) }

// PlanByIndex makes the sessions of a connection use indexes, whatever the statistics
// say. It is for connections that append to the log or follow it: Postgres keeps a plan
// until statistics are renewed, which may take a minute, and a plan made while the log
// was nearly empty would read all of it until then (ADR 16). jit is off because it starts
// at high costs, and Postgres costs a disabled method very high when there is no other.
func PlanByIndex(config *pgx.ConnConfig) {
	for _, setting := range []string{"enable_seqscan", "enable_bitmapscan", "jit"} {
		config.RuntimeParams[setting] = "off"
	}
}

// setTenant comes first in every transaction of asTenant. The statements after it have
// one good plan whatever their arguments, so none is planned twice. That plan reads along
// the index that has their order, so nothing is sorted. See PlanByIndex.
const setTenant = pg.SetTenant + `, set_config('plan_cache_mode', 'force_generic_plan', true),
	set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true)`

// asTenant runs statements for one tenant, in one round trip and one transaction.
func (s *Store) asTenant(ctx context.Context, tenant domain.TenantID, queue func(*pgx.Batch)) error {
	return Unavailable(pg.InTenant(ctx, s.pool, tenant.UUID, setTenant, queue))
}

// rowsInto reads events into a slice and sorts them by position here: read along an
// index, they arrive stream by stream.
func rowsInto(dst *[]row) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*dst, err = collect(rows, nil)
		slices.SortFunc(*dst, func(a, b row) int { return cmp.Compare(a.Position, b.Position) })
		return err
	}
}

// The "order by" inside makes Postgres join stream by stream along their index: its
// generic plan would read the whole tenant and hash it.
const selectStreams = `select e.* from unnest($2::text[], $3::uuid[]) s (type, id), lateral (
	select ` + columns + ` from trust.events
	where tenant_id = $1 and stream_type = s.type and stream_id = s.id order by version limit $4) e`

// queueStreams queues the query for some streams, up to limit events of each; nil: all.
func queueStreams(b *pgx.Batch, tenant domain.TenantID, streams []domain.Stream, limit *int, dst *[]row) {
	types, ids := make([]string, len(streams)), make([][16]byte, len(streams))
	for i, s := range streams {
		types[i], ids[i] = string(s.Type), s.ID
	}
	b.Queue(selectStreams, [16]byte(tenant.UUID), types, ids, limit).Query(rowsInto(dst))
}

// load reads whole streams and decodes them, running the queries of also in the first
// round trip. Long histories wait for their turn.
func (s *Store) load(
	ctx context.Context, tenant domain.TenantID, streams []domain.Stream, decode func([]row) ([]domain.Recorded, error),
	also func(*pgx.Batch),
) ([]domain.Recorded, error) {
	var rows []row
	limit := longHistory
	err := s.asTenant(ctx, tenant, func(b *pgx.Batch) {
		also(b)
		if len(streams) > 0 {
			queueStreams(b, tenant, streams, &limit, &rows)
		}
	})
	if err != nil {
		return nil, err
	}

	// At the limit, the events of some stream may be incomplete.
	if len(rows) >= longHistory {
		if err := s.long.Acquire(ctx, 1); err != nil {
			return nil, Unavailable(err)
		}
		defer s.long.Release(1)

		rows = nil
		err := s.asTenant(ctx, tenant, func(b *pgx.Batch) { queueStreams(b, tenant, streams, nil, &rows) })
		if err != nil {
			return nil, err
		}
	}

	if err := s.check(ctx, tenant, rows); err != nil {
		return nil, err
	}
	return decode(rows)
}

// check refuses a tenant's rows if one of them is forged.
func (s *Store) check(ctx context.Context, tenant domain.TenantID, rows []row) error {
	return s.vault.check(ctx, rows, func(ctx context.Context, sql string, args []any, scan func(pgx.Rows) error) error {
		return s.asTenant(ctx, tenant, func(b *pgx.Batch) { b.Queue(sql, args...).Query(scan) })
	})
}

// withheld checks a tenant's rows and decodes them without opening anything.
func (s *Store) withheld(ctx context.Context, tenant domain.TenantID, rows []row) ([]domain.Recorded, error) {
	if err := s.check(ctx, tenant, rows); err != nil {
		return nil, err
	}
	return withheld(rows)
}

func nothingElse(*pgx.Batch) {}

// Load implements commands.Store.
func (s *Store) Load(ctx context.Context, tenant domain.TenantID, streams ...domain.Stream) ([]domain.Recorded, error) {
	return s.load(ctx, tenant, streams, withheld, nothingElse)
}

// LoadPersonal implements commands.Store.
func (s *Store) LoadPersonal(
	ctx context.Context, tenant domain.TenantID, streams ...domain.Stream,
) ([]domain.Recorded, error) {
	opened := func(rows []row) ([]domain.Recorded, error) {
		ids, err := keysOf(rows, subjectPart, originPart)
		if err != nil {
			return nil, err
		}
		keys, err := s.keys.get(ctx, tenant, ids...)
		if err != nil {
			return nil, err
		}
		return decodeAll(rows, openWith(keys), openWith(keys))
	}

	return s.load(ctx, tenant, streams, opened, nothingElse)
}

// LoadSession implements commands.Store. It also fetches the keys of the users it loads,
// unless they are remembered, because an append by them usually follows.
func (s *Store) LoadSession(
	ctx context.Context, tenant domain.TenantID, user domain.UserID, session uuid.UUID, streams ...domain.Stream,
) (events []domain.Recorded, open bool, err error) {
	var keys []keyRow
	unknown := s.keys.recall(tenant, subjectsOf(streams), map[uuid.UUID]foundKey{})

	events, err = s.load(ctx, tenant, streams, withheld, func(b *pgx.Batch) {
		b.Queue(`select exists (select from trust.sessions
			where session_id = $1 and user_id = $2 and expires_at > clock_timestamp())`, [16]byte(session),
			[16]byte(user.UUID)).
			QueryRow(func(r pgx.Row) error { return r.Scan(&open) })
		queueKeys(b, unknown, &keys)
	})
	if err != nil {
		return nil, false, err
	}

	for _, r := range keys {
		key, err := s.keys.unwrap(ctx, r)
		if err != nil {
			return nil, false, err
		}
		s.keys.remember(r, key)
	}
	return events, open, nil
}

// SessionExpires implements commands.Store.
func (s *Store) SessionExpires(
	ctx context.Context, tenant domain.TenantID, session uuid.UUID,
) (expires time.Time, open bool, err error) {
	err = s.asTenant(ctx, tenant, func(b *pgx.Batch) {
		b.Queue("select expires_at from trust.sessions where session_id = $1 and expires_at > clock_timestamp()",
			[16]byte(session)).QueryRow(func(r pgx.Row) error { return optional(r.Scan(&expires), &open) })
	})
	return expires.UTC(), open, err
}

func subjectsOf(streams []domain.Stream) []uuid.UUID {
	var ids []uuid.UUID
	for _, s := range streams {
		if s.AboutPerson() {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// LoadAll implements commands.Store.
func (s *Store) LoadAll(
	ctx context.Context, tenant domain.TenantID, kind domain.StreamType,
) ([]domain.Recorded, error) {
	var rows []row
	err := s.asTenant(ctx, tenant, func(b *pgx.Batch) {
		b.Queue(`select `+columns+` from trust.events
			where tenant_id = $1 and stream_type = $2 order by stream_id, version`,
			[16]byte(tenant.UUID), string(kind)).Query(rowsInto(&rows))
	})
	if err != nil {
		return nil, err
	}
	return s.withheld(ctx, tenant, rows)
}

// EverHeld implements commands.Store. The database reads all of the tenant's accounts;
// few are returned.
func (s *Store) EverHeld(ctx context.Context, tenant domain.TenantID, roles ...domain.Role) ([]domain.UserID, error) {
	names := make([]string, len(roles))
	for i, role := range roles {
		names[i] = string(role)
	}

	var found []domain.UserID
	err := s.asTenant(ctx, tenant, func(b *pgx.Batch) {
		b.Queue(`select distinct stream_id from trust.events where tenant_id = $1 and stream_type = 'user'
				and (event_type = 'user.registered.v1' and payload ->> 'role' = any($2)
					or event_type = 'user.role_changed.v1' and payload -> 'role' ->> 'new' = any($2))`,
			[16]byte(tenant.UUID), names).Query(func(rows pgx.Rows) (err error) {
			found, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (u domain.UserID, err error) {
				return u, r.Scan((*[16]byte)(&u.UUID))
			})
			return err
		})
	})
	return found, err
}

// StreamOf implements commands.Store.
func (s *Store) StreamOf(
	ctx context.Context, tenant domain.TenantID, record uuid.UUID,
) (stream domain.Stream, found bool, err error) {
	err = s.asTenant(ctx, tenant, func(b *pgx.Batch) {
		b.Queue(`select stream_type, stream_id from trust.events where tenant_id = $1 and record_id = $2
			order by position limit 1`, [16]byte(tenant.UUID), [16]byte(record)).QueryRow(func(r pgx.Row) error {
			return optional(r.Scan((*string)(&stream.Type), (*[16]byte)(&stream.ID)), &found)
		})
	})
	return stream, found, err
}

// FindAppend implements commands.Store.
func (s *Store) FindAppend(ctx context.Context, tenant domain.TenantID, id uuid.UUID) ([]domain.Recorded, error) {
	if tenant.IsZero() {
		var found *uuid.UUID
		if err := s.pool.QueryRow(ctx, "select trust.append_tenant($1)", id).Scan(&found); err != nil || found == nil {
			return nil, Unavailable(err)
		}
		tenant.UUID = *found
	}

	var rows []row
	err := s.asTenant(ctx, tenant, func(b *pgx.Batch) {
		b.Queue(`select `+columns+` from trust.events where append_id = $1 order by ordinal`, [16]byte(id)).
			Query(rowsInto(&rows))
	})
	if err != nil {
		return nil, err
	}
	return s.withheld(ctx, tenant, rows)
}

// Holder implements commands.Store.
func (s *Store) Holder(ctx context.Context, c domain.Claim) (holder uuid.UUID, held bool, err error) {
	digest := s.claimDigest(c)
	err = s.asTenant(ctx, c.Tenant, func(b *pgx.Batch) {
		b.Queue("select holder from trust.claims where tenant_id = $1 and kind = $2 and digest = $3",
			[16]byte(c.Tenant.UUID), string(c.Kind), digest[:]).QueryRow(func(r pgx.Row) error {
			return optional(r.Scan((*[16]byte)(&holder)), &held)
		})
	})
	return holder, held, err
}

// Accounts implements commands.Store.
func (s *Store) Accounts(ctx context.Context, email string, tenant domain.TenantID) ([]domain.Account, error) {
	digest := s.loginDigest(email)
	var within *uuid.UUID
	if !tenant.IsZero() {
		within = &tenant.UUID
	}

	rows, err := s.pool.Query(ctx, "select tenant_id, user_id, verifier from trust.sign_in($1, $2)", digest[:], within)
	if err != nil {
		return nil, Unavailable(err)
	}

	accounts, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (a domain.Account, err error) {
		err = r.Scan((*[16]byte)(&a.Tenant.UUID), (*[16]byte)(&a.User.UUID), &a.Verifier)
		return a, err
	})
	return accounts, Unavailable(err)
}

// Verifier implements commands.Store.
func (s *Store) Verifier(ctx context.Context, tenant domain.TenantID, user domain.UserID) (string, error) {
	var verifier *string
	err := s.pool.QueryRow(ctx, "select trust.verifier($1, $2)", [16]byte(user.UUID), [16]byte(tenant.UUID)).
		Scan(&verifier)
	if err != nil || verifier == nil {
		return "", Unavailable(err)
	}
	return *verifier, nil
}

// ClientSecrets implements commands.Store.
func (s *Store) ClientSecrets(
	ctx context.Context, account domain.ServiceAccountID,
) ([]domain.ClientDigest, error) {
	const sql = "select tenant_id, secret_id, digest from trust.client_secrets_of($1)"
	rows, err := s.pool.Query(ctx, sql, [16]byte(account.UUID))
	if err != nil {
		return nil, Unavailable(err)
	}

	secrets, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (d domain.ClientDigest, err error) {
		var digest []byte
		err = r.Scan((*[16]byte)(&d.Tenant.UUID), (*[16]byte)(&d.Secret), &digest)
		copy(d.Digest[:], digest)
		return d, err
	})
	return secrets, Unavailable(err)
}

func (s *Store) fetchKeys(ctx context.Context, tenant domain.TenantID, ids [][16]byte) ([]keyRow, error) {
	var rows []keyRow
	err := s.asTenant(ctx, tenant, func(b *pgx.Batch) { queueKeys(b, ids, &rows) })
	return rows, err
}

func queueKeys(b *pgx.Batch, ids [][16]byte, dst *[]keyRow) {
	if len(ids) == 0 {
		return
	}
	b.Queue("select "+keyColumns+" from trust.keys where key_id = any($1)", ids).Query(func(rows pgx.Rows) (err error) {
		*dst, err = pgx.CollectRows(rows, scanKey)
		return err
	})
}

func (s *Store) claimDigest(c domain.Claim) [32]byte {
	return s.vault.digest("claim", string(c.Kind), c.Value)
}

func (s *Store) loginDigest(email string) [32]byte { return s.vault.digest("login", email) }

// optional turns "no rows" into not found.
func optional(err error, found *bool) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	*found = err == nil
	return err
}
