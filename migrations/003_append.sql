set local role trust_owner;

-- trust.append adds a batch of appends to the log, each with an outcome of its own, all in one transaction.
--
-- The lock is held to the end of commit, so positions follow commit order. Every statement after it takes a new snapshot (READ
-- COMMITTED) and so sees what the last holder committed. Within a batch no two appends may write one stream, or one claim,
-- session or key: the caller sees to it, the unique keys are the backstop.
--
-- Plans are kept from the first call, perhaps on an empty log, and must be the ones for a large log: call this on a connection
-- with enable_seqscan, enable_bitmapscan and enable_sort off.
--
-- Arrays: a_* one element per append; s_* one per stream looked at, naming its append; e_* one per event, naming its stream.
-- s_expected -1 means any version. side is a JSON array of side writes, each naming its append, or null.
--
-- outcomes: 0 added, 1 repeat of an append in the log, 2 a stream has another version, 3 a claim is taken, 4 the session's token
-- is not the current one, 5 the key exists or was destroyed, 6 the user acted on another's data, 7 the tenant's key is wrapped under a
-- master key that is no longer in force; 3 to 7 plus ten times the number of the side write in its append, from 0. firsts: first
-- position of each added append, 0 when it has no events. versions: of each stream before this batch.
create function trust.append(
    a_id uuid[], a_tenant uuid[], a_events integer[],
    s_append integer[], s_tenant uuid[], s_type text[], s_id uuid[], s_expected integer[],
    e_stream integer[], e_offset integer[], e_ordinal integer[], e_id uuid[], e_type text[],
    e_subject uuid[], e_record uuid[], e_actor uuid[],
    e_payload text[], e_sealed bytea[], e_metadata text[], e_effective timestamptz[],
    side json,
    out outcomes smallint[], out firsts bigint[], out versions integer[], out at timestamptz)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    head     bigint;
    last_at  timestamptz;
    next     bigint;
    added    boolean[];
    i        integer;
begin
    perform pg_advisory_xact_lock(7267411);

    select e.position, e.recorded_at into head, last_at from trust.events e order by e.position desc limit 1;
    at := greatest(clock_timestamp(), last_at);

    outcomes := array(
        select case when (select e.position from trust.events e where e.append_id = a.id order by e.ordinal limit 1) is null
                    then 0 else 1 end
        from unnest(a_id) with ordinality a (id, i) order by a.i);
    versions := array(
        select coalesce((select e.version from trust.events e
                         where e.tenant_id = s.tenant and e.stream_type = s.type and e.stream_id = s.id
                         order by e.version desc limit 1), 0)
        from unnest(s_tenant, s_type, s_id) with ordinality s (tenant, type, id, i) order by s.i);

    for j in 1 .. cardinality(s_append) loop
        i := s_append[j];
        if outcomes[i] = 0 and s_expected[j] >= 0 and s_expected[j] <> versions[j] then
            outcomes[i] := 2;
        end if;
    end loop;
    if side is not null then
        outcomes := trust.side_outcomes(side, outcomes);
    end if;

    next := coalesce(head, 0) + 1;
    firsts := array_fill(0::bigint, array[cardinality(a_id)]);
    added := array_fill(false, array[cardinality(a_id)]);
    for k in 1 .. cardinality(a_id) loop
        if outcomes[k] = 0 then
            added[k] := true;
            if a_events[k] > 0 then
                firsts[k] := next;
                next := next + a_events[k];
            end if;
        end if;
    end loop;

    if next > coalesce(head, 0) + 1 then
        insert into trust.events (position, tenant_id, stream_type, stream_id, version, event_id, append_id, ordinal,
            event_type, subject_id, record_id, actor_id, payload, sealed, metadata, effective_at, recorded_at)
        select firsts[s_append[e.stream]] + e.ordinal - 1, s_tenant[e.stream], s.type, s_id[e.stream],
            versions[e.stream] + e.offs, e.id, a_id[s_append[e.stream]], e.ordinal,
            e.type, e.subject, e.record, e.actor, e.payload::json, e.sealed, e.metadata::json,
            least(coalesce(e.effective, at), at), at
        from unnest(e_stream, e_offset, e_ordinal, e_id, e_type, e_subject, e_record, e_actor, e_payload, e_sealed,
                    e_metadata, e_effective)
             e (stream, offs, ordinal, id, type, subject, record, actor, payload, sealed, metadata, effective),
             lateral (select s_type[e.stream]) s (type)
        where added[s_append[e.stream]];
        perform pg_notify('trust_events', (select string_agg(distinct s_type[e.stream], ',') from unnest(e_stream) e (stream)
                                           where added[s_append[e.stream]]));
    end if;
    if side is not null then
        perform trust.side_writes(side, added, at);
    end if;
