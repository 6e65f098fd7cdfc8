-- The claim, and what must be one round trip. Applied again whenever this file changes (see migrations.py).
--
-- Lock order, everywhere: 1 advisory locks of the whole call, distinct, ascending, before anything is read;
-- 2 reservation rows by id; 3 payment rows; 4 job rows.
--
-- A line `--gate: name` is a comment. The race laboratory (tests/races/schedules) builds these functions with a stop at
-- each of them, so that others may run between two statements of one function; here they stop nobody.

-- The one clock, in whole milliseconds. Nothing else in holdfirst asks what time it is for a decision.
create or replace function the_clock() returns timestamptz language sql volatile
as $$ select date_trunc('milliseconds', clock_timestamp()) $$;

-- Locks by name, held to the end of the transaction; taken before anything is read.
create or replace function lock_names(p_names text[]) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock(lock)
    from (select distinct hashtextextended(name, 0) as lock from unnest(p_names) name order by 1) sorted;
end $$;

-- Write down what the clock has ended by `p_now`, where it stands in the way of these intervals. A host on which a later
-- end was seen goes by that one: the clock may have stepped back since. `p_but`: who moves is not in its own way.
create or replace function expire_in_the_way(
    p_hosts text[], p_from timestamptz[], p_to timestamptz[], p_now timestamptz, p_but text
) returns void language plpgsql as $$
declare
    v_due text[];
    v_seen timestamptz[];
begin
    -- Each host asked for by equality, and OFFSET 0 so that it stays so: as one join the planner drops the index.
    select array_agg(reservation_id), array_agg(seen) into v_due, v_seen
    from unnest(p_hosts, p_from, p_to) looked_at(host, starts, ends) cross join lateral (
        select reservation_id, greatest(p_now, newest_end) as seen
        from host join claim on host_id = host.id
        where host.id = looked_at.host and ends_at > looked_at.starts
          and ends_at < looked_at.ends + interval '9 days' and starts_at < looked_at.ends
          and live_until <= greatest(p_now, newest_end) and reservation_id is distinct from p_but
        offset 0
    ) over;
    if v_due is null then
        return;
    end if;
    --gate: due_found
    perform from reservation where id = any(v_due) order by id for update;
    --gate: due_locked
    -- A new statement, a new snapshot: whoever held a row before us may have moved its deadline. The instant stays the
    -- same: what ends after it is in the way, and `find_time` sees it so.
    with due as (
        select id, max(seen) as seen from unnest(v_due, v_seen) one(id, seen) group by 1
    ), over as (
        delete from claim using due where reservation_id = due.id and live_until <= due.seen
        returning reservation_id, host_id, live_until, due.seen
    ), ended as (
        update reservation
        set status = case status when 'held' then 'expired' else 'released' end,
            ended_by = 'clock', ended_at = lapsed.at,
            ended_code = case status when 'held' then 'hold_expired' else 'released' end,
            at_deadline = 'expire', processing_until = null, cause = null
        from (select reservation_id, max(live_until) as at from over group by 1) lapsed
        where id = lapsed.reservation_id
    )
    update host set newest_end = greatest(newest_end, later.seen)
    from (select host_id, max(seen) as seen from over group by 1) later where id = later.host_id;
end $$;

-- What stands on one host in the way of [p_from, p_to), and who sits there already; the caller holds its lock.
create or replace function look_at(
    p_host text, p_from timestamptz, p_to timestamptz, p_sitting text, p_reservation text, p_now timestamptz
) returns table (taken boolean, seated int4multirange, newest_end timestamptz) language sql stable as $$
    select coalesce(live.overlaps, false) or exists (
        select from busy where host_id = p_host and ends_at > p_from and starts_at < p_to
    ), live.seated, host.newest_end
    from host cross join lateral (
        select bool_or(sitting <> p_sitting and starts_at < p_to) as overlaps,
            range_agg(claim.places) filter (where sitting = p_sitting) as seated
        from claim
        where host_id = p_host and ends_at > p_from and ends_at < p_to + interval '9 days'
          and live_until > greatest(p_now, newest_end) and reservation_id <> p_reservation
    ) live
    where id = p_host
$$;

