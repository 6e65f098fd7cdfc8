# SPDX-License-Identifier: Apache-2.0
"""A host's calendar account: connected, changed, taken away; broken, and well again; a feed to subscribe to."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from crashes.practices import Practice, credentials, new_calendar, practice
from holdfirst.flows import calendar_connections
from holdfirst.store.database import Tx
from house import CUSTOMER, House

from .calendar_holds import LATER
from .calendar_watches import at_google
from .case import Case, later, scene, wish

ALL = "/v1/calendar-connections"


def _path(here: Practice) -> str:
    return f"{ALL}/{here.connection}"


@scene
async def connect_a_calendar(house: House, clock: Any) -> Case:
    """Of a host who has reservations already: they are written there."""
    host, _, url = await new_calendar(house)
    here = Practice(host, "", "", url, "", {})
    held = await house.ask("POST", "/v1/reservations", await here.wish(house))
    body = {"host": host, "provider": "caldav", "credentials": credentials(house)}
    case = Case(held=held, ends="held", path=ALL, body=body, statuses=(201,), waits=LATER)

    async def one_connection(house: House) -> None:
        told = await house.ask("GET", f"{ALL}?host={host}")
        assert {one["status"] for one in told["data"]} == {"active"}

    async def disconnect(house: House) -> None:
        for one in (await house.ask("GET", f"{ALL}?host={host}"))["data"]:
            await house.ask("DELETE", f"{ALL}/{one['id']}")

    case.then, case.after = one_connection, disconnect
    return case


@scene
async def connect_what_does_not_let_us_in(house: House, clock: Any) -> Case:
    host, _, _ = await new_calendar(house)
    house.outside.door.shut = "denied"
    body = {"host": host, "provider": "caldav", "credentials": credentials(house)}
    return Case(path=ALL, body=body, statuses=(201, 422))


@scene
async def change_what_is_asked(house: House, clock: Any) -> Case:
    here = await practice(house)
    held = await here.confirmed(house)
    body = {"blocking": [here.calendar], "destination": None, "when_broken": "ignore"}
    case = Case(held=held, ends="confirmed", path=_path(here), method="PATCH", body=body, keyed=False)
    case.practice, case.events, case.waits = here, 0, LATER

    async def put_back(house: House) -> None:
        await house.ask("PATCH", _path(here), {"destination": here.calendar, "when_broken": "close"})

    case.after = put_back
    return case


@scene
async def take_a_calendar_out_of_use(house: House, clock: Any) -> Case:
    here = await practice(house)
    body = {"blocking": [], "destination": None}
    case = Case(path=_path(here), method="PATCH", body=body, keyed=False, practice=here, events=0)

    async def put_back(house: House) -> None:
        await house.ask("PATCH", _path(here), {"destination": here.calendar, "blocking": [here.calendar]})

    case.after = put_back
    return case


@dataclass
class _Two:
    """The connection of a new host; its two calendars' names and ids."""

    path: str
    names: list[str]
    ids: list[str]

    async def end(self, house: House) -> None:
        await house.ask("DELETE", self.path)
        for name in self.names:
            house.outside.caldav.drop_calendar(name)


async def _two_calendars(house: House) -> _Two:
    host, name, _ = await new_calendar(house)
    names = [name, f"another{next(house.hours)}"]
    house.outside.caldav.make_calendar(names[1])
    wished = {"host": host, "provider": "caldav", "credentials": credentials(house)}
    path = f"{ALL}/{(await house.ask('POST', ALL, wished))['id']}"
    await house.settle()
    found = (await house.ask("GET", f"{path}/calendars"))["data"]
    return _Two(path, names, [one["id"] for name in names for one in found if name in one["name"]])


