-- Rotation of the master key: trust keys rotate.
set local role trust_owner;

grant update on trust.secrets to trust_append;

-- Holds the log's lock until the transaction ends: no append makes a key, and no process a secret, that the rotation would miss.
create function trust.under_master() returns table (name text, key_id uuid, tenant_id uuid, wrapped bytea)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(7267411);
    return query
        select s.name, null::uuid, null::uuid, s.wrapped from trust.secrets s
        union all
        select null, k.key_id, k.tenant_id, k.wrapped from trust.keys k where k.kind = 'tenant' and k.wrapped is not null;
end
$$;
comment on function trust.under_master is 'all that the master key wraps, locked: secrets by name, tenants'' keys by id';

-- All or nothing, and judged here once more: one key left behind would be lost with the old master key.
create function trust.rewrap(ids uuid[], keys bytea[], names text[], secrets bytea[]) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    n integer;
begin
    perform pg_advisory_xact_lock(7267411);
    update trust.keys k set wrapped = r.wrapped from unnest(ids, keys) r (id, wrapped)
    where k.key_id = r.id and k.kind = 'tenant' and k.wrapped is not null;
    get diagnostics n = row_count;
    if n <> cardinality(ids) or n <> (select count(*) from trust.keys k where k.kind = 'tenant' and k.wrapped is not null) then
        raise exception 'not every tenant''s key is re-wrapped';
    end if;
    update trust.secrets s set wrapped = r.wrapped from unnest(names, secrets) r (name, wrapped) where s.name = r.name;
    get diagnostics n = row_count;
    if n <> cardinality(names) or n <> (select count(*) from trust.secrets) then
        raise exception 'not every secret is re-wrapped';
    end if;
end
$$;
comment on function trust.rewrap is 'replaces all that the master key wraps';

reset role;
grant create on schema trust to trust_append;
revoke all on function trust.under_master, trust.rewrap from public;
alter function trust.under_master owner to trust_append;
alter function trust.rewrap owner to trust_append;
revoke create on schema trust from trust_append;
set local role trust_append;
grant execute on function trust.under_master, trust.rewrap to trust_owner;

---- create above / drop below ----

drop function trust.under_master, trust.rewrap;
revoke update on trust.secrets from trust_append;
