-- additive
--
-- Nobody can change or drop an event unnoticed: the sealer, one more follower of the log, hashes every event into one tree (RFC 6962),
-- and signs its root every few seconds. docs/adr/0039-seal.md says why it looks like this.
--
-- Leaves are not stored: they are the events. What is stored are the hashes of whole subtrees of 256, 65 536 … leaves, which are the
-- tiles of level 1 and above of C2SP tlog-tiles, one row for each hash of a tile.
set local role trust_owner;

insert into trust.event_types (event_type, stream_type) values ('log.forked.v1', 'log');

create table trust.log_hashes (
    index bigint   not null,
    level smallint not null check (level between 1 and 7),
    hash  bytea    not null,
    constraint log_hashes_pkey primary key (level, index)
);
comment on table trust.log_hashes is 'the tree over the log: the hash of each whole subtree of 256^level events. Insert-only';
comment on column trust.log_hashes.index is 'counts the subtrees of a level from 0; it ends with the event at (index + 1) * 256^level';
comment on column trust.log_hashes.level is 'of the tile that the hash is in; level 0 is the events';
comment on column trust.log_hashes.hash is 'SHA-256, by RFC 6962';
comment on index trust.log_hashes_pkey is 'the hashes of a tile';

create table trust.log_signers (
    number    integer     not null,
    origin    text        not null,
    verifiers text[]      not null,
    since     timestamptz not null default clock_timestamp(),
    constraint log_signers_pkey primary key (number)
);
comment on table trust.log_signers is 'under which origin and keys checkpoints are signed; the newest row says how now. Insert-only';
comment on column trust.log_signers.number is '1, 2, 3 …';
comment on column trust.log_signers.origin is 'name of the log in its checkpoints';
comment on column trust.log_signers.verifiers is 'what its signatures are checked with, as C2SP signed-note writes keys';
comment on column trust.log_signers.since is 'when it was added';
comment on index trust.log_signers_pkey is 'the newest';

create table trust.log_checkpoints (
    number    bigint      not null,
    origin    text        not null,
    size      bigint      not null,
    root      bytea       not null,
    note      text        not null,
    signed_at timestamptz not null default clock_timestamp(),
    constraint log_checkpoints_pkey primary key (number),
    constraint log_checkpoints_size_key unique (origin, size)
);
comment on table trust.log_checkpoints is 'what was signed of the log (C2SP tlog-checkpoint). Insert-only';
comment on column trust.log_checkpoints.number is '1, 2, 3 … as they were signed';
comment on column trust.log_checkpoints.origin is 'name of the log that it is signed for';
comment on column trust.log_checkpoints.size is 'how many events it covers: those up to this position';
comment on column trust.log_checkpoints.root is 'of the tree over these events';
comment on column trust.log_checkpoints.note is 'the signed note, with the log''s own signatures';
comment on column trust.log_checkpoints.signed_at is 'when it was signed';
comment on index trust.log_checkpoints_pkey is 'the newest';
comment on index trust.log_checkpoints_size_key is 'the first that covers an event';

create table trust.log_cosignatures (
    number      bigint      not null,
    witness     text        not null,
    line        text        not null,
    received_at timestamptz not null default clock_timestamp(),
    constraint log_cosignatures_pkey primary key (number, witness)
);
comment on table trust.log_cosignatures is 'who else vouches for a checkpoint (C2SP tlog-cosignature). Insert-only';
comment on column trust.log_cosignatures.number is 'of the checkpoint';
comment on column trust.log_cosignatures.witness is 'key of the witness, as C2SP signed-note writes it';
comment on column trust.log_cosignatures.line is 'signature line as it was received, to be added to the note';
comment on column trust.log_cosignatures.received_at is 'when it came';
comment on index trust.log_cosignatures_pkey is 'the cosignatures of a checkpoint';

create function trust.refuse_unsealing() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'what was sealed or signed is never changed or removed' using errcode = 'restrict_violation';
end
$$;
revoke all on function trust.refuse_unsealing from public;

do $$
declare
    name text;
begin
    foreach name in array array['log_hashes', 'log_signers', 'log_checkpoints', 'log_cosignatures'] loop
        -- The tree follows from the events, so its owner may have it made anew, after events were lost.
        execute format('create trigger %I before update or truncate %s on trust.%I '
            'for each statement execute function trust.refuse_unsealing()', name || '_insert_only',
            case name when 'log_hashes' then '' else 'or delete' end, name);
        execute format('grant select, insert on trust.%I to trust_projector', name);
        execute format('grant select on trust.%I to trust_query, trust_audit', name);
        execute format('revoke insert, update, delete, truncate on trust.%I from trust_owner', name);
        if name = 'log_hashes' then
            execute format('grant delete on trust.%I to trust_owner', name);
        end if;
    end loop;
    -- What cannot be made again from the events is restored from a backup.
    foreach name in array array['log_signers', 'log_checkpoints', 'log_cosignatures'] loop
        execute format('grant select, insert on trust.%I to trust_append', name);
    end loop;
end
$$;

reset role;

---- create above / drop below ----

drop table trust.log_cosignatures, trust.log_checkpoints, trust.log_signers, trust.log_hashes;
drop function trust.refuse_unsealing;