@scene
async def another_password(house: House, clock: Any) -> Case:
    """There is another calendar by now, and the one that receives is gone."""
    here = await practice(house)
    house.outside.caldav.make_calendar(f"more{next(house.hours)}")
    gone = house.outside.caldav.make_calendar(f"gone{next(house.hours)}")
    await house.ask("PATCH", _path(here), {"credentials": credentials(house)})
    house.outside.caldav.drop_calendar(gone.rstrip("/").rsplit("/", 1)[1])
    house.outside.caldav.make_calendar(f"other{next(house.hours)}")
    body = {"credentials": credentials(house)}
    return Case(path=_path(here), method="PATCH", body=body, keyed=False)


async def _all_in_another_zone(tx: Tx) -> None:
    """As they were listed last."""
    await tx.execute("update calendar set time_zone = 'Pacific/Apia'")


@scene
async def another_password_where_what_was_used_is_gone(house: House, clock: Any) -> Case:
    """What else there is takes its place: nobody has chosen that all of the host's time is free."""
    two = await _two_calendars(house)
    path, mine = two.path, two.ids[0]
    await house.ask("PATCH", path, {"blocking": [mine], "destination": mine})
    house.outside.caldav.drop_calendar(two.names[0])
    await house.run(_all_in_another_zone)
    case = Case(path=path, method="PATCH", body={"credentials": credentials(house)}, keyed=False)

    async def others_are_asked(house: House) -> None:
        told = await house.ask("GET", path)
        assert told["blocking"] and mine not in told["blocking"]
        assert told["destination"] not in (None, mine)

    case.then, case.after = others_are_asked, two.end
    return case


@scene
async def disconnect_a_calendar(house: House, clock: Any) -> Case:
    here = await practice(house, when_moved="follow")
    held = await here.confirmed(house)
    _forget(house, here)
    case = Case(held=held, ends="confirmed", path=_path(here), method="DELETE", keyed=False, practice=here)
    case.statuses, case.events, case.waits = (204, 404), 0, LATER
    return case


def _forget(house: House, here: Practice) -> None:
    known = house.outside.practices
    del known[next(key for key, one in known.items() if one is here)]


@scene
async def delete_a_host_with_a_calendar(house: House, clock: Any) -> Case:
    here = await practice(house, when_moved="follow")
    _forget(house, here)
    for offer in here.offers.values():
        await house.ask("DELETE", f"/v1/event-types/{offer}")
    path = f"/v1/hosts/{here.host}"
    return Case(path=path, method="DELETE", keyed=False, statuses=(204, 404))


# Broken, and well again


async def _status(house: House, here: Practice) -> str:
    return str((await house.ask("GET", _path(here)))["status"])


def _letters(house: House, here: Practice) -> int:
    folder = house.parts.settings.data_dir / "mail"
    return sum(f"<{here.connection}.broken." in path.read_text() for path in folder.glob("*.eml"))


async def _well_again(house: House, here: Practice) -> None:
    await house.ask("POST", f"{_path(here)}/sync", {})
    assert await _status(house, here) == "active"


def _breaks(here: Practice, case: Case) -> Case:
    async def is_told(house: House) -> None:
        """Broken, and the host told once; or seen to be well again, perhaps before that."""
        broken = await _status(house, here) == "broken"
        assert int(broken) <= _letters(house, here) <= 1

    async def mend(house: House) -> None:
        house.outside.mend()
        await _well_again(house, here)

    case.then, case.after = is_told, mend
    return case


@scene
async def a_calendar_lets_us_in_no_more(house: House, clock: Any) -> Case:
    here = await practice(house)
    house.outside.door.shut = "denied"
    await wish(house, "sync_calendar", here.calendar)
    return _breaks(here, Case(waits=()))


@scene
async def a_hold_where_we_are_let_in_no_more(house: House, clock: Any) -> Case:
    """Nothing is free while nobody can say what is."""
    here = await practice(house)
    case = Case(path="/v1/reservations", body=await here.wish(house), statuses=(201, 409, 503), waits=())
    house.outside.door.shut = "denied"
    return _breaks(here, case)


