-- additive
--
-- How long withdrawals of consent take to reach other systems. Of webhooks, their deliveries say so; of the consumers of the relay's
-- stream, the relay writes down when it saw what they had acknowledged. docs/adr/0042-propagation.md says why it looks like this.
set local role trust_owner;

create index events_withdrawals_idx on trust.events (position) include (tenant_id, recorded_at) where event_type = 'consent.withdrawn.v1';
comment on index trust.events_withdrawals_idx is 'withdrawals that a recipient has yet to acknowledge';

-- The tenant is in both, because row-level security asks for it.
drop index trust.webhook_deliveries_withdrawals_idx;
create index webhook_deliveries_withdrawals_idx on trust.webhook_deliveries (webhook_id, acknowledged_at)
    include (recorded_at, tenant_id) where event_type = 'consent.withdrawn.v1' and acknowledged_at is not null;
comment on index trust.webhook_deliveries_withdrawals_idx is 'how long withdrawals took to arrive';
create index webhook_deliveries_awaited_idx on trust.webhook_deliveries (webhook_id, recorded_at)
    include (tenant_id) where event_type = 'consent.withdrawn.v1' and acknowledged_at is null;
comment on index trust.webhook_deliveries_awaited_idx is 'withdrawals that have not arrived';

create table trust.relay_consumers (
    consumer       text        not null,
    created_at     timestamptz not null,
    municipalities text[],
    position       bigint      not null,
    constraint relay_consumers_pkey primary key (consumer)
);
comment on table trust.relay_consumers is 'durable consumers of the relay''s stream that take withdrawals';
comment on column trust.relay_consumers.consumer is 'its name';
comment on column trust.relay_consumers.created_at is 'when it was created, which tells it from a later one of the same name';
comment on column trust.relay_consumers.municipalities is 'codes of the municipalities whose withdrawals it takes; null: all';
comment on column trust.relay_consumers.position is 'up to here, all that it takes is acknowledged, or older than what is known of it';
comment on index trust.relay_consumers_pkey is 'one consumer';

create table trust.relay_receipts (
    consumer        text        not null,
    position        bigint      not null,
    tenant_id       uuid        not null,
    recorded_at     timestamptz not null,
    acknowledged_at timestamptz not null,
    constraint relay_receipts_pkey primary key (consumer, tenant_id, position)
);
comment on table trust.relay_receipts is 'withdrawals that consumers have acknowledged, for 30 days';
comment on column trust.relay_receipts.consumer is 'who acknowledged it';
comment on column trust.relay_receipts.position is 'of the withdrawal';
comment on column trust.relay_receipts.tenant_id is 'whose it is';
comment on column trust.relay_receipts.recorded_at is 'of the withdrawal';
comment on column trust.relay_receipts.acknowledged_at is 'when the relay saw that it was acknowledged';
comment on index trust.relay_receipts_pkey is 'one receipt; all of a consumer';
create index relay_receipts_tenant_idx on trust.relay_receipts (consumer, tenant_id, acknowledged_at) include (recorded_at);
comment on index trust.relay_receipts_tenant_idx is 'how long a tenant''s withdrawals took to arrive';
create index relay_receipts_old_idx on trust.relay_receipts (acknowledged_at);
comment on index trust.relay_receipts_old_idx is 'drop what is old';

alter table trust.relay_receipts enable row level security;
alter table trust.relay_receipts force row level security;
create policy owner_all on trust.relay_receipts to trust_owner using (true) with check (true);
create policy projector_all on trust.relay_receipts to trust_projector using (true) with check (true);
create policy own_tenant on trust.relay_receipts for select to trust_query using (tenant_id = trust.tenant());
grant select, insert, update, delete on trust.relay_consumers, trust.relay_receipts to trust_projector;
grant select on trust.relay_consumers, trust.relay_receipts to trust_query;

-- For each statement that counts what is outstanding, so that one snapshot has both the log and what was acknowledged of it.
create function trust.withdrawals_after(after bigint) returns table ("position" bigint, tenant_id uuid, recorded_at timestamptz)
language sql stable
begin atomic
    select e.position, e.tenant_id, e.recorded_at from trust.events e
    where e.event_type = 'consent.withdrawn.v1' and e.position > after;
end;
comment on function trust.withdrawals_after is 'withdrawals after a position, of the tenants whose events the caller may read';
revoke all on function trust.withdrawals_after from public;
grant execute on function trust.withdrawals_after to trust_query, trust_projector;

-- From the log, because a read table may lag behind.
create function trust.among(municipalities text[], tenant uuid) returns boolean
language sql stable
begin atomic
    select municipalities is null or 'SALGA' = any(municipalities) and tenant = '00000000-0000-7000-8000-000000000001'
        or exists (select from trust.events e where e.tenant_id = tenant and e.stream_type = 'municipality' and e.stream_id = tenant
            and e.version = 1 and e.payload ->> 'code' = any(municipalities));
end;
comment on function trust.among is 'whether a tenant is one of some municipalities; null: of all';
revoke all on function trust.among from public;
grant execute on function trust.among to trust_query, trust_projector;

create function trust.withdrawal_backlog(late timestamptz)
returns table (recipients text, outstanding bigint, overdue bigint, oldest timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select 'webhooks', count(*), count(*) filter (where w.recorded_at < late), min(w.recorded_at) from (
        select d.recorded_at from trust.webhook_deliveries d
        where d.event_type = 'consent.withdrawn.v1' and d.acknowledged_at is null
        union all
        select e.recorded_at
        from (select coalesce((select c.position from trust.checkpoints c where c.follower = 'webhooks'), 0) as here) reached
        cross join lateral trust.withdrawals_after(reached.here) e
        join trust.webhooks h on h.tenant_id = e.tenant_id
        where h.events = '{}' or 'consent.withdrawn.v1' = any(h.events)
    ) w
    union all
    select 'consumers', count(*), count(*) filter (where e.recorded_at < late), min(e.recorded_at)
    from trust.relay_consumers c cross join lateral trust.withdrawals_after(c.position) e
    where trust.among(c.municipalities, e.tenant_id)
$$;
comment on function trust.withdrawal_backlog is 'how many withdrawals have not arrived, in all tenants; nothing of which';
revoke all on function trust.withdrawal_backlog from public;
grant execute on function trust.withdrawal_backlog to trust_query, trust_projector;

reset role;

---- create above / drop below ----

drop function trust.withdrawal_backlog, trust.among, trust.withdrawals_after;
drop table trust.relay_receipts, trust.relay_consumers;
drop index trust.webhook_deliveries_awaited_idx, trust.webhook_deliveries_withdrawals_idx, trust.events_withdrawals_idx;
create index webhook_deliveries_withdrawals_idx on trust.webhook_deliveries (webhook_id, acknowledged_at)
    include (recorded_at) where event_type = 'consent.withdrawn.v1';
comment on index trust.webhook_deliveries_withdrawals_idx is 'how long withdrawals took to arrive';
