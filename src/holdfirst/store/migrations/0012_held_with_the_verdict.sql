-- A hold whose calendars are asked is told of with their verdict, not before. One that ends before that was never told of,
-- and neither is its end.

-- Whether it was told of that it is held. False: its calendars have not answered yet.
alter table reservation add column told boolean not null default true;

create or replace function write_held_events() returns trigger language plpgsql as $$
begin
    insert into outbox (account_id, type, subject, happened_at, was, payments)
    select account_id, 'reservation.held', id, created_at, row_to_json(made), '[]' from made where told order by id;
    perform enqueue(account_id, 'tell', account_id || '/' || id, the_clock())
    from made
    where told
      and exists (select from webhook_endpoint one where one.account_id = made.account_id and deleted_at is null)
    order by id;
    return null;
end $$;

-- Nothing is in the way; or nobody is asked any more (`local`); or it became firm all the same, as money that was kept may
-- make it, and `reservation.confirmed` comes after `reservation.held` for everybody.
create function mark_told() returns trigger language plpgsql as $$
begin
    new.told := true;
    return new;
end $$;
create trigger holds_are_told_with_their_verdict before update on reservation
    for each row when (
        not old.told and (
            new.status = 'confirmed'
            or (coalesce(new.calendar_verdict, 'clean') = 'clean' and new.status in ('held', 'processing'))
        )
    ) execute function mark_told();

-- At the commit, when the payments are as the same transaction leaves them.
create or replace function write_reservation_event() returns trigger language plpgsql as $$
begin
    if not old.told then
        perform write_event(
            new.account_id, 'reservation.held', new.id, the_clock(),
            case when new.status = 'confirmed' then row_to_json(old) else row_to_json(new) end, payments_of(new.id)
        );
    end if;
    if not old.told and new.status <> 'confirmed' then
        return null;
    end if;
    perform write_event(
        new.account_id,
        'reservation.' || case when new.status is distinct from old.status then new.status else 'rescheduled' end,
        new.id,
        coalesce(
            case when new.status is distinct from old.status then coalesce(new.ended_at, new.confirmed_at) end, the_clock()
        ),
        row_to_json(new),
        payments_of(new.id)
    );
    return null;
end $$;
drop trigger what_becomes_of_them_is_told on reservation;
create constraint trigger what_becomes_of_them_is_told after update on reservation
    deferrable initially deferred for each row when (
        new.told and (
            not old.told
            or (new.status is distinct from old.status and new.status in ('confirmed', 'released', 'expired', 'cancelled'))
            or (new.status = old.status and (new.start, new."end", new.hosts) is distinct from (old.start, old."end", old.hosts))
        )
    ) execute function write_reservation_event();