@scene
async def a_calendar_is_silent_for_long(house: House, clock: Any) -> Case:
    here = await practice(house)
    await later(clock, 1000)
    house.outside.door.shut = "away"
    return _breaks(here, Case(path=f"{_path(here)}/sync", body={}, waits=()))


@scene
async def a_calendar_is_silent_for_a_while(house: House, clock: Any) -> Case:
    here = await practice(house)
    await _well_again(house, here)
    house.outside.door.shut = "away"
    await wish(house, "sync_calendar", here.calendar)
    return Case()


async def _at_google(house: House) -> tuple[Practice, Any]:
    """Where the grant is the company's; and what takes it away again."""
    connection, calendar, out = await at_google(house, settled=True)
    return Practice("", connection, calendar, "", "", {}), out


def _breaks_there(here: Practice, out: Any) -> Case:
    case = _breaks(here, Case(waits=()))
    mend = case.after
    assert mend is not None

    async def mend_and_disconnect(house: House) -> None:
        await mend(house)
        await out(house)

    case.after = mend_and_disconnect
    return case


@scene
async def one_calendar_of_an_account_is_not_to_be_read(house: House, clock: Any) -> Case:
    here, out = await _at_google(house)
    house.outside.google.faults = ["requiredAccessLevel"] * 9
    await wish(house, "sync_calendar", here.calendar)
    return _breaks_there(here, out)


@scene
async def a_company_lets_us_in_for_longer(house: House, clock: Any) -> Case:
    here, out = await _at_google(house)
    await wish(house, "renew_access", here.connection)
    return Case(after=out)


@scene
async def a_company_lets_us_in_no_longer(house: House, clock: Any) -> Case:
    here, out = await _at_google(house)
    house.outside.google.revoked = True
    await wish(house, "renew_access", here.connection)
    return _breaks_there(here, out)


async def _broken(house: House) -> Practice:
    here = await practice(house)
    house.outside.door.shut = "denied"
    await house.ask("POST", f"{_path(here)}/sync", {})
    await house.settle()
    assert await _status(house, here) == "broken"
    house.outside.mend()
    return here


@scene
async def a_broken_calendar_answers_again(house: House, clock: Any) -> Case:
    here = await _broken(house)

    async def is_well(house: House) -> None:
        assert await _status(house, here) == "active"

    return Case(path=f"{_path(here)}/sync", body={}, then=is_well)


@scene
async def one_calendar_of_two_answers_again(house: House, clock: Any) -> Case:
    """Neither could be read, each for a reason of its own. What kept the one may be over for the other: it is read at once."""
    two = await _two_calendars(house)
    first, second = two.ids
    await house.ask("PATCH", two.path, {"blocking": two.ids, "destination": first})
    await house.settle()

    async def not_to_be_read(tx: Tx) -> None:
        await tx.execute("delete from job")
        for calendar, why in ((second, "the server answered 502"), (first, "the server answered 503")):
            await tx.execute("update calendar set read_problem = $2 where id = $1", calendar, why)
            await tx.execute("update calendar_connection set problem = $1, problem_since = the_clock()", why)

    await house.run(not_to_be_read)
    await wish(house, "sync_calendar", first)

    async def both_are_well(house: House) -> None:
        told = await house.ask("GET", two.path)
        assert (told["status"], told["last_error"]) == ("active", None)
        assert await house.run(_not_read) == 0

    return Case(then=both_are_well, after=two.end)


async def _not_read(tx: Tx) -> int:
    count: int = await tx.value("select count(*) from calendar where read_problem is not null")
    return count


@scene
async def tell_a_host(house: House, clock: Any) -> Case:
    here = await practice(house)
    house.outside.door.shut = "denied"
    await house.ask("POST", f"{_path(here)}/sync", {})
    house.outside.mend()
    case = Case(waits=())

    async def mend(house: House) -> None:
        await _well_again(house, here)

    async def is_told(house: House) -> None:
        assert _letters(house, here) == 1

    case.then, case.after = is_told, mend
    return case


