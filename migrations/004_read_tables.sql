set local role trust_owner;

-- Each read table is written by its projector alone and can be rebuilt from the log beside the one that is read. Programs name the
-- view; a rebuild makes the table's next version, users_v2 after users_v1, and points the view at it. No foreign keys and no checks:
-- a read table accepts all history.

create table trust.checkpoints (
    projection  text        not null primary key,
    position    bigint      not null default 0,
    epoch       bigint      not null default 0,
    state       text        not null default 'stopped' check (state in ('stopped', 'running', 'halted')),
    error       text,
    error_since timestamptz,
    seen_at     timestamptz
);
comment on table trust.checkpoints is 'how far each projection has come; moved in the transaction that writes its rows';
comment on column trust.checkpoints.projection is 'name of the projection';
comment on column trust.checkpoints.position is 'every event up to here is in the read table';
comment on column trust.checkpoints.epoch is 'number of the leadership; a worker of an older one writes nothing';
comment on column trust.checkpoints.state is 'stopped, running, or halted at the event after position';
comment on column trust.checkpoints.error is 'why it halted; null: it did not';
comment on column trust.checkpoints.error_since is 'when it halted';
comment on column trust.checkpoints.seen_at is 'last sign of life of its leader';
comment on index trust.checkpoints_pkey is 'one projection''s progress';
insert into trust.checkpoints (projection) values ('municipalities'), ('users'), ('consents');

create table trust.municipalities_v1 (
    id            uuid        not null,
    code          text        not null,
    name          text        not null,
    province      text        not null,
    category      text        not null,
    district_code text        not null,
    population    integer,
    contact_email text        not null,
    is_active     boolean     not null,
    created_at    timestamptz not null,
    updated_at    timestamptz not null,
    version       integer     not null,
    position      bigint      not null,
    constraint municipalities_v1_pkey primary key (id)
);
comment on table trust.municipalities_v1 is 'municipalities as they are; public, so without row-level security';
comment on column trust.municipalities_v1.id is 'the municipality, which is the tenant';
comment on column trust.municipalities_v1.code is 'code of the Municipal Demarcation Board';
comment on column trust.municipalities_v1.name is 'unique name';
comment on column trust.municipalities_v1.province is 'one of nine';
comment on column trust.municipalities_v1.category is 'A metropolitan, B local, C district; empty: not said';
comment on column trust.municipalities_v1.district_code is 'of the district a local municipality lies in; empty: none';
comment on column trust.municipalities_v1.population is 'people; null: not said';
comment on column trust.municipalities_v1.contact_email is 'a role''s mailbox; empty: none';
comment on column trust.municipalities_v1.is_active is 'takes registrations and sign-ins';
comment on column trust.municipalities_v1.created_at is 'when it was registered';
comment on column trust.municipalities_v1.updated_at is 'when it last changed';
comment on column trust.municipalities_v1.version is 'of its stream: the ETag';
comment on column trust.municipalities_v1.position is 'of its newest event';
comment on index trust.municipalities_v1_pkey is 'one by id; list, newest first';
create index municipalities_v1_code_idx on trust.municipalities_v1 (code);
comment on index trust.municipalities_v1_code_idx is 'one by code';

