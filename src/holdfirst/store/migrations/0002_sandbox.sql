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
    authorized_minor bigint not null default 0,
    captured_minor bigint not null default 0,
    voided_minor bigint not null default 0,
    refunded_minor bigint not null default 0,
    -- Set by *pay late*: the customer's bank answers then, whatever has happened to the checkout meanwhile.
    completes_at timestamptz,
    created_at timestamptz not null,
    constraint one_key_opens_one_checkout unique (payment_account_id, key)
);

create table sandbox.refund (
    key text primary key,
    ref text not null references sandbox.checkout,
    amount_minor bigint not null check (amount_minor > 0),
    created_at timestamptz not null
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
    times integer not null check (times > 0)
);
