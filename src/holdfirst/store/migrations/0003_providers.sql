-- Companies that move money: holds that cannot be closed, platforms and their connected accounts, refunds seen in the
-- provider's own list, keys of more than one generation.

alter table payment_account
    drop constraint payment_account_mode_check,
    add constraint payment_account_mode_check
        check (mode in ('authorize', 'authorize_uncloseable', 'sale', 'sale_uncloseable')),
    add column methods text check (methods in ('holds_only', 'holds_and_sales')),
    -- A connected account has no credentials of its own: its platform's act for it.
    add column platform_id text references payment_account,
    add column connected_account text,
    -- In hundredths of a percent of the price, or in minor units of whatever the price is in.
    add column fee_basis_points integer check (fee_basis_points between 1 and 10000),
    add column fee_minor bigint check (fee_minor > 0),
    add column checked_at timestamptz,
    -- Whether the provider was told our notification address, by us or by a person who gave us its secret.
    add column notifies boolean not null default true,
    add constraint who_is_connected_has_a_platform check ((platform_id is null) = (connected_account is null)),
    add constraint a_fee_is_said_in_one_way check (fee_basis_points is null or fee_minor is null),
    add constraint a_fee_is_a_platforms check (platform_id is not null or (fee_basis_points is null and fee_minor is null));
create unique index an_account_is_connected_once
    on payment_account (platform_id, connected_account) where deleted_at is null;

alter table payment
    drop constraint payment_mode_check,
    add constraint payment_mode_check
        check (mode in ('authorize', 'authorize_uncloseable', 'sale', 'sale_uncloseable')),
    add column money_ref text,
    add column capture_before timestamptz,
    add column refunded_at timestamptz;
create index payment_by_money on payment (payment_account_id, money_ref) where money_ref is not null;

alter table refund
    drop constraint refund_status_check,
    add constraint refund_status_check check (status in ('due', 'done', 'failed')),
    add column key text,
    add column provider_ref text,
    add column failed boolean not null default false,
    add column elsewhere boolean not null default false;
update refund set key = id;
alter table refund alter column key set not null;
create unique index a_refund_at_the_provider_is_counted_once on refund (payment_id, provider_ref);