create table trust.users_v1 (
    id                 uuid        not null,
    tenant_id          uuid        not null,
    municipality_code  text        not null,
    email              text        not null,
    full_name          text        not null,
    phone              text        not null,
    preferred_language text        not null,
    role               text        not null,
    is_active          boolean     not null,
    is_erased          boolean     not null,
    created_at         timestamptz not null,
    updated_at         timestamptz not null,
    version            integer     not null,
    position           bigint      not null,
    email_folded       text        not null generated always as (lower(email)) stored,
    constraint users_v1_pkey primary key (tenant_id, id)
);
comment on table trust.users_v1 is 'users as they are';
comment on column trust.users_v1.id is 'the user';
comment on column trust.users_v1.tenant_id is 'the user''s municipality, or SALGA';
comment on column trust.users_v1.municipality_code is 'its code';
comment on column trust.users_v1.email is 'as given; empty: erased';
comment on column trust.users_v1.full_name is 'as given; empty: erased';
comment on column trust.users_v1.phone is 'E.164; empty: none, or erased';
comment on column trust.users_v1.preferred_language is 'en, zu or af';
comment on column trust.users_v1.role is 'one of five';
comment on column trust.users_v1.is_active is 'may sign in and act';
comment on column trust.users_v1.is_erased is 'the person''s key was destroyed';
comment on column trust.users_v1.created_at is 'when registered';
comment on column trust.users_v1.updated_at is 'when last changed';
comment on column trust.users_v1.version is 'of the user''s stream: the ETag';
comment on column trust.users_v1.position is 'of the user''s newest event';
comment on column trust.users_v1.email_folded is 'in lower case: under row-level security no index compares by a function that may leak';
comment on index trust.users_v1_pkey is 'one by id; a tenant''s users, newest first';
-- As for trust.keys: of who is erased, or has changed their name, no dead row is left after a minute.
alter table trust.users_v1 set (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0, vacuum_index_cleanup = on);
create index users_v1_role_idx on trust.users_v1 (tenant_id, role, id);
comment on index trust.users_v1_role_idx is 'a tenant''s staff, newest first';
-- Hash indexes: where the pages of a btree divide, it keeps values of rows that were long since changed or removed.
create index users_v1_email_idx on trust.users_v1 using hash (email_folded) where email_folded <> '';
comment on index trust.users_v1_email_idx is 'exact look-up by e-mail';
create index users_v1_phone_idx on trust.users_v1 using hash (phone) where phone <> '';
comment on index trust.users_v1_phone_idx is 'exact look-up by phone';
-- Nor does ANALYZE keep copies.
alter table trust.users_v1 alter email set statistics 0, alter email_folded set statistics 0, alter full_name set statistics 0,
    alter phone set statistics 0;

create table trust.consents_v1 (
    id              uuid        not null,
    tenant_id       uuid        not null,
    subject_id      uuid        not null,
    purpose         text        not null,
    notice_version  integer     not null,
    wording         text        not null,
    sha256          text        not null,
    language        text        not null,
    consented       boolean     not null,
    channel         text        not null,
    given_by        text        not null,
    recorded_by     uuid,
    evidence_sha256 text        not null,
    given_at        timestamptz not null,
    recorded_at     timestamptz not null,
    withdrawn_at    timestamptz,
    decided         bigint      not null,
    position        bigint      not null,
    constraint consents_v1_pkey primary key (tenant_id, id)
);
comment on table trust.consents_v1 is 'every recorded decision and what became of it, as known now';
comment on column trust.consents_v1.id is 'the decision';
comment on column trust.consents_v1.tenant_id is 'the subject''s municipality';
comment on column trust.consents_v1.subject_id is 'whose decision it is';
comment on column trust.consents_v1.purpose is 'code of the purpose';
comment on column trust.consents_v1.notice_version is 'version of the wording shown';
comment on column trust.consents_v1.wording is 'the words shown';
comment on column trust.consents_v1.sha256 is 'of the words shown';
comment on column trust.consents_v1.language is 'as shown';
comment on column trust.consents_v1.consented is 'granted, or refused';
comment on column trust.consents_v1.channel is 'how it reached us';
comment on column trust.consents_v1.given_by is 'self or competent_person';
comment on column trust.consents_v1.recorded_by is 'the account that recorded it';
comment on column trust.consents_v1.evidence_sha256 is 'of the artefact that proves it; empty: none';
comment on column trust.consents_v1.given_at is 'when the person said so';
comment on column trust.consents_v1.recorded_at is 'when the log learned of it';
comment on column trust.consents_v1.withdrawn_at is 'when the withdrawal was given; null: it was not';
comment on column trust.consents_v1.decided is 'position of the grant or refusal';
comment on column trust.consents_v1.position is 'position of the newest event about it';
comment on index trust.consents_v1_pkey is 'one by id';
create index consents_v1_subject_idx on trust.consents_v1 (tenant_id, subject_id, decided desc);
comment on index trust.consents_v1_subject_idx is 'a subject''s decisions, newest first';

