-- Why this one calendar is not to be read, where its account lets us in: its connection is broken until it is read again, or is
-- not in use any more, whatever the account's other calendars say.
alter table calendar add column read_problem text;
