-- Since when its present time is a reservation's, where that is not since it was made: it moved, or its hosts connected
-- calendars since. Under `calendar_check: strict` the calendars are to be asked a while after that.
alter table reservation add column taken_at timestamptz;

-- When it was decided that the host, who deleted this event, calls the reservation off by it: a few a day, the rest is for
-- a person to look at.
alter table calendar_event add column called_off_at timestamptz;
create index calendar_event_called_off on calendar_event (calendar_id, called_off_at) where called_off_at is not null;

-- The address of a host's feed is made of this too: another number, another address.
alter table host add column feed_version integer not null default 1;

-- Access that runs out is renewed ahead from now on, of those who let us in before as well.
insert into job (key, account_id, kind, subject, due_at, created_at)
select 'renew_access:' || id, account_id, 'renew_access', id, created_at, created_at
from calendar_connection
where provider in ('google', 'microsoft') and status <> 'pending' and deleted_at is null;
