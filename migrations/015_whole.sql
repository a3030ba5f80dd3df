-- additive
--
-- The append function enforces what every reader of the log relies on, because more than our own program may call it: whoever has the
-- API's login to the database. It cannot tell who is behind a call; what it can tell is whether a call leaves the log whole. A call that
-- would not is an error, and nothing of its batch is added:
--
--   ordinals and offsets are exactly 1..n, every append has the events that it says, all of them in its own tenant;
--   an event's type is registered, for streams of its kind;
--   a side write stands beside the event that it belongs to, in one append and about the same record.
--
-- Two things stand beside nothing, because they are no events: the rotation of a session, and the key of a month.
set local role trust_owner;

create table trust.event_types (
    event_type  text not null primary key,
    stream_type text not null
);
comment on table trust.event_types is 'every registered event type; a migration adds a row for each new one';
comment on column trust.event_types.event_type is 'as in trust.events';
comment on column trust.event_types.stream_type is 'the one kind of stream that holds such events';
comment on index trust.event_types_pkey is 'is this type registered';
insert into trust.event_types (stream_type, event_type) values
    ('municipality', 'municipality.registered.v1'),
    ('municipality', 'municipality.details_changed.v1'),
    ('municipality', 'municipality.deactivated.v1'),
    ('municipality', 'municipality.reactivated.v1'),
    ('user', 'user.registered.v1'),
    ('user', 'user.profile_changed.v1'),
    ('user', 'user.email_changed.v1'),
    ('user', 'user.role_changed.v1'),
    ('user', 'user.password_changed.v1'),
    ('user', 'user.password_rehashed.v1'),
    ('user', 'user.deactivated.v1'),
    ('user', 'user.reactivated.v1'),
    ('user', 'user.erased.v1'),
    ('admins', 'admin.added.v1'),
    ('admins', 'admin.removed.v1'),
    ('access', 'access.tenant_mismatch.v1'),
    ('access', 'personal_data.read.v1'),
    ('consent', 'consent.granted.v1'),
    ('consent', 'consent.refused.v1'),
    ('consent', 'consent.withdrawn.v1'),
    ('purpose', 'purpose.defined.v1'),
    ('purpose', 'purpose.notice_published.v1'),
    ('purpose', 'purpose.retired.v1'),
    ('session', 'session.started.v1'),
    ('session', 'session.ended.v1'),
    ('session', 'session.reuse_detected.v1'),
    ('session', 'session.sign_in_failed.v1'),
    ('rights', 'rights.request_lodged.v1'),
    ('rights', 'rights.request_fulfilled.v1'),
    ('rights', 'rights.request_refused.v1'),
    ('rights', 'rights.hold_placed.v1'),
    ('rights', 'rights.hold_lifted.v1');

create table trust.side_rules (
    kind       text not null,
    event_type text not null references trust.event_types,
    constraint side_rules_pkey primary key (kind, event_type)
);
comment on table trust.side_rules is 'beside which events a side write may stand: one of these, in the same append, of the stream of the same user or municipality';
comment on column trust.side_rules.kind is 'kind of side write; of a key that is made with the kind of key';
comment on column trust.side_rules.event_type is 'type of the event';
comment on index trust.side_rules_pkey is 'may it stand beside this event';
insert into trust.side_rules (kind, event_type) values
    ('take_claim', 'user.registered.v1'),
    ('take_claim', 'user.email_changed.v1'),
    ('take_claim', 'municipality.registered.v1'),
    ('take_claim', 'municipality.details_changed.v1'),
    ('release_claim', 'user.email_changed.v1'),
    ('release_claim', 'user.erased.v1'),
    ('release_claim', 'municipality.details_changed.v1'),
    ('set_credential', 'user.registered.v1'),
    ('set_credential', 'user.email_changed.v1'),
    ('set_credential', 'user.password_changed.v1'),
    ('set_credential', 'user.password_rehashed.v1'),
    ('delete_credential', 'user.erased.v1'),
    ('create_key subject', 'user.registered.v1'),
    ('create_key tenant', 'municipality.registered.v1'),
    ('destroy_key', 'user.erased.v1'),
    ('start_session', 'session.started.v1'),
    ('end_session', 'session.ended.v1'),
    ('end_sessions', 'session.ended.v1'),
    ('end_sessions', 'municipality.deactivated.v1');