-- Find time on one of the hosts, or on all of them; the caller holds their locks and has expired what was due by `p_now`.
-- Answers the hosts and the places on each, or null and why not: 'taken' or 'day_full'.
-- The seats of a sitting are numbered places; where nothing is shared, the one place is number 1.
create or replace function find_time(
    p_reservation text, p_event_type text, p_hosts text[], p_all boolean,
    p_start timestamptz, p_from timestamptz, p_to timestamptz, p_seats integer, p_seats_max integer,
    p_day_max integer, p_day_from timestamptz[], p_day_to timestamptz[], p_now timestamptz,
    out hosts text[], out places int4multirange[], out refused text
) language plpgsql as $$
declare
    v_sitting text := sitting_of(p_event_type, p_start, p_seats_max, p_reservation);
    v_host text;
    v_look record;
    v_refused text;
begin
    for i in 1 .. cardinality(p_hosts) loop
        v_host := p_hosts[i];
        select * into v_look from look_at(v_host, p_from, p_to, v_sitting, p_reservation, p_now);
        if v_look.taken
           or (v_look.seated is not null and p_seats > p_seats_max - seats_of(v_look.seated)) then
            v_refused := 'taken';
        elsif p_day_max is not null and p_day_max <= (
            select count(distinct start) from claim
            where host_id = v_host and ends_at > p_day_from[i] and ends_at < p_day_to[i] + interval '9 days'
              and start >= p_day_from[i] and start < p_day_to[i] and event_type_id = p_event_type
              and start <> p_start and live_until > p_now
        ) then
            v_refused := coalesce(v_refused, 'day_full');
        else
            hosts := hosts || v_host;
            places := places || case when p_seats_max > 1
                then lowest_places(p_seats, p_seats_max, v_look.seated) else '{[1,2)}' end;
        end if;
    end loop;

    if hosts is null or (p_all and v_refused is not null) then
        hosts := null;
        refused := v_refused;
    elsif not p_all and cardinality(hosts) > 1 then
        v_host := fairest_host(hosts, p_start);
        places := array[places[array_position(hosts, v_host)]];
        hosts := array[v_host];
    end if;
end $$;

-- Reservations of one sitting share their time; any other is a sitting of its own.
create or replace function sitting_of(
    p_event_type text, p_start timestamptz, p_seats_max integer, p_reservation text
) returns text language sql stable as $$
    select case when p_seats_max > 1
        then p_event_type || '@' || (extract(epoch from p_start) * 1000)::bigint else p_reservation end
$$;

-- Find time on all of these hosts and take it, for a reservation that is there already (a retake, a move).
create or replace function take_time(
    p_account text, p_reservation text, p_event_type text, p_hosts text[],
    p_start timestamptz, p_from timestamptz, p_to timestamptz, p_seats integer, p_seats_max integer,
    p_live_until timestamptz, p_firm boolean
) returns boolean language plpgsql as $$
declare
    v_now timestamptz := the_clock();
    v_found record;
begin
    perform expire_in_the_way(
        p_hosts, array_fill(p_from, array[cardinality(p_hosts)]), array_fill(p_to, array[cardinality(p_hosts)]), v_now,
        p_reservation
    );
    --gate: retake_due_expired
    select * into v_found from find_time(
        p_reservation, p_event_type, p_hosts, true, p_start, p_from, p_to, p_seats, p_seats_max, null, null, null, v_now
    );
    if v_found.hosts is null then
        return false;
    end if;

    --gate: retake_time_found
    -- After this point it must succeed. A move gives up the time before, in the same step.
    delete from claim where reservation_id = p_reservation;
    --gate: retake_time_given_up
    insert into claim (
        account_id, host_id, reservation_id, event_type_id, start, starts_at, ends_at, sitting, seats_max, places,
        live_until, firm
    )
    select p_account, host, p_reservation, p_event_type, p_start, p_from, p_to,
        sitting_of(p_event_type, p_start, p_seats_max, p_reservation), p_seats_max, place, p_live_until, p_firm
    from unnest(v_found.hosts, v_found.places) found(host, place);
    return true;
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
    order by load, newest, position
    limit 1
$$;

