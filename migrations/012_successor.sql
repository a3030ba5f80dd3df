-- additive
--
-- The refresh token that was just replaced is good for ten seconds more, while its successor has not been used: two tabs that refresh at
-- once, or a client whose answer was lost, get that successor again. It is derived from the token that it replaces, so nothing more
-- secret is stored than a digest. And the end of a session is recorded once: 'end_session' with the name 'once' is refused (outcome 4)
-- where the session has ended already. 'end_sessions' without an owner ends all of its tenant's.
--
-- Sessions of before go on: of them no replaced token is known. Programs of before send neither: what they replace is noted for them,
-- and is of no use, because their successors are not derived. All else is as in 003_append.sql.
set local role trust_owner;

alter table trust.sessions add column replaced bytea, add column replaced_at timestamptz;
comment on column trust.sessions.replaced is 'SHA-256 of the id of the token that the valid one replaced; null: none';
comment on column trust.sessions.replaced_at is 'when that was, by the clock of the database';

reset role;
grant create on schema trust to trust_append;
set local role trust_append;

create or replace function trust.side_outcomes(side json, outcomes smallint[]) returns smallint[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    w record;
begin
    for w in select * from json_to_recordset(side) as x (append integer, n integer, kind text, tenant uuid, id uuid,
                                                         name text, digest bytea, token bytea) loop
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
                                                         owner uuid, digest bytea, token bytea, value text, expires timestamptz) loop
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