grant select on trust.event_types, trust.side_rules to trust_append;

reset role;
grant create on schema trust to trust_append;
set local role trust_append;

-- Called before the lock is taken, so that nobody waits for it. What it lets through and the tables' own constraints do not, no caller
-- can write: null ids, a position, version or ordinal twice.
create function trust.demand_whole(
    a_id uuid[], a_tenant uuid[], a_events integer[],
    s_append integer[], s_tenant uuid[], s_type text[], s_id uuid[], s_expected integer[],
    e_stream integer[], e_offset integer[], e_ordinal integer[], e_id uuid[], e_type text[],
    e_record uuid[], e_payload text[], e_metadata text[], e_effective timestamptz[],
    side json) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    most constant integer := 8 * 1024 * 1024; -- bytes; of ours nothing comes near
    platform constant uuid := '00000000-0000-7000-8000-000000000001';
    j constant integer := e_stream[1];
    fault text;
begin
    -- Elsewhere elements are named by their subscripts, and by their place as well.
    if 1 <> any (array[array_lower(a_id, 1), array_lower(a_tenant, 1), array_lower(a_events, 1), array_lower(s_append, 1),
                       array_lower(s_tenant, 1), array_lower(s_type, 1), array_lower(s_id, 1), array_lower(s_expected, 1),
                       array_lower(e_stream, 1), array_lower(e_offset, 1), array_lower(e_ordinal, 1), array_lower(e_id, 1),
                       array_lower(e_type, 1), array_lower(e_record, 1), array_lower(e_payload, 1), array_lower(e_metadata, 1)])
    then
        fault := 'an array does not begin at 1';
    elsif octet_length(side::text) > most then
        fault := 'its side writes are too large';
    elsif cardinality(a_id) = 1 and cardinality(e_id) = 1 then
        -- The commonest call, without the machinery of sets.
        if (a_events[1] = 1 and s_append[j] = 1 and s_tenant[j] = a_tenant[1] and e_ordinal[1] = 1 and e_offset[1] = 1
            and octet_length(e_payload[1]) <= most and octet_length(e_metadata[1]) <= most
            -- What no query could read, such as a NUL, is an error of the cast.
            and e_payload[1]::jsonb is not null and e_metadata[1]::jsonb is not null
            and (e_effective[1] is null or isfinite(e_effective[1]) and e_effective[1] >= '0001-01-01 00:00:00+00')
            and exists (select from trust.event_types t where t.event_type = e_type[1] and t.stream_type = s_type[j])) is not true
        then
            fault := 'its event cannot be';
        end if;
    elsif exists (select from unnest(e_payload, e_metadata) e (payload, metadata)
                  where octet_length(e.payload) > most or octet_length(e.metadata) > most)
    then
        fault := 'an event is too large';
    elsif exists (select from unnest(e_payload, e_metadata) e (payload, metadata)
                  where e.payload::jsonb is null or e.metadata::jsonb is null)
    then
        fault := 'an event lacks its payload or metadata';
    elsif (select min(n) < 0 or sum(n) <> cardinality(e_id) from unnest(a_events) n) then
        fault := 'an append has not the events that it says';
    elsif exists (
        select from unnest(e_stream, e_effective) e (stream, effective)
        where (s_tenant[e.stream] = a_tenant[s_append[e.stream]]) is not true
            or not isfinite(e.effective) or e.effective < '0001-01-01 00:00:00+00')
    then
        fault := 'an event''s tenant or effective time cannot be';
    elsif exists (
        select from (select distinct s_type[e.stream], e.type from unnest(e_stream, e_type) e (stream, type)) k (stream_type, event_type)
        where not exists (select from trust.event_types t where t.event_type = k.event_type and t.stream_type = k.stream_type))
    then
        fault := 'an event''s type is not known in such a stream';
    elsif exists (
        select from unnest(e_stream, e_ordinal) e (stream, ordinal) group by s_append[e.stream]
        having min(e.ordinal) <> 1 or max(e.ordinal) <> count(*) or count(*) is distinct from a_events[s_append[min(e.stream)]])
    then
        fault := 'the ordinals of an append are not 1..n';
    elsif exists (
        select from unnest(e_stream, e_offset) e (stream, offs) group by e.stream
        having min(e.offs) <> 1 or max(e.offs) <> count(*))
    then
        fault := 'the offsets of a stream are not 1..n';
    end if;
    if fault is null and side is not null then
        select w.kind || ' stands beside nothing' into fault
        from json_to_recordset(side) as w (append integer, kind text, tenant uuid, id uuid, name text, owner uuid, expires timestamptz)
        where w.kind not in ('rotate_session', 'demand_no_acts')
            and not (w.kind = 'create_key' and (w.name = 'month' or w.name = 'tenant' and w.id = platform))
            and not exists (
                select from unnest(e_stream, e_type, e_payload) e (stream, type, payload)
                    join trust.side_rules r on r.event_type = e.type
                where s_append[e.stream] = w.append
                    and r.kind = case w.kind when 'create_key' then 'create_key ' || w.name else w.kind end
                    and case w.kind
                        when 'start_session' then s_id[e.stream] = w.owner and e.payload::json ->> 'session_id' = w.id::text
                        when 'end_session' then e.payload::json ->> 'session_id' = w.id::text
                        when 'end_sessions' then s_id[e.stream] = coalesce(w.owner, w.tenant)
                        else s_id[e.stream] = w.id
                    end)
        limit 1;

        if fault is null then
            select w.kind || ' is about another tenant, or for ever' into fault
            from json_to_recordset(side) as w (append integer, kind text, tenant uuid, id uuid, name text, owner uuid, expires timestamptz)
            where w.tenant is null or w.tenant is distinct from a_tenant[w.append]
                    and not (w.tenant = platform and w.kind in ('take_claim', 'release_claim') and w.name like 'municipality\_%')
                or not isfinite(w.expires)
                or w.kind in ('set_credential', 'delete_credential')
                    and exists (select from trust.credentials c where c.user_id = w.id and c.tenant_id <> w.tenant)
                or w.kind = 'create_key' and w.name = 'tenant' and w.id <> w.tenant
                or w.kind = 'destroy_key'
                    and exists (select from trust.keys k where k.key_id = w.id and (k.tenant_id <> w.tenant or k.kind <> 'subject'))
                or w.kind in ('rotate_session', 'end_session')
                    and exists (select from trust.sessions s where s.session_id = w.id and s.tenant_id <> w.tenant)
                or w.kind = 'end_sessions'
                    and exists (select from trust.sessions s where s.user_id = w.owner and s.tenant_id <> w.tenant)
            limit 1;
        end if;
    end if;

    if fault is not null then
        raise exception 'this append would not leave the log whole: %', fault using errcode = 'invalid_parameter_value';
    end if;
