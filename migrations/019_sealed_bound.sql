-- additive
--
-- A sealed part is bounded as payloads and metadata are (migration 015): whoever appends past the programs makes no reader hold more.
-- What stands in the log is not looked at.
set local role trust_owner;

alter table trust.events
    add constraint events_sealed_check check (octet_length(sealed) <= 8 * 1024 * 1024) not valid,
    add constraint events_code_check check (octet_length(code) <= 64) not valid;

reset role;

---- create above / drop below ----

alter table trust.events drop constraint events_sealed_check, drop constraint events_code_check;
