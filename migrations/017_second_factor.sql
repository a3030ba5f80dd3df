-- additive
--
-- A second factor stands beside the password's hash: replaced and forgotten with it, destroyed by an erasure, and never history. Its
-- secret is sealed under the person's own key, so that this table alone opens nothing. Which one is in force says the log: a row whose
-- factor_id is another one than the log's is nobody's second factor.
--
-- Outcome 4 of trust.append is also of side writes about it: what a code was judged on has moved on. A right code and a wrong one name
-- the step and the number of wrong ones that they were judged on, so that of many at once each is judged on those before it, and the
-- step of a code that was accepted is never accepted again, whatever the program thinks. All else is as in 012_successor.sql.
--
-- Programs of before know neither the columns nor the events, and refuse the streams of whoever has a second factor (newer_log).
set local role trust_owner;

alter table trust.credentials
    add column factor_id uuid, add column factor_secret bytea, add column factor_step bigint not null default 0,
    add column wrong_codes integer not null default 0, add column wrong_code_at timestamptz,
    add column offered_id uuid, add column offered_secret bytea, add column offered_until timestamptz;
alter table trust.credentials alter factor_secret set statistics 0, alter offered_secret set statistics 0;
comment on column trust.credentials.factor_id is 'the second factor, as user.second_factor_set names it; null: none';
comment on column trust.credentials.factor_secret is 'what its codes are made of, under AES-256-GCM of the user''s key';
comment on column trust.credentials.factor_step is 'time step of the newest code that was accepted; none up to here ever is again';
comment on column trust.credentials.wrong_codes is 'codes that were wrong since the last right one';
comment on column trust.credentials.wrong_code_at is 'when the newest of them came; null: none';
comment on column trust.credentials.offered_id is 'a second factor that was shown and not confirmed yet; null: none';
comment on column trust.credentials.offered_secret is 'its secret, sealed as factor_secret';
comment on column trust.credentials.offered_until is 'when it can no longer be confirmed';

insert into trust.event_types (stream_type, event_type) values
    ('user', 'user.second_factor_begun.v1'),
    ('user', 'user.second_factor_set.v1'),
    ('user', 'user.second_factor_removed.v1');
insert into trust.side_rules (kind, event_type) values
    ('offer_second_factor', 'user.second_factor_begun.v1'),
    ('set_second_factor', 'user.second_factor_set.v1'),
    ('spend_code', 'session.started.v1'),
    ('spend_code', 'user.second_factor_removed.v1'),
    ('count_wrong_code', 'session.sign_in_failed.v1'),
    ('remove_second_factor', 'user.second_factor_removed.v1');

reset role;
grant create on schema trust to trust_append;
set local role trust_append;

create function trust.second_factor(account uuid, tenant uuid)
returns table (factor_id uuid, factor_secret bytea, factor_step bigint, wrong_codes integer, wrong_code_at timestamptz,
               offered_id uuid, offered_secret bytea, offered_until timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
    select c.factor_id, c.factor_secret, c.factor_step, c.wrong_codes, c.wrong_code_at, c.offered_id, c.offered_secret, c.offered_until
    from trust.credentials c where c.user_id = second_factor.account and c.tenant_id = second_factor.tenant;
end;
comment on function trust.second_factor is 'what the codes of one account are checked by, sealed';
revoke all on function trust.second_factor from public;
grant execute on function trust.second_factor to trust_query;

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
            when 'create_key' then
                if exists (select from trust.keys k where k.key_id = w.id) then
                    outcomes[w.append] := 5 + 10 * w.n;
                elsif w.name = 'tenant' and not trust.in_force(w.digest) then
                    outcomes[w.append] := 7 + 10 * w.n;
                end if;
            when 'demand_no_acts' then
                if exists (select from trust.events e where e.tenant_id = w.tenant and e.actor_id = w.id
                           and (e.event_type = 'personal_data.read.v1' or e.subject_id <> w.id)) then
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
            when 'delete_credential' then
                delete from trust.credentials c where c.user_id = w.id;
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

-- Nothing: the columns stay, and these functions serve an older program as those before do.
