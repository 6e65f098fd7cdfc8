-- Why a calendar does not take our events, if it does not. One that refuses them can only be read (writable is false) until
-- the account lists it as writable again; that it is the one to receive reservations stays its host's wish.
alter table calendar
    drop constraint we_write_where_we_may,
    add column write_problem text,
    add column write_problem_since timestamptz;