# At its company's own page


@scene
async def come_back_from_the_page_of_a_company(house: House, clock: Any) -> Case:
    host, _, _ = await new_calendar(house)
    wished = {"host": host, "provider": "google", "return_url": "https://shop.example/done"}
    made = await house.ask("POST", ALL, wished)
    asked = parse_qs(urlsplit(made["authorize_url"]).query)
    house.outside.google.challenge = asked["code_challenge"][0]
    path = f"/oauth/google/callback?state={asked['state'][0]}&code=good"
    case = Case(path=path, method="GET", key=None, keyed=False, statuses=(303,))

    async def is_in(house: House) -> None:
        assert (await house.ask("GET", f"{ALL}/{made['id']}"))["status"] == "active"

    async def out(house: House) -> None:
        await house.ask("DELETE", f"{ALL}/{made['id']}")

    case.then, case.after = is_in, out
    return case


@scene
async def ask_a_host_at_the_page_of_a_company(house: House, clock: Any) -> Case:
    host, _, _ = await new_calendar(house)
    return Case(path=ALL, body={"host": host, "provider": "google"}, statuses=(201,))


@scene
async def a_company_exchanges_a_secret(house: House, clock: Any) -> Case:
    """Kept before it is used: whoever comes next has the one that counts."""
    host, _, _ = await new_calendar(house)
    house.outside.graph.rotates = True
    house.outside.graph.grants.add("M.refresh0")
    wished = {"host": host, "provider": "microsoft", "refresh_token": "M.refresh0"}
    made = await house.ask("POST", ALL, wished)
    return _at_microsoft(made["id"])


def _at_microsoft(connection: str) -> Case:
    """It is read, and taken away in the end."""
    case = Case(path=f"{ALL}/{connection}/sync", body={})

    async def out(house: House) -> None:
        await house.ask("DELETE", f"{ALL}/{connection}")

    case.after = out
    return case


@scene
async def wait_for_a_turn_at_a_company(house: House, clock: Any) -> Case:
    """Others have them all; they died with them, perhaps."""
    host, _, _ = await new_calendar(house)
    house.outside.graph.grants.add("M.refresh0")
    wished = {"host": host, "provider": "microsoft", "refresh_token": "M.refresh0"}
    made = await house.ask("POST", ALL, wished)
    await house.settle()

    async def take_them_all(tx: Tx) -> None:
        await tx.execute(
            "insert into calendar_turn (place, number, until)"
            " select place, number, the_clock() + interval '2 seconds'"
            " from (select distinct place from calendar_turn) known, generate_series(1, 3) number"
            " on conflict (place, number) do update set until = excluded.until"
        )

    await house.run(take_them_all)
    return _at_microsoft(made["id"])


@scene
async def adopt_a_reservation_of_old(house: House, clock: Any) -> Case:
    """From before its host had a calendar, its job unmade."""
    here = await practice(house)
    held = await here.confirmed(house)

    async def unmake(tx: Tx) -> None:
        await tx.execute("delete from calendar_event")
        await tx.execute(
            "update reservation set in_calendars = false, calendar_verdict = null, verified_at = null"
        )
        await calendar_connections.adopt(tx, here.host, await tx.now())

    here.empty()
    await house.run(unmake)
    return Case(held=held, ends="confirmed", practice=here, waits=LATER)


@scene
async def the_feed_of_a_host(house: House, clock: Any) -> Case:
    held = await house.held("free", customer=CUSTOMER)
    assert (await house.verb(held, "confirm", {})).status_code == 200
    await house.settle()
    url = (await house.ask("GET", f"/v1/hosts/{house.host}"))["calendar_feed"]
    path = urlsplit(url).path
    return Case(held=held, ends="confirmed", path=path, method="GET", key=None, keyed=False)