end
$$;
comment on function trust.append is 'adds appends to the log; the only way in';

-- trust.append_one is trust.append for a batch of one: the same arguments, the same answer, without the machinery of sets that a
-- lone caller would wait for. That both agree is tested.
create function trust.append_one(
    a_id uuid[], a_tenant uuid[], a_events integer[],
    s_append integer[], s_tenant uuid[], s_type text[], s_id uuid[], s_expected integer[],
    e_stream integer[], e_offset integer[], e_ordinal integer[], e_id uuid[], e_type text[],
    e_subject uuid[], e_record uuid[], e_actor uuid[],
    e_payload text[], e_sealed bytea[], e_metadata text[], e_effective timestamptz[],
    side json,
    out outcomes smallint[], out firsts bigint[], out versions integer[], out at timestamptz)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    head     bigint;
    last_at  timestamptz;
    actual   integer;
    j        integer;
begin
    perform pg_advisory_xact_lock(7267411);

    select e.position, e.recorded_at into head, last_at from trust.events e order by e.position desc limit 1;
    head := coalesce(head, 0);
    at := greatest(clock_timestamp(), last_at);

    outcomes := array[0];
    firsts := array[0];
    versions := '{}';
    if exists (select from trust.events e where e.append_id = a_id[1]) then
        outcomes[1] := 1;
    end if;
    for k in 1 .. cardinality(s_append) loop
        actual := (select e.version from trust.events e
                   where e.tenant_id = s_tenant[k] and e.stream_type = s_type[k] and e.stream_id = s_id[k]
                   order by e.version desc limit 1);
        versions[k] := coalesce(actual, 0);
        if outcomes[1] = 0 and s_expected[k] >= 0 and s_expected[k] <> versions[k] then
            outcomes[1] := 2;
        end if;
    end loop;
    if side is not null then
        outcomes := trust.side_outcomes(side, outcomes);
    end if;
    if outcomes[1] <> 0 then
        return;
    end if;

    if a_events[1] > 0 then
        firsts[1] := head + 1;
        for k in 1 .. cardinality(e_id) loop
            j := e_stream[k];
            insert into trust.events (position, tenant_id, stream_type, stream_id, version, event_id, append_id, ordinal,
                event_type, subject_id, record_id, actor_id, payload, sealed, metadata, effective_at, recorded_at)
            values (head + e_ordinal[k], s_tenant[j], s_type[j], s_id[j], versions[j] + e_offset[k], e_id[k], a_id[1],
                e_ordinal[k], e_type[k], e_subject[k], e_record[k], e_actor[k], e_payload[k]::json, e_sealed[k],
                e_metadata[k]::json, least(coalesce(e_effective[k], at), at), at);
        end loop;
        perform pg_notify('trust_events', case when a_events[1] = 1 then s_type[j]
                                          else (select string_agg(distinct s_type[k], ',') from unnest(e_stream) k) end);
    end if;
    if side is not null then
        perform trust.side_writes(side, array[true], at);
    end if;
end
$$;
comment on function trust.append_one is 'trust.append for a batch of one';

-- What would stop a side write: judged before anything is written.
create function trust.side_outcomes(side json, outcomes smallint[]) returns smallint[]
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
                -- The new token already being the current one means that this very rotation was committed before.
                if not exists (select from trust.sessions s where s.session_id = w.id
                               and s.token in (w.digest, w.token)) then
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
comment on function trust.side_outcomes is 'part of trust.append: which side writes cannot be made';

