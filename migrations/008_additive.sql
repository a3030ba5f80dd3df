-- Which migrations only add: a program that does not know them works on beside one that does, so that a rollout needs no pause.
-- A file says so by beginning with "-- additive"; the program that runs it notes it here (migrations/run.go).
create table public.schema_additive (version integer primary key);
comment on table public.schema_additive is 'migrations that only add: programs that do not know them go on';
grant select on table public.schema_additive to trust_owner, trust_append, trust_projector, trust_query;

---- create above / drop below ----

drop table public.schema_additive;