-- An idempotency key: 'fresh', 'replay', 'reused', 'in_progress', or 'taken_up' from a request that died; `result` then says
-- how far that came, if it wrote it down.
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
    --gate: key_locked
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
            result := v_row.result;
        end if;
        return;
    end if;
    --gate: key_read
    insert into idempotency_key (scope, key, fingerprint, lease_until, created_at)
    values (p_scope, p_key, p_fingerprint, v_now + p_lease, v_now);
    outcome := 'fresh';
end $$;

-- A wish in the caller's transaction. The same wish again pulls the first one forward and asks for one more run.
create or replace function enqueue(
    p_account text, p_kind text, p_subject text, p_due timestamptz, p_lane text default null
) returns void language plpgsql as $$
begin
    insert into job (key, account_id, kind, subject, lane, due_at, created_at)
    values (p_kind || ':' || p_subject, p_account, p_kind, p_subject, p_lane, p_due, the_clock())
    on conflict (key) do update
    set due_at = least(job.due_at, excluded.due_at), pulls = job.pulls + 1,
        dead_at = null, attempts = case when job.dead_at is null then job.attempts else 0 end;
end $$;

-- Write what was held: claims, reservations, and the jobs that look at their deadlines. Lists side by side, one entry for each
-- reservation; its hosts and their places as array literals, because arrays of arrays have one length for all.
create or replace function write_held(
    p_items jsonb, p_ids text[], p_hosts text[], p_places text[], p_created timestamptz[], p_until timestamptz[]
) returns void language plpgsql as $$
begin
    with held as materialized (
        select wanted.*, one.hosts::text[], one.places::int4multirange[], one.created, one.until
        from unnest(p_ids, p_hosts, p_places, p_created, p_until) one(id, hosts, places, created, until)
        join jsonb_to_recordset(p_items) as wanted (
            id text, account_id text, livemode boolean, event_type_id text, start timestamptz, "end" timestamptz,
            starts_at timestamptz, ends_at timestamptz, buffer_before_minutes integer, buffer_after_minutes integer,
            seats integer, seats_max integer, hold_seconds integer, price_minor bigint, currency text, payees jsonb,
            customer jsonb, guests jsonb, answers jsonb, metadata jsonb, holder_address text, holder_email text,
            connected text[], verdict text, attend_seconds integer
        ) using (id)
    ), claimed as (
        insert into claim (
            account_id, host_id, reservation_id, event_type_id, start, starts_at, ends_at, sitting, seats_max,
            places, live_until
        )
        select account_id, host, id, event_type_id, start, starts_at, ends_at,
            sitting_of(event_type_id, start, seats_max, id), seats_max, place, until
        from held cross join unnest(held.hosts, held.places) one(host, place)
    ), reserved as (
        insert into reservation (
            id, account_id, livemode, event_type_id, status, start, "end", buffer_before_minutes,
            buffer_after_minutes, hosts, seats, held_until, hold_seconds, created_at, price_minor, currency,
            payment_account_id, customer, guests, answers, metadata, holder_address, holder_email,
            in_calendars, calendar_verdict, told
        )
        select id, account_id, livemode, event_type_id, 'held', start, "end", buffer_before_minutes,
            buffer_after_minutes, hosts, seats, until, hold_seconds, created, price_minor, currency,
            payees ->> hosts[1], customer, guests, answers, metadata,
            decode(holder_address, 'hex'), decode(holder_email, 'hex'),
            coalesce(connected && hosts, false), case when connected && hosts then verdict end,
            (connected && hosts and verdict = 'pending') is not true
        from held
    )
    insert into job (key, account_id, kind, subject, due_at, created_at)
    select 'deadline:' || id, account_id, 'deadline', id, until, created from held
    union all
    select 'calendars:' || id, account_id, 'calendars', id, created + make_interval(secs => attend_seconds), created
    from held where connected && hosts;
end $$;

