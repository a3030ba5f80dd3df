-- additive
--
-- Nobody erases their own trail: any act in office counts, in any tenant, also one that is about no person, such as a purpose that was
-- defined or a municipality that was closed. Before, only acts about another person in the own tenant did. What is about oneself alone
-- is no act in office: signing in, one's own account, consents and requests. An index holds the acts and nothing else, so that the
-- question costs the same for an account with a long history of its own. The rest is as in 017_second_factor.sql.
set local role trust_owner;

create index events_acts_idx on trust.events (actor_id)
where actor_id is not null and event_type <> 'access.tenant_mismatch.v1'
    and (subject_id is distinct from actor_id
         or event_type in ('personal_data.read.v1', 'user.role_changed.v1', 'rights.request_fulfilled.v1',
                           'rights.request_refused.v1', 'rights.hold_placed.v1', 'rights.hold_lifted.v1'));
comment on index trust.events_acts_idx is 'did this account ever act in office, in whatever tenant';

insert into trust.event_types (stream_type, event_type) values
    ('officers', 'officers.listed.v1'),
    ('officers', 'officer.added.v1'),
    ('officers', 'officer.removed.v1');

reset role;
grant create on schema trust to trust_append;
set local role trust_append;

create or replace function trust.side_outcomes(side json, outcomes smallint[]) returns smallint[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    w record;
begin
    for w in select * from json_to_recordset(side) as x (append integer, n integer, kind text, tenant uuid, id uuid,
                                                         name text, owner uuid, digest bytea, token bytea,
                                                         step bigint, seen bigint, wrong integer) loop
        continue when outcomes[w.append] <> 0;
        case w.kind
            when 'take_claim' then
                if exists (select from trust.claims c where c.tenant_id = w.tenant and c.kind = w.name
                           and c.digest = w.digest and c.holder <> w.id) then
                    outcomes[w.append] := 3 + 10 * w.n;
                end if;
            when 'rotate_session' then
                -- Either way of the clock: a token replaced while it ran ahead must not be good until that time has come.
                if not exists (select from trust.sessions s where s.session_id = w.id
                               and (s.token = w.digest
                                    or s.token = w.token and s.replaced = w.digest
                                       and abs(extract(epoch from clock_timestamp() - s.replaced_at)) <= 10)) then
                    outcomes[w.append] := 4 + 10 * w.n;
                end if;
            when 'end_session' then
                if w.name = 'once' and not exists (select from trust.sessions s where s.session_id = w.id) then
                    outcomes[w.append] := 4 + 10 * w.n;
                end if;
            when 'set_second_factor' then
                if not exists (select from trust.credentials c where c.user_id = w.id and c.tenant_id = w.tenant
                               and c.offered_id = w.owner) then
                    outcomes[w.append] := 4 + 10 * w.n;
                end if;
            when 'spend_code', 'count_wrong_code' then
                -- What the program saw when it judged the code, and of a right one once more that its step was never used.
                if not exists (select from trust.credentials c where c.user_id = w.id and c.tenant_id = w.tenant
                               and c.factor_id = w.owner and c.factor_step = coalesce(w.seen, 0) and c.wrong_codes = coalesce(w.wrong, 0)
                               and (w.kind = 'count_wrong_code' or c.factor_step < w.step)) then
                    outcomes[w.append] := 4 + 10 * w.n;
                end if;
            when 'create_key' then
                if exists (select from trust.keys k where k.key_id = w.id) then
                    outcomes[w.append] := 5 + 10 * w.n;
                elsif w.name = 'tenant' and not trust.in_force(w.digest) then
                    outcomes[w.append] := 7 + 10 * w.n;
                end if;
            when 'demand_no_acts' then
                -- In the words of events_acts_idx, which without them would not be used.
                if exists (select from trust.events e
                           where e.actor_id = w.id and e.actor_id is not null and e.event_type <> 'access.tenant_mismatch.v1'
                               and (e.subject_id is distinct from e.actor_id
                                    or e.event_type in ('personal_data.read.v1', 'user.role_changed.v1', 'rights.request_fulfilled.v1',
                                                        'rights.request_refused.v1', 'rights.hold_placed.v1',
                                                        'rights.hold_lifted.v1'))) then
                    outcomes[w.append] := 6 + 10 * w.n;
                end if;
            else
        end case;
    end loop;
    return outcomes;
end
$$;

reset role;
revoke create on schema trust from trust_append;

---- create above / drop below ----

-- Nothing but the index: the function serves an older program as the one before did, and refuses more.
drop index trust.events_acts_idx;
