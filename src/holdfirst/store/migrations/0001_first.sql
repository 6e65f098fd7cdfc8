-- The first schema. Constraint names read as sentences: they are what a broken promise would say.
-- Rows carry account_id, and what is asked for an account is asked by it, so that accounts can be moved apart.

create extension if not exists btree_gist;

create table account (
    id text primary key,
    slug text not null,
    mode text not null check (mode in ('test', 'live')),
    created_at timestamptz not null,
    -- Counts the changes of its hosts and event types: what was decided on what was read before is decided again.
    catalog_version bigint not null default 0,
    constraint a_slug_names_one_account unique (slug)
);

create table api_key (
    id text primary key,
    account_id text not null references account,
    kind text not null check (kind in ('secret', 'publishable')),
    digest bytea not null,
    origins text[] not null default '{}',
    created_at timestamptz not null,
    revoked_at timestamptz,
    constraint a_key_opens_one_account unique (digest)
);

create table payment_account (
    id text primary key,
    account_id text not null references account,
    provider text not null,
    mode text not null check (mode in ('authorize', 'sale', 'sale_uncloseable')),
    sealed_credentials bytea not null,
    charges_enabled boolean not null default true,
    problem text,
    created_at timestamptz not null,
    deleted_at timestamptz
);
create index payment_account_of_account on payment_account (account_id, id);

create table host (
    id text primary key,
    account_id text not null references account,
    slug text not null,
    name text not null,
    email text,
    time_zone text not null,
    schedule jsonb not null,
    payment_account_id text references payment_account,
    external_id text,
    metadata jsonb not null default '{}',
    created_at timestamptz not null,
    deleted_at timestamptz,
    -- The newest instant at which a hold of this host was seen to be over: a clock that steps back revives nothing.
    newest_end timestamptz not null default '-infinity'
);
create unique index a_host_slug_is_unique_in_its_account on host (account_id, slug) where deleted_at is null;

create table event_type (
    id text primary key,
    account_id text not null references account,
    slug text not null,
    rules jsonb not null,
    created_at timestamptz not null,
    deleted_at timestamptz
);
create unique index an_event_type_slug_is_unique_in_its_account
    on event_type (account_id, slug) where deleted_at is null;

-- Whoever writes them, and however: a host's `newest_end` alone says nothing about what is offered.
create function count_catalog_change() returns trigger language plpgsql as $$
begin
    update account set catalog_version = catalog_version + 1 where id = new.account_id;
    return null;
end $$;
create trigger event_types_count_their_changes after insert or update on event_type
    for each row execute function count_catalog_change();
create trigger new_hosts_count after insert on host for each row execute function count_catalog_change();
create trigger hosts_count_their_changes after update on host for each row
    when (to_jsonb(old) - 'newest_end' is distinct from to_jsonb(new) - 'newest_end')
    execute function count_catalog_change();

create table busy (
    account_id text not null references account,
    host_id text not null references host,
    key text not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    primary key (host_id, key),
    constraint busy_time_takes_time check (starts_at < ends_at)
);
create index busy_of_host on busy (host_id, ends_at);

create table reservation (
    id text primary key,
    account_id text not null,
    livemode boolean not null,
    event_type_id text not null,
    status text not null check (status in ('held', 'processing', 'confirmed', 'released', 'expired', 'cancelled')),
    start timestamptz not null,
    "end" timestamptz not null,
    buffer_before_minutes integer not null,
    buffer_after_minutes integer not null,
    hosts text[] not null,
    seats integer not null check (seats >= 1),
    held_until timestamptz not null,
    hold_seconds integer not null,
    created_at timestamptz not null,
    at_deadline text not null default 'expire' check (at_deadline in ('expire', 'close')),
    processing_until timestamptz,
    cause text check (cause in ('capture', 'close')),
    pinned_at timestamptz,
    extensions_used integer not null default 0,
    confirmed_at timestamptz,
    price_minor bigint,
    currency text,
    payment_account_id text,
    paid_by text,
    payment_reference text,
    customer jsonb not null default '{}',
    guests jsonb not null default '[]',
    answers jsonb not null default '{}',
    metadata jsonb not null default '{}',
    sequence integer not null default 0,
    ended_by text,
    ended_at timestamptz,
    ended_code text,
    cancel_arguments jsonb,
    secret_version integer not null default 1,
    -- Whose live holds are counted (publishable keys only): keyed digests, never the address itself.
    holder_address bytea,
    holder_email bytea,
    -- Bumped by a repeated confirm, so that its answer waits for the same durability as the first one did.
    replays integer not null default 0,
    constraint a_reservation_takes_time check (start < "end"),
    constraint a_hold_has_a_deadline_after_it_was_made check (held_until >= created_at),
    constraint nothing_is_confirmed_unpaid check (
        status <> 'confirmed' or coalesce(price_minor, 0) = 0 or paid_by is not null or payment_reference is not null
    ),
    constraint processing_has_a_cause check ((status = 'processing') = (cause is not null)),
    constraint what_is_closing_has_an_end check (
        (processing_until is not null) = (at_deadline = 'close' or coalesce(cause = 'close', false))
    ),
    constraint what_is_over_says_how check (
        (ended_at is not null) = (status in ('released', 'expired', 'cancelled'))
    ),
    constraint a_price_has_a_currency check ((price_minor is null) = (currency is null))
) with (fillfactor = 80);
create index reservation_of_account on reservation (account_id, id);
create index holds_by_address on reservation (account_id, holder_address)
    where status = 'held' and holder_address is not null;
