-- Calendars that hosts connect, what they say is busy, and what we wrote into them.

-- Where busy time comes from: '' is the account's own word, else the calendar (or the connection that is broken).
alter table busy add column source text not null default '';
alter table busy drop constraint busy_pkey, add primary key (host_id, source, key);
create index busy_from_source on busy (source, key) where source <> '';

-- Whether a calendar of this host is asked before it is booked.
alter table host add column connected boolean not null default false;

alter table reservation
    add column in_calendars boolean not null default false,
    add column calendar_verdict text check (calendar_verdict in ('pending', 'clean', 'conflict')),
    add column verified_at timestamptz,
    add constraint a_verdict_is_about_calendars check (calendar_verdict is null or in_calendars);

create table calendar_connection (
    id text primary key,
    account_id text not null references account,
    host_id text not null references host,
    provider text not null,
    status text not null check (status in ('pending', 'active', 'broken')),
    sealed_credentials bytea not null,
    server jsonb not null default '{}',
    owners text[] not null default '{}',
    when_broken text not null default 'close' check (when_broken in ('close', 'ignore')),
    when_moved text not null default 'flag' check (when_moved in ('flag', 'follow')),
    when_deleted text not null default 'flag' check (when_deleted in ('flag', 'cancel', 'restore')),
    problem text,
    problem_since timestamptz,
    -- When it last answered as it should.
    answered_at timestamptz,
    created_at timestamptz not null,
    deleted_at timestamptz,
    constraint what_is_broken_says_why check (status <> 'broken' or problem is not null)
);
create index calendar_connection_of_account on calendar_connection (account_id, id);
create index calendar_connection_of_host on calendar_connection (host_id) where deleted_at is null;

create table calendar (
    id text primary key,
    account_id text not null,
    connection_id text not null references calendar_connection,
    host_id text not null,
    ref text not null,
    name text not null,
    time_zone text not null,
    writable boolean not null,
    blocking boolean not null,
    destination boolean not null default false,
    -- Where reading goes on, and how old what we know is.
    token text,
    whole_at timestamptz,
    read_at timestamptz,
    notes text[] not null default '{}',
    deleted_at timestamptz,
    constraint we_write_where_we_may check (not destination or writable)
);
create unique index a_calendar_is_connected_once on calendar (connection_id, ref) where deleted_at is null;
create unique index one_calendar_receives on calendar (connection_id) where destination and deleted_at is null;
create index calendar_of_host on calendar (host_id) where deleted_at is null;

-- What was there at the last reading: to notice what changed and what went.
create table calendar_item (
    calendar_id text not null references calendar,
    ref text not null,
    etag text not null,
    uid text not null,
    primary key (calendar_id, ref)
);

-- Ours: at most one event for a reservation in a calendar. The row is there before the event and goes after it.
-- 'unknown': a write is under way, or its answer was lost.
create table calendar_event (
    reservation_id text not null references reservation,
    calendar_id text not null references calendar,
    account_id text not null,
    generation integer not null default 0,
    uid text not null,
    state text not null default 'absent' check (state in ('absent', 'unknown', 'hold', 'confirmed')),
    fingerprint text,
    etag text,
    -- Until when a write that was given up may still arrive.
    doubtful_until timestamptz,
    lease_until timestamptz,
    token bigint not null default 0,
    -- What the host did to it: moved or deleted it.
    changed_by_host text check (changed_by_host in ('moved', 'deleted')),
    primary key (reservation_id, calendar_id),
    constraint a_uid_is_of_one_event unique (calendar_id, uid)
);
create index calendar_event_by_uid on calendar_event (uid);
