# SPDX-License-Identifier: Apache-2.0
"""A company that calls us when a calendar changes: asked to, asked again in time, and no more; and its call."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from calendars.fake_google import REFRESH
from crashes.outside import GOOGLE_HOST, PUBLIC
from crashes.practices import new_calendar
from house import House

from .case import Case, later, scene, wish

ALL = "/v1/calendar-connections"


async def at_google(house: House, *, settled: bool) -> tuple[str, str, Any]:
    """The connection of a new host, its calendar, and what takes it away again."""
    host, _, _ = await new_calendar(house)
    google = house.outside.google
    google.channels.clear()
    google.pushes.clear()
    made = await house.ask("POST", ALL, {"host": host, "provider": "google", "refresh_token": REFRESH})
    [calendar] = (await house.ask("GET", f"{ALL}/{made['id']}/calendars"))["data"]
    if settled:
        await house.settle()
        assert len(google.channels) == 1

    async def out(house: House) -> None:
        google.lasts_max = 30 * 86_400
        assert google.fouls == []
        await house.call("DELETE", f"{ALL}/{made['id']}")
        await house.settle()
        google.calendars[GOOGLE_HOST].clear()

    return made["id"], calendar["id"], out


async def _one_channel(house: House) -> None:
    """What died with a call on its way runs out by itself; another one is in order."""
    assert house.outside.google.channels


@scene
async def have_a_company_call_us(house: House, clock: Any) -> Case:
    _, _, out = await at_google(house, settled=False)
    return Case(after=out, then=_one_channel, waits=(61, 61))


@scene
async def a_company_that_cannot_call_us(house: House, clock: Any) -> Case:
    _, _, out = await at_google(house, settled=False)
    house.outside.google.uncallable = "holdfirst.test"
    return Case(after=out)


@scene
async def be_called_for_longer(house: House, clock: Any) -> Case:
    _, calendar, out = await at_google(house, settled=True)
    await later(clock, 6 * 86_400 + 3600)
    await wish(house, "watch_calendar", calendar)
    return Case(after=out, then=_one_channel)


@scene
async def be_called_for_longer_as_an_older_promise_ran_out(house: House, clock: Any) -> Case:
    _, calendar, out = await at_google(house, settled=True)
    await later(clock, 8 * 86_400)
    await wish(house, "watch_calendar", calendar)
    return Case(after=out, then=_one_channel)


async def _at_microsoft(house: House) -> tuple[str, str, Any]:
    """A calendar there, of which we are told; the company's name for that promise; and what takes all of it away again."""
    host, _, _ = await new_calendar(house)
    graph = house.outside.graph
    graph.subscriptions.clear()
    graph.pushes.clear()
    graph.call = _echo
    graph.grants.add("M.refresh0")
    wished = {"host": host, "provider": "microsoft", "refresh_token": "M.refresh0"}
    path = f"{ALL}/{(await house.ask('POST', ALL, wished))['id']}"
    calendar = (await house.ask("GET", f"{path}/calendars"))["data"][0]["id"]
    await house.ask("PATCH", path, {"blocking": [calendar], "destination": calendar})
    await house.settle()
    [promise] = graph.subscriptions

    async def out(house: House) -> None:
        assert graph.fouls == []
        await house.call("DELETE", path)
        await house.settle()
        graph.call = None

    return calendar, promise, out


async def _echo(address: str, _: Any) -> tuple[int, str, str]:
    """Whether the address is ours, says ours."""
    return 200, "text/plain", parse_qs(urlsplit(address).query)["validationToken"][0]


async def _is_promised(house: House) -> None:
    assert house.outside.graph.subscriptions


@scene
async def have_a_promise_lengthened(house: House, clock: Any) -> Case:
    calendar, _, out = await _at_microsoft(house)
    await later(clock, 6 * 86_400 + 3600)
    await wish(house, "watch_calendar", calendar)
    return Case(after=out, then=_is_promised)


@scene
async def be_told_that_a_promise_ends(house: House, clock: Any) -> Case:
    """Another one is asked for."""
    _, promise, out = await _at_microsoft(house)
    graph = house.outside.graph
    graph.tell(promise, lifecycleEvent="subscriptionRemoved")
    del graph.subscriptions[promise]
    [(address, body)] = graph.pushes
    case = Case(path=address.removeprefix(PUBLIC), body=body, key=None, keyed=False, after=out)
    case.statuses, case.then = (204,), _is_promised
    return case


@scene
async def be_called_no_more(house: House, clock: Any) -> Case:
    connection, _, out = await at_google(house, settled=True)
    await house.ask("PATCH", f"{ALL}/{connection}", {"blocking": [], "destination": None})

    async def none(house: House) -> None:
        assert house.outside.google.channels == {}

    return Case(after=out, then=none)


@scene
async def be_called(house: House, clock: Any) -> Case:
    _, _, out = await at_google(house, settled=True)
    google = house.outside.google
    google.pushes.clear()
    start = house.start()
    google.put(GOOGLE_HOST, "dentist", start={"dateTime": start}, end={"dateTime": start})
    [(address, headers)] = google.pushes
    case = Case(path=address.removeprefix(PUBLIC), body=None, key=None, keyed=False, after=out)
    case.headers, case.statuses = headers, (200, 202, 204)
    return case


@scene
async def doctor_looks_at_watches(house: House, clock: Any) -> Case:
    _, _, out = await at_google(house, settled=True)
    return Case(deed="examine", after=out)
