set local role trust_owner;

-- The tenant that the running transaction may see. Never set, or reset at the end of the transaction that set it, it raises an
-- error: a query without a tenant is a mistake, not an empty list.
create function trust.tenant() returns uuid
language sql stable parallel safe
return current_setting('trust.tenant')::uuid;

create table trust.events (
    position     bigint      not null,
    tenant_id    uuid        not null,
    stream_type  text        not null,
    stream_id    uuid        not null,
    version      integer     not null,
    event_id     uuid        not null,
    append_id    uuid        not null,
    ordinal      smallint    not null,
    event_type   text        not null,
    subject_id   uuid,
    record_id    uuid        not null,
    actor_id     uuid,
    payload      json        not null,
    sealed       bytea,
    metadata     json        not null,
    effective_at timestamptz not null,
    recorded_at  timestamptz not null,
    constraint events_pkey primary key (position),
    constraint events_stream_key unique (tenant_id, stream_type, stream_id, version),
    constraint events_append_key unique (append_id, ordinal)
);

comment on table trust.events is 'The only truth. Insert-only; positions 1, 2, 3 … without a gap, in commit order';
comment on column trust.events.position is 'place in the whole log; whoever sees a position sees everything below it';
comment on column trust.events.tenant_id is 'the municipality (or SALGA) whose event it is';
comment on column trust.events.stream_type is 'kind of aggregate: municipality, user, consent, purpose, session, rights, access';
comment on column trust.events.stream_id is 'the aggregate: municipality, user, subject, purpose, user, subject, request';
comment on column trust.events.version is 'place in the stream: 1, 2, 3 … without a gap';
comment on column trust.events.event_id is 'UUIDv7; bound into the sealed part';
comment on column trust.events.append_id is 'names the append; derived from the caller''s idempotency key if there was one';
comment on column trust.events.ordinal is 'place in the append: 1, 2, 3 …';
comment on column trust.events.event_type is 'explicit, versioned name such as consent.granted.v1';
comment on column trust.events.subject_id is 'the person the event is about; null: nobody';
comment on column trust.events.record_id is 'the record the event is about, such as the consent; else the stream';
comment on column trust.events.actor_id is 'the account that did it; null: an operator, or nobody known';
comment on column trust.events.payload is 'json, not jsonb: the exact bytes are hashed. Nothing that identifies a person';
comment on column trust.events.sealed is 'personal parts, each encrypted under the key it names; null: none';
comment on column trust.events.metadata is 'how it came about: role, command, correlation, fingerprint. Nothing personal';
comment on column trust.events.effective_at is 'when it holds from: as stated by the person, else recorded_at; never after recorded_at';
comment on column trust.events.recorded_at is 'when the log learned of it; never runs backwards against position';

comment on index trust.events_pkey is 'read a range of positions; the head';
comment on index trust.events_stream_key is 'load a stream; its version; all purposes of a tenant';
comment on index trust.events_append_key is 'was this append made before';
create index events_record_idx on trust.events (tenant_id, record_id, position);
comment on index trust.events_record_idx is 'audit of one record; which stream a consent id stands in';
create index events_actor_idx on trust.events (tenant_id, actor_id, position) where actor_id is not null;
comment on index trust.events_actor_idx is 'audit of one actor; whom this account saw';
create index events_subject_idx on trust.events (subject_id, position) where subject_id is not null;
comment on index trust.events_subject_idx is 'everything about one person';
create index events_tenant_idx on trust.events (tenant_id, position);
comment on index trust.events_tenant_idx is 'a tenant''s events in order: audit by time, replay';

create function trust.refuse_change() returns trigger
language plpgsql as $$
begin
    raise exception 'events are never changed or removed' using errcode = 'restrict_violation';
end
$$;

create trigger events_insert_only before update or delete or truncate on trust.events
for each statement execute function trust.refuse_change();

-- Claims: values held at most once within a tenant.
create table trust.claims (
    tenant_id uuid  not null,
    kind      text  not null,
    digest    bytea not null,
    holder    uuid  not null,
    constraint claims_pkey primary key (tenant_id, kind, digest)
);
comment on table trust.claims is 'values held at most once within a tenant, such as an e-mail address, without the value';
comment on column trust.claims.tenant_id is 'within which it is unique; SALGA for codes and names of municipalities';
comment on column trust.claims.kind is 'email, municipality_code, municipality_name';
comment on column trust.claims.digest is 'HMAC-SHA-256 of the canonical value under the lookup key';
comment on column trust.claims.holder is 'the user or municipality that holds it';
comment on index trust.claims_pkey is 'who holds this value';

-- Credentials are not history: replaced on change, deleted on erasure.
create table trust.credentials (
    tenant_id    uuid  not null,
    user_id      uuid  not null,
    login_digest bytea not null,
    verifier     text  not null,
    constraint credentials_pkey primary key (user_id)
);
comment on table trust.credentials is 'what users sign in with';
comment on column trust.credentials.tenant_id is 'the user''s tenant';
comment on column trust.credentials.user_id is 'the user';
comment on column trust.credentials.login_digest is 'HMAC-SHA-256 of the lower-case e-mail address under the lookup key';
comment on column trust.credentials.verifier is 'Argon2id hash in PHC form';
comment on index trust.credentials_pkey is 'the password check of a signed-in user';
create index credentials_login_idx on trust.credentials (login_digest);
comment on index trust.credentials_login_idx is 'sign-in: every account with this address';