end
$$;
comment on function trust.demand_whole is 'part of trust.append: refuses what would not leave the log whole';
revoke all on function trust.demand_whole from public;

-- From here on as in 010_clock.sql, but for the call of trust.demand_whole.
create or replace function trust.append(
    a_id uuid[], a_tenant uuid[], a_events integer[],
    s_append integer[], s_tenant uuid[], s_type text[], s_id uuid[], s_expected integer[],
    e_stream integer[], e_offset integer[], e_ordinal integer[], e_id uuid[], e_type text[],
    e_subject uuid[], e_record uuid[], e_actor uuid[],
    e_payload text[], e_sealed bytea[], e_metadata text[], e_effective timestamptz[],
    side json, sent timestamptz,
    out outcomes smallint[], out firsts bigint[], out versions integer[], out at timestamptz,
    out clock timestamptz)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    differ   boolean;
    head     bigint;
    last_at  timestamptz;
    next     bigint;
    added    boolean[];
    i        integer;
begin
    perform trust.demand_whole(a_id, a_tenant, a_events, s_append, s_tenant, s_type, s_id, s_expected, e_stream, e_offset, e_ordinal,
        e_id, e_type, e_record, e_payload, e_metadata, e_effective, side);
    clock := clock_timestamp();
    differ := abs(extract(epoch from clock - sent)) > 5;
    perform pg_advisory_xact_lock(7267411);

    select e.position, e.recorded_at into head, last_at from trust.events e order by e.position desc limit 1;
    if differ is not true then
        clock := clock_timestamp();
    end if;
    at := greatest(clock, last_at);

    outcomes := array(
        select case when (select e.position from trust.events e where e.append_id = a.id order by e.ordinal limit 1) is null
                    then 0 else 1 end
        from unnest(a_id) with ordinality a (id, i) order by a.i);
    if differ then
        outcomes := array(select case when o.outcome = 0 and a_events[o.i] > 0 then 8 else o.outcome end
                          from unnest(outcomes) with ordinality o (outcome, i) order by o.i);
    end if;
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
            least(coalesce(e.effective, clock), clock), at
        from unnest(e_stream, e_offset, e_ordinal, e_id, e_type, e_subject, e_record, e_actor, e_payload, e_sealed,
                    e_metadata, e_effective)
             e (stream, offs, ordinal, id, type, subject, record, actor, payload, sealed, metadata, effective),
             lateral (select s_type[e.stream]) s (type)
        where added[s_append[e.stream]];
        if current_setting('trust.notify', true) is distinct from 'off' then
            perform pg_notify('trust_events', (select string_agg(distinct s_type[e.stream], ',') from unnest(e_stream) e (stream)
                                               where added[s_append[e.stream]]));
        end if;
    end if;
    if side is not null then
        perform trust.side_writes(side, added, clock);
    end if;