create index holds_by_email on reservation (account_id, holder_email)
    where status = 'held' and holder_email is not null;

-- Time that is taken: one row per reservation and host, buffers included. `live_until` is what the pure state
-- function says of the reservation (`lapses_at`); from then on the row is nobody's, whether or not it is still here.
-- `sitting` is the same for reservations that share (same event type, same start), else the reservation's own id.
create table claim (
    account_id text not null,
    host_id text not null,
    reservation_id text not null,
    event_type_id text not null,
    start timestamptz not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    sitting text not null,
    seats_max integer not null,
    places int4multirange not null,
    live_until timestamptz not null,
    firm boolean not null default false,
    primary key (reservation_id, host_id),
    constraint a_claim_takes_time check (starts_at < ends_at and ends_at - starts_at <= interval '9 days'),
    constraint nobody_sits_beyond_the_last_seat check (
        not isempty(places) and lower(places) >= 1 and upper(places) <= seats_max + 1
    ),
    constraint a_host_is_in_one_place exclude using gist (
        host_id with =, tstzrange(starts_at, ends_at) with &&, sitting with <>
    ) where (firm),
    constraint a_seat_is_taken_once exclude using gist (
        host_id with =, sitting with =, places with &&
    ) where (firm)
) with (fillfactor = 80);
create index claim_of_host on claim (host_id, ends_at);

create table payment (
    id text primary key,
    account_id text not null,
    livemode boolean not null,
    reservation_id text not null references reservation,
    payment_account_id text not null,
    provider text not null,
    mode text not null check (mode in ('authorize', 'sale', 'sale_uncloseable')),
    status text not null check (status in (
        'open', 'processing', 'authorized', 'captured', 'failed', 'abandoned', 'voided', 'refunded'
    )),
    amount_minor bigint not null check (amount_minor > 0),
    currency text not null,
    pay_before timestamptz not null,
    return_url text not null,
    cancel_url text,
    created_at timestamptz not null,
    provider_ref text,
    checkout_url text,
    spec jsonb not null,
    disposition text check (disposition in ('keep', 'void', 'refund')),
    authorized_minor bigint not null default 0,
    captured_minor bigint not null default 0,
    refund_due_minor bigint not null default 0,
    refunded_minor bigint not null default 0,
    late text check (late in ('retaken', 'voided', 'refunded')),
    needs_human_code text,
    needs_human_since timestamptz,
    -- What the human who saw to it wrote; for the account alone, never logged.
    resolution text,
    disputed boolean not null default false,
    -- Asked for somebody's sake, and last answered: what was asked and not answered is not known.
    asked_at timestamptz,
    answered_at timestamptz,
    closed_at timestamptz,
    constraint nothing_is_given_back_that_was_not_taken check (
        refunded_minor >= 0 and refund_due_minor >= 0 and refunded_minor + refund_due_minor <= captured_minor
    ),
    constraint a_checkout_belongs_to_one_payment unique (payment_account_id, provider_ref)
);
create unique index one_checkout_is_open_per_reservation on payment (reservation_id) where status = 'open';
create unique index one_payment_is_kept_per_reservation on payment (reservation_id) where disposition = 'keep';
create index payment_of_reservation on payment (reservation_id, id);
create index payment_of_account on payment (account_id, id);
create index payment_that_can_bring_money on payment (id) where status in ('open', 'processing', 'authorized');

create table refund (
    id text primary key,
    account_id text not null,
    payment_id text not null references payment,
    amount_minor bigint not null check (amount_minor > 0),
    status text not null default 'due' check (status in ('due', 'done')),
    sent boolean not null default false,
    created_at timestamptz not null,
    done_at timestamptz
);
create index refund_of_payment on refund (payment_id, id);

create table notification (
    id bigint generated always as identity primary key,
    provider text not null,
    payment_account_id text not null,
    received_at timestamptz not null,
    method text not null,
    query jsonb not null,
    headers jsonb not null,
    body bytea not null
);

create table job (
    key text primary key,
    id bigint generated always as identity,
    account_id text not null,
    kind text not null,
    subject text not null,
    lane text,
    due_at timestamptz not null,
    pulls integer not null default 0,
    attempts integer not null default 0,
    token bigint not null default 0,
    lease_until timestamptz,
    dead_at timestamptz,
    last_error text,
    created_at timestamptz not null
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create index job_due on job (due_at) where dead_at is null;
create index job_leased on job (lease_until) where lease_until is not null;
create index job_in_lane on job (lane, id) where lane is not null and dead_at is null;

create table idempotency_key (
    scope text not null,
    key text not null,
    fingerprint bytea not null,
    http_status integer,
    result jsonb,
    lease_until timestamptz not null,
    created_at timestamptz not null,
    replays integer not null default 0,
    primary key (scope, key)
);
create index idempotency_key_by_age on idempotency_key using brin (created_at);

create table worker (
    id text primary key,
    started_at timestamptz not null,
    seen_at timestamptz not null
);

-- Which keys of the key ring this database was sealed with: a ring that has none of them is the wrong one.
create table key_ring (
    fingerprint text primary key,
    created_at timestamptz not null
);
