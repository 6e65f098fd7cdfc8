-- The claim, and what must be one round trip. Applied again whenever this file changes (see migrations.py).
--
-- Lock order, everywhere: 1 advisory locks of the whole call, distinct, ascending, before anything is read;
-- 2 reservation rows by id; 3 payment rows; 4 job rows.

-- The one clock, in whole milliseconds. Nothing else in holdfirst asks what time it is for a decision.
create or replace function the_clock() returns timestamptz language sql volatile
as $$ select date_trunc('milliseconds', clock_timestamp()) $$;

-- Locks by name, held to the end of the transaction; taken before anything is read.
create or replace function lock_names(p_names text[]) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock(lock)
    from (select distinct hashtextextended(name, 0) as lock from unnest(p_names) name order by 1) sorted;
end $$;

-- Write down what the clock has ended, where it stands in the way of these intervals.
create or replace function expire_in_the_way(
    p_hosts text[], p_from timestamptz[], p_to timestamptz[]
) returns void language plpgsql as $$
declare
    v_now timestamptz := the_clock();
    v_due text[] := '{}';
    v_more text[];
begin
    for i in 1 .. cardinality(p_hosts) loop
        select array_agg(reservation_id) into v_more
        from claim
        where host_id = p_hosts[i] and ends_at > p_from[i] and ends_at < p_to[i] + interval '9 days'
          and starts_at < p_to[i] and live_until <= v_now;
        v_due := v_due || v_more;
    end loop;
    if v_due = '{}' then
        return;
    end if;
    perform from reservation where id = any(v_due) order by id for update;
    -- A new statement, a new snapshot: whoever held a row before us may have moved its deadline.
    with over as (
        delete from claim where reservation_id = any(v_due) and live_until <= v_now
        returning reservation_id, host_id
    ), ended as (
        update reservation
        set status = case status when 'held' then 'expired' else 'released' end,
            ended_by = 'clock', ended_at = v_now,
            ended_code = case status when 'held' then 'hold_expired' else 'released' end,
            at_deadline = 'expire', processing_until = null, cause = null
        where id in (select reservation_id from over)
    )
    update host set newest_end = greatest(newest_end, v_now) where id in (select host_id from over);
end $$;

-- Take time on one of the hosts, or on all of them; the caller holds their locks and has expired what was due.
-- Answers the hosts taken, or null and why not: 'taken' or 'day_full'.
create or replace function take_time(
    p_account text, p_reservation text, p_event_type text, p_hosts text[], p_all boolean,
    p_start timestamptz, p_from timestamptz, p_to timestamptz, p_seats integer, p_seats_max integer,
    p_day_max integer, p_day_from timestamptz[], p_day_to timestamptz[], p_live_until timestamptz, p_firm boolean,
    out hosts text[], out refused text
) language plpgsql as $$
declare
    v_sitting text := case when p_seats_max > 1
        then p_event_type || '@' || (extract(epoch from p_start) * 1000)::bigint else p_reservation end;
    v_host text;
    v_now timestamptz;
    v_taken int4multirange;
    v_places int4multirange;
    v_refused text;
begin
    hosts := '{}';
    for i in 1 .. cardinality(p_hosts) loop
        v_host := p_hosts[i];
        select greatest(the_clock(), newest_end) into v_now from host where id = v_host;
        v_refused := null;
        if exists (
            select from claim
            where host_id = v_host and ends_at > p_from and ends_at < p_to + interval '9 days'
              and starts_at < p_to and live_until > v_now and sitting <> v_sitting
              and reservation_id <> p_reservation
        ) or exists (
            select from busy where host_id = v_host and ends_at > p_from and starts_at < p_to
        ) then
            v_refused := 'taken';
        elsif p_seats_max > 1 and p_seats > p_seats_max - coalesce((
            select sum(seats_of(places)) from claim
            where host_id = v_host and ends_at > p_from and ends_at < p_to + interval '9 days'
              and sitting = v_sitting and live_until > v_now and reservation_id <> p_reservation
        ), 0) then
            v_refused := 'taken';
        elsif p_day_max is not null and p_day_max <= (
            select count(distinct start) from claim
            where host_id = v_host and ends_at > p_day_from[i] and ends_at < p_day_to[i] + interval '9 days'
              and start >= p_day_from[i] and start < p_day_to[i] and event_type_id = p_event_type
              and start <> p_start and live_until > v_now and reservation_id <> p_reservation
        ) then
            v_refused := 'day_full';
        end if;
        if v_refused is null then
            hosts := hosts || v_host;
        elsif refused is distinct from 'taken' then
            refused := v_refused;
        end if;
    end loop;

    if hosts = '{}' or (p_all and refused is not null) then
        hosts := null;
        return;
    end if;
    refused := null;
    if not p_all and cardinality(hosts) > 1 then
        hosts := array[fairest_host(hosts, p_start)];
    end if;

    -- After this point it must succeed.
    foreach v_host in array hosts loop
        if p_seats_max > 1 then
            select range_agg(places) into v_taken from claim
            where host_id = v_host and ends_at > p_from and ends_at < p_to + interval '9 days'
              and sitting = v_sitting and live_until > v_now and reservation_id <> p_reservation;
            v_places := lowest_places(p_seats, p_seats_max, v_taken);
        else
            v_places := int4multirange(int4range(1, 2));
        end if;
        insert into claim (
            account_id, host_id, reservation_id, event_type_id, start, starts_at, ends_at, sitting, seats_max,
            places, live_until, firm
        ) values (
            p_account, v_host, p_reservation, p_event_type, p_start, p_from, p_to, v_sitting, p_seats_max,
            v_places, p_live_until, p_firm
        )
        on conflict (reservation_id, host_id) do update
        set start = excluded.start, starts_at = excluded.starts_at, ends_at = excluded.ends_at,
            sitting = excluded.sitting, places = excluded.places, live_until = excluded.live_until,
            firm = excluded.firm;
    end loop;
    -- A move to another host gives up the one before, in the same step.
    delete from claim where reservation_id = p_reservation and host_id <> all(hosts);
