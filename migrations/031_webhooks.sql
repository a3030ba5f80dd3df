-- additive
--
-- Webhooks: events are sent to other systems over HTTP. Which webhooks there are is history, in streams of their own; these tables are
-- what the follower "webhooks" makes of it, and what the sender beside it works off. docs/adr/0041-webhooks.md says why it looks like this.
--
-- A lane is what must stay in order: the events about one person, or else of one stream, on their way to one webhook. Its row says when
-- to try its first unacknowledged delivery next, so what is due is found however much is not.
set local role trust_owner;

insert into trust.event_types (stream_type, event_type) values
    ('webhook', 'webhook.registered.v1'),
    ('webhook', 'webhook.paused.v1'),
    ('webhook', 'webhook.resumed.v1'),
    ('webhook', 'webhook.deleted.v1');

create table trust.webhooks (
    webhook_id uuid    not null,
    tenant_id  uuid    not null,
    url        text    not null,
    events     text[]  not null,
    is_paused  boolean not null default false,
    constraint webhooks_pkey primary key (webhook_id)
);
comment on table trust.webhooks is 'webhooks that are not deleted';
comment on column trust.webhooks.webhook_id is 'the webhook';
comment on column trust.webhooks.tenant_id is 'the tenant whose events are sent';
comment on column trust.webhooks.url is 'where they are sent';
comment on column trust.webhooks.events is 'types of events that are sent; empty: all that may leave';
comment on column trust.webhooks.is_paused is 'nothing is sent until an admin resumes it';
comment on index trust.webhooks_pkey is 'one webhook';
create index webhooks_tenant_idx on trust.webhooks (tenant_id);
comment on index trust.webhooks_tenant_idx is 'where to send the events of a tenant';

create table trust.webhook_deliveries (
    webhook_id      uuid        not null,
    position        bigint      not null,
    tenant_id       uuid        not null,
    lane            uuid        not null,
    event_id        uuid        not null,
    event_type      text        not null,
    recorded_at     timestamptz not null,
    body            text,
    tries           integer     not null default 0,
    tried_at        timestamptz,
    response_status integer,
    failure         text,
    acknowledged_at timestamptz,
    constraint webhook_deliveries_pkey primary key (webhook_id, position)
);
comment on table trust.webhook_deliveries is 'events on their way to webhooks; acknowledged ones stay for 30 days';
comment on column trust.webhook_deliveries.webhook_id is 'where the event is sent';
comment on column trust.webhook_deliveries.position is 'of the event';
comment on column trust.webhook_deliveries.tenant_id is 'the webhook''s tenant';
comment on column trust.webhook_deliveries.lane is 'person that the event is about, or else its stream: within it, order is kept';
comment on column trust.webhook_deliveries.event_id is 'of the event: the webhook-id of each try';
comment on column trust.webhook_deliveries.event_type is 'of the event';
comment on column trust.webhook_deliveries.recorded_at is 'of the event';
comment on column trust.webhook_deliveries.body is 'what is sent, the same at each try; null: it was acknowledged';
comment on column trust.webhook_deliveries.tries is 'how often it was sent';
comment on column trust.webhook_deliveries.tried_at is 'when it was sent last';
comment on column trust.webhook_deliveries.response_status is 'HTTP status of the last answer; null: there was none';
comment on column trust.webhook_deliveries.failure is 'why the last try failed; null: it did not';
comment on column trust.webhook_deliveries.acknowledged_at is 'when the recipient answered 2xx; null: it has not';
comment on index trust.webhook_deliveries_pkey is 'list, newest first';
create index webhook_deliveries_open_idx on trust.webhook_deliveries (webhook_id, lane, position) where acknowledged_at is null;
comment on index trust.webhook_deliveries_open_idx is 'what is next in a lane; what is outstanding';
create index webhook_deliveries_done_idx on trust.webhook_deliveries (acknowledged_at) where acknowledged_at is not null;
comment on index trust.webhook_deliveries_done_idx is 'drop what is old';
create index webhook_deliveries_withdrawals_idx on trust.webhook_deliveries (webhook_id, acknowledged_at)
    include (recorded_at) where event_type = 'consent.withdrawn.v1';
comment on index trust.webhook_deliveries_withdrawals_idx is 'how long withdrawals took to arrive';

create table trust.webhook_lanes (
    webhook_id    uuid        not null,
    lane          uuid        not null,
    tenant_id     uuid        not null,
    next_at       timestamptz not null,
    failures      integer     not null default 0,
    failing_since timestamptz,
    constraint webhook_lanes_pkey primary key (webhook_id, lane)
);
comment on table trust.webhook_lanes is 'lanes with something to send';
comment on column trust.webhook_lanes.webhook_id is 'where to';
comment on column trust.webhook_lanes.lane is 'person, or else stream';
comment on column trust.webhook_lanes.tenant_id is 'the webhook''s tenant';
comment on column trust.webhook_lanes.next_at is 'when to send its first delivery; while it is sent, when another process may';
comment on column trust.webhook_lanes.failures is 'how often its first delivery failed in a row';
comment on column trust.webhook_lanes.failing_since is 'when that began; null: it has not failed';
comment on index trust.webhook_lanes_pkey is 'one lane';
create index webhook_lanes_next_idx on trust.webhook_lanes (webhook_id, next_at);
comment on index trust.webhook_lanes_next_idx is 'what is due for a webhook';

do $$
declare
    name text;
begin
    foreach name in array array['webhooks', 'webhook_deliveries', 'webhook_lanes'] loop
        execute format('alter table trust.%I enable row level security', name);
        execute format('alter table trust.%I force row level security', name);
        execute format('create policy owner_all on trust.%I to trust_owner using (true) with check (true)', name);
        execute format('create policy projector_all on trust.%I to trust_projector using (true) with check (true)', name);
        execute format('create policy own_tenant on trust.%I for select to trust_query using (tenant_id = trust.tenant())', name);
        execute format('grant select, insert, update, delete on trust.%I to trust_projector', name);
        execute format('grant select on trust.%I to trust_query', name);
    end loop;
end
$$;

create function trust.webhook_backlog()
returns table (outstanding bigint, oldest timestamptz, overdue_since timestamptz, paused bigint)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
    select count(*), min(d.recorded_at),
        (select min(l.next_at) from trust.webhook_lanes l join trust.webhooks w on w.webhook_id = l.webhook_id
         where not w.is_paused and l.next_at < clock_timestamp() - interval '1 minute'),
        (select count(*) from trust.webhooks w where w.is_paused)
    from trust.webhook_deliveries d where d.acknowledged_at is null;
end;
comment on function trust.webhook_backlog is 'how much is to be sent to webhooks, in all tenants; nothing of what';
revoke all on function trust.webhook_backlog from public;
grant execute on function trust.webhook_backlog to trust_query, trust_projector;

reset role;

---- create above / drop below ----

drop function trust.webhook_backlog;
drop table trust.webhook_lanes, trust.webhook_deliveries, trust.webhooks;
