-- The sandbox provider's own books. It plays another company: no flow reads these tables.

create schema sandbox;

create table sandbox.checkout (
    ref text primary key,
    payment_account_id text not null,
    key text not null,
    mode text not null,
    state text not null,
    amount_minor bigint not null,
    currency text not null,
    livemode boolean not null,
    description text not null,
    pay_before timestamptz not null,
    return_url text not null,
    notification_url text not null,
    -- What notifications about this checkout are signed with, as the account had it when it opened.
    signing_secret text not null,
    authorized_minor bigint not null default 0,
    captured_minor bigint not null default 0,
    voided_minor bigint not null default 0,
    refunded_minor bigint not null default 0,
    -- Set by *pay late*: the customer's bank answers then, whatever has happened to the checkout meanwhile.
    completes_at timestamptz,
    created_at timestamptz not null,
    constraint one_key_opens_one_checkout unique (payment_account_id, key),
    constraint the_sandbox_is_never_live check (not livemode),
    constraint money_moves_once check (captured_minor in (0, amount_minor) and voided_minor in (0, amount_minor)),
    constraint what_is_voided_is_not_captured check (captured_minor = 0 or voided_minor = 0),
    constraint no_more_is_refunded_than_was_captured check (refunded_minor between 0 and captured_minor)
);

create table sandbox.refund (
    ref text not null references sandbox.checkout,
    key text not null,
    amount_minor bigint not null check (amount_minor > 0),
    created_at timestamptz not null,
    constraint one_key_refunds_once primary key (ref, key)
);

create table sandbox.call (
    id bigint generated always as identity primary key,
    ref text,
    operation text not null,
    answer text not null,
    at timestamptz not null
);
create index call_of_checkout on sandbox.call (ref, id);

create table sandbox.fault (
    id bigint generated always as identity primary key,
    operation text not null,
    answer text not null,
    times integer not null check (times >= 0)
);
create index fault_to_come on sandbox.fault (operation, id) where times > 0;