create function trust.side_writes(side json, added boolean[], at timestamptz) returns void
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
                update trust.sessions s set token = w.token, expires_at = w.expires where s.session_id = w.id;
            when 'end_session' then
                delete from trust.sessions s where s.session_id = w.id;
            when 'demand_no_acts' then
                null; -- judged above
            when 'end_sessions' then
                delete from trust.sessions s where s.user_id = w.owner and s.session_id is distinct from w.id;
            else
                raise exception 'unknown side write %', w.kind;
        end case;
    end loop;
end
$$;
comment on function trust.side_writes is 'part of trust.append: applies the side writes of the appends that were added';

-- Sign-in happens before a tenant is known, so it looks across tenants, and gives no more than a verification needs.
create function trust.sign_in(digest bytea, tenant uuid)
returns table (tenant_id uuid, user_id uuid, verifier text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
    select c.tenant_id, c.user_id, c.verifier from trust.credentials c
    where c.login_digest = sign_in.digest and (sign_in.tenant is null or c.tenant_id = sign_in.tenant)
    limit 2;
end;
comment on function trust.sign_in is 'the accounts with this address, at most two, in one tenant or in all';

create function trust.verifier(account uuid, tenant uuid)
returns text
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
    select c.verifier from trust.credentials c where c.user_id = verifier.account and c.tenant_id = verifier.tenant;
end;
comment on function trust.verifier is 'the password check of one account';

-- Who registers a municipality retries without knowing the id it was given.
create function trust.append_tenant(append uuid) returns uuid
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
    select e.tenant_id from trust.events e where e.append_id = append_tenant.append limit 1;
end;
comment on function trust.append_tenant is 'the tenant an append was made in';

create function trust.head(out "position" bigint, out recorded_at timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(max(e.position), 0), max(e.recorded_at)
    from (select position, recorded_at from trust.events order by position desc limit 1) e;
end;
comment on function trust.head is 'the newest event of the whole log';

-- Tells by the ciphertext of the secret "check" whether the master key that a process proved is still the one in force: that
-- ciphertext has a nonce of its own, and changes with each rotation and with nothing else. Ask under the lock, which a rotation holds.
create function trust.in_force(proof bytea) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select exists (select from trust.secrets s where s.name = 'check' and s.wrapped = in_force.proof);
end;
comment on function trust.in_force is 'whether a process still works with the master key in force';

-- The first process to use an installation makes its secrets; every other gets the same. "check" comes first, and its ciphertext is
-- the proof for the others; null: the master key was changed since the caller proved it.
create function trust.secret_once(secret_name text, candidate bytea, proof bytea) returns bytea
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    stored bytea;
begin
    select s.wrapped into stored from trust.secrets s where s.name = secret_name;
    if stored is null then
        perform pg_advisory_xact_lock(7267411);
        insert into trust.secrets (name, wrapped)
        select secret_name, candidate where secret_name = 'check' or trust.in_force(proof)
        on conflict do nothing;
        select s.wrapped into stored from trust.secrets s where s.name = secret_name;
    end if;
    return stored;
end
$$;
comment on function trust.secret_once is 'stores a secret if there is none of this name, and gives the one that stands';

reset role;
grant create on schema trust to trust_append;
do $$
declare
    signature text;
begin
    for signature in
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'trust'::regnamespace
          and p.proname in ('append', 'append_one', 'side_outcomes', 'side_writes', 'sign_in', 'verifier', 'append_tenant', 'head', 'in_force',
                            'secret_once')
    loop
        execute format('revoke all on function %s from public', signature);
        execute format('alter function %s owner to trust_append', signature);
        if signature not like '%side_%' and signature not like '%in_force%' then
            execute format('grant execute on function %s to trust_query', signature);
        end if;
    end loop;
    grant execute on function trust.head, trust.secret_once to trust_projector, trust_owner;
end
$$;
revoke create on schema trust from trust_append;

---- create above / drop below ----

drop function trust.append, trust.append_one, trust.side_outcomes, trust.side_writes, trust.sign_in, trust.verifier, trust.append_tenant,
    trust.head, trust.secret_once, trust.in_force;
