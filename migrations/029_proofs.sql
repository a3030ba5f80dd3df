-- additive
--
-- Whoever is handed the proof of a decision holds the log to what it states there: where the person's consent stream ended. That
-- statement is an event in a stream of its own; programs of before refuse these streams (newer_log). docs/adr/0038-proof.md says why.
set local role trust_owner;

insert into trust.event_types (stream_type, event_type) values ('proof', 'proof.issued.v1');

reset role;

---- create above / drop below ----

-- Nothing: what was issued stays issued.