end
$$;

create or replace function trust.append_one(
    a_id uuid[], a_tenant uuid[], a_events integer[],
    s_append integer[], s_tenant uuid[], s_type text[], s_id uuid[], s_expected integer[],
    e_stream integer[], e_offset integer[], e_ordinal integer[], e_id uuid[], e_type text[],
    e_subject uuid[], e_record uuid[], e_actor uuid[],
    e_payload text[], e_sealed bytea[], e_metadata text[], e_effective timestamptz[],
    side json, sent timestamptz,
    out outcomes smallint[], out firsts bigint[], out versions integer[], out at timestamptz,
    out clock timestamptz)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    differ   boolean;
    head     bigint;
    last_at  timestamptz;
    actual   integer;
    j        integer;
begin
    if cardinality(a_id) <> 1 then
        raise exception 'this is no single append' using errcode = 'invalid_parameter_value';
    end if;
    perform trust.demand_whole(a_id, a_tenant, a_events, s_append, s_tenant, s_type, s_id, s_expected, e_stream, e_offset, e_ordinal,
        e_id, e_type, e_record, e_payload, e_metadata, e_effective, side);
    clock := clock_timestamp();
    differ := abs(extract(epoch from clock - sent)) > 5;
    perform pg_advisory_xact_lock(7267411);

    select e.position, e.recorded_at into head, last_at from trust.events e order by e.position desc limit 1;
    head := coalesce(head, 0);
    if differ is not true then
        clock := clock_timestamp();
    end if;
    at := greatest(clock, last_at);

    outcomes := array[0];
    firsts := array[0];
    versions := '{}';
    if exists (select from trust.events e where e.append_id = a_id[1]) then
        outcomes[1] := 1;
    elsif differ and a_events[1] > 0 then
        outcomes[1] := 8;
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
                e_metadata[k]::json, least(coalesce(e_effective[k], clock), clock), at);
        end loop;
        if current_setting('trust.notify', true) is distinct from 'off' then
            perform pg_notify('trust_events', case when a_events[1] = 1 then s_type[j]
                                              else (select string_agg(distinct s_type[k], ',') from unnest(e_stream) k) end);
        end if;
    end if;
    if side is not null then
        perform trust.side_writes(side, array[true], clock);
    end if;
end
$$;

-- As in 003_append.sql, but only the secrets that the program knows are kept: keys rotate would meet any other.
create or replace function trust.secret_once(secret_name text, candidate bytea, proof bytea) returns bytea
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    stored bytea;
begin
    if secret_name is null or secret_name not in ('check', 'lookup', 'codes') then
        raise exception 'there is no secret of this name' using errcode = 'invalid_parameter_value';
    end if;

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

reset role;
revoke create on schema trust from trust_append;

-- Nobody of ours needs temporary tables but a restore. Where another owns the database this changes nothing, and Postgres warns.
do $$
begin
    execute format('grant temporary on database %I to trust_append, trust_owner', current_database());
    execute format('revoke temporary on database %I from public', current_database());
end
$$;

---- create above / drop below ----

-- Nothing: the tables stay, and these functions serve an older program as those before do.
