-- additive
--
-- What another system says that people decided is a claim, an event of its own type: programs of before do not know it, and refuse the
-- streams of whoever has one (newer_log), rather than take it for what the person said here. docs/adr/0036-claims.md says why.
--
-- The read table of consents shows what a claim rests on and who says so. What stands in it is not a claim, so nothing is built anew.
set local role trust_owner;

insert into trust.event_types (stream_type, event_type) values ('consent', 'consent.claimed.v1');

do $$
declare
    live regclass := trust.live_version('consents');
    version text;
begin
    for version in
        select c.oid::regclass::text from pg_class c
        where c.relnamespace = 'trust'::regnamespace and c.relkind = 'r' and c.relname ~ '^consents_v[0-9]+$'
    loop
        execute format('alter table %s add column evidence_grade text not null default '''', '
            'add column source text not null default ''''', version);
        execute format('comment on column %s.evidence_grade is %L', version,
            'what a claim rests on: claimed, documented or witnessed; empty: recorded here');
        execute format('comment on column %s.source is %L', version, 'who claims it; empty: recorded here');
    end loop;
    execute format('create or replace view trust.consents with (security_invoker = true) as select * from %s', live);
end
$$;

reset role;

---- create above / drop below ----

-- Nothing: the columns stay, and the view shows them; programs of before name the columns that they read and write.
