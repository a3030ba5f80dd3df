-- additive
--
-- Consents are searched and counted in the read table, which holds one row a decision: an index says which people can match, another
-- answers counts without a look at the rows. On the log there is only an index of what was recorded while its clock was ahead or copied
-- from another record, which is nearly always empty. An append compares two instants for it, and reads the payload only of what takes
-- effect before it is recorded, as every copy does.
set local role trust_owner;

do $$
declare
    consents text;
    bare     text;
begin
    for consents, bare in
        select c.oid::regclass::text, c.relname from pg_class c
        where c.relnamespace = 'trust'::regnamespace and c.relkind = 'r' and c.relname ~ '^consents_v[0-9]+$'
    loop
        execute format('create index %I on %s (tenant_id, purpose, given_at)
            include (subject_id, notice_version, language, channel, consented, withdrawn_at, valid_until, superseded_at, annulled_at, decided)',
            bare || '_search_idx', consents);
        execute format('comment on index trust.%I is ''who can have decided so; counts''', bare || '_search_idx');
        execute format('create index %I on %s (tenant_id, given_at) include (subject_id, decided)', bare || '_given_idx', consents);
        execute format('comment on index trust.%I is ''who can have decided at that time''', bare || '_given_idx');
        execute format('create index %I on %s (tenant_id, valid_until) include (decided) where valid_until is not null',
            bare || '_end_idx', consents);
        execute format('comment on index trust.%I is ''which grant ended last''', bare || '_end_idx');
    end loop;
end
$$;

create index events_ahead_idx on trust.events (tenant_id, stream_id)
where stream_type = 'consent' and effective_at < recorded_at and (payload ->> 'given_at' is null or payload -> 'copy' is not null);
comment on index trust.events_ahead_idx is 'whose decisions were recorded while the log was ahead of the clock, or copied from another record';

reset role;

---- create above / drop below ----

drop index trust.events_ahead_idx;
