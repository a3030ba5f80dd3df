-- additive
--
-- Programs sign in with service accounts, which have streams of their own. What their secrets are proved by stands here and is no
-- history: a keyed digest of each secret, which has 256 random bits, so that there is nothing to guess and nothing for a slow hash to
-- slow down (ADR 32). Which secrets are good says the log; a row whose secret the log has ended proves nothing.
--
-- trust.side_writes is as in 020_one_time_codes.sql, with two kinds more. Programs of before refuse the new streams (newer_log).
set local role trust_owner;

create table trust.client_secrets (
    secret_id  uuid  not null,
    tenant_id  uuid  not null,
    account_id uuid  not null,
    digest     bytea not null,
    constraint client_secrets_pkey primary key (secret_id)
);
comment on table trust.client_secrets is 'what the secrets of service accounts are proved by';
comment on column trust.client_secrets.secret_id is 'the secret, as service_account.created or .secret_rotated names it';
comment on column trust.client_secrets.tenant_id is 'the service account''s tenant';
comment on column trust.client_secrets.account_id is 'the service account';
comment on column trust.client_secrets.digest is 'HMAC-SHA-256 of account and secret under the lookup key';
comment on index trust.client_secrets_pkey is 'forget a secret';
create index client_secrets_account_idx on trust.client_secrets (account_id);
comment on index trust.client_secrets_account_idx is 'prove a secret of this service account';

-- As trust.credentials: what is forgotten is gone from the pages soon, and never copied into statistics.
alter table trust.client_secrets set (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0, vacuum_index_cleanup = on);
alter table trust.client_secrets alter digest set statistics 0;

alter table trust.client_secrets enable row level security;
alter table trust.client_secrets force row level security;
create policy append_all on trust.client_secrets to trust_append using (true) with check (true);
create policy owner_reads on trust.client_secrets for select to trust_owner using (true);
grant select, insert, update, delete on trust.client_secrets to trust_append;

comment on column trust.events.actor_id is 'the account, or the service account of a program, that did it; null: an operator, or nobody known';
comment on column trust.claims.kind is 'email, external_id, municipality_code, municipality_name, service_account_name';
comment on column trust.claims.holder is 'the user, municipality or service account that holds it';

insert into trust.event_types (stream_type, event_type) values
    ('service_account', 'service_account.created.v1'),
    ('service_account', 'service_account.secret_rotated.v1'),
    ('service_account', 'service_account.revoked.v1');
insert into trust.side_rules (kind, event_type) values
    ('take_claim', 'service_account.created.v1'),
    ('release_claim', 'service_account.revoked.v1'),
    ('add_client_secret', 'service_account.created.v1'),
    ('add_client_secret', 'service_account.secret_rotated.v1'),
    ('drop_client_secret', 'service_account.secret_rotated.v1'),
    ('drop_client_secret', 'service_account.revoked.v1');

reset role;
grant create on schema trust to trust_append;
set local role trust_append;

create function trust.client_secrets_of(account uuid)
returns table (tenant_id uuid, secret_id uuid, digest bytea)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
    select c.tenant_id, c.secret_id, c.digest from trust.client_secrets c where c.account_id = client_secrets_of.account;
end;
comment on function trust.client_secrets_of is 'what the secrets of one service account are proved by, in whatever tenant it is';
revoke all on function trust.client_secrets_of from public;
grant execute on function trust.client_secrets_of to trust_query;

