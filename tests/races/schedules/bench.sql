-- SPDX-License-Identifier: Apache-2.0
-- What the laboratory adds to a migrated database: stops, a clock that stands still, a copy of the rows to go back to.

create schema lab;

-- A session says where it stops, which its client hears at once, and goes on when the driver, which holds this lock, lets it
-- pass. There are two locks for each, in turn: the next stop is closed before this one is opened. Sessions without a number
-- never stop.
create unlogged sequence lab.stops_1 minvalue 0;
create unlogged sequence lab.stops_2 minvalue 0;
create unlogged sequence lab.stops_3 minvalue 0;
create function lab.stop(p_gate text) returns void language plpgsql as $$
declare
    v_who integer := nullif(current_setting('lab.participant', true), '');
    v_turn integer;
begin
    if v_who is not null then
        v_turn := nextval('lab.stops_' || v_who) % 2;
        raise notice 'stop % %', p_gate, v_turn;
        perform pg_advisory_lock(v_who, v_turn);
        perform pg_advisory_unlock(v_who, v_turn);
    end if;
end $$;

-- Time passes where a schedule says so, at once and for every open transaction, as time does.
create table lab.clock (at timestamptz, before timestamptz, moved_at timestamptz, began_at timestamptz);
insert into lab.clock
select now, now, clock_timestamp(), now from date_trunc('second', clock_timestamp()) now;
create or replace function the_clock() returns timestamptz language sql volatile
as $$ select at from lab.clock $$;
-- For the twin that asks for the time as now() does.
create function lab.clock_at_begin() returns timestamptz language sql volatile
as $$ select case when now() < moved_at then before else at end from lab.clock $$;
create function lab.move_clock(p_to timestamptz) returns void language sql
as $$ update lab.clock set before = at, at = p_to, moved_at = clock_timestamp() $$;

-- The usual way's own table: see naive.py.
create table naive_booking (
    id text primary key, slot timestamptz not null, status text not null, locked_until timestamptz not null,
    paid boolean not null
);

-- The rows that verbs write, in an order in which they can be written.
create table lab.kept (place integer generated always as identity, name text, columns text);
insert into lab.kept (name, columns)
select name, (
    select string_agg(quote_ident(attname), ', ' order by attnum)
    from pg_attribute where attrelid = name::regclass and attnum > 0 and not attisdropped
)
from unnest(array[
    'calendar_connection', 'calendar', 'calendar_item', 'busy', 'reservation', 'claim', 'payment', 'refund',
    'notification', 'job', 'idempotency_key', 'worker', 'calendar_event', 'naive_booking'
]) name;

create procedure lab.build() language plpgsql as $$
declare
    v_kept record;
    v_keep text := 'delete from lab.clock_at; insert into lab.clock_at select at from lab.clock;'
        ' delete from lab.host; insert into lab.host select id, newest_end from host;';
    v_delete text := '';
    v_insert text := '';
    v_tell text := '';
begin
    create unlogged table lab.clock_at (at timestamptz);
    create unlogged table lab.host (id text, newest_end timestamptz);
    for v_kept in select * from lab.kept order by place loop
        execute format('create unlogged table lab.%I (like %I)', v_kept.name, v_kept.name);
        execute format('alter table %I set (autovacuum_enabled = false)', v_kept.name);
        v_keep := v_keep || format(
            'delete from lab.%1$I; insert into lab.%1$I select * from %1$I;', v_kept.name);
        v_delete := format('delete from %I; ', v_kept.name) || v_delete;
        v_insert := v_insert || format(
            'insert into %1$I (%2$s) overriding system value select %2$s from lab.%1$I; ', v_kept.name, v_kept.columns);
        v_tell := v_tell || format(
            ', %1$L, (select jsonb_agg(to_jsonb(%1$I)) from %1$I)', v_kept.name);
    end loop;
    execute format('create function lab.keep() returns void language plpgsql as %L', 'begin ' || v_keep || ' end');
    execute format('create function lab.restore() returns void language plpgsql as %L',
        'begin ' || v_delete || v_insert
        || ' update host set newest_end = kept.newest_end from lab.host kept'
        || ' where kept.id = host.id and kept.newest_end <> host.newest_end;'
        || ' perform lab.move_clock(kept.at) from lab.clock_at kept; end');
    execute format('create function lab.tell() returns jsonb language plpgsql as %L',
        'begin return jsonb_build_object(''now'', the_clock(), ''ends_seen'', (
            select count(*) from host where newest_end > ''-infinity'')' || v_tell || '); end');
end $$;
call lab.build();
