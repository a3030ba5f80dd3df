-- additive
--
-- Events carry a code: a keyed hash, under a key that the database never sees in the clear, over what the program that appends them
-- knows. Whoever has a login of the database alone can still call the append function; what it writes has no code that holds, and
-- nothing that reads the log believes it. docs/adr/0024-codes.md says what the code covers.
--
-- trust.append and trust.append_one take one more argument, a code for each event. The functions of before stay, for programs of before:
-- their events have none. trust codes gives older events theirs, in a table of their own, because an event is never changed; when all
-- have one it marks that in trust.coded, and from then on an event without a code is refused here and forged elsewhere. A log that is
-- empty when its keys are made is marked at once.
set local role trust_owner;

alter table trust.events add column code bytea;
comment on column trust.events.code is 'key number, flags, HMAC-SHA-256 under the key codes; null: appended by a program of before, see trust.codes';

create table trust.codes (
    position bigint not null,
    code     bytea  not null,
    constraint codes_pkey primary key (position)
);
comment on table trust.codes is 'codes of events that were appended without one; written by trust codes alone';
comment on column trust.codes.position is 'of the event';
comment on column trust.codes.code is 'as in trust.events';
comment on index trust.codes_pkey is 'the code of an older event';

create table trust.coded (
    one      boolean not null default true check (one),
    position bigint  not null,
    code     bytea   not null,
    constraint coded_pkey primary key (one)
);
comment on table trust.coded is 'every event has a code, and from now on one without is forged: one row, or none as long as that is not so';
comment on column trust.coded.one is 'true: there is no second row';
comment on column trust.coded.position is 'above it an event has its code in its own row; 0: every event does';
comment on column trust.coded.code is 'HMAC-SHA-256 of that position under the key codes';
comment on index trust.coded_pkey is 'the one row';

insert into trust.event_types (event_type, stream_type) values ('log.event_disowned.v1', 'log');

grant select on trust.codes, trust.coded to trust_append, trust_projector, trust_query, trust_audit;
grant insert on trust.coded to trust_append;

comment on column trust.secrets.name is 'lookup: keys the digests of claims and sign-ins; codes: keys the codes of events; check: tells a wrong master key';

reset role;
grant create on schema trust to trust_append;
set local role trust_append;

-- Where the log is empty and its keys are just being made, every event will have a code. Tells whether it is marked so now.
create function trust.code_from_start(code bytea) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from trust.coded) then
        return true;
    elsif (select e.position from trust.events e order by e.position limit 1) is not null then
        return false;
    end if;
    perform pg_advisory_xact_lock(7267411);
    insert into trust.coded (position, code)
    select 0, code_from_start.code where (select e.position from trust.events e order by e.position limit 1) is null
    on conflict do nothing;
    return exists (select from trust.coded);
end
$$;
comment on function trust.code_from_start is 'marks an empty log as one whose events all have a code';

-- Called under the lock, which trust codes holds when it marks the log: no event without a code slips in behind.
create function trust.demand_codes(ids uuid[], codes bytea[]) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if cardinality(codes) <> cardinality(ids) then
        raise exception 'there are % codes for % events', cardinality(codes), cardinality(ids) using errcode = 'invalid_parameter_value';
    elsif array_position(codes, null) is not null and exists (select from trust.coded) then
        raise exception 'events of this log carry a code: this program is older than the log, run a newer trust'
            using errcode = 'feature_not_supported';
    end if;
end
$$;
comment on function trust.demand_codes is 'part of trust.append: every event of a marked log has a code';

create function trust.append(
    a_id uuid[], a_tenant uuid[], a_events integer[],
    s_append integer[], s_tenant uuid[], s_type text[], s_id uuid[], s_expected integer[],
    e_stream integer[], e_offset integer[], e_ordinal integer[], e_id uuid[], e_type text[],
    e_subject uuid[], e_record uuid[], e_actor uuid[],
    e_payload text[], e_sealed bytea[], e_metadata text[], e_effective timestamptz[],
    side json, sent timestamptz, e_code bytea[],
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
    perform trust.demand_codes(e_id, e_code);

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
            event_type, subject_id, record_id, actor_id, payload, sealed, metadata, effective_at, recorded_at, code)
        select firsts[s_append[e.stream]] + e.ordinal - 1, s_tenant[e.stream], s.type, s_id[e.stream],
            versions[e.stream] + e.offs, e.id, a_id[s_append[e.stream]], e.ordinal,
            e.type, e.subject, e.record, e.actor, e.payload::json, e.sealed, e.metadata::json,
            least(coalesce(e.effective, clock), clock), at, e.code
        from unnest(e_stream, e_offset, e_ordinal, e_id, e_type, e_subject, e_record, e_actor, e_payload, e_sealed,
                    e_metadata, e_effective, e_code)
             e (stream, offs, ordinal, id, type, subject, record, actor, payload, sealed, metadata, effective, code),
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