-- Reserve: many reservations a call, one round trip, each item an outcome of its own:
-- 'held', 'taken', 'day_full', 'too_many_holds', 'look_again', or what its idempotency key says. 'look_again': what it was
-- decided on (`catalog`, of its account, at `decided_at`) is not what stands now. The key of a hold whose calendars are waited
-- for is answered when they have answered (idempotency.py); until then a repeat is 'in_progress', and 'taken_up' if that never came.
-- The locks of the whole call, and the intervals that it looks at, come as flat lists beside the items; no two items
-- of one call have the same idempotency key. What each host looks like is asked for all items at once, and what they hold
-- is written at once: at the end, or before an item that looks at a host which an earlier one has claimed.
create or replace function reserve(
    p_locks text[], p_hosts text[], p_from timestamptz[], p_to timestamptz[], p_items jsonb
) returns table (
    item integer, outcome text, hosts text[], created_at timestamptz, held_until timestamptz, result jsonb
) language plpgsql as $$
#variable_conflict use_column
declare
    v_now timestamptz;
    v record;
    v_key record;
    v_seen boolean;
    v_hosts text[];
    v_places int4multirange[];
    v_refused_as text;
    v_fresh text[];
    v_refused text[];
    v_addresses text[];
    v_emails text[];
    v_claimed text[] := '{}';
    v_ids text[] := '{}';
    v_id_hosts text[] := '{}';
    v_id_places text[] := '{}';
    v_created timestamptz[] := '{}';
    v_until timestamptz[] := '{}';
