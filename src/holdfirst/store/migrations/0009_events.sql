-- What happened, for whoever wants to be told: GET /v1/events and webhooks.
--
-- Triggers write it, in the transaction of what happened: no verb can forget it, and none needs a round trip for it.

-- What nobody was told yet. Kept apart from `event`, because an order that readers can rely on can only be given to
-- what is committed: whoever reads numbers it, under a lock (flows/events.py).
create table outbox (
    number bigint generated always as identity,
    account_id text not null,
    type text not null,
    subject text not null,
    happened_at timestamptz not null,
    -- The row that it is about, as it was then; of a reservation with its payments. As text, which is the cheapest to write.
    was json not null,
    payments json,
    primary key (account_id, number)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500);

create table event (
    id text primary key,
    account_id text not null,
    position bigint generated always as identity,
    type text not null,
    happened_at timestamptz not null,
    told_at timestamptz not null,
    -- As it is sent, byte for byte, however often.
    body bytea not null
);
create unique index event_in_order on event (account_id, position);
create index event_by_age on event using brin (told_at);

create table webhook_endpoint (
    id text primary key,
    account_id text not null references account,
    url text not null,
    -- Empty: all of them, those to come too.
    types text[] not null,
    sealed_secret bytea not null,
    -- The secret before this one still signs until then, so that receivers may change theirs at leisure.
    sealed_before bytea,
    before_until timestamptz,
    created_at timestamptz not null,
    deleted_at timestamptz,
    constraint the_secret_before_has_an_end check ((sealed_before is null) = (before_until is null))
);
create index webhook_endpoint_of_account on webhook_endpoint (account_id) where deleted_at is null;

create table webhook_delivery (
    id text primary key,
    account_id text not null,
    endpoint_id text not null references webhook_endpoint,
    event_id text not null references event on delete cascade,
    status text not null default 'pending' check (status in ('pending', 'delivered', 'failed')),
    -- Since it was last wished for; `redeliver` begins again.
    attempts integer not null default 0,
    created_at timestamptz not null,
    attempted_at timestamptz,
    due_at timestamptz,
    response_status integer,
    error text,
    constraint an_event_is_delivered_once_to_each unique (endpoint_id, event_id),
    constraint what_is_pending_is_due check ((due_at is not null) = (status = 'pending'))
);
create index webhook_delivery_of_endpoint on webhook_delivery (endpoint_id, id);
create index webhook_delivery_of_event on webhook_delivery (event_id);

-- Whether anybody is to be told stands in what is offered, so that a claim knows whether to ring.
create trigger webhook_endpoints_count_their_changes after insert or update of deleted_at on webhook_endpoint
    for each row execute function count_catalog_change();

create function write_event(
    p_account text, p_type text, p_subject text, p_happened timestamptz, p_was json, p_payments json default null
) returns void language plpgsql as $$
begin
    insert into outbox (account_id, type, subject, happened_at, was, payments)
    values (p_account, p_type, p_subject, p_happened, p_was, p_payments);
    if exists (select from webhook_endpoint where account_id = p_account and deleted_at is null) then
        perform enqueue(p_account, 'tell', p_account || '/' || p_subject, the_clock());
    end if;
end $$;

create function payments_of(p_reservation text) returns json language sql stable as $$
    select coalesce(json_agg(row_to_json(payment) order by id), '[]') from payment where reservation_id = p_reservation
$$;

-- Holds: many at once, on the way that everybody waits for. A new one has no payments.
create function write_held_events() returns trigger language plpgsql as $$
begin
    insert into outbox (account_id, type, subject, happened_at, was, payments)
    select account_id, 'reservation.held', id, created_at, row_to_json(made), '[]' from made order by id;
    perform enqueue(account_id, 'tell', account_id || '/' || id, the_clock())
    from made
    where exists (select from webhook_endpoint one where one.account_id = made.account_id and deleted_at is null)
    order by id;
    return null;
end $$;
create trigger holds_are_told after insert on reservation
    referencing new table as made for each statement execute function write_held_events();

-- At the commit, when the payments are as the same transaction leaves them.
create function write_reservation_event() returns trigger language plpgsql as $$
begin
    perform write_event(
        new.account_id,
        'reservation.' || case when new.status is distinct from old.status then new.status else 'rescheduled' end,
        new.id,
        coalesce(
            case when new.status is distinct from old.status then coalesce(new.ended_at, new.confirmed_at) end, the_clock()
        ),
        row_to_json(new),
        payments_of(new.id)
    );
    return null;
end $$;
create constraint trigger what_becomes_of_them_is_told after update on reservation
    deferrable initially deferred for each row when (
        (new.status is distinct from old.status and new.status in ('confirmed', 'released', 'expired', 'cancelled'))
        or (new.status = old.status and (new.start, new."end", new.hosts) is distinct from (old.start, old."end", old.hosts))
    ) execute function write_reservation_event();

create function write_payment_events() returns trigger language plpgsql as $$
declare
    v_reservation json := (select row_to_json(reservation) from reservation where id = new.reservation_id);
    v_payments json := payments_of(new.reservation_id);
begin
    if old.captured_minor = 0 and new.captured_minor > 0 then
        perform write_event(
            new.account_id, 'payment.captured', new.reservation_id, the_clock(), v_reservation, v_payments
        );
    end if;
    if new.refunded_minor > old.refunded_minor then
        perform write_event(
            new.account_id, 'payment.refunded', new.reservation_id, the_clock(), v_reservation, v_payments
        );
    end if;
    if new.needs_human_code is distinct from old.needs_human_code and new.needs_human_code is not null then
        perform write_event(
            new.account_id, 'payment.needs_human', new.reservation_id, the_clock(), v_reservation, v_payments
        );
    end if;
    return null;
end $$;
create constraint trigger money_is_told after update on payment
    deferrable initially deferred for each row when (
        (old.captured_minor = 0 and new.captured_minor > 0) or new.refunded_minor > old.refunded_minor
        or (new.needs_human_code is distinct from old.needs_human_code and new.needs_human_code is not null)
    ) execute function write_payment_events();

create function write_problem_event() returns trigger language plpgsql as $$
begin
    perform write_event(
        new.account_id, tg_argv[0], new.id, the_clock(), (to_jsonb(new) - 'sealed_credentials' - 'server')::json
    );
    return null;
end $$;
create trigger payment_account_problems_are_told after update on payment_account
    for each row when (
        (old.charges_enabled and not new.charges_enabled)
        or (new.problem is distinct from old.problem and new.problem is not null)
    ) execute function write_problem_event('payment_account.problem');
create trigger broken_calendars_are_told after update on calendar_connection
    for each row when (new.status = 'broken' and old.status <> 'broken')
    execute function write_problem_event('calendar_connection.broken');
