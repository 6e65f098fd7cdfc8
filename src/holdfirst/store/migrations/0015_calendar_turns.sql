-- Calls under way to a place that answers only so many at once, whichever process makes them. What a process that died had
-- taken is free again when it is over; a table that a crash of the database empties is right.
create unlogged table calendar_turn (
    place text not null,
    number integer not null,
    token bigint generated always as identity,
    until timestamptz not null,
    primary key (place, number)
) with (fillfactor = 50);
