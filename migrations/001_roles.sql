-- Roles are shared by all databases of a cluster. None may log in: a process connects as a login that is a member of one of
-- them and switches to it, or as a login that was granted it. None is superuser, none bypasses row-level security.
--
--   trust_owner      owns the schema; migrates and rebuilds
--   trust_append     owns the append function; the only one that may insert an event
--   trust_projector  reads all events, writes the read tables
--   trust_query      the API: reads one tenant's rows, appends through the function
do $$
declare
    role_name text;
    -- From 16 on, a role that creates another one is its member, but may neither switch to it nor use its rights until it grants
    -- itself that. A superuser may everything and is granted nothing.
    modern    boolean := pg_catalog.current_setting('server_version_num')::integer >= 160000;
begin
    foreach role_name in array array['trust_owner', 'trust_append', 'trust_projector', 'trust_query'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = role_name) then
            execute pg_catalog.format('create role %I nologin nosuperuser nobypassrls noinherit', role_name);
        end if;
        if modern and not (pg_catalog.pg_has_role(current_user, role_name, 'set')
                           and pg_catalog.pg_has_role(current_user, role_name, 'usage')) then
            execute pg_catalog.format('grant %I to current_user with inherit true, set true', role_name);
        elsif not modern and not pg_catalog.pg_has_role(current_user, role_name, 'member') then
            execute pg_catalog.format('grant %I to current_user', role_name);
        end if;
    end loop;
end
$$;

create schema trust authorization trust_owner;
comment on schema trust is 'SALGA Trust Engine: the log, the command side''s own tables, and the read tables';

grant usage on schema trust to trust_append, trust_projector, trust_query;
grant select on table public.schema_version to trust_owner, trust_append, trust_projector, trust_query;

---- create above / drop below ----

drop schema trust cascade;
