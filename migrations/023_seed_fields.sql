-- additive
--
-- The read tables hold who created a row and who changed it last, and since when a person is erased. What is there is filled in from the
-- log. A projector of the release before knows none of this: of rows that it still writes beside this schema these columns are null or as
-- before, which trust verify reports and trust rebuild mends.
set local role trust_owner;

do $$
declare
    live_users    regclass := trust.live_version('users');
    live_consents regclass := trust.live_version('consents');
    users         text;
    consents      text;
begin
    for users in
        select c.oid::regclass::text from pg_class c
        where c.relnamespace = 'trust'::regnamespace and c.relkind = 'r' and c.relname ~ '^users_v[0-9]+$'
    loop
        execute format('alter table %s add column created_by uuid, add column updated_by uuid, add column deleted_at timestamptz,
            add column is_deleted boolean not null generated always as (is_erased) stored', users);
        execute format('comment on column %s.created_by is ''the account that registered the user, perhaps their own; null: an operator''', users);
        execute format('comment on column %s.updated_by is ''the account that changed the user last; null: an operator''', users);
        execute format('comment on column %s.deleted_at is ''when the person was erased; null: they are not''', users);
        execute format('comment on column %s.is_deleted is ''is_erased under its common name''', users);

        -- A disowned event changed nothing, though the row counts it.
        execute format($fill$
            with disowned as materialized (
                select record_id as event_id from trust.events where stream_type = 'log' and event_type = 'log.event_disowned.v1'
            )
            update %s u set created_by = first.actor_id, updated_by = last.actor_id, deleted_at = erased.recorded_at
            from %1$s r
            left join lateral (
                select e.actor_id from trust.events e
                where e.tenant_id = r.tenant_id and e.stream_type = 'user' and e.stream_id = r.id and e.version <= r.version
                    and e.event_type in ('user.registered.v1', 'resident.recorded.v1') and e.event_id not in (select d.event_id from disowned d)
                order by e.version desc limit 1
            ) first on true
            left join lateral (
                select e.actor_id from trust.events e
                where e.tenant_id = r.tenant_id and e.stream_type = 'user' and e.stream_id = r.id and e.version <= r.version
                    and e.event_id not in (select d.event_id from disowned d)
                order by e.version desc limit 1
            ) last on true
            left join lateral (
                select e.recorded_at from trust.events e
                where e.tenant_id = r.tenant_id and e.stream_type = 'user' and e.stream_id = r.id and e.version <= r.version
                    and e.event_type = 'user.erased.v1' and e.event_id not in (select d.event_id from disowned d)
                order by e.version limit 1
            ) erased on true
            where u.tenant_id = r.tenant_id and u.id = r.id
            $fill$, users);
    end loop;

    for consents in
        select c.oid::regclass::text from pg_class c
        where c.relnamespace = 'trust'::regnamespace and c.relkind = 'r' and c.relname ~ '^consents_v[0-9]+$'
    loop
        execute format('alter table %s add column updated_at timestamptz, add column updated_by uuid,
            add column created_by uuid generated always as (recorded_by) stored', consents);
        execute format('comment on column %s.updated_at is ''when the log learned of the newest event about it''', consents);
        execute format('comment on column %s.updated_by is ''the account that recorded that event; null: an operator''', consents);
        execute format('comment on column %s.created_by is ''recorded_by under its common name''', consents);

        execute format('update %s c set updated_at = e.recorded_at, updated_by = e.actor_id from trust.events e where e.position = c.position',
            consents);
    end loop;

    execute format('create or replace view trust.users with (security_invoker = true) as select * from %s', live_users);
    execute format('create or replace view trust.consents with (security_invoker = true) as select * from %s', live_consents);
end
$$;

reset role;

---- create above / drop below ----

-- Nothing: the columns stay, and an older program leaves them as they are.
