-- additive
-- Which log this is, and how a follower notices that the log is not the one it followed.
--
-- Positions are integers of one log. After a failover that lost events, or a restore, they are given out again: whoever holds one
-- learns by the log's id that it names another event. A database that exists already gets its id here.
set local role trust_owner;

create table trust.log (
    one   boolean     not null primary key default true check (one),
    id    uuid        not null default gen_random_uuid(),
    since timestamptz not null default clock_timestamp()
);
comment on table trust.log is 'which log this is; one row';
comment on column trust.log.one is 'true: there is no second row';
comment on column trust.log.id is 'changes with trust restore and trust log renew, and with nothing else';
comment on column trust.log.since is 'since when it has this id';
comment on index trust.log_pkey is 'the one row';
insert into trust.log default values;
grant select on trust.log to trust_append, trust_projector, trust_query;

alter table trust.checkpoints add column event_position bigint, add column event_id uuid;
comment on column trust.checkpoints.event_position is 'position of the newest event that it is known by; null: not known by any';
comment on column trust.checkpoints.event_id is 'id of that event; where the log holds another there, or none, it went backwards';

-- Of a checkpoint that is beyond the head already, an id that no event has, so that it stays one after the log has grown past it.
update trust.checkpoints c set event_position = c.position,
    event_id = coalesce((select e.event_id from trust.events e where e.position = c.position), '00000000-0000-0000-0000-000000000000')
where c.position > 0;

reset role;
grant create on schema trust to trust_append;
set local role trust_append;

create function trust.event_at(at bigint) returns uuid
language sql stable strict security definer
set search_path = pg_catalog, pg_temp
begin atomic
    select e.event_id from trust.events e where e.position = event_at.at;
end;
comment on function trust.event_at is 'id of the event at a position, whosever it is; null: there is none';
revoke all on function trust.event_at from public;
grant execute on function trust.event_at to trust_query, trust_projector, trust_owner;

reset role;
revoke create on schema trust from trust_append;

---- create above / drop below ----

drop function trust.event_at;
alter table trust.checkpoints drop column event_position, drop column event_id;
drop table trust.log;
