-- additive
--
-- People are found by a part of their name or address. Of a name that few have, all of a tenant's rows were read, and put into lower case
-- on the way: 100 000 took 100 ms. Now the table holds the text as searches compare it, and an index holds these texts beside the ids, so
-- that a search reads nothing else. Included columns are in no page's bounds: what an erasure blanks goes with its row.
set local role trust_owner;

do $$
declare
    live  regclass := trust.live_version('users');
    users text;
    bare  text;
begin
    for users, bare in
        select c.oid::regclass::text, c.relname from pg_class c
        where c.relnamespace = 'trust'::regnamespace and c.relkind = 'r' and c.relname ~ '^users_v[0-9]+$'
    loop
        execute format('alter table %s add column search_folded text not null
            generated always as (lower(full_name) || '' '' || lower(email)) stored', users);
        execute format('comment on column %s.search_folded is ''name and address in lower case, as searches compare them''', users);
        execute format('alter table %s alter search_folded set statistics 0', users);
        execute format('create index %I on %s (tenant_id, id) include (search_folded, email_folded, is_active, has_account)',
            bare || '_search_idx', users);
        execute format('comment on index trust.%I is ''who has a part of a name or address, newest first''', bare || '_search_idx');
    end loop;
    execute format('create or replace view trust.users with (security_invoker = true) as select * from %s', live);
end
$$;

reset role;

---- create above / drop below ----

do $$
declare
    users text;
begin
    for users in
        select c.relname || '_search_idx' from pg_class c
        where c.relnamespace = 'trust'::regnamespace and c.relkind = 'r' and c.relname ~ '^users_v[0-9]+$'
    loop
        execute format('drop index trust.%I', users);
    end loop;
end
$$;

-- The column stays: an older program does not name it.