end $$;

create or replace function seats_of(p_places int4multirange) returns bigint language sql immutable
as $$ select coalesce(sum(upper(place) - lower(place)), 0) from unnest(p_places) place $$;

-- The lowest free seat numbers of a sitting.
create or replace function lowest_places(
    p_seats integer, p_seats_max integer, p_taken int4multirange
) returns int4multirange language sql immutable as $$
    select range_agg(int4range(seat, seat + 1))
    from (
        select seat from generate_series(1, p_seats_max) seat
        where not coalesce(p_taken @> seat, false) order by seat limit p_seats
    ) free
$$;

-- Fair: the fewest live claims in the week before and after, then who was given something longest ago.
create or replace function fairest_host(p_hosts text[], p_start timestamptz) returns text language sql stable as $$
    select candidate
    from unnest(p_hosts) with ordinality as one(candidate, position)
    left join lateral (
        select count(*) as load, max(reservation_id) as newest
        from claim
        where host_id = candidate and ends_at > p_start - interval '7 days'
          and ends_at < p_start + interval '7 days' and live_until > the_clock()
    ) work on true
    order by load, newest nulls first, position
    limit 1
$$;

-- An idempotency key: 'fresh', 'replay', 'reused', 'in_progress', or 'taken_up' from a request that died.
create or replace function begin_keyed(
    p_scope text, p_key text, p_fingerprint bytea, p_lease interval,
    out outcome text, out http_status integer, out result jsonb
) language plpgsql as $$
declare
    v_now timestamptz := the_clock();
    v_row idempotency_key;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('key:' || p_scope || ' ' || p_key, 0)) then
        outcome := 'in_progress';
        return;
    end if;
    select * into v_row from idempotency_key where scope = p_scope and key = p_key for update;
    if found and v_row.created_at <= v_now - interval '24 hours' then
        delete from idempotency_key where scope = p_scope and key = p_key;
    elsif found then
        if v_row.fingerprint <> p_fingerprint then
            outcome := 'reused';
        elsif v_row.http_status is not null then
            -- A replay commits a write of its own before it answers: a failover cannot make it lie.
            update idempotency_key set replays = replays + 1 where scope = p_scope and key = p_key;
            outcome := 'replay';
            http_status := v_row.http_status;
            result := v_row.result;
        elsif v_row.lease_until > v_now then
            outcome := 'in_progress';
        else
            update idempotency_key set lease_until = v_now + p_lease where scope = p_scope and key = p_key;
            outcome := 'taken_up';
        end if;
        return;
    end if;
    insert into idempotency_key (scope, key, fingerprint, lease_until, created_at)
    values (p_scope, p_key, p_fingerprint, v_now + p_lease, v_now);
    outcome := 'fresh';
end $$;

-- A wish in the caller's transaction. The same wish again pulls the first one forward and asks for one more run.
create or replace function enqueue(
    p_account text, p_kind text, p_subject text, p_due timestamptz, p_lane text default null
) returns void language sql as $$
    insert into job (key, account_id, kind, subject, lane, due_at, created_at)
    values (p_kind || ':' || p_subject, p_account, p_kind, p_subject, p_lane, p_due, the_clock())
    on conflict (key) do update
    set due_at = least(job.due_at, excluded.due_at), pulls = job.pulls + 1,
        dead_at = null, attempts = case when job.dead_at is null then job.attempts else 0 end
$$;

-- Reserve: many reservations a call, one round trip, each item an outcome of its own:
-- 'held', 'taken', 'day_full', 'too_many_holds', or what its idempotency key says.
create or replace function reserve(p_items jsonb) returns table (
    item integer, outcome text, hosts text[], created_at timestamptz, held_until timestamptz, result jsonb
) language plpgsql as $$
#variable_conflict use_column
declare
    v_item jsonb;
    v_row record;
    v_key record;
    v_took record;
    v_now timestamptz;
    v_hosts text[];
    v_day_from timestamptz[];
    v_day_to timestamptz[];
    v_from timestamptz;
    v_to timestamptz;
