-- Companies that promised to call us when a calendar changes.

-- The row is there before the company is asked, and goes after the promise. What each call must say is made of the id
-- with the key ring, and stands nowhere. 'opening': asked for, or the answer was lost.
create table calendar_watch (
    id text primary key,
    account_id text not null,
    calendar_id text not null references calendar,
    state text not null check (state in ('opening', 'open', 'refused')),
    address text not null,
    -- The company's own names for the promise, and for what it is about.
    ref text not null default '',
    resource text not null default '',
    -- When it was last called; null: not yet, or a change was found that nobody had told of.
    heard_at timestamptz,
    renew_at timestamptz not null,
    expires_at timestamptz not null,
    problem text,
    created_at timestamptz not null,
    constraint who_refuses_says_why check (state <> 'refused' or problem is not null)
);
create index calendar_watch_of_calendar on calendar_watch (calendar_id, id);
