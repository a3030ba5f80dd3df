-- additive
--
-- One-time codes: what a person who lost their password, or has none yet, redeems for one, and what proves that an e-mail address is
-- theirs. A row lives from the code's issue until it is spent, replaced by the next of its kind, or of no use because what the user
-- signs in with changed otherwise. It is no history: the events say that a code was issued, to whom and by whom, and what it did.
--
-- A code is two halves. The first finds the row, in whatever tenant; the second must then fit. So a wrong code is counted against the
-- code that was meant, and only who has seen the first half can use up its tries. The table holds keyed digests of both: whoever reads
-- it, or a copy of it, and lacks the master key, cannot try a code without asking the program.
--
-- Outcome 4 of trust.append is also of side writes about these: what a code was judged on has moved on, or the first half of a new one
-- is in use. Backups leave the table out: none is restored within the 15 minutes that a code lives, and a code that was spent since
-- must not live again. All else is as in 017_second_factor.sql and 018_acts_in_office.sql.
set local role trust_owner;

create table trust.one_time_codes (
    tenant_id   uuid        not null,
    user_id     uuid        not null,
    kind        text        not null,
    code_id     uuid        not null,
    lookup      bytea       not null,
    digest      bytea       not null,
    expires_at  timestamptz not null,
    wrong_tries integer     not null default 0,
    constraint one_time_codes_pkey primary key (tenant_id, user_id, kind)
);
comment on table trust.one_time_codes is 'codes that can be redeemed once; spending or replacing one removes its row';
comment on column trust.one_time_codes.tenant_id is 'the user''s tenant';
comment on column trust.one_time_codes.user_id is 'whose code it is';
comment on column trust.one_time_codes.kind is 'what it is good for: password_reset, sign_in or email_verification';
comment on column trust.one_time_codes.code_id is 'the code, as the event of its issue names it';
comment on column trust.one_time_codes.lookup is 'HMAC-SHA-256 of its first half under the lookup key';
comment on column trust.one_time_codes.digest is 'HMAC-SHA-256 of the whole code under the lookup key';
comment on column trust.one_time_codes.expires_at is 'from when on it is refused';
comment on column trust.one_time_codes.wrong_tries is 'codes that began like it and were wrong';
comment on index trust.one_time_codes_pkey is 'the one code of its kind that a user has';
create unique index one_time_codes_lookup_idx on trust.one_time_codes (lookup);
comment on index trust.one_time_codes_lookup_idx is 'redeem: the code that begins so';
create index one_time_codes_expiry_idx on trust.one_time_codes (expires_at);
comment on index trust.one_time_codes_expiry_idx is 'sweep up what nobody redeemed';
-- As credentials: what was deleted must be gone from the pages soon.
alter table trust.one_time_codes
    set (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0, vacuum_index_cleanup = on);

alter table trust.one_time_codes enable row level security;
alter table trust.one_time_codes force row level security;
create policy append_all on trust.one_time_codes to trust_append using (true) with check (true);
create policy owner_reads on trust.one_time_codes for select to trust_owner using (true);
grant select, insert, update, delete on trust.one_time_codes to trust_append;

insert into trust.event_types (stream_type, event_type) values
    ('user', 'user.reset_code_issued.v1'),
    ('user', 'user.sign_in_code_issued.v1'),
    ('user', 'user.email_verification_begun.v1'),
    ('user', 'user.email_verified.v1');
insert into trust.side_rules (kind, event_type) values
    ('issue_one_time_code', 'user.reset_code_issued.v1'),
    ('issue_one_time_code', 'user.sign_in_code_issued.v1'),
    ('issue_one_time_code', 'user.email_verification_begun.v1'),
    ('spend_one_time_code', 'user.password_changed.v1'),
    ('spend_one_time_code', 'user.email_verified.v1'),
    ('count_wrong_try', 'session.sign_in_failed.v1');

-- Whoever answered a code that was sent to their address has it verified. Of nobody was that known before.
do $$
declare
    live regclass := trust.live_version('users');
    version text;
begin
    for version in
        select c.oid::regclass::text from pg_class c
        where c.relnamespace = 'trust'::regnamespace and c.relkind = 'r' and c.relname ~ '^users_v[0-9]+$'
    loop
        execute format('alter table %s add column email_verified_at timestamptz', version);
        execute format('comment on column %s.email_verified_at is %L', version,
            'when its owner proved that the address is theirs; null: they did not, or it is another since');
    end loop;
    execute format('create or replace view trust.users with (security_invoker = true) as select * from %s', live);
end
$$;

reset role;
grant create on schema trust to trust_append;
set local role trust_append;

create function trust.one_time_code(first_half bytea)
returns table (tenant_id uuid, user_id uuid, kind text, code_id uuid, digest bytea, expires_at timestamptz, wrong_tries integer)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
    select c.tenant_id, c.user_id, c.kind, c.code_id, c.digest, c.expires_at, c.wrong_tries
    from trust.one_time_codes c where c.lookup = one_time_code.first_half;