begin
    perform lock_names(array(
        select name from jsonb_array_elements(p_items) one, jsonb_array_elements_text(one -> 'locks') name
    ));
    perform expire_in_the_way(array_agg(host), array_agg((one ->> 'from')::timestamptz), array_agg((one ->> 'to')::timestamptz))
    from jsonb_array_elements(p_items) one, jsonb_array_elements_text(one -> 'hosts') host;

    for v_index in 0 .. jsonb_array_length(p_items) - 1 loop
        v_item := p_items -> v_index;
        item := v_index; outcome := null; hosts := null; created_at := null; held_until := null; result := null;

        if v_item ? 'key' then
            select * into v_key from begin_keyed(
                v_item #>> '{key,scope}', v_item #>> '{key,key}',
                decode(v_item #>> '{key,fingerprint}', 'hex'), interval '30 seconds'
            );
            if v_key.outcome not in ('fresh', 'taken_up') then
                outcome := v_key.outcome; result := v_key.result;
                return next;
                continue;
            end if;
        end if;

        v_hosts := array(select jsonb_array_elements_text(v_item -> 'hosts'));
        v_day_from := array(select jsonb_array_elements_text(v_item -> 'day_from'))::timestamptz[];
        v_day_to := array(select jsonb_array_elements_text(v_item -> 'day_to'))::timestamptz[];
        v_from := (v_item ->> 'from')::timestamptz;
        v_to := (v_item ->> 'to')::timestamptz;
        select greatest(the_clock(), max(newest_end)) into v_now from host where id = any(v_hosts);
        created_at := v_now;
        held_until := v_now + make_interval(secs => (v_item ->> 'hold_seconds')::integer);

        select * into v_row from jsonb_to_record(v_item -> 'row') as row (
            id text, account_id text, livemode boolean, event_type_id text, start timestamptz, "end" timestamptz,
            buffer_before_minutes integer, buffer_after_minutes integer, seats integer, price_minor bigint,
            currency text, payment_account_id text, customer jsonb, guests jsonb, answers jsonb, metadata jsonb,
            holder_address text, holder_email text
        );
        select * into v_took from take_time(
            v_row.account_id, v_row.id, v_row.event_type_id, v_hosts, (v_item ->> 'all')::boolean,
            v_row.start, v_from, v_to, v_row.seats, (v_item ->> 'seats_max')::integer,
            (v_item ->> 'day_max')::integer, v_day_from, v_day_to, held_until, false
        );
        if v_took.hosts is null then
            outcome := v_took.refused;
        elsif too_many_holds(v_row.account_id, decode(v_row.holder_address, 'hex'), decode(v_row.holder_email, 'hex'),
                             (v_item ->> 'address_max')::integer, (v_item ->> 'email_max')::integer, v_now) then
            delete from claim where reservation_id = v_row.id;
            outcome := 'too_many_holds';
        end if;
        if outcome is not null then
            if v_item ? 'key' then
                delete from idempotency_key
                where scope = v_item #>> '{key,scope}' and key = v_item #>> '{key,key}';
            end if;
            return next;
            continue;
        end if;

        insert into reservation (
            id, account_id, livemode, event_type_id, status, start, "end", buffer_before_minutes,
            buffer_after_minutes, hosts, seats, held_until, hold_seconds, created_at, price_minor, currency,
            payment_account_id, customer, guests, answers, metadata, holder_address, holder_email
        ) values (
            v_row.id, v_row.account_id, v_row.livemode, v_row.event_type_id, 'held', v_row.start, v_row."end",
            v_row.buffer_before_minutes, v_row.buffer_after_minutes, v_took.hosts, v_row.seats, held_until,
            (v_item ->> 'hold_seconds')::integer, created_at, v_row.price_minor, v_row.currency,
            coalesce(v_item -> 'payees' ->> v_took.hosts[1], v_row.payment_account_id), v_row.customer,
            v_row.guests, v_row.answers, v_row.metadata,
            decode(v_row.holder_address, 'hex'), decode(v_row.holder_email, 'hex')
        );
        perform enqueue(v_row.account_id, 'deadline', v_row.id, held_until);
        if v_item ? 'key' then
            update idempotency_key
            set http_status = 201, result = jsonb_build_object('id', v_row.id)
            where scope = v_item #>> '{key,scope}' and key = v_item #>> '{key,key}';
        end if;
        outcome := 'held';
        hosts := v_took.hosts;
        return next;
    end loop;
end $$;

-- Live holds of one address, or of one e-mail, made with publishable keys. The caller holds their locks.
create or replace function too_many_holds(
    p_account text, p_address bytea, p_email bytea, p_address_max integer, p_email_max integer, p_now timestamptz
) returns boolean language sql stable as $$
    select coalesce(p_address_max > 0 and p_address_max <= (
        select count(*) from reservation
        where account_id = p_account and holder_address = p_address and status = 'held' and held_until > p_now
    ), false) or coalesce(p_email_max > 0 and p_email_max <= (
        select count(*) from reservation
        where account_id = p_account and holder_email = p_email and status = 'held' and held_until > p_now
    ), false)
$$;
