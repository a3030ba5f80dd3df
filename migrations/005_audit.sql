-- Readings straight from the log: audit, history, replay.
--
--   trust_audit  the platform's audit: reads the events of all tenants, and no key, so that personal values stay sealed
--
-- The API's role switches to it for one transaction ("set local role"). It inherits nothing of it otherwise: a role here is
-- noinherit, and a policy holds for who has a role's rights, not for every member.
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'trust_audit') then
        create role trust_audit nologin nosuperuser nobypassrls noinherit;
    end if;
    if not pg_catalog.pg_has_role('trust_query', 'trust_audit', 'member') then
        grant trust_audit to trust_query;
    end if;
end
$$;

grant usage on schema trust to trust_audit;

set local role trust_owner;

grant select on trust.events to trust_audit;
create policy audit_reads on trust.events for select to trust_audit using (true);

create index events_reads_idx on trust.events (tenant_id, position)
where event_type = 'personal_data.read.v1' and subject_id is null;
comment on index trust.events_reads_idx is 'who saw this person: the reads of several people at once';

create index events_requests_idx on trust.events (tenant_id, position)
where event_type in ('rights.request_lodged.v1', 'rights.request_fulfilled.v1', 'rights.request_refused.v1');
comment on index trust.events_requests_idx is 'a tenant''s requests of data subjects';

-- Looks across tenants: a tenant's own positions have gaps, and halving needs every one. Plans are kept from the first call,
-- perhaps on an empty log, hence the settings.
create function trust.position_at(instant timestamptz) returns bigint
language plpgsql stable strict security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    low    bigint := 0;
    high   bigint := coalesce((select e.position from trust.events e order by e.position desc limit 1), 0);
    middle bigint;
begin
    while low < high loop
        middle := (low + high + 1) / 2;
        if (select e.recorded_at from trust.events e where e.position = middle) <= instant then
            low := middle;
        else
            high := middle - 1;
        end if;
    end loop;
    return low;
end
$$;
comment on function trust.position_at is 'the newest position recorded at an instant or before it; 0: none';

reset role;
grant create on schema trust to trust_append;
revoke all on function trust.position_at from public;
alter function trust.position_at owner to trust_append;
revoke create on schema trust from trust_append;
set local role trust_append;
grant execute on function trust.position_at, trust.head to trust_query, trust_projector, trust_owner, trust_audit;

---- create above / drop below ----

drop function trust.position_at;
drop index trust.events_reads_idx;
drop policy audit_reads on trust.events;
revoke all on trust.events from trust_audit;
revoke all on schema trust from trust_audit;