end;
comment on function trust.one_time_code is 'the code that begins so, of whatever tenant: who redeems it is not signed in';
revoke all on function trust.one_time_code from public;
grant execute on function trust.one_time_code to trust_query;

create or replace function trust.side_outcomes(side json, outcomes smallint[]) returns smallint[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    w record;
begin
    for w in select * from json_to_recordset(side) as x (append integer, n integer, kind text, tenant uuid, id uuid,
                                                         name text, owner uuid, digest bytea, token bytea,
                                                         step bigint, seen bigint, wrong integer) loop
        continue when outcomes[w.append] <> 0;
        case w.kind
            when 'take_claim' then
                if exists (select from trust.claims c where c.tenant_id = w.tenant and c.kind = w.name
                           and c.digest = w.digest and c.holder <> w.id) then
                    outcomes[w.append] := 3 + 10 * w.n;
                end if;
            when 'rotate_session' then
                -- Either way of the clock: a token replaced while it ran ahead must not be good until that time has come.
                if not exists (select from trust.sessions s where s.session_id = w.id
                               and (s.token = w.digest
                                    or s.token = w.token and s.replaced = w.digest
                                       and abs(extract(epoch from clock_timestamp() - s.replaced_at)) <= 10)) then
                    outcomes[w.append] := 4 + 10 * w.n;
                end if;
            when 'end_session' then
                if w.name = 'once' and not exists (select from trust.sessions s where s.session_id = w.id) then
                    outcomes[w.append] := 4 + 10 * w.n;
                end if;
            when 'set_second_factor' then
                if not exists (select from trust.credentials c where c.user_id = w.id and c.tenant_id = w.tenant
                               and c.offered_id = w.owner) then
                    outcomes[w.append] := 4 + 10 * w.n;
                end if;
            when 'spend_code', 'count_wrong_code' then
                -- What the program saw when it judged the code, and of a right one once more that its step was never used.
                if not exists (select from trust.credentials c where c.user_id = w.id and c.tenant_id = w.tenant
                               and c.factor_id = w.owner and c.factor_step = coalesce(w.seen, 0) and c.wrong_codes = coalesce(w.wrong, 0)
                               and (w.kind = 'count_wrong_code' or c.factor_step < w.step)) then
                    outcomes[w.append] := 4 + 10 * w.n;
                end if;
            when 'issue_one_time_code' then
                -- Another's code with the same first half: the program makes a new one.
                if exists (select from trust.one_time_codes c where c.lookup = w.digest
                           and (c.tenant_id, c.user_id, c.kind) is distinct from (w.tenant, w.id, w.name)) then
                    outcomes[w.append] := 4 + 10 * w.n;
                end if;
            when 'spend_one_time_code', 'count_wrong_try' then
                -- What the program saw when it judged the code.
                if not exists (select from trust.one_time_codes c
                               where c.tenant_id = w.tenant and c.user_id = w.id and c.kind = w.name and c.code_id = w.owner
                                   and c.wrong_tries = coalesce(w.wrong, 0)) then
                    outcomes[w.append] := 4 + 10 * w.n;
                end if;
            when 'create_key' then
                if exists (select from trust.keys k where k.key_id = w.id) then
                    outcomes[w.append] := 5 + 10 * w.n;
                elsif w.name = 'tenant' and not trust.in_force(w.digest) then
                    outcomes[w.append] := 7 + 10 * w.n;
                end if;
            when 'demand_no_acts' then
                -- In the words of events_acts_idx, which without them would not be used.
                if exists (select from trust.events e
                           where e.actor_id = w.id and e.actor_id is not null and e.event_type <> 'access.tenant_mismatch.v1'
                               and (e.subject_id is distinct from e.actor_id
                                    or e.event_type in ('personal_data.read.v1', 'user.role_changed.v1', 'rights.request_fulfilled.v1',
                                                        'rights.request_refused.v1', 'rights.hold_placed.v1',
                                                        'rights.hold_lifted.v1'))) then
                    outcomes[w.append] := 6 + 10 * w.n;
                end if;
            else
        end case;
    end loop;
    return outcomes;
end
$$;

create or replace function trust.side_writes(side json, added boolean[], at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    w record;
begin
    for w in select * from json_to_recordset(side) as x (append integer, kind text, tenant uuid, id uuid, name text,
                                                         owner uuid, digest bytea, token bytea, value text, expires timestamptz,
                                                         step bigint) loop
        continue when not added[w.append];
        case w.kind
            when 'take_claim' then
                insert into trust.claims (tenant_id, kind, digest, holder) values (w.tenant, w.name, w.digest, w.id)
                on conflict do nothing; -- the holder has it already: anybody else was refused above
            when 'release_claim' then
                delete from trust.claims c
                where c.tenant_id = w.tenant and c.kind = w.name and c.digest = w.digest and c.holder = w.id;
            when 'set_credential' then
                update trust.credentials c
                set login_digest = coalesce(w.digest, c.login_digest), verifier = coalesce(w.value, c.verifier)
                where c.user_id = w.id;
                if not found then
                    insert into trust.credentials (tenant_id, user_id, login_digest, verifier)
                    values (w.tenant, w.id, w.digest, w.value);
                end if;
                delete from trust.one_time_codes c where c.user_id = w.id and c.tenant_id = w.tenant;
            when 'delete_credential' then
                delete from trust.credentials c where c.user_id = w.id;
                delete from trust.one_time_codes c where c.user_id = w.id and c.tenant_id = w.tenant;
            when 'issue_one_time_code' then
                -- Codes that nobody redeemed leave no rows for ever.
                delete from trust.one_time_codes c
                where c.expires_at < at - interval '1 day'
                    or c.tenant_id = w.tenant and c.user_id = w.id and c.kind = w.name;
                insert into trust.one_time_codes (tenant_id, user_id, kind, code_id, lookup, digest, expires_at)
                values (w.tenant, w.id, w.name, w.owner, w.digest, w.token, w.expires)
                on conflict do nothing; -- the same first half twice in one batch: of chance there is none in a lifetime
            when 'spend_one_time_code' then
                delete from trust.one_time_codes c
                where c.tenant_id = w.tenant and c.user_id = w.id and c.kind = w.name and c.code_id = w.owner;
            when 'count_wrong_try' then
                update trust.one_time_codes c set wrong_tries = c.wrong_tries + 1
                where c.tenant_id = w.tenant and c.user_id = w.id and c.kind = w.name and c.code_id = w.owner;
            when 'offer_second_factor' then
                update trust.credentials c set offered_id = w.owner, offered_secret = w.token, offered_until = w.expires
                where c.user_id = w.id and c.tenant_id = w.tenant;
            when 'set_second_factor' then
                update trust.credentials c
                set factor_id = c.offered_id, factor_secret = c.offered_secret, factor_step = w.step, wrong_codes = 0, wrong_code_at = null,
                    offered_id = null, offered_secret = null, offered_until = null
                where c.user_id = w.id and c.tenant_id = w.tenant and c.offered_id = w.owner;
            when 'spend_code' then
                update trust.credentials c set factor_step = w.step, wrong_codes = 0, wrong_code_at = null
                where c.user_id = w.id and c.tenant_id = w.tenant and c.factor_id = w.owner;
            when 'count_wrong_code' then
                update trust.credentials c set wrong_codes = c.wrong_codes + 1, wrong_code_at = w.expires
                where c.user_id = w.id and c.tenant_id = w.tenant and c.factor_id = w.owner;
            when 'remove_second_factor' then
                update trust.credentials c
                set factor_id = null, factor_secret = null, factor_step = 0, wrong_codes = 0, wrong_code_at = null,
                    offered_id = null, offered_secret = null, offered_until = null
                where c.user_id = w.id and c.tenant_id = w.tenant;
            when 'create_key' then
                insert into trust.keys (key_id, tenant_id, kind, wrapped) values (w.id, w.tenant, w.name, w.token);
            when 'destroy_key' then
                update trust.keys k set wrapped = null, destroyed_at = clock_timestamp()
                where k.key_id = w.id and k.destroyed_at is null;
            when 'start_session' then
                -- Who signs in again sweeps up what expired: sessions that nobody ended leave no rows for ever.
                delete from trust.sessions s where s.user_id = w.owner and s.expires_at < at;
                insert into trust.sessions (session_id, tenant_id, user_id, token, expires_at)
                values (w.id, w.tenant, w.owner, w.token, w.expires);
            when 'rotate_session' then
                -- A token that was replaced already changes nothing: neither its ten seconds nor the session's end move.
                update trust.sessions s
                set token = w.token, expires_at = w.expires, replaced = w.digest, replaced_at = clock_timestamp()
                where s.session_id = w.id and s.token = w.digest;
            when 'end_session' then
                delete from trust.sessions s where s.session_id = w.id;
            when 'demand_no_acts' then
                null; -- judged above
            when 'end_sessions' then
                if w.owner is null then
                    delete from trust.sessions s where s.tenant_id = w.tenant;
                else
                    delete from trust.sessions s where s.user_id = w.owner and s.session_id is distinct from w.id;
                end if;
            else
                raise exception 'unknown side write %', w.kind;
        end case;
    end loop;
end
$$;

reset role;
revoke create on schema trust from trust_append;

---- create above / drop below ----

-- Nothing: the table stays, and these functions serve an older program as those before do.
