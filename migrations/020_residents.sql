-- additive
--
-- People without an account. Staff record them; nothing lets them sign in. What the municipality's other systems know them by is claimed
-- as an e-mail address is: by keyed digest, within the tenant. Whoever was registered before has an account, so that the column's
-- default is the truth of every row that stands.
set local role trust_owner;

insert into trust.event_types (stream_type, event_type) values
    ('user', 'resident.recorded.v1'),
    ('user', 'resident.details_changed.v1');
insert into trust.side_rules (kind, event_type) values
    ('create_key subject', 'resident.recorded.v1'),
    ('take_claim', 'resident.recorded.v1'),
    ('take_claim', 'resident.details_changed.v1'),
    ('release_claim', 'resident.details_changed.v1');
comment on column trust.claims.kind is 'email, external_id, municipality_code, municipality_name';

do $$
declare
    live regclass := trust.live_version('users');
    version text;
begin
    for version in
        select c.oid::regclass::text from pg_class c
        where c.relnamespace = 'trust'::regnamespace and c.relkind = 'r' and c.relname ~ '^users_v[0-9]+$'
    loop
        execute format('alter table %s add column has_account boolean not null default true', version);
        execute format('comment on column %s.has_account is ''can sign in, or could until it was closed''', version);
    end loop;
    execute format('create or replace view trust.users with (security_invoker = true) as select * from %s', live);
end
$$;

reset role;

---- create above / drop below ----

-- Nothing: the column stays, and an older program fills it by its default.