create view trust.municipalities with (security_invoker = true) as select * from trust.municipalities_v1;
create view trust.users with (security_invoker = true) as select * from trust.users_v1;
create view trust.consents with (security_invoker = true) as select * from trust.consents_v1;

grant select on trust.checkpoints to trust_query, trust_projector;
grant update on trust.checkpoints to trust_projector;
grant select on trust.municipalities, trust.users, trust.consents to trust_query;
grant select, insert, update, delete on trust.municipalities, trust.users, trust.consents to trust_projector;

-- A migration that changes a read table asks this for it: after rebuilds it has another name.
create function trust.live_version(read_table text) returns regclass
language sql stable strict
set search_path = pg_catalog, pg_temp
begin atomic
    select d.refobjid::regclass from pg_rewrite r
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass and d.refobjid <> r.ev_class
    where r.ev_class = to_regclass(format('trust.%I', read_table)) limit 1;
end;
comment on function trust.live_version is 'the version of a read table that its view names';
revoke all on function trust.live_version from public;

-- Lets a version of a read table be used. It comes last: COPY does not work under row-level security.
create function trust.open_version(version regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('grant select on %s to trust_query', version);
    execute format('grant select, insert, update, delete on %s to trust_projector', version);
    if exists (select from pg_attribute where attrelid = version and attname = 'tenant_id') then
        execute format('alter table %s enable row level security', version);
        execute format('alter table %s force row level security', version);
        execute format('create policy owner_all on %s to trust_owner using (true) with check (true)', version);
        execute format('create policy projector_all on %s to trust_projector using (true) with check (true)', version);
        execute format('create policy own_tenant on %s for select to trust_query using (tenant_id = trust.tenant())', version);
    end if;
end
$$;
comment on function trust.open_version is 'gives the rights and policies of a read table';
revoke all on function trust.open_version from public;

select trust.open_version('trust.municipalities_v1'), trust.open_version('trust.users_v1'), trust.open_version('trust.consents_v1');

-- Gives a version that was filled the indexes and settings of the one before. Indexes bear their table's name in their own.
create function trust.index_version(version regclass, before regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    old_name text := (select relname from pg_class where oid = before);
    new_name text := (select relname from pg_class where oid = version);
    settings text := (select array_to_string(reloptions, ', ') from pg_class where oid = before);
    i        record;
    c        record;
begin
    for c in select attname from pg_attribute where attrelid = before and attnum > 0 and attstattarget = 0 loop
        execute format('alter table %s alter %I set statistics 0', version, c.attname);
    end loop;
    for i in
        select replace(x.relname, old_name, new_name) as name, replace(pg_get_indexdef(x.oid), old_name, new_name) as definition,
            indisprimary, obj_description(x.oid, 'pg_class') as meaning
        from pg_index join pg_class x on x.oid = indexrelid
        where indrelid = before
    loop
        execute i.definition;
        if i.indisprimary then
            execute format('alter table %s add constraint %I primary key using index %2$I', version, i.name);
        end if;
        execute format('comment on index trust.%I is %L', i.name, i.meaning);
    end loop;
    if settings is not null then
        execute format('alter table %s set (%s)', version, settings);
    end if;
end
$$;
comment on function trust.index_version is 'gives the settings and indexes that another version has';
revoke all on function trust.index_version from public;

---- create above / drop below ----

drop function trust.index_version, trust.open_version, trust.live_version;
drop view trust.consents, trust.users, trust.municipalities;
drop table trust.consents_v1, trust.users_v1, trust.municipalities_v1, trust.checkpoints;