create or replace function trust.side_writes(side json, added boolean[], at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    w record;
begin
    for w in select * from json_to_recordset(side) as x (append integer, kind text, tenant uuid, id uuid, name text,
                                                         owner uuid, digest bytea, token bytea, value text, expires timestamptz,
                                                         step bigint) loop
        continue when not added[w.append];
        case w.kind
            when 'take_claim' then
                insert into trust.claims (tenant_id, kind, digest, holder) values (w.tenant, w.name, w.digest, w.id)
                on conflict do nothing; -- the holder has it already: anybody else was refused above
            when 'release_claim' then
                delete from trust.claims c
                where c.tenant_id = w.tenant and c.kind = w.name and c.digest = w.digest and c.holder = w.id;
            when 'set_credential' then
                update trust.credentials c
                set login_digest = coalesce(w.digest, c.login_digest), verifier = coalesce(w.value, c.verifier)
                where c.user_id = w.id;
                if not found then
                    insert into trust.credentials (tenant_id, user_id, login_digest, verifier)
                    values (w.tenant, w.id, w.digest, w.value);
                end if;
                delete from trust.one_time_codes c where c.user_id = w.id and c.tenant_id = w.tenant;
            when 'delete_credential' then
                delete from trust.credentials c where c.user_id = w.id;
                delete from trust.one_time_codes c where c.user_id = w.id and c.tenant_id = w.tenant;
            when 'issue_one_time_code' then
                -- Codes that nobody redeemed leave no rows for ever.
                delete from trust.one_time_codes c
                where c.expires_at < at - interval '1 day'
                    or c.tenant_id = w.tenant and c.user_id = w.id and c.kind = w.name;
                insert into trust.one_time_codes (tenant_id, user_id, kind, code_id, lookup, digest, expires_at)
                values (w.tenant, w.id, w.name, w.owner, w.digest, w.token, w.expires)
                on conflict do nothing; -- the same first half twice in one batch: of chance there is none in a lifetime
            when 'spend_one_time_code' then
                delete from trust.one_time_codes c
                where c.tenant_id = w.tenant and c.user_id = w.id and c.kind = w.name and c.code_id = w.owner;
            when 'count_wrong_try' then
                update trust.one_time_codes c set wrong_tries = c.wrong_tries + 1
                where c.tenant_id = w.tenant and c.user_id = w.id and c.kind = w.name and c.code_id = w.owner;
            when 'offer_second_factor' then
                update trust.credentials c set offered_id = w.owner, offered_secret = w.token, offered_until = w.expires
                where c.user_id = w.id and c.tenant_id = w.tenant;
            when 'set_second_factor' then
                update trust.credentials c
                set factor_id = c.offered_id, factor_secret = c.offered_secret, factor_step = w.step, wrong_codes = 0, wrong_code_at = null,
                    offered_id = null, offered_secret = null, offered_until = null
                where c.user_id = w.id and c.tenant_id = w.tenant and c.offered_id = w.owner;
            when 'spend_code' then
                update trust.credentials c set factor_step = w.step, wrong_codes = 0, wrong_code_at = null
                where c.user_id = w.id and c.tenant_id = w.tenant and c.factor_id = w.owner;
            when 'count_wrong_code' then
                update trust.credentials c set wrong_codes = c.wrong_codes + 1, wrong_code_at = w.expires
                where c.user_id = w.id and c.tenant_id = w.tenant and c.factor_id = w.owner;
            when 'remove_second_factor' then
                update trust.credentials c
                set factor_id = null, factor_secret = null, factor_step = 0, wrong_codes = 0, wrong_code_at = null,
                    offered_id = null, offered_secret = null, offered_until = null
                where c.user_id = w.id and c.tenant_id = w.tenant;
            when 'add_client_secret' then
                insert into trust.client_secrets (secret_id, tenant_id, account_id, digest) values (w.owner, w.tenant, w.id, w.digest);
            when 'drop_client_secret' then
                delete from trust.client_secrets c where c.secret_id = w.owner and c.account_id = w.id and c.tenant_id = w.tenant;
            when 'create_key' then
                insert into trust.keys (key_id, tenant_id, kind, wrapped) values (w.id, w.tenant, w.name, w.token);
            when 'destroy_key' then
                update trust.keys k set wrapped = null, destroyed_at = clock_timestamp()
                where k.key_id = w.id and k.destroyed_at is null;
            when 'start_session' then
                -- Who signs in again sweeps up what expired: sessions that nobody ended leave no rows for ever.
                delete from trust.sessions s where s.user_id = w.owner and s.expires_at < at;
                insert into trust.sessions (session_id, tenant_id, user_id, token, expires_at)
                values (w.id, w.tenant, w.owner, w.token, w.expires);
            when 'rotate_session' then
                -- A token that was replaced already changes nothing: neither its ten seconds nor the session's end move.
                update trust.sessions s
                set token = w.token, expires_at = w.expires, replaced = w.digest, replaced_at = clock_timestamp()
                where s.session_id = w.id and s.token = w.digest;
            when 'end_session' then
                delete from trust.sessions s where s.session_id = w.id;
            when 'demand_no_acts' then
                null; -- judged above
            when 'end_sessions' then
                if w.owner is null then
                    delete from trust.sessions s where s.tenant_id = w.tenant;
                else
                    delete from trust.sessions s where s.user_id = w.owner and s.session_id is distinct from w.id;
                end if;
            else
                raise exception 'unknown side write %', w.kind;
        end case;
    end loop;
end
$$;

reset role;
revoke create on schema trust from trust_append;

---- create above / drop below ----

-- Nothing: the table stays, and these functions serve an older program as those before do.