-- Keys: a subject's key is wrapped by the tenant's, the tenant's by the master key, which is not here.
create table trust.keys (
    key_id       uuid        not null,
    tenant_id    uuid        not null,
    kind         text        not null check (kind in ('subject', 'tenant', 'month')),
    wrapped      bytea,
    created_at   timestamptz not null default clock_timestamp(),
    destroyed_at timestamptz,
    constraint keys_pkey primary key (key_id),
    constraint keys_tombstone check ((wrapped is null) = (destroyed_at is not null))
);
comment on table trust.keys is 'keys that personal data is sealed under; a destroyed one leaves a tombstone and is never made again';
comment on column trust.keys.key_id is 'the subject''s or tenant''s id; for a month derived from tenant and month';
comment on column trust.keys.tenant_id is 'the tenant whose key wraps it, or which it is';
comment on column trust.keys.kind is 'subject: a person''s; tenant: wraps subjects'' and months'' keys; month: for origins of unknown actors';
comment on column trust.keys.wrapped is 'the key under AES-256-GCM of the next key up; null: destroyed';
comment on column trust.keys.created_at is 'when it was made';
comment on column trust.keys.destroyed_at is 'when it was destroyed; null: usable';
comment on index trust.keys_pkey is 'the key that a sealed part names';

-- What was deleted or replaced here must be gone from the pages soon, not when a fifth of the table is dead: a dead row still holds it,
-- and a page's image carries it into the WAL. Any dead row is reason enough, within a minute (autovacuum_naptime).
alter table trust.claims set (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0, vacuum_index_cleanup = on);
alter table trust.credentials set (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0, vacuum_index_cleanup = on);
alter table trust.keys set (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0, vacuum_index_cleanup = on);

-- Secrets of the installation, made at first use.
create table trust.secrets (
    name    text  not null primary key,
    wrapped bytea not null
);
comment on table trust.secrets is 'secrets of this installation, wrapped by the master key';
comment on column trust.secrets.name is 'lookup: keys the digests of claims and sign-ins; check: tells a wrong master key';
comment on column trust.secrets.wrapped is 'the secret under AES-256-GCM of the master key';
comment on index trust.secrets_pkey is 'a secret by name';

-- ANALYZE copies values into pg_statistic, where they would outlive a destroyed key or a replaced one.
alter table trust.claims alter digest set statistics 0;
alter table trust.credentials alter login_digest set statistics 0, alter verifier set statistics 0;
alter table trust.keys alter wrapped set statistics 0;
alter table trust.secrets alter wrapped set statistics 0;

-- Sessions: one row per open family of refresh tokens.
create table trust.sessions (
    session_id uuid        not null,
    tenant_id  uuid        not null,
    user_id    uuid        not null,
    token      bytea       not null,
    expires_at timestamptz not null,
    constraint sessions_pkey primary key (session_id)
);
comment on table trust.sessions is 'open sessions; ending one removes its row';
comment on column trust.sessions.session_id is 'the family of refresh tokens';
comment on column trust.sessions.tenant_id is 'the user''s tenant';
comment on column trust.sessions.user_id is 'who signed in';
comment on column trust.sessions.token is 'SHA-256 of the id of the one refresh token that is valid';
comment on column trust.sessions.expires_at is 'when that token expires';
comment on index trust.sessions_pkey is 'is this session open; rotate it';
create index sessions_user_idx on trust.sessions (user_id);
comment on index trust.sessions_user_idx is 'end all sessions of a user';

grant select, insert on trust.events to trust_append;
grant select, insert, update, delete on trust.claims, trust.credentials, trust.keys, trust.sessions to trust_append;
grant select, insert on trust.secrets to trust_append;
grant select on trust.events, trust.keys, trust.secrets to trust_projector;
grant select on trust.events, trust.keys, trust.secrets, trust.claims, trust.sessions to trust_query;
revoke insert, update, delete, truncate on trust.events from trust_owner;

do $$
declare
    name text;
begin
    foreach name in array array['events', 'claims', 'credentials', 'keys', 'sessions'] loop
        execute format('alter table trust.%I enable row level security', name);
        execute format('alter table trust.%I force row level security', name);
        -- A definer under a tenant policy would compute a wrong head: these two see all.
        execute format('create policy append_all on trust.%I to trust_append using (true) with check (true)', name);
        execute format('create policy owner_reads on trust.%I for select to trust_owner using (true)', name);
    end loop;
    foreach name in array array['events', 'keys'] loop
        execute format('create policy projector_reads on trust.%I for select to trust_projector using (true)', name);
    end loop;
    foreach name in array array['events', 'claims', 'keys', 'sessions'] loop
        execute format('create policy own_tenant on trust.%I for select to trust_query using (tenant_id = trust.tenant())', name);
    end loop;
end
$$;

---- create above / drop below ----

drop table trust.sessions, trust.secrets, trust.keys, trust.credentials, trust.claims, trust.events;
drop function trust.refuse_change, trust.tenant;
