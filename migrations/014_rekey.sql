-- additive
-- Claims and sign-ins are found by digests. Those that programs before made are of an address, or a name, in the spelling that it was
-- given in; trust rekey makes them of its canonical form.
set local role trust_owner;

create table trust.rekeyed (
    one      boolean not null primary key default true check (one),
    position bigint  not null default 0
);
comment on table trust.rekeyed is 'how far trust rekey has come; one row';
comment on column trust.rekeyed.one is 'true: there is no second row';
comment on column trust.rekeyed.position is 'claims and sign-ins of every event up to here are under the canonical form';
comment on index trust.rekeyed_pkey is 'the one row';
insert into trust.rekeyed default values;

reset role;
grant create on schema trust to trust_append;
set local role trust_append;

-- One claim, and the sign-in with it, or neither. What was given up or re-keyed since stays as it is.
create function trust.rekey(tenant uuid, kind text, holder uuid, former bytea, canonical bytea, former_login bytea, login bytea)
returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    other uuid;
begin
    perform pg_advisory_xact_lock(7267411);
    if not exists (select from trust.claims c where c.tenant_id = rekey.tenant and c.kind = rekey.kind
                   and c.digest = rekey.former and c.holder = rekey.holder) then
        return null;
    end if;

    select c.holder into other from trust.claims c
    where c.tenant_id = rekey.tenant and c.kind = rekey.kind and c.digest = rekey.canonical;
    if other <> rekey.holder then
        return other;
    end if;

    delete from trust.claims c
    where c.tenant_id = rekey.tenant and c.kind = rekey.kind and c.digest = rekey.former;
    insert into trust.claims (tenant_id, kind, digest, holder)
    values (rekey.tenant, rekey.kind, rekey.canonical, rekey.holder)
    on conflict do nothing;
    update trust.credentials c set login_digest = rekey.login
    where c.user_id = rekey.holder and c.tenant_id = rekey.tenant and c.login_digest = rekey.former_login;
    return rekey.holder;
end
$$;
comment on function trust.rekey is 'puts a claim and its sign-in under another digest, and returns the holder; whoever else holds that one: nothing was done; null: nothing was to do';
revoke all on function trust.rekey from public;
grant execute on function trust.rekey to trust_owner;

reset role;
revoke create on schema trust from trust_append;

---- create above / drop below ----

drop function trust.rekey;
drop table trust.rekeyed;
