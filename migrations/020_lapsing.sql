-- additive
--
-- A grant may end without an event: by an instant that was agreed with it, or because a newer notice demands that people are asked
-- again. The read table keeps the instant that was agreed, and since when a decision is not the newest about its purpose, so that
-- a query can say what has become of a decision by any instant. What notices demand is not kept here: it is joined, see
-- projections/standing.go.
--
-- The second column is filled from what the table has, which is what the log says unless its clock ran backwards. Until programs of
-- before have stopped, rows that they write have neither: trust rebuild consents makes up for that.
set local role trust_owner;

do $$
declare
    live text := trust.live_version('consents')::text;
begin
    execute format('alter table %s add column valid_until timestamptz, add column superseded_at timestamptz', live);
    execute format('comment on column %s.valid_until is %L', live, 'from when a grant no longer holds, as was agreed; null: no end');
    execute format('comment on column %s.superseded_at is %L', live,
        'when the next decision about the purpose took its place; null: it is the newest');

    execute format('update %1$s c set superseded_at = n.next from (
            select tenant_id, id, lead(given_at) over (partition by tenant_id, subject_id, purpose order by given_at, decided) as next
            from %1$s) n
        where c.tenant_id = n.tenant_id and c.id = n.id and n.next is not null', live);

    execute format('create index %I on %s (tenant_id, purpose, subject_id)
        where consented and withdrawn_at is null and superseded_at is null',
        (select relname from pg_class where oid = trust.live_version('consents')) || '_current_idx', live);
    execute format('comment on index trust.%I is %L',
        (select relname from pg_class where oid = trust.live_version('consents')) || '_current_idx',
        'the newest grants for a purpose that were not withdrawn');

    execute format('create or replace view trust.consents with (security_invoker = true) as select * from %s', live);
end
$$;

reset role;

---- create above / drop below ----

do $$
declare
    live text := trust.live_version('consents')::text;
begin
    execute 'drop view trust.consents';
    execute format('drop index trust.%I', (select relname from pg_class where oid = live::regclass) || '_current_idx');
    execute format('alter table %s drop column valid_until, drop column superseded_at', live);
    execute format('create view trust.consents with (security_invoker = true) as select * from %s', live);
    grant select on trust.consents to trust_query;
    grant select, insert, update, delete on trust.consents to trust_projector;
end
$$;
