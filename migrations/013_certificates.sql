-- additive
--
-- The certificates of a municipality's erasures are listed from the log. Erasures are few; without an index of their own a list read the
-- whole of a municipality's log. Programs of before do not use it.
set local role trust_owner;

create index events_erasures_idx on trust.events (tenant_id, position) where event_type = 'user.erased.v1';
comment on index trust.events_erasures_idx is 'the certificates of a municipality';

---- create above / drop below ----


drop index trust.events_erasures_idx;
