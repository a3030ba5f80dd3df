set local role trust_owner;

-- Whatever follows the log has a checkpoint: read tables are the first of several kinds of followers. A new one makes
-- its checkpoint when it first leads, so that adding a follower takes no migration.

alter table trust.checkpoints rename column projection to follower;
comment on table trust.checkpoints is 'how far each follower of the log has come; moved in the transaction that applies the events';
comment on column trust.checkpoints.follower is 'name of the follower; of a read table, the table';
comment on column trust.checkpoints.position is 'every event up to here is applied';
comment on index trust.checkpoints_pkey is 'one follower''s progress';
grant insert (follower) on trust.checkpoints to trust_projector;

---- create above / drop below ----

set local role trust_owner;

revoke insert (follower) on trust.checkpoints from trust_projector;
alter table trust.checkpoints rename column follower to projection;