comment on function trust.append(uuid[], uuid[], integer[], integer[], uuid[], text[], uuid[], integer[], integer[], integer[],
    integer[], uuid[], text[], uuid[], uuid[], uuid[], text[], bytea[], text[], timestamptz[], json, timestamptz, bytea[]) is
    'adds appends to the log; the only way in';

create function trust.append_one(
    a_id uuid[], a_tenant uuid[], a_events integer[],
    s_append integer[], s_tenant uuid[], s_type text[], s_id uuid[], s_expected integer[],
    e_stream integer[], e_offset integer[], e_ordinal integer[], e_id uuid[], e_type text[],
    e_subject uuid[], e_record uuid[], e_actor uuid[],
    e_payload text[], e_sealed bytea[], e_metadata text[], e_effective timestamptz[],
    side json, sent timestamptz, e_code bytea[],
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
    perform trust.demand_codes(e_id, e_code);

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
                event_type, subject_id, record_id, actor_id, payload, sealed, metadata, effective_at, recorded_at, code)
            values (head + e_ordinal[k], s_tenant[j], s_type[j], s_id[j], versions[j] + e_offset[k], e_id[k], a_id[1],
                e_ordinal[k], e_type[k], e_subject[k], e_record[k], e_actor[k], e_payload[k]::json, e_sealed[k],
                e_metadata[k]::json, least(coalesce(e_effective[k], clock), clock), at, e_code[k]);
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

comment on function trust.append_one(uuid[], uuid[], integer[], integer[], uuid[], text[], uuid[], integer[], integer[], integer[],
    integer[], uuid[], text[], uuid[], uuid[], uuid[], text[], bytea[], text[], timestamptz[], json, timestamptz, bytea[]) is
    'trust.append for a batch of one';

-- For programs that know no codes.
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
begin
    select a.* into outcomes, firsts, versions, at, clock
    from trust.append(a_id, a_tenant, a_events, s_append, s_tenant, s_type, s_id, s_expected, e_stream, e_offset, e_ordinal,
        e_id, e_type, e_subject, e_record, e_actor, e_payload, e_sealed, e_metadata, e_effective, side, sent,
        array_fill(null::bytea, array[cardinality(e_id)])) a;
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
begin
    select a.* into outcomes, firsts, versions, at, clock
    from trust.append_one(a_id, a_tenant, a_events, s_append, s_tenant, s_type, s_id, s_expected, e_stream, e_offset, e_ordinal,
        e_id, e_type, e_subject, e_record, e_actor, e_payload, e_sealed, e_metadata, e_effective, side, sent,
        array_fill(null::bytea, array[cardinality(e_id)])) a;
end
$$;

comment on function trust.append(uuid[], uuid[], integer[], integer[], uuid[], text[], uuid[], integer[], integer[], integer[],
    integer[], uuid[], text[], uuid[], uuid[], uuid[], text[], bytea[], text[], timestamptz[], json, timestamptz) is 'trust.append for programs that know no codes';
comment on function trust.append_one(uuid[], uuid[], integer[], integer[], uuid[], text[], uuid[], integer[], integer[], integer[],
    integer[], uuid[], text[], uuid[], uuid[], uuid[], text[], bytea[], text[], timestamptz[], json, timestamptz) is 'trust.append_one for programs that know no codes';

do $$
declare
    signature text;
begin
    for signature in
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'trust'::regnamespace and p.proname in ('append', 'append_one', 'code_from_start', 'demand_codes')
    loop
        execute format('revoke all on function %s from public', signature);
        if signature not like '%demand_codes%' then
            execute format('grant execute on function %s to trust_query', signature);
        end if;
    end loop;
    grant execute on function trust.code_from_start to trust_projector, trust_owner;
end
$$;

reset role;
revoke create on schema trust from trust_append;

---- create above / drop below ----

drop function trust.append(uuid[], uuid[], integer[], integer[], uuid[], text[], uuid[], integer[], integer[], integer[],
    integer[], uuid[], text[], uuid[], uuid[], uuid[], text[], bytea[], text[], timestamptz[], json, timestamptz, bytea[]);
drop function trust.append_one(uuid[], uuid[], integer[], integer[], uuid[], text[], uuid[], integer[], integer[], integer[],
    integer[], uuid[], text[], uuid[], uuid[], uuid[], text[], bytea[], text[], timestamptz[], json, timestamptz, bytea[]);
drop function trust.code_from_start, trust.demand_codes;
drop table trust.coded, trust.codes;
delete from trust.event_types where event_type = 'log.event_disowned.v1';
alter table trust.events drop column code;
