-- No fencing token of an event twice: its row goes with it, and one made again began at 0 again.

create sequence calendar_event_token owned by calendar_event.token;
select setval('calendar_event_token', (select coalesce(max(token), 0) + 1 from calendar_event));
alter table calendar_event alter column token drop default;

-- What is gone for good is forgotten an hour later.
create index calendar_event_that_is_gone on calendar_event (reservation_id) where state = 'absent';
