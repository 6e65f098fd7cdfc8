-- Since when its present time is a reservation's, where that is not since it was made: it moved, or its hosts connected
-- calendars since. Under `calendar_check: strict` the calendars are to be asked a while after that.
alter table reservation add column taken_at timestamptz;