begin
    perform lock_names(p_locks);
    --gate: locked
    -- One instant for what is over and for what is free: what ends between the two would be sold and not written down.
    v_now := the_clock();
    perform expire_in_the_way(p_hosts, p_from, p_to, v_now, null);
    --gate: due_expired

    -- Fresh nearly always, and then this is all: the answer is written with the reservation.
    with fresh as (
        insert into idempotency_key (scope, key, fingerprint, http_status, result, lease_until, created_at)
        select scope, key, decode(fingerprint, 'hex'), 201, jsonb_build_object('id', id), now, now
        from jsonb_to_recordset(p_items) as wanted (id text, scope text, key text, fingerprint text),
            the_clock() now
        where key is not null
        order by scope, key
        on conflict (scope, key) do nothing
        returning result ->> 'id' as id
    ) select array_agg(id) into v_fresh from fresh;

    --gate: keys_written
    for v in
        select wanted.*, mine.sitting, the_clock() as by_clock, greatest(the_clock(), seen.newest_end) as now, seen.nobody_there,
            (select catalog_version from account where account.id = wanted.account_id) as catalog_now
        from rows from (jsonb_to_recordset(p_items) as (
            id text, account_id text, catalog bigint, decided_at timestamptz, event_type_id text, hosts text[],
            all_hosts boolean, start timestamptz,
            starts_at timestamptz, ends_at timestamptz, seats integer, seats_max integer, day_max integer,
            day_from timestamptz[], day_to timestamptz[], hold_seconds integer, holder_address text,
            holder_email text, address_max integer, email_max integer, scope text, key text, fingerprint text,
            connected text[], attend_seconds integer, answer_seconds integer
        )) with ordinality as wanted
        cross join lateral (select sitting_of(event_type_id, start, seats_max, wanted.id) as sitting) mine
        cross join lateral (
            select bool_and(not taken and seated is null) as nobody_there, max(newest_end) as newest_end
            from unnest(wanted.hosts) one
            cross join lateral look_at(one, starts_at, ends_at, mine.sitting, wanted.id, v_now)
        ) seen
        order by wanted.ordinality
    loop
        item := v.ordinality - 1;
        outcome := null; hosts := null; created_at := null; held_until := null; result := null;

        if v.key is not null and v.id <> all(coalesce(v_fresh, '{}')) then
            select * into v_key
            from begin_keyed(v.scope, v.key, decode(v.fingerprint, 'hex'), interval '30 seconds');
            if v_key.outcome <> 'fresh' then
                outcome := v_key.outcome; result := v_key.result;
                return next;
                continue;
            end if;
            update idempotency_key set http_status = 201, result = jsonb_build_object('id', v.id)
            where scope = v.scope and key = v.key;
        end if;

        --gate: key_written
        v_seen := v.hosts && v_claimed;
        if v_seen and v_ids <> '{}' then
            -- An earlier item of this call has claimed one of its hosts: it is to see that.
            perform write_held(p_items, v_ids, v_id_hosts, v_id_places, v_created, v_until);
            v_ids := '{}'; v_id_hosts := '{}'; v_id_places := '{}'; v_created := '{}'; v_until := '{}';
            v_addresses := null; v_emails := null;
        end if;
        -- It was decided by the clock, which may have stepped back behind an end that was seen on the host.
        if v.catalog is distinct from v.catalog_now
           or v.decided_at not between v.by_clock - interval '2 seconds' and v.by_clock + interval '2 seconds' then
            outcome := 'look_again';
            v_refused := v_refused || v.id;
            return next;
            continue;
        end if;
        if (v.nobody_there or v.seats_max = 1) and (v.all_hosts or cardinality(v.hosts) = 1)
           and v.day_max is null and not v_seen then
            -- Nothing to weigh: what find_time would say, at a fraction of its price.
            v_hosts := case when v.nobody_there then v.hosts end;
            v_places := array_fill(int4multirange(int4range(1, v.seats + 1)), array[cardinality(v.hosts)]);
            v_refused_as := 'taken';
        else
            select * into v_hosts, v_places, v_refused_as from find_time(
                v.id, v.event_type_id, v.hosts, v.all_hosts, v.start, v.starts_at, v.ends_at, v.seats, v.seats_max,
                v.day_max, v.day_from, v.day_to, v_now
            );
            -- Stamped after it looked: whose time somebody else gave up since the loop began has ended before this begins.
            v.now := greatest(v.now, the_clock());
        end if;
        if v_hosts is null then
            outcome := v_refused_as;
        elsif v.holder_address is not null and too_many_holds(
            v.account_id, v.holder_address, v.holder_email, v.address_max, v.email_max, v.now, v_addresses, v_emails
        ) then
            outcome := 'too_many_holds';
        end if;
        if outcome is not null then
            v_refused := v_refused || v.id;
            return next;
            continue;
        end if;

        -- After this point it must succeed.
        outcome := 'held';
        hosts := v_hosts;
        created_at := v.now;
        held_until := v.now + make_interval(secs => v.hold_seconds);
        v_claimed := v_claimed || hosts;
        v_ids := v_ids || v.id;
        v_id_hosts := v_id_hosts || hosts::text;
        v_id_places := v_id_places || v_places::text;
        v_created := v_created || created_at;
        v_until := v_until || held_until;
        -- A process of the version before says only when its job is due.
        v.answer_seconds := coalesce(v.answer_seconds, v.attend_seconds);
        if v.key is not null and v.connected && v_hosts and v.answer_seconds > 0 then
            update idempotency_key set http_status = null, lease_until = v.now + make_interval(secs => v.answer_seconds)
            where scope = v.scope and key = v.key;
        end if;
        if v.holder_address is not null then
            v_addresses := v_addresses || v.holder_address;
            v_emails := v_emails || v.holder_email;
        end if;
        return next;
    end loop;

    --gate: time_taken
    if v_ids <> '{}' then
        perform write_held(p_items, v_ids, v_id_hosts, v_id_places, v_created, v_until);
    end if;
    if v_refused is not null then
        -- A refusal keeps no key.
        delete from idempotency_key using jsonb_to_recordset(p_items) as wanted (id text, scope text, key text)
        where wanted.id = any(v_refused)
          and idempotency_key.scope = wanted.scope and idempotency_key.key = wanted.key;
    end if;
end $$;

-- Live holds of one address, or of one e-mail, made with publishable keys. The caller holds their locks;
-- `p_addresses`, `p_emails`: of the holds of this very call, whose rows are not written yet. Digests, in hex.
create or replace function too_many_holds(
    p_account text, p_address text, p_email text, p_address_max integer, p_email_max integer, p_now timestamptz,
    p_addresses text[], p_emails text[]
) returns boolean language plpgsql stable as $$
begin
    return p_address_max > 0 and p_address_max <= (
        select count(*) from reservation where account_id = p_account and status = 'held' and held_until > p_now
          and holder_address = decode(p_address, 'hex')
    ) + coalesce(cardinality(array_positions(p_addresses, p_address)), 0)
    or p_email is not null and p_email_max > 0 and p_email_max <= (
        select count(*) from reservation where account_id = p_account and status = 'held' and held_until > p_now
          and holder_email = decode(p_email, 'hex')
    ) + coalesce(cardinality(array_positions(p_emails, p_email)), 0);
end $$;
